"""Named scenarios, measured moves, heatmaps, and the command."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from risk.chain.node import project_root
from risk.cli.main import app
from risk.quant.book_market import GENERATED_AT, RiskBook, draw, from_config
from risk.quant.data import PriceTable, read_prices
from risk.quant.errors import QuantError
from risk.quant.stress_tests import (
    HISTORICAL,
    HISTORICAL_STRESSES,
    HYPOTHETICAL,
    MEASURED,
    OTHERS,
    choose,
    heatmap,
    measured,
    named,
    run,
)
from risk.quant.whatif import Measure, compare, shocked

CONFIG = project_root() / "configs/local.toml"
HEADER = "account,asset,kind,units,strike,expiry,entry_price"


@pytest.fixture(scope="module")
def measure() -> Measure:
    return Measure(draw(from_config(CONFIG, GENERATED_AT), 40, 5))


def test_every_scenario_has_a_name_a_source_and_sane_moves() -> None:
    names = [s.name for s in named()]
    assert len(set(names)) == len(names) >= 12
    for s in named():
        assert s.source and s.kind in (HISTORICAL, HYPOTHETICAL)
        assert all(x > -1 for x in (*s.prices.values(), *s.vols.values()))
        assert OTHERS in s.prices and OTHERS in s.vols
        assert bool(s.start) == (s.kind == HISTORICAL)
    days = [s.start[:10] for s in HISTORICAL_STRESSES]
    assert {"2020-03-12", "2021-05-19", "2025-10-10"} <= set(days)


def test_moves_fall_back_to_the_others() -> None:
    (ftx,) = choose(["ftx-2022"], named())
    prices, vols = ftx.moves(("SOL", "LINK", "BTC"))
    assert prices == [Decimal("-0.50"), Decimal("-0.35"), Decimal("-0.18")]
    assert vols == [Decimal("0.45")] * 3
    with pytest.raises(QuantError, match="no scenario 'ftx'; there are black-thursday-2020"):
        choose(["ftx"], named())


def test_measured_moves_by_hand() -> None:
    (october,) = choose(["october-2025"], named())
    start = 1_760_054_400  # 2025-10-10T00:00Z
    times = np.arange(start - 3600, start + 26 * 3600, 3600, dtype=np.int64)
    close = np.full((len(times), 2), 100.0)
    low = close.copy()
    low[0] = 1.0  # before the day
    low[1] = 2.0  # the hour that ends where the day begins
    low[5] = [80.0, 91.23456]
    low[26] = 3.0  # after the day
    table = PriceTable(("BTC", "ETH"), times, {"close": close, "low": low}, source="t.csv")
    got = measured(october, table)
    assert got.kind == MEASURED and "t.csv" in got.source
    assert got.prices == {
        "BTC": Decimal("-0.2000"),
        "ETH": Decimal("-0.0877"),
        OTHERS: Decimal("-0.50"),
    }
    assert got.vols == {OTHERS: Decimal("0.5")}
    # a table that does not hold the whole day, or does not hold it at all
    assert measured(october, table.rows(0, 20)) == october
    assert measured(october, table.rows(3)) == october
    (crash,) = choose(["crash-30"], named())
    assert measured(crash, table) == crash


def test_shipped_moves_are_those_of_the_real_prices(crypto_file: Path) -> None:
    table = read_prices(crypto_file)
    found = {s.name: measured(s, table) for s in HISTORICAL_STRESSES}
    inside = [name for name, s in found.items() if s.kind == MEASURED]
    assert inside == ["yen-carry-2024", "tariffs-2025", "october-2025"]
    for shipped in HISTORICAL_STRESSES:
        if shipped.name in inside:
            for asset in table.assets:
                got = found[shipped.name].prices[asset]
                assert abs(got - shipped.prices[asset]) <= Decimal("0.0001")


def test_a_run_is_what_each_move_does_alone(measure: Measure) -> None:
    outcomes = run(measure, named())
    assert [o.stress.name for o in outcomes] == [s.name for s in named()]
    for o in outcomes[::5]:
        alone = compare(measure, shocked(measure.book.state, o.prices, o.vols))
        assert alone.after.equity == o.effect.after.equity
    worst = {o.stress.name: sum(o.effect.after.bad_debts()) for o in outcomes}
    assert worst["crash-60"] > worst["crash-30"] > 0
    first = outcomes[0].to_json(3)
    assert first["price_moves"] == {"ETH": "-0.55", "BTC": "-0.50", "LINK": "-0.55"}
    assert len(first["accounts"]) == 3


def test_a_heatmap_is_its_cells(measure: Measure) -> None:
    prices, vols = [Decimal("-0.3"), Decimal(0)], [Decimal(0), Decimal("0.5")]
    picture = heatmap(measure, "ETH", prices, vols)
    assert picture.change[1][0] == 0 and picture.bad_debt[1][0] == 0
    moved = shocked(
        measure.book.state, [prices[0], Decimal(0), Decimal(0)], [vols[1], Decimal(0), Decimal(0)]
    )
    effect = compare(measure, moved)
    want = sum(effect.after.mark_equity) - sum(effect.before.mark_equity)
    assert picture.change[0][1] == want
    assert picture.liquidatable[0][1] == len(effect.after.liquidatable())
    both = heatmap(measure, None, prices, vols)
    assert both.liquidatable[0][0] > picture.liquidatable[0][0]
    assert both.to_json()["price_moves"] == ["-0.3", "0"]
    with pytest.raises(QuantError, match="no underlying 'DOGE'"):
        heatmap(measure, "DOGE", prices, vols)


# ------------------------------------------------------------------------------------- the command


def stress(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["stress", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_command_on_a_file(tmp_path: Path) -> None:
    book, out = tmp_path / "book.csv", tmp_path / "out.json"
    rows = ["a,USDC,cash,6000,,,", "a,ETH,perp,10,,,3000", "b,USDC,cash,5,,,"]
    book.write_text("\n".join([HEADER, *rows]) + "\n")
    code, shown, _ = stress(
        *("--positions", str(book), "--scenario", "crash-30", "--what-if", "ETH=-0.1,vol=0.2"),
        *("--cascade", "--exposures", "--json", str(out)),
    )
    assert code == 0 and "crash-30" in shown
    report = json.loads(out.read_text())
    assert report["book"]["source"] == "book.csv" and len(report["book"]["sha256"]) == 64
    assert report["what_if"]["newly_liquidatable"] == ["a"]
    assert report["what_if"]["moves"] == {"ETH": "-0.1", "vol": "0.2"}
    (crash,) = report["scenarios"]
    assert crash["after"]["bad_debt"] == "3000"  # 6 000 − 10·900
    assert report["cascades"]["crash-30"]["rounds"][0]["liquidated"] == 1
    eth = report["exposures"]["by_underlying"]["ETH"]
    assert eth["delta"]["net"] == pytest.approx(30_000)
    assert report["now"]["bad_debt"] == "0"


def test_command_generates_a_book_and_takes_parameters(tmp_path: Path) -> None:
    params, out = tmp_path / "wide.toml", tmp_path / "out.json"
    params.write_text(CONFIG.read_text().replace('im_factor = "1.2"', 'im_factor = "3"'))
    code, _, said = stress(
        *("--accounts", "10", "--scenario", "none", "--params", str(params)),
        *("--heatmap", "BTC", "--json", str(out)),
    )
    assert code == 0 and "10 generated accounts" in said
    report = json.loads(out.read_text())
    assert report["scenarios"] == [] and report["what_if"]["params"] == "wide.toml"
    assert report["what_if"]["newly_below_im"] and not report["what_if"]["newly_liquidatable"]
    assert len(report["heatmap"]["liquidatable"]) == 9
    again = tmp_path / "again.json"
    arguments = ("--accounts", "10", "--scenario", "none", "--params", str(params))
    stress(*arguments, "--heatmap", "BTC", "--json", str(again))
    assert again.read_text() == out.read_text()


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        ([], (), "the book is empty"),
        (["a,ETH,perp,NaN,,,"], (), "row 2, column 'units': the value is NaN"),
        (["a,ETH,perp,1,,,-5"], (), "row 2, column 'entry_price': the value is negative"),
        (["a,ETH,perp,1"], (), "row 2: the line has 4 fields"),
        (["a,ETH,perp,1,,,"], ("--what-if", "ETH"), "not of the form NAME=NUMBER"),
        (["a,ETH,perp,1,,,"], ("--what-if", "ETH=x"), "--what-if ETH: 'x' is not a decimal"),
        (["a,ETH,perp,1,,,"], ("--what-if", "XRP=1"), "no underlying 'XRP'"),
        (["a,ETH,perp,1,,,"], ("--what-if", "ETH=-1"), "not above -100 %"),
        (["a,ETH,perp,1,,,"], ("--scenario", "moon"), "no scenario 'moon'"),
        (["a,ETH,perp,1,,,"], ("--heatmap", "XRP"), "no underlying 'XRP'"),
        (["a,ETH,perp,1,,,"], ("--impact", "nan"), "--impact: 'nan' is not a finite number"),
        (["a,ETH,perp,1,,,"], ("--at", "soon"), "--at: 'soon' is not an ISO date"),
        (["a,ETH,perp,1,,,"], ("--rpc", "http://127.0.0.1:1"), "not both"),
        (["a,ETH,perp,1,,,"], ("--block", "3"), "belong to --rpc"),
        (["a,ETH,perp,1,,,"], ("--price", "ETH=0"), "the price of ETH must be above 0"),
        (["a,ETH,perp,1,,,"], ("--params", "none.toml"), "cannot be read"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    tmp_path: Path, rows: list[str], arguments: tuple[str, ...], message: str
) -> None:
    book, out = tmp_path / "book.csv", tmp_path / "out.json"
    book.write_text("\n".join([HEADER, *rows]) + "\n")
    quick = () if "--scenario" in arguments else ("--scenario", "vol-up")
    code, _, said = stress("--positions", str(book), *quick, *arguments, "--json", str(out))
    assert code == 2
    assert message in re.sub(r"\s+", " ", said)
    assert "Traceback" not in said and not out.exists()


def test_a_market_from_a_file_does_not_go_with_a_chain() -> None:
    code, _, said = stress("--rpc", "http://127.0.0.1:1", "--price", "ETH=1")
    assert code == 2 and "--price do not go with --rpc" in re.sub(r"\s+", " ", said)
    code, _, said = stress("--rpc", "http://127.0.0.1:1", "--vault", "0x12")
    assert code == 2 and "--vault '0x12' has 2 hex digits; an address has 40" in said


def test_bad_prices_are_named(tmp_path: Path) -> None:
    prices, out = tmp_path / "p.csv", tmp_path / "out.json"
    prices.write_text("timestamp,BTC\n2025-01-01T00:00Z,1\n2025-01-01T02:00Z,1\n")
    code, _, said = stress("--data", str(prices), "--accounts", "5", "--json", str(out))
    assert code == 2 and "row 3" in said and "timestamp" in said
    assert not out.exists()


def test_params_as_a_blob(tmp_path: Path) -> None:
    state: RiskBook = from_config(CONFIG, GENERATED_AT)
    assert state.state.params is not None
    good, bad = tmp_path / "p.hex", tmp_path / "bad.hex"
    good.write_text("0x" + state.state.params.blob.hex())
    bad.write_text("0x1234")
    arguments = ("--accounts", "5", "--scenario", "none")
    assert stress(*arguments, "--params", str(good))[0] == 0
    code, _, said = stress(*arguments, "--params", str(bad))
    assert code == 2 and "is not a blob of risk parameters" in re.sub(r"\s+", " ", said)
