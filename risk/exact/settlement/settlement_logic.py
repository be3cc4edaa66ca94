"""Settlement: observing a price, settling accounts, starting the wind-down.  Twin:
``contracts/settlement/SettlementLogic.sol``; rules and bounds: docs/settlement.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from risk.exact.accounts import account_lib
from risk.exact.custody import interest_lib, pnl_lib, position_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id
from risk.exact.market import feed_reader, oracle_matrix, sequencer
from risk.exact.market.oracle_matrix import Action
from risk.exact.math.wad_math import clamp
from risk.exact.params.risk_params import RiskParams
from risk.exact.settlement import settlement_lib, wind_down
from risk.exact.settlement.settlement_lib import WIND_DOWN
from risk.exact.state import Account, Settlement, State, World

WAD: Final = 10**18
_UINT16_MAX: Final = 2**16 - 1
_UINT24_MAX: Final = 2**24 - 1


@dataclass
class Sums:
    """What one account's settlement adds up, by underlying."""

    closing: bool  # wind-down after its notice
    quote: dict[int, int] = field(default_factory=dict)  # to add to the quote of the perp
    perp_size: dict[int, int] = field(default_factory=dict)  # of the perp that is closed
    d_long: dict[int, int] = field(default_factory=dict)  # change of open interest


# -------------------------------------------------------------------------------------- observe


def observe(state: State, world: World, u: int, expiry_day: int) -> None:
    """``IVaultExtension.observe``.  From the expiry on, a call that finds enough observations adds
    none: it fixes their mean.  One that completes them after the expiry fixes the mean at once.

    In this order: ``RiskParamsMissing``, ``UnknownUnderlying``, ``UnknownInstrument(future)``,
    ``AlreadySettled``, ``ObservationOutsideWindow``; unless it only fixes: ``ObservationTooSoon``,
    ``SequencerDown`` or ``SequencerGrace``, ``OracleNotUsable``.
    """
    p = feed_reader.load_params(state)
    feed_reader.require_known(state, p, u)
    future = instrument_id.encode(u, instrument_id.FUTURE, expiry_day, 0)
    key = instrument_id.bucket_key(future)
    if key not in state.buckets or not state.buckets[key].listed:
        raise ModelRevert("UnknownInstrument", (future,))
    item = state.settlements.get(key, Settlement())
    if item.settled:
        raise ModelRevert("AlreadySettled", (u, expiry_day))
    expiry, now = instrument_id.expiry(future), world.timestamp
    if now + p.settle_window_seconds < expiry:
        raise ModelRevert("ObservationOutsideWindow", (u, expiry_day, now))
    needed = max(p.settle_min_observations, 1)
    if now < expiry or item.observations < needed:
        _add(item, world, p, future, _observed(state, world, p, item, future))
    if now >= expiry and item.observations >= needed:
        item.price_wad, item.settled = item.mean_wad, True
    state.settlements[key] = item


def _observed(state: State, world: World, p: RiskParams, item: Settlement, future: int) -> int:
    """The live price, after the checks that an observation has to pass."""
    u = instrument_id.underlying(future)
    following = item.last_time + _spacing(p)
    if item.observations and world.timestamp < following:
        day = instrument_id.expiry_day(future)
        raise ModelRevert("ObservationTooSoon", (u, day, following))
    if sequencer.holds_liquidations(state, world, p):
        sequencer.require_live(state, world, p)
    oracle_state, price_wad, _ = feed_reader.live(state, world, p, u)
    if not oracle_matrix.allowed(Action.SETTLE, oracle_state):
        raise ModelRevert("OracleNotUsable", (u, oracle_state))
    return price_wad


def _add(item: Settlement, world: World, p: RiskParams, future: int, price_wad: int) -> None:
    """Add an observation; the mean is rounded down, the sum of weights stops at 2^24 − 1."""
    spacing = _spacing(p)
    if item.observations == 0:
        start = max(instrument_id.expiry(future) - p.settle_window_seconds, 0)
        weight = clamp(world.timestamp - start, 1, spacing)
    else:
        weight = min(world.timestamp - item.last_time, 2 * spacing)
    total = item.weight + weight
    item.mean_wad = (item.mean_wad * item.weight + price_wad * weight) // total
    item.weight = min(total, _UINT24_MAX)
    item.price_wad = price_wad
    item.last_time = world.timestamp
    item.observations = min(item.observations + 1, _UINT16_MAX)


def _spacing(p: RiskParams) -> int:
    return max(p.settle_min_spacing_seconds, 1)


# --------------------------------------------------------------------------------------- settle


def settle(state: State, world: World, accounts: Sequence[int]) -> None:
    """``IVaultExtension.settle``: the value of a position moves into the quote of the perp of its
    underlying, rounded down, and from there into cash as far as the pool reaches.

    ``SizeOutOfRange(account, perp)``, ``CashOutOfRange(account)``.  A position without a price is
    passed over.
    """
    interest_lib.accrue(state, world)
    closing = settlement_lib.is_closing(state, world)
    for account_id in accounts:
        _settle(state, world, account_id, closing)


def settle_one(state: State, world: World, account_id: int) -> bool:
    """As ``settle``, of one account; returns whether there was anything to settle."""
    interest_lib.accrue(state, world)
    return _settle(state, world, account_id, settlement_lib.is_closing(state, world))


def _settle(state: State, world: World, account_id: int, closing: bool) -> bool:
    a = account_lib.load(state, account_id)
    sums = Sums(closing)
    _take_linear(state, world, account_id, a, sums)
    _take_options(state, world, account_id, a, sums)
    if not sums.quote:
        return False
    for u in sorted(sums.quote):
        _book(state, account_id, a, sums, u)
    account_lib.store(state, account_id, a)
    return True


def _take_linear(state: State, world: World, account_id: int, a: Account, sums: Sums) -> None:
    """Futures leave the list (the last entry takes the place); a perp that is closed stays until
    ``_book``.
    """
    i = 0
    while i < len(a.linear):
        x = a.linear[i]
        perp = instrument_id.kind(x.instrument) == instrument_id.PERP
        unit = None
        if not perp or (x.size_wad != 0 and sums.closing):
            unit = _unit_value(state, world, x.instrument, sums.closing)
        if unit is None:
            i += 1
            continue
        value = x.size_wad * unit // WAD
        if perp:
            sums.perp_size[instrument_id.underlying(x.instrument)] = x.size_wad
            i += 1
        else:
            value += x.quote_wad
            account_lib.remove_linear(a, i)
        _count(state, account_id, sums, x.instrument, x.size_wad, value)


def _take_options(state: State, world: World, account_id: int, a: Account, sums: Sums) -> None:
    i = 0
    while i < len(a.options):
        x = a.options[i]
        unit = _unit_value(state, world, x.instrument, sums.closing)
        if unit is None:
            i += 1
            continue
        account_lib.remove_option(a, i)
        _count(state, account_id, sums, x.instrument, x.size_wad, x.size_wad * unit // WAD)


def _unit_value(state: State, world: World, instrument: int, closing: bool) -> int | None:
    """What one unit is closed at: a price that the wind-down has used for it already, the
    settlement price of its expiry (recorded here where the observations are enough), or after the
    notice the price of the wind-down.
    """
    perp = instrument_id.kind(instrument) == instrument_id.PERP
    if closing and (perp or WIND_DOWN | instrument in state.settlements):
        return wind_down.unit_value(state, world, instrument)
    if settlement_lib.is_complete(state, world, instrument):
        item = state.settlements[instrument_id.bucket_key(instrument)]
        item.price_wad, item.settled = item.mean_wad, True
    if settlement_lib.has_price(state, instrument):
        price = state.settlements[instrument_id.bucket_key(instrument)].price_wad
        return settlement_lib.payoff(state, instrument, price)
    return wind_down.unit_value(state, world, instrument) if closing else None


def _count(
    state: State, account_id: int, sums: Sums, instrument: int, size: int, value: int
) -> None:
    """Add a closed position to the sums and take it off the open interest of its instrument."""
    u = instrument_id.underlying(instrument)
    d_long = position_lib.long_delta(size, 0)
    sums.quote[u] = sums.quote.get(u, 0) + value
    sums.d_long[u] = sums.d_long.get(u, 0) + d_long
    position_lib.add_instrument_interest(state, instrument, d_long, account_id)


def _book(state: State, account_id: int, a: Account, sums: Sums, u: int) -> None:
    """The sums of ``u`` go into the entry of its perp, which is realised: a debit fills the pool, a
    credit draws what the pool holds, the rest stays a claim.
    """
    perp = u << 28
    position_lib.add_open_interest(state, u, sums.d_long[u], account_id, perp)
    account_lib.add_linear(account_id, a, perp, -sums.perp_size.get(u, 0), sums.quote[u])
    i = account_lib.find_linear(a, perp)
    if i < len(a.linear):
        pnl_lib.realize_at(state, account_id, a, i)


# ------------------------------------------------------------------------------------ wind-down


def start_wind_down(state: State, world: World) -> None:
    """``IVaultExtension.startWindDown``; ``WindingDown`` where it was started already."""
    if state.winding_down:
        raise ModelRevert("WindingDown")
    state.winding_down = True
    state.wind_down_time = world.timestamp
