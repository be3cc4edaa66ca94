"""Moving the same fraction of everything from one account to another.  Twin:
``contracts/liquidation/SliceLegs.sol``.

Every amount x moves x·f towards zero; f = 1 moves exactly everything.  What one account loses the
other gains.
"""

from __future__ import annotations

from risk.exact.custody import position_lib
from risk.exact.liquidation.slice_math import leg
from risk.exact.margin import instrument_id
from risk.exact.math.wad_math import WAD
from risk.exact.state import Account, State


def take(
    state: State, giver_id: int, giver: Account, taker_id: int, taker: Account, fraction: int
) -> None:
    """Move cash, collateral and positions, and update the open interest; both accounts stay
    unstored.

    ``SizeOutOfRange`` of the taker: perps and futures, then options, in the giver's storage order.
    """
    cash = leg(giver.cash_wad, fraction)
    giver.cash_wad -= cash
    taker.cash_wad += cash
    for j, amount in enumerate(giver.collateral):
        moved = leg(amount, fraction)
        giver.collateral[j] -= moved
        taker.collateral[j] += moved

    d_long = [0] * len(state.underlyings)
    for x in giver.linear:
        d_size, d_quote = leg(x.size_wad, fraction), leg(x.quote_wad, fraction)
        if d_size == 0 and d_quote == 0:
            continue
        before = x.size_wad
        x.size_wad -= d_size
        x.quote_wad -= d_quote
        u = instrument_id.underlying(x.instrument)
        change = position_lib.long_delta(before, x.size_wad)
        change += position_lib.change_linear(state, taker_id, taker, x.instrument, d_size, d_quote)
        position_lib.add_instrument_interest(state, x.instrument, change, taker_id)
        d_long[u] += change
    for o in giver.options:
        d_size = leg(o.size_wad, fraction)
        if d_size == 0:
            continue
        before = o.size_wad
        o.size_wad -= d_size
        u = instrument_id.underlying(o.instrument)
        change = position_lib.long_delta(before, o.size_wad)
        change += position_lib.change_option(taker_id, taker, o.instrument, d_size)
        position_lib.add_instrument_interest(state, o.instrument, change, taker_id)
        d_long[u] += change
    if fraction == WAD:
        giver.linear.clear()
        giver.options.clear()
    for u, change in enumerate(d_long):
        position_lib.add_open_interest(state, u, change, taker_id, u << 28)
