"""The largest auto-deleveragings, and their gas."""

from __future__ import annotations

import pytest

from risk.exact.errors import ModelRevert as Revert
from risk.exact.waterfall.waterfall_logic import size_of
from tests.support.vault_fixtures import CAPS, EXPIRIES, Market
from tests.support.vault_twin import (
    BOB,
    CAROL,
    DAVE,
    WAD,
    account,
    iid,
    risk_params,
    underlying_params,
)
from tests.waterfall.support import (
    KINDS,
    LENDER,
    PERP,
    A,
    Holding,
    adl,
    flag_long_ago,
    others,
    plan,
    position,
    set_equity,
    value,
    write,
)

TRANSACTION = 16_777_216


def options(first: int) -> list[int]:
    """15 options of two expiries."""
    names = [(day, k) for day in EXPIRIES for k in range(64)]
    return [iid.encode(0, iid.CALL, *names[first * 15 + n]) for n in range(15)]


def set_32_scenarios(market: Market) -> None:
    """K = 32."""
    lanes = tuple(range(-1_600, 1_600, 100))
    u = underlying_params(price_lanes=lanes, vol_lanes=lanes)
    p = market.state.params
    assert p is not None
    market.set_params(risk_params((u, u), p.collaterals, weights_bps=(10_000,) * 32))
    assert CAPS[0] == p.collaterals[0].cap


@pytest.mark.parametrize("cached", [True, False])
def test_gas_of_eight_counterparties_with_16_positions_each(market: Market, cached: bool) -> None:
    set_32_scenarios(market)
    ids, mate = others(8), account(DAVE, 99)
    sides = [(o, 2 * WAD if n % 2 else -WAD) for n, i in enumerate(ids) for o in options(n)]
    book = {
        A: Holding(**position(PERP, 8 * WAD), options=[(o, -s) for o, s in sides[:15]]),
        mate: Holding(cash=10**8 * WAD, options=[(o, -s) for o, s in sides[15:]]),
        LENDER: Holding(cash=10**6 * WAD),
    }
    for n, i in enumerate(ids):
        held = sides[15 * n : 15 * n + 15]
        book[i] = Holding(cash=10**5 * WAD, **position(PERP, -WAD), options=held)
    write(market, book)
    set_equity(market, A, -1_000 * WAD)
    if cached:
        for n in range(8):
            market.do(BOB, "computeArrays", options(n))
    p = plan(market, PERP, ids)
    assert adl(market, PERP, ids, p.theta) == 1_000 * WAD
    print(f"adl, 8 counterparties of 16 positions, K = 32, cached {cached}: {market.gas_used}")
    assert market.gas_used < (3_000_000 if cached else TRANSACTION)


def test_gas_of_64_counterparties(market: Market) -> None:
    set_32_scenarios(market)
    ids = others(64)
    book = {A: Holding(**position(PERP, 64 * WAD)), LENDER: Holding(cash=10**6 * WAD)}
    for i in ids:
        book[i] = Holding(cash=10**5 * WAD, **position(PERP, -WAD))
    write(market, book)
    set_equity(market, A, -1_000 * WAD)
    p = plan(market, PERP, ids)
    assert adl(market, PERP, ids, p.theta) == 1_000 * WAD
    print(f"adl, 64 counterparties of one position, K = 32: {market.gas_used}")
    assert market.gas_used < TRANSACTION // 2
    market.do(CAROL, "accrue")


@pytest.mark.parametrize("kind", ["perp", "call"])
def test_an_instrument_held_in_crumbs_is_closed_in_parts(market: Market, kind: str) -> None:
    """64 counterparties do not hold what the account does: once it is abandoned any 64 will do."""
    instrument, size = KINDS[kind], 10 * WAD
    ids = others(130)
    book = {A: Holding(**position(instrument, size)), LENDER: Holding(cash=10**6 * WAD)}
    crumbs = [size // 130 + n for n in range(129)]
    for i, part in zip(ids, [*crumbs, size - sum(crumbs)], strict=True):
        book[i] = Holding(cash=10**4 * WAD, **position(instrument, -part))
    write(market, book, insurance_wad=100 * WAD)
    set_equity(market, A, -1_000 * WAD)
    total = value(market)
    held = sum(sorted([*crumbs, size - sum(crumbs)])[-64:])
    many = ids[:64]
    refused = adl(market, instrument, many, 0)
    assert isinstance(refused, Revert) and refused.name == "AdlShareTooSmall"
    assert refused.args[0] <= held < refused.args[1] == size
    flag_long_ago(market, A)
    assert adl(market, instrument, many[1:], 0).name == "AdlShareTooSmall"
    left, paid = 1_000 * WAD, market.state.insurance_wad
    for first in (0, 64):
        p = plan(market, instrument, ids[first : first + 64])
        assert p.closed == [
            abs(size_of(market.state.accounts[i], instrument)) for i in ids[first : first + 64]
        ]
        got = adl(market, instrument, ids[first : first + 64], p.theta)
        assert got == p.deficit - p.insured
        paid += got
    assert size_of(market.state.accounts[A], instrument) == size - sum(crumbs[:128])
    p = plan(market, instrument, ids[128:])
    last = adl(market, instrument, ids[128:], p.theta)
    assert size_of(market.state.accounts[A], instrument) == 0
    # parts are rounded up, and every rounding of a close lowers what is left of the deficit
    assert abs(paid + last - left) <= 140
    assert 0 <= market.compare_margin(A).mark_equity <= 140
    assert value(market) == total
