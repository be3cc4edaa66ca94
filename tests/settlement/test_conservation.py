"""Random portfolios settled in random order, in the model alone: value is conserved, pools never go
negative, and what rounding leaves stays with the vault (A8).
"""

from __future__ import annotations

import copy
import random

import pytest

from risk.exact.market.feed_reader import OracleState
from risk.exact.state import Account, Linear, Option
from risk.exact.vault import Vault
from tests.settlement.helpers import (
    BTC_PERP,
    CALL,
    EXPIRY,
    FUTURE,
    LATER,
    PERP,
    PUT,
    check_state,
)
from tests.support.vault_fixtures import Market
from tests.support.vault_twin import OWNER, WAD

pytestmark = pytest.mark.chain  # the market is listed on a chain once; the cases run without it

LINEAR = (PERP, BTC_PERP, FUTURE, LATER)
OPTIONS = (CALL, CALL + 3, PUT, PUT + 1, CALL + (27 << 10), PUT + (27 << 10))
OWNERS = [0xB0B000 + i for i in range(5)]


def _split(rng: random.Random, total: int, width: int) -> list[int]:
    """Random numbers that sum to ``total``."""
    parts = [rng.randrange(-width, width) for _ in OWNERS[1:]]
    return [*parts, total - sum(parts)]


def _portfolios(rng: random.Random, vault: Vault) -> None:
    """Zero-sum positions with quotes that sum to the pools or a little less."""
    state = vault.state
    accounts = [Account(cash_wad=rng.randrange(-10, 10**6) * WAD) for _ in OWNERS]
    for instrument in LINEAR:
        sizes = _split(rng, 0, 3 * WAD)
        quotes = _split(rng, -rng.randrange(3), 9_000 * WAD)
        for a, size, quote in zip(accounts, sizes, quotes, strict=True):
            a.linear.append(Linear(instrument, size, quote))
        state.open_interest[instrument] = sum(s for s in sizes if s > 0)
    for instrument in OPTIONS:
        sizes = _split(rng, 0, 2 * WAD)
        for a, size in zip(accounts, sizes, strict=True):
            a.options.append(Option(instrument, size))
        state.open_interest[instrument] = sum(s for s in sizes if s > 0)
    state.accounts = dict(zip(OWNERS, accounts, strict=True))
    for u, data in enumerate(state.underlyings):
        data.funding_e12 = rng.randrange(-(10**14), 10**14)
        interest = (v for i, v in state.open_interest.items() if i >> 28 == u)
        data.open_interest_wad = sum(interest)
    for a in accounts:
        a.interest_index = 10**15 if a.cash_wad else 0
    state.supply_wad = sum(a.cash_wad for a in accounts if a.cash_wad > 0)
    state.borrow_wad = -sum(a.cash_wad for a in accounts if a.cash_wad < 0)
    state.insurance_wad = 10**9 * WAD
    state.cash_held_wad = sum(a.cash_wad for a in accounts) + state.insurance_wad


def _feeds(vault: Vault, *prices: float) -> None:
    for data, price in zip(vault.state.underlyings, prices, strict=True):
        feed = vault.world.feeds[data.feed]
        feed.answer, feed.updated_at = round(price * 10**8), vault.world.timestamp


@pytest.mark.parametrize("seed", range(60))
def test_A8_value_is_conserved_in_any_order(m: Market, seed: int) -> None:
    rng = random.Random(seed)
    vault = Vault(m.state.clone(), copy.deepcopy(m.world))
    state, world = vault.state, vault.world
    _portfolios(rng, vault)
    check_state(state)
    before = sum(a.cash_wad for a in state.accounts.values())
    world.timestamp = EXPIRY - 2_500
    price = rng.uniform(2_000, 4_000)
    for _ in range(5):
        _feeds(vault, price, 60_000)
        vault.observe(OWNER, 0, FUTURE >> 10 & 0xFFFF)
        world.timestamp += 650
    assert state.settlements[FUTURE >> 10 & 0xFFFF].settled
    steps = [*OWNERS, *OWNERS]
    rng.shuffle(steps)
    for owner in steps:
        if rng.random() < 0.5:
            vault.settle(OWNER, [owner])
        else:
            vault.realize_pnl(OWNER, owner)
        check_state(state)
    vault.start_wind_down(OWNER)
    vault.settle(OWNER, OWNERS)
    assert all(x.instrument != FUTURE for a in state.accounts.values() for x in a.linear)
    world.timestamp += 3 * 86_400
    _feeds(vault, rng.uniform(2_000, 4_000), rng.uniform(40_000, 80_000))
    assert vault.oracle_state(1)[0] == OracleState.FRESH
    rng.shuffle(steps)
    for owner in steps:
        vault.settle(OWNER, [owner])
        vault.realize_pnl(OWNER, owner)
        check_state(state)
        if rng.random() < 0.2:  # the index goes on, the prices of the wind-down stay
            world.timestamp += 4_000
            _feeds(vault, rng.uniform(2_000, 4_000), rng.uniform(40_000, 80_000))
            vault.refresh(OWNER, [0, 1])
    for owner in OWNERS:
        vault.realize_pnl(OWNER, owner)
    assert all(not a.linear and not a.options for a in state.accounts.values())
    dust = sum(u.pnl_pool_wad for u in state.underlyings)
    after = sum(a.cash_wad for a in state.accounts.values())
    # interest and its dust stay inside: the identity of the ledger
    assert after + dust + state.insurance_wad + state.interest_wad == before + 10**9 * WAD
    assert 0 <= dust <= len(OWNERS) * (len(LINEAR) + len(OPTIONS)) + 2 * len(LINEAR)
