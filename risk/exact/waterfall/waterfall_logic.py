"""Auto-deleveraging and socialised loss.  Twin: ``contracts/waterfall/WaterfallLogic.sol``.
Procedure, formulas and bounds: docs/waterfall.md.

Neither runs inside a batch or a callback: there an account may be bankrupt because its margin
check still waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from risk.exact.accounts import account_lib
from risk.exact.custody import interest_lib, pnl_lib, position_lib
from risk.exact.errors import ModelRevert
from risk.exact.liquidation import health_test
from risk.exact.margin import array_logic, drift, instrument_id, margin_logic, option_rows
from risk.exact.market import breaker
from risk.exact.market.feed_reader import load_params
from risk.exact.math.wad_math import WAD, mul_div_down, mul_div_up
from risk.exact.params.risk_params import RiskParams
from risk.exact.settlement import settlement_lib
from risk.exact.state import Account, State, World
from risk.exact.waterfall import bankruptcy, deleverage, insurance_lib, theta

MAX_COUNTERPARTIES: Final = 64
ABANDONED_SECONDS: Final = 3_600
MIN_SUPPLY_INDEX: Final = 10**9


# ---------------------------------------------------------------------------- auto-deleveraging


def auto_deleverage(
    state: State,
    world: World,
    account_id: int,
    instrument: int,
    counterparties: Sequence[int],
    theta_wad: int,
) -> int:
    """``IVaultExtension.autoDeleverage``; returns Σ haircuts.

    Refusals, in this order: Reentrancy (batch, callback), SequencerDown, SequencerGrace,
    RiskParamsMissing, CounterpartyOnWrongSide(account), TooManyCounterparties; per counterparty
    CounterpartiesNotAscending, CounterpartyOnWrongSide; AdlShareTooSmall; SettleFirst of the
    account, then of each counterparty; errors of the margin of the account, NotBankrupt,
    InsuranceNotExhausted, errors of the margins of the counterparties, AdlHaircutMismatch;
    SizeOutOfRange and CashOutOfRange of the account, then of each counterparty.
    """
    _require_open(state, world)
    p = load_params(state)
    interest_lib.accrue(state, world)
    a = account_lib.load(state, account_id)
    size = size_of(a, instrument)
    if size == 0:
        raise ModelRevert("CounterpartyOnWrongSide", (account_id, instrument))
    others, total = _gather(state, world, p, (account_id, a), instrument, counterparties)
    sizes = [abs(size_of(b, instrument)) for _, b in others]

    mask = _exposure(state, world, p, account_id, a)
    every = mask.union(*(_exposure(state, world, p, i, b) for i, b in others))
    live = bankruptcy.poke(state, world, p, every)
    deficit = bankruptcy.deficit(state, world, p, account_id, a, live)
    deficit = mul_div_up(deficit, total, abs(size))
    paid_by_fund = _insure(state, world, p, account_id, deficit, mask)
    deficit -= paid_by_fund
    a.cash_wad += paid_by_fund

    closed = deleverage.shares(sizes, sum(sizes), total)
    caps = _caps(state, [i for i, _ in others], deficit)
    paid, total_paid = deleverage.haircuts(closed, caps, total, theta_wad, deficit)
    a.cash_wad += total_paid
    _close(state, (account_id, a), others, instrument, closed, paid)
    return total_paid


def size_of(a: Account, instrument: int) -> int:
    """Signed size of the account in the instrument, 0 where there is none."""
    held = a.options if _is_option(instrument) else a.linear
    return next((x.size_wad for x in held if x.instrument == instrument), 0)


def _is_option(instrument: int) -> bool:
    return instrument_id.kind(instrument) >= instrument_id.CALL


def _gather(
    state: State,
    world: World,
    p: RiskParams,
    bankrupt: tuple[int, Account],
    instrument: int,
    ids: Sequence[int],
) -> tuple[list[tuple[int, Account]], int]:
    """(counterparties, how much is closed).

    They ascend, hold the other side, and together at least max(|size|, share of the open interest);
    of an abandoned account any 64 will do, and close as much of it as they hold of what
    would be required.
    """
    account_id, a = bankrupt
    size = size_of(a, instrument)
    if len(ids) > MAX_COUNTERPARTIES:
        raise ModelRevert("TooManyCounterparties", (MAX_COUNTERPARTIES,))
    others = []
    covered = 0
    for n, identity in enumerate(ids):
        if n and identity <= ids[n - 1]:
            raise ModelRevert("CounterpartiesNotAscending", (ids[n - 1], identity))
        b = account_lib.load(state, identity)
        held = size_of(b, instrument)
        if held == 0 or (held > 0) == (size > 0):
            raise ModelRevert("CounterpartyOnWrongSide", (identity, instrument))
        others.append((identity, b))
        covered += abs(held)
    required = mul_div_up(state.open_interest.get(instrument, 0), p.adl_share_bps, 10_000)
    required = max(required, abs(size))
    in_parts = len(ids) == MAX_COUNTERPARTIES and _abandoned(state, world, p, account_id)
    if covered < required and not in_parts:
        raise ModelRevert("AdlShareTooSmall", (covered, required))
    # in parts, those named carry no more than the rule would ask of them
    total = abs(size) * covered // required if covered < required else abs(size)
    if total == 0:
        raise ModelRevert("AdlShareTooSmall", (covered, required))
    return others, total


def _exposure(state: State, world: World, p: RiskParams, account_id: int, a: Account) -> set[int]:
    """Underlyings of the account; ``SettleFirst`` where one of its positions has its final
    price.
    """
    settled = settlement_lib.holds_settled(state, world, a)
    if settled is not None:
        raise ModelRevert("SettleFirst", (account_id, settled))
    return drift.underlying_mask(p, a)


def _caps(state: State, ids: Sequence[int], deficit: int) -> list[int]:
    """max(0, E_i − 1); all 0 where nothing is left to pay."""
    if deficit == 0:
        return [0] * len(ids)
    return [theta.cap_of(margin_logic.compute(state, i).equity) for i in ids]


def _close(
    state: State,
    bankrupt: tuple[int, Account],
    others: Sequence[tuple[int, Account]],
    instrument: int,
    closed: Sequence[int],
    paid: Sequence[int],
) -> None:
    """Close the position and store everybody, the account first.

    What a counterparty closes is worth ⌊d·mark⌋ to it, and the account bears the sum with the
    opposite sign: exact between them, every rounding for the account.
    """
    account_id, a = bankrupt
    size = size_of(a, instrument)
    mark = _mark(state, instrument, size)
    sign = -1 if size > 0 else 1
    values = [sign * amount * mark // WAD for amount in closed]
    d_long = _change(state, account_id, a, instrument, sign * sum(closed), -sum(values))
    for (identity, b), amount, haircut, value in zip(others, closed, paid, values, strict=True):
        b.cash_wad -= haircut
        d_long += _change(state, identity, b, instrument, -sign * amount, value)
    position_lib.add_instrument_interest(state, instrument, d_long, account_id)
    u = instrument_id.underlying(instrument)
    position_lib.add_open_interest(state, u, d_long, account_id, instrument)


def _mark(state: State, instrument: int, size: int) -> int:
    """Snapshot mark: of an option the array's, on the side of the account."""
    if _is_option(instrument):
        return option_rows.mark_of(array_logic.compute(state, instrument), size)
    return pnl_lib.linear_mark(state, instrument)


def _change(
    state: State, account_id: int, a: Account, instrument: int, d_size: int, value: int
) -> int:
    """Book one side of the close and store the account; returns the change of the long side."""
    if _is_option(instrument):
        a.cash_wad += value
        d_long = position_lib.change_option(account_id, a, instrument, d_size)
    else:
        d_long = position_lib.change_linear(state, account_id, a, instrument, d_size, value)
    account_lib.store(state, account_id, a)
    return d_long


# ------------------------------------------------------------------------------ socialised loss


def socialise(state: State, world: World, account_id: int) -> int:
    """``IVaultExtension.socialise``; returns what the lenders lost.

    Refusals, in this order: Reentrancy (batch, callback), SequencerDown, SequencerGrace,
    RiskParamsMissing, SliceMissing, CashOutOfRange, PositionsOpen, errors of the margin,
    NotBankrupt, InsuranceNotExhausted (only with collateral left), NoLenders.
    """
    _require_open(state, world)
    p = load_params(state)
    interest_lib.accrue(state, world)
    a = account_lib.load(state, account_id)
    pnl_lib.realize_all(state, account_id, a)
    if a.linear or a.options:
        raise ModelRevert("PositionsOpen", (account_id,))
    mask = drift.underlying_mask(p, a)
    live = bankruptcy.poke(state, world, p, mask)
    deficit = bankruptcy.deficit(state, world, p, account_id, a, live)
    pay = _insure if mask else _pay
    paid = pay(state, world, p, account_id, deficit, mask)
    loss = _take_from_lenders(state, deficit - paid)
    if paid + loss == 0:
        raise ModelRevert("NoLenders", (deficit,))
    a.cash_wad += paid + loss
    account_lib.store(state, account_id, a)
    return loss


def _take_from_lenders(state: State, loss: int) -> int:
    """Lower the supply index so that all positive cash together loses ``loss`` (rounded up), or
    what can be taken without pushing the index below its floor; returns what was taken.
    """
    supply, index = state.supply_wad, state.supply_index_e15
    if index <= MIN_SUPPLY_INDEX:
        return 0
    taken = min(loss, mul_div_down(supply, index - MIN_SUPPLY_INDEX, index))
    if taken == 0:
        return 0
    state.supply_index_e15 = mul_div_down(index, supply - taken, supply)
    state.supply_wad = mul_div_down(supply, state.supply_index_e15, index)
    state.interest_wad -= taken
    return taken


# --------------------------------------------------------------------------------------- shared


def _require_open(state: State, world: World) -> None:
    """Not inside a batch or callback, nor while an outage of the L2 sequencer holds
    liquidations.
    """
    if state.deferring:
        raise ModelRevert("Reentrancy")
    health_test.require_sequencer(state, world)


def _insure(
    state: State, world: World, p: RiskParams, account_id: int, deficit: int, mask: Iterable[int]
) -> int:
    """What the insurance fund pays.  A deficit that it can pay whole belongs to a liquidator, until
    the account is abandoned.
    """
    available = insurance_lib.available(state, world, p)
    if available >= deficit and not _abandoned(state, world, p, account_id):
        raise ModelRevert("InsuranceNotExhausted", (available,))
    return _pay(state, world, p, account_id, deficit, mask)


def _pay(
    state: State, world: World, p: RiskParams, account_id: int, wanted: int, mask: Iterable[int]
) -> int:
    """Draw on the insurance fund, and trip the breakers of ``mask`` where it paid a thousandth of
    itself.
    """
    paid = insurance_lib.pay(state, world, p, account_id, wanted)
    if paid and paid * 1_000 >= paid + state.insurance_wad:
        for u in mask:
            breaker.trip(state, world, u, p.breaker_seconds)
    return paid


def _abandoned(state: State, world: World, p: RiskParams, account_id: int) -> bool:
    """Flagged, the grace over, and an hour more."""
    flagged_at = state.accounts[account_id].flagged_at if account_id in state.accounts else 0
    return flagged_at != 0 and world.timestamp >= flagged_at + p.grace_seconds + ABANDONED_SECONDS
