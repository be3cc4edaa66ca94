"""The pure functions of a slice: formulas against exact fractions, rounding directions,
uniqueness of the root.
"""

from __future__ import annotations

from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from risk.exact.liquidation import slice_math as sm
from risk.exact.liquidation.slice_math import WAD, LiqTerm

amounts = st.integers(min_value=-(10**26), max_value=10**26)
positive = st.integers(min_value=1, max_value=10**26)
targets = st.integers(min_value=10_001, max_value=13_000).map(lambda bps: bps * sm.BPS_WAD)
rewards = st.integers(min_value=0, max_value=9_999).map(lambda bps: bps * sm.BPS_WAD)
fractions = st.integers(min_value=0, max_value=WAD)


def test_reward_grows_with_the_shortfall_and_is_capped() -> None:
    assert sm.reward_wad(100, 2_000, 500, WAD, 0) == WAD // 100
    assert sm.reward_wad(100, 2_000, 500, 2**255 - 1, 0) == WAD // 100
    assert sm.reward_wad(100, 2_000, 500, WAD - 1, 0) == WAD // 100
    assert sm.reward_wad(100, 2_000, 500, WAD * 9 // 10, 0) == WAD * 3 // 100
    assert sm.reward_wad(100, 2_000, 500, WAD * 8 // 10, 0) == WAD * 5 // 100
    assert sm.reward_wad(100, 2_000, 500, -5, 0) == WAD * 5 // 100
    assert sm.reward_wad(100, 300, 500, -(2**255), 0) == WAD * 4 // 100


@given(amounts, fractions)
def test_legs_round_towards_zero_and_one_moves_everything(x: int, f: int) -> None:
    moved = sm.leg(x, f)
    exact = Fraction(x * f, WAD)
    assert abs(moved) <= abs(exact) < abs(moved) + 1
    assert moved * x >= 0
    assert sm.leg(x, WAD) == x and sm.leg(x, 0) == 0
    # what stays of something is something, unless all of it moved
    assert x == 0 or f == WAD or x - moved != 0


@given(amounts, rewards, positive, fractions)
def test_price_and_payment_round_up(m: int, rho: int, mm: int, f: int) -> None:
    price = sm.full_price(m, rho, mm)
    exact = m - Fraction(rho * mm, WAD)
    assert exact <= price < exact + 1
    paid = sm.payment(price, f)
    assert Fraction(price * f, WAD) <= paid < Fraction(price * f, WAD) + 1


@given(amounts, positive, rewards, targets, st.integers(min_value=0, max_value=10**26))
def test_closed_form_is_the_exact_solution_rounded_down(
    e: int, mm: int, rho: int, t: int, haircut: int
) -> None:
    m = e + haircut
    price = m - Fraction(rho * mm, WAD)
    assume(e < mm and price > 0)
    f = sm.closed_form(m, e, mm, rho, t)
    exact = (Fraction(t, WAD) * mm - e) / (Fraction(t - rho, WAD) * mm + m - e)
    assert 0 < exact < 1
    assert Fraction(f, WAD) <= exact < Fraction(f + 1, WAD)
    # and it is what brings E + f·(P − E) to t·(1 − f)·MM
    assert (1 - exact) * e + exact * price == Fraction(t, WAD) * (1 - exact) * mm


liq_terms = st.lists(
    st.builds(
        LiqTerm,
        units_wad=st.integers(min_value=1, max_value=10**24),
        price_wad=st.integers(min_value=1, max_value=10**23),
        depth_wad=st.integers(min_value=10**17, max_value=10**22),
        liq_bps=st.integers(min_value=0, max_value=5_000),
    ),
    min_size=1,
    max_size=4,
)


@given(liq_terms, positive, rewards, targets, st.integers(min_value=0, max_value=10**6 - 1))
@settings(max_examples=200)
def test_bisection_finds_the_unique_root(
    terms: list[LiqTerm], base: int, rho: int, t: int, health: int
) -> None:
    mm = base + sm.liq_at(terms, WAD)
    e = mm * health // 10**6
    price = sm.full_price(e, rho, mm)
    assume(price > 0)
    f = sm.bisect(e, price, base, t, terms)
    assert 0 < f <= WAD

    def excess(g: int) -> int:
        """E·g + (1 − g)·P − t·MM(g), times WAD²."""
        right = t * (g * base + WAD * sm.liq_at(terms, g))
        return (e * g + price * (WAD - g)) * WAD - right

    g = WAD - f
    assert excess(g) <= 0
    assert g == 0 or excess(g - 1) > 0
    # concave: above zero on the whole left, below on the whole right, beyond the roundings of Liq
    slack = t * WAD * (len(terms) + sum(term.liq_bps * 10 for term in terms))
    for k in range(1, 9):
        assert excess(g * k // 9) > -slack
        assert excess(g + (WAD - g) * k // 9) <= slack


@given(
    st.integers(min_value=10**10, max_value=10**26),
    st.integers(min_value=0, max_value=4_999).map(lambda bps: bps * sm.BPS_WAD),
    targets,
    st.integers(min_value=500_000, max_value=10**6 - 1),
)
def test_bisection_without_liq_is_the_closed_form(mm: int, rho: int, t: int, health: int) -> None:
    e = mm * health // 10**6
    price = sm.full_price(e, rho, mm)
    slow, fast = sm.bisect(e, price, mm, t, []), sm.closed_form(e, e, mm, rho, t)
    # price is rounded up by less than a wei, worth less than WAD/mm of a fraction
    assert abs(slow - fast) <= 2 + 2 * WAD // mm


@given(liq_terms)
def test_liq_starts_at_zero_grows_and_is_convex(terms: list[LiqTerm]) -> None:
    values = [sm.liq_at(terms, WAD * k // 16) for k in range(17)]
    assert values[0] == 0 and values == sorted(values)
    # one more unit of rounding for every term and end
    slack = 4 * len(terms) + sum(term.liq_bps for term in terms)
    for a, b, c in zip(values, values[1:], values[2:], strict=False):
        scale = max(1, c // 10**17)
        assert 2 * b <= a + c + slack * scale
