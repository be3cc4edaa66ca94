"""Realising PnL of perps and futures through the PnL pools.  Twin:
``contracts/custody/PnlLib.sol``.

Realising moves value between quote and cash and never changes their sum: M and E stay as they are,
to the wei.
"""

from __future__ import annotations

from typing import Final

from risk.exact.accounts import account_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id
from risk.exact.math import wad_math
from risk.exact.math.wad_math import WAD
from risk.exact.state import Account, State

FUNDING_UNIT: Final = 10**6  # WAD in one unit of funding_e12
_UINT128_MAX: Final = 2**128 - 1


def linear_mark(state: State, instrument: int) -> int:
    """Snapshot mark of a perp (S − cumulative funding, may be negative) or future (⌊S·R/WAD⌋, S
    from its expiry on); ``SliceMissing``.
    """
    data = state.underlyings[instrument_id.underlying(instrument)]
    if instrument_id.kind(instrument) == instrument_id.PERP:
        return data.price_wad - data.funding_e12 * FUNDING_UNIT
    if instrument_id.expiry(instrument) <= data.time:
        return data.price_wad
    bucket = state.buckets.get(instrument_id.bucket_key(instrument))
    if bucket is None or bucket.forward_ratio_wad == 0:
        day = instrument_id.expiry_day(instrument)
        raise ModelRevert("SliceMissing", (instrument_id.underlying(instrument), day))
    return wad_math.mul_wad_down(data.price_wad, bucket.forward_ratio_wad)


def realize_at(state: State, account_id: int, a: Account, i: int) -> tuple[int, bool]:
    """Realise entry ``i``: (signed change of cash, whether the entry is gone).

    A debit fills the pool, a credit draws what the pool holds.  ``CashOutOfRange`` where the pool
    would not fit uint128.
    """
    entry = a.linear[i]
    realized = entry.quote_wad
    if entry.size_wad != 0:
        mark = linear_mark(state, entry.instrument)
        realized += entry.size_wad * mark // WAD
    data = state.underlyings[instrument_id.underlying(entry.instrument)]
    if realized > 0:
        realized = min(realized, data.pnl_pool_wad)
    if realized == 0:
        return 0, False
    pool = data.pnl_pool_wad - realized
    if pool > _UINT128_MAX:
        raise ModelRevert("CashOutOfRange", (account_id,))
    data.pnl_pool_wad = pool
    a.cash_wad += realized
    quote = entry.quote_wad - realized
    removed = entry.size_wad == 0 and quote == 0
    if removed:
        account_lib.remove_linear(a, i)
    else:
        account_lib.set_linear(account_id, a, i, entry.instrument, entry.size_wad, quote)
    return realized, removed


def realize_all(state: State, account_id: int, a: Account) -> int:
    """Realise every linear position in storage order; the entry that replaces a removed one
    comes next.
    """
    realized = 0
    i = 0
    while i < len(a.linear):
        part, removed = realize_at(state, account_id, a, i)
        realized += part
        i += not removed
    return realized
