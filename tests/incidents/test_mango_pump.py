"""Mango, 11 October 2022, 116 million USD: long and short of one owner in a thin market, the index
is pumped five times, the long side's paper profit is borrowed against, the price comes back.
"""

from __future__ import annotations

from typing import Any

import pytest

from risk.exact.params.risk_params import RiskParams
from tests.attacks.scene import model_market
from tests.incidents.scene import (
    ALICE,
    BOB,
    CAROL,
    GUARD,
    GUARD_U,
    HOUR,
    KEEPER,
    PRICE,
    WAD,
    Loss,
    account,
    clean_up,
    deposit,
    guarded,
    insure,
    move,
    name,
    stated,
    take_out,
    trade,
    wealth,
    without_limits,
)
from tests.support.vault_fixtures import Market

LONG, SHORT, LENDER = account(ALICE), account(ALICE, 1), account(BOB)
OWN = 60_000  # USD that the attacker brings
BOUND = 0  # USD lost with the defence
AT_LEAST = 150_000  # USD lost without it


def pump(m: Market, p: RiskParams, hold_hours: int = 0) -> Loss:
    """Returns what lenders and insurance lose."""
    m.set_params(p)
    deposit(m, BOB, 300_000)
    deposit(m, CAROL, 50_000)
    insure(m, 20_000)
    for sub in (0, 1):
        deposit(m, ALICE, OWN // 2, sub)
    honest = wealth(m, (LENDER, KEEPER))
    size = 30 * WAD
    while size and name(trade(m, (ALICE, 0), (ALICE, 1), size, PRICE * WAD)):
        size -= WAD  # as large as margin and caps let it be
    move(m, 5 * PRICE)
    assert m.compare_margin(LONG).mark_equity > OWN * WAD
    m.do(ALICE, "realizePnl", SHORT)  # his loss fills the pool, so his profit becomes cash
    m.do(ALICE, "realizePnl", LONG)
    taken = take_out(m, ALICE)
    for _ in range(hold_hours // 6):
        m.world.timestamp += 6 * HOUR
        move(m, 5 * PRICE)
        taken += take_out(m, ALICE)
    move(m, PRICE)
    loss = clean_up(m, (LONG, SHORT), (LONG, SHORT))
    assert wealth(m, (LENDER, KEEPER)) >= honest - loss.total - WAD
    assert loss.total <= taken * 10**12
    return loss


def test_C19_mango_pump(market: Market) -> None:
    without = pump(model_market(), without_limits())
    with_ = pump(market, guarded(), hold_hours=24)
    assert with_.usd <= BOUND
    assert without.usd > AT_LEAST
    stated("mango_pump", without.usd, with_.usd)


@pytest.mark.parametrize(
    ("row", "underlying", "tail"),
    [
        ("mango_pump.stable_price", ("stable_rate_bps_per_day", "stable_band_bps"), ()),
        ("mango_pump.unrealised_cap", (), ("unrealised_cap_usd",)),
        ("mango_pump.withdraw_limit", (), ("cash_withdraw_cap_wad", "withdraw_period_seconds")),
    ],
)
def test_C19_each_defence_alone(row: str, underlying: Any, tail: Any) -> None:
    """What one of them is worth by itself; on the model."""
    off = dict.fromkeys(GUARD_U, 0) | {k: GUARD_U[k] for k in underlying}
    rest = dict.fromkeys(GUARD, 0) | {k: GUARD[k] for k in tail}
    without = pump(model_market(), without_limits())
    with_ = pump(model_market(), guarded(rest, **off))
    stated(row, without.usd, with_.usd)


def test_C19_the_open_interest_cap_scales_the_attack_down() -> None:
    """The cap bounds what can be pumped, whatever else fails: loss ≤ cap · rise of the price."""
    off = dict.fromkeys(GUARD_U, 0) | {"oi_cap_wad": 5 * WAD}
    with_ = pump(model_market(), guarded(dict.fromkeys(GUARD, 0), **off))
    assert with_.total <= 5 * 4 * PRICE * WAD
    stated("mango_pump.oi_cap", pump(model_market(), without_limits()).usd, with_.usd)
