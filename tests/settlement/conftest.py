"""Settlement fixtures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.settlement.helpers import MIN_OBSERVATIONS, SPACING, WINDOW, check_state
from tests.support.vault_fixtures import Market, market, params

__all__ = ["market"]


@pytest.fixture
def m(market: Market) -> Iterator[Market]:
    """The market with a settlement window of an hour, four observations, ten minutes apart."""
    market.set_params(
        params(
            settle_window_seconds=WINDOW,
            settle_min_observations=MIN_OBSERVATIONS,
            settle_min_spacing_seconds=SPACING,
            wind_down_notice_seconds=3 * 86_400,
        )
    )
    market.check_identities = lambda: check_state(market.state)  # type: ignore[method-assign]
    yield market
    del market.check_identities
