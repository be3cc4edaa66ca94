"""ATTACKS E: bad debt.  Each test runs on model and chain side by side."""

from __future__ import annotations

from typing import Any

from risk.exact.errors import ModelRevert as Revert
from risk.exact.waterfall import deleverage, insurance_lib, theta, waterfall_logic
from tests.attacks.defence import Defence
from tests.liquidation.scene import set_insurance
from tests.support.vault_fixtures import PRICES, Market
from tests.support.vault_twin import CAROL, MAX, NO_LIMIT, WAD, account
from tests.waterfall.support import (
    BOB,
    BTC_PERP,
    CALL,
    DAVE,
    LENDER,
    PERP,
    A,
    Holding,
    adl,
    others,
    plan,
    position,
    set_equity,
    value,
    with_params,
    write,
)

B, C, D = account(BOB, 77), account(CAROL, 77), account(DAVE, 77)
EVENT, CAP, PERIOD = 100 * WAD, 250 * WAD, 3_600
CAPS = {
    "insurance_event_cap_wad": EVENT,
    "insurance_period_cap_wad": CAP,
    "insurance_period_seconds": PERIOD,
}


def fresh(m: Market) -> None:
    for u, price in enumerate(PRICES):
        m.set_price(u, price)


def name(outcome: Any) -> str:
    return outcome.name if isinstance(outcome, Revert) else ""


def equity(m: Market, *ids: int) -> list[int]:
    return [m.compare_margin(i).equity for i in ids]


def dust(m: Market) -> int:
    """No rounding of a socialised loss is larger: one unit of the supply index."""
    return m.state.supply_wad // m.state.supply_index_e15 + 3


def bankrupt(
    m: Market,
    deficit: int,
    equities: tuple[int, ...] = (50_000, 50_000, 50_000),
    instrument: int = PERP,
) -> list[int]:
    """Alice is long 10 and lacks ``deficit``; accounts with these equities (units of cash) are
    short 3, 3 and 4; somebody lends a million.
    """
    ids = others(3)
    book = {A: Holding(**position(instrument, 10 * WAD)), LENDER: Holding(cash=10**6 * WAD)}
    for i, size in zip(ids, (3, 3, 4), strict=True):
        book[i] = Holding(**position(instrument, -size * WAD))
    write(m, book)
    for i, units in zip(ids, equities, strict=True):
        set_equity(m, i, units * WAD)
    set_equity(m, A, -deficit)
    return ids


def test_E44_a_deficit_is_covered_once_and_no_more(market: Market) -> None:
    """Fund and lenders together pay what is owed; nothing can be claimed for it again."""
    m = market
    for fund in (0, 300, 2_000):
        write(m, {A: Holding(cash=-1_000 * WAD), B: Holding(6_000 * WAD), C: Holding(3_000 * WAD)})
        set_insurance(m, fund)
        total, lent = value(m), sum(equity(m, B, C))
        loss = m.do(CAROL, "socialise", A)
        paid = fund * WAD - m.state.insurance_wad
        assert paid == min(fund, 1_000) * WAD
        assert loss == 1_000 * WAD - paid
        assert equity(m, A) == [0]
        assert loss <= lent - sum(equity(m, B, C)) <= loss + dust(m)
        assert 0 <= total - value(m) <= dust(m)
        assert m.do(CAROL, "socialise", A) == Revert("NotBankrupt", (A, 0))
    # with a position: once closed, no deficit is left for anybody to bear
    for instrument in (PERP, CALL):
        set_insurance(m, 0)
        ids = bankrupt(m, 1_000 * WAD + 3, instrument=instrument)
        lender, total = m.model.margin(LENDER).equity, value(m)
        assert adl(m, instrument, ids, plan(m, instrument, ids).theta) == 1_000 * WAD + 3
        assert 0 <= m.compare_margin(A).mark_equity <= len(ids) + 1
        again = adl(m, instrument, ids, MAX)
        assert name(again) == "CounterpartyOnWrongSide"
        assert name(m.do(CAROL, "socialise", A)) == "NotBankrupt"
        assert equity(m, LENDER) == [lender]
        assert value(m) == total


def test_E45_a_small_fund_pays_what_it_has_and_the_rest_goes_on(market: Market) -> None:
    m = market
    # a liquidation
    write(m, {C: Holding(cash=10**6 * WAD)})
    bankrupt(m, 1_000 * WAD)
    set_insurance(m, 100)
    done = m.do(CAROL, "liquidate", A, C, WAD // 10, NO_LIMIT)
    assert done == (WAD // 10, -100 * WAD)
    assert m.state.insurance_wad == 0
    assert m.do(CAROL, "liquidate", A, C, WAD // 10, NO_LIMIT) == (WAD // 10, 0)
    # the whole waterfall: 100 of the fund, all that the other side has, the lenders
    write(m, {C: Holding()})
    ids = bankrupt(m, 1_000 * WAD, (40, 0, 20))
    set_insurance(m, 100)
    haircuts = adl(m, PERP, ids, MAX)
    assert haircuts == 60 * WAD - 2
    assert m.state.insurance_wad == 0
    left = -m.compare_margin(A).mark_equity
    assert 840 * WAD - 2 <= left <= 840 * WAD + 2
    assert m.do(CAROL, "socialise", A) == left
    assert equity(m, A) == [0]
    assert min(equity(m, *ids)) >= -1


def test_E46_the_fund_loses_its_caps_on_every_path(market: Market) -> None:
    """JELLY: the backstop took the position over, and its losses came out of what others had lent.
    Ours never holds a position; it pays cash, within its caps, by whatever way and however often it
    is asked, and beyond them only those who are next pay.
    """
    m = market
    with_params(m, **CAPS)
    fresh(m)
    start = m.world.timestamp
    spent = 0

    def paid(fund: int) -> int:
        nonlocal spent
        now = fund - m.state.insurance_wad
        spent += now
        assert 0 <= now <= EVENT
        assert spent * PERIOD <= CAP * (PERIOD + m.world.timestamp - start)
        return now

    set_insurance(m, 100_000)
    fund = m.state.insurance_wad
    # liquidations, also in parts; neither lenders nor the other side notice
    write(m, {C: Holding(cash=10**6 * WAD), D: Holding(cash=10**6 * WAD)})
    ids = bankrupt(m, 4_000 * WAD)
    before = equity(m, LENDER, *ids)
    for fraction in (WAD // 2, WAD):
        fund = m.state.insurance_wad
        assert name(m.do(CAROL, "liquidate", A, C, fraction, NO_LIMIT)) == ""
        assert paid(fund) == EVENT
    assert equity(m, LENDER, *ids) == before
    # auto-deleveraging, with what is left of the period
    write(m, {C: Holding()})
    ids = bankrupt(m, 4_000 * WAD)
    fund, p = m.state.insurance_wad, plan(m, PERP, ids)
    assert adl(m, PERP, ids, p.theta) == p.deficit - p.insured
    assert 0 < paid(fund) == p.insured < EVENT
    # debts, split over accounts
    for _ in range(3):
        fund = m.state.insurance_wad
        write(m, {A: Holding(cash=-80 * WAD)})
        assert name(m.do(CAROL, "socialise", A)) == ""
        assert paid(fund) <= WAD
    # and in a batch
    for u, instrument in enumerate((PERP, BTC_PERP)):
        book = {A: Holding(**position(instrument, WAD, PRICES[u]))}
        book[ids[0]] = Holding(cash=10**6 * WAD, **position(instrument, -WAD, PRICES[u]))
        write(m, {**book, **{i: Holding() for i in ids[1:]}, C: Holding(cash=10**6 * WAD)})
        set_equity(m, A, -50_000 * WAD)
        fund = m.state.insurance_wad
        calls = [("liquidate", A, C, WAD // 10, NO_LIMIT)] * 3
        assert name(m.batch(CAROL, *calls)) == ""
        assert paid(fund) <= WAD
        write(m, {A: Holding(), ids[0]: Holding(), C: Holding()})
    assert CAP <= spent <= CAP + WAD


def test_E47_haircuts_are_the_deficit_and_spare_who_has_nothing(market: Market) -> None:
    """Σ = deficit to the wei; a winner keeps at least zero, who is below pays nothing; a level that
    takes more, or less than it could, is refused.
    """
    m = market
    for equities in ((50_000, 50_000, 50_000), (100, 5_000, 50_000), (0, 7, 50_000)):
        for deficit in (1_000 * WAD + 3, 1, 17 * WAD // 3):
            ids = bankrupt(m, deficit, equities)
            before, total = equity(m, *ids), value(m)
            p = plan(m, PERP, ids)
            for level in (p.theta * 102 // 100 + 10**4, MAX, p.theta - 1, 0):
                assert name(adl(m, PERP, ids, level)) == "AdlHaircutMismatch"
            assert adl(m, PERP, ids, p.theta) == deficit
            after = equity(m, *ids)
            assert min(after) >= -1  # of the one who had nothing: a wei of rounding
            paid = [x - y for x, y in zip(before, after, strict=True)]
            assert -3 <= sum(paid) - deficit <= 3
            assert all(h <= max(had, 1) for h, had in zip(paid, before, strict=True))
            # the same per unit for all who can
            if equities[0] == 50_000:
                shares = [h * 10 // size for h, size in zip(paid, (3, 3, 4), strict=True)]
                assert max(shares) - min(shares) <= 10
            assert value(m) == total


def test_E47_all_that_the_other_side_has_is_the_most_it_pays(market: Market) -> None:
    """Where the deficit is larger, every winner ends at zero and none below."""
    m = market
    ids = bankrupt(m, 1_000 * WAD, (10, 20, 30))
    assert adl(m, PERP, ids, MAX) == 60 * WAD - 3
    assert all(0 <= e <= 2 for e in equity(m, *ids))


# ------------------------------------------------------------------------- without the defences


def _forgets_that_it_paid(original: Any) -> Any:
    """What the fund paid is borne by the lenders as well."""

    def pay(*args: Any) -> int:
        original(*args)
        return 0

    return pay


def _all_or_nothing(original: Any) -> Any:
    """The fund reverts where it has less than is wanted."""

    def pay(state: Any, world: Any, p: Any, account_id: int, wanted: int) -> int:
        available = insurance_lib.available(state, world, p)
        if available < wanted:
            raise Revert("InsufficientLiquidity", (available, wanted))
        return original(state, world, p, account_id, wanted)  # type: ignore[no-any-return]

    return pay


def _no_caps(original: Any) -> Any:
    del original
    return lambda state, world, p: state.insurance_wad


def _whatever_theta_says(original: Any) -> Any:
    """Haircuts are θ·size, up to what each has; nothing is checked or given back."""
    del original

    def haircuts(closed: Any, caps: Any, total: int, level: int, deficit: int) -> Any:
        del total, deficit
        pairs = zip(closed, caps, strict=True)
        paid = [deleverage.haircut(level, size, cap) for size, cap in pairs]
        return paid, sum(paid)

    return haircuts


DEFENCES = [
    Defence(
        test_E44_a_deficit_is_covered_once_and_no_more,
        "what the fund paid is no loss of the lenders",
        ((waterfall_logic, "_pay", _forgets_that_it_paid),),
    ),
    Defence(
        test_E45_a_small_fund_pays_what_it_has_and_the_rest_goes_on,
        "partial cover",
        ((insurance_lib, "pay", _all_or_nothing),),
    ),
    Defence(
        test_E46_the_fund_loses_its_caps_on_every_path,
        "caps of the fund",
        ((insurance_lib, "available", _no_caps),),
    ),
    Defence(
        test_E47_haircuts_are_the_deficit_and_spare_who_has_nothing,
        "haircuts within the deficit",
        ((deleverage, "haircuts", _whatever_theta_says),),
    ),
    Defence(
        test_E47_all_that_the_other_side_has_is_the_most_it_pays,
        "no haircut above equity",
        ((theta, "cap_of", lambda _: lambda equity_wad: 10**30),),
    ),
]
