"""A book with its market, as the exact model has them, and a book that is drawn.

`RiskBook` is what stress, exposures and what-if work on, wherever the positions come from: the
exact model's `State` (whole numbers), names, and where everything was read. `from_config` makes the
market of a deployment configuration (prices of its mock feeds, its slices, its risk parameters by
the one quantisation of `risk.deploy.quantise`); `draw` fills it with accounts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np

from risk.exact.margin import instrument_id, margin_engine
from risk.exact.state import (
    Account,
    Bucket,
    Collateral,
    Linear,
    Option,
    State,
    Underlying,
)
from risk.quant.errors import QuantError

WAD: Final = 10**18
DAY: Final = 86_400
GENERATED_AT: Final = 1_767_254_400  # 2026-01-01T08:00:00Z
FIRST_FEED: Final = 100
FIRST_TOKEN: Final = 200

KINDS: Final = ("directional", "strangle", "covered", "spread", "pair")


@dataclass(frozen=True, eq=False)
class RiskBook:
    """State, names by index, labels by account id, and where it comes from (`about`, plain JSON:
    for a file its name and SHA-256, for a chain the block's number and hash).
    """

    state: State
    underlyings: tuple[str, ...]
    collaterals: tuple[str, ...]
    labels: Mapping[int, str]
    about: Mapping[str, Any] = field(default_factory=dict)

    def underlying(self, name: str) -> int:
        """Index of an underlying. `QuantError` where there is none of that name."""
        if name not in self.underlyings:
            raise QuantError(f"no underlying {name!r}; the book has {', '.join(self.underlyings)}")
        return self.underlyings.index(name)

    def label(self, account: int) -> str:
        """Name of an account in its file, else its id in hex."""
        return self.labels.get(account, f"0x{account:042x}")

    def held(self) -> list[int]:
        """Every instrument that some account holds, ascending."""
        out: set[int] = set()
        for account in self.state.accounts.values():
            out.update(x.instrument for x in account.linear if x.size_wad)
            out.update(x.instrument for x in account.options)
        return sorted(out)


def from_config(
    path: Path, time: int, prices: Mapping[str, Decimal] | None = None, *, listed: bool = True
) -> RiskBook:
    """The market of a deployment configuration at Unix time `time`, without accounts.

    Underlyings without a mock feed need their price in `prices`. `ConfigError` and `PreflightError`
    as in a deployment. `listed` False leaves out the configured strikes: a file names its own.
    """
    from risk.deploy.config import load_config
    from risk.deploy.quantise import quantise
    from risk.deploy.reports import resolve_expiries, slice_tuple

    config = load_config(path)
    given = dict(prices or {})
    names = tuple(u.name for u in config.underlyings)
    for name in given:
        if name not in names:
            raise QuantError(f"a price for {name!r}, which {path.name} does not list")
    state = State(owner=1, cash_token=2, cash_decimals=config.cash.decimals)
    state.params = quantise(config)
    for u, item in enumerate(config.underlyings):
        price = given.get(item.name, item.feed.price)
        if price is None:
            raise QuantError(f"{path.name} has no price of {item.name}: give one")
        if not price > 0:
            raise QuantError(f"the price of {item.name} must be above 0, got {price}")
        price_wad = int((price * WAD).to_integral_value(ROUND_FLOOR))
        state.underlyings.append(
            Underlying(
                feed=FIRST_FEED + u,
                feed_decimals=item.feed.decimals,
                price_wad=price_wad,
                epoch=1,
                time=time,
                feed_updated_at=time,
                report_time=time,
                stable_price_wad=price_wad,
                funding_time=time,
                previous_price_wad=price_wad,
                previous_time=time,
            )
        )
        for expiry in resolve_expiries(item, price_wad, time, f"underlyings[{u}]"):
            if expiry.slice is None:
                continue
            day, ratio, discount, a, b, rho, m, sigma = slice_tuple(expiry.day, expiry.slice)
            state.buckets[u << 16 | day] = Bucket(
                forward_ratio_wad=ratio,
                discount_wad=discount,
                report_time=time,
                listed=True,
                strikes_wad=list(expiry.strikes_wad) if listed else [],
                a_e9=a,
                b_e9=b,
                rho_e9=rho,
                m_e9=m,
                sigma_e9=sigma,
            )
    for j, token in enumerate(config.collaterals):
        rate = None if token.rate_feed is None else token.rate_feed.price or Decimal(1)
        state.collaterals.append(
            Collateral(
                token=FIRST_TOKEN + j,
                decimals=token.token.decimals,
                underlying=names.index(token.underlying),
                rate_feed=0 if rate is None else FIRST_TOKEN + 100 + j,
                rate_wad=0 if rate is None else int(rate * WAD),
            )
        )
    symbols = tuple(c.token.symbol for c in config.collaterals)
    return RiskBook(state, names, symbols, {}, {"market": path.name, "time": time})


def entry_quote(size_wad: int, price_wad: int) -> int:
    """−size·price, what a position opened at `price_wad` leaves in its quote; rounded down."""
    return -size_wad * price_wad // WAD


def mark_wad(state: State, instrument: int) -> int:
    """Mark of a perp (without funding) or future at the snapshot."""
    data = state.underlyings[instrument_id.underlying(instrument)]
    return margin_engine.linear_mark(state, instrument, data.price_wad, data.time)


def holdings(account: Account) -> list[Linear | Option]:
    """Perps, futures and options of an account."""
    return [*account.linear, *account.options]


def set_open_interest(state: State) -> None:
    """Open interest from the positions: of an instrument the larger of its longs and its shorts,
    of an underlying half of all sizes, but at least the size of its largest holder (DESIGN §3 asks
    for OI ≥ N). On a chain, where positions sum to 0, that is the open interest itself.
    """
    longs: dict[int, int] = {}
    shorts: dict[int, int] = {}
    gross = [0] * len(state.underlyings)
    largest = [0] * len(state.underlyings)
    for account in state.accounts.values():
        mine = [0] * len(state.underlyings)
        for x in holdings(account):
            side = longs if x.size_wad > 0 else shorts
            side[x.instrument] = side.get(x.instrument, 0) + abs(x.size_wad)
            mine[instrument_id.underlying(x.instrument)] += abs(x.size_wad)
        for u, units in enumerate(mine):
            gross[u] += units
            largest[u] = max(largest[u], units)
    for i in longs.keys() | shorts.keys():
        state.open_interest[i] = max(longs.get(i, 0), shorts.get(i, 0))
    for u, data in enumerate(state.underlyings):
        data.open_interest_wad = max(-(-gross[u] // 2), largest[u])


def interest_index(state: State, cash_wad: int) -> int:
    """The index up to which cash counts that is up to date."""
    if cash_wad == 0:
        return 0
    return state.supply_index_e15 if cash_wad > 0 else state.borrow_index_e15


def finish(state: State) -> None:
    """Totals that follow from the accounts."""
    set_open_interest(state)
    state.cash_held_wad = sum(a.cash_wad for a in state.accounts.values()) + state.insurance_wad
    for j, item in enumerate(state.collaterals):
        item.total_held = sum(a.collateral[j] for a in state.accounts.values())


# ------------------------------------------------------------------------------------------ drawing


def draw(market: RiskBook, count: int, seed: int, *, insurance: int = 250_000) -> RiskBook:
    """`market` with `count` traders of five kinds, in turn, their makers, and an insurance fund
    (whole cash).

    directional perps; short strangles; collateral with covered calls; option spreads; long one
    underlying, short another. Makers hold the other side, so that the sizes of every instrument
    sum to zero; E/MM as in `risk.quant.makers`, by the exact engine. Same seed, same book, to the
    wei.
    """
    from risk.quant import makers

    if count < 1:
        raise QuantError("a book needs at least one account")
    rng = np.random.default_rng([seed, 4])
    state = market.state.clone()
    traders = {}
    for i in range(count):
        traders[(i + 1) << 8] = _account(rng, state, KINDS[i % len(KINDS)])
    state.insurance_wad = insurance * WAD
    others = makers.close(state, traders, rng)
    finish(state)
    labels = {
        number: f"{KINDS[i % len(KINDS)]}-{i}" if i < count else f"maker-{i - count}"
        for i, number in enumerate(state.accounts)
    }
    about = {
        **market.about,
        "source": "generated",
        "accounts": len(state.accounts),
        "traders": count,
        "makers": others,
        "seed": seed,
    }
    return RiskBook(state, market.underlyings, market.collaterals, labels, about)


def _account(rng: np.random.Generator, state: State, kind: str) -> Account:
    account = Account()
    u = int(rng.integers(len(state.underlyings)))
    cash = float(np.exp(rng.uniform(np.log(5e3), np.log(5e5))))
    if kind == "directional":
        _perp(account, state, u, cash if rng.random() < 0.65 else -cash)
    elif kind == "strangle":
        strikes, day = _expiry(rng, state, u)
        low, high = len(strikes) // 4, len(strikes) - 1 - len(strikes) // 4
        _option(account, state, u, instrument_id.PUT, day, low, -cash)
        _option(account, state, u, instrument_id.CALL, day, high, -cash)
    elif kind == "covered":
        tokens = [j for j, c in enumerate(state.collaterals) if c.underlying == u]
        if tokens:
            units = cash / (state.underlyings[u].price_wad / WAD)
            held = Decimal(f"{units:.6f}") * 10 ** state.collaterals[tokens[0]].decimals
            account.collateral[tokens[0]] = int(held)
        strikes, day = _expiry(rng, state, u)
        _option(account, state, u, instrument_id.CALL, day, len(strikes) * 3 // 4, -cash)
    elif kind == "spread":
        strikes, day = _expiry(rng, state, u)
        middle = len(strikes) // 2
        side = instrument_id.CALL if rng.random() < 0.5 else instrument_id.PUT
        _option(account, state, u, side, day, middle, cash)
        _option(account, state, u, side, day, min(middle + 2, len(strikes) - 1), -cash)
        _perp(account, state, u, -0.2 * cash)
    else:
        other = (u + 1) % len(state.underlyings)
        _perp(account, state, u, cash)
        _perp(account, state, other, -cash * rng.uniform(0.7, 1.3))
    return account


def _expiry(rng: np.random.Generator, state: State, u: int) -> tuple[Sequence[int], int]:
    keys = sorted(k for k, b in state.buckets.items() if k >> 16 == u and b.strikes_wad)
    if not keys:
        raise QuantError("the market lists no strikes: no options can be drawn")
    key = keys[int(rng.integers(len(keys)))]
    return state.buckets[key].strikes_wad, key & 0xFFFF


def _units(state: State, u: int, cash: float) -> int:
    price = state.underlyings[u].price_wad / WAD
    return int(Decimal(f"{cash / price:.6f}") * WAD)


def _perp(account: Account, state: State, u: int, cash: float) -> None:
    size = _units(state, u, cash)
    if size:
        perp = instrument_id.encode(u, instrument_id.PERP, 0, 0)
        account.linear.append(Linear(perp, size, entry_quote(size, mark_wad(state, perp))))


def _option(
    account: Account, state: State, u: int, kind: int, day: int, strike: int, cash: float
) -> None:
    size = _units(state, u, cash)
    if size:
        account.options.append(Option(instrument_id.encode(u, kind, day, strike), size))
