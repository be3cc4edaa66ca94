"""How far the live markets are from the snapshot, in the money of one account.

Twin: ``contracts/margin/Drift.sol``.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from risk.exact.margin import instrument_id
from risk.exact.math import wad_math
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, State

_BPS = 10_000


@dataclass
class Live:
    """Usable live data read so far: underlying -> (price WAD, feed time); collateral -> rate."""

    prices: dict[int, tuple[int, int]] = field(default_factory=dict)
    rates: dict[int, int] = field(default_factory=dict)


def underlying_mask(p: RiskParams, account: Account) -> set[int]:
    """Underlyings of the account's collaterals, of perps and futures with size ≠ 0, and of
    options.
    """
    mask = {p.collaterals[j].underlying for j, amount in enumerate(account.collateral) if amount}
    mask.update(instrument_id.underlying(x.instrument) for x in account.linear if x.size_wad != 0)
    mask.update(instrument_id.underlying(x.instrument) for x in account.options)
    return mask


def moved_mask(
    state: State, p: RiskParams, account: Account, mask: Set[int], live: Live
) -> set[int]:
    """Underlyings of the account (``mask``: its ``underlying_mask``) whose usable live price or
    held rate differs from the snapshot.
    """
    moved = {
        u for u in mask if u in live.prices and state.underlyings[u].price_wad != live.prices[u][0]
    }
    for j, amount in enumerate(account.collateral):
        if amount and j in live.rates:
            u = p.collaterals[j].underlying
            if u in live.prices and state.collaterals[j].rate_wad != live.rates[j]:
                moved.add(u)
    return moved


def bound(state: State, p: RiskParams, account: Account, moved: Iterable[int], live: Live) -> int:
    """Σ_u ⌈|live − snap|·(N_u + collateral units)⌉ + Σ_j ⌈|live units − units|·live price⌉ over
    ``moved``; rounded up.
    """
    moved = set(moved)
    units = position_units(account)
    drift = _add_collateral(state, p, account, moved, live, units)
    for u in moved:
        distance = abs(live.prices[u][0] - state.underlyings[u].price_wad)
        drift += wad_math.mul_wad_up(distance, units.get(u, 0))
    return drift


def favour(state: State, p: RiskParams, account: Account, mask: Iterable[int]) -> int:
    """What the most favourable prices within the bands of ``mask`` could add to equity at most:
    Σ_u ⌈⌈snap·(|net_u| + Σ |options|)⌉·band⌉, net_u = perps + futures·R + collateral units with
    their signs; R·size is rounded away from zero, the rest up.
    """
    held: dict[int, int] = {}
    _add_collateral(state, p, account, set(), Live(), held)
    net, options = _exposures(state, account)
    most = 0
    for u in mask:
        units = abs(net.get(u, 0) + held.get(u, 0)) + options.get(u, 0)
        notional = wad_math.mul_wad_up(state.underlyings[u].price_wad, units)
        most += wad_math.mul_div_up(notional, p.underlyings[u].deviation_band_bps, _BPS)
    return most


def _exposures(state: State, account: Account) -> tuple[dict[int, int], dict[int, int]]:
    """Of every underlying: Σ of the perps and futures in units of the underlying, signed, and
    Σ |size| of the options.
    """
    net: dict[int, int] = {}
    options: dict[int, int] = {}
    for x in account.linear:
        u, size = instrument_id.underlying(x.instrument), x.size_wad
        future = instrument_id.kind(x.instrument) == instrument_id.FUTURE
        if future and instrument_id.expiry(x.instrument) > state.underlyings[u].time:
            bucket = state.buckets.get(instrument_id.bucket_key(x.instrument))
            ratio = 0 if bucket is None else bucket.forward_ratio_wad
            units = wad_math.mul_wad_up(abs(size), ratio)
            size = -units if size < 0 else units
        net[u] = net.get(u, 0) + size
    for y in account.options:
        u = instrument_id.underlying(y.instrument)
        options[u] = options.get(u, 0) + abs(y.size_wad)
    return net, options


def position_units(account: Account) -> dict[int, int]:
    """N_u: Σ |size| of the perps, futures and options of each underlying."""
    units: dict[int, int] = {}
    held = [(x.instrument, x.size_wad) for x in account.linear]
    held += [(x.instrument, x.size_wad) for x in account.options]
    for instrument, size_wad in held:
        u = instrument_id.underlying(instrument)
        units[u] = units.get(u, 0) + abs(size_wad)
    return units


def _add_collateral(
    state: State,
    p: RiskParams,
    account: Account,
    moved: set[int],
    live: Live,
    units: dict[int, int],
) -> int:
    """Add the collateral in units of its underlying at the snapshot's rate to ``units``; return
    the drift of the rates of ``moved``.
    """
    drift = 0
    for j, amount in enumerate(account.collateral):
        if not amount:
            continue
        item = p.collaterals[j]
        u = item.underlying
        held = amount * 10 ** (18 - item.decimals)
        if not item.has_rate:
            units[u] = units.get(u, 0) + held
            continue
        snap_units = wad_math.mul_wad_down(held, state.collaterals[j].rate_wad)
        units[u] = units.get(u, 0) + snap_units
        if u in moved and j in live.rates:
            live_units = wad_math.mul_wad_down(held, live.rates[j])
            drift += wad_math.mul_wad_up(abs(live_units - snap_units), live.prices[u][0])
    return drift
