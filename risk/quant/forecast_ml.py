"""A machine-learning forecast of daily variance, accepted only where it beats EWMA out of sample.

Target: realised variance RV of the next day (sum of 24 squared hourly returns). Features of the HAR
kind (Corsi), in logs and relative to the EWMA: RV of 1, 7 and 30 days, downside and range parts,
the last return, the mean over the assets, the weekday. The model (scikit-learn: ridge, or
histogram gradient boosting) learns the *correction* ln(RV/EWMA), one model for all assets, and its
level is set on the training days so that mean(RV/h) = 1, where QLIKE is least. Walk-forward: a
model fitted at day t has seen targets that ended by day t, and stands for `refit` days.

A forecast h of variance is *accepted* against an EWMA if all three hold out of sample:

1. QLIKE = RV/h - ln(RV/h) - 1 is lower: Diebold-Mariano on the daily differences (mean over the
   assets), Newey-West variance with Bartlett weights, the small-sample factor of Harvey, Leybourne
   and Newbold, Student t, one-sided, p < `LEVEL`;
2. coverage is closer to the stated one: both forecasts state a band |r| <= q·sqrt(h), q the
   `alpha`-quantile of |r|/sqrt(h) over the days before (of the same forecast), and days are put
   into three equal bins by the ratio of the two forecasts, where they disagree. The mean over the
   bins of |coverage - alpha| must be smaller than the EWMA's, and the quantile score of the band
   lower by the same Diebold-Mariano test;
3. the band's coverage over all days is not rejected by Kupiec at `LEVEL`.

It must beat every EWMA of `DECAYS`; otherwise it is reported as rejected, with the reasons.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from risk.quant.backtest import kupiec
from risk.quant.data import HOUR, PriceTable
from risk.quant.errors import FitError, QuantError
from risk.quant.threads import one_thread
from risk.quant.var import check_alpha
from risk.quant.volatility import ewma_variance

Floats = NDArray[np.float64]
Model = Literal["ridge", "boosting"]

DAY_HOURS: Final = 24
LAGS: Final = (1, 7, 30)
DECAYS: Final = (0.94, 0.97)  # a day: RiskMetrics, and that of the margin's own scale
LEVEL: Final = 0.05
BINS: Final = 3
MIN_DAYS: Final = 120  # out of sample, below which nothing is accepted
TINY: Final = 1e-12  # variance of a day without any move


@dataclass(frozen=True)
class Settings:
    """`train` days before the first forecast, all earlier days afterwards; `burn` out-of-sample
    days that only feed the band's quantile; `alpha` of the band |r| <= q·σ."""

    model: Model = "boosting"
    train: int = 240
    refit: int = 30
    burn: int = 60
    alpha: float = 0.95
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Daily:
    """Whole days, oldest first: realised variance, return, downside share of RV, (D, n) each;
    `ewma` (D + 1, n, len(DECAYS)): daily variance known before each day, the last for the day after
    the table; `ended` (D,): Unix seconds of the end of the day."""

    assets: tuple[str, ...]
    ended: NDArray[np.int64]
    realised: Floats
    moves: Floats
    downside: Floats
    ewma: Floats


def daily(table: PriceTable) -> Daily:
    """Days of 24 hourly returns that end with the table; an incomplete first day is left out. The
    EWMA runs over the hourly squares."""
    if table.step_seconds != HOUR:
        raise QuantError(f"hourly prices are expected, the step is {table.step_seconds} s")
    returns = table.log_returns()
    days = returns.shape[0] // DAY_HOURS
    if days < max(LAGS) + 2:
        raise FitError(f"{days} whole days; at least {max(LAGS) + 2} are needed")
    returns = returns[returns.shape[0] - days * DAY_HOURS :]
    shaped = returns.reshape(days, DAY_HOURS, -1)
    squares = shaped**2
    realised = np.maximum(squares.sum(axis=1), TINY)
    flat = returns**2
    start = np.maximum(flat[: max(LAGS) * DAY_HOURS].mean(axis=0), TINY / DAY_HOURS)
    paths = [
        DAY_HOURS * ewma_variance(flat, decay ** (1 / DAY_HOURS), start)[::DAY_HOURS]
        for decay in DECAYS
    ]
    return Daily(
        assets=table.assets,
        ended=table.times[table.times.size - 1 - DAY_HOURS * np.arange(days)[::-1]],
        realised=realised,
        moves=shaped.sum(axis=1),
        downside=(squares * (shaped < 0.0)).sum(axis=1) / realised,
        ewma=np.stack(paths, axis=-1),
    )


def features(d: Daily) -> Floats:
    """(D + 1, n, F): row t holds what is known before day t; the first max(LAGS) rows are NaN."""
    days, n = d.realised.shape
    base = np.log(d.ewma[:, :, -1])
    total = np.concatenate([np.zeros((1, n)), np.cumsum(d.realised, axis=0)])
    out = np.full((days + 1, n, len(LAGS) + 8), np.nan)
    rows = np.arange(max(LAGS), days + 1)
    means = [np.log((total[rows] - total[rows - lag]) / lag) for lag in LAGS]
    now = base[rows]
    level = [mean - now for mean in means]
    sd = np.sqrt(d.ewma[rows, :, -1])
    weekday = 2.0 * np.pi * (_weekday(d, rows) / 7.0)
    columns = [
        *level,
        np.log(d.ewma[rows, :, 0]) - now,
        d.downside[rows - 1],
        d.moves[rows - 1] / sd,
        np.abs(d.moves[rows - 1]) / sd,
        now - np.nanmean(now, axis=1, keepdims=True),
        np.broadcast_to(level[0].mean(axis=1, keepdims=True), now.shape),
        np.broadcast_to(np.sin(weekday)[:, None], now.shape),
        np.broadcast_to(np.cos(weekday)[:, None], now.shape),
    ]
    out[rows] = np.stack(columns, axis=-1)
    return out


def _weekday(d: Daily, rows: NDArray[np.int64]) -> Floats:
    """Day of the week of the day that begins after row t - 1 ends: a matter of the calendar."""
    first = d.ended[0] - DAY_HOURS * HOUR
    return np.asarray(((first // 86_400 + rows) % 7).astype(np.float64))


# ------------------------------------------------------------------------------------ walk-forward


def walk_forward(d: Daily, settings: Settings) -> Floats:
    """Out-of-sample daily variances (D - first + 1, n) from day first = max(LAGS) + train; the last
    row is the forecast for the day after the table."""
    x = features(d)
    days, n = d.realised.shape
    first = max(LAGS) + settings.train
    if settings.train < 60 or settings.refit < 1 or days - first < 2:
        raise FitError(f"{days} days are too few for {settings.train} days of training")
    target = np.log(d.realised) - np.log(d.ewma[:-1, :, -1])
    out = np.empty((days + 1 - first, n))
    for t in range(first, days + 1, settings.refit):
        past = slice(max(LAGS), t)
        predict = _fit(x[past].reshape(-1, x.shape[2]), target[past].ravel(), settings)
        ratio = np.exp(target[past] - predict(x[past].reshape(-1, x.shape[2])).reshape(-1, n))
        stop = min(t + settings.refit, days + 1)
        ahead = predict(x[t:stop].reshape(-1, x.shape[2])).reshape(-1, n)
        out[t - first : stop - first] = d.ewma[t:stop, :, -1] * np.exp(ahead) * ratio.mean(axis=0)
    return out


def _fit(x: Floats, y: Floats, settings: Settings) -> Callable[[Floats], Floats]:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if settings.model == "ridge":
        model: Any = make_pipeline(StandardScaler(), Ridge(alpha=10.0))
    elif settings.model == "boosting":
        model = HistGradientBoostingRegressor(
            max_iter=80,
            learning_rate=0.05,
            max_leaf_nodes=8,
            min_samples_leaf=40,
            l2_regularization=5.0,
            early_stopping=False,
            random_state=settings.seed,
        )
    else:
        raise QuantError(f"unknown model {settings.model!r}; there are ridge and boosting")
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x, y)

    def predict(rows: Floats) -> Floats:
        with one_thread():
            return np.asarray(model.predict(rows), dtype=np.float64)

    return predict


# ------------------------------------------------------------------------------------------- tests


@dataclass(frozen=True)
class DieboldMariano:
    """Mean of the loss differences (challenger - benchmark) and the one-sided p-value of a mean not
    below 0: small means that the challenger is better."""

    mean: float
    statistic: float
    p_value: float
    lags: int


def diebold_mariano(challenger: Floats, benchmark: Floats) -> DieboldMariano:
    """Losses (T,) of one-step forecasts of the same days. Newey-West with floor(4(T/100)^(2/9))
    Bartlett lags; factor sqrt((T + 1 - 2h + h(h - 1)/T)/T) with h = 1; t with T - 1 degrees."""
    from scipy.special import stdtr

    gap = np.asarray(challenger, np.float64) - np.asarray(benchmark, np.float64)
    if gap.ndim != 1 or gap.size < 10 or not np.isfinite(gap).all():
        raise QuantError(f"loss differences of shape {gap.shape}; ten finite ones are needed")
    size, mean = gap.size, float(gap.mean())
    lags = int(4.0 * (size / 100.0) ** (2.0 / 9.0))
    centred = gap - mean
    variance = float(centred @ centred) / size
    for lag in range(1, lags + 1):
        weight = 1.0 - lag / (lags + 1.0)
        variance += 2.0 * weight * float(centred[lag:] @ centred[:-lag]) / size
    if variance <= 0.0:
        return DieboldMariano(mean, 0.0, 1.0, lags)  # equal forecasts: nothing is better
    factor = np.sqrt((size - 1.0) / size)
    statistic = mean / np.sqrt(variance / size) * factor
    return DieboldMariano(mean, float(statistic), float(stdtr(size - 1, statistic)), lags)


def qlike_losses(realised: Floats, forecast: Floats) -> Floats:
    """RV/h - ln(RV/h) - 1, element by element."""
    ratio = realised / forecast
    return np.asarray(ratio - np.log(ratio) - 1.0)


def bands(moves: Floats, forecast: Floats, alpha: float, burn: int) -> Floats:
    """Half-width (T - burn, n) of the band |r| <= q·sqrt(h) for days burn … T - 1: q is the
    `alpha`-quantile of |r|/sqrt(h) over all assets and the days before."""
    size = np.abs(moves) / np.sqrt(forecast)
    q = np.array([np.quantile(size[:t], alpha) for t in range(burn, size.shape[0])])
    return np.asarray(q[:, None] * np.sqrt(forecast[burn:]))


# --------------------------------------------------------------------------------------- judgement


@dataclass(frozen=True)
class Score:
    """One forecast out of sample. `coverage_error` is the mean over the bins of
    |coverage - alpha|."""

    qlike: float
    coverage: float
    coverage_by_bin: tuple[float, ...]
    coverage_error: float
    quantile_score: float
    kupiec_p_value: float


@dataclass(frozen=True)
class Judgement:
    """Challenger against one EWMA. `reasons` is empty where it is accepted."""

    benchmark: str
    challenger: Score
    ewma: Score
    qlike_test: DieboldMariano
    quantile_test: DieboldMariano
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Forecast:
    """The verdict, and the forecast for the day after the table: `next_sigma` (n,) a day, that of
    the model where it is accepted, of the last EWMA of `DECAYS` where not; `method` says which."""

    model: Model
    assets: tuple[str, ...]
    days: int
    accepted: bool
    judgements: tuple[Judgement, ...]
    next_sigma: Floats
    method: str

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was rejected."""
        return tuple(f"{j.benchmark}: {why}" for j in self.judgements for why in j.reasons)

    def to_json(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "model": self.model,
            "out_of_sample_days": self.days,
            "accepted": self.accepted,
            "reasons": list(self.reasons),
            "benchmarks": [asdict(j) for j in self.judgements],
            "next_sigma_a_day": dict(zip(self.assets, self.next_sigma.tolist(), strict=True)),
            "method": self.method,
        }


def judge(
    realised: Floats, moves: Floats, challenger: Floats, ewma: Floats, name: str, settings: Settings
) -> Judgement:
    """Out-of-sample days (T, n) of all four; the first `burn` days only feed the bands."""
    alpha, burn = check_alpha(settings.alpha), settings.burn
    if realised.shape[0] - burn < MIN_DAYS:
        raise FitError(
            f"{realised.shape[0] - burn} days to judge on; at least {MIN_DAYS} are needed"
        )
    rv, r = realised[burn:], np.abs(moves[burn:])
    order = np.argsort(np.argsort((challenger[burn:] / ewma[burn:]).ravel(), kind="stable"))
    bin_of = (order * BINS // order.size).reshape(r.shape)
    scores, losses, tails = [], [], []
    for forecast in (challenger, ewma):
        width = bands(moves, forecast, alpha, burn)
        inside = r <= width
        by_bin = tuple(float(inside[bin_of == b].mean()) for b in range(BINS))
        gap = r - width
        losses.append(qlike_losses(rv, forecast[burn:]).mean(axis=1))
        tails.append(np.maximum(alpha * gap, (alpha - 1.0) * gap).mean(axis=1))
        scores.append(
            Score(
                qlike=float(losses[-1].mean()),
                coverage=float(inside.mean()),
                coverage_by_bin=by_bin,
                coverage_error=float(np.mean(np.abs(np.array(by_bin) - alpha))),
                quantile_score=float(tails[-1].mean()),
                kupiec_p_value=kupiec(r.size, int((~inside).sum()), 1.0 - alpha).p_value,
            )
        )
    by_qlike, by_quantile = diebold_mariano(*losses), diebold_mariano(*tails)
    reasons = []
    if by_qlike.p_value >= LEVEL:
        reasons.append(
            f"QLIKE not significantly lower (Diebold-Mariano p = {by_qlike.p_value:.3g})"
        )
    if scores[0].coverage_error >= scores[1].coverage_error:
        reasons.append(
            f"coverage no closer to {alpha:.1%} where the two disagree: off by"
            f" {scores[0].coverage_error:.2%} against {scores[1].coverage_error:.2%}"
        )
    if by_quantile.p_value >= LEVEL:
        reasons.append(
            "quantile score not significantly lower (Diebold-Mariano"
            f" p = {by_quantile.p_value:.3g})"
        )
    if scores[0].kupiec_p_value < LEVEL:
        reasons.append(
            f"coverage {scores[0].coverage:.2%} is rejected (Kupiec"
            f" p = {scores[0].kupiec_p_value:.3g})"
        )
    return Judgement(name, scores[0], scores[1], by_qlike, by_quantile, tuple(reasons))


def forecast(table: PriceTable, settings: Settings | None = None) -> Forecast:
    """Fits, walks forward, judges. `FitError` where the table is too short to judge on."""
    settings = settings or Settings()
    d = daily(table)
    ahead = walk_forward(d, settings)
    first = d.realised.shape[0] + 1 - ahead.shape[0]
    judgements = tuple(
        judge(
            d.realised[first:],
            d.moves[first:],
            ahead[:-1],
            d.ewma[first:-1, :, k],
            f"EWMA {decay:g} a day",
            settings,
        )
        for k, decay in enumerate(DECAYS)
    )
    accepted = not any(j.reasons for j in judgements)
    chosen = ahead[-1] if accepted else d.ewma[-1, :, -1]
    return Forecast(
        model=settings.model,
        assets=d.assets,
        days=d.realised.shape[0] - first - settings.burn,
        accepted=accepted,
        judgements=judgements,
        next_sigma=np.sqrt(chosen),
        method=settings.model if accepted else judgements[-1].benchmark,
    )
