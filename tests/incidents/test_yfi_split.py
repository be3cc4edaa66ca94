"""dYdX, 17 November 2023, 9 million USD of its insurance fund: a long in a thin market, split over
many accounts so that none is large enough for the margin by size; then the price falls 43 %.
"""

from __future__ import annotations

from typing import Any

from risk.exact.errors import ModelRevert
from risk.exact.margin import margin_engine
from tests.attacks.defence import Defence
from tests.attacks.scene import model_market
from tests.incidents.scene import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    DAY,
    KEEPER,
    PERP,
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
    trade,
    wealth,
)
from tests.support.vault_fixtures import Market

ACCOUNTS = 30
EACH = 10_000  # USD
FALL = 0.43
DEPTH = 20  # ether; each account alone stays below it
BOUND = 15_000  # USD lost with the defence
AT_LEAST = 90_000  # USD lost without it
GRAIN = WAD // 100


def split(m: Market) -> Loss:
    """Thirty accounts buy as much as margin lets them; returns what the others lose by the fall."""
    caps = {"insurance_event_cap_wad": 5_000 * WAD, "insurance_period_cap_wad": 20_000 * WAD}
    m.set_params(guarded(caps, depth_wad=DEPTH * WAD, liq_bps=1_000))
    deposit(m, BOB, 2_000_000)
    deposit(m, CAROL, 2_000_000)
    deposit(m, DAVE, 100_000)
    insure(m, 50_000)
    subs = range(ACCOUNTS)
    mine = [deposit(m, ALICE, EACH, sub) for sub in subs]
    honest = (account(BOB), KEEPER, account(DAVE))
    before = wealth(m, honest)
    for sub in subs:
        size = largest(m, sub)
        assert trade(m, (ALICE, sub), (BOB, 0), size, PRICE * WAD) is None
        more = trade(m, (ALICE, sub), (BOB, 0), 2 * GRAIN, PRICE * WAD)
        assert name(more) == "InsufficientMargin"
    held = sum(size_of(m, i) for i in mine)
    move(m, PRICE * (1 - FALL))
    won = held * round(PRICE * FALL * 100) // 100  # what is due to the seller
    loss = clean_up(m, mine, mine)
    assert abs(wealth(m, honest) - (before + won - loss.total)) <= loss_of_rewards(m, mine)
    return loss


def largest(m: Market, sub: int) -> int:
    """The largest fill that initial margin accepts, in steps of 0.01."""
    low, high = 1, 2_000
    while low < high:
        middle = (low + high + 1) // 2
        if fits(m, sub, middle * GRAIN):
            low = middle
        else:
            high = middle - 1
    return low * GRAIN


def fits(m: Market, sub: int, size: int) -> bool:
    """On a copy of the state."""
    saved = m.state
    m.state = m.model.state = saved.clone()
    try:
        buy = m.order(ALICE, PERP, size, PRICE * WAD, sub=sub)
        sell = m.order(BOB, PERP, -size, PRICE * WAD)
        who = buy.account >> 8, sell.account >> 8
        try:
            m.model.fill(0, buy, who[0], sell, who[1], size, PRICE * WAD)
        except ModelRevert:
            return False
        return True
    finally:
        m.state = m.model.state = saved


def loss_of_rewards(m: Market, mine: list[int]) -> int:
    """What the attacker still has, or paid to liquidators: nobody else's loss."""
    return ACCOUNTS * EACH * WAD + sum(m.model.margin(i).mark_equity for i in mine)


def _by_own_size(original: Any) -> Any:
    """Initial margin looks at the size of the account, as dYdX's did, not at open interest."""

    def charges(w: Any) -> Any:
        floor, liq, _ = original(w)
        return floor, liq, liq

    return charges


SIZE_CHARGE = Defence(
    split,  # type: ignore[arg-type]
    "size charge of initial margin by open interest",
    ((margin_engine, "_unit_charges", _by_own_size),),
)


def test_C20_yfi_split(market: Market) -> None:
    with SIZE_CHARGE.gone():
        without = split(model_market())
    with_ = split(market)
    assert with_.usd <= BOUND
    assert without.usd > AT_LEAST
    for loss in (with_, without):  # the cap of a period, and what leaked since the first payment
        assert loss.insurance <= 20_000 * WAD + 20_000 * WAD * 60 // DAY
    stated("yfi_split", without.usd, with_.usd)
