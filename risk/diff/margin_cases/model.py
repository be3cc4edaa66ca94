"""The model of a batch of margin cases: return data or revert data of ``margin(account)``.

``exact_answers`` asks the reference model one account after another. Another model of a whole batch
can take its place: a function of the same form (``BatchModel``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from risk.chain.abi import Errors
from risk.chain.views import MARGIN
from risk.diff.margin_cases.accounts import MarginCase, MarginOf
from risk.diff.margin_cases.market import Market
from risk.exact.errors import ModelRevert
from risk.exact.margin.margin_engine import Margin
from risk.exact.state import Account
from risk.exact.vault import Vault

FIELDS = MARGIN
_MASK = 2**256 - 1

Answer = tuple[bool, bytes]
BatchModel = Callable[[Market, Sequence[MarginCase], Errors], list[Answer]]


def exact_answers(market: Market, cases: Sequence[MarginCase], errors: Errors) -> list[Answer]:
    """(True, return data) or (False, revert data) of each case, by the reference model."""
    vault = Vault(market.state, market.world)
    accounts = market.state.accounts
    out: list[Answer] = []
    for case in cases:
        accounts[case.account_id] = case.account
        try:
            out.append((True, encode(vault.margin(case.account_id))))
        except ModelRevert as refusal:
            out.append((False, errors.encode(refusal.name, refusal.args)))
        finally:
            del accounts[case.account_id]
    return out


def margin_of(market: Market) -> MarginOf:
    """The model's margin of an account of this market; None where it refuses."""
    vault = Vault(market.state, market.world)
    accounts = market.state.accounts

    def ask(account_id: int, account: Account) -> Margin | None:
        accounts[account_id] = account
        try:
            return vault.margin(account_id)
        except ModelRevert:
            return None
        finally:
            del accounts[account_id]

    return ask


def encode(m: Margin) -> bytes:
    """``IMargin.Margin`` as the ABI has it: twelve words."""
    return encode_fields(vars(m))


def encode_fields(values: Mapping[str, int]) -> bytes:
    """As ``encode``, from values by field name."""
    return b"".join([(values[name] & _MASK).to_bytes(32, "big") for name in FIELDS])


def decode(data: bytes) -> dict[str, int]:
    """Field -> value of return data; raises ``ValueError`` where it is not twelve words."""
    if len(data) != 32 * len(FIELDS):
        raise ValueError(f"{len(data)} bytes are no Margin")
    signed = {"mark_equity", "equity", "health_factor"}
    return {
        name: int.from_bytes(data[32 * i : 32 * i + 32], "big", signed=name in signed)
        for i, name in enumerate(FIELDS)
    }
