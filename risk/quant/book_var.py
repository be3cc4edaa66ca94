"""VaR and ES of one book by every method, each with its confidence band.

The sample: the book of today, repriced in full under every past move of prices and of the
volatility stand-in over the horizon. `daily` losses do not overlap and end with the last price;
`overlapping` ones start at every hour. Methods that follow time (age-weighted, volatility-scaled,
filtered) and those that fit a law use the former.

Bands (level `confidence`): VaR by plain historical simulation has exact order statistics; the
rest is the percentile bootstrap of the sample that the method reads its quantile from. They
therefore do not hold the error of the volatility forecast in the scaled and filtered methods, and
the bootstrap of overlapping losses draws blocks as long as the horizon. Monte Carlo bands say what
the number of paths leaves open, not what the model does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from risk.quant import evt, montecarlo, parametric, var
from risk.quant.bands import Band, bootstrap, order_statistics
from risk.quant.correlation import ewma_covariance
from risk.quant.data import PriceTable
from risk.quant.errors import FitError, QuantError
from risk.quant.holdings import Holding, Valued, value
from risk.quant.scenarios import factors
from risk.quant.var import TailRisk, check_alpha
from risk.quant.volatility import ewma, fit_arch

Floats = NDArray[np.float64]
Estimate = Callable[[Floats], tuple[float, float]]

AGE_DECAY: Final = 0.995  # an observation
EWMA_DECAY: Final = 0.94
EWMA_WARM_UP: Final = 20
COVARIANCE_DECAY: Final = 0.97
EVT_QUANTILE: Final = 0.90
MIN_OBSERVATIONS: Final = 100  # daily losses, as the GARCH fit needs
MAX_HORIZON: Final = 240  # hours


@dataclass(frozen=True)
class Settings:
    """`alpha` of VaR and ES, `horizon` in hours, `paths` of the Monte Carlo (even),
    `repetitions` of the bootstrap: a tenth of them where each needs an optimiser, a fifth for the
    long overlapping sample."""

    alpha: float = 0.99
    horizon: int = 24
    confidence: float = 0.95
    paths: int = 20_000
    repetitions: int = 1_000
    seed: int = 1

    @property
    def refits(self) -> int:
        """Bootstrap samples of a fit."""
        return max(self.repetitions // 10, 10)


@dataclass(frozen=True)
class Measured:
    """One method. `failed` holds the reason where it gives no figure on these data."""

    method: str
    risk: TailRisk | None
    var_band: Band | None
    es_band: Band | None
    observations: int
    failed: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For a JSON file; an infinite bound is None."""

        def band(b: Band | None) -> dict[str, Any] | None:
            if b is None:
                return None
            bounds = {
                n: (v if np.isfinite(v) else None) for n, v in (("low", b.low), ("high", b.high))
            }
            return {**asdict(b), **bounds}

        return {
            "method": self.method,
            "var": None if self.risk is None else self.risk.var,
            "es": None if self.risk is None else self.risk.es,
            "detail": None if self.risk is None else self.risk.method,
            "var_band": band(self.var_band),
            "es_band": band(self.es_band),
            "observations": self.observations,
            "failed": self.failed,
        }


@dataclass(frozen=True, eq=False)
class Sample:
    """Losses of the book, oldest first, and the joint log moves (D, 2n) behind the daily ones."""

    book: Valued
    daily: Floats
    overlapping: Floats
    moves: Floats
    horizon: int


@dataclass(frozen=True, eq=False)
class Today:
    """Prices (n,) of the assets and Unix time at which a book stands, where that is not the end of
    the price table: a vault's own at a block."""

    spot: Floats
    time: int


def sample(
    table: PriceTable, holdings: Sequence[Holding], settings: Settings, today: Today | None = None
) -> Sample:
    """Reprices the book of today under the past; `QuantError` for an empty one."""
    check_alpha(settings.alpha)
    check_alpha(settings.confidence)
    h = settings.horizon
    if not 1 <= h <= MAX_HORIZON:
        raise QuantError(f"horizon = {h} hours is not within 1 … {MAX_HORIZON}")
    if not holdings:
        raise QuantError("the book is empty: no position to measure")
    f = factors.build(table)
    now = Today(f.price[-1], int(f.times[-1])) if today is None else today
    book = value(holdings, table.assets, now.spot, f.implied[-1], now.time)
    logs, vols = np.log(f.price[f.first :]), np.log(f.implied[f.first :])
    moves, vol_moves = logs[h:] - logs[:-h], vols[h:] - vols[:-h]
    overlapping = book.losses(moves, vol_moves, h / 24.0)
    at = np.arange(overlapping.size - 1, -1, -h)[::-1]
    if at.size < MIN_OBSERVATIONS:
        raise FitError(f"{at.size} periods of {h} hours; at least {MIN_OBSERVATIONS} are needed")
    joint = np.hstack([moves[at], vol_moves[at]])
    return Sample(book, overlapping[at], overlapping, joint, h)


def measure(s: Sample, settings: Settings) -> tuple[Measured, ...]:
    """Every method; one that fails on these data says so and does not stop the others."""
    methods: tuple[tuple[str, Callable[[Sample, Settings], Measured]], ...] = (
        ("historical", _historical),
        ("historical, overlapping", _overlapping),
        ("age-weighted", _age_weighted),
        ("volatility-scaled", _scaled),
        ("filtered historical", _filtered),
        ("normal", _normal),
        ("delta-normal", _delta_normal),
        ("Student t", _student),
        ("EVT", _evt),
        ("Monte Carlo, normal", _monte_carlo_normal),
        ("Monte Carlo, t", _monte_carlo_t),
        ("Monte Carlo, t copula", _monte_carlo_copula),
    )
    out = []
    for name, method in methods:
        try:
            with np.errstate(invalid="ignore"):  # an optimiser steps where the likelihood is inf
                out.append(method(s, settings))
        except QuantError as error:
            out.append(Measured(name, None, None, None, s.daily.size, str(error)))
    return tuple(out)


# -------------------------------------------------------------------------------------- historical


def _historical(s: Sample, settings: Settings) -> Measured:
    risk = var.historical(s.daily, settings.alpha)
    exact = order_statistics(s.daily, settings.alpha, confidence=settings.confidence)
    both = _bootstrap(s.daily, settings, 1.0)
    return Measured("historical", risk, exact, both[1], s.daily.size)


def _overlapping(s: Sample, settings: Settings) -> Measured:
    risk = var.historical(s.overlapping, settings.alpha)
    fewer = replace(settings, repetitions=max(settings.repetitions // 5, 10))
    bands = _bootstrap(s.overlapping, fewer, float(s.horizon))
    return Measured("historical, overlapping", risk, *bands, s.overlapping.size)


def _age_weighted(s: Sample, settings: Settings) -> Measured:
    """The bootstrap draws with the weights, as many as 1/Σw² says that they are worth."""
    risk = var.age_weighted(s.daily, settings.alpha, decay=AGE_DECAY)
    weights = var.age_weights(s.daily.size, AGE_DECAY)
    worth = max(2, round(1.0 / float(weights @ weights)))
    rng = np.random.default_rng([settings.seed, 2])
    picked = rng.choice(s.daily, (settings.repetitions, worth), p=weights)
    tails = var.sample_tails(picked, settings.alpha)
    bands = _percentiles(*tails, settings, f"weighted bootstrap of {worth}")
    return Measured("age-weighted", risk, *bands, s.daily.size)


def _scaled(s: Sample, settings: Settings) -> Measured:
    risk = var.volatility_scaled(s.daily, settings.alpha, decay=EWMA_DECAY, warm_up=EWMA_WARM_UP)
    path = ewma(s.daily, EWMA_DECAY, warm_up=EWMA_WARM_UP)
    scaled = s.daily[EWMA_WARM_UP:] * path.next_sigma / path.sigma[EWMA_WARM_UP:]
    return Measured("volatility-scaled", risk, *_bootstrap(scaled, settings, 1.0), scaled.size)


def _filtered(s: Sample, settings: Settings) -> Measured:
    fit = fit_arch(-s.daily, "gjr")
    simulated = -(fit.mean + fit.next_sigma * fit.residuals())
    low, high = var.sample_tails(simulated[None, :], settings.alpha)
    risk = TailRisk(settings.alpha, float(low[0]), float(high[0]), "filtered historical gjr")
    bands = _bootstrap(simulated, settings, 1.0)
    return Measured("filtered historical", risk, *bands, simulated.size)


# -------------------------------------------------------------------------------------- parametric


def _normal(s: Sample, settings: Settings) -> Measured:
    def estimate(losses: Floats) -> tuple[float, float]:
        risk = parametric.fit_normal(losses, settings.alpha)
        return risk.var, risk.es

    risk = parametric.fit_normal(s.daily, settings.alpha)
    return Measured("normal", risk, *_refits(s.daily, estimate, settings), s.daily.size)


def _delta_normal(s: Sample, settings: Settings) -> Measured:
    """Today's deltas and an EWMA covariance of the moves, mean 0: blind to gamma and vega. The band
    is that of the standard deviation of as many normal draws as the weights are worth."""
    n = s.book.spot.size
    deltas = s.book.deltas()
    covariance = ewma_covariance(np.expm1(s.moves[:, :n]), COVARIANCE_DECAY)[-1]
    risk = parametric.delta_normal(deltas, covariance, settings.alpha)
    worth = (1.0 + COVARIANCE_DECAY) / (1.0 - COVARIANCE_DECAY)
    rng = np.random.default_rng([settings.seed, 3])
    spread = np.sqrt(rng.chisquare(worth, settings.repetitions) / worth)
    name = f"chi-squared, {worth:.0f} observations"
    bands = _percentiles(risk.var * spread, risk.es * spread, settings, name)
    return Measured("delta-normal", risk, *bands, s.daily.size)


def _student(s: Sample, settings: Settings) -> Measured:
    def estimate(losses: Floats) -> tuple[float, float]:
        risk = parametric.fit_student_t(losses, settings.alpha)
        return risk.var, risk.es

    risk = parametric.fit_student_t(s.daily, settings.alpha)
    return Measured("Student t", risk, *_refits(s.daily, estimate, settings), s.daily.size)


def _evt(s: Sample, settings: Settings) -> Measured:
    def estimate(losses: Floats) -> tuple[float, float]:
        risk = evt.fit_pot(losses, quantile=EVT_QUANTILE).risk(settings.alpha)
        return risk.var, risk.es

    risk = evt.fit_pot(s.daily, quantile=EVT_QUANTILE).risk(settings.alpha)
    return Measured("EVT", risk, *_refits(s.daily, estimate, settings), s.daily.size)


# ------------------------------------------------------------------------------------- Monte Carlo


def _monte_carlo_normal(s: Sample, settings: Settings) -> Measured:
    return _monte_carlo(s, settings, "Monte Carlo, normal", None)


def _monte_carlo_t(s: Sample, settings: Settings) -> Measured:
    """Multivariate t; its degrees of freedom match the mean excess kurtosis κ of the moves after
    EWMA scaling: ν = 4 + 6/κ."""
    scaled = []
    for column in s.moves.T:
        path = ewma(column, EWMA_DECAY, warm_up=EWMA_WARM_UP)
        z = column[EWMA_WARM_UP:] / path.sigma[EWMA_WARM_UP:]
        scaled.append(float(np.mean((z - z.mean()) ** 4) / np.var(z) ** 2 - 3.0))
    excess = float(np.mean(scaled))
    df = 4.0 + 6.0 / excess if excess > 0.03 else parametric.MAX_DF
    return _monte_carlo(s, settings, "Monte Carlo, t", df)


def _monte_carlo(s: Sample, settings: Settings, name: str, df: float | None) -> Measured:
    covariance = ewma_covariance(s.moves, COVARIANCE_DECAY)[-1]
    rng = np.random.default_rng([settings.seed, 4])
    moves = montecarlo.draw_moves(rng, settings.paths, covariance, df=df, antithetic=False)
    return _repriced(s, settings, name, moves, "" if df is None else f" with {df:.2f} df")


def _monte_carlo_copula(s: Sample, settings: Settings) -> Measured:
    """Each factor has its own history, unscaled, as margin; a fitted t copula joins them."""
    from risk.quant.correlation import fit_t_copula

    fitted = fit_t_copula(s.moves)
    df = max(float(fitted.df), 2.1)
    rng = np.random.default_rng([settings.seed, 5])
    moves = montecarlo.draw_copula(rng, settings.paths, s.moves, fitted.correlation, df)
    return _repriced(s, settings, "Monte Carlo, t copula", moves, f", copula {df:.2f} df")


def _repriced(s: Sample, settings: Settings, name: str, moves: Floats, about: str) -> Measured:
    n = s.book.spot.size

    def loss(some: Floats) -> Floats:
        return s.book.losses(some[:, :n], some[:, n:], s.horizon / 24.0)

    got = montecarlo.measure(loss, moves, settings.alpha)
    from scipy.special import ndtri

    z = float(ndtri(0.5 + settings.confidence / 2.0))
    losses = loss(moves)
    exact = order_statistics(losses, settings.alpha, confidence=settings.confidence)
    es = Band(
        got.risk.es - z * got.es_error,
        got.risk.es + z * got.es_error,
        settings.confidence,
        None,
        "standard error of the paths",
    )
    risk = TailRisk(settings.alpha, got.risk.var, got.risk.es, f"Monte Carlo{about}")
    return Measured(name, risk, exact, es, settings.paths)


# ------------------------------------------------------------------------------------------- bands


def _bootstrap(losses: Floats, settings: Settings, block: float) -> tuple[Band, Band]:
    found = bootstrap(
        losses,
        settings.alpha,
        confidence=settings.confidence,
        repetitions=settings.repetitions,
        block=block,
        seed=settings.seed,
    )
    return found.var, found.es


def _refits(losses: Floats, estimate: Estimate, settings: Settings) -> tuple[Band, Band]:
    """Bootstrap of an estimator; samples on which the fit fails are left out and counted."""
    rng = np.random.default_rng([settings.seed, 1])
    done, failed = [], 0
    for _ in range(settings.refits):
        try:
            done.append(estimate(rng.choice(losses, losses.size)))
        except QuantError:
            failed += 1
    if len(done) < settings.refits // 2 or len(done) < 2:
        raise FitError(f"the fit fails on {failed} of {settings.refits} bootstrap samples")
    values = np.array(done)
    name = f"bootstrap of {len(done)} fits" + (f", {failed} failed" if failed else "")
    return _percentiles(values[:, 0], values[:, 1], settings, name)


def _percentiles(var_: Floats, es: Floats, settings: Settings, name: str) -> tuple[Band, Band]:
    cut = [(1.0 - settings.confidence) / 2.0, (1.0 + settings.confidence) / 2.0]
    bands = []
    for values in (var_, es):
        low, high = (float(q) for q in np.quantile(values, cut))
        bands.append(Band(low, high, settings.confidence, None, name))
    return bands[0], bands[1]
