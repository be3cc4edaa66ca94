"""Quoting and liquidating one account, over the same ``Sender`` as a deployment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from risk.chain.abi import Errors, functions
from risk.chain.keccak import keccak
from risk.chain.rpc import from_hex
from risk.deploy.artifacts import link_order
from risk.deploy.errors import DeployError, PreflightError, TransactionError
from risk.deploy.fields import parse_address, parse_decimal
from risk.deploy.sender import Sender, wait_for
from risk.errors import RevertError, RpcError

WAD = 10**18
ANY_PAYMENT = 2**255 - 1
DEFAULT_SLIPPAGE_BPS = 50
_ACCOUNT = re.compile(r"(0x[0-9a-fA-F]{40})(?::(\d{1,3}))?")
_RAW_ACCOUNT = re.compile(r"0x[0-9a-fA-F]{42}|\d{1,51}")


def parse_account(text: str) -> int:
    """``owner:sub`` (or just the owner for sub-account 0), or the 168-bit number itself."""
    value = str(text).strip()
    if match := _ACCOUNT.fullmatch(value):
        sub = int(match[2] or 0)
        try:
            owner = parse_address(match[1])
        except ValueError as error:
            raise DeployError(f"account: {error}") from None
        if sub > 255:
            raise DeployError(f"account: sub-account {sub} is above the limit of 255")
        return int(owner, 16) << 8 | sub
    if _RAW_ACCOUNT.fullmatch(value) and int(value, 0) < 2**168:
        return int(value, 0)
    raise DeployError(f"account: expected 0xOWNER:SUB or a 168-bit number, got {value[:80]!r}")


def account_text(account: int) -> str:
    """``0xowner:sub``."""
    return f"0x{account >> 8:040x}:{account & 0xFF}"


def parse_fraction(text: str) -> int:
    """A share such as ``0.25``, or ``max``, in WAD."""
    if text == "max":
        return WAD
    try:
        value = parse_decimal(text)
    except ValueError as error:
        raise DeployError(f"fraction: {error}") from None
    if not 0 < value <= 1:
        raise DeployError(f"fraction: {value} is outside the limits (0, 1]")
    return int(value * WAD)


@dataclass(frozen=True)
class Quote:
    """What the vault says of an account at its last snapshots; everything WAD."""

    account: int
    equity: int
    mm: int
    im: int
    health_factor: int
    max_fraction: int
    reward: int
    full_price: int

    @property
    def liquidatable(self) -> bool:
        return self.max_fraction > 0

    def payment(self, fraction: int) -> int:
        """Payment for a fraction, rounded up; negative where the liquidator is paid."""
        return -((-self.full_price * fraction) // WAD)

    def lines(self) -> list[str]:
        """For people."""
        free = self.health_factor == ANY_PAYMENT
        health = "no obligations" if free else decimal(self.health_factor)
        return [
            f"account        {account_text(self.account)}",
            f"equity         {decimal(self.equity)}",
            f"maintenance    {decimal(self.mm)}",
            f"initial        {decimal(self.im)}",
            f"health factor  {health}",
            f"max fraction   {decimal(self.max_fraction)}",
            f"reward         {decimal(self.reward)}",
            f"payment        {decimal(self.payment(self.max_fraction))} for the max fraction",
        ]


@dataclass(frozen=True)
class Outcome:
    """A liquidation that has happened."""

    fraction: int
    payment: int
    transaction: str
    gas_used: int
    before: Quote
    after: Quote


def decimal(wad: int, places: int = 6) -> str:
    """WAD as text, towards zero at ``places``."""
    whole, rest = divmod(abs(wad), WAD)
    digits = f"{rest // 10 ** (18 - places):0{places}d}"
    return f"{'-' if wad < 0 else ''}{whole:,}.{digits}"


class VaultClient:
    """The calls a liquidator makes."""

    def __init__(self, sender: Sender, vault: str) -> None:
        self._sender = sender
        abi = sender.artifact("Vault").abi
        self._functions = functions(abi)
        libraries = link_order("Vault", sender.artifact)
        self._errors = Errors([abi, *(sender.artifact(name).abi for name in libraries)])
        try:
            self.vault = parse_address(vault)
        except ValueError as error:
            raise DeployError(f"vault: {error}") from None
        if not sender.rpc.code(self.vault):
            raise PreflightError(f"vault: no contract at {self.vault}")

    def read(self, name: str, *arguments: Any, sender: str | None = None) -> list[Any]:
        """Return values of a call; ``RevertError`` where it reverts."""
        call = self._functions[name]
        data = call.encode(*arguments)
        return call.decode(self._sender.rpc.eth_call(self.vault, data, sender=sender))

    def quote(self, account: int) -> Quote:
        """Margin and liquidation quote of an account."""
        margin = self.read("margin", account)[0]
        fraction, reward, price = self.read("liquidationQuote", account)[0]
        return Quote(account, margin[1], margin[7], margin[8], margin[9], fraction, reward, price)

    def liquidate(
        self,
        account: int,
        liquidator: int,
        fraction: int = WAD,
        slippage_bps: int = DEFAULT_SLIPPAGE_BPS,
    ) -> Outcome | None:
        """Simulates, then sends; None where the account is healthy at live prices.

        The payment is bounded by the simulated one plus ``slippage_bps`` of it.
        """
        if not 0 <= slippage_bps <= 10_000:
            raise DeployError(f"slippage: {slippage_bps} bps is outside the limits [0, 10000]")
        if liquidator >> 8 != int(self._sender.address, 16):
            raise PreflightError(
                f"liquidator: {account_text(liquidator)} is not owned by {self._sender.address}"
            )
        expected = self._simulate(account, liquidator, fraction)
        if expected is None:
            return None
        before = self.quote(account)
        limit = expected + -(-abs(expected) * slippage_bps // 10_000)
        data = self._functions["liquidate"].encode(account, liquidator, fraction, limit)
        try:
            sent = self._sender.send(self.vault, data)
            receipt = wait_for(self._sender.rpc, "eth_getTransactionReceipt", sent)
        except RevertError as error:
            raise TransactionError("liquidate", self._errors.show(error.data)) from error
        except RpcError as error:
            raise TransactionError("liquidate", str(error)) from error
        if int(receipt["status"], 16) != 1:
            raise TransactionError("liquidate", f"{receipt['transactionHash']} failed on chain")
        taken, payment = self._taken(receipt)
        return Outcome(
            fraction=taken,
            payment=payment,
            transaction=receipt["transactionHash"],
            gas_used=int(receipt["gasUsed"], 16),
            before=before,
            after=self.quote(account),
        )

    def _simulate(self, account: int, liquidator: int, fraction: int) -> int | None:
        """Payment the vault would take now, at live prices; None where it says `AccountHealthy`."""
        arguments = (account, liquidator, fraction, ANY_PAYMENT)
        try:
            payment: int = self.read("liquidate", *arguments, sender=self._sender.address)[1]
        except RevertError as error:
            if self._errors.name(error.data) == "AccountHealthy":
                return None
            reason = self._errors.show(error.data)
            raise TransactionError("liquidate", f"would revert: {reason}") from error
        return payment

    def _taken(self, receipt: dict[str, Any]) -> tuple[int, int]:
        """Fraction and payment of the ``Liquidated`` event: the only truth about what was taken."""
        topic = "0x" + keccak(b"Liquidated(uint168,uint168,uint256,int256,uint256)").hex()
        for log in receipt["logs"]:
            if log["address"].lower() == self.vault.lower() and log["topics"][0] == topic:
                data = from_hex(log["data"])
                return int.from_bytes(data[:32], "big"), int.from_bytes(
                    data[32:64], "big", signed=True
                )
        raise TransactionError("liquidate", "the transaction has no Liquidated event")
