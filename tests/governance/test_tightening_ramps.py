"""A tightening makes nobody healthy liquidatable at once: docs/governance.md G8, ATTACKS F52."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from risk.exact.governance import param_ramp
from risk.exact.params.risk_params import RiskParams
from tests.governance.support import (
    CONFIG,
    GUARDIAN,
    PRICES,
    STRANGER,
    TRADERS,
    USD,
    WAD,
    GovernedVault,
    base_params,
)
from tests.governance.test_param_ramp import random_target
from tests.support.vault_twin import account

ALICE, BOB = TRADERS[:2]
GROSS = 10 * PRICES[0] * WAD  # 10 WETH


@pytest.fixture
def borrower(governed: GovernedVault) -> GovernedVault:
    """Alice owes as much as her 10 WETH carry: E = IM up to one native unit of cash."""
    g = governed
    assert g.user(BOB, "deposit", account(BOB), g.state.cash_token, 10**6 * USD) is None
    assert g.user(ALICE, "deposit", account(ALICE), g.weth, 10 * 10**18) is None
    borrow(g, 20_000 * USD)
    m = g.margin(account(ALICE))
    borrow(g, (m["equity"] - m["im"]) // 10**12)
    m = g.margin(account(ALICE))
    assert 0 <= m["equity"] - m["im"] < 10**12
    return g


def borrow(g: GovernedVault, amount: int) -> None:
    g.price(0, PRICES[0])
    to = int(ALICE.address, 16)
    assert g.user(ALICE, "withdraw", account(ALICE), g.state.cash_token, amount, to) is None


def harsher() -> RiskParams:
    """Haircuts from 10 % to 25 %: more than the 30 % that IM is above MM can carry."""
    base = base_params()
    cs = tuple(replace(c, haircut_bps=c.haircut_bps + 1_500) for c in base.collaterals)
    return replace(base, collaterals=cs)


def health(g: GovernedVault) -> int:
    return g.margin(account(ALICE))["healthFactor"]


def test_F52_G8_without_the_ramp_a_healthy_account_falls_at_once(borrower: GovernedVault) -> None:
    """What the defence prevents: the same change, set by an owner without a governor."""
    assert health(borrower) > WAD
    assert borrower.chain_only(borrower.governor, "setRiskParams", harsher().blob) is None
    assert health(borrower) < WAD


def test_F52_G8_with_the_ramp_there_are_days_to_react(borrower: GovernedVault) -> None:
    """Accepted at E = IM: healthy through the first seven steps, 42 hours; who repays stays so."""
    g = borrower
    assert g.act(GUARDIAN, "tighten", harsher().blob) is None
    assert health(g) > WAD
    first = g.world.timestamp
    for step in range(1, 8):
        assert g.act(STRANGER, "poke") is None
        assert health(g) >= WAD, step
        g.warp(CONFIG.step_seconds)
    assert g.world.timestamp - first >= 7 * CONFIG.step_seconds
    assert g.act(STRANGER, "poke") is None
    assert health(g) < WAD  # the eighth would be one too many
    assert g.user(ALICE, "deposit", account(ALICE), g.state.cash_token, 5_000 * USD) is None
    while g.gov.store.target:
        g.warp(CONFIG.step_seconds)
        assert g.act(STRANGER, "poke") is None
        assert health(g) >= WAD
    assert g.blob() == harsher().blob


def test_F52_G8_one_step_costs_at_most_two_and_a_half_percent(borrower: GovernedVault) -> None:
    """The bound of docs/governance.md §3 for linear exposure: 1 % by shocks, 1 % by weights, 0.5 %
    by the haircut, of the gross exposure, for any target.
    """
    g = borrower
    rng = Random("step bound")
    largest = 0
    bound = GROSS * 25 // 1_000 + WAD  # 1 USD: weights move by at least 1 bps, units by at least 1
    for _ in range(12):
        base = random_target(rng, base_params())
        target = random_target(rng, base).encode()
        start, steps = param_ramp.plan(base.encode(), target, False, CONFIG.min_steps)
        at = rng.randrange(steps - 4)
        distances = []
        for step in range(at, at + 4):
            blob = param_ramp.interpolate(start, target, step, steps)
            assert g.chain_only(g.governor, "setRiskParams", blob) is None
            m = g.margin(account(ALICE))
            distances.append(m["equity"] - m["mm"])
        for old, new in pairwise(distances):
            largest = max(largest, old - new)
            assert old - new <= bound
    assert largest > 0
