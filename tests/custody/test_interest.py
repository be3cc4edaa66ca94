"""Cash market: loans, kinked curve, compounding indices (ATTACKS G53–G55, A8)."""

from __future__ import annotations

from random import Random

import pytest

from risk.exact.custody import interest_lib, interest_logic
from risk.exact.math.wad_math import UINT256_MAX
from risk.exact.state import State, World
from tests.support.vault_fixtures import Market, params
from tests.support.vault_twin import ALICE, BOB, CAROL, USD, WAD, account, key_address

YEAR = 31_536_000
CURVE = {
    "base_rate_bps": 100,
    "kink_utilisation_bps": 8_000,
    "kink_rate_bps": 900,
    "full_rate_bps": 10_000,
    "reserve_share_bps": 1_000,
}


@pytest.fixture
def lending(market: Market) -> Market:
    """Alice lends 10 000; Bob has ether and borrows 5 000."""
    m = market
    m.set_params(params(**CURVE))
    assert m.do(ALICE, "deposit", account(ALICE), m.cash, 10_000 * USD) is None
    assert m.do(BOB, "deposit", account(BOB), m.weth, 100 * WAD) is None
    borrow(m, 5_000 * USD)
    return m


def borrow(m: Market, amount: int) -> None:
    assert m.do(BOB, "withdraw", account(BOB), m.cash, amount, key_address(BOB)) == amount


def wait(m: Market, seconds: int) -> None:
    m.world.timestamp += seconds
    assert m.do(CAROL, "accrue") is None


def test_the_curve() -> None:
    p = params(**CURVE)
    rate = interest_logic.rate_wad
    assert rate(p, 0) == WAD // 100
    assert rate(p, WAD * 4 // 10) == WAD // 20
    assert rate(p, WAD * 8 // 10) == WAD * 9 // 100
    assert rate(p, WAD * 9 // 10) == WAD * 545 // 1_000
    assert rate(p, WAD) == WAD


def test_G54_utilisation_is_defined_everywhere() -> None:
    u = interest_logic.utilisation_wad
    assert [u(0, 0), u(5, 0), u(0, 5), u(5, 5), u(5, 7)] == [0, 0, WAD, WAD, WAD]
    assert u(3, 1) == WAD // 3 + 1  # up


def test_borrowers_pay_lenders_earn_the_fund_takes_its_share(lending: Market) -> None:
    m = lending
    wait(m, YEAR)
    debt = -interest_lib.touched(m.state, *_recorded(m, BOB))
    cash = interest_lib.touched(m.state, *_recorded(m, ALICE))
    paid, earned, fund = debt - 5_000 * WAD, cash - 10_000 * WAD, m.state.insurance_wad
    # utilisation 50 %: 1 % + 8 %·5/8 = 6 %, compounded within a year in one step: e^0.06 − 1
    assert abs(paid / WAD - 5_000 * 0.0618365) < 0.01
    assert 0 <= paid - earned - fund <= 10**7  # an index has 15 digits: 10 000 e18 / 1e15
    assert abs(fund * 10 - paid) < 100 * 10**6
    # Bob pays back with interest, Alice takes everything out
    assert m.do(BOB, "deposit", account(BOB), m.cash, 6_000 * USD) is None
    second = debt // YEAR + 1  # of interest at 100 % is more than what two seconds cost
    assert 0 <= 1_000 * WAD - paid - m.state.accounts[account(BOB)].cash_wad <= second
    got = m.do(ALICE, "withdraw", account(ALICE), m.cash, UINT256_MAX, key_address(ALICE))
    assert 0 <= got - cash // 10**12 <= 2 * second // 10**12 + 1


def _recorded(m: Market, key: object) -> tuple[int, int]:
    a = m.state.accounts[account(key)]  # type: ignore[arg-type]
    return a.cash_wad, a.interest_index


def test_margin_sees_interest_up_to_the_last_accrual(lending: Market) -> None:
    m = lending
    before = m.compare_margin(account(BOB)).equity
    wait(m, YEAR)
    after = m.compare_margin(account(BOB)).equity
    assert -after + before == -interest_lib.touched(m.state, *_recorded(m, BOB)) - 5_000 * WAD
    assert m.compare_margin(account(ALICE)).equity > 10_000 * WAD


def test_G53_idle_for_a_thousand_years(lending: Market) -> None:
    m = lending
    for _ in range(4):
        m.world.timestamp += 250 * YEAR
        assert m.do(CAROL, "accrue") is None
    assert m.state.borrow_index_e15 <= interest_logic.MAX_INDEX
    # nobody is locked: the lender can still act, debts can be paid
    assert m.do(ALICE, "deposit", account(ALICE), m.cash, USD) is None
    assert m.do(BOB, "deposit", account(BOB), m.cash, USD) is None


def test_G53_the_index_stops_at_its_bound() -> None:
    state = State(owner=1, cash_token=2, cash_decimals=6, params=params(**CURVE))
    world = World(timestamp=1)
    state.supply_wad, state.borrow_wad = 10**24, 10**24
    for _ in range(60):
        world.timestamp += 10 * YEAR
        interest_lib.accrue(state, world)
    assert state.borrow_index_e15 == interest_logic.MAX_INDEX
    assert state.supply_index_e15 <= interest_logic.MAX_INDEX
    before = state.borrow_wad
    world.timestamp += YEAR
    interest_lib.accrue(state, world)
    assert state.borrow_wad == before


def test_G55_a_change_of_rates_accrues_at_the_old_ones_first(lending: Market) -> None:
    m = lending
    m.world.timestamp += YEAR // 2
    m.set_params(params(**{**CURVE, "base_rate_bps": 0, "kink_rate_bps": 0, "full_rate_bps": 0}))
    grown = m.state.borrow_index_e15
    assert grown > 10**15 * 102 // 100
    wait(m, YEAR)
    assert m.state.borrow_index_e15 == grown


def test_nobody_lends_the_fund_takes_all(market: Market) -> None:
    m = market
    m.set_params(params(**CURVE))
    assert m.do(CAROL, "fundInsurance", 100 * USD) is None
    assert m.do(ALICE, "deposit", account(ALICE), m.cash, 100 * USD) is None
    assert m.do(BOB, "deposit", account(BOB), m.weth, 10 * WAD) is None
    borrow(m, 100 * USD)
    # Alice's cash cannot leave while it is lent out
    refused = m.do(ALICE, "withdraw", account(ALICE), m.cash, USD, key_address(ALICE))
    assert refused.name == "InsufficientLiquidity"
    before = m.state.insurance_wad
    wait(m, YEAR)
    assert m.state.insurance_wad > before


def test_a_debt_of_one_wei_without_lenders_pays_the_full_rate(market: Market) -> None:
    m = market
    m.set_params(params(**CURVE))
    assert m.do(CAROL, "fundInsurance", 100 * USD) is None
    m.put(account(BOB), cash=-1, collateral={0: 10 * WAD})
    assert (m.state.supply_wad, m.state.borrow_wad) == (0, 1)
    wait(m, YEAR)
    assert m.state.borrow_index_e15 > 2 * 10**15  # a rate of 100 %, compounded


@pytest.mark.parametrize("part", [1, 9], ids=["below the kink", "above"])
def test_the_rate_is_rounded_up_on_the_chain(market: Market, part: int) -> None:
    """A wei of the annual rate is seen in an index of 15 digits where growth crosses a unit: the
    model looks for such a supply, and the chain must accrue as it does.
    """
    m = market
    p = params(**CURVE)
    m.set_params(p)
    rng = Random(f"rate {part}")
    lent = 10**5 * WAD
    for _ in range(200_000):
        supply = lent + rng.randrange(WAD)
        rate = interest_logic.rate_wad(p, interest_logic.utilisation_wad(supply, lent * part // 10))
        high, low = (interest_logic.growth_wad(r, YEAR) for r in (rate, rate - 1))
        if -(-high // 1_000) != -(-low // 1_000):
            break
    else:
        pytest.fail("no supply found")
    m.put(account(ALICE), cash=supply)
    m.put(account(BOB), cash=-(lent * part // 10), collateral={0: 10**6 * WAD})
    assert (m.state.supply_wad, m.state.borrow_wad) == (supply, lent * part // 10)
    m.state.interest_time = m.world.timestamp - YEAR
    m.write_state()
    assert m.do(CAROL, "accrue") is None
    assert m.state.borrow_index_e15 == 10**15 + -(-high // 1_000)


def test_A8_dust_never_favours_a_user() -> None:
    """Random loans and accruals on the model: Σ accounts against the totals and the tokens."""
    for seed in range(20):
        rng = Random(seed)
        state = State(owner=1, cash_token=2, cash_decimals=6, params=params(**CURVE))
        world = World(timestamp=1)
        cash = dict.fromkeys(range(6), (0, 0))
        held = 0
        for _ in range(200):
            world.timestamp += rng.choice([1, 12, 3_600, 10**6])
            interest_lib.accrue(state, world)
            who = rng.randrange(6)
            recorded, index = cash[who]
            now = interest_lib.touched(state, recorded, index)
            change = rng.randint(-(10**21), 10**21)
            new_index = interest_lib.book(state, who, recorded, index, now + change)
            cash[who] = (now + change, new_index)
            held += change
            total = [interest_lib.touched(state, c, i) for c, i in cash.values()]
            recorded_sum = sum(c for c, _ in cash.values())
            assert held == recorded_sum + state.insurance_wad + state.interest_wad
            assert sum(total) + state.insurance_wad <= held + 10**6  # lenders ≤ borrowers + cash


def test_a_supply_of_next_to_nothing_does_not_get_everybodys_interest() -> None:
    """The lent money lies in a pool, one wei is on an account: its owner earns on a wei."""
    state = State(owner=1, cash_token=2, cash_decimals=6, params=params(**CURVE))
    world = World(timestamp=1)
    state.supply_wad, state.borrow_wad = 1, 10**24
    for _ in range(24):
        world.timestamp += 3_600
        interest_lib.accrue(state, world)
    assert 10**15 <= state.supply_index_e15 <= state.borrow_index_e15
    assert state.insurance_wad > 0


def test_the_chain_gives_that_interest_to_the_fund(market: Market) -> None:
    m = market
    m.set_params(params(**CURVE))
    assert m.do(CAROL, "fundInsurance", 1_000 * USD) is None
    assert m.do(ALICE, "deposit", account(ALICE), m.cash, 1_000 * USD) is None
    assert m.do(BOB, "deposit", account(BOB), m.weth, 10 * WAD) is None
    borrow(m, 900 * USD)
    m.state.supply_wad = 10**6  # as if the rest lay in a pool
    m.write_state()
    before = m.state.insurance_wad
    wait(m, 30 * 86_400)
    assert m.state.supply_index_e15 <= m.state.borrow_index_e15
    paid = m.state.borrow_wad - 900 * WAD
    assert paid * 99 // 100 <= m.state.insurance_wad - before <= paid
