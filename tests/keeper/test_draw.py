"""The drawn order: exact logarithms, proportional draws, the same everywhere."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.keeper.planner import draw
from risk.keeper.planner.draw import UNIT
from risk.keeper.ports import Bucket
from tests.attacks.scene import ModelMarket, model_market
from tests.keeper.planner_scene import PERP, SECONDS, WAD, A, Keeper, at_health, run, settle_in

WEIGHTS = {1: 50 * WAD, 2: 30 * WAD, 3: 15 * WAD, 4: 5 * WAD}
HEADS = 4_000


def first(spread: int, number: int, signer: int = 7) -> int:
    scores = {
        a: draw.score(w, spread, draw.seed(signer, a, f"0x{number:064x}", "send"))
        for a, w in WEIGHTS.items()
    }
    return max(scores, key=lambda a: scores[a])


@given(st.integers(1, 2**260))
def test_log2_within_its_last_bit(x: int) -> None:
    """2^(n/2^32) brackets x: compared by squaring 6 times, so exponents are whole 64ths."""
    n = draw.log2(x)
    whole = x.bit_length() - 1
    assert whole * UNIT <= n < (whole + 1) * UNIT
    part = n - whole * UNIT >> 26  # 1/64ths, rounded down
    ratio = Fraction(x, 1 << whole) ** 64
    assert 1 << part <= ratio < 1 << part + 1 or abs(ratio - (1 << part)) * 2**40 < ratio


def test_log2_of_known_numbers() -> None:
    assert [draw.log2(1 << k) for k in (0, 1, 63, 200)] == [0, UNIT, 63 * UNIT, 200 * UNIT]
    assert draw.log2(3) == 6_807_362_105  # ⌊2^32·1.5849625007…⌋
    assert draw.log2(10) == 14_267_572_527  # ⌊2^32·3.3219280948…⌋


def test_proportional_to_the_weight() -> None:
    """χ² of four cells, 3 degrees of freedom: 16.3 is exceeded once in a thousand."""
    drawn = Counter(first(10_000, n) for n in range(HEADS))
    total = sum(WEIGHTS.values())
    expected = {a: HEADS * w / total for a, w in WEIGHTS.items()}
    assert sum((drawn[a] - e) ** 2 / e for a, e in expected.items()) < 16.3


def test_flatter_and_steeper() -> None:
    shares = [
        Counter(first(t, n) for n in range(1_000))[1] / 1_000 for t in (1_000, 10_000, 100_000)
    ]
    assert shares[0] > 0.9 > 0.6 > shares[1] > 0.4 > 0.35 > shares[2] > 0.2
    assert {first(0, n) for n in range(100)} == {1}


def test_two_signers_differ_and_one_repeats_itself() -> None:
    mine = [first(10_000, n, 7) for n in range(200)]
    assert mine == [first(10_000, n, 7) for n in range(200)]
    same = sum(a == b for a, b in zip(mine, [first(10_000, n, 8) for n in range(200)], strict=True))
    assert 40 < same < 110  # Σ p² = 0.365 of 200
    assert draw.seed(7, 1, "0xAB", "look") == draw.seed(7, 1, "0xab", "look")


@given(st.binary(min_size=1, max_size=40))
def test_noise_is_bounded(seed: bytes) -> None:
    assert -7 * UNIT < draw.gumbel(seed) < 66 * UNIT


# ── in the planner ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def m() -> ModelMarket:
    made = model_market()
    settle_in(made)
    rng = Random(3)
    for n in range(9):
        size = rng.randint(1, 9)
        book = {"linear": [(PERP, size * WAD, -3_000 * size * WAD)]}
        at_health(made, A + 256 * n, 90 * WAD // 100, **book)
    return made


def orders(m: ModelMarket, heads: int, **changes: object) -> list[tuple[int, ...]]:
    k = Keeper(m, max_legs=0, **changes)
    return [tuple(i.account for i in k.plan().intents) for _ in range(heads)]


def test_strictly_by_profit_without_a_spread(m: ModelMarket) -> None:
    k = Keeper(m, max_legs=0, max_intents=9)
    profits = [i.profit_wad for i in k.plan().intents]
    assert len(profits) == 9 and profits == sorted(profits, reverse=True)
    assert len(set(orders(m, 3, max_intents=9))) == 1


def test_the_order_is_drawn_anew_at_every_head_and_loses_nobody(m: ModelMarket) -> None:
    found = orders(m, 6, max_intents=9, spread_bps=10_000)
    assert len(set(found)) == 6
    assert all(sorted(f) == sorted(found[0]) and len(f) == 9 for f in found)
    assert found == orders(m, 6, max_intents=9, spread_bps=10_000)
    mine = orders(m, 6, max_intents=2, spread_bps=10_000)
    other = orders(m, 6, max_intents=2, spread_bps=10_000, sender=0xBEEF)
    assert mine != other


def test_who_is_looked_at_is_drawn_too(m: ModelMarket) -> None:
    k = Keeper(m, max_legs=0, max_examined=2, spread_bps=10_000)
    seen = [{i.account for i in k.plan().intents} for _ in range(6)]
    assert all(len(s) == 2 for s in seen) and len(set().union(*seen)) >= 7


def test_drawn_or_not_the_figures_are_exact_and_losses_are_passed(m: ModelMarket) -> None:
    k = Keeper(m, max_legs=0, spread_bps=30_000, max_intents=3)
    at = m
    plan = k.plan()
    for intent in plan.intents:
        payment, at = run(at, intent, k.head.timestamp + SECONDS)
        assert payment == k.offer(intent).payment_wad
    most = max(i.profit_wad for i in k.plan().intents)
    picky = Keeper(m, max_legs=0, spread_bps=100_000, min_profit_wad=most * 2 // 3).plan()
    assert picky.intents and all(i.profit_wad >= most * 2 // 3 for i in picky.intents)
    assert any(p.bucket is Bucket.UNPROFITABLE for p in picky.passed)
