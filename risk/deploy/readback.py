"""Reads a fresh deployment back from the chain and compares it with what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.address import to_checksum_address

from risk.chain.abi import Function, functions
from risk.deploy.artifacts import is_code_of, vault_abi
from risk.deploy.config import DeployConfig
from risk.deploy.errors import VerificationError
from risk.deploy.preflight import live_price
from risk.deploy.reports import ListedExpiry, slice_tuple
from risk.deploy.sender import Sender

_FRESH = 0


@dataclass(frozen=True)
class Deployed:
    """What should be on chain."""

    config: DeployConfig
    vault: str
    cash: str
    feeds: Sequence[str]
    tokens: Sequence[str]
    rate_feeds: Sequence[str | None]
    expiries: Sequence[Sequence[ListedExpiry]]
    signers: Sequence[str]
    blob: bytes
    contracts: dict[str, str]  # address -> name


def read_back(expected: Deployed, sender: Sender) -> str:
    """Compares; returns the address of the parameter blob.

    ``VerificationError`` lists every difference.
    """
    view = _View(expected, sender)
    problems = [
        f"{what}: expected {want}, the chain has {have}"
        for what, want, have in view.compare()
        if want != have
    ]
    if problems:
        raise VerificationError(problems)
    return to_checksum_address(f"0x{view.pointer:040x}")


def read_owner(vault: str, expected: str, sender: Sender) -> None:
    """``VerificationError`` where the vault belongs to somebody else."""
    call = functions(vault_abi(sender.artifact))["owner"]
    owner = call.decode(sender.rpc.eth_call(vault, call.encode()))[0]
    if owner != int(expected, 16):
        have = to_checksum_address(f"0x{owner:040x}")
        raise VerificationError([f"owner: expected {expected}, the chain has {have}"])


class _View:
    def __init__(self, expected: Deployed, sender: Sender) -> None:
        self._expected = expected
        self._sender = sender
        self._functions: dict[str, Function] = functions(vault_abi(sender.artifact))
        self.pointer = 0

    def compare(self) -> Iterator[tuple[str, Any, Any]]:
        """(what, wanted, on chain) of every checked value."""
        yield from self._code()
        yield from self._vault()
        yield from self._collaterals()
        for index in range(len(self._expected.config.underlyings)):
            yield from self._underlying(index)

    def _read(self, name: str, *arguments: Any) -> list[Any]:
        call = self._functions[name]
        return call.decode(self._sender.rpc.eth_call(self._expected.vault, call.encode(*arguments)))

    def _code(self) -> Iterator[tuple[str, Any, Any]]:
        for address, name in self._expected.contracts.items():
            code = self._sender.rpc.code(address)
            yield (
                f"code of {name} at {address}",
                True,
                is_code_of(self._sender.artifact(name), code),
            )

    def _vault(self) -> Iterator[tuple[str, Any, Any]]:
        e = self._expected
        config = e.config
        yield "cash token", [int(e.cash, 16), config.cash.decimals], self._read("cashToken")
        counts = [len(config.underlyings), len(config.collaterals)]
        yield "listed counts", counts, self._read("listedCounts")
        self.pointer, blob = self._read("riskParams")
        yield "risk parameters", e.blob.hex(), bytes(blob).hex()
        signers = [[int(a, 16) for a in e.signers], config.signers.threshold]
        yield "signers", signers, self._read("signers")
        if "vaultMode" in self._functions:
            feed = config.guards.sequencer_feed
            yield "sequencer feed", int(feed, 16) if feed else 0, self._read("vaultMode")[0]

    def _collaterals(self) -> Iterator[tuple[str, Any, Any]]:
        e = self._expected
        names = [u.name for u in e.config.underlyings]
        for j, collateral in enumerate(e.config.collaterals):
            rate = e.rate_feeds[j]
            want = [
                int(e.tokens[j], 16),
                collateral.token.decimals,
                names.index(collateral.underlying),
                int(rate, 16) if rate else 0,
            ]
            yield f"collateral {collateral.token.symbol}", want, self._read("collateralInfo", j)[:4]

    def _underlying(self, index: int) -> Iterator[tuple[str, Any, Any]]:
        e = self._expected
        underlying = e.config.underlyings[index]
        name = underlying.name
        state, price = self._read("oracleState", index)
        yield f"{name} oracle state", _FRESH, state
        live = live_price(self._sender, e.feeds[index], underlying.feed.decimals)
        yield f"{name} live price", live, price
        snapshot = self._read("snapshot", index)[0]
        yield f"{name} snapshot taken", True, snapshot[1] >= 1 and snapshot[0] > 0
        for expiry in e.expiries[index]:
            yield from self._expiry(index, name, expiry)

    def _expiry(
        self, index: int, name: str, expiry: ListedExpiry
    ) -> Iterator[tuple[str, Any, Any]]:
        for i, strike in enumerate(expiry.strikes_wad):
            where = f"{name} strike {i} of day {expiry.day}"
            yield where, strike, self._read("strike", index, expiry.day, i)[0]
        if expiry.slice is not None and self._expected.config.local:
            want = list(slice_tuple(expiry.day, expiry.slice))
            yield (
                f"{name} slice of day {expiry.day}",
                want,
                self._read("slice", index, expiry.day)[0],
            )
