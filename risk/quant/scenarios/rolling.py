"""Rolling out-of-sample backtest of the on-chain margin, per portfolio archetype.

Every day at 08:00 UTC the same portfolios (seeded, `per_kind` of each archetype) are opened anew on
the listed tenors and strikes, margined by the exact model, and held for the margin period; the
realised loss is a full revaluation with time decay. The scenario shapes are refitted every
`refit_days` on all data up to that day, the scales follow every `update_days` by the
anti-procyclical rule within the step limits. Nothing sees a later price.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from risk.quant import archetypes
from risk.quant.backtest import coverage, hits, kupiec
from risk.quant.data import PriceTable
from risk.quant.errors import QuantError
from risk.quant.scenarios import exact, factors
from risk.quant.scenarios.book import Book, make_book, value_changes
from risk.quant.scenarios.calibrate import Settings, calibrate
from risk.quant.scenarios.factors import PERIOD, Factors, Scale
from risk.quant.scenarios.fit import ScenarioSet

Floats = NDArray[np.float64]
Tell = Callable[[str], None]

ALPHA: Final = 0.99  # the coverage that clearing houses publish
OPENING_HOUR: Final = 8
WAD: Final = 10**18


@dataclass(frozen=True)
class Rolling:
    """The schedule. `train_days` of data before the first day."""

    train_days: int = 180
    days: int = 10_000  # at most
    refit_days: int = 90
    update_days: int = 7
    per_kind: int = 5
    seed: int = 11


@dataclass(frozen=True, eq=False)
class History:
    """Per day and portfolio (D, P): realised loss, exact Scan and MM, by unit of gross notional."""

    times: NDArray[np.int64]
    kinds: NDArray[np.int64]
    loss: Floats
    scan: Floats
    mm: Floats
    scales: Floats  # (D, n)


def run(
    table: PriceTable, settings: Settings, plan: Rolling, tell: Tell = lambda _: None
) -> History:
    """The whole backtest; deterministic."""
    f = factors.build(table)
    days = opening_rows(f, plan)
    scenarios: ScenarioSet | None = None
    scale: Scale | None = None
    tau: Floats = np.zeros(0)
    out: list[tuple[Floats, ...]] = []
    kinds = np.repeat(np.arange(len(archetypes.ARCHETYPES)), plan.per_kind)
    for d, t in enumerate(days):
        if scenarios is None or d % plan.refit_days == 0:
            result = calibrate(f, t, settings, tell=lambda _: None)
            scenarios, tau = result.scenarios, result.scale.vol
            tell(f"{stamp(f.times[t])}: shapes refitted")
        if scale is None or d % plan.update_days == 0:
            scale = factors.step(scale, Scale(factors.price_scale(f, t), tau))
        book = make_book(f.implied[t])
        sizes = portfolios(book, plan)
        scan, mm = margined(sizes, book, f, t, scenarios, scale, settings)
        out.append((realised(sizes, book, f, t), scan, mm, scale.price))
        if d % 30 == 0:
            tell(f"{stamp(f.times[t])}: day {d + 1} of {len(days)}")
    loss, scan_, mm_, scales = (np.array(column) for column in zip(*out, strict=True))
    return History(f.times[np.array(days)], kinds, loss, scan_, mm_, scales)


def opening_rows(f: Factors, plan: Rolling) -> list[int]:
    """Rows at 08:00 UTC after the training time whose margin period ends in the table."""
    hour = (f.times // 3600) % 24
    first, last = f.first + plan.train_days * 24, f.move.shape[0]
    rows = [t for t in range(first, last) if hour[t] == OPENING_HOUR][: plan.days]
    if len(rows) < 2:
        raise QuantError(f"no day left to test after {plan.train_days} days of training")
    return rows


def portfolios(book: Book, plan: Rolling) -> Floats:
    """(P, M): the same structures every day."""
    return np.vstack(
        [archetypes.sample(kind, book, plan.per_kind, plan.seed) for kind in archetypes.ARCHETYPES]
    )


def margined(
    sizes: Floats,
    book: Book,
    f: Factors,
    t: int,
    scenarios: ScenarioSet,
    scale: Scale,
    settings: Settings,
) -> tuple[Floats, Floats]:
    """Exact (Scan, MM) per unit of gross notional at row t."""
    params = exact.quantised(scenarios, scale, settings.policy)
    time = int(f.times[t])
    state = exact.make_state(book, [float(p) for p in f.price[t]], time, params)
    found = exact.margins(sizes, book, state, time)
    unit = 10**6 * WAD
    return np.array([m.scan / unit for m in found]), np.array([m.mm / unit for m in found])


def realised(sizes: Floats, book: Book, f: Factors, t: int) -> Floats:
    """Losses (P,) of the margin period that starts at row t."""
    x = np.expm1(f.move[t : t + 1])
    v = np.expm1(f.vol_move[t : t + 1])
    return np.asarray(-(sizes @ value_changes(book, x, v, aged=True))[:, 0])


def stamp(time: int | np.int64) -> str:
    """ISO date."""
    return datetime.fromtimestamp(int(time), timezone.utc).strftime("%Y-%m-%d")


def summary(history: History) -> dict[str, Any]:
    """Per archetype, in the form that clearing houses publish, for MM and for Scan alone."""
    rows = [_kind(history, i, name) for i, name in enumerate(archetypes.ARCHETYPES)]
    pace = history.scales[1:] / history.scales[:-1] - 1.0
    return {
        "first_day": stamp(history.times[0]),
        "last_day": stamp(history.times[-1]),
        "days": int(history.times.size),
        "margin_period_hours": PERIOD,
        "alpha": ALPHA,
        "archetypes": rows,
        "largest_scale_increase": float(pace.max(initial=0.0)),
        "largest_scale_decrease": float(pace.min(initial=0.0)),
        "peak_to_trough": [float(p) for p in history.scales.max(0) / history.scales.min(0)],
    }


def _kind(history: History, index: int, name: str) -> dict[str, Any]:
    mine = history.kinds == index
    loss = history.loss[:, mine]
    out: dict[str, Any] = {"archetype": name, "portfolios": int(mine.sum())}
    for label, required in (("mm", history.mm[:, mine]), ("scan", history.scan[:, mine])):
        whole = coverage(loss.ravel(), required.ravel(), ALPHA)
        each = [
            kupiec(loss.shape[0], int(hits(loss[:, p], required[:, p]).sum()), 1.0 - ALPHA)
            for p in range(loss.shape[1])
        ]
        counts = (loss > required).sum(axis=0)
        too_many = [
            k.rejects() and c > loss.shape[0] * (1.0 - ALPHA)
            for k, c in zip(each, counts, strict=True)
        ]
        days = (loss > required).any(axis=1)
        at = int(np.argmax((loss - required).max(axis=1)))
        worst = float((loss - required).max())
        column = int(np.argmax(loss[at] - required[at]))
        out[label] = {
            **asdict(whole),
            "kupiec_p_value": kupiec(whole.observations, whole.exceptions, 1.0 - ALPHA).p_value,
            "portfolios_rejected_for_too_many": int(sum(too_many)),
            "days_with_exception": int(days.sum()),
            "largest_exception_day": stamp(history.times[at]) if worst > 0.0 else None,
            "largest_exception_of_margin": (
                worst / float(required[at, column])
                if worst > 0.0 and required[at, column] > 0.0
                else None
            ),
            "mean_margin": float(required.mean()),
        }
    return out
