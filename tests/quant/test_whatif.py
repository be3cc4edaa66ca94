"""What a change does to a book: against the model account by account, and by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from risk.chain.node import project_root
from risk.exact.liquidation import liquidation_logic
from risk.exact.margin import array_logic, instrument_id, margin_engine
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State
from risk.quant.book_data import book_from_file
from risk.quant.book_market import GENERATED_AT, RiskBook, draw, from_config
from risk.quant.cascade import cascade, unit_deltas
from risk.quant.errors import QuantError
from risk.quant.exposures import measure_exposures
from risk.quant.pricing import black76
from risk.quant.scenarios.book import total_variance
from risk.quant.whatif import (
    Measure,
    View,
    aged,
    cash,
    compare,
    expected_bad_debt,
    shocked,
    with_params,
)

CONFIG = project_root() / "configs/local.toml"
WAD = 10**18
ZERO = [Decimal(0)] * 3


@pytest.fixture(scope="module")
def drawn() -> RiskBook:
    return draw(from_config(CONFIG, GENERATED_AT), 60, 11)


@pytest.fixture(scope="module")
def measure(drawn: RiskBook) -> Measure:
    return Measure(drawn)


def by_hand(tmp_path: Path, *rows: str) -> RiskBook:
    path = tmp_path / "book.csv"
    header = "account,asset,kind,units,strike,expiry,entry_price"
    path.write_text("\n".join([header, *rows]) + "\n")
    return book_from_file(path, from_config(CONFIG, GENERATED_AT, listed=False))


def params_of(state: State) -> RiskParams:
    assert state.params is not None
    return state.params


def assert_is_model(view: View) -> None:
    for i, number in enumerate(view.ids):
        want = margin_engine.compute(view.state, number, view.state.accounts[number])
        assert view.margins.row(i) == want
        expected = 1 if want.equity < want.mm else 2 if want.equity < want.im else 3
        assert view.status[i] == (expected if want.has_obligations else 3)


def test_every_account_is_the_models_before_and_after(measure: Measure) -> None:
    state = measure.book.state
    moves = [Decimal("-0.3"), Decimal("0.2"), Decimal("-0.123456789")]
    effect = compare(measure, shocked(state, moves, [Decimal("0.6")] * 3))
    assert_is_model(effect.before)
    assert_is_model(effect.after)
    assert not effect.before.liquidatable().size
    hit = effect.newly_liquidatable()
    assert len(hit) == len(effect.after.liquidatable()) > 5
    distance = [effect.after.equity[effect.after.ids.index(n)] for n in hit]
    need = [effect.after.mm[effect.after.ids.index(n)] for n in hit]
    gaps = [e - m for e, m in zip(distance, need, strict=True)]
    assert gaps == sorted(gaps) and max(gaps) < 0
    # the way back cures exactly those
    back = compare(Measure(replace(measure.book, state=effect.after.state)), state)
    assert set(back.cured()) == set(hit) and not back.newly_liquidatable()


def test_no_move_changes_nothing(measure: Measure) -> None:
    effect = compare(measure, shocked(measure.book.state, ZERO, ZERO))
    assert effect.before.equity == effect.after.equity
    assert effect.before.im == effect.after.im
    assert not effect.newly_liquidatable() and not effect.newly_below_im()


def test_prices_and_variances_move_as_stated(drawn: RiskBook) -> None:
    state = drawn.state
    after = shocked(state, [Decimal("-0.2"), Decimal(0), Decimal("1")], [Decimal("0.5")] * 3)
    assert after.underlyings[0].price_wad == state.underlyings[0].price_wad * 8 // 10
    assert after.underlyings[2].price_wad == 2 * state.underlyings[2].price_wad
    for key, bucket in state.buckets.items():
        u, day = key >> 16, key & 0xFFFF
        tenor = day * 86_400 + 28_800 - state.underlyings[u].time
        g = Fraction(array_logic.tenor_factor(params_of(state), u, tenor), WAD)
        factor = (1 + g / 2) ** 2
        moved = after.buckets[key]
        assert abs(moved.a_e9 - bucket.a_e9 * factor) <= 1
        assert abs(moved.b_e9 - bucket.b_e9 * factor) <= 1
        assert (moved.rho_e9, moved.m_e9) == (bucket.rho_e9, bucket.m_e9)


@pytest.mark.parametrize("vol", ["30", "-0.99", "-0.5"])
def test_extreme_volatility_stays_within_what_the_model_admits(measure: Measure, vol: str) -> None:
    view = measure.view(shocked(measure.book.state, ZERO, [Decimal(vol)] * 3))
    assert (view.status > 0).all()
    assert_is_model(view)


def test_time_decay_takes_from_who_bought_options(tmp_path: Path) -> None:
    book = by_hand(
        tmp_path,
        "long,USDC,cash,1000,,,",
        "long,ETH,call,1,3000,2026-01-31,",
        "short,USDC,cash,10000,,,",
        "short,ETH,call,-1,3000,2026-01-31,",
    )
    measure = Measure(book)
    now, later = measure.view(), measure.view(aged(book.state, 86_400))
    assert later.mark_equity[0] < now.mark_equity[0] and later.mark_equity[1] > now.mark_equity[1]
    # at the money a value goes with the square root of time: 30 days to 29
    value, left = now.mark_equity[0] - 1000 * WAD, later.mark_equity[0] - 1000 * WAD
    assert left / value == pytest.approx((29 / 30) ** 0.5, abs=0.01)
    gone = measure.view(aged(book.state, 31 * 86_400))
    forward = book.state.underlyings[0].price_wad * 10_033 // 10_000
    worth = (forward - 3000 * WAD) * 9967 // 10_000
    assert gone.mark_equity[0] - 1000 * WAD == pytest.approx(worth, rel=1e-9)


def test_bad_debt_by_hand(tmp_path: Path) -> None:
    """10 ETH long from 3 000 with 4 000 cash: at 2 500 it owes 1 000, at 2 700 nothing."""
    book = by_hand(tmp_path, "a,USDC,cash,4000,,,", "a,ETH,perp,10,,,3000", "b,USDC,cash,5,,,")
    measure = Measure(book)
    state = book.state
    sixth = Decimal(1) / Decimal(6)
    after = measure.view(shocked(state, [-sixth, Decimal(0), Decimal(0)]))
    assert sum(after.bad_debts()) == pytest.approx(1000 * WAD, rel=1e-20)
    moves = [[Decimal("-0.1"), *ZERO[1:]], [-sixth, *ZERO[1:]], ZERO, ZERO]
    mean, debts = expected_bad_debt(measure, state, moves)
    assert debts == [0, sum(after.bad_debts()), 0, 0] and mean == Fraction(sum(debts), 4)
    quote = liquidation_logic.quote(after.state, after.ids[0])
    assert after.insurance_need() == -quote.full_price_wad > sum(after.bad_debts())
    assert after.summary()["bad_debt"].startswith("1000")
    with pytest.raises(QuantError, match="no moves"):
        expected_bad_debt(measure, state, [])


def test_parameters_change_what_is_required(measure: Measure) -> None:
    state = measure.book.state
    p = params_of(state)
    effect = compare(measure, with_params(state, replace(p, im_factor_bps=20_000)))
    assert effect.before.mm == effect.after.mm and not effect.newly_liquidatable()
    assert effect.newly_below_im()
    wider = [
        replace(u, price_unit_e6=13 * u.price_unit_e6 // 10, vol_unit_e6=2 * u.vol_unit_e6)
        for u in p.underlyings
    ]
    effect = compare(measure, with_params(state, replace(p, underlyings=tuple(wider))))
    assert_is_model(effect.after)
    assert effect.newly_liquidatable()
    with pytest.raises(QuantError, match="for 2 underlyings; the vault has 3"):
        with_params(state, replace(p, underlyings=p.underlyings[:2]))
    with pytest.raises(QuantError, match=r"refuses these parameters: \w+\[0\] = 9999"):
        with_params(state, replace(p, im_factor_bps=9_999))
    with pytest.raises(QuantError, match="for 0 collaterals; the vault has 3"):
        with_params(state, replace(p, collaterals=()))


def test_an_account_that_the_model_refuses_is_unknown_and_never_healthy(
    tmp_path: Path,
) -> None:
    book = by_hand(tmp_path, "a,USDC,cash,9000,,,", "a,ETH,future,1,,2026-01-31,")
    key = next(k for k in book.state.buckets if k & 0xFFFF == 20_484 and k >> 16 == 0)
    bucket = replace(book.state.buckets[key], forward_ratio_wad=0)
    after = replace(book.state, buckets={**book.state.buckets, key: bucket})
    effect = compare(Measure(book), after)
    assert effect.newly_unknown() == [256]
    assert not effect.after.known().size and effect.after.total(effect.after.mm) == 0
    row = effect.to_json()["accounts"][0]
    assert row["after"]["status"] == "unknown" and "SliceMissing" in row["after"]["error"]


@pytest.mark.parametrize(
    ("prices", "vols", "message"),
    [
        (ZERO[:2], None, "2 prices"),
        ([Decimal(-1), *ZERO[1:]], None, "not above -100 %"),
        ([Decimal("nan"), *ZERO[1:]], None, "not above -100 %"),
        (ZERO, [Decimal("-1.5"), *ZERO[1:]], "not above -100 %"),
        ([Decimal(10) ** 9, *ZERO[1:]], None, "outside what the vault holds"),
    ],
)
def test_refuses_moves(
    drawn: RiskBook, prices: list[Decimal], vols: list[Decimal] | None, message: str
) -> None:
    with pytest.raises(QuantError, match=message):
        shocked(drawn.state, prices, vols)


def test_an_empty_book_is_refused() -> None:
    with pytest.raises(QuantError, match="the book is empty"):
        Measure(from_config(CONFIG, GENERATED_AT))


def test_json_has_no_float(measure: Measure) -> None:
    out = compare(measure, shocked(measure.book.state, [Decimal("-0.2")] * 3)).to_json(7)
    assert len(out["accounts"]) == 7

    def floats(value: object) -> list[object]:
        if isinstance(value, dict):
            return [x for v in value.values() for x in floats(v)]
        if isinstance(value, list):
            return [x for v in value for x in floats(v)]
        return [value] if isinstance(value, float) else []

    assert floats(out) == []
    assert cash(-15 * 10**17) == "-1.5"


# ----------------------------------------------------------------------------------------- cascade


def test_a_cascade_takes_the_models_slices(tmp_path: Path) -> None:
    book = by_hand(tmp_path, "a,USDC,cash,4000,,,", "a,ETH,perp,10,,,3000")
    start = shocked(book.state, [Decimal("-0.05"), *ZERO[1:]])
    number = next(iter(book.state.accounts))
    quote = liquidation_logic.quote(start, number)
    assert 0 < quote.max_fraction_wad < WAD
    found = cascade(book, start, Decimal(0))
    (only,) = found.rounds
    taken = 10 * WAD * quote.max_fraction_wad // WAD
    assert only.delta[0] == (Decimal(taken) / WAD).quantize(Decimal("1e-9"))
    assert found.end.state.accounts[number].linear[0].size_wad == 10 * WAD - taken
    assert found.stopped and not found.end.liquidatable().size
    assert only.insurance_paid == only.unpaid == 0
    # what the liquidator paid is what the account's equity lost of its slice
    assert found.end.mark_equity[0] < found.start.mark_equity[0]
    assert book.state.accounts[number].linear[0].size_wad == 10 * WAD  # the book stays


def test_impact_drags_others_down_and_insurance_runs_out(drawn: RiskBook) -> None:
    state = shocked(drawn.state, [Decimal("-0.25")] * 3, [Decimal(1)] * 3)
    calm, wild = cascade(drawn, state, Decimal(0)), cascade(drawn, state, Decimal(30))
    assert len(calm.rounds) == 1
    assert all(x == 0 for x in calm.rounds[0].moves)
    assert sum(r.liquidated for r in wild.rounds) > sum(r.liquidated for r in calm.rounds)
    paid = sum(r.insurance_paid for r in wild.rounds)
    assert wild.end.state.insurance_wad == drawn.state.insurance_wad - paid
    assert all(r.unpaid == 0 for r in calm.rounds) or calm.end.state.insurance_wad == 0
    price = wild.end.state.underlyings[2].price_wad
    assert price < state.underlyings[2].price_wad
    with pytest.raises(QuantError, match="at least 0"):
        cascade(drawn, state, Decimal(-1))


# --------------------------------------------------------------------------------------- exposures


def test_greeks_of_known_positions(tmp_path: Path) -> None:
    book = by_hand(
        tmp_path,
        "perp,USDC,cash,90000,,,",
        "perp,ETH,perp,-10,,,",
        "option,USDC,cash,90000,,,",
        "option,ETH,call,8,3000,2026-01-31,",
        "token,WETH,collateral,2,,,",
    )
    book.state.underlyings[0].premium_e9 = 10**6  # 0.1 % a period of 8 hours
    found = measure_exposures(Measure(book))
    price = book.state.underlyings[0].price_wad / WAD
    assert found.delta[:, 0] == pytest.approx(
        [-10 * price, found.delta[1, 0], 2 * price], rel=1e-12
    )
    # between two volatility reports a slice moves with the price: sticky in moneyness

    def value(spot: float) -> float:
        forward = 1.0033 * spot
        svi = (12_000_000, 80_000_000, -250_000_000, 0, 150_000_000)
        sd = np.sqrt(total_variance(svi, np.log(3000 / forward)))
        return 8 * 0.9967 * float(black76(forward, 3000.0, sd, True))

    delta = (value(1.001 * price) - value(0.999 * price)) / 0.002
    assert found.delta[1, 0] == pytest.approx(delta, rel=1e-3)
    gamma = (value(1.01 * price) - 2 * value(price) + value(0.99 * price)) * 100
    assert found.gamma[1, 0] == pytest.approx(gamma, rel=1e-6)
    call = instrument_id.encode(0, instrument_id.CALL, 20_484, 0)
    assert 0.5 < float(unit_deltas(book.state, [call])[call]) < 0.56
    assert found.gamma[0, 0] == pytest.approx(0, abs=1e-6)
    assert found.vega[1, 0] > 0 > found.theta[1]
    assert found.vega[0, 0] == found.theta[0] == 0
    assert found.funding[0, 0] == pytest.approx(-10 * price * 0.003)
    assert found.units[1, 0] == 8 and not found.delta[:, 1:].any()
    totals = found.totals()["by_underlying"]["ETH"]
    assert totals["largest"]["account"] == "perp"
    assert totals["delta"]["gross"] > abs(totals["delta"]["net"])


def test_correlation_hurts_who_is_long_both_and_helps_a_pair(tmp_path: Path) -> None:
    book = by_hand(
        tmp_path,
        "both,USDC,cash,900000,,,",
        "both,ETH,perp,10,,,",
        "both,BTC,perp,1,,,",
        "pair,USDC,cash,900000,,,",
        "pair,ETH,perp,10,,,",
        "pair,BTC,perp,-1,,,",
    )
    found = measure_exposures(Measure(book))
    matrix = np.array([[1, 0.6, 0.5], [0.6, 1, 0.5], [0.5, 0.5, 1]])
    sigma = np.array([0.05, 0.04, 0.06])
    now, change = found.correlation(sigma, matrix)
    x, y = found.delta[0, :2] * sigma[:2]
    assert now[0] == pytest.approx((x**2 + y**2 + 1.2 * x * y) ** 0.5)
    assert change[0] > 0 > change[1] and now[0] > now[1]
    with pytest.raises(QuantError, match="are not for 3"):
        found.correlation(sigma[:2], matrix)
