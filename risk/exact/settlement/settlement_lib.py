"""What can be settled now.  Twin: ``contracts/settlement/SettlementLib.sol``."""

from __future__ import annotations

from typing import Final

from risk.exact.custody import pnl_lib
from risk.exact.margin import array_logic, instrument_id
from risk.exact.math.wad_math import mul_wad_up
from risk.exact.state import Account, State, World

WIND_DOWN: Final = 1 << 32  # bit of a key of ``settlements``: the price of one instrument


def holds_settled(state: State, world: World, a: Account) -> int | None:
    """The first position of ``a`` with size ≠ 0 (perps and futures, then options, in storage
    order) that ``settle`` would close; None where there is none.  An expiry that is over with
    enough observations counts as one that has its price (``is_complete``).
    """
    closing = is_closing(state, world)
    held = [x.instrument for x in a.linear if x.size_wad != 0]
    held += [x.instrument for x in a.options]
    for i in held:
        if closing or has_price(state, i) or is_complete(state, world, i):
            return i
    return None


def has_price(state: State, instrument: int) -> bool:
    """Whether the expiry of a future or option has its settlement price; False for a perp."""
    if instrument_id.kind(instrument) == instrument_id.PERP:
        return False
    item = state.settlements.get(instrument_id.bucket_key(instrument))
    return item is not None and item.settled


def is_complete(state: State, world: World, instrument: int) -> bool:
    """Whether the expiry of a future or option is over without a recorded price, but with enough
    observations: its price is their mean, and the next call of anybody that needs it records it.
    """
    if instrument_id.kind(instrument) == instrument_id.PERP:
        return False
    if instrument_id.expiry(instrument) > world.timestamp:
        return False
    item = state.settlements.get(instrument_id.bucket_key(instrument))
    if item is None or item.settled or item.observations == 0 or state.params is None:
        return False
    return item.observations >= max(state.params.settle_min_observations, 1)


def is_closing(state: State, world: World) -> bool:
    """Whether the wind-down is past its notice, so that every position can be closed."""
    if not state.winding_down or state.params is None:
        return False
    return world.timestamp >= state.wind_down_time + state.params.wind_down_notice_seconds


def payoff(state: State, instrument: int, price_wad: int) -> int:
    """What one unit of a future or option is worth at the settlement price of its expiry: P,
    max(0, P − K) or max(0, K − P); exact.
    """
    kind = instrument_id.kind(instrument)
    if kind == instrument_id.FUTURE:
        return price_wad
    strike = array_logic.strike_of(state, instrument)
    difference = price_wad - strike if kind == instrument_id.CALL else strike - price_wad
    return max(difference, 0)


def gap(state: State, a: Account) -> int:
    """What the settlement of expiries whose observation has begun can take from ``a`` at an
    unchanged index, beyond what its mark says: P will lie between the mean so far and S.

    Σ over futures and options of such expiries ⌈|size|·width/1e18⌉, width = max − min of S, that
    mean and, of a future, its mark; rounded up, against the account.  Begun: not settled, an
    observation, and the last one not before the window of the present parameters.
    ``SliceMissing`` where a future has no mark (``margin_engine`` before).
    """
    total = 0
    held = [(x.instrument, x.size_wad) for x in a.linear if x.size_wad != 0]
    for instrument, size in held + [(x.instrument, x.size_wad) for x in a.options]:
        kind = instrument_id.kind(instrument)
        mean = 0 if kind == instrument_id.PERP else _begun(state, instrument)
        if mean == 0:
            continue
        points = [state.underlyings[instrument_id.underlying(instrument)].price_wad, mean]
        if kind == instrument_id.FUTURE:
            points.append(pnl_lib.linear_mark(state, instrument))
        total += mul_wad_up(abs(size), max(points) - min(points))
    return total


def _begun(state: State, instrument: int) -> int:
    """Mean so far where the observation of the expiry has begun and is not settled, otherwise 0."""
    item = state.settlements.get(instrument_id.bucket_key(instrument))
    if item is None or item.observations == 0 or item.settled or state.params is None:
        return 0
    window = state.params.settle_window_seconds
    return item.mean_wad if item.last_time + window >= instrument_id.expiry(instrument) else 0
