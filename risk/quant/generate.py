"""A seeded generator of realistic hourly prices of several correlated assets.

What real hourly crypto prices show and a plain random walk does not, and where it comes from here:

* *volatility clustering*: a GJR-GARCH(1,1) factor per asset around its base volatility;
* *regimes*: a Markov chain (calm, normal, stress) that scales all volatilities and moves the
  correlation with them;
* *fat tails that arrive together*: one multivariate t innovation per hour;
* *jumps*: a self-exciting (Hawkes-type) arrival common to all assets, mostly downwards, with a
  beta per asset, and rare jumps of a single asset;
* *seasons*: the hour of the day and the week-end.

One seed gives one table, bit for bit, with one version of numpy. Prices are rounded to ticks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.quant.data import HOUR, Floats, PriceTable
from risk.quant.errors import QuantError

HOURS_PER_YEAR: Final = 24 * 365
START: Final = 1_704_067_200  # 2024-01-01T00:00:00Z, Unix seconds


@dataclass(frozen=True)
class Asset:
    """`price` at the start (quote currency), `volatility` per year (0.6 is 60 %), `jump_beta` the
    size of a common jump relative to the volatility, `decimals` of a price tick, `turnover` the
    typical volume per hour in quote currency."""

    name: str
    price: float
    volatility: float
    jump_beta: float = 1.0
    decimals: int = 2
    turnover: float = 5e7


@dataclass(frozen=True)
class Regime:
    """`scale` multiplies every volatility, `correlation` holds between all pairs, `hours` is the
    mean stay, `next` the probabilities of the regime that follows (in order, own entry 0)."""

    name: str
    scale: float
    correlation: float
    hours: float
    next: tuple[float, ...]


DEFAULT_ASSETS: Final = (
    Asset("BTC", 60_000.0, 0.45, jump_beta=0.9),
    Asset("ETH", 3_000.0, 0.60, jump_beta=1.0),
    Asset("SOL", 150.0, 0.80, jump_beta=1.1),
    Asset("LINK", 14.0, 0.80, jump_beta=1.2, decimals=3, turnover=8e6),
    Asset("DOGE", 0.15, 0.90, jump_beta=1.3, decimals=6, turnover=2e7),
    Asset("AVAX", 35.0, 0.85, jump_beta=1.2, decimals=3, turnover=8e6),
)
DEFAULT_REGIMES: Final = (
    Regime("calm", 0.65, 0.76, 300.0, (0.0, 1.0, 0.0)),
    Regime("normal", 1.05, 0.82, 240.0, (0.8, 0.0, 0.2)),
    Regime("stress", 1.9, 0.90, 60.0, (0.0, 1.0, 0.0)),
)


@dataclass(frozen=True)
class Model:
    """Everything but the seed. Rates are per hour.

    GARCH: `alpha` + `gamma`/2 + `beta` < 1 is the persistence, `df` the degrees of freedom of the
    innovation. Jumps: `jump_rate` is the base intensity, each jump adds `jump_excitation`, which
    dies out by the factor `jump_decay` per hour; sizes are Laplace with mean `jump_mean` and scale
    `jump_scale`, in base standard deviations of one hour.
    """

    assets: tuple[Asset, ...] = DEFAULT_ASSETS
    regimes: tuple[Regime, ...] = DEFAULT_REGIMES
    alpha: float = 0.05
    gamma: float = 0.04
    beta: float = 0.90
    df: float = 5.0
    jump_rate: float = 1 / 700
    jump_excitation: float = 0.06
    jump_decay: float = 0.8
    jump_mean: float = -1.0
    jump_scale: float = 3.5
    own_jump_rate: float = 1 / 3000

    def __post_init__(self) -> None:
        if not self.assets or not self.regimes:
            raise QuantError("the model needs at least one asset and one regime")
        if self.alpha + self.gamma / 2 + self.beta >= 1 or min(self.alpha, self.beta) < 0:
            raise QuantError("alpha + gamma/2 + beta must be below 1")
        if self.df <= 2:
            raise QuantError(f"df = {self.df} has no variance; it must exceed 2")
        if self.jump_excitation / (1 - self.jump_decay) >= 1:
            raise QuantError("jumps breed jumps faster than they die out")
        for position, regime in enumerate(self.regimes):
            row = regime.next
            sound = len(row) == len(self.regimes) and row[position] == 0.0
            if len(self.regimes) > 1 and not (sound and abs(sum(row) - 1.0) < 1e-12):
                raise QuantError(f"regime {regime.name!r}: 'next' is not a probability row")


DEFAULT_MODEL: Final = Model()


def generate(
    seed: int, hours: int, model: Model = DEFAULT_MODEL, *, start: int = START
) -> PriceTable:
    """`hours` rows of close, high, low and volume; the first row ends one hour after `start`."""
    if hours < 2:
        raise QuantError(f"hours = {hours}; at least 2 are needed")
    # One stream per purpose: a change in one part leaves the draws of the others alone.
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)]
    times = start + HOUR * np.arange(1, hours + 1, dtype=np.int64)
    regime = _regimes(streams[0], hours, model)
    shocks = _innovations(streams[1], regime, model)
    jumps = _jumps(streams[2], hours, model)
    base = np.array([a.volatility for a in model.assets]) / np.sqrt(HOURS_PER_YEAR)
    level = np.array([r.scale for r in model.regimes])[regime] * _season(times)
    sd = base * level[:, None] * _garch(shocks, model)
    returns = sd * shocks - 0.5 * sd**2 + base * jumps
    return _table(streams[3], streams[4], times, returns, sd, model)


def _regimes(rng: np.random.Generator, hours: int, model: Model) -> NDArray[np.int64]:
    """The regime of every hour, (hours,). Stays are geometric."""
    path = np.empty(hours, dtype=np.int64)
    now, t = min(1, len(model.regimes) - 1), 0
    while t < hours:
        regime = model.regimes[now]
        stay = hours if len(model.regimes) == 1 else int(rng.geometric(1.0 / regime.hours))
        path[t : t + stay] = now
        t += stay
        if len(model.regimes) > 1:
            now = int(rng.choice(len(model.regimes), p=regime.next))
    return path


def _innovations(rng: np.random.Generator, regime: NDArray[np.int64], model: Model) -> Floats:
    """Multivariate t of unit variance, equicorrelated by the regime, (hours, n)."""
    hours, n = len(regime), len(model.assets)
    rho = np.array([r.correlation for r in model.regimes])[regime][:, None]
    common = rng.standard_normal((hours, 1))
    own = rng.standard_normal((hours, n))
    mixing = rng.chisquare(model.df, (hours, 1)) / (model.df - 2.0)
    return np.asarray((np.sqrt(rho) * common + np.sqrt(1.0 - rho) * own) / np.sqrt(mixing))


def _garch(shocks: Floats, model: Model) -> Floats:
    """The GJR-GARCH factor on the standard deviation, mean square 1, (hours, n)."""
    reaction = (model.alpha + model.gamma * (shocks < 0.0)) * shocks**2 + model.beta
    constant = 1.0 - model.alpha - model.gamma / 2.0 - model.beta
    variance = np.empty_like(shocks)
    now = np.ones(shocks.shape[1])
    for t in range(len(shocks)):
        variance[t] = now
        now = constant + reaction[t] * now
    return np.sqrt(variance)


def _jumps(rng: np.random.Generator, hours: int, model: Model) -> Floats:
    """Jump sizes in base standard deviations, less their mean so that prices do not drift away,
    (hours, n)."""
    n = len(model.assets)
    beta = np.array([a.jump_beta for a in model.assets])
    uniform = rng.random(hours)
    size = rng.laplace(model.jump_mean, model.jump_scale, hours)
    spread = 1.0 + 0.25 * rng.standard_normal((hours, n))
    jumps = np.zeros((hours, n))
    excess = 0.0
    for t in range(hours):
        hit = uniform[t] < model.jump_rate + excess
        excess = model.jump_decay * excess + model.jump_excitation * hit
        if hit:
            jumps[t] = size[t] * beta * spread[t]
    own = rng.random((hours, n)) < model.own_jump_rate
    jumps += own * rng.laplace(0.0, model.jump_scale, (hours, n))
    bred = 1.0 - model.jump_excitation / (1.0 - model.jump_decay)
    return np.asarray(jumps - model.jump_rate / bred * model.jump_mean * beta)


def _season(times: NDArray[np.int64]) -> Floats:
    """Volatility by hour of day (highest about 15 UTC) and week-end, mean square about 1."""
    hour = (times // HOUR - 1) % 24
    weekend = (times // HOUR - 1) // 24 % 7 >= 2  # day 0 of Unix time was a Thursday
    weekend &= (times // HOUR - 1) // 24 % 7 <= 3
    daily = 1.0 + 0.3 * np.cos(2.0 * np.pi * (hour - 15) / 24.0)
    return np.asarray(daily * np.where(weekend, 0.75, 1.06))


def _table(
    rng: np.random.Generator,
    rng_volume: np.random.Generator,
    times: NDArray[np.int64],
    returns: Floats,
    sd: Floats,
    model: Model,
) -> PriceTable:
    """Prices from returns. The range within an hour is that of a Brownian bridge."""
    first = np.array([a.price for a in model.assets])
    decimals = np.array([a.decimals for a in model.assets])
    tick = 10.0**-decimals
    logs = np.log(first) + np.vstack([np.zeros_like(first), np.cumsum(returns, axis=0)])
    up, down = (
        np.sqrt(returns**2 - 2.0 * sd**2 * np.log1p(-rng.random(returns.shape))) for _ in range(2)
    )
    opening, closing = logs[:-1], logs[1:]

    def price(log_price: Floats) -> Floats:
        rounded = [
            np.round(np.exp(column), d) for column, d in zip(log_price.T, decimals, strict=True)
        ]
        return np.asarray(np.maximum(np.column_stack(rounded), tick))

    close = price(closing)
    high = np.maximum(price(opening + (returns + up) / 2.0), close)
    low = np.minimum(price(opening + (returns - down) / 2.0), close)
    turnover = np.array([a.turnover for a in model.assets])
    activity = np.exp(0.5 * rng_volume.standard_normal(returns.shape))
    base = np.array([a.volatility for a in model.assets]) / np.sqrt(HOURS_PER_YEAR)
    volume = np.round(turnover / close * activity * (0.4 + (up + down) / (4.0 * base)), 5)
    fields = {"close": close, "high": high, "low": low, "volume": volume}
    names = tuple(a.name for a in model.assets)
    return PriceTable(names, times, fields, HOUR, "generated")
