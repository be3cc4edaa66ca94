"""Every published number that the toolkit must reproduce, and the test that reproduces it.

Row by row of the list of reference values: what is published, where, within which tolerance, and
which tests compare it. The comparison is made there, with the formula at hand; here it is checked
that the tests exist, that they hold the numbers of their row, and, where the list lies next to the
checkout, that it has no number in these sections which no row here accounts for.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache

import pytest

from risk.chain.node import project_root

ROOT = project_root()
LIST = ROOT.parent / "shared" / "REFERENCE_VALUES.md"
SECTIONS = (
    "VaR and ES",
    "Backtests",
    "Optimisation",
    "Options",
    "Scenario margin",
    "Liquidation",
)


@dataclass(frozen=True)
class Row:
    """`numbers`: those published, as the list writes them, inputs included; `tests`: file::name."""

    section: str
    what: str
    source: str
    tolerance: str
    numbers: str
    tests: tuple[str, ...]


HULL = "Hull, Risk Management and Financial Institutions, VaR chapter"
HALF = "half a unit of the last digit"
VAR = "tests/quant/test_var_reference.py"
POF = "tests/quant/test_backtest.py"
OPT = "tests/quant/test_optimise.py"
RULES = "tests/quant/test_rules.py"
ENGINE = "tests/margin/test_reference.py"
TAIL = "tests/quant/test_tail_models.py"
KERNEL = "tests/math/test_black76.py"
CONF = "tests/quant/conftest.py"

TABLE = (
    Row(
        "VaR and ES",
        "worst five losses of 500 scenarios, $000",
        HULL,
        HALF,
        "501 4000 3000 1000 2000 477.841 494 345.435 339 282.204 349 277.041 329 253.385 487",
        (f"{VAR}::test_hull_worst_five", f"{CONF}::hull_returns", f"{CONF}::hull_exposures"),
    ),
    Row(
        "VaR and ES",
        "historical VaR and ES at 99 %",
        HULL,
        HALF,
        "253.385 327.181",
        (f"{VAR}::test_hull_historical",),
    ),
    Row(
        "VaR and ES",
        "normal VaR, equal weights",
        HULL,
        HALF,
        "217.757",
        (f"{VAR}::test_hull_normal_equal_weights",),
    ),
    Row(
        "VaR and ES",
        "normal VaR, EWMA 0.94",
        HULL,
        HALF,
        "0.94 202.474 471.025",
        (f"{VAR}::test_hull_normal_ewma",),
    ),
    Row(
        "VaR and ES",
        "peaks over the threshold 160",
        HULL,
        HALF,
        "160 22 0.436 32.53",
        (f"{VAR}::test_hull_extreme_values",),
    ),
    Row(
        "VaR and ES",
        "normal and t4 in closed form, V = 10 000",
        "closed forms, recomputed",
        "0.05",
        "10000 20 250 .95 208.1 190.7 260.9 286.5 .975 247.9 248.3 295.7 357.2 .99 294.3 335.1 "
        "337.1 466.9",
        (f"{VAR}::test_closed_forms",),
    ),
    Row(
        "Backtests",
        "proportion of failures",
        "Kupiec (1995)",
        HALF,
        "1043 57 0.46147 0.49694 250 10.8123 0.001008 0.09494 0.75799",
        (f"{POF}::test_kupiec",),
    ),
    Row(
        "Backtests",
        "independence and both together",
        "Christoffersen (1998)",
        HALF,
        "932 53 0.25866 0.61104 0.72013 0.69763",
        (f"{POF}::test_christoffersen",),
    ),
    Row(
        "Backtests",
        "traffic light, 250 days at 1 %",
        "Basel Committee (1996)",
        "0.005 %",
        "250 10 8.11 28.58 54.32 75.81 89.22 95.88 98.63 99.60 99.89 99.97 99.99",
        (f"{POF}::test_traffic_light",),
    ),
    Row(
        "Backtests",
        "Z2 at 2.5 %, T = 250: critical value at 5 %",
        "Acerbi, Szekely (2014)",
        f"0.017: {HALF} and three standard errors of 40 000 simulations",
        "2.5 250 0.70",
        ("tests/quant/test_backtest_es.py::test_critical_value_of_z2",),
    ),
    Row(
        "Optimisation",
        "minimum variance with a least return",
        "Rockafellar, Uryasev (2000)",
        "weights 2e-6, variance 5e-9: the published weights miss the return by 1.4e-8",
        "0.0101110 0.0043532 0.0137058 0.011 .00324625 .00022983 .00420395 .00049937 .00019247 "
        ".00764097 0.452013 0.115573 0.432414 0.00378529",
        (f"{OPT}::test_rockafellar_uryasev_minimum_variance",),
    ),
    Row(
        "Optimisation",
        "VaR and CVaR of it",
        "Rockafellar, Uryasev (2000)",
        "VaR 1e-6 (0.090200 is 0.0901991), CVaR 5.5e-7",
        ".90 0.067847 0.096975 .95 0.090200 0.115908 .99 0.132128 0.152977",
        (f"{OPT}::test_rockafellar_uryasev_risk",),
    ),
    Row(
        "Options",
        "generalised Black-Scholes, in floats and by the exact kernel",
        "Haug, The Complete Guide to Option Pricing Formulas",
        "5e-5",
        "60 65 .08 .25 .30 2.1334 100 95 .05 .10 .5 .20 2.4648 110 .1 .35 15.3086",
        (f"{TAIL}::test_haug", f"{KERNEL}::test_published_values"),
    ),
    Row(
        "Options",
        "Black-76, in floats and by the exact kernel",
        "Haug, The Complete Guide to Option Pricing Formulas",
        "5e-8",
        "19 .75 .1 .28 1.7010507",
        (f"{TAIL}::test_haug_black76", f"{KERNEL}::test_published_values"),
    ),
    Row(
        "Scenario margin",
        "inter-commodity credit of corn against soybeans",
        "CME",
        "exact",
        "55 1750 2500 6000 3300 2700",
        (
            f"{RULES}::test_span_credit_of_corn_against_soybeans",
            f"{ENGINE}::test_cme_inter_commodity_credit_as_joint_scenarios",
        ),
    ),
    Row(
        "Scenario margin",
        "SPAN array of a short Dec-410 call, of a future, and of both",
        "McMillan, Options as a Strategic Investment; CME, SPAN methodology",
        "exact; the printed array of the future has tens of dollars",
        "410 460 610 2640 1730 1270 2340 5210 4540 2540 3430 8060 7640 3380 3990 3130 1500 10000 "
        "3330 6670 7000 3990 6620",
        (
            f"{RULES}::test_span_array_of_the_textbook",
            f"{RULES}::test_span_array_of_a_future",
            f"{ENGINE}::test_span_arrays",
            f"{ENGINE}::test_span_long_future_through_the_whole_engine",
        ),
    ),
    Row(
        "Scenario margin",
        "portfolio margin of a perpetual and a future",
        "Deribit, private/pme/simulate",
        "single figures: the last digit; sums 1e-9; by our engine 1e-5 relative, half a lane",
        "0.314538364 0.001187534 0.05968587238095 0.00315725898 0.06284313098 0.8 0.050274504784",
        (
            f"{RULES}::test_deribit_worst_bucket_roll_and_margin",
            f"{ENGINE}::test_deribit_worst_of_the_risk_matrix",
            f"{ENGINE}::test_deribit_roll_and_total",
        ),
    ),
    Row(
        "Liquidation",
        "health improves iff LTV < 1/(1 + bonus)",
        "by algebra",
        "5e-4 for the printed bounds, 1e-12 at the bound itself",
        "0.952 0.909",
        (f"{RULES}::test_liquidation_helps_below_the_bound_only",),
    ),
    Row(
        "Liquidation",
        "socialised loss of claims 5000 against assets 4000",
        "by definition",
        "1e-15",
        "5000 4000 20",
        (f"{RULES}::test_socialised_loss",),
    ),
)

_NUMBER = re.compile(r"(?<![\w.])(?:\d+(?:[ _]\d{3})*(?:\.\d+)?|\.\d+)(?:e-?\d+)?(?![\w])")


def numbers(text: str) -> set[float]:
    """Every number of a text, without its sign; thousands may be set apart by a space or _."""
    return {float(re.sub(r"[ _]", "", m)) for m in _NUMBER.findall(text)}


@cache
def module(file: str) -> tuple[str, frozenset[str]]:
    """(text, names of its functions) of a test file."""
    text = (ROOT / file).read_text()
    defined = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef))
    return text, frozenset(n.name for n in defined)


def same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-12 * max(1.0, abs(a))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.section}: {row.what}")
def test_a_row_is_tested_where_it_says(row: Row) -> None:
    held: set[float] = set()
    for test in row.tests:
        file, name = test.split("::")
        text, defined = module(file)
        assert name in defined, f"{test} is no test"
        held |= numbers(text)
    for number in map(float, row.numbers.split()):
        # a test may write 55 % as 0.55
        assert any(same(number, x) or same(number / 100, x) for x in held), (row.what, number)
    assert row.section in SECTIONS and row.source and row.tolerance


# Numbers of the list that are no values: years and dates of the Hull sample, its row 502 (the day
# after), 1–16 and ±4 … ±16 % that count scenarios or are spelt out as powers in the tests.
NO_VALUES = {2006.0, 2008.0, 2000.0, 502.0, 500.0}


def test_no_number_of_the_list_is_left_out() -> None:
    if not LIST.is_file():
        pytest.skip("REFERENCE_VALUES.md is not in ../shared next to the checkout")
    parts = re.split(r"^## ", LIST.read_text(), flags=re.M)[1:]
    sections = {title.strip(): body for title, _, body in (p.partition("\n") for p in parts)}
    assert set(SECTIONS) <= set(sections)
    for section in SECTIONS:
        known = {float(x) for r in TABLE if r.section == section for x in r.numbers.split()}
        for number in numbers(sections[section].replace("\u2212", "-")):
            if number < 100 and number == int(number):
                continue  # small counts: scenario numbers, per cents, days
            found = any(same(number, k) for k in known)
            assert found or number in NO_VALUES, f"{section}: {number} is in no row"
