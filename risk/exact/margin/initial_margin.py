"""The check at the end of every action that may add risk.

Twin: ``contracts/margin/InitialMargin.sol``.
"""

from __future__ import annotations

from collections.abc import Sequence

from risk.exact.accounts.account_lib import has_obligations
from risk.exact.errors import ModelRevert
from risk.exact.margin import drift, instrument_id, margin_engine
from risk.exact.margin.drift import Live
from risk.exact.margin.margin_engine import Margin
from risk.exact.market import feed_reader, snapshots
from risk.exact.market.feed_reader import OracleState
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, State, World


def require_initial(state: State, world: World, accounts: Sequence[tuple[int, Account]]) -> None:
    """Require E ≥ IM of each (id, account) that has obligations; may take snapshots.

    1. accounts without obligations are dropped; none left: done, nothing is read.
    2. for each underlying of the others, ascending: ``OracleNotUsable`` unless FRESH;
       ``RateInvalid`` where the rate of one of its collaterals that they hold cannot be read; a
       snapshot that is due, or whose rate left the band, is taken.  Then for each account, futures
       before options: ``SliceStale`` where the report behind an unexpired one is too old.
    3. margins in order; then for each in order, where twice the drift exceeds IM − MM, every
       underlying of *that* account whose live price or rate differs from its snapshot is taken.
    4. if 3 took any: all margins again.
    5. in order, ``InsufficientMargin`` where E < IM.
    """
    owing = [(i, a) for i, a in accounts if has_obligations(a)]
    if not owing:
        return
    p = feed_reader.load_params(state)
    live = _freshen(state, world, p, [a for _, a in owing])
    margins = _margins(state, owing)
    taken = False
    for (_, account), margin in zip(owing, margins, strict=True):
        if _take_drifted(state, world, p, account, margin, live):
            taken = True
    if taken:
        margins = _margins(state, owing)
    for (account_id, _), margin in zip(owing, margins, strict=True):
        if margin.equity < margin.im:
            raise ModelRevert("InsufficientMargin", (account_id, margin.equity, margin.im))


def _freshen(state: State, world: World, p: RiskParams, owing: Sequence[Account]) -> Live:
    """Step 2: read every live price once, take the snapshots that are due."""
    mask = set().union(*(drift.underlying_mask(p, a) for a in owing))
    live = Live()
    for u in sorted(mask):
        oracle_state, price_wad, updated_at = feed_reader.live(state, world, p, u)
        if oracle_state != OracleState.FRESH:
            raise ModelRevert("OracleNotUsable", (u, oracle_state))
        live.prices[u] = price_wad, updated_at
        due = _require_rates(state, world, p, u, owing, live)
        if due or snapshots.is_due(state, world, p, u, price_wad):
            snapshots.take(state, world, p, u, price_wad, updated_at)
    for account in owing:
        _require_slices(state, world, p, account)
    return live


def _require_slices(state: State, world: World, p: RiskParams, account: Account) -> None:
    """``SliceStale`` unless every unexpired future and option is valued with a young report."""
    held = [x.instrument for x in account.linear if x.size_wad != 0]
    held = [i for i in held if instrument_id.kind(i) != instrument_id.PERP]
    for instrument in held + [x.instrument for x in account.options]:
        if instrument_id.expiry(instrument) <= world.timestamp:
            continue
        u = instrument_id.underlying(instrument)
        bucket = state.buckets.get(instrument_id.bucket_key(instrument))
        report_time = bucket.report_time if bucket is not None else 0
        if world.timestamp - report_time > p.underlyings[u].max_age_seconds:
            day = instrument_id.expiry_day(instrument)
            raise ModelRevert("SliceStale", (u, day, report_time))


def _require_rates(
    state: State, world: World, p: RiskParams, u: int, owing: Sequence[Account], live: Live
) -> bool:
    """``RateInvalid`` unless every rate of ``u`` they hold can be read; True where one left the
    band of ``u``.
    """
    left = False
    for j, c in enumerate(p.collaterals):
        if c.underlying != u or not c.has_rate or not any(a.collateral[j] for a in owing):
            continue
        rate_wad, answer, _ = feed_reader.live_rate(state, world, j)
        if rate_wad == 0:
            raise ModelRevert("RateInvalid", (j, answer))
        live.rates[j] = rate_wad
        if snapshots.rate_left_band(state, p, u, j, rate_wad):
            left = True
    return left


def _margins(state: State, owing: Sequence[tuple[int, Account]]) -> list[Margin]:
    """Steps 3 (first half) and 4."""
    return [margin_engine.compute(state, account_id, account) for account_id, account in owing]


def _take_drifted(
    state: State, world: World, p: RiskParams, account: Account, margin: Margin, live: Live
) -> bool:
    """Step 3 (second half), of one account: True where a snapshot was taken."""
    moved = drift.moved_mask(state, p, account, live)
    if not moved:
        return False
    if 2 * drift.bound(state, p, account, moved, live) <= margin.im - margin.mm:
        return False
    for u in sorted(moved):
        snapshots.take(state, world, p, u, *live.prices[u])
    return True
