"""The stable price in initial margin: the real vault and the model side by side, its properties.

``docs/margin.md`` §11.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id as iid
from risk.exact.margin import margin_engine, option_rows, stable_charge
from risk.exact.margin.margin_engine import Margin
from risk.exact.state import Account, Linear, Option, State
from risk.exact.vault import Vault
from tests.market.conftest import empty, listed, twin  # noqa: F401  (fixtures)
from tests.market.market_twin import Twin, key_address
from tests.support.vault_fixtures import EXPIRIES, Market, params
from tests.support.vault_fixtures import market as vault  # noqa: F401  (a fixture)
from tests.support.vault_twin import ALICE, BOB, CAROL, DAY, USD, WAD, account

A, B, C = account(ALICE), account(BOB), account(CAROL)
PERP, BTC_PERP = (iid.encode(u, iid.PERP, 0, 0) for u in (0, 1))
FUTURES = [iid.encode(0, iid.FUTURE, day, 0) for day in EXPIRIES]
OPTIONS = [
    iid.encode(0, kind, day, i)
    for kind in (iid.CALL, iid.PUT)
    for day in EXPIRIES
    for i in (0, 20, 30, 40, 60)
]
PRICE = 3_000


def stable(state: State, price: float, *, u: int = 0, apart: bool = True) -> None:
    """The stable price of ``u``, and whether it counts."""
    state.underlyings[u].stable_price_wad = round(price * 10**9) * 10**9
    state.underlyings[u].stable_apart = apart


def margin_of(state: State, a: Account) -> Margin:
    return margin_engine.compute(state, A, a)


def random_account(rng: Random) -> Account:
    """Collateral, perps, futures and options of both signs, in wei."""

    def size() -> int:
        return rng.choice((-1, 1)) * rng.randrange(1, 30 * WAD)

    a = Account(cash_wad=rng.randrange(-(10**5) * WAD, 10**5 * WAD))
    if rng.random() < 0.5:
        a.collateral[0] = rng.randrange(20 * WAD)
    if rng.random() < 0.5:
        a.collateral[1] = rng.randrange(10**8)
    if rng.random() < 0.6:
        a.linear.append(Linear(PERP, size(), size() * 3_000))
    if rng.random() < 0.3:
        a.linear.append(Linear(BTC_PERP, size() // 20, size() * 3_000))
    a.linear += [Linear(i, size(), 0) for i in FUTURES if rng.random() < 0.4]
    a.options = [Option(i, size()) for i in OPTIONS if rng.random() < 0.3]
    return a


# --------------------------------------------------------------------------- both sides, formula


def exact_charge(state: State, a: Account, u: int) -> Fraction:
    """The formula on fractions, position by position, without the engine's sums."""
    data = state.underlyings[u]
    price, move = data.price_wad, Fraction(data.stable_price_wad - data.price_wad)
    gain = short = Fraction(0)
    assert state.params is not None
    for j, amount in enumerate(a.collateral):
        c = state.params.collaterals[j] if j < len(state.params.collaterals) else None
        if c is not None and c.underlying == u:
            gain += Fraction(amount * 10 ** (18 - c.decimals), WAD) * move
    for x in a.linear:
        if iid.underlying(x.instrument) == u and x.size_wad:
            mark = margin_engine.linear_mark(state, x.instrument, price, data.time)
            gain += Fraction(x.size_wad * mark, WAD) * move / price
    for o in a.options:
        if iid.underlying(o.instrument) == u:
            array = option_rows.array_logic.compute(state, o.instrument)
            delta = option_rows.delta_of(array, o.instrument)
            gain += Fraction(o.size_wad * delta, WAD * 511) * move
            short += Fraction(max(0, -o.size_wad), WAD)
    return max(Fraction(0), short * abs(move) - gain)


@pytest.mark.parametrize("seed", range(40))
def test_vault_and_model_agree(vault: Market, seed: int) -> None:  # noqa: F811
    """Random portfolios, stable prices above and below, one or both underlyings apart: margin to
    the wei, and the charge within rounding of the formula on fractions.
    """
    rng = Random(seed)
    a = random_account(rng)
    vault.state.accounts[A] = a
    stable(vault.state, PRICE * rng.uniform(0.5, 2), apart=rng.random() < 0.8)
    stable(vault.state, 60_000 * rng.uniform(0.5, 2), u=1, apart=rng.random() < 0.5)
    vault.write_state()
    m = vault.compare_margin(A)
    without = margin_of(_calm(vault.state), a)
    assert replace(m, im=0) == replace(without, im=0)  # nothing but IM
    if m.has_obligations:
        exact = sum(
            exact_charge(vault.state, a, u)
            for u in (0, 1)
            if vault.state.underlyings[u].stable_apart
        )
        # two roundings up an underlying, and one unit of value a collateral or position
        assert -1 < m.im - without.im - exact <= 30
    else:
        assert m.im == without.im == 0


def _calm(state: State) -> State:
    """The same state, and no stable price counts."""
    calm = state.clone()
    for data in calm.underlyings:
        data.stable_apart = False
    return calm


def test_charge_equals_on_edges(twin: Twin) -> None:  # noqa: F811
    """The bare formula, at the ends of its ranges and around zero."""
    rng = Random(7)
    edges = [
        (0, 1, 0, 0, 0),
        (1, 1, -1, 0, 0),
        (-1, 3, 1, 0, 0),
        (1, 3, 0, -1, 0),
        (1, 10**25, 0, 511, 1),
        (10**25, 10**6, -(2**110), -(2**112), 2**104 - 1),
        (-(10**25), 10**6, 2**110, 2**112, 2**104 - 1),
        (10**25, 10**6, 2**110, 2**112, 0),
    ]
    edges += [
        (
            rng.randrange(-(10**22), 10**22),
            rng.randrange(10**6, 10**25),
            rng.randrange(-(10**25), 10**25),
            rng.randrange(-(10**24), 10**24),
            rng.randrange(10**21),
        )
        for _ in range(40)
    ]
    for args in edges:
        move, price, value, delta, short = args
        exact = Fraction(short * abs(move) * 511 - delta * move, 511 * WAD)
        exact -= Fraction(value * move, price)
        want = stable_charge.charge(*args)
        assert max(Fraction(0), exact) <= want < max(Fraction(0), exact) + 2
        assert twin.view("stableCharge", *args) == [want]


# ------------------------------------------------------------------------------------ properties


def test_less_favourable_of_the_two_prices() -> None:
    """A long pays where the stable price is below, a short where it is above; never a rebate."""
    for move, value, charged in ((-5, 10, 50), (5, 10, 0), (5, -10, 50), (-5, -10, 0)):
        assert stable_charge.charge(move * WAD, WAD, value * WAD, 0, 0) == charged * WAD
    # a short option pays for either direction: what its delta says, and one more
    for move in (-5, 5):
        assert stable_charge.charge(move * WAD, WAD, 0, -255 * WAD, WAD) > 0


@pytest.mark.parametrize("seed", range(30))
def test_D39_splitting_an_account_never_lowers_the_sum(vault: Market, seed: int) -> None:  # noqa: F811
    """IM of the whole ≤ Σ IM of the parts + rounding, also with the charge; and IM ≥ MM."""
    rng = Random(1_000 + seed)
    state = vault.state
    stable(state, PRICE * rng.uniform(0.6, 1.6))
    whole = random_account(rng)
    whole.cash_wad = -1  # everybody owes, so everybody is scanned
    parts = [Account(cash_wad=-1), Account(cash_wad=-1), Account(cash_wad=-1)]
    for j, amount in enumerate(whole.collateral):
        cut = rng.randrange(amount + 1)
        parts[0].collateral[j], parts[1].collateral[j] = cut, amount - cut
    for x in whole.linear:
        cut = rng.randrange(-abs(x.size_wad), abs(x.size_wad) + 1)
        rng.choice(parts).linear.append(Linear(x.instrument, cut, 0))
        other = next(p for p in parts if all(y.instrument != x.instrument for y in p.linear))
        other.linear.append(Linear(x.instrument, x.size_wad - cut, 0))
    for o in whole.options:
        first, second = rng.sample(parts, 2)
        cut = rng.randrange(-abs(o.size_wad), 2 * abs(o.size_wad))
        first.options.append(Option(o.instrument, cut))
        second.options.append(Option(o.instrument, o.size_wad - cut))
    for p in parts:
        p.linear = [x for x in p.linear if x.size_wad]
        p.options = [o for o in p.options if o.size_wad]
    margins = [margin_of(state, p) for p in parts]
    merged = margin_of(state, whole)
    assert merged.im <= sum(m.im for m in margins) + 10**6
    assert all(m.im >= m.mm for m in [*margins, merged])


def test_homogeneous(vault: Market) -> None:  # noqa: F811
    """Twice the account, twice the charge ± rounding."""
    rng = Random(5)
    stable(vault.state, 2_400)
    for _ in range(20):
        a = random_account(rng)
        a.cash_wad = -1
        double = Account(
            cash_wad=-1,
            collateral=[2 * x for x in a.collateral],
            linear=[Linear(x.instrument, 2 * x.size_wad, 2 * x.quote_wad) for x in a.linear],
            options=[Option(o.instrument, 2 * o.size_wad) for o in a.options],
        )
        calm = _calm(vault.state)
        charges = [margin_of(vault.state, x).im - margin_of(calm, x).im for x in (a, double)]
        assert abs(charges[1] - 2 * charges[0]) <= 60


# ----------------------------------------------------------------------------------- attacks


def defended(vault: Market, on: bool, **changes: Any) -> None:  # noqa: F811
    """10 % a day, band 3 %; snapshots and slices taken anew."""
    fields = {"stable_rate_bps_per_day": 1_000, "stable_band_bps": 300} if on else {}
    p = params()
    p = replace(p, underlyings=tuple(replace(u, **fields) for u in p.underlyings), **changes)
    vault.set_params(p)
    for u, price in enumerate((PRICE, 60_000)):
        vault.set_price(u, price)
        vault.report(u)


def pumped(vault: Market, factor: float = 1.5) -> None:  # noqa: F811
    """The index of underlying 0 is pushed, and stands for an hour."""
    vault.warp(3_601)
    vault.set_price(0, PRICE * factor)
    vault.set_price(1, 60_000)
    vault.report(0)
    vault.report(1)


def take_all(vault: Market) -> int:  # noqa: F811
    """The most cash Alice can withdraw, by bisection on the model; then she does, on both sides."""
    low, high = 0, 10**7 * USD
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _attempt(vault, middle) is None else (low, middle)
    if low:
        assert vault.do(ALICE, "withdraw", A, vault.cash, low, key_address(ALICE)) == low
    return low


def _attempt(vault: Market, amount: int) -> ModelRevert | None:  # noqa: F811
    """A withdrawal on a copy of the model."""
    model = Vault(vault.state.clone(), copy.deepcopy(vault.world))
    try:
        model.withdraw(key_address(ALICE), A, vault.cash, amount, key_address(ALICE))
    except ModelRevert as error:
        return error
    return None


@pytest.mark.parametrize("on", [False, True])
def test_A19_pump_and_borrow(vault: Market, on: bool) -> None:  # noqa: F811
    """Mango: one owner long in one account, short in another; the index is pushed up by half and
    the profit withdrawn.  The price comes back.  Without the defence the vault keeps a debt; with
    it nothing can be taken that the stable price does not cover.
    """
    defended(vault, on)
    size = 100 * WAD
    vault.put(
        A, cash=80_000 * WAD, linear=[(PERP, size, -PRICE * size)], mirror=B
    )  # both healthy at 3 000
    vault.state.accounts[B].cash_wad = 80_000 * WAD
    vault.state.accounts[C] = Account(cash_wad=10**6 * WAD)
    vault.settle_totals()
    vault.write_state()
    pumped(vault)
    taken = take_all(vault)
    # the price comes back: what she has left at the old price is what she put in less what she took
    equity = vault.state.accounts[A].cash_wad + sum(
        x.size_wad * PRICE + x.quote_wad for x in vault.state.accounts[A].linear
    )
    if on:
        assert equity > 0
        assert taken < 80_000 * USD
    else:
        assert taken > 80_000 * USD and equity < 0


@pytest.mark.parametrize("on", [False, True])
def test_A19_pump_collateral_and_borrow(vault: Market, on: bool) -> None:  # noqa: F811
    """The same with collateral: 100 of it, pushed to twice its price, borrowed against."""
    defended(vault, on)
    vault.put(A, cash=0, collateral={0: 100 * WAD})
    vault.state.accounts[C] = Account(cash_wad=10**6 * WAD)
    vault.settle_totals()
    vault.write_state()
    pumped(vault, 2)
    worth = 100 * PRICE * USD
    assert (take_all(vault) < worth) is on


@pytest.mark.parametrize("on", [False, True])
def test_A19_push_down_and_sell_puts_back(vault: Market, on: bool) -> None:  # noqa: F811
    """Pushed down: the short side cannot withdraw its profit either."""
    defended(vault, on)
    size = 100 * WAD
    vault.put(A, cash=80_000 * WAD, linear=[(PERP, -size, PRICE * size)], mirror=B)
    vault.state.accounts[B].cash_wad = 80_000 * WAD
    vault.state.accounts[C] = Account(cash_wad=10**6 * WAD)
    vault.settle_totals()
    vault.write_state()
    pumped(vault, 0.6)
    taken = take_all(vault)
    assert (taken < 80_000 * USD) is on


def test_A19_a_price_that_stays_is_believed(vault: Market) -> None:  # noqa: F811
    """10 % a day: after five days at 4 500 the stable price has arrived and IM is as without it."""
    defended(vault, True)
    vault.put(A, cash=80_000 * WAD, linear=[(PERP, 100 * WAD, -PRICE * 100 * WAD)], mirror=B)
    pumped(vault)
    charged = vault.compare_margin(A)
    for _ in range(5):
        vault.warp(DAY)
        vault.set_price(0, 4_500)
        vault.report(0)
    arrived = vault.compare_margin(A)
    assert not vault.state.underlyings[0].stable_apart
    assert charged.im - arrived.im == 100 * 1_500 * WAD
    assert charged.mm == arrived.mm


def test_A19_unrealised_profit_beyond_the_cap_stays(vault: Market) -> None:  # noqa: F811
    """Without a stable price but with a cap: at most the cap of the paper profit counts towards a
    withdrawal; it still keeps the account healthy and lets it trade.
    """
    defended(vault, False, unrealised_cap_usd=20_000)
    vault.put(A, cash=200_000 * WAD, linear=[(PERP, 100 * WAD, -PRICE * 100 * WAD)], mirror=B)
    vault.state.accounts[B].cash_wad = 10**6 * WAD
    vault.settle_totals()
    vault.write_state()
    pumped(vault)
    m = vault.compare_margin(A)
    taken = take_all(vault)
    # E' = cash + cap ≥ IM, to the unit of the token
    assert 0 <= (m.equity - 130_000 * WAD - m.im) - taken * 10**12 < 10**12
    assert vault.trade(ALICE, BOB, PERP, WAD, 4_500 * WAD) is None
