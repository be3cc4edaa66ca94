"""Rule sets of others: every published example, and what must hold on any portfolio."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from risk.quant import archetypes
from risk.quant.errors import QuantError
from risk.quant.pricing import black76
from risk.quant.rolling_margin import Day
from risk.quant.rules import collateral_weights, deribit, span
from risk.quant.rules.collateral_weights import CollateralWeights
from risk.quant.rules.common import Rule, delta, unit_changes, volatility
from risk.quant.rules.deribit import Deribit, inverse_pnl
from risk.quant.rules.derive import SCENARIOS, Derive
from risk.quant.rules.isolated import Isolated, Standard
from risk.quant.rules.span import Span, future_array, scan_risk, spread_credit
from risk.quant.scenarios.book import deltas, make_book, value_changes

Floats = NDArray[np.float64]
TIME = 1_799_136_000
SIGMA = np.array([0.03, 0.04, 0.05])
ASSETS = ("BTC", "ETH", "SOL")


@pytest.fixture(scope="module")
def day() -> Day:
    implied = np.array([0.55, 0.7, 0.9])
    book = make_book(implied)
    rows = [archetypes.sample(k, book, 12, 5) for k in archetypes.ARCHETYPES]
    price = np.array([60_000.0, 3_000.0, 150.0])
    return Day(TIME, ASSETS, price, implied, SIGMA, book, np.vstack(rows) * 1e6)


def rules() -> list[Rule]:
    return [Span({TIME: SIGMA}), Derive(), Deribit(), Standard(), CollateralWeights()]


def names() -> list[str]:
    return [rule.name for rule in rules()]


def one(day: Day, column: int, usd: float) -> Floats:
    out = np.zeros((1, day.book.size))
    out[0, column] = usd
    return out


# ---------------------------------------------------------------------------------- published: SPAN

# L. McMillan, "Options as a Strategic Investment", SPAN risk array of a short S&P Dec 410 call:
# losses of scenarios 1 … 16, whole dollars; exact.
SHORT_CALL = np.array(
    [
        *(460, -610, 2640, 1730, -1270, -2340, 5210, 4540),
        *(-2540, -3430, 8060, 7640, -3380, -3990, 3130, -1500),
    ],
    dtype=np.float64,
)


@pytest.mark.parametrize(
    ("call", "future", "risk", "scenario"),
    [
        (-1.0, 0.0, 3990.0, 14),  # the call alone, long
        (1.0, 0.0, 8060.0, 11),  # short
        (1.0, 1.0, 6620.0, 13),  # covered write
    ],
)
def test_span_array_of_the_textbook(call: float, future: float, risk: float, scenario: int) -> None:
    long_future = np.round(future_array(10_000.0), -1)  # the book prints tens of dollars
    got = scan_risk(np.array([SHORT_CALL, long_future]), np.array([call, future]))
    assert got == (risk, scenario)


def test_span_array_of_a_future() -> None:
    """The same source: range 10 000, thirds printed as 3330 and 6670, extremes ±7000."""
    got = future_array(10_000.0)
    profits = [0, 0, 3330, 3330, -3330, -3330, 6670, 6670, -6670, -6670]
    profits += [10_000, 10_000, -10_000, -10_000, 7_000, -7_000]
    assert np.round(-got, -1).tolist() == profits
    assert -got[2] == pytest.approx(10_000 / 3)


def test_span_credit_of_corn_against_soybeans() -> None:
    """CME: corn : soybeans 2 : 1 at 55 %: 2·1750 + 2500 = 6000 → credit 3300 → 2700; exact."""
    credit = spread_credit((1750.0, 2500.0), (2.0, -1.0), (2.0, 1.0), 0.55)
    assert credit == pytest.approx(3300.0, abs=1e-9)
    assert 6000.0 - credit == pytest.approx(2700.0, abs=1e-9)
    assert spread_credit((1750.0, 2500.0), (2.0, 1.0), (2.0, 1.0), 0.55) == 0.0
    # a second corn pair without beans forms no spread
    assert spread_credit((1750.0, 2500.0), (4.0, -1.0), (2.0, 1.0), 0.55) == pytest.approx(3300.0)


# ------------------------------------------------------------------------------- published: Deribit

# docs.deribit.com, answer of private/pme/simulate. The answer's margin is 3.8e-10 below the sum
# of its own printed parts, so sums get 1e-9, single figures their last printed digit.
PERP, FUTURE = 0.314538364, -0.001187534


def test_deribit_worst_bucket_roll_and_margin() -> None:
    rule = Deribit()
    assert rule.moves() == pytest.approx(np.arange(-4, 5) * 0.04, abs=1e-12)
    pnl = np.array([inverse_pnl(PERP + FUTURE, float(k)) for k in rule.moves()])
    assert pnl.min() == pytest.approx(-0.05968587238095, abs=5e-15)
    printed = [-0.04272965863636364, -0.02724789826086957, -0.013056284583333334, 0.0]
    assert pnl[1:5] == pytest.approx(printed, abs=1e-15)
    roll = rule.roll_shock(np.array([PERP, FUTURE]), np.array([0.0, 0.1]))
    assert roll == pytest.approx(0.00315725898, abs=5e-12)
    matrix = -float(pnl.min()) + roll
    assert matrix == pytest.approx(0.06284313098, abs=1e-9)
    assert rule.mm_factor * matrix == pytest.approx(0.050274504784, abs=1e-9)


def test_deribit_extended_table() -> None:
    """A loss of 1 M at +100 % counts 16 %, less (100/16 − 1)·100,000, but is no profit."""
    rule = Deribit()
    far = np.array([1.0])
    assert rule.dampened(np.array([[-1e6]]), far) == pytest.approx(0.0)
    assert rule.dampened(np.array([[-1e7]]), far)[0, 0] == pytest.approx(-1.6e6 + 525_000.0)
    assert rule.dampened(np.array([[3e6]]), far)[0, 0] == 0.0


# --------------------------------------------------------------------------- published: liquidation


@pytest.mark.parametrize(("bonus", "printed"), [(0.05, 0.952), (0.10, 0.909)])
def test_liquidation_helps_below_the_bound_only(bonus: float, printed: float) -> None:
    bound = collateral_weights.highest_improvable(bonus)
    assert bound == pytest.approx(printed, abs=5e-4)
    for ltv, better in ((bound - 0.01, True), (bound + 0.01, False)):
        after = collateral_weights.loan_to_value_after(1.0, ltv, 0.1, bonus)
        assert (after < ltv) == better
    same = collateral_weights.loan_to_value_after(1.0, bound, 0.1, bonus)
    assert same == pytest.approx(bound, abs=1e-12)


def test_socialised_loss() -> None:
    """Claims of 5000 against assets of 4000 lose 20 %."""
    assert collateral_weights.socialised_share(5000.0, 4000.0) == pytest.approx(0.2, abs=1e-15)
    assert collateral_weights.socialised_share(4000.0, 5000.0) == 0.0


# ---------------------------------------------------------------------------------------- by hand


def test_derive_perp_by_hand(day: Day) -> None:
    """20 % of the move and 3 % of contingency; both ways."""
    assert len(SCENARIOS) == 23
    for usd in (1e6, -1e6):
        assert Derive().margin(day, one(day, 0, usd))[0] == pytest.approx(0.23e6)


def test_derive_long_option_loses_its_discount_too(day: Day) -> None:
    """Worst: spot −20 %, or −15 % with volatility down; of what is left the discount is off."""
    call = int(np.flatnonzero(day.book.call & (day.book.owner == 0) & ~day.book.linear)[0])
    need = float(Derive().margin(day, one(day, call, 1e6))[0])
    value = float(day.book.mark[call]) * 1e6
    assert 0.5 * value < need < value
    book, days = day.book, float(day.book.days[call])
    sd = float(book.sd[call])
    power = (30.0 / days) ** (0.3 if days <= 30 else 0.13)
    rests = [
        float(black76(0.80, book.strike[call], sd * (1.0 + 0.6 * power), True)),
        float(black76(0.85, book.strike[call], sd * max(0.0, 1.0 - 0.3 * power), True)),
    ]
    discount = 0.95 * np.exp(-0.12 * days / 365.0)
    assert need == pytest.approx(value - discount * min(rests) * 1e6)
    naked = float(Derive().margin(day, one(day, call, -1e6))[0])
    flat = float(Derive(option_percent=0.0).margin(day, one(day, call, -1e6))[0])
    assert naked - flat == pytest.approx(0.02e6)


def test_a_long_option_covers_a_short_one_of_its_strike_only(day: Day) -> None:
    """Two columns of one expiry get the same strike: 2 % of what stays naked."""
    book = day.book
    first, second = np.flatnonzero((book.owner == 0) & (book.expiry_index == 1))[:2]
    strike = book.strike.copy()
    strike[second] = strike[first]
    same = replace(day, book=replace(book, strike=strike))
    row = one(day, int(first), -1e6) + one(day, int(second), 0.4e6)

    def contingency(market: Day) -> float:
        need = Derive().margin(market, row) - Derive(option_percent=0.0).margin(market, row)
        return float(need[0])

    assert contingency(day) == pytest.approx(0.02e6)
    assert contingency(same) == pytest.approx(0.02 * 0.6e6)


def test_deribit_perp_by_hand(day: Day) -> None:
    """0.8·(16 % + 1 %)."""
    for usd in (1e6, -1e6):
        assert Deribit().margin(day, one(day, 0, usd))[0] == pytest.approx(0.8 * 0.17e6)


def test_span_perp_and_pair_by_hand(day: Day) -> None:
    rule = Span({TIME: SIGMA})
    ranges = np.expm1(span.RANGE_SIGMAS * SIGMA)
    columns = np.flatnonzero(day.book.linear)
    assert rule.margin(day, one(day, 0, -1e6))[0] == pytest.approx(1e6 * ranges[0])
    pair = one(day, 0, 1e6) + one(day, int(columns[1]), -1e6 * ranges[0] / ranges[1])
    assert rule.margin(day, pair)[0] == pytest.approx(0.45 * 2e6 * ranges[0])
    same_way = np.abs(pair)
    assert rule.margin(day, same_way)[0] == pytest.approx(2e6 * ranges[0])


def test_standard_and_weights_by_hand(day: Day) -> None:
    columns = np.flatnonzero(day.book.linear)
    put = int(np.flatnonzero(~day.book.call & (day.book.owner == 1) & ~day.book.linear)[0])
    standard, weights = Standard(), CollateralWeights()
    cases = [
        (standard, int(columns[0]), 1e6, 0.065e6),
        (standard, int(columns[2]), -1e6, 0.10e6),
        (standard, put, -1e6, 0.09e6),
        (standard, put, 1e6, 1e6 * day.book.mark[put]),
        (weights, int(columns[1]), 1e6, 0.20e6),
        (weights, int(columns[1]), -1e6, 0.25e6),
        (weights, put, -1e6, 0.20e6),
    ]
    for rule, column, usd, want in cases:
        assert rule.margin(day, one(day, column, usd))[0] == pytest.approx(want), rule.name


# ------------------------------------------------------------------------------- on any portfolio


def test_values_agree_with_the_books_own(day: Day) -> None:
    """`unit_changes` against `value_changes`: the same shock of price and volatility."""
    book, columns = day.book, np.arange(day.book.size)
    vol = volatility(book, columns)[:, None] * (1.0 + 0.2 * book.tenor[:, None])
    x, v = np.full((1, 3), -0.07), np.full((1, 3), 0.2)
    want = value_changes(book, x, v, aged=False)
    got = unit_changes(book, columns, np.array([-0.07]), vol)
    assert got == pytest.approx(want, abs=1e-12)
    aged = value_changes(book, x, v, aged=True)
    got = unit_changes(book, columns, np.array([-0.07]), vol, elapsed_days=1.0)
    assert got == pytest.approx(aged, abs=1e-12)
    assert delta(book, columns) == pytest.approx(deltas(book), abs=1e-12)


@pytest.mark.parametrize("rule", rules(), ids=names())
def test_requirements_are_finite_and_never_negative(day: Day, rule: Rule) -> None:
    need = rule.margin(day, day.sizes_usd)
    assert need.shape == (72,)
    assert np.isfinite(need).all() and (need >= 0.0).all()
    assert (need > 0.0).sum() > 60
    assert rule.margin(day, np.zeros((1, day.book.size)))[0] == 0.0


@pytest.mark.parametrize("rule", [r for r in rules() if r.name != "Deribit"])
def test_twice_the_book_needs_twice_as_much(day: Day, rule: Rule) -> None:
    once, twice = rule.margin(day, day.sizes_usd), rule.margin(day, 2.0 * day.sizes_usd)
    assert twice == pytest.approx(2.0 * once, rel=1e-12, abs=1e-6)


def test_deribits_dampener_is_absolute(day: Day) -> None:
    """A short far call: nothing of the extended table counts while the book is small."""
    call = int(np.flatnonzero(day.book.call & (day.book.owner == 0) & ~day.book.linear)[3])
    small, large = (Deribit().margin(day, one(day, call, -usd))[0] / usd for usd in (1e5, 1e9))
    assert large > 1.2 * small


@pytest.mark.parametrize("rule", rules(), ids=names())
def test_alone_is_never_cheaper(day: Day, rule: Rule) -> None:
    """No rule set charges more for a book than for its positions; those that net charge less."""
    together, apart = rule.margin(day, day.sizes_usd), Isolated(rule).margin(day, day.sizes_usd)
    assert (together <= apart * (1.0 + 1e-9) + 1e-6).all()
    nets = rule.name not in ("isolated standard", "collateral weights")
    assert (together < apart * 0.99).any() == nets


def test_a_day_without_range_is_refused(day: Day) -> None:
    with pytest.raises(QuantError, match="no scan range"):
        Span({}).margin(day, day.sizes_usd)


def test_the_extended_table_is_the_published_one() -> None:
    assert deribit.EXTENDED == (-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
