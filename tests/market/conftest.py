"""One Anvil for all market tests; every test starts from the same market and leaves no trace."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from risk.chain.node import Anvil
from risk.exact.params.risk_params import CollateralParams
from tests.market.market_twin import (
    DAY,
    GENESIS,
    KEYS,
    TODAY,
    WAD,
    Twin,
    compile_market,
    key_address,
    risk_params,
    underlying_params,
)
from tests.support.vault_fixtures import market as vault  # noqa: F401  (a fixture)

EXPIRIES = (TODAY + 7, TODAY + 30)
STRIKES = tuple(k * WAD for k in (2_500, 3_000, 3_500))


@pytest.fixture(scope="session")
def empty() -> Iterator[Twin]:
    """Nothing listed."""
    artifacts = compile_market()
    with (
        Anvil(gas_limit=1_000_000_000, timestamp=GENESIS - 1, base_fee=0) as node,
        node.rpc() as rpc,
    ):
        yield Twin(rpc, artifacts)


@pytest.fixture(scope="session")
def listed(empty: Twin) -> Twin:
    """Underlying 0 (8 decimals, 3 000) with two expiries, 1 (18 decimals, 60 000) and 2 (listed,
    without parameters); collaterals 0 (plain, of 0), 1 (with a rate, of 0), 2 (6 decimals, of 1);
    three signers, two must sign."""
    t = empty
    for decimals, price in ((8, 3_000), (18, 60_000), (8, 1)):
        assert t.list_underlying(t.new_feed(decimals, price * 10**decimals)) is None
    assert t.list_collateral(t.new_token(18), 0) is None
    assert t.list_collateral(t.new_token(18), 0, t.new_feed(18, 12 * WAD // 10)) is None
    assert t.list_collateral(t.new_token(6), 1, decimals=6) is None
    for day in EXPIRIES:
        assert t.list_expiry(0, day, STRIKES) is None
    assert t.set_signers([key_address(k) for k in KEYS[:3]], 2) is None
    t.set_params(
        risk_params(
            [underlying_params(), underlying_params(max_age_seconds=DAY, deviation_band_bps=200)],
            [
                CollateralParams(0, 18, 1_000, 10**24, False),
                CollateralParams(0, 18, 1_500, 10**24, True),
                CollateralParams(1, 6, 1_000, 10**12, False),
            ],
        )
    )
    return t


@pytest.fixture
def twin(listed: Twin) -> Iterator[Twin]:
    """The listed market, no snapshot taken yet."""
    snapshot = listed.rpc.call("evm_snapshot")
    state, world = listed.state.clone(), copy.deepcopy(listed.world)
    yield listed
    listed.rpc.call("evm_revert", snapshot)
    listed.state, listed.world = state, world


@pytest.fixture
def market(twin: Twin) -> Twin:
    """As ``twin``, with snapshots of underlyings 0 and 1."""
    for u in (0, 1):
        feed = twin.state.underlyings[u].feed
        twin.set_feed(feed, twin.world.feeds[feed].answer)
    assert twin.refresh(0, 1) is None
    return twin
