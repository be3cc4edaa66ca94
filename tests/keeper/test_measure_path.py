"""Path, town, tally: what the load test stands on, without a node."""

from __future__ import annotations

from itertools import pairwise

import pytest

from risk.chain.events import EventDecoder
from risk.exact.state import Account, Option, World
from risk.exact.vault import Vault
from risk.keeper.measure import town
from risk.keeper.measure.path import (
    ASSETS,
    CALM_FEE_WEI,
    DAY,
    DEVIATION,
    FIRST_OPEN,
    HEARTBEAT,
    HIGHEST_FEE_WEI,
    Oracle,
    Tick,
    path,
)
from risk.keeper.measure.soak import memory, slope
from risk.keeper.measure.tally import Tally, spread
from risk.keeper.ports import Sweep
from risk.keeper.types import Head, Health, Reading
from risk.vector import exact
from risk.vector.accounts import AccountBatch
from risk.vector.market import MarketTable

NOW = 1_800_000_000


# ── path ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_path_has_the_shape_of_the_day() -> None:
    ticks = path(3, 7_200, start_hour=0.0)
    assert ticks == path(3, 7_200, start_hour=0.0) != path(4, 7_200, start_hour=0.0)
    for column, asset in enumerate(ASSETS):
        price = [t.ratios[column] * FIRST_OPEN[asset] for t in ticks]
        for hour, (high, low, close) in enumerate(DAY[asset]):
            part = price[300 * hour : 300 * (hour + 1)]
            assert min(part) >= low * (1 - 1e-9) and max(part) <= high * (1 + 1e-9)
            if hour < 23:
                assert price[300 * (hour + 1)] == pytest.approx(close)
        lowest = min(range(7_200), key=price.__getitem__)
        assert 21.3 < lowest / 300 < 21.4  # the crash's low at 21:20
        assert price[lowest] == pytest.approx(DAY[asset][21][1])
    fees = [t.base_fee_wei for t in ticks]
    assert min(fees) >= CALM_FEE_WEI * 99 // 100 and max(fees) == HIGHEST_FEE_WEI
    assert all(7 * a <= 8 * b + 8 and 8 * b <= 9 * a + 8 for a, b in pairwise(fees))


def test_a_path_goes_on_after_midnight_without_a_jump() -> None:
    ticks = path(1, 900, start_hour=23.0)
    for before, after in pairwise(ticks):
        for a, b in zip(before.ratios, after.ratios, strict=True):
            assert abs(b / a - 1) < 0.02


def test_a_feed_moves_by_steps_and_beats() -> None:
    oracle = Oracle((1.0, 1.0))
    assert oracle.update(Tick(12, (1.004, 0.996), 1)) == []
    assert oracle.update(Tick(24, (1 + DEVIATION + 1e-9, 0.996), 1)) == [0]
    assert oracle.shown == [1 + DEVIATION + 1e-9, 1.0]
    assert oracle.update(Tick(24 + HEARTBEAT, (1.005, 0.996), 1)) == [0, 1]


# ── town ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_town_is_closed_and_healthy() -> None:
    built = town.build(2, 300, NOW)
    state = built.state
    town.add_accounts(built, {(0x77 << 8): 5 * 10**18})
    sizes: dict[int, int] = {}
    quotes: dict[int, int] = {}
    for a in state.accounts.values():
        for x in a.linear:
            sizes[x.instrument] = sizes.get(x.instrument, 0) + x.size_wad
            quotes[x.instrument] = quotes.get(x.instrument, 0) + x.quote_wad
        for y in a.options:
            sizes[y.instrument] = sizes.get(y.instrument, 0) + y.size_wad
    assert not any(sizes.values()) and not any(quotes.values())
    held = sum(a.cash_wad for a in state.accounts.values()) + state.insurance_wad
    assert state.cash_held_wad == held
    assert state.supply_wad - state.borrow_wad + state.insurance_wad == held
    table = MarketTable.from_state(state)
    batch = AccountBatch.from_state(table, state)
    m = exact.margins(table, batch, state)
    assert not m.errors and (m.health >= 0).all()
    vault = Vault(state, World(timestamp=NOW, feeds=built.feeds))
    for number in built.traders[:20]:
        assert vault.margin(number).health_factor > 1.07 * 10**18
    assert len(set(map(repr, (state.accounts[n] for n in built.traders)))) == 300
    assert built.answer(0, (1.0, 0.5, 1.0)) == 1_500 * 10**8  # ETH follows the second column


def test_totals_count_the_long_side() -> None:
    built = town.build(1, 5, NOW)
    state = built.state
    option = next(i for i in state.open_interest if i >> 26 & 3 >= 2)
    before = state.open_interest[option]
    state.accounts = {**state.accounts, 1: Account(options=[Option(option, 7)])}
    town.totals(state)
    assert state.open_interest[option] == before + 7


# ── tally ────────────────────────────────────────────────────────────────────────────────────────


def sweep(block: int, *unhealthy: int, equity: int = 1) -> Sweep:
    head = Head(block, "", "", 0, 0)
    found = {a: Reading(a, Health.UNHEALTHY, equity, 5, 6, block, 0) for a in unhealthy}
    return Sweep(head, found, {}, {}, 10, 0)


def test_episodes_end_by_liquidation_or_by_prices() -> None:
    tally = Tally(EventDecoder([]), "0xv", frozenset({"0xa"}), 100)
    tally.block(1, [], sweep(1, 7, 8, 9, equity=-3), 10**18)
    tally.touched = {7, 9}  # as their events say
    receipts = [
        {"from": "0xA", "status": s, "gasUsed": "0x64", "effectiveGasPrice": "0x2", "logs": []}
        for s in ("0x1", "0x0")
    ]
    stranger = {**receipts[0], "from": "0xb"}
    tally.block(4, [*receipts, stranger], sweep(4, 9), 3 * 10**18)
    out = tally.result(6, 40)
    assert (out["liquidated"], out["recovered"], out["left"], out["episodes"]) == (1, 1, 1, 3)
    assert out["blocks_to_liquidation"] == {"count": 1, "median": 3, "p99": 3, "most": 3}
    assert out["blocks_with_those_left"]["most"] == 5
    assert (out["transactions_mined"], out["transactions_failed"]) == (2, 1)
    assert (out["gas"], out["gas_of_failed"]) == (200, 100)
    assert out["cost_ether"] == 400e-18 and out["cost_cash"] == 1200e-18
    assert out["insurance_paid_cash"] == 60e-18
    assert out["most_bad_debt_cash"] == 9e-18 and out["bad_debt_cash"] == 0


def test_spreads() -> None:
    assert spread([])["median"] is None
    assert spread(list(range(1, 201))) == {"count": 200, "median": 100.5, "p99": 198, "most": 200}


def test_memory_that_grows_is_not_flat() -> None:
    flat = [(i, 300 << 20, 1) for i in range(60, 7_201, 60)]
    grows = [(i, (300 << 20) + i * 20_000, 1) for i in range(60, 7_201, 60)]
    assert memory(flat, 7_200)["flat"] is True
    assert memory(grows, 7_200)["flat"] is False
    assert memory(grows, 7_200)["growth_mib_a_day"] == pytest.approx(137.33, abs=0.01)
    assert memory(grows[:20], 1_200)["flat"] is None
    assert slope([(0, 1), (1, 3), (2, 5)]) == 2
