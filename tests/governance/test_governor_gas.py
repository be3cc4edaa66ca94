"""The largest parameter set there can be: every call of governance fits one transaction (G18)."""

from __future__ import annotations

from dataclasses import replace

from risk.chain.compile import EIP170_LIMIT
from risk.exact.params.risk_params import CollateralParams
from tests.governance.support import (
    CONFIG,
    GUARDIAN,
    STEWARD,
    STRANGER,
    GovernedVault,
    base_params,
)

PROTOCOL_GAS_LIMIT = 16_777_216


def test_G18_the_largest_blob_fits_one_transaction(governed: GovernedVault) -> None:
    """16 underlyings, 16 collaterals, 64 scenarios, and every weight and lane moves."""
    g = governed
    for _ in range(14):
        feed = g.new_feed(8, 10**10)
        assert g.chain_only(g.governor, "listUnderlying", feed) is None
        g.model.list_underlying(g.governor, feed)
        token = g.new_token(18)
        assert g.chain_only(g.governor, "listCollateral", token, 0, 0) is None
        g.model.list_collateral(g.governor, token, 0, 0, 18)
    base = base_params()
    k = 64
    u = replace(
        base.underlyings[0],
        price_lanes=tuple(1_000 + x for x in range(k)),
        vol_lanes=tuple(1_000 + x for x in range(k)),
    )
    cs = (*base.collaterals, *[CollateralParams(0, 18, 1_000, 10**24, False)] * 14)
    full = replace(base, weights_bps=(9_000,) * k, underlyings=(u,) * 16, collaterals=cs)
    assert g.chain_only(g.governor, "setRiskParams", full.blob) is None
    g.model.set_risk_params(g.governor, full.blob)
    moved = replace(
        u,
        price_lanes=tuple(x + 90 for x in u.price_lanes),
        vol_lanes=tuple(x + 90 for x in u.vol_lanes),
    )
    steered = replace(full, weights_bps=(8_500,) * k, underlyings=(moved,) * 16)
    used = {}
    assert g.act(STEWARD, "steer", steered.blob) is None
    used["steer"] = g.gas_used
    for name in ("poke", "poke again"):
        assert g.act(STRANGER, "poke") is None
        used[name] = g.gas_used
        g.warp(CONFIG.step_seconds)
    harder = replace(
        steered,
        underlyings=tuple(replace(x, som_bps=900, liq_bps=1_500) for x in steered.underlyings),
        collaterals=tuple(replace(c, haircut_bps=2_000, cap=0) for c in cs),
    )
    assert g.act(GUARDIAN, "tighten", harder.blob) is None
    used["tighten"] = g.gas_used
    other = replace(moved, price_lanes=u.vol_lanes, som_bps=100)
    everything = replace(harder, weights_bps=(5_000,) * k, underlyings=(other,) * 16)
    assert g.act(g.timelock, "submitParams", everything.blob) is None
    used["submitParams"] = g.gas_used
    print(used)
    assert max(used.values()) < PROTOCOL_GAS_LIMIT, used


def test_G18_the_contracts_are_a_kilobyte_below_the_size_limit(governed: GovernedVault) -> None:
    for name in ("RiskGovernor", "GovernanceTimelock"):
        assert governed.artifacts[name].size <= EIP170_LIMIT - 1_024
