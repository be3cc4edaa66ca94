"""The worked example of docs/margin.md §9, number by number."""

from __future__ import annotations

import re
from dataclasses import astuple

import pytest

from risk.chain.node import project_root
from risk.exact.margin import array_logic, explain_logic, margin_engine
from tests.margin.conftest import VaultCalls
from tests.margin.example import ACCOUNT, CALL, example

MARGIN = (
    4805_769638530949578752,
    4505_769638530949578752,
    413_403749427987365889,
    150_000000000000000000,
    9_686486341581107055,
    112_500000000000000000,
    450_006900868428595200,
    535_590235769568472944,
    1091_371420797496335180,
    8_412718040045646096,
    True,
    0,
)


def test_array() -> None:
    array = array_logic.compute(example(), CALL)
    assert array.lanes == (-273, 1832, -649, 4082)
    assert (array.unit_mantissa, array.unit_exponent) == (239, 49)
    assert array.unit == 134545038867693568
    assert (array.mark_mantissa, array.mark_exponent) == (1819657992340, 27)
    assert (array.mark_down, array.mark_up) == (244_230361468916203520, 244_230361469050421248)
    assert array.delta_code == 221


def test_margin() -> None:
    state = example()
    assert astuple(margin_engine.compute(state, ACCOUNT, state.accounts[ACCOUNT])) == MARGIN


def test_by_hand() -> None:
    """The arithmetic of the page, from the array on."""
    s, deduction = -134545038867693568, 8192 + 134545038867693568 + 1
    call = deduction - s * -273
    underlying = 8192 - 450000000000000000 * -1000
    assert (call, underlying) == (-36596250572012642303, 450000000000000008192)
    assert call + underlying == MARGIN[2]
    notional = -(-221 * 3000 * 10**36 // (511 * 10**18))
    rate = 5 * 10**15 + -(-(10**16) * 90 * 86_400 // 31_536_000)
    assert -(-notional * rate // 10**18) == MARGIN[4]
    mm = MARGIN[2] + MARGIN[4] + MARGIN[5]
    assert mm == MARGIN[7]
    assert -(-12_500 * (mm - MARGIN[5] + MARGIN[6]) // 10_000) == MARGIN[8]
    assert MARGIN[1] * 10**18 // mm == MARGIN[9]


def test_explanation() -> None:
    rows = explain_logic.explain(example(), ACCOUNT).rows
    assert [r.scan_contribution for r in rows] == [
        300_000000000000008192,
        150_000000000000000000,
        -36_596250572012642303,
    ]


@pytest.mark.chain
def test_on_the_chain(vault: VaultCalls) -> None:
    state = example()
    (margin,) = vault.call(state, "margin", ACCOUNT)
    assert tuple(margin) == MARGIN
    (cached,) = vault.call(state, "margin", ACCOUNT, cached=[CALL])
    assert tuple(cached) == MARGIN


def test_the_page_shows_these_numbers() -> None:
    page = (project_root() / "docs" / "margin.md").read_text("utf-8")
    flat = re.sub(r"[.\s]", "", page)
    for value in (*MARGIN[:9], 134545038867693568, 1819657992340, 134121658516809015):
        digits = str(value).rstrip("0")
        assert digits in flat, value
