"""The certificate on the contracts: margins equal the model in every field, Scan covers the ES."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from risk.chain.rpc import from_hex
from risk.cli.main import app
from risk.diff.plumbline.chain import Chain, address
from risk.exact.margin import margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.state import Account, Option, State
from risk.quant import archetypes
from risk.quant.data import PriceTable
from risk.quant.scenarios import certificate, exact, factors, on_chain
from risk.quant.scenarios.calibrate import Calibration, calibrate
from risk.quant.scenarios.certificate import Certified
from risk.quant.scenarios.coverage import expected_shortfall
from risk.quant.scenarios.on_chain import Market, accounts_of, certify_on_chain, compare, world_of
from tests.quant.test_scenarios_fit import tiny_settings

PORTFOLIOS = 210
TIME = 1_799_136_000  # 08:00 UTC
PRICES = (60_000.0, 3_000.0)
ALPHA = 0.975


@pytest.fixture(scope="module")
def certified(market: PriceTable) -> Certified:
    """Two underlyings, a small fit, other portfolios than it saw; without the evidence."""
    table = PriceTable(market.assets[:2], market.times, {"close": market.close[:, :2]})
    f = factors.build(table)
    tiny = tiny_settings()
    settings = replace(tiny, plan=replace(tiny.plan, iterations=150))
    done: Calibration = calibrate(f, f.move.shape[0], settings)
    params = exact.quantised(done.scenarios, done.scale, exact.Policy())
    state = exact.make_state(done.book, PRICES, TIME, params)
    sizes, _ = archetypes.sample_all(done.book, PORTFOLIOS, 77)
    return Certified({}, params, state, done, TIME, sizes)


@pytest.fixture
def vault(anvil: Chain, certified: Certified) -> Market:
    return Market(anvil, world_of(certified.state, TIME), TIME)


@pytest.mark.chain
def test_every_margin_on_chain_is_the_models_and_scan_covers(certified: Certified) -> None:
    report = certify_on_chain(certified, ALPHA)
    assert report["differences"] == 0, report["first_difference"]
    assert report["portfolios"] == PORTFOLIOS
    assert report["without_cached_arrays"] == on_chain.UNCACHED
    assert report["options"] == 42
    not_zero = report["not_zero"]
    assert list(not_zero) == [f.name for f in fields(Margin)]
    assert min(not_zero[name] for name in ("scan", "mm", "im", "has_obligations")) > 200
    assert not_zero["floor_charge"] > 100
    assert not_zero["basis"] > 150

    rows = exact.exact_scan(certified.sizes, certified.calibration.book, certified.state, TIME)
    es = expected_shortfall(certified.sizes, certified.calibration.problem.changes, ALPHA)
    assert report["scan"]["mean_overcharge"] == pytest.approx(np.mean(rows / es) - 1.0)
    assert report["scan"]["covered"] == np.mean(rows >= es) > 0.9
    json.dumps(report)


@pytest.mark.chain
def test_the_vault_has_the_certified_market(vault: Market, certified: Certified) -> None:
    """Also the parameters: the generator's encoder, the model's and the vault's blob agree."""
    mine, theirs = vault.vault.state, certified.state
    assert mine.params == theirs.params
    assert [(u.price_wad, u.time) for u in mine.underlyings] == [
        (u.price_wad, TIME) for u in theirs.underlyings
    ]
    assert {k: b.strikes_wad for k, b in mine.buckets.items()} == {
        k: b.strikes_wad for k, b in theirs.buckets.items()
    }
    shown = vault.params()
    code = from_hex(vault.chain.rpc.call("eth_getCode", shown["params_pointer"], "latest"))
    assert code == b"\0" + certified.params.blob
    assert shown["blob_sha256"] == hashlib.sha256(certified.params.blob).hexdigest()
    assert address(vault.deployment.vault) != shown["params_pointer"]


@pytest.mark.chain
def test_a_difference_is_found_and_named(vault: Market, certified: Certified) -> None:
    """One wei in one field, a parameter set that is off by one lane, and a call that reverts."""
    some = dict(list(accounts_of(certified).items())[:12])
    answers = vault.margins(some)
    model = [margin_engine.compute(certified.state, n, a) for n, a in some.items()]
    assert compare(vault, answers, model).differences == ()

    wrong = [*model[:7], replace(model[7], basis=model[7].basis + 1), *model[8:]]
    (only,) = compare(vault, answers, wrong).differences
    assert str(only) == (
        f"portfolio 7, basis: {model[7].basis} on chain, {model[7].basis + 1} in the model"
    )

    k = model[0].binding_scenario
    first = certified.params.underlyings[0]
    lanes = tuple(x + (i == k) for i, x in enumerate(first.price_lanes))
    others = (replace(first, price_lanes=lanes), *certified.params.underlyings[1:])
    state = replace(certified.state, params=replace(certified.params, underlyings=others))
    shifted = [margin_engine.compute(state, n, a) for n, a in some.items()]
    assert {d.field for d in compare(vault, answers, shifted).differences} >= {"scan", "mm", "im"}

    number, account = next(iter(some.items()))
    unknown = replace(account, options=[Option(0x3FFFFFFF, exact.WAD)])
    (gone,) = compare(vault, vault.margins({number: unknown}), model[:1]).differences
    assert gone.field == "margin"
    assert "reverted with Unknown" in gone.chain


@pytest.mark.chain
@pytest.mark.parametrize("wei", [0, 1])
def test_command_fails_where_chain_and_model_differ(
    certified: Certified, wei: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command itself, with a model that is one wei off for one portfolio or is not."""
    summary = {
        "portfolios": 100,
        "covered": 1.0,
        "mean_overcharge": 0.1,
        "aggregate_overcharge": 0.1,
        "p99_overcharge": 0.2,
        "worst": 1.0,
    }
    report: dict[str, Any] = {
        "data": {"assets": ["A", "B"], "margin_period_hours": 24},
        "scenarios": {"count": 64},
        "exact_scan": {"hold_out_portfolios": summary, "by_archetype": {}},
        "exact_requirement": summary,
        "float_scan": dict.fromkeys(
            ("linear", "hold_out_period", "hold_out_period_linear"), summary
        ),
        "adversary": {},
    }
    few = replace(certified, report=report, sizes=certified.sizes[:20])
    monkeypatch.setattr(certificate, "certify", lambda *_: few)
    true = margin_engine.compute
    third = list(accounts_of(few))[3]

    def compute(state: State, number: int, account: Account) -> Margin:
        margin = true(state, number, account)
        return replace(margin, scan=margin.scan + wei) if number == third else margin

    monkeypatch.setattr(margin_engine, "compute", compute)
    target = tmp_path / "certificate.json"
    result = CliRunner().invoke(app, ["calibrate", "--on-chain", "--certificate", str(target)])
    got = json.loads(target.read_text())["on_chain"]
    assert got["portfolios"] == 20
    assert got["differences"] == 2 * wei  # read with and without cached arrays
    assert result.exit_code == wei, result.output
    assert "hold-out, Scan of the contracts" in result.output
    assert ("chain and model differ: portfolio 3, scan: " in result.output) == bool(wei)
