"""`plumbline report` on prices that lack an underlying: `--assets` restricts it, and says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from risk.chain.node import project_root
from risk.cli.main import app
from risk.cli.report import ReportOptions, inputs
from risk.deploy.config import load_config
from risk.deploy.quantise import quantise
from risk.exact.params.risk_params import RiskParams
from risk.quant.data import PriceTable, write_prices
from risk.quant.report import collect
from risk.quant.report.inputs import Inputs
from risk.quant.report.summary import summary
from risk.quant.whatif import Measure

CONFIG = project_root() / "configs" / "local.toml"
BOOK = """account,asset,kind,units,strike,expiry
ann,USDC,cash,50000,,
ann,BTC,perp,1.5,,
bob,USDC,cash,50000,,
bob,ETH,perp,-10,,
bob,LINK,perp,200,,
cid,LINK,collateral,500,,
cid,ETH,perp,1,,
"""


@pytest.fixture(scope="module")
def prices(market: PriceTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BTC and ETH; the configuration has LINK too."""
    columns = [market.column(name) for name in ("BTC", "ETH")]
    table = PriceTable(("BTC", "ETH"), market.times, {"close": market.close[:, columns]})
    return write_prices(table, tmp_path_factory.mktemp("prices") / "prices.parquet")


@pytest.fixture(scope="module")
def restricted(prices: Path) -> Inputs:
    return inputs(ReportOptions(Path("x"), data=prices, assets="BTC,ETH", accounts=40))


def test_without_it_the_parts_that_need_prices_say_how(prices: Path) -> None:
    made = inputs(ReportOptions(Path("x"), data=prices, accounts=10))
    assert made.request is None
    assert "The prices lack LINK" in made.no_request
    assert "--assets ETH,BTC leaves it out" in made.no_request
    assert made.book is not None and made.book.underlyings == ("ETH", "BTC", "LINK")
    assert made.left_out == ()


def test_with_it_every_part_is_there(restricted: Inputs) -> None:
    assert restricted.book is not None
    assert restricted.book.underlyings == ("ETH", "BTC"), "the order of the configuration"
    assert restricted.listed == ("ETH", "BTC", "LINK") and restricted.columns == (0, 1)
    assert restricted.left_out == (
        "LINK, by --assets: no section below is about it, and its parameters stay.",
    )
    small = replace(restricted, sizes=replace(restricted.sizes, paths=1_000, repetitions=20))
    var = collect._var(small)
    assert var["of"] in restricted.book.labels.values()
    assert len([m for m in var["methods"] if not m["failed"]]) > 8
    measure = Measure(restricted.book)
    part = collect._recommendation(small, measure, measure.view(), lambda _: None)
    outcome = part["file"]["outcome"]
    assert outcome["underlyings_left_as_they_are"] == [2]
    assert part["underlyings"] == ["ETH", "BTC", "LINK"]
    assert "missing" not in part["effect"]
    before = quantise(load_config(CONFIG))
    proposed = RiskParams.decode(bytes.fromhex(outcome["blob"][2:]))
    assert proposed.underlyings[2] == before.underlyings[2], "a whole set, LINK as it was"
    assert proposed.underlyings[0] != before.underlyings[0]
    assert f"--config {CONFIG.parent.name}/{CONFIG.name} --assets ETH,BTC" in restricted.commands[3]


def test_accounts_that_hold_it_go_whole_and_are_counted(prices: Path, tmp_path: Path) -> None:
    book = tmp_path / "book.csv"
    book.write_text(BOOK)
    options = ReportOptions(Path("x"), data=prices, positions=book)
    whole = inputs(options)
    part = inputs(replace(options, assets="ETH,BTC"))
    assert whole.book is not None and part.book is not None
    assert list(part.book.labels.values()) == ["ann"]
    assert part.left_out[1] == (
        "2 of 3 accounts hold something of LINK or its collateral and are left out whole, with 3 "
        "of 4 positions. The margin of the others is what it was."
    )
    ann = next(n for n, name in whole.book.labels.items() if name == "ann")
    before, after = Measure(whole.book).view(), Measure(part.book).view()
    assert after.mm[0] == before.mm[before.ids.index(ann)]


def test_what_is_not_there_is_refused(prices: Path, tmp_path: Path) -> None:
    for assets, message in (
        ("DOGE", "--assets: no 'DOGE' in the parameters; ETH, BTC, LINK are"),
        ("ETH,LINK", "column 'LINK_close': the column is missing"),
    ):
        out = tmp_path / "page.html"
        arguments = ["report", "--data", str(prices), "--assets", assets, "--out", str(out)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2 and not out.exists()
        assert message in " ".join(result.output.split())


def test_the_summary_and_the_page_say_it(restricted: Inputs) -> None:
    from risk.quant.report.render import render
    from risk.quant.report.summary import TITLES

    value = {
        "data": collect._data(restricted),
        "date": None,
        "seed": 1,
        "alpha": 0.99,
        "reproduction": {
            "hashes": {},
            "files": [],
            "commands": [],
            "sizes": {"days": 1, "per_kind": 1},
        },
        **{name: {"missing": "not asked for"} for name in TITLES},
    }
    value["summary"] = summary(value)
    page = render(value)
    assert "<strong>Left out:</strong> LINK, by --assets: no section below is about it" in page
    assert "left_out" not in page
