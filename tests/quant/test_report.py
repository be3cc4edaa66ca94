"""`plumbline report`: a whole page, accessible, the same bytes again; nothing on bad input."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import datetime, timezone
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from risk.chain.node import project_root
from risk.cli.main import app
from risk.quant.data import write_prices
from risk.quant.generate import generate
from risk.quant.replay import Source
from risk.quant.report.figures import embedded
from risk.quant.report.render import MOST_BYTES, render
from risk.quant.report.summary import TITLES, money, percent, summary
from risk.quant.rolling_margin import roll
from risk.quant.scenarios.calibrate import Settings
from risk.quant.scenarios.fit import Plan as FitPlan
from risk.quant.scenarios.rolling import Rolling as Plan

SETTINGS = Settings(
    FitPlan(iterations=25, rounds=1, seed=3),
    training=400,
    linear=100,
    validation=300,
    adversaries=0,
)
SECTIONS = (
    "summary",
    "data",
    "volatility-and-correlation",
    "var-and-es",
    "margin-backtest",
    "stress-scenarios",
    "what-if",
    "capital-efficiency",
    "recommendation",
    "method",
    "reproduction",
)
VOID = {"meta", "link", "br", "hr", "img", "input"}
NAMES = "ETH,BTC,LINK"  # of configs/local.toml


def call(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short history of margins, kept as `backtest --save` does."""
    table = Source(tuple(NAMES.split(",")), None, 1, 24 * 540).table().rows(0, 24 * 220)
    file = tmp_path_factory.mktemp("history") / "history.npz"
    roll(table, SETTINGS, Plan(train_days=120, days=4, per_kind=2)).write(file)
    return file


@pytest.fixture(scope="module")
def arguments(history: Path) -> tuple[str | Path, ...]:
    return ("report", "--rolling", history, "--accounts", "20", "--seed", "5")


@pytest.fixture(scope="module")
def made(
    arguments: tuple[str | Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("report")
    page, value = folder / "page.html", folder / "value.json"
    code, output = call(*arguments, "--out", page, "--json", value)
    assert code == 0, output
    assert sorted(p.name for p in folder.iterdir()) == ["page.html", "value.json"]
    return page.read_text(), json.loads(value.read_text())


class Page(HTMLParser):
    """Elements in order; refuses tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = Counter(name for name, _ in attrs)
        assert not [n for n, k in names.items() if k > 1], f"{tag} has an attribute twice: {attrs}"
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes, _ in self.elements if name == tag]


# ------------------------------------------------------------------------------------------- page


def test_one_file_with_nothing_from_outside(made: tuple[str, dict[str, Any]]) -> None:
    text, _ = made
    assert len(text.encode()) < MOST_BYTES
    page = Page(text)
    assert not re.search(r"https?:|//[a-z0-9-]+\.[a-z]|@import|@font-face|javascript:", text, re.I)
    assert not {"script", "iframe", "object", "embed", "img", "form"} & {
        tag for tag, _, _ in page.elements
    }
    assert [a["href"] for a in page.all("link")] == ["data:,"]
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    for tag, attributes, _ in page.elements:
        assert not {"src", "srcset", "action", "data"} & attributes.keys(), tag
        assert not [name for name in attributes if name.startswith("on")], tag


def test_sections_links_and_ids(made: tuple[str, dict[str, Any]]) -> None:
    page = Page(made[0])
    assert tuple(a["id"] for a in page.all("section")) == SECTIONS
    ids = Counter(a["id"] for _, a, _ in page.elements if "id" in a)
    assert [i for i, n in ids.items() if n > 1] == []
    for _, a, _ in page.elements:
        target = a.get("href") or ""
        if target.startswith("#"):
            assert target[1:] in ids, target
        for name in ("aria-labelledby", "aria-describedby"):
            assert name not in a or a[name] in ids
    for reference in re.findall(r"url\(#([^)]*)\)", made[0]):
        assert reference in ids


def test_tables_and_drawings_can_be_read_aloud(made: tuple[str, dict[str, Any]]) -> None:
    text, _ = made
    page = Page(text)
    tables, scopes = page.all("table"), page.all("th")
    assert len(tables) >= 14
    assert len(page.all("caption")) == len(tables)
    assert all(a.get("scope") in ("col", "row") for a in scopes)
    svgs = page.all("svg")
    assert len(svgs) == 6
    assert all(a["role"] == "img" and "width" not in a for a in svgs)
    descriptions = re.findall(r"<desc[^>]*>([^<]*)</desc>", text)
    assert len(descriptions) == len(svgs) and all(len(d) > 60 for d in descriptions)
    for tag, _, inside in page.elements:
        assert tag != "table" or "div" in inside
    assert page.all("html")[0]["lang"] == "en"
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    # matplotlib's own black would vanish on a dark page
    assert not re.search(r"(fill|stroke): #(000000|ffffff)", text)
    assert "a1b2" not in "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))


def test_the_page_says_what_the_json_says(made: tuple[str, dict[str, Any]]) -> None:
    text, value = made
    words = Page(text).text
    assert not [name for name in TITLES if "missing" in value[name]]
    assert "Not shown" not in words
    for row in value["backtest"]["margin"]["rows"]:
        assert f"{row['observations']:,}" in words and percent(row["coverage"], 2) in words
    for m in value["var"]["methods"]:
        assert m["failed"] or money(m["var"]) in words
    for o in value["stress"]["rows"]:
        assert money(o["after"]["insurance_need"]) in words
    for items in value["summary"].values():
        assert items and all(item["text"] in words for item in items)
    outcome = value["recommendation"]["file"]["outcome"]
    assert outcome["blob_keccak"] in words
    assert value["data"]["sha256"] in words
    for number in value["reproduction"]["hashes"].values():
        assert number in words
    assert "Generated, not real" in words
    assert "plumbline recommend --config configs/local.toml --quick --seed 5" in words


def test_amounts_of_the_exact_engine_are_decimal_strings(
    made: tuple[str, dict[str, Any]],
) -> None:
    _, value = made
    now = value["margin"]["now"]
    assert now == value["what_if"]["before"] == value["recommendation"]["effect"]["before"]
    for key in ("equity", "mm", "im", "bad_debt", "insurance"):
        assert isinstance(now[key], str) and Decimal(now[key]).is_finite()
    assert sum(r["accounts"] for r in value["margin"]["binding"]) <= value["margin"]["margined"]
    assert value["margin"]["margined"] == 23, "20 traders, a maker for each of three underlyings"
    assert all(isinstance(c, str) for row in value["heatmap"]["bad_debt"] for c in row)
    middle = (
        value["heatmap"]["price_moves"].index("0"),
        value["heatmap"]["vol_moves_30d"].index("0"),
    )
    assert value["heatmap"]["mark_equity_change"][middle[0]][middle[1]] == "0"


# ------------------------------------------------------------------------------------ determinism


def test_another_process_makes_the_same_bytes(
    made: tuple[str, dict[str, Any]], arguments: tuple[str | Path, ...], tmp_path: Path
) -> None:
    """Other hash seed, other folder, other name of the file, other zone of the clock."""
    out, value = tmp_path / "other name.html", tmp_path / "v.json"
    code = "from risk.cli.main import app; app()"
    subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments), "--out", out, "--json", value],
        check=True,
        cwd=project_root(),
        env={**os.environ, "PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo"},
        capture_output=True,
        timeout=300,
    )
    assert out.read_text() == made[0]
    assert json.loads(value.read_text()) == made[1]


def test_no_clock_unless_given(made: tuple[str, dict[str, Any]]) -> None:
    text, value = made
    assert render(value) == text, "the page is a function of the JSON value"
    assert f"{datetime.now(timezone.utc):%Y-%m-%d}" not in text


# ------------------------------------------------------------------------------------ missing parts


def test_missing_parts_say_why(made: tuple[str, dict[str, Any]]) -> None:
    value = copy.deepcopy(made[1])
    for name in TITLES:
        value[name] = {"missing": f"because <{name}> & so"}
    value["summary"], value["date"] = summary(value), "2031-02-03"
    page = Page(render(value))
    assert "report of 2031-02-03" in page.text
    for name, title in TITLES.items():
        assert page.text.count(f"because <{name}> & so") >= 2, "in the summary and in its place"
        assert f"{title}: not shown. because <{name}> & so" in page.text
    assert tuple(a["id"] for a in page.all("section")) == SECTIONS
    assert page.all("svg") == []


def test_what_is_short_is_said(made: tuple[str, dict[str, Any]]) -> None:
    value = copy.deepcopy(made[1])
    backtest, now = value["backtest"], value["margin"]["now"]
    backtest["hourly"]["short"] = ["calendar"]
    for row in backtest["margin"]["rows"]:
        row["coverage"], row["verdict"] = 0.9951, "as stated"
    backtest["margin"]["rows"][0]["coverage"] = 0.985
    now["liquidatable"], now["unknown"] = 3, 1
    value["efficiency"]["worse"] = [
        {
            "archetype": "all",
            "rule": "Derive",
            "how": "as published",
            "their_capital_against_ours": -0.25,
        }
    ]
    value["var"]["methods"][2]["failed"] = "no fit"
    said = [i["text"] for i in summary(value)["short"] if i["mark"] == "short"]
    name = backtest["margin"]["rows"][0]["archetype"]
    for expected in (
        "Coverage is short of 99 % at its worst hour: calendar.",
        f"Below 99 % at the end of the margin period, though not significantly: {name} 98.50 %.",
        "Now 3 accounts below maintenance margin.",
        "Now 1 account refused by the model (never counted as healthy).",
        "Over all portfolios, as published, Derive needs 25.0 % less capital than ours.",
        f"VaR gives no figure by: {value['var']['methods'][2]['method']}.",
    ):
        assert expected in said


def test_positions_without_accounts(history: Path, tmp_path: Path) -> None:
    book, out = tmp_path / "book.csv", tmp_path / "page.html"
    book.write_text("asset,kind,units\nETH,perp,-10\nBTC,spot,1\n")
    code, output = call("report", "--rolling", history, "--positions", book, "--out", out)
    assert code == 0, output
    text = Page(out.read_text()).text
    assert text.count("The positions name no accounts (no column 'account')") >= 8
    assert "netted: 2 positions" in text
    assert "Hash of the proposed blob" in text
    assert "stress: not shown" not in output and "Stress scenarios: not shown." in output


def test_names_of_a_file_cannot_break_the_page(history: Path, tmp_path: Path) -> None:
    book, out = tmp_path / "book.csv", tmp_path / "page.html"
    evil = "<script>alert(1)</script>"
    rows = (f"{evil},USDC,cash,1000,", f"{evil},ETH,perp,5,", "bob,LINK,perp,-10,")
    book.write_text("\n".join(("account,asset,kind,units,entry_price", *rows)) + "\n")
    code, output = call("report", "--rolling", history, "--positions", book, "--out", out)
    assert code == 0, output
    page = Page(out.read_text())
    assert page.all("script") == []
    assert evil in page.text
    assert "book.csv" in page.text


# --------------------------------------------------------------------------------------- bad input


def refused(tmp_path: Path, *more: str | Path) -> str:
    """The message; exit code 2 and nothing written."""
    folder = tmp_path / "out"
    target = ("--out", folder / "page.html", "--json", folder / "value.json")
    code, output = call("report", *target, *more)
    assert code == 2, output
    assert not folder.exists()
    return output


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    file = tmp_path_factory.mktemp("prices") / "prices.csv"
    write_prices(generate(3, 24 * 100), file)
    return file.read_text().splitlines()


@pytest.mark.parametrize(
    ("row", "change", "message"),
    [
        (50, lambda line: re.sub(r",[^,]*", ",nan", line, count=1), "row 50, column 'BTC_close'"),
        (60, lambda line: re.sub(r",", ",-", line, count=1), "row 60, column 'BTC_close'"),
        (70, lambda line: "", "row 70"),
        (80, None, "row 80, column 'timestamp': gap"),
    ],
)
def test_bad_prices(lines: list[str], tmp_path: Path, row: int, change: Any, message: str) -> None:
    file, bad = tmp_path / "prices.csv", list(lines)
    if change is None:
        del bad[row - 1]
    else:
        bad[row - 1] = change(bad[row - 1])
    file.write_text("\n".join(bad) + "\n")
    assert message in refused(tmp_path, "--data", file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("account,asset,kind,units\n", "book is empty"),
        ("account,asset,kind,units\nbob,ETH,perp,nan\n", "row 2, column 'units'"),
        ("account,asset,kind,units\nbob,XRP,perp,1\n", "row 2, column 'asset'"),
        ("account,asset,kind,units,strike\nbob,ETH,call,1,3000\n", "column 'expiry'"),
        ("asset,kind,units\nETH,perp,0\n", "row 2, column 'units'"),
        ("asset,kind,size\nETH,perp,1\n", "column 'size'"),
    ],
)
def test_bad_positions(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "book.csv"
    file.write_text(text)
    assert message in refused(tmp_path, "--positions", file)


def test_bad_options(lines: list[str], tmp_path: Path) -> None:
    assert "is not a date" in refused(tmp_path, "--date", "yesterday")
    assert "no underlying 'XRP'" in refused(tmp_path, "--what-if", "XRP=-0.1")
    assert "not of the form" in refused(tmp_path, "--what-if", "ETH")
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    assert "is not a rolling margin file" in refused(tmp_path, "--rolling", tmp_path / "bad.npz")
    (tmp_path / "bad.toml").write_text("version = 1\n")
    assert "bad.toml" in refused(tmp_path, "--config", tmp_path / "bad.toml")
    assert "missing.csv" in refused(tmp_path, "--data", tmp_path / "missing.csv")
    same = tmp_path / "same"
    code, output = call("report", "--out", same, "--json", same)
    assert (code, same.exists()) == (2, False) and "the same file" in output


def test_ids_and_references_get_the_name_of_the_drawing() -> None:
    text = (
        '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg width="1pt" viewBox="0 0 1 1" id="a">'
        '<metadata>x</metadata><style type="text/css">*{}</style><g clip-path="url(#p)"/>'
        '<use xlink:href="#m"/><path id="m"/><clipPath id="p"/></svg>'
    )
    assert embedded(text, "n", "T & t", "A < a") == (
        '<svg role="img" aria-labelledby="n-title" aria-describedby="n-desc" viewBox="0 0 1 1">'
        '<title id="n-title">T &amp; t</title><desc id="n-desc">A &lt; a</desc>'
        '<g clip-path="url(#n-p)"/><use href="#n-m"/><path id="n-m"/><clipPath id="n-p"/></svg>'
    )
