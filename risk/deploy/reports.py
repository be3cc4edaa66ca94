"""What a deployment works out from the live market: expiry days, strikes, first reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32

from risk.chain.keccak import keccak
from risk.deploy.config import DeployConfig, Expiry, SviSlice, Underlying
from risk.deploy.errors import PreflightError

DAY = 86_400
EXPIRY_TIME_OF_DAY = 8 * 3_600  # 08:00 UTC, as in contracts/margin/InstrumentId.sol
MAX_STRIKE = Decimal(10_000_000)
_WAD = Decimal(10**18)
_E9 = Decimal(10**9)


@dataclass(frozen=True)
class ListedExpiry:
    """An expiry with absolute day and strikes."""

    day: int
    strikes_wad: tuple[int, ...]
    slice: SviSlice | None


def resolve_expiries(
    underlying: Underlying, price_wad: int, timestamp: int, where: str
) -> list[ListedExpiry]:
    """Ascending expiries of one underlying at live price and time; ``where`` is for errors."""
    out: dict[int, ListedExpiry] = {}
    for i, expiry in enumerate(underlying.expiries):
        field = f"{where}.expiries[{i}]"
        day = expiry.day if expiry.day is not None else timestamp // DAY + (expiry.in_days or 0)
        if not day < 2**16:
            raise PreflightError(f"{field}: day {day} is above the limit of {2**16 - 1}")
        if day * DAY + EXPIRY_TIME_OF_DAY <= timestamp:
            raise PreflightError(
                f"{field}: day {day} is over; the chain is at {timestamp} (day {timestamp // DAY})"
            )
        if day in out:
            raise PreflightError(f"{field}: day {day} is given twice")
        out[day] = ListedExpiry(day, _strikes(expiry, price_wad, field), expiry.slice)
    return [out[day] for day in sorted(out)]


def _strikes(expiry: Expiry, price_wad: int, field: str) -> tuple[int, ...]:
    if expiry.strikes is not None:
        return tuple(int(k * _WAD) for k in expiry.strikes)
    assert expiry.moneyness is not None and expiry.step is not None
    price = Decimal(price_wad) / _WAD
    found: set[int] = set()
    for ratio in expiry.moneyness:
        steps = (price * ratio / expiry.step).to_integral_value(ROUND_HALF_UP)
        strike = steps * expiry.step
        if not 0 < strike <= MAX_STRIKE:
            raise PreflightError(
                f"{field}: strike {strike} is outside the limits (0, {MAX_STRIKE}]"
            )
        found.add(int(strike * _WAD))
    return tuple(sorted(found))


def local_key(index: int) -> LocalAccount:
    """Throw-away report signer of local nets: anybody can derive it, so it protects nothing."""
    key: LocalAccount = Account.from_key(keccak(f"plumbline local signer {index}".encode()))
    return key


def local_keys(config: DeployConfig) -> list[LocalAccount]:
    """The throw-away signers that a configuration asks for."""
    return [local_key(i) for i in range(config.signers.local_keys)]


def slice_tuple(day: int, s: SviSlice) -> tuple[int, ...]:
    """``IMarket.Slice`` of a configured slice: ratios in WAD, SVI to the nearest 1e-9."""

    def e9(value: Decimal) -> int:
        return int((value * _E9).to_integral_value(ROUND_HALF_UP))

    return (
        day,
        int(s.forward_ratio * _WAD),
        int(s.discount * _WAD),
        e9(s.a),
        e9(s.b),
        e9(s.rho),
        e9(s.m),
        e9(s.sigma),
    )


def first_report(
    index: int, expiries: Sequence[ListedExpiry], timestamp: int
) -> tuple[int, int, int, int, list[tuple[int, ...]], int] | None:
    """``IMarket.VolReport`` with nonce 1 and no premium of every configured slice; None without
    any slice.
    """
    slices = [slice_tuple(e.day, e.slice) for e in expiries if e.slice is not None]
    return (index, 1, timestamp, 0, slices, 0) if slices else None


def sign_digest(digest: bytes, keys: Sequence[LocalAccount]) -> list[bytes]:
    """65-byte signatures of a digest, by ascending signer address as the vault wants them."""
    ordered = sorted(keys, key=lambda k: int(k.address, 16))
    return [bytes(k.unsafe_sign_hash(Hash32(digest)).signature) for k in ordered]
