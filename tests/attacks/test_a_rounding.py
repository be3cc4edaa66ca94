"""ATTACKS A: rounding and shares.  Each test runs on model and chain side by side."""

from __future__ import annotations

from typing import Any

from risk.exact.custody import custody_logic, interest_lib, pnl_lib, position_lib
from risk.exact.errors import ModelRevert as Revert
from risk.exact.liquidation import liquidation_logic, slice_legs
from risk.exact.market import feed_reader
from risk.exact.market.report_hash import VolReport
from risk.exact.math.wad_math import UINT256_MAX
from risk.exact.vault import Vault
from tests.attacks.defence import Defence, answer
from tests.market.market_twin import KEYS, report_tuple, slice_of
from tests.support.vault_fixtures import EXPIRIES, PRICES, Market, params
from tests.support.vault_twin import ALICE, BOB, CAROL, USD, WAD, account, iid, key_address

PERP = iid.encode(0, iid.PERP, 0, 0)
CALL = iid.encode(0, iid.CALL, EXPIRIES[1], 30)
A, B, C = account(ALICE), account(BOB), account(CAROL)
RATES = {"kink_utilisation_bps": 8_000, "kink_rate_bps": 2_000, "full_rate_bps": 20_000}


def fund(m: Market, *keys: object, usd: int = 100_000) -> None:
    for key in keys:
        assert m.do(key, "deposit", account(key), m.cash, usd * USD) is None  # type: ignore[arg-type]


def worth(m: Market, *accounts: int) -> int:
    """Mark equity in WAD, PnL included."""
    return sum(m.model.margin(a).mark_equity for a in accounts)


def test_A1_a_donation_changes_nothing(market: Market) -> None:
    m = market
    m.set_params(params(**RATES))
    fund(m, ALICE, BOB)
    assert m.trade(ALICE, BOB, PERP, WAD, PRICES[0] * WAD) is None
    before = [m.compare_margin(a) for a in (A, B)], m.model.totals(), m.state.supply_index_e15
    m.token(m.cash, "mint", m.world.vault, 10**6 * USD)
    m.token(m.weth, "mint", m.world.vault, 10**6 * WAD)
    for token, amount in ((m.cash, 10**6 * USD), (m.weth, 10**6 * WAD)):
        held = m.world.balances[token]
        held[m.world.vault] = held.get(m.world.vault, 0) + amount
    assert m.do(CAROL, "accrue") is None
    after = [m.compare_margin(a) for a in (A, B)], m.model.totals(), m.state.supply_index_e15
    assert after == before
    # and nobody can take it out
    refused = m.do(ALICE, "withdraw", A, m.weth, 1, key_address(ALICE))
    assert refused == Revert("InsufficientCollateral", (0, 0, 1))


def test_A2_a_zero_price_or_ratio_is_refused(market: Market) -> None:
    m = market
    fund(m, ALICE, BOB)
    m.set_price(0, 0)
    refused = m.trade(ALICE, BOB, PERP, WAD, PRICES[0] * WAD)
    assert refused == Revert("OracleNotUsable", (0, 3))
    assert m.do(ALICE, "refresh", [0]) == Revert("OracleNotUsable", (0, 3))
    m.set_price(0, 1e-13)  # rounds to nothing that may be a price
    assert m.do(ALICE, "refresh", [0]) == Revert("OracleNotUsable", (0, 3))
    m.set_price(0, PRICES[0])
    # a forward of zero never gets past the report
    bad = VolReport(0, 9, m.world.timestamp, 10, (slice_of(EXPIRIES[0], forward_ratio_wad=0),))
    digest = m.model.hash_report(bad)
    signed = [bytes(k.unsafe_sign_hash(digest).signature) for k in KEYS[:2]]
    refused = m.do(
        ALICE,
        "submitReport",
        bad,
        [key_address(k) for k in KEYS[:2]],
        chain=(report_tuple(bad), signed),
    )
    assert refused.name == "ForwardRatioOutOfRange"
    assert m.state.supply_index_e15 > 0 < m.state.borrow_index_e15


def test_A3_many_small_withdrawals_take_no_more_than_one(market: Market) -> None:
    m = market
    m.set_params(params(**RATES))
    fund(m, ALICE, BOB)
    assert m.do(CAROL, "deposit", C, m.weth, 50 * WAD) is None
    assert m.do(CAROL, "withdraw", C, m.cash, 30_000 * USD, key_address(CAROL)) == 30_000 * USD
    m.world.timestamp += 40 * 86_400  # interest gives cash a fraction of a native unit
    m.set_params(params())  # and stops here
    held, owned = m.state.cash_held_wad, m.model.account_state(A).cash_wad
    for _ in range(12):
        assert m.do(ALICE, "withdraw", A, m.cash, 1, key_address(ALICE)) == 1
    assert held - m.state.cash_held_wad == 12 * 10**12
    assert owned - m.state.accounts[A].cash_wad == 12 * 10**12
    # what is left plus what was taken never exceeds what one withdrawal would have found
    left = m.do(ALICE, "withdraw", A, m.cash, UINT256_MAX, key_address(ALICE))
    assert isinstance(left, int)
    lender = m.state.accounts[A]
    assert 0 <= lender.cash_wad < 10**12


def test_A4_tiny_slices_do_not_take_value(market: Market) -> None:
    m = market
    fund(m, ALICE, usd=650)
    fund(m, BOB, CAROL)
    assert m.do(BOB, "fundInsurance", 10_000 * USD) is None
    assert m.trade(ALICE, BOB, PERP, WAD // 2, PRICES[0] * WAD) is None
    m.set_price(0, PRICES[0] * 0.73)
    for u, price in ((0, PRICES[0] * 0.73), (1, PRICES[1])):
        m.set_price(u, price)
    assert m.do(ALICE, "refresh", [0]) is None
    for fraction in (1, 10, 10**6, 10**9, 10**12, 10**12, 10**15):
        victim, taker = worth(m, A), worth(m, C)
        reward, mm = m.model.liquidation_quote(A).reward_wad, m.model.margin(A).mm
        done = m.do(CAROL, "liquidate", A, C, fraction, 2**127)
        assert not isinstance(done, Revert), done
        most = fraction * mm * reward // WAD**2  # ρ·MM of what was taken, no more
        assert worth(m, C) - taker <= most + 2
        # what the two roundings of a leg leave behind is worth one unit of size
        assert victim - worth(m, A) <= most + 3_000


def test_A5_the_caller_bounds_what_a_call_takes(market: Market) -> None:
    m = market
    fund(m, ALICE, usd=650)
    fund(m, BOB, CAROL)
    buy = m.order(ALICE, PERP, WAD // 2, PRICES[0] * WAD)
    sell = m.order(BOB, PERP, -WAD // 2, PRICES[0] * WAD)
    refused = m.fill(buy, sell, WAD // 2, PRICES[0] * WAD + 1)
    assert refused.name == "PriceOutOfBounds"
    assert m.fill(buy, sell, WAD // 2, PRICES[0] * WAD) is None
    m.set_price(0, PRICES[0] * 0.73)
    assert m.do(ALICE, "refresh", [0]) is None
    quote = m.model.liquidation_quote(A)
    payment = -(-quote.full_price_wad * quote.max_fraction_wad // WAD)
    refused = m.do(CAROL, "liquidate", A, C, WAD, payment - 1)
    assert refused == Revert("PaymentAboveLimit", (payment, payment - 1))
    done = m.do(CAROL, "liquidate", A, C, WAD, payment)
    assert done == (quote.max_fraction_wad, payment)


def test_A6_a_claim_is_worth_something_or_gone(market: Market) -> None:
    m = market
    fund(m, ALICE, BOB)
    for size in (1, 3, 10**9, WAD // 3):
        assert m.trade(ALICE, BOB, PERP, size, PRICES[0] * WAD + 7) is None
        assert m.trade(BOB, ALICE, PERP, size, PRICES[0] * WAD + 3) is None
        for a in (A, B):
            for entry in m.state.accounts[a].linear:
                # size 0: an undrawn credit, which counts in equity; never a zero entry
                assert entry.size_wad != 0 or entry.quote_wad > 0
        assert m.do(CAROL, "realizePnl", A) is not None
        assert m.do(CAROL, "realizePnl", B) is not None
    assert not m.state.accounts[A].linear or m.state.accounts[A].linear[0].quote_wad > 0


def test_A7_round_trips_do_not_pay(market: Market) -> None:
    m = market
    fund(m, ALICE, BOB)
    for _ in range(3):
        before = worth(m, A, B)
        wallet = m.balance(m.cash, key_address(ALICE))
        assert m.do(ALICE, "deposit", A, m.cash, 12_345_679) is None
        assert m.do(ALICE, "withdraw", A, m.cash, 12_345_679, key_address(ALICE)) == 12_345_679
        assert m.balance(m.cash, key_address(ALICE)) == wallet
        for instrument, price in ((PERP, PRICES[0] * WAD + 11), (CALL, 55 * WAD + 1)):
            assert m.trade(ALICE, BOB, instrument, WAD // 7, price) is None
            assert m.trade(BOB, ALICE, instrument, WAD // 7, price) is None
        assert worth(m, A, B) <= before
    # borrow and repay: interest, never a gain
    m.set_params(params(**RATES))
    assert m.do(CAROL, "deposit", C, m.weth, 50 * WAD) is None
    for _ in range(3):
        before = worth(m, C)
        assert m.do(CAROL, "withdraw", C, m.cash, 70_000 * USD, key_address(CAROL)) > 0
        assert m.do(CAROL, "deposit", C, m.cash, 70_000 * USD) is None
        assert worth(m, C) < before


def test_A8_sums_equal_totals(market: Market) -> None:
    """To the wei after every action: ``check_identities`` runs inside every ``do``; here once more
    over all actions that move cash.
    """
    m = market
    m.set_params(params(**RATES, reserve_share_bps=1_000))
    fund(m, ALICE, BOB)
    assert m.do(CAROL, "deposit", C, m.weth, 50 * WAD) is None
    for step in range(6):
        assert m.do(CAROL, "withdraw", C, m.cash, 9_999_999, key_address(CAROL)) == 9_999_999
        m.world.timestamp += 977
        m.set_price(0, PRICES[0])
        assert m.do(ALICE, "transfer", A, account(ALICE, 1), m.cash, 1_234_567 + step) > 0
        cash = sum(a.cash_wad for a in m.state.accounts.values())
        pools = sum(u.pnl_pool_wad for u in m.state.underlyings)
        claims = cash + pools + m.state.insurance_wad + m.state.interest_wad
        assert claims == m.state.cash_held_wad
        held = m.world.balances[m.cash][m.world.vault] * 10**12
        assert held == m.state.cash_held_wad


def test_A9_no_fee_stands_in_front_of_a_liquidation(market: Market) -> None:
    """A liquidation charges no fee, so an account whose last wei of cash is gone is liquidated as
    any other, at the highest trading fee.
    """
    m = market
    m.set_params(params(trade_fee_e6=10_000))
    fund(m, ALICE, usd=700)
    fund(m, BOB, CAROL)
    assert m.trade(ALICE, BOB, PERP, WAD // 2, PRICES[0] * WAD) is None
    m.set_price(0, PRICES[0] * 0.72)
    assert m.do(ALICE, "refresh", [0]) is None
    assert m.do(CAROL, "realizePnl", A) < 0
    insurance = m.state.insurance_wad
    done = m.do(CAROL, "liquidate", A, C, WAD, 2**127)
    assert not isinstance(done, Revert), done
    assert m.state.insurance_wad == insurance


# ------------------------------------------------------------------------- without the defences


def _donation_counts(original: Any) -> Any:
    """The ledger takes what the vault's token balance says."""

    def total(vault: Any) -> tuple[int, int]:
        held, insurance = original(vault)
        balance = vault.world.balances[vault.state.cash_token].get(vault.world.vault, 0)
        return max(held, balance * 10**12), insurance

    return total


def _debit_down(original: Any) -> Any:
    """A withdrawal debits one wei too little."""

    def withdraw(state: Any, world: Any, account_id: int, a: Any, amount: int) -> Any:
        sent = original(state, world, account_id, a, amount)
        a.cash_wad += custody_logic.cash_scale(state) // 2
        return sent

    return withdraw


def _leg_up(original: Any) -> Any:
    """A leg that moves is rounded up."""
    return lambda x, fraction: original(x, fraction) + (x > 0 and fraction < WAD)


def _unbounded(original: Any) -> Any:
    """The caller's bound is not looked at."""

    def liquidate(*args: Any, **kwargs: Any) -> Any:
        return original(*args[:6], 2**200, *args[7:], **kwargs)

    return liquidate


def _seller_up(original: Any) -> Any:
    """Sellers, too, are rounded up."""

    def change(state: Any, account_id: int, a: Any, instrument: int, size: int, quote: int) -> Any:
        return original(state, account_id, a, instrument, size, quote + 2 * 10**9)

    return change


def _interest_from_nowhere(original: Any) -> Any:
    """Interest is credited and nobody owes it."""

    def book(state: Any, *args: int) -> int:
        before = state.interest_wad
        index: int = original(state, *args)
        state.interest_wad = before
        return index

    return book


DEFENCES = [
    Defence(
        test_A1_a_donation_changes_nothing, "own ledger", ((Vault, "totals", _donation_counts),)
    ),
    Defence(
        test_A2_a_zero_price_or_ratio_is_refused,
        "lowest price",
        ((feed_reader, "MIN_PRICE_WAD", lambda _: 0),),
    ),
    Defence(
        test_A3_many_small_withdrawals_take_no_more_than_one,
        "debits round up",
        ((custody_logic, "_withdraw_cash", _debit_down),),
    ),
    Defence(
        test_A4_tiny_slices_do_not_take_value,
        "legs round towards zero",
        ((slice_legs, "leg", _leg_up),),
    ),
    Defence(
        test_A5_the_caller_bounds_what_a_call_takes,
        "bound on the payment",
        ((liquidation_logic, "liquidate", _unbounded),),
    ),
    Defence(
        test_A6_a_claim_is_worth_something_or_gone,
        "a position that closes is realised",
        ((pnl_lib, "realize_at", answer((0, False))),),
    ),
    Defence(
        test_A7_round_trips_do_not_pay,
        "quotes round against both",
        ((position_lib, "change_linear", _seller_up),),
    ),
    Defence(
        test_A8_sums_equal_totals,
        "booked interest is owed by somebody",
        ((interest_lib, "book", _interest_from_nowhere),),
    ),
]
