"""Margin backtests in the form that clearing houses publish, one row per portfolio archetype.

The form is that of the CPMI-IOSCO public quantitative disclosure on margin (Principle 6):
observations, how often the loss exceeded the margin held, achieved coverage, peak and average size
of the uncovered part. Added are the tests of `risk.quant.backtest`, and what a reader needs so as
not to be misled by them:

* the pooled Kupiec p-value treats all portfolios of a day as independent, which they are not, so it
  overstates the evidence; therefore the worst single portfolio, whose days do not overlap, has a
  row of its own, with the Basel zone and the test of independence;
* Kupiec rejects in both directions. `verdict` says which: *short* (exceptions above what the
  confidence allows, by the pooled test or for a single portfolio after a Bonferroni correction),
  *dearer* (significantly fewer), or *as stated*.

An exception is a loss strictly above the margin. Sizes in USD.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from risk.quant.backtest import (
    Hits,
    LikelihoodRatio,
    Zone,
    combined,
    coverage,
    independence,
    kupiec,
    traffic_light,
    transitions,
)
from risk.quant.errors import QuantError
from risk.quant.rolling_margin import Rolling
from risk.quant.var import check_alpha

Floats = NDArray[np.float64]
Verdict = Literal["as stated", "short", "dearer"]

ALPHA: Final = 0.99
LEVEL: Final = 0.05  # of every test
ALL: Final = "all"


@dataclass(frozen=True)
class Single:
    """The portfolio of an archetype with most exceptions. `portfolio` counts from 0 within it."""

    portfolio: int
    observations: int
    exceptions: int
    coverage: float
    kupiec_p_value: float
    independence_p_value: float
    conditional_coverage_p_value: float
    zone: Zone


@dataclass(frozen=True)
class Row:
    """One archetype. `largest_exception_of_margin` is the share of the margin of that portfolio on
    that day, infinite where it held none; None without exceptions. `mean_margin_usd` is the capital
    that the coverage costs."""

    archetype: str
    portfolios: int
    observations: int
    exceptions: int
    days_with_exception: int
    coverage: float
    kupiec_statistic: float
    kupiec_p_value: float
    largest_exception_usd: float
    largest_exception_of_margin: float | None
    largest_exception_day: str | None
    average_exception_usd: float
    mean_margin_usd: float
    single: Single
    verdict: Verdict


@dataclass(frozen=True)
class Disclosure:
    """All archetypes and, last, all of them together."""

    alpha: float
    first_day: str
    last_day: str
    days: int
    rows: tuple[Row, ...]

    @property
    def short(self) -> tuple[str, ...]:
        """The archetypes whose coverage is below what is stated."""
        return tuple(r.archetype for r in self.rows if r.verdict == "short")

    def to_json(self) -> dict[str, Any]:
        """For a JSON file; an infinite share is None there, and its size tells."""
        out = asdict(self)
        for row in out["rows"]:
            share = row["largest_exception_of_margin"]
            if share is not None and not np.isfinite(share):
                row["largest_exception_of_margin"] = None
        return {**out, "rows": list(out["rows"]), "short": list(self.short)}


def disclose(
    rolling: Rolling,
    margin_usd: Floats | None = None,
    alpha: float = ALPHA,
    *,
    last_days: int | None = None,
    hourly: bool = False,
) -> Disclosure:
    """Margins (D, P), those of `rolling` if None, against its losses at the end of the margin
    period, or, `hourly`, the largest at any full hour within it; `last_days` of the history only,
    where given."""
    margin = rolling.margin_usd if margin_usd is None else np.asarray(margin_usd, np.float64)
    loss, dates = -(rolling.worst_pnl_usd if hourly else rolling.pnl_usd), rolling.dates
    if margin.shape != loss.shape or not np.isfinite(margin).all():
        raise QuantError(f"margins have shape {margin.shape}, the losses {loss.shape}, finite")
    if last_days is not None:
        if not 2 <= last_days <= dates.size:
            raise QuantError(f"last_days = {last_days} is not within 2 … {dates.size}")
        margin, loss, dates = margin[-last_days:], loss[-last_days:], dates[-last_days:]
    rows = [
        _row(name, loss[:, mine], margin[:, mine], dates, check_alpha(alpha))
        for name in rolling.archetypes
        if (mine := rolling.columns(name)).size
    ]
    rows.append(_row(ALL, loss, margin, dates, alpha))
    return Disclosure(alpha, iso_day(dates[0]), iso_day(dates[-1]), int(dates.size), tuple(rows))


def _row(name: str, loss: Floats, margin: Floats, dates: NDArray[np.int64], alpha: float) -> Row:
    published = coverage(loss.ravel(), margin.ravel(), alpha)
    hit = loss > margin
    pooled = kupiec(published.observations, published.exceptions, 1.0 - alpha)
    singles = [_single(p, hit[:, p], alpha) for p in range(hit.shape[1])]
    worst = max(singles, key=lambda s: s.exceptions)
    share: float | None = None
    day: str | None = None
    if published.exceptions:
        at = np.unravel_index(int(np.argmax(loss - margin)), loss.shape)
        held = float(margin[at])
        share = float(loss[at] - held) / held if held > 0.0 else float("inf")
        day = iso_day(dates[at[0]])
    return Row(
        archetype=name,
        portfolios=hit.shape[1],
        observations=published.observations,
        exceptions=published.exceptions,
        days_with_exception=int(hit.any(axis=1).sum()),
        coverage=published.coverage,
        kupiec_statistic=pooled.statistic,
        kupiec_p_value=pooled.p_value,
        largest_exception_usd=published.largest_exception,
        largest_exception_of_margin=share,
        largest_exception_day=day,
        average_exception_usd=published.average_exception,
        mean_margin_usd=float(margin.mean()),
        single=worst,
        verdict=_verdict(pooled, published.coverage, singles, alpha),
    )


def _single(portfolio: int, hit: Hits, alpha: float) -> Single:
    count = int(hit.sum())
    frequency = kupiec(hit.size, count, 1.0 - alpha)
    independent = independence(*transitions(hit))
    return Single(
        portfolio=portfolio,
        observations=hit.size,
        exceptions=count,
        coverage=1.0 - count / hit.size,
        kupiec_p_value=frequency.p_value,
        independence_p_value=independent.p_value,
        conditional_coverage_p_value=combined(frequency, independent).p_value,
        zone=traffic_light(hit.size, count, 1.0 - alpha).zone,
    )


def _verdict(
    pooled: LikelihoodRatio, covered: float, singles: list[Single], alpha: float
) -> Verdict:
    below = [s for s in singles if s.coverage < alpha]
    if any(s.kupiec_p_value < LEVEL / len(singles) for s in below):
        return "short"
    if not pooled.rejects(LEVEL):
        return "as stated"
    return "short" if covered < alpha else "dearer"


# ------------------------------------------------------------------------------------- one event


@dataclass(frozen=True)
class EventRow:
    """What one margin period did to an archetype: exceptions among its portfolios, and the one that
    came closest to its margin or went furthest beyond. `loss_of_margin` is infinite where a
    portfolio without margin lost."""

    archetype: str
    portfolios: int
    exceptions: int
    loss_usd: float
    margin_usd: float
    loss_of_margin: float


def event(
    rolling: Rolling, day: str, margin_usd: Floats | None = None, *, hourly: bool = False
) -> tuple[EventRow, ...]:
    """The margin period that opens on `day` (ISO date); `QuantError` where the history lacks it."""
    losses = -(rolling.worst_pnl_usd if hourly else rolling.pnl_usd)
    margin = rolling.margin_usd if margin_usd is None else np.asarray(margin_usd, np.float64)
    found = np.flatnonzero([iso_day(t) == day for t in rolling.dates])
    if not found.size:
        raise QuantError(f"no margin period opens on {day}")
    d = int(found[0])
    out = []
    for name in rolling.archetypes:
        mine = rolling.columns(name)
        loss, held = losses[d, mine], margin[d, mine]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(held > 0.0, loss / held, np.where(loss > 0.0, np.inf, -np.inf))
        p = int(np.argmax(ratio))
        out.append(
            EventRow(
                name,
                mine.size,
                int((loss > held).sum()),
                float(loss[p]),
                float(held[p]),
                float(ratio[p]),
            )
        )
    return tuple(out)


def iso_day(time: int | np.int64) -> str:
    """UTC date of a Unix time."""
    return datetime.fromtimestamp(int(time), timezone.utc).strftime("%Y-%m-%d")
