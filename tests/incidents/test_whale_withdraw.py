"""Hyperliquid, 12 March 2025, 4 million USD of its vault: a long far larger than the market is deep
takes out its profit and margin, so that the rest liquidates at the backstop's cost.

The market outside: selling the n-th unit moves the price by λ·(2n/depth − 1) beyond the depth, so
that selling n units costs λ·S·n·(n/depth − 1), what ``Liq`` (docs/margin.md §5) stands for.
"""

from __future__ import annotations

from fractions import Fraction

from risk.exact.params.risk_params import RiskParams
from tests.attacks.scene import model_market
from tests.incidents.scene import (
    ALICE,
    BOB,
    CAROL,
    KEEPER,
    PRICE,
    WAD,
    Loss,
    account,
    clean_up,
    deposit,
    guarded,
    insure,
    liquidate,
    move,
    size_of,
    stated,
    take_out,
    trade,
    without_limits,
)
from tests.support.vault_fixtures import Market

WHALE = account(ALICE)
SIZE, DEPTH = 300, 100  # ether
STEP = 5  # ether a slice: nobody takes more at once than the reward pays for selling
IMPACT = Fraction(5, 100)  # λ
NARROW = {"price_unit_e6": 20, "depth_wad": DEPTH * WAD}  # shocks of ±5 %: leverage up to 15
BOUND = 0  # USD lost with the defence
AT_LEAST = 60_000  # USD lost without it


def withdraw_and_fall(m: Market, p: RiskParams, fall: int = 15) -> Loss:
    """Returns what fund, counterparty, lenders and the liquidator lose; ``fall`` in per cent is the
    market's own, beside what selling the whale's position does to it.
    """
    m.set_params(p)
    deposit(m, BOB, 3_000_000)
    deposit(m, CAROL, 3_000_000)
    insure(m, 100_000)
    deposit(m, ALICE, 300_000)
    assert trade(m, (ALICE, 0), (BOB, 0), SIZE * WAD, PRICE * WAD) is None
    move(m, PRICE * 1.05)
    m.do(ALICE, "realizePnl", account(BOB))  # the seller's loss fills the pool
    m.do(ALICE, "realizePnl", WHALE)
    assert take_out(m, ALICE) > 0
    backstop, sold, loss = 0, Fraction(0), Loss()
    for percent in range(1, fall + 1):
        start = PRICE * 1.05 * (1 - percent / 100)
        while size_of(m, WHALE):
            move(m, start * float(1 - impact(sold)))
            held, worth = size_of(m, WHALE), m.model.margin(KEEPER).mark_equity
            outcome = liquidate(m, WHALE, min(WAD, STEP * WAD * WAD // held))
            if outcome == "NotWorthIt":
                part = clean_up(m, (WHALE,), (WHALE,))
                loss.haircuts += part.haircuts
                loss.lenders += part.lenders
                break
            if outcome:
                break
            taken = Fraction(held - size_of(m, WHALE), WAD)
            backstop += m.model.margin(KEEPER).mark_equity - worth
            backstop -= int(cost(sold, taken) * round(start) * WAD)
            sold += taken
    loss.insurance = 100_000 * WAD - m.state.insurance_wad
    loss.backstop = max(0, -backstop)
    loss.unpaid = max(0, -m.model.margin(WHALE).mark_equity)
    return loss


def impact(sold: Fraction) -> Fraction:
    """Fall of the price after ``sold`` units, as a share."""
    return IMPACT * (2 * sold / DEPTH - 1) if sold > DEPTH else Fraction(0)


def cost(sold: Fraction, more: Fraction) -> Fraction:
    """Of selling ``more`` units after ``sold``, against the price before it; in units of it."""

    def paid(n: Fraction) -> Fraction:
        return IMPACT * n * (n / DEPTH - 1) if n > DEPTH else Fraction(0)

    return paid(sold + more) - paid(sold) - more * impact(sold)


def defended() -> RiskParams:
    """The size charge as steep as the market is; what may leave is not limited, so that nothing
    else holds.
    """
    wide = {"cash_withdraw_cap_wad": 10**6 * WAD, "unrealised_cap_usd": 10**6}
    return guarded(wide, **NARROW, liq_bps=int(IMPACT * 10_000), stable_band_bps=1_000)


def test_C21_whale_withdraw(market: Market) -> None:
    without = withdraw_and_fall(model_market(), without_limits(**NARROW, liq_bps=0))
    with_ = withdraw_and_fall(market, defended())
    assert with_.usd <= BOUND
    assert without.usd > AT_LEAST
    stated("whale_withdraw", without.usd, with_.usd)


def test_C21_a_fall_that_the_depth_does_not_survive() -> None:
    """The limit of the defence: ``Liq`` of what is left takes the depth as fresh.  Here it never
    refills, so beyond a fall of 15 % the rest of the whale costs the fund something after all.
    """
    without = withdraw_and_fall(model_market(), without_limits(**NARROW, liq_bps=0), 20)
    with_ = withdraw_and_fall(model_market(), defended(), 20)
    assert with_.total < without.total // 2
    stated("whale_withdraw.deep", without.usd, with_.usd)
