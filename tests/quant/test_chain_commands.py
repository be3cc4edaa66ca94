"""`recommend`, `replay`, `var` and `report` on the book of a deployed vault at a block."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from risk.cli.chain_book import ChainOptions
from risk.cli.main import app
from risk.cli.report import ReportOptions, inputs
from risk.exact.margin import instrument_id
from risk.exact.state import Account
from risk.quant.book_chain import book_from_chain
from risk.quant.book_market import RiskBook, holdings
from risk.quant.data import PriceTable, write_prices
from risk.quant.recommend_effect import effect
from risk.quant.report import collect
from risk.quant.report.render import render
from risk.quant.report.summary import TITLES, summary
from risk.quant.whatif import Measure
from tests.support.book_ground import Ground

pytestmark = pytest.mark.chain
WAD = 10**18


@dataclass(frozen=True)
class Site:
    """A vault in use, what its book was at `block`, before somebody moved on, and prices."""

    rpc: str
    vault: str
    block: int
    book: RiskBook
    names: tuple[str, ...]
    prices: Path
    first: int

    def arguments(self, *more: str | Path) -> list[str]:
        where = ("--rpc", self.rpc, "--vault", self.vault, "--block", str(self.block))
        return [*where, "--data", str(self.prices), *map(str, more)]


@pytest.fixture(scope="module")
def site(furnished: Ground, market: PriceTable, tmp_path_factory: pytest.TempPathFactory) -> Site:
    ground = furnished
    rpc, block = str(ground.chain.node.endpoint), ground.chain.rpc.block_number()
    names = market.assets[: len(ground.session.state.underlyings)]
    book = book_from_chain(rpc, ground.vault, block=block, underlyings=names)
    holder = next(n for n, a in book.state.accounts.items() if holdings(a))
    users = [u.address for u in ground.session.deployment.users]
    ground.deposit(users.index(holder >> 8), holder & 0xFF, 1_000_000)
    assert ground.chain.rpc.block_number() > block
    table = PriceTable(names, market.times, {"close": market.close[:, : len(names)]})
    file = write_prices(table, tmp_path_factory.mktemp("prices") / "prices.parquet")
    return Site(rpc, ground.vault, block, book, names, file, ground.first)


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


# --------------------------------------------------------------------------------------- recommend


@pytest.fixture(scope="module")
def proposal(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("proposal") / "r.json"
    more = ("--assets", ",".join(site.names), "--quick", "--json", out)
    code, output = run("recommend", *site.arguments(*more))
    assert code == 0, output
    assert f"block {site.block}, {site.book.about['block_hash']}" in output
    return out


def test_the_file_has_the_block_and_the_book(site: Site, proposal: Path) -> None:
    value = json.loads(proposal.read_text())
    request, outcome = value["request"], value["outcome"]
    about = request["book"]["about"]
    assert (about["block"], about["block_hash"]) == (site.block, site.book.about["block_hash"])
    assert (about["vault"], about["time"]) == (site.vault, site.book.about["time"])
    params = site.book.state.params
    assert params is not None
    assert request["now"]["blob"] == "0x" + params.blob.hex()
    assert outcome["effect"]["accounts"] == len(site.book.state.accounts)
    from risk.exact.params.risk_params import RiskParams

    proposed = RiskParams.decode(bytes.fromhex(outcome["blob"][2:]))
    assert outcome["effect"] == effect(site.book.state, proposed)


def test_replay_needs_no_node_and_agrees_with_it(site: Site, proposal: Path) -> None:
    code, output = run("replay", proposal)
    assert code == 0, output
    code, output = run("replay", proposal, "--rpc", site.rpc)
    assert code == 0, output


def test_a_changed_book_is_found(site: Site, proposal: Path, tmp_path: Path) -> None:
    value = json.loads(proposal.read_text())
    accounts = value["request"]["book"]["state"]["accounts"]
    holder = next(n for n, a in accounts.items() if a.get("linear") or a.get("options"))
    accounts[holder]["cash_wad"] = str(int(accounts[holder].get("cash_wad", "0")) - 10**24)
    file = tmp_path / "r.json"
    file.write_text(json.dumps(value))
    code, output = run("replay", file, "--rpc", site.rpc)
    assert code == 1
    assert f"request.book.state.accounts.{holder}.cash_wad" in output
    code, output = run("replay", file)
    assert code == 1
    assert "outcome.effect" in output


def test_only_underlyings_with_prices_are_proposed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record knows all names, so that some of them will do."""
    monkeypatch.setattr("risk.deploy.record.read_record", lambda _: record(site))
    out = tmp_path / "r.json"
    where = ("--rpc", site.rpc, "--record", "record.json", "--data", site.prices)
    where = (*where, "--block", "latest")
    code, output = run("recommend", *where, "--assets", site.names[0], "--quick", "--json", out)
    assert code == 0, output
    value = json.loads(out.read_text())
    rest = list(range(1, len(site.names)))
    assert value["outcome"]["underlyings_left_as_they_are"] == rest
    assert {r["underlying"] for r in value["outcome"]["changes"]} == {0}
    assert value["request"]["book"]["about"]["block"] > site.block, "the head"
    code, output = run("recommend", *where, "--assets", "DOGE", "--quick")
    assert (code, "no 'DOGE' in the parameters" in output) == (2, True)


def record(site: Site) -> Any:
    return SimpleNamespace(
        chain_id=31337,
        vault=site.vault,
        governance=None,
        contracts=[SimpleNamespace(kind="vault", block=site.first)],
        underlyings=[SimpleNamespace(name=name) for name in site.names],
        collaterals=[
            SimpleNamespace(symbol=f"C{j}") for j in range(len(site.book.state.collaterals))
        ],
    )


# --------------------------------------------------------------------------------------------- var


def test_var_of_one_account(site: Site, tmp_path: Path) -> None:
    now = int(site.book.about["time"])
    number, account = next((n, a) for n, a in site.book.state.accounts.items() if live(a, now))
    out = tmp_path / "var.json"
    quick = ("--paths", "1000", "--repetitions", "20", "--json", out)
    who = ("--account", f"0x{number:042x}", "--assets", ",".join(site.names))
    code, output = run("var", *site.arguments(*who, *quick))
    assert code == 0, output
    value = json.loads(out.read_text())["book"]
    assert value["about"]["block"] == site.block
    assert value["about"]["block_hash"] == site.book.about["block_hash"]
    units = sorted(float(p["units"]) for p in value["positions"] if p["kind"] != "collateral")
    assert units == pytest.approx(sorted(x.size_wad / WAD for x in live(account, now)))
    # delta of linear positions at the vault's own price, not at that of the price file
    spot = [u.price_wad / WAD for u in site.book.state.underlyings]
    linear = [x for x in account.linear if not expired(x.instrument, now)]
    if not account.options and not any(account.collateral):
        deltas = np.zeros(len(spot))
        for x in linear:
            u = instrument_id.underlying(x.instrument)
            deltas[u] += x.size_wad / WAD * spot[u]
        assert list(value["deltas"].values()) == pytest.approx(deltas.tolist())
    code, output = run("var", *site.arguments("--account", "0x12", "--assets", who[3]))
    assert (code, "no account '0x12' in the vault" in output) == (2, True)


def expired(instrument: int, now: int) -> bool:
    return instrument_id.kind(instrument) != 0 and instrument_id.expiry(instrument) <= now


def live(account: Account, now: int) -> list[Any]:
    return [x for x in holdings(account) if not expired(x.instrument, now)]


# ------------------------------------------------------------------------------------------ report


def test_the_report_is_about_the_vault_at_the_block(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("risk.deploy.record.read_record", lambda _: record(site))
    file = tmp_path / "record.json"
    file.write_text("{}")  # its content is that of the function above
    options = ReportOptions(
        out=Path("page.html"),
        data=site.prices,
        chain=ChainOptions(site.rpc, record=file, block=str(site.block)),
    )
    made = inputs(options)
    assert made.book is not None and made.generated == () and made.left_out == ()
    assert made.book.about["block_hash"] == site.book.about["block_hash"]
    assert made.request is not None and made.request.book is made.book
    view = Measure(made.book).view()
    assert list(view.mm) == list(Measure(site.book).view().mm)
    data = collect._data(made)
    assert (data["book"]["block"], data["book"]["source"]) == (site.block, "chain")
    margin = collect._margin(Measure(made.book), view)
    assert margin["now"]["accounts"] == len(view.ids)
    value = {
        "data": data,
        "date": None,
        "seed": 1,
        "reproduction": {
            "hashes": {},
            "files": made.files,
            "commands": made.commands,
            "sizes": {"days": 1, "per_kind": 1},
        },
        **{name: {"missing": "not asked for"} for name in TITLES},
        "margin": margin,
    }
    page = render({**value, "summary": summary(value)})
    assert f"block_hash: {site.book.about['block_hash']}" in page
    assert "is that of the vault at the block named above" in page
    assert [f["what"] for f in made.files] == ["prices", "deployment record"], "no configuration"
    told = " ".join(made.commands)
    assert f"--rpc URL --record record.json --block {site.block}" in told
    assert site.rpc not in told, "an endpoint may hold a key"


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("command", ["recommend", "var", "stress", "report"])
def test_options_that_do_not_go_together(site: Site, tmp_path: Path, command: str) -> None:
    out = ("--out", tmp_path / "page.html") if command == "report" else ()
    data = ("--data", site.prices)
    names = ("--assets", ",".join(site.names)) if command in ("recommend", "var") else ()
    config = Path(__file__).parents[2] / "configs" / "local.toml"
    if command == "report":
        names = ("--config", config)
    node = ("--rpc", site.rpc)
    for more, message in (
        (("--vault", site.vault), "--vault, --record and --block belong to --rpc"),
        ((*node, *names), "--rpc needs either --vault ADDRESS or --record FILE"),
        ((*node, *names, "--vault", "0x12"), "an address has 40"),
        ((*node, *names, "--vault", site.vault, "--block", "soon"), "neither a block number nor"),
        ((*node, *names, "--vault", site.vault, "--block", "99999999"), "block 99999999 is not"),
    ):
        code, output = run(command, *data, *out, *more, "--json", tmp_path / "v.json")
        assert code == 2, (more, output)
        assert message in " ".join(output.split()), (more, output)
        assert list(tmp_path.iterdir()) == []
    if command in ("recommend", "var", "report"):
        code, output = run(command, *data, *out, *node, "--vault", site.vault)
        assert (code, "which underlyings the vault has is not known" in output) == (2, True)
