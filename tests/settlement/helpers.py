"""What the settlement tests share."""

from __future__ import annotations

from typing import Any

from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id as iid
from risk.exact.settlement import settlement_lib
from risk.exact.state import Settlement, State
from tests.support.vault_fixtures import EXPIRIES, PRICES, STRIKES, Market
from tests.support.vault_twin import OWNER, WAD

WINDOW = 3_600
SPACING = 600
MIN_OBSERVATIONS = 4
DAY0, DAY1 = EXPIRIES
EXPIRY = DAY0 * 86_400 + iid.EXPIRY_TIME_OF_DAY
KEY = DAY0  # of the bucket of ETH and the first expiry

PERP = iid.encode(0, iid.PERP, 0, 0)
BTC_PERP = iid.encode(1, iid.PERP, 0, 0)
FUTURE = iid.encode(0, iid.FUTURE, DAY0, 0)
LATER = iid.encode(0, iid.FUTURE, DAY1, 0)
AT_3000 = STRIKES.index(3_000 * WAD)
CALL = iid.encode(0, iid.CALL, DAY0, AT_3000)
PUT = iid.encode(0, iid.PUT, DAY0, AT_3000)
STRIKE = 3_000


def observe(m: Market, price: float, at: int | None = None, u: int = 0, day: int = DAY0) -> Any:
    """Set the feed of ``u`` and observe, at ``at`` where it is given."""
    if at is not None:
        m.world.timestamp = at
    m.set_price(u, price)
    return m.do(OWNER, "observe", u, day)


def record(m: Market, price: float, u: int = 0, day: int = DAY0) -> Settlement:
    """Settle the expiry at ``price``: one observation every ten minutes and the call that fixes."""
    expiry = day * 86_400 + iid.EXPIRY_TIME_OF_DAY
    start = max(expiry - MIN_OBSERVATIONS * SPACING, m.world.timestamp)
    for i in range(MIN_OBSERVATIONS):
        assert observe(m, price, start + i * SPACING, u, day) is None
    item = m.state.settlements[u << 16 | day]
    if not item.settled:
        m.world.timestamp = max(m.world.timestamp, expiry)
        assert m.do(OWNER, "observe", u, day) is None
    assert item.settled
    return item


def check_state(state: State) -> None:
    """What ``VaultTwin.check_identities`` asks, with the rule of the time between the settlement of
    a long and of its short: sizes sum to zero unless the instrument has a price, and in every case
    the open interest is the sum of the longs.
    """
    accounts = list(state.accounts.values())
    pools = [u.pnl_pool_wad for u in state.underlyings]
    owned = sum(a.cash_wad for a in accounts) + sum(pools)
    assert state.cash_held_wad == owned + state.insurance_wad + state.interest_wad
    assert min(pools) >= 0
    sums: dict[int, int] = {}
    longs: dict[int, int] = {}
    for a in accounts:
        assert not any(x.size_wad == 0 and x.quote_wad <= 0 for x in a.linear)
        for x in [*a.linear, *a.options]:
            sums[x.instrument] = sums.get(x.instrument, 0) + x.size_wad
            longs[x.instrument] = longs.get(x.instrument, 0) + max(x.size_wad, 0)
    for i, total in sums.items():
        recorded = settlement_lib.has_price(state, i) or settlement_lib.WIND_DOWN | i in (
            state.settlements
        )
        assert total == 0 or recorded, hex(i)
        assert state.open_interest.get(i, 0) == longs[i], hex(i)
    for u, data in enumerate(state.underlyings):
        assert data.open_interest_wad == sum(v for i, v in longs.items() if i >> 28 == u)


def is_revert(result: Any, name: str, *args: Any) -> None:
    """The action was refused with exactly this error."""
    assert isinstance(result, ModelRevert), result
    assert (result.name, result.args) == (name, args)


def fresh(m: Market, at: int) -> None:
    """Feeds, and reports of the expiries that are not over, so that an action at ``at`` finds them
    young.
    """
    m.world.timestamp = max(at - 20, m.world.timestamp)
    days = [d for d in EXPIRIES if d * 86_400 + iid.EXPIRY_TIME_OF_DAY > m.world.timestamp + 10]
    for u, price in enumerate(PRICES):
        m.set_price(u, price)
        m.report(u, days)
    assert m.world.timestamp <= at
    m.world.timestamp = at
