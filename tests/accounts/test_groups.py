"""Groups of underlyings: who may not come to hold two of them, and who is never stopped by it.

Chain and model side by side: ETH is of group 0, BTC of group 1.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from risk.exact.errors import ModelRevert as Revert
from risk.exact.market.report_hash import VolReport
from risk.exact.math.wad_math import UINT256_MAX
from tests.liquidation.scene import (
    BTC_PERP,
    FUTURE,
    LONG,
    PERP,
    A,
    B,
    C,
    Contract,
    at_health,
    leg,
    legs,
    option,
    set_cash,
)
from tests.market.market_twin import KEYS, key_address, report_tuple
from tests.settlement.helpers import FUTURE as NEAR_FUTURE
from tests.settlement.helpers import MIN_OBSERVATIONS, SPACING, WINDOW, record
from tests.support.vault_fixtures import EXPIRIES, PRICES, Market, params
from tests.support.vault_twin import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    NO_LIMIT,
    OWNER,
    USD,
    WAD,
    account,
    underlying_params,
)

pytestmark = pytest.mark.chain

ETH, BTC = (price * WAD for price in PRICES)
BOTH = {"linear": [(PERP, 10 * WAD, -30_000 * WAD), (BTC_PERP, -WAD // 10, 6_000 * WAD)]}
A1 = account(ALICE, 1)


def regroup(m: Market, *groups: int, **changes: int) -> None:
    """New parameters: one group an underlying."""
    p = params(**changes)
    missing = [underlying_params()] * (len(groups) - len(p.underlyings))
    items = zip((*p.underlyings, *missing), groups, strict=True)
    m.set_params(replace(p, underlyings=tuple(replace(u, group=g) for u, g in items)))


@pytest.fixture
def grouped(market: Market) -> Market:
    """A million of cash for Alice, Bob and Carol."""
    regroup(market, 0, 1)
    for key in (ALICE, BOB, CAROL):
        assert market.do(key, "deposit", account(key), market.cash, 10**6 * USD) is None
    return market


def mixed(who: int, u: int = 0, v: int = 1) -> Revert:
    return Revert("MixedGroups", (who, u, v))


# ── taking on risk ───────────────────────────────────────────────────────────────────────────────


def test_one_group_with_another_name_is_one_group(market: Market) -> None:
    regroup(market, 7, 7)
    for key in (ALICE, BOB):
        assert market.do(key, "deposit", account(key), market.cash, 10**6 * USD) is None
    assert market.trade(ALICE, BOB, PERP, WAD, ETH) is None
    assert market.trade(ALICE, BOB, BTC_PERP, WAD, BTC) is None
    assert market.do(ALICE, "deposit", A, market.wbtc, 1) is None


def test_a_second_group_is_refused_to_both_sides(grouped: Market) -> None:
    m = grouped
    assert m.trade(ALICE, BOB, PERP, WAD, ETH) is None
    assert m.trade(ALICE, BOB, FUTURE, WAD, ETH) is None  # the same group goes on
    assert m.trade(ALICE, CAROL, BTC_PERP, WAD, BTC) == mixed(A)
    assert m.trade(CAROL, ALICE, BTC_PERP, WAD, BTC) == mixed(A)
    assert m.trade(BOB, ALICE, BTC_PERP, WAD, BTC) == mixed(B)  # the buyer first
    assert m.do(DAVE, "deposit", account(DAVE), m.cash, 10**6 * USD) is None
    assert m.trade(CAROL, DAVE, BTC_PERP, WAD, BTC) is None


def test_claims_do_not_count(grouped: Market) -> None:
    m = grouped
    m.put(A, cash=10**5 * WAD, linear=[(BTC_PERP, 0, 5 * WAD)])
    assert m.trade(ALICE, BOB, PERP, WAD, ETH) is None


def test_long_and_short_options_count(grouped: Market) -> None:
    m = grouped
    m.put(A, cash=10**5 * WAD, options=[(option(36), WAD)], mirror=C)
    m.state.accounts[C].cash_wad = 10**6 * WAD
    m.settle_totals()
    m.write_state()
    assert m.trade(ALICE, BOB, BTC_PERP, WAD // 100, BTC) == mixed(A)
    assert m.trade(BOB, CAROL, BTC_PERP, WAD // 100, BTC) == mixed(C)


def test_without_obligations_everything_may_be_held(grouped: Market) -> None:
    """Two collaterals and a long option: bound from the first obligation on."""
    m = grouped
    assert m.do(ALICE, "deposit", A, m.wbtc, 10**8) is None
    assert m.do(ALICE, "deposit", A, m.weth, WAD) is None
    assert m.trade(ALICE, BOB, option(36), WAD // 10, 100 * WAD) is None
    assert m.do(ALICE, "withdraw", A, m.cash, USD, A >> 8) == USD
    assert m.trade(ALICE, BOB, PERP, WAD, ETH) == mixed(A)
    # a loan is an obligation, too
    loan = 10**6 * USD
    assert m.do(ALICE, "withdraw", A, m.cash, loan, A >> 8) == mixed(A)
    assert m.do(ALICE, "withdraw", A, m.wbtc, UINT256_MAX, A >> 8) == 10**8
    assert m.trade(ALICE, BOB, PERP, WAD, ETH) is None


def test_a_deposit_of_another_group_is_refused_with_obligations(grouped: Market) -> None:
    m = grouped
    assert m.trade(ALICE, BOB, PERP, WAD, ETH) is None
    assert m.do(ALICE, "deposit", A, m.wbtc, 1) == mixed(A)
    assert m.batch(ALICE, ("deposit", A, m.wbtc, 1), ("withdraw", A, m.wbtc, 1, A >> 8)) == mixed(A)
    for token, amount in ((m.weth, WAD), (m.coin, 10**6), (m.weth, 1), (m.cash, USD)):
        assert m.do(ALICE, "deposit", A, token, amount) is None
    assert m.do(CAROL, "deposit", C, m.wbtc, 1) is None
    assert m.do(ALICE, "deposit", A, m.wbtc, 10**30).name == "CapExceeded"


def test_a_transfer_of_another_group_is_refused_to_the_taker(grouped: Market) -> None:
    m = grouped
    assert m.trade(ALICE, BOB, PERP, WAD, ETH) is None
    for token, amount in ((m.wbtc, 10**8), (m.weth, WAD)):
        assert m.do(ALICE, "deposit", A1, token, amount) is None
    assert m.do(ALICE, "transfer", A1, A, m.wbtc, UINT256_MAX) == mixed(A)
    assert m.do(ALICE, "transfer", A1, A, m.wbtc, 10**9).name == "InsufficientCollateral"
    assert m.do(ALICE, "transfer", A1, A, m.weth, UINT256_MAX) == WAD
    assert m.do(ALICE, "transfer", A, A1, m.weth, 1) == 1
    # the giver answers to the rules of a withdrawal
    regroup(m, 0, 0)
    assert m.do(ALICE, "transfer", A1, A, m.wbtc, 1) == 1
    regroup(m, 0, 1)
    assert m.do(ALICE, "transfer", A, A1, m.cash, USD) == mixed(A)
    assert m.do(ALICE, "transfer", A, A1, m.wbtc, UINT256_MAX) == 1


# ── a book that is mixed already ─────────────────────────────────────────────────────────────────


@pytest.fixture
def old_book(grouped: Market) -> Market:
    """Alice and Bob traded both underlyings while they were of one group."""
    m = grouped
    regroup(m, 0, 0)
    assert m.trade(ALICE, BOB, PERP, 10 * WAD, ETH) is None
    assert m.trade(ALICE, BOB, BTC_PERP, WAD, BTC) is None
    assert m.do(ALICE, "deposit", A, m.weth, WAD) is None
    regroup(m, 0, 1)
    return m


def test_new_groups_over_an_old_book(old_book: Market) -> None:
    """It can be reduced, paid into and left, not enlarged."""
    m = old_book
    assert m.trade(ALICE, BOB, PERP, WAD, ETH) == mixed(A)
    assert m.trade(ALICE, CAROL, PERP, WAD, ETH) == mixed(A)
    assert m.do(ALICE, "withdraw", A, m.cash, USD, A >> 8) == mixed(A)
    assert m.do(ALICE, "deposit", A, m.cash, USD) is None
    assert m.do(ALICE, "deposit", A, m.weth, WAD) is None  # what it holds already
    assert m.do(ALICE, "deposit", A, m.coin, 1) is None  # an underlying that it holds already
    assert m.do(ALICE, "deposit", A, m.wbtc, 1) is None
    assert m.do(CAROL, "realizePnl", A) == 0
    assert m.trade(BOB, ALICE, PERP, WAD, ETH) is None  # both reduce
    assert m.trade(BOB, ALICE, BTC_PERP, WAD, BTC) is None  # the second group is gone for Bob
    assert m.trade(BOB, CAROL, PERP, WAD, ETH) is None
    # several steps out at once: asked for at the end of the batch
    assert m.batch(ALICE, ("withdraw", A, m.cash, USD, A >> 8)) == mixed(A)
    assert (
        m.batch(
            ALICE,
            ("withdraw", A, m.cash, USD, A >> 8),
            ("withdraw", A, m.wbtc, UINT256_MAX, A >> 8),
        )
        is None
    )


def test_settling_is_not_bound(market: Market) -> None:
    m = market
    tail = {
        "settle_window_seconds": WINDOW,
        "settle_min_observations": MIN_OBSERVATIONS,
        "settle_min_spacing_seconds": SPACING,
    }
    regroup(m, 0, 1, **tail)
    near, other = (NEAR_FUTURE, WAD, -3_000 * WAD), (BTC_PERP, WAD, -60_000 * WAD)
    m.put(A, cash=10**5 * WAD, linear=[near, other], mirror=B)
    m.state.accounts[B].cash_wad = 10**6 * WAD
    m.settle_totals()
    m.write_state()
    record(m, 3_100)
    m.set_price(1, PRICES[1])
    refused = m.do(ALICE, "withdraw", A, m.cash, USD, A >> 8)
    assert refused == Revert("SettleFirst", (A, NEAR_FUTURE))  # comes before the groups
    assert m.do(CAROL, "settle", [A, B]) is None
    assert [x.instrument for x in m.state.accounts[A].linear if x.size_wad] == [BTC_PERP]


# ── liquidation ──────────────────────────────────────────────────────────────────────────────────


def seize(m: Market, fraction: int = WAD, key: object = CAROL) -> object:
    who = account(key)  # type: ignore[arg-type]
    return m.do(key, "liquidate", A, who, fraction, NO_LIMIT)  # type: ignore[arg-type]


def test_the_liquidator_is_bound(grouped: Market) -> None:
    m = grouped
    at_health(m, A, 9 * WAD // 10, **LONG)
    m.put(C, cash=10**7 * WAD, collateral={1: 10**8})
    assert seize(m) == mixed(C)
    assert legs(m, [leg(PERP, WAD)], NO_LIMIT) == mixed(C)
    m.put(C, cash=10**7 * WAD, collateral={0: WAD})
    assert isinstance(legs(m, [leg(PERP, WAD)], NO_LIMIT), int)
    assert isinstance(seize(m), tuple)
    assert m.do(CAROL, "deposit", C, m.wbtc, 1) == mixed(C)


def test_the_margin_of_a_taker_is_asked_for_as_before(grouped: Market) -> None:
    """Where there are groups another path computes it."""
    m = grouped
    at_health(m, A, 9 * WAD // 10, **LONG)
    m.put(C, cash=100 * WAD)
    refused = seize(m)
    assert isinstance(refused, Revert) and refused.name == "InsufficientMargin"
    regroup(m, 0, 0)
    assert seize(m) == refused


def test_a_mixed_book_is_taken_by_who_holds_nothing_else(grouped: Market) -> None:
    m = grouped
    at_health(m, A, 9 * WAD // 10, **BOTH)
    m.put(C, cash=10**7 * WAD)
    assert isinstance(seize(m, WAD // 10), tuple)
    # C is mixed now, with obligations: it can neither take more nor trade
    set_cash(m, A, m.state.accounts[A].cash_wad - 4_000 * WAD)
    assert seize(m, WAD // 10) == mixed(C)
    assert m.do(CAROL, "withdraw", C, m.cash, USD, C >> 8) == mixed(C)
    assert m.trade(CAROL, BOB, PERP, WAD, ETH) == mixed(C)
    assert m.trade(BOB, CAROL, PERP, 10**15, ETH) is None  # it reduces


def test_a_grain_does_not_let_a_large_book_be_netted(grouped: Market) -> None:
    """Who holds one group of a mixed book already cannot take it: a wei of ether in an old bitcoin
    book, and 200 ether against it.
    """
    m = grouped
    at_health(m, A, 9 * WAD // 10, linear=[(PERP, 1, 0), (BTC_PERP, -WAD, 60_000 * WAD)])
    m.put(C, cash=10**7 * WAD, linear=[(PERP, 200 * WAD, -200 * ETH)], mirror=account(BOB, 9))
    assert seize(m, WAD // 10) == mixed(C)
    assert legs(m, [leg(BTC_PERP, -WAD // 10)], NO_LIMIT) == mixed(C)
    m.put(C, cash=10**7 * WAD, mirror=account(BOB, 9))
    assert isinstance(seize(m, WAD // 10), tuple)


def test_a_third_group_stays_out_of_a_mixed_book(grouped: Market) -> None:
    m = grouped
    assert m.do(OWNER, "listUnderlying", m.new_feed(8, 100 * 10**8)) == 2
    regroup(m, 3, 1, 2)
    m.set_price(2, 100)
    assert report_without_slices(m, 2) is None
    third = 2 << 28
    at_health(m, A, 9 * WAD // 10, **BOTH)
    m.put(C, cash=10**7 * WAD, linear=[(third, WAD, -100 * WAD)], mirror=account(BOB, 9))
    assert seize(m) == mixed(C)
    regroup(m, 3, 3, 2)
    m.set_price(2, 100)
    assert seize(m) == mixed(C, 0, 2)
    regroup(m, 3, 3, 3)
    m.set_price(2, 100)
    assert isinstance(seize(m), tuple)


def report_without_slices(m: Market, u: int) -> object:
    """A first report, which takes the first snapshot."""
    m.world.timestamp += 1
    report = VolReport(u, 1, m.world.timestamp, 10, ())
    digest = m.model.hash_report(report)
    signatures = [bytes(k.unsafe_sign_hash(digest).signature) for k in KEYS[:2]]
    signers = [key_address(k) for k in KEYS[:2]]
    chain = (report_tuple(report), signatures)
    return m.do(OWNER, "submitReport", report, signers, chain=chain)


def test_a_callback_is_bound_as_well(grouped: Market) -> None:
    m = grouped
    at_health(m, A, 9 * WAD // 10, **LONG)
    keeper = Contract(m)
    m.put(keeper.account, cash=10**7 * WAD, collateral={1: 10**8})
    keeper.arm()
    assert keeper.slice(A, WAD, NO_LIMIT) == mixed(keeper.account)
    # what is out of the way when the callback is over is no matter
    out = (keeper.account, m.wbtc, 10**8, keeper.address)
    keeper.arm(("withdraw", out))
    assert isinstance(keeper.slice(A, WAD // 10, NO_LIMIT), tuple)


def test_a_mixed_book_through_a_callback(grouped: Market) -> None:
    """Allowed at the liquidator's own check; an action of it in the callback is one like any."""
    m = grouped
    at_health(m, A, 9 * WAD // 10, **BOTH)
    keeper = Contract(m, cash=10**7 * WAD)
    m.give(m.cash, keeper.address, 10**3 * USD)
    keeper.arm(("withdraw", (keeper.account, m.cash, USD, keeper.address)))
    assert keeper.slice(A, WAD // 10, NO_LIMIT) == mixed(keeper.account)
    keeper.arm(("deposit", (keeper.account, m.cash, USD)))
    assert isinstance(keeper.slice(A, WAD // 10, NO_LIMIT), tuple)


def test_expiries_matter_to_none_of_it(grouped: Market) -> None:
    """Options and futures of one underlying are of one group whatever their expiry."""
    m = grouped
    for day in EXPIRIES:
        assert m.trade(ALICE, BOB, option(36, day=day), WAD, 100 * WAD) is None
