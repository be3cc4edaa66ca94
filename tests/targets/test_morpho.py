"""Morpho Blue against its model: runs on both engines, hand-checked examples, the lens."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from random import Random

import pytest

from risk.diff.coverage import Tally
from risk.diff.kit.adapter import Refused, Step
from risk.diff.kit.draw import SeededDraw
from risk.diff.kit.engine import CHAIN_ID
from risk.diff.kit.node import NodeEngine
from risk.diff.kit.revm import RevmEngine
from risk.diff.kit.target import AdapterSession, AdapterTarget
from risk.diff.runner import Plan, run_sequence
from risk.targets.morpho import signing, target
from risk.targets.morpho.math import (
    ORACLE_PRICE_SCALE,
    UINT128_MAX,
    UINT256_MAX,
    WAD,
    liquidation_incentive_factor,
    mul_div_down,
    mul_div_up,
    to_assets_up,
    to_shares_down,
    to_shares_up,
    w_taylor_compounded,
)
from risk.targets.morpho.model import MarketParams, Morpho
from risk.targets.morpho.proposals import KINDS
from risk.targets.morpho.surroundings import NO_IRM, RATE_IRM, Token
from risk.targets.morpho.world import HOLDERS, random_world, smaller

# every entry point of IMorphoBase and IMorphoStaticTyping that changes the state
ENTRY_POINTS = {
    *("setOwner", "enableIrm", "enableLltv", "setFee", "setFeeRecipient", "createMarket", "supply"),
    *("withdraw", "borrow", "repay", "supplyCollateral", "withdrawCollateral", "liquidate"),
    *("flashLoan", "setAuthorization", "setAuthorizationWithSig", "accrueInterest"),
}
REASONS = {
    *("not owner", "max LLTV exceeded", "max fee exceeded", "already set", "IRM not enabled"),
    *("LLTV not enabled", "market already created", "no code", "market not created"),
    *("inconsistent input", "zero assets", "zero address", "unauthorized"),
    *("insufficient collateral", "insufficient liquidity", "position is healthy"),
    *("invalid signature", "signature expired", "invalid nonce", "transfer reverted"),
    *("transfer returned false", "transferFrom reverted", "transferFrom returned false"),
    "max uint128 exceeded",
}


def run(made: AdapterTarget, sequences: int, actions: int, seed: int = 1) -> Tally:
    tally = Tally()
    made.open()
    try:
        for index in range(sequences):
            run_sequence(made, Plan(seed=seed, actions=actions), index, tally)
    finally:
        made.close()
    return tally


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────


def test_three_thousand_actions_agree() -> None:
    tally = run(target(RevmEngine()), 50, 60)
    assert tally.counterexamples == []
    assert tally.actions == 3000
    accepted = {k[:-3]: n for k, n in tally.action_kinds.items() if k.endswith(":ok")}
    assert set(accepted) == set(KINDS)
    assert set(KINDS) > ENTRY_POINTS
    reached = {name[7:-2] for name in tally.reverts if name.startswith('Error("')}
    assert reached >= REASONS
    assert tally.reverts["Panic(0x11)"] and tally.reverts["(empty)"]
    assert tally.liquidations >= 0.05 * sum(accepted.values())
    for event in ("bad debt", "interest", "fee", "callback"):
        assert tally.events[event] >= 10, event


@pytest.mark.chain
def test_the_node_agrees_and_sees_the_same() -> None:
    node = run(target(NodeEngine()), 6, 25, seed=3)
    assert node.counterexamples == []
    revm = run(target(RevmEngine()), 6, 25, seed=3)
    assert (node.actions, node.values_compared) == (revm.actions, revm.values_compared)
    assert node.action_kinds == revm.action_kinds
    assert node.events == revm.events


# ── the parts of the adapter ─────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def opened() -> Iterator[AdapterTarget]:
    made = target(RevmEngine())
    made.open()
    yield made
    made.close()


def walk(session: AdapterSession, actions: int, seed: int) -> list[Step]:
    rng, steps = Random(seed), []
    for _ in range(actions):
        step = session.propose(rng)
        session.on_model(step)
        session.on_chain(step)
        steps.append(step)
    return steps


def test_the_lens_shows_what_the_views_show(opened: AdapterTarget) -> None:
    """The lens is ours: each of its values is asked from Morpho and the tokens directly."""
    session = opened.start(5, 1)
    walk(session, 40, 5)
    chain, seen = session.chain, session.observe_chain()
    morpho = chain["Morpho"]
    address = {who: chain.role(who) for who in HOLDERS}
    address |= {"morpho": morpho.address, "robot": chain["Robot"].address, "zero": 0}
    address |= {who: signing.signer_address(who) for who in ("sally", "simon")}
    for i, market in enumerate(session.model.listed):
        words = session.adapter.call_of(chain, Step("accrueInterest", "bob", (market,)))[2][0]
        name = signing.keccak(b"".join(word.to_bytes(32, "big") for word in words))
        totals = [v for k, v in seen.items() if k.startswith(f"market[{i}].")][:6]
        assert chain.view(morpho, "market", name) == totals
        for who in HOLDERS:
            position = [v for k, v in seen.items() if k.startswith(f"position[{i}][{who}].")]
            assert chain.view(morpho, "position", name, address[who]) == position
    for i in range(len(session.world["tokens"])):
        token = chain[f"token {i}"]
        assert chain.view(token, "totalSupply") == seen[f"token[{i}].total_supply"]
        for who in HOLDERS:
            held = chain.view(token, "balanceOf", address[who])
            allowed = chain.view(token, "allowance", address[who], morpho.address)
            assert held == seen[f"token[{i}].balance[{who}]"]
            assert allowed == seen[f"token[{i}].allowance[{who}]"]
    for who in HOLDERS:
        assert chain.view(morpho, "nonce", address[who]) == seen[f"nonce[{who}]"]
        for other in HOLDERS:
            allowed = chain.view(morpho, "isAuthorized", address[who], address[other])
            assert allowed == seen[f"authorized[{who}][{other}]"]
    assert chain.view(morpho, "owner") == address[str(seen["owner"])]
    assert chain.view(morpho, "feeRecipient") == address[str(seen["fee_recipient"])]


def test_steps_survive_as_json_would_store_them(opened: AdapterTarget) -> None:
    """A replay from plain tuples gives the same state as the run that made the steps."""
    first = opened.start(5, 2)
    steps = walk(first, 40, 6)

    def plain(value: object) -> object:
        return tuple(plain(v) for v in value) if isinstance(value, tuple) else value

    wanted = first.observe_chain()
    again = opened.start(5, 2)
    for step in steps:
        copied = Step(step.kind, step.sender, plain(step.arguments), step.wait)  # type: ignore[arg-type]
        on_model, on_chain = again.on_model(copied), again.on_chain(copied)
        assert on_model == on_chain
    assert again.observe_chain() == wanted == again.observe_model()


def test_instruments_are_the_markets_of_the_steps(opened: AdapterTarget) -> None:
    one, two = (0, 1, 0, NO_IRM, 0), (1, 0, 0, NO_IRM, 0)
    inner = ("borrow", two, 1, 0, "robot", "robot")
    steps = [
        Step("supply", "alice", (one, 1, 0, "alice", ())),
        Step("supplyCollateral", "robot", (one, 1, "robot", inner)),
        Step("setPrice", "alice", (0, 1)),
    ]
    assert opened.adapter.instruments({}, steps[:1]) == 1
    assert opened.adapter.instruments({}, steps) == 2


def test_smaller_worlds_can_be_set_up(opened: AdapterTarget) -> None:
    world = next(
        w
        for w in (random_world(SeededDraw(Random(i))) for i in range(100))
        if w["created"] > 1 and w["fee"] and w["rate"] and w["fee_recipient"] != "zero"
    )
    worlds = list(smaller(world))
    assert min(len(w["markets"]) for w in worlds) == 1
    assert any(w["fee"] == 0 for w in worlds)
    for small in worlds:
        assert small != world
        session = opened.start_in(small)
        assert session.observe_model() == session.observe_chain()


def test_explanations_name_the_quantities() -> None:
    model = lending(100)
    model.borrow("alice", LENDING, 50, 0, "alice", "alice")
    assert model.notes[-2:] == [
        "borrow: assets = 50, shares = 50000000",
        f"health: price = {ORACLE_PRICE_SCALE}, max_borrow = 80, borrowed = 50",
    ]


def test_signatures_recover_the_signer() -> None:
    """The second root recovers the same signer: Morpho takes it, as ``ecrecover`` does."""
    from eth_keys.datatypes import Signature

    authorization = (signing.signer_address("sally"), 5, 1, 0, 9)
    message = signing.digest(authorization, 77, CHAIN_ID)
    for way, good in (("good", True), ("high_s", True), ("other_signer", False)):
        v, r, s = signing.sign("sally", authorization, 77, way)
        signature = Signature(vrs=(v - 27, r, s))
        found = signature.recover_public_key_from_msg_hash(message).to_canonical_address()
        assert (int.from_bytes(found, "big") == authorization[0]) is good
    assert signing.sign("sally", authorization, 77, "high_s")[2] > signing.CURVE_ORDER // 2


# ── examples from the documentation ──────────────────────────────────────────────────────────────

LENDING = MarketParams(0, 1, 0, NO_IRM, 8 * 10**17)  # LLTV 80 %


def lending(collateral: int, *, irm: int = NO_IRM) -> Morpho:
    """Bob lent 1,000, Alice has collateral; one unit of it is worth one of the loan token."""
    market = LENDING._replace(irm=irm)
    rich = dict.fromkeys(("alice", "bob", "carol"), 10**24)
    tokens = {i: Token(dict(rich), dict(rich)) for i in (0, 1)}
    model = Morpho((market,), tokens, [ORACLE_PRICE_SCALE], now=1000)
    model.enableIrm("owner", irm)
    model.enableLltv("owner", market.lltv)
    model.createMarket("owner", market)
    model.supply("bob", market, 1000 * WAD, 0, "bob", ())
    model.supplyCollateral("alice", market, collateral, "alice", ())
    return model


def test_liquidation_example_of_the_documentation() -> None:
    """docs.morpho.org, Liquidation: $100 of collateral, LLTV 80 %, incentive about 1.06; a debt
    just above $80 is liquidatable, and repaying it earns about $85 of collateral.
    """
    model = lending(100 * WAD)
    model.borrow("alice", LENDING, 80 * WAD, 0, "alice", "alice")  # exactly at the LLTV
    shares = model.position(LENDING, "alice").borrow_shares
    with pytest.raises(Refused, match="position is healthy"):
        model.liquidate("carol", LENDING, "alice", 0, shares, ())
    model.prices[0] -= 10**18  # the smallest fall that 100 collateral notice
    seized, repaid = model.liquidate("carol", LENDING, "alice", 0, shares, ())
    assert repaid == 80 * WAD
    # 80/0.94 = 85.106…; the factor, rounded down at 18 decimals, is 1.063829787234042553
    assert seized == 80 * 1_063829787234042553 * ORACLE_PRICE_SCALE // model.prices[0]
    assert round(seized / WAD, 2) == 85.11
    assert model.position(LENDING, "alice").borrow_shares == 0


def test_incentives_of_the_documentation() -> None:
    """docs.morpho.org, Liquidation: min(1.15, 1/(0.3·LLTV + 0.7)) at LLTVs in use."""
    factors = {86: 1.043841, 915: 1.026167, 945: 1.016777, 77: 1.074114, 625: 1.126761}
    for lltv, factor in factors.items():
        exact = liquidation_incentive_factor(lltv * WAD // 10 ** len(str(lltv)))
        assert abs(exact / WAD - factor) < 1e-6
    assert liquidation_incentive_factor(385 * 10**15) == 115 * 10**16  # 1.2263 is capped


def test_bad_debt_is_shared_by_suppliers() -> None:
    """docs.morpho.org, Liquidation: debt left without collateral is a loss of all lenders at once.

    100 collateral at a price of 0.5 repay 50/1.0638… = 47 of a debt of 80; the other 33 are lost.
    """
    model = lending(100 * WAD)
    model.borrow("alice", LENDING, 80 * WAD, 0, "alice", "alice")
    model.prices[0] = ORACLE_PRICE_SCALE // 2
    seized, repaid = model.liquidate("carol", LENDING, "alice", 100 * WAD, 0, ())
    assert (seized, abs(repaid - 47 * WAD) <= 100) == (100 * WAD, True)
    state = model.markets[LENDING]
    assert state.total_supply_assets == 1000 * WAD - (80 * WAD - repaid)
    assert state.total_borrow_assets == state.total_borrow_shares == 0
    shares = model.position(LENDING, "bob").supply_shares
    assets, _ = model.withdraw("bob", LENDING, 0, shares, "bob", "bob")
    assert abs(assets - 967 * WAD) <= 100


def test_a_price_of_nothing_gives_the_collateral_away() -> None:
    """By shares the contract divides by the price; by collateral nothing has to be repaid."""
    model = lending(100 * WAD)
    model.borrow("alice", LENDING, 80 * WAD, 0, "alice", "alice")
    model.prices[0] = 0
    with pytest.raises(Refused, match="Panic\\(18"):
        copy.deepcopy(model).liquidate("carol", LENDING, "alice", 0, 1, ())
    assert model.liquidate("carol", LENDING, "alice", 100 * WAD, 0, ()) == (100 * WAD, 0)
    assert model.markets[LENDING].total_supply_assets == 920 * WAD
    assert model.events == ["liquidation", "bad debt"]


def test_first_shares_cost_a_millionth() -> None:
    """IMorpho and SharesMathLib: an empty market has 10^6 virtual shares and 1 virtual asset."""
    assert to_shares_down(7, 0, 0) == 7 * 10**6 == to_shares_up(7, 0, 0)
    assert to_assets_up(1, 0, 0) == 1
    # a gift of 10^18 assets to a supply of 1 does not take the next deposit of 10^18
    shares = to_shares_down(10**18, 1 + 10**18, 10**6)
    assert shares * (1 + 2 * 10**18 + 1) // (10**6 + shares + 10**6) > 2 * 10**17


def test_interest_lies_between_simple_and_compound() -> None:
    """Morpho's own MathLibTest: at most 8 % below e^x for rates to 180 % a year."""
    for rate in (1, 317097919, 1585489599, WAD // 20_000_000):
        for seconds in (0, 1, 86_400, 365 * 86_400):
            grown = w_taylor_compounded(rate, seconds)
            assert grown >= rate * seconds
            assert grown / WAD <= math.expm1(rate * seconds / WAD) * (1 + 1e-12)
            assert (grown / WAD + 1) >= 0.92 * math.exp(rate * seconds / WAD)
    assert w_taylor_compounded(WAD, 1) == WAD + WAD // 2 + WAD // 6


def test_fee_is_a_share_of_the_interest() -> None:
    """IMorpho: the fee is taken in supply shares; 10 % of the interest goes to the recipient."""
    model = lending(1000 * WAD, irm=RATE_IRM)
    (market,) = model.listed
    model.setFeeRecipient("owner", "carol")
    model.setFee("owner", market, WAD // 10)
    model.borrow("alice", market, 500 * WAD, 0, "alice", "alice")
    model.rate, model.now = WAD // 1000, model.now + 100  # 10 %: 0.1 + 0.005 + 0.000166…
    model.accrueInterest("bob", market)
    interest = 500 * 105_166_666_666_666_666
    state = model.markets[market]
    assert state.total_borrow_assets == 500 * WAD + interest
    assert state.total_supply_assets == 1000 * WAD + interest
    shares = model.position(market, "carol").supply_shares
    assets = mul_div_down(shares, state.total_supply_assets + 1, state.total_supply_shares + 10**6)
    assert 0 <= interest // 10 - assets <= 1


def test_words_overflow_as_in_solidity() -> None:
    assert mul_div_up(UINT256_MAX, 1, 1) == UINT256_MAX
    for x, y, d in ((UINT256_MAX, 2, 1), (UINT128_MAX + 1, UINT128_MAX + 1, 9)):
        with pytest.raises(Refused, match="Panic\\(17"):
            mul_div_down(x, y, d)
    with pytest.raises(Refused, match="Panic\\(17"):
        mul_div_up(UINT256_MAX, 1, 2)  # the numerator of the rounding up
    with pytest.raises(Refused, match="Panic\\(18"):
        mul_div_down(1, 1, 0)
