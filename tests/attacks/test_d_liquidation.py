"""ATTACKS D: liquidation.  Each test runs on model and chain side by side; D38's gas and D40's
tokens are matters of the chain.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from risk.chain.abi import functions
from risk.exact.accounts import rights, work_load
from risk.exact.errors import ModelRevert as Revert
from risk.exact.liquidation import health_test, legs_logic, liquidation_logic, slice_math
from risk.exact.margin import instrument_id as iid
from risk.exact.margin import margin_engine
from risk.exact.market import feed_reader
from risk.exact.market.feed_reader import OracleState
from risk.gas.gates import EIP7825
from tests.attacks.defence import Defence, nothing
from tests.liquidation.scene import (
    BTC_PERP,
    LONG,
    PERP,
    A,
    B,
    C,
    D,
    at_health,
    leg,
    legs,
    option,
    set_cash,
    set_insurance,
)
from tests.market.market_twin import REVERTS, key_address
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

TARGET = 11 * WAD // 10
CENT = WAD // 100
SHORT_CALL, HEDGE = option(36), option(30, iid.PUT)
MIXED = [(option(30), 2 * WAD), (SHORT_CALL, -3 * WAD), (option(20, iid.PUT), -WAD - 7)]
NO_RETURN, RETURNS_FALSE, TOKEN_REVERTS, DENY_LIST, CALLBACK, NO_DECIMALS = 1, 2, 4, 8, 16, 32


def configure(m: Market, u: dict[str, Any] | None = None, **changes: Any) -> None:
    """Parameters with these changes, fresh prices, and a liquidator with a lot of cash."""
    p = params(**changes)
    if u:
        p = replace(p, underlyings=(underlying_params(**u),) * 2)
    m.set_params(p)
    fresh(m)
    m.put(C, cash=10**8 * WAD)


def fresh(m: Market) -> None:
    for u, price in enumerate(PRICES):
        m.set_price(u, price)


def take(m: Market, fraction: int = WAD, limit: int = NO_LIMIT, of: int = A) -> Any:
    return m.do(CAROL, "liquidate", of, C, fraction, limit)


def name(outcome: Any) -> str:
    return outcome.name if isinstance(outcome, Revert) else ""


def size(m: Market, account_id: int, instrument: int) -> int:
    a = m.state.accounts[account_id]
    sizes = {x.instrument: x.size_wad for x in a.linear}
    sizes.update({x.instrument: x.size_wad for x in a.options})
    return sizes.get(instrument, 0)


def ceil(x: int, fraction: int) -> int:
    return -(-x * fraction // WAD)


# ------------------------------------------------------------------------- what it may do to health


def test_D31_a_bonus_never_feeds_a_spiral(market: Market) -> None:
    """With the fund empty and the largest bonus: what is left is healthier, or, where the bonus is
    more than there is, exactly as healthy; and at full size it is on the target or all gone.
    """
    m = market
    configure(m)
    for percent in (99, 60, 20, 6, 5, 4, 1, 0, -40):
        m.put(C, cash=10**8 * WAD)
        before = at_health(m, A, percent * WAD // 100, options=MIXED, **LONG)
        rho = m.model.liquidation_quote(A).reward_wad
        part = take(m, WAD // 20)
        assert name(part) == "", part
        after = m.compare_margin(A)
        assert after.equity - after.mm > before.equity - before.mm
        if before.equity >= 0:
            assert after.health_factor >= before.health_factor - 10**6
        if before.mark_equity * WAD > rho * before.mm:
            assert part[1] > 0
            assert after.health_factor > before.health_factor
        else:  # nobody pays, and the account least of all
            assert part[1] == 0
        assert name(take(m)) == ("" if after.health_factor < WAD else "AccountHealthy")
        left = m.compare_margin(A)
        assert left.mm == 0 or left.health_factor >= TARGET - 10**9 or percent == 99


def test_D32_the_good_legs_alone_are_refused(market: Market) -> None:
    """Long ten perps, hedged by puts, with a small short beside them that earns nothing."""
    m = market
    configure(m)
    book = {"linear": LONG["linear"], "options": [(SHORT_CALL, -WAD), (HEDGE, 6 * WAD)]}
    at_health(m, A, 90 * WAD // 100, **book)
    hedge, short = leg(HEDGE, 6 * WAD), leg(SHORT_CALL, -WAD)
    for good in ([hedge], [leg(HEDGE, 1)], [short], [short, hedge], [leg(PERP, WAD), hedge]):
        before = m.model.margin(A)
        assert name(legs(m, sorted(good), NO_LIMIT)) == "LegsKeepRequirement"
        assert m.model.margin(A) == before
    # where the reward for the legs is more than they relieve the account of
    thin = at_health(m, A, 3 * WAD // 100, **LONG)
    assert name(legs(m, [leg(PERP, 3 * WAD)], NO_LIMIT)) == "LegsKeepHealth"
    assert m.model.margin(A) == thin
    # and the legs that do it good
    before = at_health(m, A, 90 * WAD // 100, **book)
    assert name(legs(m, [leg(PERP, WAD // 2)], NO_LIMIT)) == ""
    after = m.compare_margin(A)
    assert after.mm < before.mm
    assert after.health_factor > before.health_factor


def test_D33_nobody_takes_more_than_is_there_or_pays_more_than_he_said(market: Market) -> None:
    m = market
    configure(m)
    at_health(m, A, 80 * WAD // 100, collateral={0: WAD + 3}, options=MIXED, **LONG)
    for of_everything in (0, WAD + 1, 2**256 - 1):
        refused = m.do(CAROL, "liquidate", A, C, of_everything, NO_LIMIT)
        assert refused == Revert("FractionInvalid", (of_everything,))
    for items, bad in (
        ([leg(PERP, -WAD)], PERP),
        ([leg(PERP, 6 * WAD), leg(PERP, 6 * WAD)], PERP),
        ([leg(SHORT_CALL, 3 * WAD)], SHORT_CALL),
        ([leg(BTC_PERP, WAD)], BTC_PERP),
    ):
        assert legs(m, items, NO_LIMIT) == Revert("LegInvalid", (bad,))
    held, paid_from = m.state.accounts[A], m.state.accounts[C].cash_wad
    quote = m.model.liquidation_quote(A)
    most = ceil(quote.full_price_wad, quote.max_fraction_wad)
    assert name(take(m, WAD, most - 1)) == "PaymentAboveLimit"
    assert take(m, WAD, most) == (quote.max_fraction_wad, most)
    f, taken = quote.max_fraction_wad, m.state.accounts[C]
    assert taken.collateral[0] == (WAD + 3) * f // WAD
    for x in held.options:
        assert abs(size(m, C, x.instrument)) == abs(x.size_wad) * f // WAD
        assert size(m, C, x.instrument) + size(m, A, x.instrument) == x.size_wad
    assert size(m, C, PERP) == 10 * WAD * f // WAD
    # cash: the same fraction of it, and the payment
    share = slice_math.leg(held.cash_wad, f)
    assert taken.cash_wad == paid_from + share - most
    assert m.state.accounts[A].cash_wad == held.cash_wad - share + most


def test_D34_no_liquidation_overshoots_the_target(market: Market) -> None:
    m = market
    for depth in (10**6, 4):
        configure(m, {"depth_wad": depth * WAD})
        for percent in (99, 90, 50, 10):
            m.put(C, cash=10**8 * WAD)
            at_health(m, A, percent * WAD // 100, options=MIXED, **LONG)
            assert name(take(m)) == ""
            after = m.compare_margin(A).health_factor
            assert TARGET - 10**9 <= after <= TARGET + 10**7
            assert name(take(m)) == "AccountHealthy"
    configure(m)
    at_health(m, A, 90 * WAD // 100, **LONG)
    assert name(legs(m, [leg(PERP, 3 * WAD)], NO_LIMIT)) == "LegsAboveTarget"
    assert name(legs(m, [leg(PERP, 15 * WAD // 10)], NO_LIMIT)) == ""
    assert m.compare_margin(A).health_factor <= TARGET + 10**12


# ------------------------------------------------------------------------ in front of a liquidation


def test_D35_the_callers_limit_holds_whatever_moved_before(market: Market) -> None:
    """The account is healthier (lower bonus, higher price), or the fund emptier than expected."""
    m = market
    configure(m)
    at_health(m, A, 80 * WAD // 100, linear=[(PERP, 10 * WAD, -29_000 * WAD)])
    quote = m.model.liquidation_quote(A)
    tenth, one = WAD // 10, [leg(PERP, WAD)]
    limit = ceil(quote.full_price_wad, tenth)
    least = 100 * WAD - quote.reward_wad * m.model.margin(A).mm // (10 * WAD)
    assert m.do(ALICE, "deposit", A, m.cash, 500 * USD) is None
    assert m.model.liquidation_quote(A).reward_wad < quote.reward_wad
    for outcome in (take(m, tenth, limit), legs(m, one, least)):
        assert name(outcome) == "PaymentAboveLimit"
        assert outcome.args[0] > outcome.args[1] in (limit, least)
    # a minimum received: the fund was to pay 100, somebody else was paid first
    at_health(m, A, -WAD // 10, **LONG)
    set_insurance(m, 10_000)
    due = m.model.liquidation_quote(A).full_price_wad
    assert due < -700 * WAD
    set_insurance(m, 500)
    assert take(m, WAD, due) == Revert("PaymentAboveLimit", (-500 * WAD, due))
    assert take(m, WAD, -500 * WAD) == (WAD, -500 * WAD)


def test_D36_a_liquidation_leaves_the_least_margin_or_nothing(market: Market) -> None:
    """``min_margin`` is what a liquidation must be worth; f* leaves as much, or becomes 1."""
    m = market
    least = 1_000 * WAD
    configure(m, min_margin_wad=least)
    whole = []
    for percent in (95, 50, 20, 18, 12, 6):
        m.put(C, cash=10**8 * WAD)
        at_health(m, A, percent * WAD // 100, options=MIXED, **LONG)
        assert name(take(m)) == ""
        left, a = m.compare_margin(A).mm, m.state.accounts[A]
        assert left >= least - WAD // 10**6 or left == 0
        if left == 0:
            assert (a.linear, a.options) == ([], [])
            whole.append(percent)
    assert 6 in whole and 95 not in whole


def test_D37_dust_in_front_stops_nothing(market: Market) -> None:
    """A unit deposited, a unit repaid, a wei sliced off, PnL realised by a stranger: f clamps to
    f*, ``max`` always works, and t·MM − E stays a limit that holds (docs/liquidation.md §5).
    """
    m = market
    configure(m)
    borrower = {"collateral": {0: 20 * WAD}}
    for book in ({"options": MIXED, **LONG}, borrower):
        fronts: tuple[tuple[Any, ...], ...] = (
            (ALICE, "deposit", A, m.cash, 1),
            (DAVE, "liquidate", A, D, 1, NO_LIMIT),
            (DAVE, "realizePnl", A),
            (ALICE, "callMargin", A),
            (DAVE, "flag", A),
        )
        for front in fronts:
            m.put(C, cash=10**8 * WAD)
            m.put(D, cash=10**8 * WAD)
            before = at_health(m, A, 90 * WAD // 100, **book)
            limit = ceil(TARGET, before.mm) - before.equity
            assert name(m.do(*front)) == ""
            done = take(m, WAD, limit)
            assert name(done) == "", done
            assert 0 < done[0] < WAD
            assert m.model.margin(A).health_factor >= TARGET - 10**9
    # legs, too, as long as they leave a wei of room
    at_health(m, A, 90 * WAD // 100, **LONG)
    assert m.do(ALICE, "deposit", A, m.cash, 1) is None
    assert name(m.do(DAVE, "liquidate", A, D, 1, NO_LIMIT)) == ""
    assert name(legs(m, [leg(PERP, WAD)], NO_LIMIT)) == ""


def test_D37_legs_clamp_to_what_is_held(market: Market) -> None:
    """Somebody slices 10⁻¹⁶ off, for a millionth of a unit of cash, in front of a liquidator who
    takes the whole of a position: he gets what is left of it.
    """
    m = market
    configure(m)
    m.put(D, cash=10**8 * WAD)
    book = {"linear": [*LONG["linear"], (BTC_PERP, WAD // 10, -6_000 * WAD)]}
    at_health(m, A, 60 * WAD // 100, **book)
    assert name(m.do(DAVE, "liquidate", A, D, 100, NO_LIMIT)) == ""
    assert name(legs(m, [leg(BTC_PERP, WAD // 10)], NO_LIMIT)) == ""
    assert size(m, A, BTC_PERP) == 0


# ---------------------------------------------------------------------------- what may not block it


def test_D38_gas_at_the_limit_of_positions(market: Market) -> None:
    """128 positions, nothing cached (K = 8); with K = 64: ``liquidate_uncached_*`` in tests/gas."""
    m = market
    configure(m)
    junk = [
        (option(i % 64, iid.CALL + i // 64), (-1) ** i * WAD // 100 if i % 2 else WAD // 100)
        for i in range(127)
    ]
    at_health(m, A, 90 * WAD // 100, options=junk, **LONG)
    assert len(m.state.accounts[A].options) + len(m.state.accounts[A].linear) == 128
    assert name(take(m)) == ""
    assert 0 < m.gas_used < EIP7825
    # a second one in the same epoch finds the arrays there
    m.put(C, cash=10**8 * WAD)
    at_health(m, A, 90 * WAD // 100, options=junk, **LONG)
    assert name(take(m, WAD // 100)) == ""
    assert m.gas_used < 5_000_000


def test_D38_nobody_grows_too_heavy_to_be_liquidated(market: Market) -> None:
    """K = 64, 127 options over two underlyings: one more would not fit a transaction."""
    m = market
    p = params(weights_bps=(10_000,) * 64)
    wide = replace(
        p.underlyings[0],
        price_lanes=p.underlyings[0].price_lanes * 8,
        vol_lanes=p.underlyings[0].vol_lanes * 8,
    )
    m.set_params(replace(p, underlyings=(wide, wide)))
    fresh(m)
    kinds = (iid.CALL, iid.PUT)
    btc = [iid.encode(1, k, day, i) for k in kinds for day in EXPIRIES for i in range(3)]
    eth = [option(i, k, day) for k in kinds for day in EXPIRIES for i in range(64)]
    held = sorted(btc + eth[:115])
    m.put(A, cash=10**8 * WAD, options=[(x, CENT) for x in held], mirror=B)
    set_cash(m, B, 10**8 * WAD)
    for one_more in (eth[115], eth[200]):
        refused = m.trade(ALICE, BOB, one_more, CENT, WAD)
        assert refused == Revert("AccountTooHeavy", (A, 12_956, work_load.LIMIT))
    assert len(m.state.accounts[A].options) == 127


def test_D39_a_halted_market_blocks_no_liquidation(market: Market) -> None:
    """Bitcoin is silent, then wrong; the account holds a little, the liquidator a lot of it."""
    m = market
    configure(m)
    book = {"linear": [*LONG["linear"], (BTC_PERP, CENT, -600 * WAD)], "collateral": {1: 10**6}}
    feed = m.state.underlyings[1].feed
    for answer_, mode in ((PRICES[1] * 10**8, REVERTS), (-1, 0), (0, 0), (2**255 - 1, 0)):
        m.put(account(CAROL, 5))
        m.put(
            C, cash=10**8 * WAD, linear=[(BTC_PERP, WAD, -60_000 * WAD)], mirror=account(CAROL, 5)
        )
        set_cash(m, account(CAROL, 5), 10**8 * WAD)
        at_health(m, A, 90 * WAD // 100, **book)
        m.set_feed(feed, answer_, mode=mode)
        assert m.model.oracle_state(1)[0] == OracleState.HALTED
        for attempt in (
            m.do(DAVE, "flag", A),
            legs(m, [leg(PERP, WAD // 10)], NO_LIMIT),
            take(m, WAD // 100),
            take(m),
        ):
            assert name(attempt) == "", attempt
        m.set_price(1, PRICES[1])


def test_D40_a_broken_token_stops_itself_only(market: Market) -> None:
    """A liquidation moves entries of the ledger and calls no token, cash included."""
    m = market
    configure(m)
    for token in (m.weth, m.cash):
        for flags in (NO_RETURN, RETURNS_FALSE, TOKEN_REVERTS, DENY_LIST, CALLBACK):
            m.put(C, cash=10**8 * WAD)
            at_health(m, A, 90 * WAD // 100, collateral={0: WAD, 1: 10**8}, **LONG)
            m.token(token, "setFlags", flags)
            m.token(token, "setFeeBps", 100)
            for who in (m.world.vault, key_address(ALICE), key_address(CAROL)):
                m.token(token, "setDenied", who, True)
            assert name(take(m)) == ""
            assert m.state.accounts[C].collateral[0] > 0
            me = key_address(CAROL)
            if token == m.weth and flags in (RETURNS_FALSE, TOKEN_REVERTS, DENY_LIST):
                refused = m.chain_only(CAROL, "withdraw", C, token, 1, me)
                assert refused == m.errors.encode("TransferFailed", ())
                assert m.do(CAROL, "withdraw", C, m.wbtc, 1, me) == 1
            m.token(token, "setFeeBps", 0)
            for who in (m.world.vault, key_address(ALICE), key_address(CAROL)):
                m.token(token, "setDenied", who, False)
        m.token(token, "setFlags", 0)


def test_D40_fees_decimals_and_callbacks(market: Market) -> None:
    """A fee on transfer is refused when it is seen, no decimals when listed; no return value is
    fine, and a token that calls back finds the vault locked.
    """
    m = market
    silent, huge = m.new_token(18, NO_DECIMALS), m.new_token(255)
    for token, decimals, error in (
        (silent, None, "TokenInvalid"),
        (huge, 255, "DecimalsOutOfRange"),
    ):
        refused = m.do(OWNER, "listCollateral", token, 0, 0, decimals, chain=(token, 0, 0))
        assert name(refused) == error
    m.token(m.weth, "setFeeBps", 1)
    refused = m.chain_only(ALICE, "deposit", A, m.weth, 10**6)
    assert refused == m.errors.encode("TransferAmountMismatch", (m.weth, 10**6, 10**6 - 100))
    m.token(m.weth, "setFeeBps", 0)
    m.token(m.weth, "setFlags", NO_RETURN)
    assert m.do(ALICE, "deposit", A, m.weth, WAD) is None
    assert m.do(ALICE, "withdraw", A, m.weth, WAD, key_address(ALICE)) == WAD
    # the callback tries a liquidation while the withdrawal is under way
    configure(m)
    at_health(m, A, 90 * WAD // 100, **LONG)
    hook = m.deploy("MockReenterer")
    mine, g = account(hook), functions(m.artifacts["MockReenterer"].abi)
    m.give(m.coin, hook, 10)
    m.put(mine, cash=10**6 * WAD, collateral={2: 10})
    go = [
        m.functions["liquidate"].encode(A, mine, WAD, 10**6 * WAD),
        m.functions["liquidateLegs"].encode(A, mine, [leg(PERP, WAD)], 10**6 * WAD, b""),
        m.functions["flag"].encode(A),
    ]
    m._from(OWNER, hook, g["arm"].encode(m.world.vault, go))
    m.token(m.coin, "setFlags", CALLBACK)
    out = m.functions["withdraw"].encode(mine, m.coin, 10, hook)
    m._from(OWNER, hook, g["execute"].encode(m.world.vault, out))
    for i in range(len(go)):
        call = {"to": f"0x{hook:040x}", "data": "0x" + g["outcomes"].encode(i).hex()}
        data = g["outcomes"].decode(bytes.fromhex(m.rpc.call("eth_call", call)[2:]))[0]
        assert data == m.errors.encode("Reentrancy", ())


def test_D41_liquidations_wait_for_those_who_cannot_deposit(market: Market) -> None:
    """The vault has no pause; users are cut off while the sequencer of an L2 is down.  Nobody is
    liquidated then nor in the grace after it, while deposits go on; nor without the account's own
    grace since the flag.
    """
    m = market
    configure(m, sequencer_grace_seconds=600, grace_seconds=300)
    at_health(m, A, 90 * WAD // 100, **LONG)
    m.state.accounts[A].flagged_at = m.world.timestamp - 300  # its own grace is over
    m.write_state()
    feed = m.new_feed(0, 1)
    assert m.do(OWNER, "setSequencerFeed", feed) is None
    fresh(m)
    one = [leg(PERP, WAD // 10)]
    for answer_, refusal in ((1, "SequencerDown"), (0, "SequencerGrace")):
        back = m.world.timestamp
        m.set_feed(feed, answer_, back)
        for attempt in (
            take(m),
            legs(m, one, NO_LIMIT),
            m.do(DAVE, "flag", account(BOB)),
            m.do(DAVE, "socialise", A),
        ):
            assert name(attempt) == refusal
        assert m.do(ALICE, "deposit", A, m.cash, 1) is None
    m.world.timestamp = back + 599
    fresh(m)
    assert take(m) == Revert("SequencerGrace", (back + 600,))
    assert name(take(m, WAD // 10)) == ""
    # the account's own grace
    m.put(C, cash=10**8 * WAD)
    at_health(m, A, 90 * WAD // 100, **LONG)
    assert take(m) == Revert("NotFlagged", (A,))
    at = m.world.timestamp
    assert m.do(DAVE, "flag", A) is None
    assert take(m) == Revert("GracePeriod", (A, at + 300))
    assert legs(m, one, NO_LIMIT) == Revert("GracePeriod", (A, at + 300))


def test_D41_who_recovered_has_a_new_grace(market: Market) -> None:
    """A flag does not run out: who tops up clears it in the same batch, or the next time there is
    no grace and the bonus has grown.
    """
    m = market
    for clears in (True, False):
        configure(m, grace_seconds=300)
        at_health(m, A, 99 * WAD // 100, **LONG)
        assert m.do(DAVE, "flag", A) is None
        assert name(m.do(DAVE, "unflag", A)) == "NotRecovered"
        calls: list[tuple[Any, ...]] = [("deposit", A, m.cash, 10_000 * USD)]
        if clears:
            calls.append(("unflag", A))
        assert name(m.batch(ALICE, *calls)) == ""
        m.world.timestamp += 300
        fresh(m)
        cash = m.state.accounts[A].cash_wad
        set_cash(m, A, cash - 10_100 * WAD)
        assert name(take(m, WAD // 10)) == ("NotFlagged" if clears else "")


# ----------------------------------------------------------------------------------- the liquidator


def test_D42_a_bidder_needs_initial_margin_afterwards(market: Market) -> None:
    m = market
    configure(m)
    other = account(DAVE, 1)
    for cash in (0, 500, -1):
        m.put(D, cash=cash * WAD, collateral={0: WAD // 10} if cash < 0 else {})
        at_health(m, A, 80 * WAD // 100, **LONG)
        for attempt in (
            m.do(DAVE, "liquidate", A, D, WAD, NO_LIMIT),
            legs(m, [leg(PERP, WAD)], NO_LIMIT, by=D, sender=DAVE),
        ):
            assert name(attempt) == "InsufficientMargin"
            assert attempt.args[0] == D
    # between MM and IM before: refused even where the slice brings nearly nothing
    m.put(other)
    m.put(D, cash=8_000 * WAD, linear=[(BTC_PERP, WAD // 2, -30_000 * WAD)], mirror=other)
    set_cash(m, other, 10**8 * WAD)
    margin = m.compare_margin(D)
    assert margin.mm < margin.equity < margin.im
    assert name(m.do(DAVE, "liquidate", A, D, 1, NO_LIMIT)) == "InsufficientMargin"
    # and with initial margin to the wei
    m.put(other)
    m.put(D, cash=10**6 * WAD)
    saved = m.model.state.clone()
    fraction, payment = liquidation_logic.liquidate(
        saved, m.world, key_address(DAVE), A, D, WAD, NO_LIMIT
    )
    after = margin_engine.compute(saved, D, saved.accounts[D])
    assert payment > 0 and 0 < fraction < WAD
    spare = after.equity - after.im
    for short in (1, 0):
        m.put(D, cash=10**6 * WAD - spare - short)
        attempt = m.do(DAVE, "liquidate", A, D, WAD, NO_LIMIT)
        assert name(attempt) == ("InsufficientMargin" if short else "")


@pytest.mark.parametrize("way", ["slice", "legs"])
def test_D42_a_bidder_needs_the_least_margin_too(market: Market, way: str) -> None:
    """max(IM, min_margin), as whoever opens a position (``initial_margin``); otherwise a large
    account can be broken into pieces that nobody will liquidate.
    """
    m = market
    configure(m, min_margin_wad=1_000 * WAD)
    at_health(m, A, 60 * WAD // 100, **LONG)
    m.put(D, cash=10 * WAD)
    if way == "slice":
        outcome = m.do(DAVE, "liquidate", A, D, WAD // 1_000, NO_LIMIT)
    else:
        outcome = legs(m, [leg(PERP, CENT)], NO_LIMIT, by=D, sender=DAVE)
    assert name(outcome) == "InsufficientMargin", m.compare_margin(D).equity


def test_D43_nobody_pushes_a_position_to_anybody(market: Market) -> None:
    m = market
    configure(m)
    at_health(m, A, 90 * WAD // 100, **LONG)
    before = m.state.accounts[C]
    mallory = Revert("NotAccountOwner", (C, key_address(DAVE)))
    price = PRICES[0] * WAD
    assert m.do(DAVE, "liquidate", A, C, WAD, NO_LIMIT) == mallory
    assert m.do(DAVE, "deposit", C, m.cash, 1) == mallory
    assert m.do(DAVE, "setOperator", C, key_address(DAVE), 7) == mallory
    assert legs(m, [leg(PERP, WAD)], NO_LIMIT, by=C, sender=DAVE) == mallory
    assert m.do(ALICE, "transfer", A, C, m.cash, 1) == Revert("OwnersDiffer", (A, C))
    sell, buy = m.order(ALICE, PERP, -WAD, price), m.order(CAROL, PERP, WAD, price)
    assert name(m.fill(buy, sell, WAD, price, buyer=DAVE)) == "InvalidSignature"
    # an operator without TRADE neither
    assert m.do(CAROL, "setOperator", C, key_address(DAVE), rights.ALL & ~rights.TRADE) is None
    assert m.do(DAVE, "liquidate", A, C, WAD, NO_LIMIT) == mallory
    assert m.state.accounts[C] == before
    assert name(take(m)) == ""


# ----------------------------------------------------------------------------- without the defences


def _from_the_account(original: Any) -> Any:
    """What the fund does not pay of the bonus is taken from the account."""
    del original

    def draw(state: Any, world: Any, c: Any, wanted: int) -> int:
        del state, world
        c.a.cash_wad -= wanted
        return wanted

    return draw


def _unjudged(original: Any) -> Any:
    """Legs change hands at mark, whatever that does to the account."""
    del original

    def settle(state: Any, world: Any, c: Any, before: Any, limit: int) -> int:
        del world, limit
        left = margin_engine.compute(state, c.account_id, c.a)
        payment: int = before.mark_equity - left.mark_equity
        c.a.cash_wad += payment
        return payment

    return settle


def _as_asked(original: Any) -> Any:
    """The fraction is what the liquidator asks for."""
    del original
    return lambda asked, *rest: asked


def _no_dust_rule(original: Any) -> Any:
    del original
    return lambda asked, max_fraction, *rest: min(asked, max_fraction)


def _whatever(original: Any) -> Any:
    """A leg is what the liquidator names."""
    del original
    return lambda instrument, size, held: size


def _refused_above(original: Any) -> Any:
    """More than f* is refused instead of clamped."""

    def with_dust(asked: int, max_fraction: int, *rest: int) -> int:
        if asked > max_fraction:
            raise Revert("FractionInvalid", (asked,))
        return original(asked, max_fraction, *rest)  # type: ignore[no-any-return]

    return with_dust


def _unbounded(original: Any) -> Any:
    """The caller's bound is not looked at."""

    def liquidate(*args: Any, **kwargs: Any) -> Any:
        return original(*args[:6], 2**200, *args[7:], **kwargs)

    return liquidate


def _every_price_needed(original: Any) -> Any:
    """A market without a usable price stops everything."""

    def poke(state: Any, world: Any, c: Any, others: set[int]) -> None:
        for u in sorted(c.mask | others):
            oracle_state, _, _ = feed_reader.live(state, world, c.p, u)
            if oracle_state > OracleState.UNCERTAIN:
                raise Revert("OracleNotUsable", (u, oracle_state))
        original(state, world, c, others)

    return poke


DEFENCES = [
    Defence(
        test_D31_a_bonus_never_feeds_a_spiral,
        "the bonus never comes out of the account",
        (
            (liquidation_logic, "_draw_insurance", _from_the_account),
            (liquidation_logic, "_check_health", nothing),
        ),
    ),
    Defence(
        test_D32_the_good_legs_alone_are_refused,
        "conditions on legs",
        ((legs_logic, "_settle", _unjudged),),
    ),
    Defence(
        test_D33_nobody_takes_more_than_is_there_or_pays_more_than_he_said,
        "legs bounded by what is held",
        ((legs_logic, "_part", _whatever),),
    ),
    Defence(
        test_D34_no_liquidation_overshoots_the_target,
        "f* bounds the fraction",
        ((slice_math, "with_dust", _as_asked),),
    ),
    Defence(
        test_D35_the_callers_limit_holds_whatever_moved_before,
        "bound on the payment",
        ((liquidation_logic, "liquidate", _unbounded),),
    ),
    Defence(
        test_D36_a_liquidation_leaves_the_least_margin_or_nothing,
        "dust rule",
        ((slice_math, "with_dust", _no_dust_rule),),
    ),
    Defence(
        test_D37_dust_in_front_stops_nothing,
        "fractions clamp",
        ((slice_math, "with_dust", _refused_above),),
    ),
    Defence(
        test_D38_nobody_grows_too_heavy_to_be_liquidated,
        "work limit",
        ((work_load, "require_if_grown", nothing),),
    ),
    Defence(
        test_D39_a_halted_market_blocks_no_liquidation,
        "unusable prices are passed over",
        ((health_test, "poke", _every_price_needed),),
    ),
    Defence(
        test_D41_liquidations_wait_for_those_who_cannot_deposit,
        "wait for the sequencer",
        ((health_test, "require_sequencer", nothing),),
    ),
    Defence(
        test_D41_liquidations_wait_for_those_who_cannot_deposit,
        "grace since the flag",
        ((health_test, "require_grace", nothing),),
    ),
    Defence(
        test_D42_a_bidder_needs_initial_margin_afterwards,
        "check of the liquidator",
        ((health_test, "_require_initial", nothing),),
    ),
    Defence(
        test_D43_nobody_pushes_a_position_to_anybody,
        "the liquidator's account belongs to the caller",
        ((rights, "require_right", nothing),),
    ),
]
