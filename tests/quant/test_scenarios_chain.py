"""The quantised scenario set in a real vault: on-chain Scan equals the model, and covers the ES."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from risk.diff.plumbline.chain import Block, Call, Chain
from risk.diff.plumbline.layout import ACCOUNTS, account_fields, mapping_slot, to_words
from risk.diff.plumbline.params_blob import CollateralParams, Params, UnderlyingParams
from risk.diff.plumbline.setup import Deployment, deploy_world, setup_actions
from risk.diff.plumbline.world import BucketSpec, UnderlyingSpec, WorldSpec
from risk.exact.margin import margin_engine
from risk.exact.params.risk_params import RiskParams
from risk.exact.vault import Vault
from risk.quant import archetypes
from risk.quant.data import PriceTable
from risk.quant.scenarios import exact, factors
from risk.quant.scenarios.book import Book
from risk.quant.scenarios.calibrate import Calibration, calibrate
from risk.quant.scenarios.coverage import expected_shortfall
from tests.quant.test_scenarios_fit import tiny_settings

PORTFOLIOS = 210
NOW = 1_799_136_000  # 08:00 UTC
PRICES = (60_000.0, 3_000.0)


def as_fields(params: RiskParams) -> Params:
    """The same parameters for the generator's own encoder."""
    plain = {
        name: getattr(params, name)
        for name in ("im_factor_bps", "target_bps", "reward_base_bps", "reward_slope_bps")
    }
    out = Params(**plain, reward_max_bps=params.reward_max_bps, weights=list(params.weights_bps))
    for u in params.underlyings:
        values = dict(vars(u))
        lanes = {name: list(values.pop(name)) for name in ("price_lanes", "vol_lanes")}
        out.underlyings.append(UnderlyingParams(**values, **lanes))
    out.collaterals.extend(CollateralParams(**vars(c)) for c in params.collaterals)
    return out


def world_of(book: Book, params: RiskParams) -> WorldSpec:
    underlyings = []
    for u, price in enumerate(PRICES):
        spot = exact.price_wad(price)
        buckets = tuple(
            BucketSpec(
                NOW // exact.DAY + int(expiry.days),
                exact.WAD,
                exact.WAD,
                expiry.svi_e9,
                tuple(exact.strikes_wad(book, u, e, spot)),
            )
            for e, expiry in enumerate(book.expiries[u])
        )
        underlyings.append(UnderlyingSpec(8, round(price * 10**8), buckets))
    return WorldSpec(NOW, 6, tuple(underlyings), (), as_fields(params))


class Market:
    """A vault with the calibrated parameters, brought up by real transactions on both sides."""

    def __init__(self, chain: Chain, spec: WorldSpec) -> None:
        self.chain, self.spec = chain, spec
        self.deployment: Deployment = deploy_world(chain, spec=spec, signers=1, token="TestToken")
        self.vault = Vault(self.deployment.state, self.deployment.world)
        self.now = spec.now
        for action in setup_actions(self, None):
            self.vault.world.timestamp = self.now = action.time
            action.on_model(self.vault)
            data = action.function.encode(*action.arguments)
            to = action.contract or self.deployment.vault
            sent = chain.transact(action.sender, to, data, action.time, output=False)
            assert sent.outcome.ok, (action.describe(), sent.outcome.error)

    def margins(self, accounts: dict[int, Any]) -> list[list[int]]:
        """`margin` of accounts written into the storage of the deployed vault, in one block."""
        storage: dict[int, int] = {}
        for number, account in accounts.items():
            storage |= to_words(account_fields("a", account, mapping_slot(number, ACCOUNTS)))
        function = self.chain.vault_functions["margin"]
        calls = [function.encode(number) for number in accounts]
        block = Block(
            [
                Call(
                    self.chain.batch_reader,
                    self.chain.reader.encode(self.deployment.vault, calls),
                )
            ],
            self.now + 1,
            {self.deployment.vault: storage},
        )
        ((result,),) = self.chain.simulate([block])
        answers = self.chain.decode_views(result)
        assert all(answer.ok for answer in answers)
        return [list(function.decode(answer.data)[0]) for answer in answers]


@pytest.fixture(scope="module")
def calibrated(market: PriceTable) -> Calibration:
    table = PriceTable(market.assets[:2], market.times, {"close": market.close[:, :2]})
    f = factors.build(table)
    return calibrate(f, f.move.shape[0], tiny_settings())


@pytest.mark.chain
def test_scan_on_chain_is_the_models_and_covers(anvil: Chain, calibrated: Calibration) -> None:
    params = exact.quantised(calibrated.scenarios, calibrated.scale, exact.Policy())
    book = calibrated.book
    vault = Market(anvil, world_of(book, params))
    state = vault.vault.state
    assert state.params == params, "the generator's encoder and ours disagree"

    sizes, _ = archetypes.sample_all(book, PORTFOLIOS, 77)
    ids = exact.instruments(book, NOW)
    accounts = {
        0xCA11B << 8 | i << 40: exact.account_of(row, book, state, ids, 10**6)
        for i, row in enumerate(sizes)
    }
    chained: list[list[int]] = []
    items = list(accounts.items())
    for start in range(0, len(items), 30):
        chained += vault.margins(dict(items[start : start + 30]))
    model = [margin_engine.compute(state, number, a) for number, a in accounts.items()]
    assert [m[2] for m in chained] == [m.scan for m in model]
    assert [m[7] for m in chained] == [m.mm for m in model]
    assert sum(m.scan > 0 for m in model) > 200

    es = expected_shortfall(sizes, calibrated.problem.changes, 0.975)
    scans = np.array([m.scan for m in model]) / (10**6 * exact.WAD)
    material = es > 0.005
    assert np.mean(scans[material] >= es[material] * 0.98) > 0.97
