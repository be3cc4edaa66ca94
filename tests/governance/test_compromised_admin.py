"""What a compromised key can take: docs/governance.md §5, G14, ATTACKS F51.

The attacker owns a token that he mints at will and the feed that prices it, and tries to turn them
into the users' cash.  Every role alone, before and after the delay, against the real vault.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from risk.exact.params.risk_params import CollateralParams, RiskParams
from tests.governance.support import (
    CONFIG,
    DELAY,
    GUARDIAN,
    LISTER,
    PRICES,
    PROPOSER,
    STEWARD,
    STRANGER,
    TODAY,
    TRADERS,
    USD,
    WAD,
    GovernedVault,
    base_params,
)
from tests.governance.test_governor import finish, listed_words
from tests.support.vault_twin import account

VICTIM, WHALE, ATTACKER = TRADERS[:3]
SAVINGS = 10**6 * USD
PRICE = 1_000  # USD, what the attacker says that his token is worth
CAP = 290 * 10**18  # what he asks for: 10 tokens a step of 29
STEP = CONFIG.step_seconds


class Attack:
    """The attacker's token and feed, and the proposal that would make them collateral."""

    def __init__(self, g: GovernedVault) -> None:
        self.g = g
        self.me = int(ATTACKER.address, 16)
        self.token = g.new_token(18)
        self.feed = g.new_feed(8, PRICE * 10**8)
        g.give(self.token, ATTACKER, 10**30)
        # an underlying without shocks and with no haircut: its whole price is borrowing power
        words = bytearray(listed_words())
        calm = sum(4_096 << 13 * lane for lane in range(16)).to_bytes(32, "big")
        words[64:320] = calm * 8
        self.words = bytes(words)
        self.start = self.cash()

    def cash(self) -> int:
        return self.g.balance(self.g.state.cash_token, self.me)

    def taken(self) -> int:
        """Cash that the attacker has more than at the start."""
        return self.cash() - self.start

    def wanted(self, cap: int = CAP) -> RiskParams:
        """Today's parameters, with his underlying and his token."""
        base = base_params()
        lanes = {"price_lanes": (0,) * 8, "vol_lanes": (0,) * 8}
        us = (*base.underlyings, replace(base.underlyings[0], **lanes))  # type: ignore[arg-type]
        cs = (*base.collaterals, CollateralParams(2, 18, 0, cap, False))
        return replace(base, underlyings=us, collaterals=cs)

    def proposal(self) -> list[tuple[int, bytes]]:
        """List both and raise the cap, in one batch."""
        g = self.g
        return [
            g.to_governor("listUnderlying", self.feed, self.words),
            g.to_governor("listCollateral", self.token, 2, 0, 0, 0),
            g.to_governor("submitParams", self.wanted().blob),
        ]

    def deposit(self, amount: int) -> str:
        got = self.g.user(ATTACKER, "deposit", account(ATTACKER), self.token, amount)
        return self.g.error(got)

    def refresh(self) -> None:
        self.g.set_feed(self.feed, PRICE * 10**8, self.g.world.timestamp)
        for u, price in enumerate(PRICES):
            self.g.price(u, price)

    def drain(self, up_to: int) -> int:
        """Borrow as much as the vault gives, by halving; returns what was taken in all."""
        step = up_to
        while step > USD:
            self.refresh()
            args = (account(ATTACKER), self.g.state.cash_token, step, self.me)
            if self.g.user(ATTACKER, "withdraw", *args) is not None:
                step //= 2
        return self.taken()


@pytest.fixture
def attack(governed: GovernedVault) -> Attack:
    """Users have a million of cash and some collateral in the vault."""
    g = governed
    assert g.user(VICTIM, "deposit", account(VICTIM), g.state.cash_token, SAVINGS) is None
    assert g.user(WHALE, "deposit", account(WHALE), g.weth, 100 * 10**18) is None
    return Attack(g)


def vault_cash(g: GovernedVault) -> int:
    return g.balance(g.state.cash_token, g.world.vault)


def test_F51_G14_without_governance_one_key_takes_everything(attack: Attack) -> None:
    """What the defence prevents: the owner's key alone, in a few blocks, all cash of the vault."""
    g = attack.g
    assert g.chain_only(g.governor, "listUnderlying", attack.feed) is None
    assert g.chain_only(g.governor, "listCollateral", attack.token, 2, 0) is None
    wanted = attack.wanted(10**27).blob
    assert g.chain_only(g.governor, "setRiskParams", wanted) is None
    attack.refresh()
    assert g.chain_only(ATTACKER, "refresh", [2]) is None
    assert attack.deposit(10**27) == "success"
    assert attack.drain(SAVINGS) >= SAVINGS - 2 * USD
    assert vault_cash(g) <= 2 * USD


def test_F51_G14_a_proposer_takes_nothing_within_the_delay(attack: Attack) -> None:
    g = attack.g
    started = g.world.timestamp
    assert g.schedule(attack.proposal()) is None
    for _ in range(8):
        got = g.error(g.execute(attack.proposal(), PROPOSER))
        assert got.startswith("TimelockUnexpectedOperationState")
        assert attack.deposit(10**18).startswith("UnknownToken")
        for name, args in (
            ("submitParams", (attack.wanted().blob,)),
            ("listUnderlying", (attack.feed, attack.words)),
            ("transferVault", (PROPOSER,)),
        ):
            f = g.own_functions[name]
            assert g.call(PROPOSER, g.governor, f, *args) is not None
        assert attack.drain(SAVINGS) == 0
        g.warp(DELAY // 10)
    assert g.world.timestamp < started + DELAY
    assert vault_cash(g) == SAVINGS


def test_F51_G14_after_the_delay_the_cap_ramp_times_the_price_is_the_bound(
    attack: Attack,
) -> None:
    """Nobody vetoes, nobody reacts: after i steps at most ⌊cap·i/29⌋ tokens at their price."""
    g = attack.g
    assert g.schedule(attack.proposal()) is None
    g.warp(DELAY)
    assert g.execute(attack.proposal(), STRANGER) is None
    attack.refresh()
    assert g.chain_only(ATTACKER, "refresh", [2]) is None
    assert attack.deposit(1).startswith("CapExceeded(2, 0, 1)")
    assert attack.drain(SAVINGS) == 0
    deposited = 0
    poke = g.own_functions["poke"]
    for step in range(1, 4):
        assert g.call(attack.me, g.governor, poke) is None
        assert g.call(attack.me, g.governor, poke) is not None  # one step, then six hours
        cap = CAP * step // 29
        assert attack.deposit(cap - deposited + 1).startswith("CapExceeded")
        assert attack.deposit(cap - deposited) == "success"
        deposited = cap
        bound = cap * PRICE * USD // WAD
        taken = attack.drain(SAVINGS)
        assert bound * 9 // 10 < taken <= bound, (step, taken, bound)
        g.warp(STEP)
    assert 29_000 * USD < taken <= 30_000 * USD
    # a guardian wakes up: not one token more, whatever the ramp was going to do
    assert g.call(GUARDIAN, g.governor, g.own_functions["tighten"], attack.wanted(0).blob) is None
    g.warp(STEP)
    g.call(attack.me, g.governor, poke)
    assert attack.deposit(1).startswith("CapExceeded")
    assert attack.drain(SAVINGS) == taken


def test_F51_G14_a_steward_cannot_make_bad_loans(attack: Attack) -> None:
    """All that a steward may do in a period, ramped to the end: a loan at the new limit is still
    healthy under the old parameters, because φ·(1 − 10 %)² > 1.
    """
    g = attack.g
    base = base_params()
    us = tuple(
        replace(
            u,
            price_lanes=tuple(x - int(x / 10) for x in u.price_lanes),
            vol_lanes=tuple(x - int(x / 10) for x in u.vol_lanes),
        )
        for u in base.underlyings
    )
    loosest = replace(base, weights_bps=(9_000,) * 8, underlyings=us)
    assert g.act(STEWARD, "steer", loosest.blob) is None
    assert finish(g) * STEP > DELAY
    assert base.im_factor_bps * 9 * 9 > 100 * 10_000
    g.give(g.weth, ATTACKER, 10 * 10**18)
    assert g.user(ATTACKER, "deposit", account(ATTACKER), g.weth, 10 * 10**18) is None
    taken = attack.drain(SAVINGS)
    assert taken > 20_000 * USD
    m = g.margin(account(ATTACKER))
    assert 0 <= m["equity"] - m["im"] < 2 * WAD  # at the limit
    assert g.chain_only(g.governor, "setRiskParams", base.blob) is None
    assert g.margin(account(ATTACKER))["healthFactor"] >= WAD
    assert taken * 10**12 < 10 * PRICES[0] * WAD * 9 // 10  # less than the collateral after haircut


def test_F51_G14_a_guardian_can_stop_and_cannot_take(attack: Attack) -> None:
    """Everything as tight as it gets, for the whole delay: no token moves, and no field that bears
    on health has moved by more than its cap times the steps.
    """
    g = attack.g
    base = base_params()
    us = tuple(
        replace(u, depth_wad=1, som_bps=65_535, liq_bps=65_535, basis_base_bps=65_535, oi_cap_wad=1)
        for u in base.underlyings
    )
    cs = tuple(replace(c, haircut_bps=10_000, cap=0, withdraw_cap=1) for c in base.collaterals)
    worst = replace(base, im_factor_bps=65_535, underlyings=us, collaterals=cs)
    assert g.act(GUARDIAN, "tighten", worst.blob) is None
    end, steps = g.world.timestamp + DELAY, 0
    while g.world.timestamp < end:
        assert g.act(STRANGER, "poke") is None
        steps += 1
        g.warp(STEP - 1)
    assert steps <= DELAY // STEP + 1
    now = g.state.params
    assert now is not None
    for c, w in zip(base.collaterals, now.collaterals, strict=True):
        assert w.haircut_bps - c.haircut_bps <= 50 * steps
    for u, v in zip(base.underlyings, now.underlyings, strict=True):
        assert v.som_bps - u.som_bps <= 50 * steps
        assert v.liq_bps - u.liq_bps <= 100 * steps
        assert v.basis_base_bps - u.basis_base_bps <= 20 * steps
        assert u.depth_wad - v.depth_wad <= u.depth_wad * 5 * steps // 100
    assert now.im_factor_bps - base.im_factor_bps <= 250 * steps
    assert vault_cash(g) == SAVINGS and attack.taken() == 0
    # the steward's key, or the timelock's proposal of the first hour, ends it
    assert g.act(STEWARD, "halt") is None
    # what was paid in can be paid out, up to the limit of the period
    out = (account(VICTIM), g.state.cash_token, SAVINGS, int(VICTIM.address, 16))
    assert g.user(VICTIM, "withdraw", *out) is None


def test_F51_G14_a_lister_and_the_deployer_take_nothing(attack: Attack) -> None:
    g = attack.g
    junk = [x * WAD for x in range(1, 65)]
    assert g.act(LISTER, "listExpiry", 0, TODAY + 1_000, junk) is None
    refused = g.act(LISTER, "listExpiry", 0, TODAY + 1_000, [WAD])
    assert refused is not None and refused.name == "StrikeBudget"
    assert attack.drain(SAVINGS) == 0
    assert attack.deposit(1).startswith("UnknownToken")
    assert vault_cash(g) == SAVINGS
