"""Margins and realised P&L of the archetypes, day by day, out of sample: what backtests compare.

Every day at 08:00 UTC the same seeded portfolios of each archetype are opened on the listed
tenors, margined by the exact model (`risk.exact`, whole numbers), held for the margin period and
revalued in full with time decay. Scenario shapes are refitted every `refit_days`, the scales move
every `update_days` by the anti-procyclical rule; neither sees a later price. The schedule and the
parts are those of `risk.quant.scenarios.rolling`; this module keeps the market and the portfolios
of every day with the figures, so that another rule set meets the same days and the same P&L.

    rolling = roll(read_prices(file))                     # a minute or two for 500 days
    other = [my_margin(rolling.market(d)) for d in range(rolling.days)]      # (D, P) in USD
    disclose(rolling, other)                              # risk.quant.clearing

Units: USD; a portfolio has the gross notional `NOTIONAL_USD`. P&L is positive for a profit. Sizes
are in USD of notional at the opening price (units of the underlying times S), one column per
instrument of that day's `Book`, whose values, strikes and P&L are per S = 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from risk.exact.margin.margin_engine import Margin
from risk.quant import archetypes
from risk.quant.data import PriceTable
from risk.quant.errors import DataError
from risk.quant.pricing import black76
from risk.quant.scenarios import exact, factors
from risk.quant.scenarios.book import Book, make_book
from risk.quant.scenarios.calibrate import Settings, calibrate
from risk.quant.scenarios.factors import Factors, Scale
from risk.quant.scenarios.fit import ScenarioSet
from risk.quant.scenarios.rolling import Rolling as Plan
from risk.quant.scenarios.rolling import opening_rows, portfolios, realised, stamp

Floats = NDArray[np.float64]
Tell = Callable[[str], None]

NOTIONAL_USD: Final = 1_000_000
WAD: Final = 10**18
FORMAT: Final = "plumbline rolling margin 1"


@dataclass(frozen=True, eq=False)
class Day:
    """The market at one opening, and what is held there.

    `price` (n,) in USD, `implied` (n,) 30-day volatility a year, `sigma` (n,) forecast standard
    deviation of the log price over the margin period; `sizes_usd` (P, M).
    """

    time: int
    assets: tuple[str, ...]
    price: Floats
    implied: Floats
    sigma: Floats
    book: Book
    sizes_usd: Floats


@dataclass(frozen=True, eq=False)
class Rolling:
    """D days, P portfolios, n underlyings, M instruments.

    `dates` (D,): opening, Unix seconds. `archetypes`: names; `kinds` (P,): index into them.
    `pnl_usd` (D, P): over the margin period that opens there; `worst_pnl_usd`: the lowest of the
    hourly marks within it, so never above. `margin_usd` (D, P): MM; `scan_usd`: its Scan alone;
    `initial_usd`: IM. `margin_wad`: the same MM as the contracts have it, D·P whole numbers in row
    order; the floats are those divided by 1e18. `scales` (D, n): σ in
    force. `about`: data hash, schedule, settings.
    """

    dates: NDArray[np.int64]
    assets: tuple[str, ...]
    archetypes: tuple[str, ...]
    kinds: NDArray[np.int64]
    price: Floats
    implied: Floats
    sigma: Floats
    scales: Floats
    sizes_usd: Floats
    pnl_usd: Floats
    worst_pnl_usd: Floats
    margin_usd: Floats
    scan_usd: Floats
    initial_usd: Floats
    margin_wad: tuple[int, ...]
    about: dict[str, Any]

    @property
    def days(self) -> int:
        """D."""
        return self.dates.size

    @property
    def loss_usd(self) -> Floats:
        """(D, P), positive where money is lost."""
        return np.asarray(-self.pnl_usd)

    def columns(self, archetype: str) -> NDArray[np.int64]:
        """Portfolios of one archetype, along axis 1."""
        return np.flatnonzero(self.kinds == self.archetypes.index(archetype))

    def market(self, day: int) -> Day:
        """The market and the portfolios of one day."""
        return Day(
            int(self.dates[day]),
            self.assets,
            self.price[day],
            self.implied[day],
            self.sigma[day],
            make_book(self.implied[day]),
            self.sizes_usd[day],
        )

    def units(self, day: int) -> Floats:
        """(P, M) sizes in units of the underlying, as a venue counts them."""
        owner = make_book(self.implied[day]).owner
        return np.asarray(self.sizes_usd[day] / self.price[day][owner])

    def write(self, path: Path) -> None:
        """One .npz file, without pickles."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        text = {
            "format": FORMAT,
            "assets": self.assets,
            "archetypes": self.archetypes,
            "margin_wad": [str(m) for m in self.margin_wad],
            "about": self.about,
        }
        np.savez_compressed(path, text=np.array(json.dumps(text)), **arrays)


_ARRAYS: Final = (
    "dates",
    "kinds",
    "price",
    "implied",
    "sigma",
    "scales",
    "sizes_usd",
    "pnl_usd",
    "worst_pnl_usd",
    "margin_usd",
    "scan_usd",
    "initial_usd",
)


def read(path: Path) -> Rolling:
    """What `Rolling.write` wrote; `DataError` for anything else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            text = json.loads(str(file["text"]))
            arrays = {name: file[name] for name in _ARRAYS}
    except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
        raise DataError(path, f"is not a rolling margin file: {error}") from error
    if text.get("format") != FORMAT:
        raise DataError(path, f"has the format {text.get('format')!r}, not {FORMAT!r}")
    return Rolling(
        assets=tuple(text["assets"]),
        archetypes=tuple(text["archetypes"]),
        margin_wad=tuple(int(m) for m in text["margin_wad"]),
        about=text["about"],
        **arrays,
    )


def roll(
    table: PriceTable,
    settings: Settings | None = None,
    plan: Plan | None = None,
    tell: Tell = lambda _: None,
) -> Rolling:
    """The whole history; deterministic. `settings` default to the quick fit, as in the scenario
    documents."""
    settings, plan = settings or Settings.quick(), plan or Plan()
    f = factors.build(table)
    rows = opening_rows(f, plan)
    scenarios: ScenarioSet | None = None
    scale: Scale | None = None
    tau: Floats = np.zeros(0)
    sizes, pnl, worst, margins, scales = [], [], [], [], []
    for d, t in enumerate(rows):
        if scenarios is None or d % plan.refit_days == 0:
            fitted = calibrate(f, t, settings)
            scenarios, tau = fitted.scenarios, fitted.scale.vol
            tell(f"{stamp(f.times[t])}: shapes refitted")
        if scale is None or d % plan.update_days == 0:
            scale = factors.step(scale, Scale(factors.price_scale(f, t), tau))
        book = make_book(f.implied[t])
        held = portfolios(book, plan)
        margins.append(margined(held, book, f, t, scenarios, scale, settings))
        pnl.append(-realised(held, book, f, t) * NOTIONAL_USD)
        path = held @ hourly_changes(book, f, t) * NOTIONAL_USD
        worst.append(np.minimum(path.min(axis=1), pnl[-1]))
        sizes.append(held * NOTIONAL_USD)
        scales.append(scale.price)
        if d % 30 == 0:
            tell(f"{stamp(f.times[t])}: day {d + 1} of {len(rows)}")
    at = np.array(rows)
    return Rolling(
        dates=f.times[at],
        assets=f.assets,
        archetypes=archetypes.ARCHETYPES,
        kinds=np.repeat(np.arange(len(archetypes.ARCHETYPES)), plan.per_kind),
        price=f.price[at],
        implied=f.implied[at],
        sigma=f.sigma[at],
        scales=np.array(scales),
        sizes_usd=np.array(sizes),
        pnl_usd=np.array(pnl),
        worst_pnl_usd=np.array(worst),
        margin_usd=_usd(margins, "mm"),
        scan_usd=_usd(margins, "scan"),
        initial_usd=_usd(margins, "im"),
        margin_wad=tuple(m.mm for day in margins for m in day),
        about={
            "data": table.source,
            "data_sha256": table.sha256(),
            "plan": asdict(plan),
            "settings": asdict(settings),
            "notional_usd": NOTIONAL_USD,
            "margin_period_hours": factors.PERIOD,
        },
    )


def margined(
    sizes: Floats,
    book: Book,
    f: Factors,
    t: int,
    scenarios: ScenarioSet,
    scale: Scale,
    settings: Settings,
) -> list[Margin]:
    """Exact margins of portfolios (P, M), per S = 1, at row t, with `NOTIONAL_USD` of each."""
    params = exact.quantised(scenarios, scale, settings.policy)
    time = int(f.times[t])
    state = exact.make_state(book, [float(p) for p in f.price[t]], time, params)
    return exact.margins(sizes, book, state, time, NOTIONAL_USD)


def hourly_changes(book: Book, f: Factors, t: int) -> Floats:
    """P&L (M, 24) of one unit of every column, per S = 1, at each hour of the margin period that
    opens at row t, with the time decay up to that hour."""
    hours = np.arange(1, factors.PERIOD + 1)
    x = f.price[t + hours] / f.price[t] - 1.0
    v = f.implied[t + hours] / f.implied[t] - 1.0
    moves, options = x[:, book.owner].T, ~book.linear
    days, tenor = book.days[options, None], book.tenor[options, None]
    left = np.maximum(days - hours / 24.0, 0.0) / days
    vols = np.maximum(0.0, 1.0 + v[:, book.owner[options]].T * tenor)
    values = black76(
        1.0 + moves[options],
        book.strike[options, None],
        book.sd[options, None] * vols * np.sqrt(left),
        book.call[options, None],
    )
    moves[options] = values - book.mark[options, None]
    return np.asarray(moves)


def _usd(margins: list[list[Margin]], name: str) -> Floats:
    return np.array([[getattr(m, name) / WAD for m in day] for day in margins], dtype=np.float64)
