"""Withdrawal rate limits: a leaky bucket an asset."""

from __future__ import annotations

from dataclasses import replace

import pytest

from risk.exact.errors import ModelRevert as Revert
from tests.support.vault_fixtures import Market, params
from tests.support.vault_twin import ALICE, USD, WAD, account, key_address

CAP, DAY = 1_000 * WAD, 86_400


@pytest.fixture
def limited(market: Market) -> Market:
    p = params(cash_withdraw_cap_wad=CAP, withdraw_period_seconds=DAY)
    weth = replace(p.collaterals[0], withdraw_cap=5 * WAD)
    market.set_params(replace(p, collaterals=(weth, *p.collaterals[1:])))
    assert market.do(ALICE, "deposit", account(ALICE), market.cash, 100_000 * USD) is None
    assert market.do(ALICE, "deposit", account(ALICE), market.weth, 100 * WAD) is None
    return market


def take(m: Market, token: int, amount: int) -> object:
    return m.do(ALICE, "withdraw", account(ALICE), token, amount, key_address(ALICE))


def test_the_bucket_fills_and_leaks(limited: Market) -> None:
    m = limited
    assert take(m, m.cash, 600 * USD) == 600 * USD
    refused = take(m, m.cash, 600 * USD)
    assert isinstance(refused, Revert)
    assert refused.name == "WithdrawLimitExceeded"
    assert refused.args[2] == 600 * WAD
    m.world.timestamp += DAY // 2
    assert take(m, m.cash, 600 * USD) == 600 * USD
    m.world.timestamp += 10 * DAY
    assert take(m, m.cash, 1_000 * USD) == 1_000 * USD
    assert take(m, m.cash, USD).name == "WithdrawLimitExceeded"  # type: ignore[attr-defined]


def test_no_window_sees_more_than_twice_the_cap(limited: Market) -> None:
    m = limited
    start, out = m.world.timestamp, 0
    while m.world.timestamp < start + DAY:
        done = take(m, m.cash, 125 * USD)
        out += done if isinstance(done, int) else 0
        m.world.timestamp += DAY // 12
    assert CAP // 10**12 <= out <= 2 * CAP // 10**12


def test_collateral_has_its_own(limited: Market) -> None:
    m = limited
    assert take(m, m.weth, 5 * WAD) == 5 * WAD
    assert take(m, m.weth, WAD).name == "WithdrawLimitExceeded"  # type: ignore[attr-defined]
    assert take(m, m.cash, 1_000 * USD) == 1_000 * USD
    m.world.timestamp += DAY // 5 + 1
    assert take(m, m.weth, WAD) == WAD


def test_a_transfer_to_oneself_does_not_count(limited: Market) -> None:
    m = limited
    moved = m.do(ALICE, "transfer", account(ALICE), account(ALICE, 1), m.cash, 50_000 * USD)
    assert moved == 50_000 * USD
    assert take(m, m.cash, 1_000 * USD) == 1_000 * USD
