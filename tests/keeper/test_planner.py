"""What is planned, against what the model does with the calldata at the time of inclusion."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from risk.exact.accounts import account_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import margin_engine
from risk.keeper.planner import GasTable, Terms, trial
from risk.keeper.planner.legs import choose, ranked
from risk.keeper.planner.trial import Ground, examine
from risk.keeper.ports import Bucket, Costs
from risk.keeper.types import Intent, Way
from tests.attacks.scene import ModelMarket, model_market
from tests.keeper.planner_scene import (
    BOOK,
    ETH_PRICE,
    FREE,
    GWEI,
    LONG,
    PERP,
    PRICES,
    SECONDS,
    WAD,
    A,
    C,
    D,
    Keeper,
    arguments,
    at_health,
    bucket,
    run,
    settle_in,
    terms,
)
from tests.liquidation.scene import option, set_insurance

TARGET = 11 * WAD // 10
SLICES: dict[str, Any] = {"max_legs": 0}


@pytest.fixture
def m() -> ModelMarket:
    made = model_market()
    settle_in(made)
    return made


def only(k: Keeper, costs: Costs = FREE) -> Intent:
    plan = k.plan(costs=costs)
    assert len(plan.intents) == 1 and not plan.passed, plan
    return plan.intents[0]


def included(k: Keeper) -> int:
    return k.head.timestamp + SECONDS


def worth(m: ModelMarket, account: int = C) -> int:
    return int(m.model.margin(account).mark_equity)


# ── the figures ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ways", [SLICES, {}])
@pytest.mark.parametrize("percent", [99, 80, 30, 6, 1, 0, -30])
@pytest.mark.parametrize("move", [1.0, 0.994, 0.93])
def test_gives_what_was_planned(
    m: ModelMarket, ways: dict[str, Any], percent: int, move: float
) -> None:
    """Payment and reward to the wei, through snapshots that are due and the insurance fund."""
    set_insurance(m, 10**5)
    at_health(m, A, percent * WAD // 100, **BOOK)
    m.set_price(0, PRICES[0] * move)
    k = Keeper(m, **ways)
    intent = only(k)
    offer = k.offer(intent)
    before = worth(m)
    payment, after = run(m, intent, included(k))
    assert payment == offer.payment_wad <= intent.max_payment_wad
    assert worth(after) - before == intent.reward_wad == intent.profit_wad
    assert arguments(intent)[1][1] == C
    left = after.model.margin(A)
    assert left.mm == 0 or left.equity > left.mm


def test_costs_and_closing_come_off(m: ModelMarket) -> None:
    at_health(m, A, 9 * WAD // 10, **BOOK)
    costs = Costs(3 * GWEI, ETH_PRICE)
    free, paid = only(Keeper(m, **SLICES)), only(Keeper(m, unwind_bps=1, **SLICES), costs)
    gas = paid.gas_cost_wad * 10**18 // costs.native_wad // costs.gas_price_wei
    assert GasTable().limit(gas) == paid.gas_limit == free.gas_limit and free.gas_cost_wad == 0
    closing = paid.reward_wad - paid.gas_cost_wad - paid.profit_wad
    assert 0 < closing < paid.reward_wad
    twice = only(Keeper(m, unwind_bps=2, **SLICES), costs)
    assert twice.reward_wad - twice.gas_cost_wad - twice.profit_wad in (
        2 * closing,
        2 * closing - 1,
    )


def test_time_of_inclusion_counts(m: ModelMarket) -> None:
    """ρ grows from the flag on: planned for the block that includes it, and later is more."""
    settle_in(m, reward_time_bps=400, reward_slope_bps=0, reward_base_bps=100)
    at_health(m, A, 95 * WAD // 100, **LONG)
    m.state.accounts[A] = replace(m.state.accounts[A], flagged_at=m.world.timestamp - 900)
    rewards = []
    for _ in range(3):
        k = Keeper(m, **SLICES)
        intent = only(k)
        before, (_, after) = worth(m), run(m, intent, included(k))
        assert worth(after) - before == intent.reward_wad
        rewards.append(intent.reward_wad)
        m.world.timestamp += 600
    assert rewards == sorted(set(rewards))


# ── the bound ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(12))
def test_never_pays_more_than_the_bound(m: ModelMarket, seed: int) -> None:
    """Whatever moves between plan and inclusion; and small moves do not make it fail."""
    rng = Random(seed)
    book: dict[str, Any] = BOOK if seed % 2 else LONG
    at_health(m, A, rng.randint(40, 99) * WAD // 100, **book)
    k = Keeper(m, **(SLICES if seed % 3 else {}))
    intent = only(k)
    taken = 0
    for _ in range(25):
        later = m.copy()
        big = rng.random() < 0.5
        width = 0.15 if big else 0.002
        later.set_price(0, PRICES[0] * (1 + rng.uniform(-width, width)))
        payment, _ = run(later, intent, included(k))
        if isinstance(payment, ModelRevert):
            assert payment.name != "PaymentAboveLimit" or big
            continue
        assert payment <= intent.max_payment_wad
        taken += 1
    assert taken > 5


@pytest.mark.parametrize("percent", [20, 60, 95, 98])
def test_a_deposit_in_front_does_not_stop_it(m: ModelMarket, percent: int) -> None:
    """docs/liquidation.md §5: t·MM − E, not the quoted payment, is what stands."""
    at_health(m, A, percent * WAD // 100, **LONG)
    k = Keeper(m, slippage_bps=0, **SLICES)
    intent = only(k)
    margin = m.model.margin(A)
    planned, payments = k.offer(intent).payment_wad, []
    for part in (1, 30, 60, 99):
        later = m.copy()
        account = later.state.accounts[A]
        more = (margin.mm - margin.equity) * part // 100
        later.state.accounts[A] = replace(account, cash_wad=account.cash_wad + more)
        payments.append(run(later, intent, included(k))[0])
    assert all(p <= intent.max_payment_wad for p in payments), payments
    # a limit at what was quoted would have failed
    assert (max(payments) > planned) == (percent == 20)


def test_a_drained_fund_is_not_paid_for(m: ModelMarket) -> None:
    set_insurance(m, 10**6)
    at_health(m, A, -WAD, **BOOK)
    k = Keeper(m, slippage_bps=1, **SLICES)
    intent = only(k)
    assert k.offer(intent).payment_wad < 0 and intent.max_payment_wad < 0
    later = m.copy()
    later.state.insurance_wad = 0
    payment, _ = run(later, intent, included(k))
    assert isinstance(payment, ModelRevert) and payment.name == "PaymentAboveLimit"


# ── fractions ────────────────────────────────────────────────────────────────────────────────────


def ground(k: Keeper, **changes: Any) -> Ground:
    k.next_head()
    return k.planner._ground(k.m.state, k.prices(), k.head, FREE, frozenset())


@pytest.mark.parametrize("depth", [10**6, 4])
@pytest.mark.parametrize("percent", [99, 90, 50])
def test_smallest_slice_that_restores_health(m: ModelMarket, percent: int, depth: int) -> None:
    """With and without Liq; a thousandth less does not restore it."""
    p = m.state.params
    assert p is not None
    deep = tuple(replace(u, depth_wad=depth * WAD) for u in p.underlyings)
    m.set_params(replace(p, underlyings=deep))
    settle_in(m)
    margin = at_health(m, A, percent * WAD // 100, **LONG)
    assert (margin.liq > 0) == (depth == 4)
    k = Keeper(m)
    g = ground(k)
    seen = examine(g, A)
    least = k.planner._restoring(g, seen)
    assert least is not None
    with pytest.raises(ModelRevert, match="AccountHealthy"):
        examine(replace(g, state=least.after), A)
    less = trial.take_slice(g, seen, least.fraction_wad * 999 // 1_000)
    examine(replace(g, state=less.after), A)
    full = trial.take_slice(g, seen, WAD)
    assert least.reward_wad < full.reward_wad


def test_takes_what_own_margin_carries(m: ModelMarket) -> None:
    """Too small for all of it: the largest slice that fits, not none."""
    at_health(m, A, 95 * WAD // 100, **LONG)
    full = only(Keeper(m, **SLICES))
    sizes = []
    for cash in (60, 300, 900, 10**5):
        settle_in(m, cash=cash)
        at_health(m, A, 95 * WAD // 100, **LONG)
        k = Keeper(m, **SLICES)
        plan = k.plan()
        if cash == 60 and not plan.intents:
            assert bucket(plan) is Bucket.LIQUIDATOR_TOO_SMALL
            continue
        intent = plan.intents[0]
        payment, after = run(m, intent, included(k))
        assert payment == k.offer(intent).payment_wad
        mine = after.model.margin(C)
        assert mine.equity >= mine.im
        sizes.append(intent.reward_wad)
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] == full.reward_wad


def test_nothing_at_all_fits(m: ModelMarket) -> None:
    at_health(m, A, 95 * WAD // 100, **LONG)
    m.put(C, cash=0)
    plan = Keeper(m).plan()
    assert not plan.intents and bucket(plan) is Bucket.LIQUIDATOR_TOO_SMALL
    assert "InsufficientMargin" in plan.passed[0].note


# ── legs ─────────────────────────────────────────────────────────────────────────────────────────


def test_legs_that_reduce_most_per_payment(m: ModelMarket) -> None:
    """The hedge is not among them; the order is by MM per payment; the account ends on target."""
    hedge = (option(30, 3), 2 * WAD)
    at_health(m, A, 9 * WAD // 10, **LONG, options=[(option(40), -WAD), hedge])
    k = Keeper(m)
    g = ground(k)
    seen = examine(g, A)
    order = ranked(seen)
    assert hedge[0] not in [leg.instrument for leg in order] and len(order) >= 1
    assert [leg.order for leg in order] == sorted(leg.order for leg in order)
    chosen = choose(g, seen)
    assert chosen and hedge[0] not in chosen
    offer = trial.take_legs(g, seen, [i << 96 | size % 2**96 for i, size in sorted(chosen.items())])
    margin = margin_engine.compute(offer.after, A, account_lib.load(offer.after, A))
    assert WAD < margin.health_factor <= TARGET + 10**12
    assert margin.health_factor > TARGET - WAD // 200  # the last leg in part, to 1/4096


def test_at_most_so_many_legs(m: ModelMarket) -> None:
    shorts = [(option(40 + i), -WAD) for i in range(6)]
    at_health(m, A, 3 * WAD // 10, options=shorts)
    for most in (1, 3):
        k = Keeper(m, max_legs=most)
        g = ground(k)
        assert len(choose(g, examine(g, A))) == most


def test_the_more_profitable_way_is_taken(m: ModelMarket) -> None:
    at_health(m, A, 95 * WAD // 100, **BOOK)
    dear = Costs(30 * GWEI, ETH_PRICE)
    for costs in (FREE, dear):
        found = {}
        for name, ways in (("slice", SLICES), ("both", {})):
            k = Keeper(m, min_profit_wad=-(10**30), **ways)
            found[name] = only(k, costs)
        assert found["both"].profit_wad >= found["slice"].profit_wad


# ── flag, grace, growth ──────────────────────────────────────────────────────────────────────────


def test_flag_first_then_grace_then_slice(m: ModelMarket) -> None:
    settle_in(m, grace_seconds=600, reward_time_bps=100, emergency_bps=5_000)
    at_health(m, A, 95 * WAD // 100, **LONG)
    k = Keeper(m, **SLICES)
    intent = only(k)
    assert intent.way is Way.FLAG and arguments(intent) == ("flag", [A])
    assert intent.reward_wad == 0 and intent.profit_wad > 0
    _, after = run(m, intent, included(k))
    since = after.state.accounts[A].flagged_at
    assert since == included(k)
    for time, want in (
        (since, Bucket.IN_GRACE),
        (since + 587, Bucket.IN_GRACE),
        (since + 588, None),
    ):
        after.world.timestamp = time
        plan = Keeper(after, **SLICES).plan()
        assert bucket(plan) is want, time
    assert plan.intents[0].way is Way.SLICE
    payment, done = run(after, plan.intents[0], since + 600)
    assert not isinstance(payment, ModelRevert)
    assert done.model.margin(A).health_factor >= WAD


def test_emergency_needs_no_flag(m: ModelMarket) -> None:
    settle_in(m, grace_seconds=600, emergency_bps=5_000)
    at_health(m, A, 49 * WAD // 100, **LONG)
    assert only(Keeper(m, **SLICES)).way is Way.SLICE


def test_a_flag_that_leads_to_nothing_is_not_raised(m: ModelMarket) -> None:
    settle_in(m, grace_seconds=600)
    at_health(m, A, 95 * WAD // 100, **LONG)
    plan = Keeper(m, min_profit_wad=10**30).plan()
    assert not plan.intents and bucket(plan) is Bucket.UNPROFITABLE
    m.put(C, cash=0)
    assert bucket(Keeper(m).plan()) is Bucket.LIQUIDATOR_TOO_SMALL


def test_waits_only_where_configured(m: ModelMarket) -> None:
    settle_in(m, reward_time_bps=200)
    at_health(m, A, 95 * WAD // 100, **LONG)
    m.state.accounts[A] = replace(m.state.accounts[A], flagged_at=m.world.timestamp)
    assert bucket(Keeper(m).plan()) is None
    plan = Keeper(m, patience_seconds=900).plan()
    assert not plan.intents and bucket(plan) is Bucket.WAIT and plan.passed[0].profit_wad > 0
    m.world.timestamp += 900
    assert Keeper(m, patience_seconds=900).plan().intents  # patience is over


def test_does_not_wait_for_a_reward_that_grows_no_more(m: ModelMarket) -> None:
    settle_in(m, reward_time_bps=200, reward_base_bps=500)
    at_health(m, A, 95 * WAD // 100, **LONG)
    m.state.accounts[A] = replace(m.state.accounts[A], flagged_at=m.world.timestamp)
    assert Keeper(m, patience_seconds=900).plan().intents


# ── buckets ──────────────────────────────────────────────────────────────────────────────────────


def test_unprofitable_is_reported_with_what_it_would_bring(m: ModelMarket) -> None:
    at_health(m, A, 95 * WAD // 100, **LONG)
    plan = Keeper(m).plan(costs=Costs(10_000 * GWEI, ETH_PRICE))
    assert not plan.intents and bucket(plan) is Bucket.UNPROFITABLE
    assert plan.passed[0].profit_wad < 0 and "reward" in plan.passed[0].note


def test_unknown_gets_no_transaction(m: ModelMarket) -> None:
    at_health(m, A, WAD // 2, **LONG)
    k = Keeper(m)
    plan = k.plan(k.sweep(unknown={0}))
    assert (
        not plan.intents and bucket(plan) is Bucket.UNKNOWN and "no answer" in plan.passed[0].note
    )


def test_healthy_by_the_time_of_inclusion(m: ModelMarket) -> None:
    at_health(m, A, 95 * WAD // 100, **LONG)
    k = Keeper(m)
    sweep = k.sweep()
    m.set_price(0, PRICES[0] * 1.5)
    assert bucket(k.plan(sweep)) is Bucket.HEALTHY_LIVE


def test_more_than_a_head_may_have(m: ModelMarket) -> None:
    for account in (A, D):
        at_health(m, account, 95 * WAD // 100, **LONG)
    for limit in ({"max_intents": 1}, {"max_examined": 1}):
        plan = Keeper(m, **limit).plan()
        assert len(plan.intents) == 1 and [p.bucket for p in plan.passed] == [Bucket.LATER]


def test_what_the_contract_refuses_for_another_reason(m: ModelMarket) -> None:
    """A signer who may not trade for the liquidator; the liquidator itself."""
    at_health(m, A, 95 * WAD // 100, **LONG)
    plan = Keeper(m, sender=0xBAD).plan()
    assert bucket(plan) is Bucket.SIMULATION and "NotAccountOwner" in plan.passed[0].note
    plan = Keeper(m, liquidator=A).plan()
    assert bucket(plan) is Bucket.SIMULATION and "SelfLiquidation" in plan.passed[0].note


def test_a_failure_of_ours_is_that_accounts_matter(
    m: ModelMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for account in (A, D):
        at_health(m, account, 95 * WAD // 100, **LONG)
    real = trial.examine

    def fail(g: Ground, account: int) -> Any:
        if account == A:
            raise ZeroDivisionError("by chance")
        return real(g, account)

    k = Keeper(m)
    sweep = k.sweep()
    monkeypatch.setattr(trial, "examine", fail)
    plan = k.plan(sweep)
    assert [i.account for i in plan.intents] == [D]
    assert bucket(plan) is Bucket.UNKNOWN and "ZeroDivisionError" in plan.passed[0].note


def test_own_prices_unknown(m: ModelMarket) -> None:
    """Nothing is taken over while our own margin cannot be known."""
    m.put(C, cash=10**8 * WAD, collateral={1: 10**8})
    at_health(m, A, 95 * WAD // 100, **LONG)
    k = Keeper(m)
    sweep = k.sweep(unknown={1})
    assert A in sweep.unhealthy
    prices = k.prices({1}, "no answer")
    plan = k.planner.plan(m.state, prices, sweep, FREE, frozenset())
    assert not plan.intents and bucket(plan) is Bucket.UNKNOWN


# ── several at once ──────────────────────────────────────────────────────────────────────────────


def test_the_most_profitable_first_and_own_margin_is_shared(m: ModelMarket) -> None:
    """Each plan runs whole, in its order, and leaves the liquidator at its initial margin."""
    crowd = [(0xCAFE + n) << 8 for n in range(6)]
    for n, account in enumerate(crowd):
        at_health(m, account, (94 - 4 * n) * WAD // 100, **LONG)
    for cash, count in ((2_500, None), (10**6, 6)):
        m.put(C, cash=cash * WAD)
        k = Keeper(m)
        plan = k.plan()
        assert count is None or len(plan.intents) == count
        assert len(plan.intents) + len(plan.passed) == 6
        if count:
            profits = [i.profit_wad for i in plan.intents]
            assert profits == sorted(profits, reverse=True)
        else:
            assert 1 <= len(plan.intents) < 6
            assert {p.bucket for p in plan.passed} == {Bucket.LIQUIDATOR_TOO_SMALL}
        at = m
        for intent in plan.intents:
            payment, at = run(at, intent, included(k))
            assert payment == k.offer(intent).payment_wad
        mine = at.model.margin(C)
        assert mine.equity >= mine.im


def test_gives_up_after_a_row_that_does_not_fit(m: ModelMarket) -> None:
    """A head does not try everybody once own margin is used up."""
    for n in range(14):
        at_health(m, (0xCAFE + n) << 8, 90 * WAD // 100, **LONG)
    m.put(C, cash=700 * WAD)
    plan = Keeper(m, max_intents=14).plan()
    found = [p.bucket for p in plan.passed]
    assert plan.intents and found.count(Bucket.LIQUIDATOR_TOO_SMALL) == 8
    assert found.count(Bucket.LATER) == 14 - 8 - len(plan.intents) > 0


def test_open_transactions_use_own_margin(m: ModelMarket) -> None:
    """What is under way counts as done; a head later nothing is planned twice."""
    for account in (A, D):
        at_health(m, account, 95 * WAD // 100, **LONG)
    m.put(C, cash=10**6 * WAD)
    k = Keeper(m, max_intents=1, **SLICES)
    first = k.plan()
    taken = first.intents[0]
    need = run(m, taken, included(k))[1].model.margin(C)
    m.put(C, cash=10**6 * WAD - (need.equity - need.im) + 5 * WAD)  # nothing left after the first
    m.world.timestamp += SECONDS
    second = k.plan(opened=[taken.key])
    assert bucket(second, taken.account) is Bucket.OPEN
    other = D if taken.account == A else A
    small = [i for i in second.intents if i.account == other]
    assert not small or small[0].reward_wad < taken.reward_wad // 10
    # without the open one there is room for it
    again = Keeper(m, max_intents=1, **SLICES).plan()
    assert again.intents[0].reward_wad > taken.reward_wad * 9 // 10


def test_the_book_is_only_read(m: ModelMarket) -> None:
    for account in (A, D):
        at_health(m, account, 50 * WAD // 100, **BOOK)
    m.set_price(0, PRICES[0] * 0.9)
    before = m.state.clone()
    assert Keeper(m).plan().intents
    assert m.state == before


# ── terms ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "wrong",
    [
        {"liquidator": 0},
        {"liquidator": 2**168},
        {"sender": 2**160},
        {"slippage_bps": 10_001},
        {"unwind_bps": -1},
        {"max_intents": 0},
        {"max_examined": 0},
        {"patience_seconds": -1},
        {"spread_bps": -1},
    ],
)
def test_terms_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
        terms(**wrong)


def test_the_owner_signs_unless_somebody_is_named() -> None:
    assert Terms(liquidator=C).signer == C >> 8
    assert Terms(liquidator=C, sender=7).signer == 7


def test_perp_alone(m: ModelMarket) -> None:
    at_health(m, A, WAD // 2, linear=[(PERP, -3 * WAD, 9_000 * WAD)])
    assert only(Keeper(m)).profit_wad > 0
