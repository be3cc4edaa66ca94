"""Drift, April 2026, 285 million USD: with the admin's key, a worthless token is listed as
collateral with the attacker's own feed, the limits are lifted and margin is loosened; then all cash
is borrowed against it.

Chain and model side by side, with the timelock and the governor in front of the vault; without
them the same key owns the vault.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from risk.exact.errors import ModelRevert
from risk.exact.params.risk_params import CollateralParams, RiskParams
from tests.attacks.scene import ModelMarket, model_market
from tests.governance.conftest import governed  # noqa: F401
from tests.governance.support import (
    DELAY,
    GUARDIAN,
    PRICES,
    PROPOSER,
    STRANGER,
    GovernedVault,
    base_params,
)
from tests.governance.test_governor import STEP, listed_words
from tests.incidents.scene import ALICE, BOB, OWNER, USD, WAD, account, key_address, stated
from tests.support.vault_fixtures import params
from tests.support.vault_twin import VaultTwin

THIEF, LENDER = account(ALICE), account(BOB)
ME = key_address(ALICE)
SAVINGS = 10**6  # USD of the users
PRICE = 1_000  # USD, what the attacker's feed says
CAP = 290  # tokens: what he asks for
STEPS = 29  # of the ramp of a new cap
REACTION = 3  # steps until a guardian acts
BOUND = CAP * PRICE * REACTION // STEPS  # USD lost with the defence, and nothing within the delay
AT_LEAST = 999_990  # USD lost without it


def with_junk(base: RiskParams, cap: int) -> RiskParams:
    """``base``, an underlying without shocks, and a token without haircut."""
    lanes: dict[str, Any] = {"price_lanes": (0,) * 8, "vol_lanes": (0,) * 8}
    us = (*base.underlyings, replace(base.underlyings[0], **lanes))
    cs = (*base.collaterals, CollateralParams(2, 18, 0, cap * WAD, False))
    return replace(base, underlyings=us, collaterals=cs)


def borrow(m: VaultTwin, up_to: int) -> int:
    """As much cash as the vault gives, by halving; native units."""
    step, taken = up_to * USD, 0
    while step > USD:
        got = m.do(ALICE, "withdraw", THIEF, m.state.cash_token, step, ME)
        if isinstance(got, ModelRevert):
            step //= 2
        else:
            taken += got
    return taken


def lost(m: VaultTwin, before: int) -> int:
    """Whole USD of the users' cash that left, rounded up."""
    return -(-(before - m.balance(m.state.cash_token, m.world.vault)) // USD)


def owned_by_one_key() -> int:
    """The model, as it would be with the key as the owner; returns USD lost."""
    m: ModelMarket = model_market()
    assert m.do(BOB, "deposit", LENDER, m.cash, SAVINGS * USD) is None
    before = m.balance(m.cash, m.world.vault)
    token, feed = m.new_token(18), m.new_feed(8, PRICE * 10**8)
    m.give(token, ALICE, 10**30)
    assert m.do(OWNER, "listUnderlying", feed) == 2
    assert m.do(OWNER, "listCollateral", token, 2, 0, 18) == 3
    m.set_params(with_junk(params(), 10**9))
    m.set_feed(feed, PRICE * 10**8)
    m.do(ALICE, "refresh", [2])
    assert m.do(ALICE, "deposit", THIEF, token, 10**6 * WAD) is None
    borrow(m, SAVINGS)
    return lost(m, before)


class Taker:
    """The attacker who holds the proposer's key, and the three calls that he schedules."""

    def __init__(self, g: GovernedVault) -> None:
        self.g = g
        self.token, self.feed = g.new_token(18), g.new_feed(8, PRICE * 10**8)
        g.give(self.token, ALICE, 10**30)
        words = bytearray(listed_words())
        words[64:320] = sum(4_096 << 13 * lane for lane in range(16)).to_bytes(32, "big") * 8
        self.wanted = with_junk(base_params(), CAP)
        self.model_calls = (
            ("list_underlying", (self.feed, bytes(words))),
            ("list_collateral", (self.token, 2, 0, 0, 0, 18)),
            ("submit_params", (self.wanted.blob,)),
        )
        self.calls = [
            g.to_governor("listUnderlying", self.feed, bytes(words)),
            g.to_governor("listCollateral", self.token, 2, 0, 0, 0),
            g.to_governor("submitParams", self.wanted.blob),
        ]

    def execute(self) -> None:
        """What waited long enough, on both sides."""
        for method, args in self.model_calls:
            getattr(self.g.gov, method)(self.g.timelock, *args)
        assert self.g.execute(self.calls, STRANGER) is None
        self.g.compare_governor()
        self.g.compare_state()

    def price(self) -> None:
        """His feed, and the honest ones, say what they say, now."""
        self.g.set_feed(self.feed, PRICE * 10**8, self.g.world.timestamp)
        for u, price in enumerate(PRICES):
            self.g.price(u, price)

    def deposit(self, tokens: int) -> str:
        """In whole tokens; the error's name."""
        out = self.g.do(ALICE, "deposit", THIEF, self.token, tokens * WAD)
        return out.name if isinstance(out, ModelRevert) else ""


def test_F51_compromised_admin(governed: GovernedVault) -> None:  # noqa: F811
    g = governed
    assert g.do(BOB, "deposit", LENDER, g.state.cash_token, SAVINGS * USD) is None
    before = g.balance(g.state.cash_token, g.world.vault)
    taker = Taker(g)
    assert g.schedule(taker.calls) is None
    for _ in range(4):
        assert g.error(g.execute(taker.calls, PROPOSER)).startswith("TimelockUnexpected")
        assert taker.deposit(1) == "UnknownToken"
        assert borrow(g, SAVINGS) == 0
        g.world.timestamp += DELAY // 5
    assert lost(g, before) == 0  # nothing within the delay
    g.world.timestamp += DELAY // 5
    taker.execute()
    taker.price()
    assert g.do(ALICE, "refresh", [2]) is None
    assert taker.deposit(1) == "CapExceeded"
    held = 0
    for step in range(1, REACTION + 1):
        g.world.timestamp += STEP
        assert g.act(ME, "poke") is None
        cap = CAP * step // STEPS
        assert taker.deposit(cap - held + 1) == "CapExceeded"
        assert taker.deposit(cap - held) == ""
        held = cap
        taker.price()
        borrow(g, SAVINGS)
        assert lost(g, before) <= held * PRICE
    # somebody looks at last: no token more
    assert g.act(GUARDIAN, "tighten", replace_cap(taker.wanted, 0).blob) is None
    g.world.timestamp += STEP
    g.act(ME, "poke")
    assert taker.deposit(1) == "CapExceeded"
    taker.price()
    borrow(g, SAVINGS)
    without, with_ = owned_by_one_key(), lost(g, before)
    assert with_ <= BOUND
    assert without > AT_LEAST
    stated("compromised_admin", without, with_)


def replace_cap(p: RiskParams, cap: int) -> RiskParams:
    """The same with another cap of the last collateral."""
    return replace(p, collaterals=(*p.collaterals[:-1], replace(p.collaterals[-1], cap=cap)))
