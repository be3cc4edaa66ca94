"""Fixtures of the vault tests: one vault on one Anvil for the whole run; every test leaves no
trace.

``tests/custody``, ``tests/trading`` and ``tests/liquidation`` import them in their ``conftest.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from risk.chain.node import Anvil
from risk.exact.market.report_hash import VolReport
from risk.exact.params.risk_params import CollateralParams, RiskParams
from tests.market.market_twin import GENESIS, KEYS, TODAY, key_address, report_tuple, slice_of
from tests.support.vault_twin import (
    DAY,
    OWNER,
    TRADERS,
    USD,
    WAD,
    VaultTwin,
    compile_vault,
    risk_params,
    underlying_params,
)

EXPIRIES = (TODAY + 8, TODAY + 35)
STRIKES = tuple(k * WAD for k in range(1_500, 4_700, 50))  # 64
PRICES = (3_000, 60_000)
CAPS = (10**6 * 10**18, 10**3 * 10**8, 10**6 * 10**6)


class Market(VaultTwin):
    """ETH (0) and BTC (1), WETH (18), WBTC (8) and a 6-decimal coin of ETH (2) as collateral,
    two expiries each.
    """

    weth: int
    wbtc: int
    coin: int

    @property
    def cash(self) -> int:
        """The cash token."""
        return self.state.cash_token

    def set_price(self, u: int, price: float, *, age: int = 0) -> None:
        """The feed's answer; the snapshot stays."""
        feed = self.state.underlyings[u].feed
        self.set_feed(feed, round(price * 10**8), self.world.timestamp - age)

    def set_params(self, params: RiskParams) -> None:
        """By the owner, with validation; opens a new epoch."""
        assert self.do(OWNER, "setRiskParams", params.blob) is None

    def report(self, u: int, days: Sequence[int] = EXPIRIES, **changes: int) -> None:
        """A signed report with both expiries, or those of ``days``."""
        self.world.timestamp += 1
        nonce = self.state.underlyings[u].report_nonce + 1
        slices = tuple(slice_of(day, **changes) for day in days)
        report = VolReport(u, nonce, self.world.timestamp, 10, slices)
        digest = self.model.hash_report(report)
        signatures = [bytes(k.unsafe_sign_hash(digest).signature) for k in KEYS[:2]]
        signers = [key_address(k) for k in KEYS[:2]]
        assert (
            self.do(
                OWNER, "submitReport", report, signers, chain=(report_tuple(report), signatures)
            )
            is None
        )


def params(**changes: Any) -> RiskParams:
    """The market's parameters."""
    return risk_params(
        (underlying_params(), underlying_params()),
        (
            CollateralParams(0, 18, 1_000, CAPS[0], False),
            CollateralParams(1, 8, 1_500, CAPS[1], False),
            CollateralParams(0, 6, 2_000, CAPS[2], False),
        ),
        **changes,
    )


@functools.cache
def _market() -> Market:
    node = Anvil(gas_limit=1_000_000_000, timestamp=GENESIS - 1, base_fee=0)
    node.start()
    m = Market(node.rpc(), compile_vault())
    m.node = node  # type: ignore[attr-defined]
    furnish(m)
    return m


def furnish(m: Market) -> None:
    """Two underlyings, three collaterals, two expiries, signers, parameters, reports, money."""
    for u, price in enumerate(PRICES):
        feed = m.new_feed(8, price * 10**8)
        assert m.do(OWNER, "listUnderlying", feed) == u
    for j, (decimals, u) in enumerate(((18, 0), (8, 1), (6, 0))):
        token = m.new_token(decimals)
        listed = m.do(OWNER, "listCollateral", token, u, 0, decimals, chain=(token, u, 0))
        assert listed == j
    m.weth, m.wbtc, m.coin = (c.token for c in m.state.collaterals)
    for day in EXPIRIES:
        assert m.do(OWNER, "listExpiry", 0, day, list(STRIKES)) is None
        assert m.do(OWNER, "listExpiry", 1, day, [50_000 * WAD, 60_000 * WAD, 70_000 * WAD]) is None
    assert m.do(OWNER, "setSigners", [key_address(k) for k in KEYS[:3]], 2) is None
    m.set_params(params())
    for u, price in enumerate(PRICES):
        m.set_price(u, price)
        m.report(u)
    for key in TRADERS:
        m.give(m.cash, key, 10**7 * USD)
        m.give(m.weth, key, 10**4 * 10**18)
        m.give(m.wbtc, key, 10**3 * 10**8)
        m.give(m.coin, key, 10**6 * 10**6)


@pytest.fixture
def market() -> Iterator[Market]:
    """Listed, priced, everybody funded, nobody has deposited."""
    m = _market()
    snapshot = m.rpc.call("evm_snapshot")
    saved = m.clone()
    for u, price in enumerate(PRICES):
        m.set_price(u, price)
    yield m
    m.rpc.call("evm_revert", snapshot)
    m.restore(saved)


__all__ = [
    "CAPS",
    "DAY",
    "EXPIRIES",
    "PRICES",
    "STRIKES",
    "Market",
    "furnish",
    "market",
    "params",
]
