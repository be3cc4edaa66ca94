"""Hyperliquid, 26 March 2025 (JELLY), 12 million USD at the worst: one owner is short in one
account and long in others, pumps the spot price four times, and lets the short be inherited by the
backstop, which stands for it with all it has.

Here the fund inherits nothing: it pays within its caps, then the other side by haircuts, then
lenders.  The attacker liquidates himself, in slices, to draw on the fund as often as he can.
"""

from __future__ import annotations

from typing import Any

from risk.exact.params.risk_params import RiskParams
from tests.attacks.scene import model_market
from tests.incidents.scene import (
    ALICE,
    BOB,
    CAROL,
    GUARD,
    GUARD_U,
    KEEPER,
    NO_LIMIT,
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
    size_of,
    stated,
    take_out,
    trade,
    wealth,
    without_limits,
)
from tests.support.vault_fixtures import Market

SHORT, LONG, BACKER, LENDER = (*(account(ALICE, sub) for sub in range(3)), account(BOB))
SIZE, RISE, FUND = 30, 4, 300_000
CAP = 40_000  # USD that the fund may pay in a day
BOUND = 40_050  # USD lost with the defence: the cap, and what leaks in a minute and a half
AT_LEAST = 220_000  # USD lost without it


def inherit(m: Market, p: RiskParams, *, backed: bool = True) -> Loss:
    """Returns what fund and lenders lose; nobody else holds the instrument.  ``backed``: a third
    account of the attacker takes the short over, slice by slice, for what the fund pays.
    """
    m.set_params(p)
    deposit(m, BOB, 300_000)
    deposit(m, CAROL, 500_000)
    insure(m, FUND)
    for sub in (0, 1):
        deposit(m, ALICE, 30_000, sub)
    if backed:
        deposit(m, ALICE, 600_000, 2)
    honest = wealth(m, (LENDER, KEEPER))
    assert trade(m, (ALICE, 1), (ALICE, 0), SIZE * WAD, PRICE * WAD) is None
    move(m, RISE * PRICE)
    assert m.compare_margin(SHORT).mark_equity == -240_000 * WAD
    m.do(ALICE, "realizePnl", SHORT)
    m.do(ALICE, "realizePnl", LONG)
    if backed:
        draw(m, WAD if p.insurance_event_cap_wad == 0 else WAD // 12)
    else:
        take_out(m, ALICE, 1)
    loss = clean_up(m, (SHORT, LONG), (SHORT, LONG, BACKER))
    loss.insurance = FUND * WAD - m.state.insurance_wad
    reward = 5_000 * WAD  # at most, to the keeper
    assert -WAD <= loss.total - (honest - wealth(m, (LENDER, KEEPER))) <= reward
    return loss


def draw(m: Market, part: int) -> None:
    """He liquidates himself as long as the fund pays; at last he takes what is left without it."""
    paid = True
    while paid and size_of(m, SHORT):
        fund = m.state.insurance_wad
        got = m.do(ALICE, "liquidate", SHORT, BACKER, part, NO_LIMIT)
        assert not name(got), got
        paid = m.state.insurance_wad < fund - WAD
    if size_of(m, SHORT):
        assert not name(m.do(ALICE, "liquidate", SHORT, BACKER, WAD, NO_LIMIT))


def test_E46_jelly_backstop(market: Market) -> None:
    without = inherit(model_market(), without_limits())
    with_ = inherit(market, guarded())
    assert with_.usd <= BOUND
    assert without.usd > AT_LEAST
    assert with_.insurance == with_.total
    stated("jelly_backstop", without.usd, with_.usd)


def test_E47_what_is_deleveraged_falls_on_the_winner(market: Market) -> None:
    """The same without a third account: one event's cap, and the rest is the long's haircut."""
    without = inherit(model_market(), without_limits(), backed=False)
    with_ = inherit(market, guarded(), backed=False)
    assert with_.total == CAP // 2 * WAD
    assert size_of(market, LONG) == 0
    assert market.compare_margin(LONG).mark_equity <= (300_000 - 220_000) * WAD
    stated("jelly_backstop.unbacked", without.usd, with_.usd)


def test_E46_what_the_caps_alone_leave_to_the_lenders() -> None:
    """Insurance caps, and nothing that keeps the winner's profit in: he takes it out before he can
    be deleveraged, the fund pays its cap, and the third step, the lenders, bear the rest.
    """
    names = ("insurance_event_cap_wad", "insurance_period_cap_wad", "insurance_period_seconds")
    caps: dict[str, Any] = dict.fromkeys(GUARD, 0) | {k: GUARD[k] for k in names}
    off = dict.fromkeys(GUARD_U, 0)
    alone = inherit(model_market(), guarded(caps, **off), backed=False)
    without = inherit(model_market(), without_limits(), backed=False)
    assert alone.insurance <= BOUND * WAD
    assert alone.lenders > 0 and alone.unpaid == 0
    stated("jelly_backstop.caps", without.usd, alone.usd)
