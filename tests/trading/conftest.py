"""Vault fixtures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from risk.exact.params.risk_params import RiskParams
from tests.support.vault_fixtures import Market, market, params  # noqa: F401
from tests.support.vault_twin import USD, account
from tests.trading.ids import KEYS


@pytest.fixture
def funded(market: Market) -> Market:  # noqa: F811
    """Everybody has a million."""
    for key in KEYS:
        market.do(key, "deposit", account(key), market.cash, 10**6 * USD)
    return market


@pytest.fixture
def tune(market: Market) -> Callable[..., RiskParams]:  # noqa: F811
    """Set global fields of the parameters, or (``eth=``) fields of underlying 0."""

    def change(eth: dict[str, Any] | None = None, **changes: Any) -> RiskParams:
        p = params(**changes)
        p = replace(p, underlyings=(replace(p.underlyings[0], **(eth or {})), p.underlyings[1]))
        market.set_params(p)
        return p

    return change
