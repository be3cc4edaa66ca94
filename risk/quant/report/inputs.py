"""What a report is made of, and the book as one portfolio."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from risk.exact.margin import instrument_id
from risk.exact.state import State
from risk.quant.book_market import RiskBook, holdings
from risk.quant.book_var import Today
from risk.quant.data import PriceTable
from risk.quant.errors import QuantError
from risk.quant.holdings import Holding
from risk.quant.scenarios.book import YEAR_DAYS
from risk.quant.whatif import Measure

if TYPE_CHECKING:
    from risk.quant.replay import Request
    from risk.quant.rolling_margin import Rolling

WAD: Final = 10**18
E9: Final = 10**9
DAY: Final = 86_400


@dataclass(frozen=True)
class Sizes:
    """How much is computed; the defaults make a report in well under a minute of a quiet core."""

    days: int = 180
    refit_days: int = 180
    per_kind: int = 3
    paths: int = 10_000
    repetitions: int = 400
    debt_days: int = 90
    names: int = 12  # accounts and fields named in a table


@dataclass(frozen=True, eq=False)
class Inputs:
    """`book`: None with `no_book`, the reason, where the positions name no accounts; then
    `portfolio` holds them. `rolling`: a stored history instead of a new one. `request`: of the
    recommendation, None with `no_request`. `what_if`: moves by name as `plumbline stress` has them,
    `moves`: the same by underlying of the book, (prices, volatilities). `listed`: names of all
    underlyings of the parameters; `columns`: places of the book's among them, None: all;
    `left_out`: sentences that say what `--assets` left out.
    `files`: name and SHA-256 of each input; `commands`: how to make every part again.
    """

    table: PriceTable
    book: RiskBook | None
    portfolio: tuple[Holding, ...]
    what_if: Mapping[str, Decimal]
    moves: tuple[Sequence[Decimal], Sequence[Decimal]]
    seed: int
    request: Request | None
    sizes: Sizes = field(default_factory=Sizes)
    rolling: Rolling | None = None
    no_book: str = ""
    no_request: str = ""
    date: str | None = None
    generated: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    columns: tuple[int, ...] | None = None
    left_out: tuple[str, ...] = ()
    files: Sequence[Mapping[str, str]] = ()
    commands: Sequence[str] = ()


def largest_account(book: RiskBook) -> int:
    """The account with the largest maintenance margin; ties: the lowest id. `QuantError` where no
    account has one."""
    view = Measure(book).view()
    known = [(view.mm[int(i)], -view.ids[int(i)]) for i in view.known() if view.mm[int(i)]]
    if not known:
        raise QuantError("no account has a maintenance margin")
    return -max(known)[1]


def nets_to_zero(book: RiskBook) -> bool:
    """Whether the sizes of every instrument sum to zero, as on a chain."""
    sums: dict[int, int] = {}
    for account in book.state.accounts.values():
        for x in holdings(account):
            sums[x.instrument] = sums.get(x.instrument, 0) + x.size_wad
    return not any(sums.values())


def today(book: RiskBook, assets: Sequence[str]) -> Today | None:
    """Prices of the assets and time of a book that was read from a chain; None for any other, whose
    market was made at the last prices."""
    if book.about.get("source") != "chain":
        return None
    prices = [book.state.underlyings[book.underlying(name)].price_wad / WAD for name in assets]
    return Today(np.array(prices), int(book.about["time"]))


def as_portfolio(book: RiskBook, only: Collection[int] | None = None) -> tuple[Holding, ...]:
    """All accounts of a book together (or `only` these), netted instrument by instrument, exactly;
    cash left out, and on a chain what has expired and waits for its settlement.

    A collateral counts as its underlying times its rate. Options carry the volatility of the
    vault's own slice at their strike.
    """
    state, units, held = book.state, dict[int, int](), [0] * len(book.collaterals)
    for number, account in state.accounts.items():
        if only is not None and number not in only:
            continue
        for x in holdings(account):
            units[x.instrument] = units.get(x.instrument, 0) + x.size_wad
        for j in range(len(held)):  # an account has a slot for every possible collateral
            held[j] += account.collateral[j]
    out = []
    for j, amount in enumerate(held):
        if amount:
            item = state.collaterals[j]
            worth = Decimal(amount) / 10**item.decimals
            if item.rate_wad:
                worth = worth * item.rate_wad / WAD
            out.append(Holding(book.underlyings[item.underlying], "collateral", worth))
    for i in sorted(units):
        if units[i] and not _expired(book, i):
            out.append(_holding(book, i, Decimal(units[i]) / WAD))
    return tuple(out)


def _expired(book: RiskBook, i: int) -> bool:
    perp = instrument_id.kind(i) == instrument_id.PERP
    return not perp and instrument_id.expiry(i) <= int(book.about.get("time", 0))


def _holding(book: RiskBook, i: int, units: Decimal) -> Holding:
    asset = book.underlyings[instrument_id.underlying(i)]
    kind = ("perp", "future", "call", "put")[instrument_id.kind(i)]
    if kind == "perp":
        return Holding(asset, kind, units)
    expiry = instrument_id.expiry_day(i) * DAY + instrument_id.EXPIRY_TIME_OF_DAY
    if kind == "future":
        return Holding(asset, kind, units, expiry=expiry)
    bucket = book.state.buckets[instrument_id.bucket_key(i)]
    strike = Decimal(bucket.strikes_wad[instrument_id.strike_index(i)]) / WAD
    return Holding(asset, kind, units, strike, expiry, _volatility(book.state, i, strike, expiry))


def _volatility(state: State, i: int, strike: Decimal, expiry: int) -> float | None:
    """A year, of the slice at the strike; None where the slice has none."""
    u = instrument_id.underlying(i)
    bucket, data = state.buckets[instrument_id.bucket_key(i)], state.underlyings[u]
    forward = data.price_wad * bucket.forward_ratio_wad / WAD / WAD
    years = (expiry - data.time) / DAY / YEAR_DAYS
    if forward <= 0.0 or years <= 0.0:
        return None
    a, b, rho, m, sigma = (
        v / E9 for v in (bucket.a_e9, bucket.b_e9, bucket.rho_e9, bucket.m_e9, bucket.sigma_e9)
    )
    k = float(np.log(float(strike) / forward)) - m
    variance = a + b * (rho * k + float(np.hypot(k, sigma)))
    return float(np.sqrt(variance / years)) if variance > 0.0 else None


def plain(value: Any) -> Any:
    """The value with plain Python numbers; NaN and infinities become None, tuples lists."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value
