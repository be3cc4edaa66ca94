"""Random worlds: prices, volatility slices, scenario sets, listed instruments.

A ``WorldSpec`` says everything both sides need.  ``to_state`` turns it directly into model state
(account-level cases write that state into the chain's storage); sequences deploy it with real
transactions instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from random import Random

from risk.diff.plumbline.draw import chance, log_int, near, sign, weighted
from risk.diff.plumbline.params_blob import CollateralParams, Params, UnderlyingParams
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import MAX_PRICE_WAD, Bucket, Collateral, Feed, State, Underlying, World

WAD = 10**18
E9 = 10**9
DAY = 86_400
YEAR = 31_536_000
EXPIRY_SECOND = 28_800
START = 1_800_000_000

PERP, FUTURE, CALL, PUT = range(4)
SCENARIO_COUNTS = (1, 31, 32, 33, 64)

VAULT_ADDRESS = 0xA0 << 152
CASH_TOKEN = 0xC0 << 152
FIRST_TOKEN = 0xC1 << 152
FIRST_FEED = 0xF0 << 152
FIRST_RATE_FEED = 0xFA << 152


@dataclass(frozen=True)
class BucketSpec:
    """One listed expiry; ``reported`` False leaves the slice missing."""

    expiry_day: int
    forward_ratio_wad: int
    discount_wad: int
    svi_e9: tuple[int, int, int, int, int]  # a, b, rho, m, sigma
    strikes_wad: tuple[int, ...]
    reported: bool = True

    @property
    def expiry(self) -> int:
        """Unix time."""
        return self.expiry_day * DAY + EXPIRY_SECOND

    def listings(self) -> list[tuple[int, ...]]:
        """The strikes in ascending runs: one ``listExpiry`` each."""
        runs: list[list[int]] = [[]]
        for strike in self.strikes_wad:
            if runs[-1] and strike <= runs[-1][-1]:
                runs.append([])
            runs[-1].append(strike)
        return [tuple(run) for run in runs]


@dataclass(frozen=True)
class UnderlyingSpec:
    """Price as the feed gives it, and the listed expiries."""

    feed_decimals: int
    answer: int
    buckets: tuple[BucketSpec, ...]

    @property
    def price_wad(self) -> int:
        """The answer in WAD, rounded down."""
        return self.answer * WAD // int(10**self.feed_decimals)


@dataclass(frozen=True)
class CollateralSpec:
    """A token; ``rate_answer`` 0 means no rate feed."""

    decimals: int
    underlying: int
    rate_decimals: int
    rate_answer: int

    @property
    def rate_wad(self) -> int:
        """The rate in WAD, rounded down; 0 without a feed."""
        return self.rate_answer * WAD // int(10**self.rate_decimals)


@dataclass(frozen=True)
class WorldSpec:
    """Everything listed, and the risk parameters."""

    now: int
    cash_decimals: int
    underlyings: tuple[UnderlyingSpec, ...]
    collaterals: tuple[CollateralSpec, ...]
    params: Params

    def instruments(self) -> list[int]:
        """Ids of everything tradable, expired or not."""
        ids = []
        for u, spec in enumerate(self.underlyings):
            ids.append(instrument(u, PERP))
            for bucket in spec.buckets:
                ids.append(instrument(u, FUTURE, bucket.expiry_day))
                for i in range(len(bucket.strikes_wad)):
                    ids.append(instrument(u, CALL, bucket.expiry_day, i))
                    ids.append(instrument(u, PUT, bucket.expiry_day, i))
        return ids


def instrument(underlying: int, kind: int, expiry_day: int = 0, strike_index: int = 0) -> int:
    """Twin of InstrumentId.encode."""
    return underlying << 28 | kind << 26 | expiry_day << 10 | strike_index


# ── generators ───────────────────────────────────────────────────────────────────────────────────


def make_world(rng: Random, *, wild: bool = True, capacity: int = 0) -> WorldSpec:
    """A random world with at least ``capacity`` instruments; ``wild`` adds extremes and missing or
    expired data.
    """
    now = START + rng.randrange(400 * DAY)
    count = weighted(rng, [(1, 10), (2, 12), (3, 20), (4, 18), (5, 12), (6, 10), (7, 8), (8, 10)])
    strikes = 2 + -(-capacity // (4 * count))
    missing = wild and chance(rng, 4)  # some slices were never reported
    underlyings = tuple(_underlying(rng, now, wild, strikes, missing) for _ in range(count))
    collaterals = tuple(
        _collateral(rng, count)
        for _ in range(weighted(rng, [(0, 1), (1, 3), (2, 3), (3, 3), (6, 1)]))
    )
    return WorldSpec(
        now,
        weighted(rng, [(6, 6), (18, 2), (8, 1), (0, 1)]),
        underlyings,
        collaterals,
        make_params(rng, underlyings, collaterals),
    )


def _underlying(rng: Random, now: int, wild: bool, strikes: int, missing: bool) -> UnderlyingSpec:
    decimals = rng.choice([8, 8, 18, 6])
    price = near(rng, rng.choice([3000, 60_000, 150, 20, 1]) * WAD, 300_000)
    if wild and chance(rng, 8):
        price = log_int(rng, 10**12, 10**25)
    answer = max(1, price * 10**decimals // WAD)
    price = answer * WAD // 10**decimals
    days = sorted(rng.sample([1, 2, 3, 7, 14, 30, 61, 90, 182, 365], 2 + rng.randrange(3)))
    if wild and chance(rng, 15):
        days[0] = rng.choice([-3, -1, 0])
    today = now // DAY
    vol_bps = rng.randint(1_500, 15_000)
    return UnderlyingSpec(
        decimals,
        answer,
        tuple(
            _bucket(rng, now, today + d, price, vol_bps, wild, strikes, missing and chance(rng, 20))
            for d in days
        ),
    )


def _bucket(
    rng: Random,
    now: int,
    expiry_day: int,
    price_wad: int,
    vol_bps: int,
    wild: bool,
    strikes: int,
    missing: bool,
) -> BucketSpec:
    ratio = near(rng, WAD, 60_000)
    discount = near(rng, 97 * WAD // 100, 30_000)
    seconds = max(0, expiry_day * DAY + EXPIRY_SECOND - now)
    variance_e9 = vol_bps * vol_bps * seconds * 10 // YEAR  # (vol/1e4)²·T in 1e-9
    svi = make_svi(rng, variance_e9)
    forward = price_wad * ratio // WAD
    span = 1 + min(600, isqrt(variance_e9) * 2 // 63)  # about two standard deviations, in 1/1000
    drawn = {
        max(1, forward * (1000 + rng.randint(-min(span, 950), 2 * span)) // 1000)
        for _ in range(strikes)
    }
    if wild and chance(rng, 10):
        drawn.add(max(1, forward * rng.choice([1, 10, 5_000, 40_000]) // 1000))
    if chance(rng, 20):
        drawn.add(max(1, forward))
    strikes_wad = sorted({min(strike, MAX_PRICE_WAD) for strike in drawn})
    if chance(rng, 50):  # listed in two calls
        later = {s for s in strikes_wad if chance(rng, 40)}
        strikes_wad = [s for s in strikes_wad if s not in later] + sorted(later)
    return BucketSpec(expiry_day, ratio, discount, svi, tuple(strikes_wad), not missing)


def make_svi(rng: Random, variance_e9: int) -> tuple[int, int, int, int, int]:
    """A slice whose total variance at the money is about ``variance_e9``."""
    level = variance_e9 * rng.randint(300, 1000) // 1000
    sigma = rng.randint(20, 600) * 10**6
    slope = min((variance_e9 - level) * E9 // sigma, 900 * 10**6)
    return level, slope, rng.randint(-850, 600) * 10**6, rng.randint(-100, 100) * 10**6, sigma


def _collateral(rng: Random, underlyings: int) -> CollateralSpec:
    decimals = rng.choice([6, 8, 18])
    if chance(rng, 60):
        return CollateralSpec(decimals, rng.randrange(underlyings), 0, 0)
    rate_decimals = rng.choice([8, 18])
    return CollateralSpec(
        decimals,
        rng.randrange(underlyings),
        rate_decimals,
        near(rng, 12 * 10**rate_decimals // 10, 150_000),
    )


def make_params(
    rng: Random, underlyings: tuple[UnderlyingSpec, ...], collaterals: tuple[CollateralSpec, ...]
) -> Params:
    """Random admissible risk parameters with K one of 1, 31, 32, 33, 64."""
    k = rng.choice(SCENARIO_COUNTS)
    im_factor = rng.randint(10_002, 20_000)
    target = rng.randint(10_001, im_factor)
    reward_max = rng.randint(200, min(target - 1, 9_000))
    params = Params(
        im_factor,
        target,
        rng.randint(0, reward_max),
        rng.choice([0, 500, 10_000, 65_535]),
        reward_max,
        [10_000 if chance(rng, 60) else rng.randint(1, 10_000) for _ in range(k)],
    )
    common = [sign(rng) * rng.randint(0, 4095) for _ in range(k)]
    for spec in underlyings:
        params.underlyings.append(make_underlying_params(rng, k, spec.price_wad, common))
    for c in collaterals:
        haircut = weighted(rng, [(0, 1), (10_000, 1), (rng.randint(1, 5_000), 8)])
        cap = weighted(rng, [(10**30, 9), (10 ** (c.decimals + 3), 1)])
        params.collaterals.append(
            CollateralParams(c.underlying, c.decimals, haircut, cap, c.rate_answer != 0)
        )
    return params


def make_underlying_params(
    rng: Random, k: int, price_wad: int, common: list[int]
) -> UnderlyingParams:
    """Shocks follow ``common`` with noise, so that underlyings move jointly."""
    price_unit = rng.choice([20, 40, 73, 100, 244])
    vol_unit = rng.choice([50, 122, 244, 500])
    floor = -(10**6 - 1) // price_unit + 1  # no shock at or below −100 %
    price_lanes = [min(4095, max(floor, -4095, near(rng, x, 500_000))) for x in common]
    vol_lanes = [sign(rng) * rng.randint(0, 4095) for _ in range(k)]
    depth = max(1, rng.choice([10**4, 10**6, 10**9]) * WAD * WAD // max(1, price_wad))
    return UnderlyingParams(
        min(depth, 2**104 - 1),
        rng.choice([0, 100, 750]),
        rng.choice([0, 1_000, 5_000]),
        rng.choice([0, 50, 150]),
        rng.choice([0, 100, 400]),
        price_unit,
        vol_unit,
        rng.choice([0, WAD // 2, rng.randint(0, WAD)]),
        rng.choice([0, 3_600, DAY, 30 * DAY]),
        rng.choice([WAD, 2 * WAD, 3 * WAD + 1]),
        rng.choice([50, 100, 500]),
        rng.choice([600, 3_600, DAY]),
        rng.choice([50, 500]),
        rng.choice([60, 3_600]),
        price_lanes,
        vol_lanes,
    )


# ── direct construction of model state ───────────────────────────────────────────────────────────


def to_state(spec: WorldSpec, rng: Random, owner: int) -> tuple[State, World]:
    """Model state with fresh snapshots of everything, random epochs, and no account."""
    state = State(owner=owner, cash_token=CASH_TOKEN, cash_decimals=spec.cash_decimals)
    world = World(timestamp=spec.now, vault=VAULT_ADDRESS)
    state.params = RiskParams.decode(spec.params.blob())
    for u, item in enumerate(spec.underlyings):
        limits = spec.params.underlyings[u]
        time = spec.now - rng.randint(0, min(limits.max_age_seconds, 600))
        epoch = weighted(
            rng, [(rng.randint(1, 60), 95), (2**24 - 2 + rng.randrange(3), 4), (2**32 - 9, 1)]
        )
        state.underlyings.append(
            Underlying(
                FIRST_FEED + u,
                item.feed_decimals,
                item.price_wad,
                epoch,
                time,
                0,
                0,
                1,
                time,
                time,
                0,
            )
        )
        world.feeds[FIRST_FEED + u] = Feed(item.feed_decimals, item.answer, time)
        for b in item.buckets:
            a, slope, rho, m, sigma = b.svi_e9
            state.buckets[u << 16 | b.expiry_day] = (
                Bucket(
                    b.forward_ratio_wad,
                    b.discount_wad,
                    time,
                    True,
                    list(b.strikes_wad),
                    a,
                    slope,
                    rho,
                    m,
                    sigma,
                )
                if b.reported
                else Bucket(listed=True, strikes_wad=list(b.strikes_wad))
            )
    for j, c in enumerate(spec.collaterals):
        feed = FIRST_RATE_FEED + j if c.rate_answer else 0
        state.collaterals.append(
            Collateral(
                token=FIRST_TOKEN + j,
                decimals=c.decimals,
                underlying=c.underlying,
                rate_feed=feed,
                rate_feed_decimals=c.rate_decimals,
                rate_updated_at=spec.now if feed else 0,
                rate_wad=c.rate_wad,
            )
        )
        if feed:
            world.feeds[feed] = Feed(c.rate_decimals, c.rate_answer, spec.now)
    return state, world
