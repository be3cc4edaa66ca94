"""ATTACKS F: authority.

F48–F50 run on model and chain side by side; F51 and F52 on the model of vault and governor (on the
chain: ``tests/governance``, which compares that model with the contracts).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from risk.exact.accounts import rights
from risk.exact.errors import ModelRevert as Revert
from risk.exact.governance import param_ramp
from risk.exact.governance.risk_governor import DAY, Config, RiskGovernor
from risk.exact.market.report_hash import domain_separator
from risk.exact.trading import order_checks
from tests.attacks.defence import Defence, answer, nothing
from tests.attacks.scene import ModelMarket, model_market
from tests.support.vault_fixtures import PRICES, Market, params
from tests.support.vault_twin import (
    ALICE,
    BOB,
    CAROL,
    OWNER,
    USD,
    WAD,
    account,
    iid,
    key_address,
)

PERP = iid.encode(0, iid.PERP, 0, 0)
A, A1, B, C = account(ALICE), account(ALICE, 1), account(BOB), account(CAROL)
PRICE = PRICES[0] * WAD
HOUR = 3_600
GOVERNOR, TIMELOCK, GUARDIAN, STEWARD, LISTER, ATTACKER = range(0xA0, 0xA6)


def fund(m: Market, *keys: Any, usd: int = 100_000) -> None:
    for key in keys:
        assert m.do(key, "deposit", account(key), m.cash, usd * USD) is None


def name(outcome: Any) -> str:
    return outcome.name if isinstance(outcome, Revert) else ""


def test_F48_a_signature_is_for_one_order_here_and_now(market: Market) -> None:
    m = market
    fund(m, ALICE, BOB)
    sell = m.order(BOB, PERP, -WAD, PRICE)

    def fill(buy: Any, buyer: Any = None) -> str:
        return name(m.fill(buy, sell, WAD, PRICE, buyer=buyer))

    # signed for another chain or vault: the signature recovers to somebody else
    elsewhere = replace(m.world, chain_id=1)
    buy = m.order(ALICE, PERP, WAD, PRICE)
    other = m.sign(buy, ALICE, domain_separator(elsewhere))
    assert fill(buy, (0xBAD, other)) == "InvalidSignature"
    # by somebody else, and by nobody for the zero address
    assert fill(m.order(ALICE, PERP, WAD, PRICE), CAROL) == "InvalidSignature"
    nobody = replace(m.order(ALICE, PERP, WAD, PRICE), account=5)
    assert fill(nobody, (0, b"\0" * 65)) == "InvalidSignature"
    # expired, cancelled, below the nonce, filled before
    assert fill(replace(m.order(ALICE, PERP, WAD, PRICE), expiry=1)) == "OrderExpired"
    dead = m.order(ALICE, PERP, WAD, PRICE)
    m.do(ALICE, "raiseMinNonce", A, dead.nonce + 1)
    assert fill(dead) == "NonceTooLow"
    good = m.order(ALICE, PERP, WAD, PRICE)
    assert fill(good) == ""
    sell = m.order(BOB, PERP, -WAD, PRICE)
    assert fill(good) == "OrderOverfilled"


def test_F49_who_submits_makes_no_difference(market: Market) -> None:
    """There are no permits; an order filled by a stranger who saw it leaves its signer where his
    own transaction would have left him, and the second submission only fails.
    """
    m = market
    fund(m, ALICE, BOB)
    buy, sell = m.order(ALICE, PERP, WAD, PRICE), m.order(BOB, PERP, -WAD, PRICE)
    assert m.fill(buy, sell, WAD, PRICE, sender=CAROL) is None
    position = [(x.instrument, x.size_wad, x.quote_wad) for x in m.state.accounts[A].linear]
    assert position == [(PERP, WAD, -PRICE)]
    assert name(m.fill(buy, sell, WAD, PRICE, sender=ALICE)) == "OrderOverfilled"
    assert [(x.size_wad, x.quote_wad) for x in m.state.accounts[A].linear] == [(WAD, -PRICE)]


def test_F50_an_operator_is_what_its_bits_say(market: Market) -> None:
    m = market
    fund(m, ALICE)
    assert m.do(ALICE, "deposit", A1, m.cash, 1_000 * USD) is None
    assert m.do(ALICE, "setOperator", A, key_address(BOB), 1) is None
    to = key_address(BOB)
    assert name(m.do(BOB, "withdraw", A, m.cash, USD, to)) == "NotAccountOwner"
    assert name(m.do(BOB, "raiseMinNonce", A, 99)) == "NotAccountOwner"
    assert name(m.do(BOB, "setOperator", A, key_address(CAROL), 7)) == "NotAccountOwner"
    assert name(m.do(BOB, "setOperator", A, key_address(BOB), 7)) == "NotAccountOwner"
    assert m.do(ALICE, "setOperator", A, key_address(BOB), 2) is None
    assert m.do(BOB, "withdraw", A, m.cash, USD, to) == USD
    assert name(m.do(BOB, "withdraw", A1, m.cash, USD, to)) == "NotAccountOwner"
    assert m.do(ALICE, "setOperator", A, key_address(BOB), 0) is None
    assert name(m.do(BOB, "withdraw", A, m.cash, USD, to)) == "NotAccountOwner"


def governed(m: ModelMarket, **changes: Any) -> RiskGovernor:
    """The market's vault under a governor; ramps of at least 13 steps of 6 hours."""
    config = Config(6 * HOUR, 13, 1_000, 7 * DAY, 64)
    m.set_params(params(**changes))
    m.state.owner = GOVERNOR
    return RiskGovernor(m.model, GOVERNOR, TIMELOCK, 3 * DAY, GUARDIAN, STEWARD, LISTER, config)


def attempt(call: Any, *args: Any) -> str:
    try:
        call(*args)
    except Revert as error:
        return error.name
    return ""


def test_F51_a_compromised_admin_takes_nothing_within_the_delay(market: Market) -> None:
    """A fake collateral with its own feed: nobody but the timelock lists, it starts at cap 0, and
    then the cap grows by a step every six hours in front of everybody.
    """
    m = market.copy() if isinstance(market, ModelMarket) else model_market()
    fund(m, ALICE, usd=1_000_000)
    g = governed(m)
    fake = m.new_token(18)
    for who in (GUARDIAN, STEWARD, LISTER, ATTACKER, OWNER):
        args = (who, fake, 0, 0, 0, 0, 18)
        assert attempt(g.list_collateral, *args) == "AccessControlUnauthorizedAccount"
    assert name(m.do(OWNER, "setRiskParams", b"")) == "Unauthorized"
    # after the delay: the timelock lists it, and asks for the largest cap
    g.list_collateral(TIMELOCK, fake, 0, 0, 0, 0, 18)
    m.give(fake, CAROL, 10**9 * WAD)
    assert m.do(CAROL, "deposit", C, fake, 1) == Revert("CapExceeded", (3, 0, 1))
    current = m.state.params
    assert current is not None
    target = replace(
        current, collaterals=(*current.collaterals[:3], replace(current.collaterals[3], cap=10**24))
    )
    g.submit_params(TIMELOCK, target.encode())
    steps = g.store.steps
    assert steps >= 29
    for step in range(1, 4):
        m.world.timestamp += 6 * HOUR
        g.poke(ATTACKER)
        assert m.state.params is not None
        cap = m.state.params.collaterals[3].cap
        assert cap <= 10**24 * step // steps
    # the guardian ends it with one call
    kept, listed = m.state.params.collaterals[:3], m.state.params.collaterals[3]
    stop = replace(m.state.params, collaterals=(*kept, replace(listed, cap=0)))
    g.tighten(GUARDIAN, stop.encode())
    assert m.do(CAROL, "deposit", C, fake, 1).name == "CapExceeded"


def test_F52_a_cut_ramps(market: Market) -> None:
    """Haircuts + 15 points against a borrower at its initial margin: no step takes it from healthy
    to liquidatable at once, and there is time to act between steps.
    """
    m = market.copy() if isinstance(market, ModelMarket) else model_market()
    fund(m, BOB, usd=1_000_000)
    assert m.do(ALICE, "deposit", A, m.weth, 10 * WAD) is None
    g = governed(m)
    assert m.do(ALICE, "withdraw", A, m.cash, 15_000 * USD, key_address(ALICE)) == 15_000 * USD
    margin = m.model.margin(A)
    room = (margin.equity - margin.im) // 10**12
    assert m.do(ALICE, "withdraw", A, m.cash, room, key_address(ALICE)) == room
    current = m.state.params
    assert current is not None
    harsher = replace(
        current,
        collaterals=tuple(
            replace(c, haircut_bps=c.haircut_bps + 1_500) for c in current.collaterals
        ),
    )
    before = m.model.margin(A).health_factor
    g.tighten(GUARDIAN, harsher.encode())
    drops = []
    while g.store.target:
        assert m.model.margin(A).health_factor >= before - WAD // 10
        drops.append(before - m.model.margin(A).health_factor)
        before = m.model.margin(A).health_factor
        m.world.timestamp += 6 * HOUR
        assert attempt(g.poke, ATTACKER) == ""
        again = attempt(g.poke, ATTACKER)
        assert again == ("StepTooEarly" if g.store.target else "RampInactive")
    assert len(drops) >= 13
    # one step is less than the distance between initial and maintenance margin
    assert max(drops) < WAD * 3_000 // 13_000


# ------------------------------------------------------------------------- without the defences


def _at_once(original: Any) -> Any:
    """A change is taken at once."""
    del original
    return lambda current, target, *rest: (target, 0)


DEFENCES = [
    Defence(
        test_F48_a_signature_is_for_one_order_here_and_now,
        "signature check",
        ((order_checks, "require_signature", nothing),),
    ),
    Defence(
        test_F50_an_operator_is_what_its_bits_say,
        "scope of rights",
        ((rights, "require_right", nothing),),
    ),
    Defence(
        test_F51_a_compromised_admin_takes_nothing_within_the_delay,
        "roles",
        ((RiskGovernor, "has_role", answer(True)),),
    ),
    Defence(test_F52_a_cut_ramps, "ramps", ((param_ramp, "plan", _at_once),)),
]
