"""The check at the end of every action that may add risk.

Twin: ``contracts/margin/InitialMargin.sol``.
"""

from __future__ import annotations

from collections.abc import Sequence

from risk.exact.accounts.account_lib import has_obligations
from risk.exact.custody import pnl_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import drift, groups, instrument_id, margin_engine
from risk.exact.margin.drift import Live
from risk.exact.margin.margin_engine import Margin
from risk.exact.market import feed_reader, funding, oracle_matrix, sequencer, snapshots
from risk.exact.market.oracle_matrix import Action
from risk.exact.math.wad_math import WAD
from risk.exact.params.risk_params import RiskParams
from risk.exact.settlement import settlement_lib
from risk.exact.state import Account, State, World


def require_initial(
    state: State, world: World, accounts: Sequence[tuple[int, Account]], withdrawing: int = 0
) -> None:
    """Require E ≥ max(IM + gap, min_margin) of each (id, account) that has obligations; may take
    snapshots.  Bit i of ``withdrawing``: something is taken out of account i, so unrealised profit
    counts up to its cap only.

    1. accounts without obligations are dropped; none left: done, nothing is read.
       ``SequencerDown``, ``SequencerGrace``; for each of the others ``SettleFirst``; for each of
       the others ``MixedGroups`` where its underlyings are of more than one group.
    2. for each underlying of the others, ascending: ``OracleNotUsable`` unless ``oracle_matrix``
       allows WITHDRAW and INCREASE to those that do it and are exposed to it; ``RateInvalid``
       where the rate of one of its collaterals that they hold cannot be read; funding is
       brought to now; a snapshot that is due, or whose rate left the band, is taken.  Then for each
       account, futures before options: ``SliceStale`` where the report behind an unexpired one is
       too old.
    3. margins in order; then for each in order, where twice the drift exceeds IM − MM, every
       underlying of *that* account whose live price or rate differs from its snapshot is taken.
    4. if 3 took any: all margins again.
    5. in order, ``InsufficientMargin`` where E' < max(IM + gap, min_margin), gap of
       ``settlement_lib``: what the settlement of an expiry under observation can take; E' = E,
       while withdrawing E − max(0, U − cap) with U of ``unrealised_profit`` (a cap of 0: no cap).
    """
    kept = [n for n, (_, a) in enumerate(accounts) if has_obligations(a)]
    owing = [accounts[n] for n in kept]
    taking = [bool(withdrawing >> n & 1) for n in kept]
    if not owing:
        return
    p = feed_reader.load_params(state)
    sequencer.require_live(state, world, p)
    _require_unsettled(state, world, owing)
    masks = _require_one_group(p, owing)
    live = _freshen(state, world, p, [a for _, a in owing], masks, taking)
    margins = _margins(state, owing)
    taken = False
    for (_, account), mask, margin in zip(owing, masks, margins, strict=True):
        if _take_drifted(state, world, p, account, mask, margin, live):
            taken = True
    if taken:
        margins = _margins(state, owing)
    for (account_id, account), margin, out in zip(owing, margins, taking, strict=True):
        _require_equity(state, p, account_id, account, margin, out)


def unrealised_profit(state: State, account: Account) -> int:
    """U = Σ over underlyings of max(0, Σ of value and quote of its perps and futures), each value
    rounded down.
    """
    pnl: dict[int, int] = {}
    for x in account.linear:
        value = x.quote_wad
        if x.size_wad != 0:
            value += x.size_wad * pnl_lib.linear_mark(state, x.instrument) // WAD
        u = instrument_id.underlying(x.instrument)
        pnl[u] = pnl.get(u, 0) + value
    return sum(max(0, value) for value in pnl.values())


def _require_unsettled(state: State, world: World, owing: Sequence[tuple[int, Account]]) -> None:
    """Step 1, of the accounts that are left: ``SettleFirst``."""
    for account_id, account in owing:
        instrument = settlement_lib.holds_settled(state, world, account)
        if instrument is not None:
            raise ModelRevert("SettleFirst", (account_id, instrument))


def _require_one_group(p: RiskParams, owing: Sequence[tuple[int, Account]]) -> list[set[int]]:
    """Step 1, the last of it: ``MixedGroups``.  Returns the underlyings of each account."""
    masks = [drift.underlying_mask(p, account) for _, account in owing]
    for (account_id, _), mask in zip(owing, masks, strict=True):
        groups.require_one(p, account_id, mask)
    return masks


def _freshen(
    state: State,
    world: World,
    p: RiskParams,
    owing: Sequence[Account],
    masks: Sequence[set[int]],
    taking: Sequence[bool],
) -> Live:
    """Step 2: read every live price once, take the snapshots that are due."""
    actions: dict[int, set[Action]] = {}
    for mask, out in zip(masks, taking, strict=True):
        for u in mask:
            actions.setdefault(u, set()).add(Action.WITHDRAW if out else Action.INCREASE)
    live = Live()
    for u in sorted(actions):
        oracle_state, price_wad, updated_at = feed_reader.live(state, world, p, u)
        if not all(oracle_matrix.allowed(action, oracle_state) for action in actions[u]):
            raise ModelRevert("OracleNotUsable", (u, oracle_state))
        funding.accrue(state, world, p, u)
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


def _require_equity(
    state: State, p: RiskParams, account_id: int, account: Account, margin: Margin, taking: bool
) -> None:
    """Step 5."""
    equity, cap = margin.equity, p.unrealised_cap_usd * WAD
    if taking and cap:
        equity -= max(0, unrealised_profit(state, account) - cap)
    required = max(margin.im + settlement_lib.gap(state, account), p.min_margin_wad)
    if equity < required:
        raise ModelRevert("InsufficientMargin", (account_id, equity, required))


def _take_drifted(
    state: State,
    world: World,
    p: RiskParams,
    account: Account,
    mask: set[int],
    margin: Margin,
    live: Live,
) -> bool:
    """Step 3 (second half), of one account: True where a snapshot was taken."""
    moved = drift.moved_mask(state, p, account, mask, live)
    if not moved:
        return False
    if 2 * drift.bound(state, p, account, moved, live) <= margin.im - margin.mm:
        return False
    for u in sorted(moved):
        snapshots.take(state, world, p, u, *live.prices[u])
    return True
