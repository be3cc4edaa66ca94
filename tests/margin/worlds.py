"""Seeded random worlds for the margin tests: parameters, snapshots, slices, portfolios."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from risk.exact.margin import instrument_id
from risk.exact.params.risk_params import CollateralParams, RiskParams, UnderlyingParams
from risk.exact.state import Account, Bucket, Collateral, Linear, Option, State, Underlying

WAD = 10**18
NOW = 1_800_000_000
TODAY = NOW // 86_400
OWNER = 0xA11CE
DECIMALS = (18, 8, 6, 18)
PRICES = (3_000, 60_000, 150, 1, 25)


@dataclass
class World:
    """A state with listed instruments and the ids that can be held."""

    state: State
    perps: list[int]
    futures: list[int]
    options: list[int]


def account_id(sub: int = 0, owner: int = OWNER) -> int:
    return owner << 8 | sub


def random_lanes(rng: Random, k: int, low: int, high: int) -> tuple[int, ...]:
    return tuple(rng.randint(low, high) for _ in range(k))


def random_params(rng: Random, scenarios: int, state: State) -> RiskParams:
    """Valid parameters for what ``state`` lists."""

    def underlying() -> UnderlyingParams:
        unit = rng.choice((100, 250, 1_000))
        return UnderlyingParams(
            depth_wad=rng.choice((1, 10, 1_000, 10**6)) * WAD + rng.randrange(WAD),
            som_bps=rng.choice((0, 200, 1_000)),
            liq_bps=rng.choice((0, 50, 500)),
            basis_base_bps=rng.choice((0, 20, 75)),
            basis_slope_bps=rng.choice((0, 100, 333)),
            price_unit_e6=unit,
            vol_unit_e6=rng.choice((100, 250)),
            tenor_power_wad=rng.choice((0, WAD // 2, WAD // 3, 2 * WAD)),
            tenor_floor_seconds=rng.choice((0, 3_600, 86_400)),
            tenor_cap_wad=rng.choice((2 * WAD, 5 * WAD, 18 * WAD)),
            deviation_band_bps=50,
            max_age_seconds=3_600,
            max_confidence_bps=100,
            max_skew_seconds=600,
            price_lanes=random_lanes(
                rng, scenarios, -min(4095, 999_999 // unit), min(4095, 10**6 // unit)
            ),
            vol_lanes=random_lanes(rng, scenarios, -4095, 4095),
        )

    target = rng.choice((10_500, 12_000))
    return RiskParams(
        im_factor_bps=rng.choice((12_000, 13_333)),
        target_bps=target,
        reward_base_bps=100,
        reward_slope_bps=500,
        reward_max_bps=2_000,
        weights_bps=tuple(rng.choice((10_000, 10_000, 3_500, 1)) for _ in range(scenarios)),
        underlyings=tuple(underlying() for _ in state.underlyings),
        collaterals=tuple(
            CollateralParams(
                c.underlying, c.decimals, rng.randint(0, 2_000), 2**127, c.rate_feed != 0
            )
            for c in state.collaterals
        ),
    )


def random_bucket(rng: Random, price_wad: int) -> Bucket:
    """A slice that ``Svi.validate`` admits, with strikes around the forward."""
    strikes = [price_wad * rng.randint(40, 250) // 100 for _ in range(rng.randint(2, 12))]
    return Bucket(
        forward_ratio_wad=WAD + rng.randint(-(10**16), 5 * 10**16),
        discount_wad=WAD - rng.randint(0, 5 * 10**16),
        report_time=NOW - 10,
        listed=True,
        strikes_wad=strikes,
        a_e9=rng.randint(10**5, 10**7),
        b_e9=rng.randint(10**6, 10**8),
        rho_e9=rng.randint(-8 * 10**8, 8 * 10**8),
        m_e9=rng.randint(-(10**8), 10**8),
        sigma_e9=rng.randint(10**7, 5 * 10**8),
    )


def random_world(rng: Random, scenarios: int, underlyings: int = 3, expiries: int = 4) -> World:
    """Listed markets with snapshots; a few expiries lie before the snapshot."""
    state = State(owner=1, cash_token=2, cash_decimals=6)
    world = World(state, [], [], [])
    for u in range(underlyings):
        price = PRICES[u % len(PRICES)] * rng.randint(5 * 10**17, 2 * WAD)
        data = Underlying(
            feed=100 + u, feed_decimals=8, price_wad=price, epoch=rng.choice((1, 7, 2**24))
        )
        data.time = NOW - rng.randint(0, 3_000)
        data.open_interest_wad = rng.choice((0, 10**4, 10**8)) * WAD
        state.underlyings.append(data)
        world.perps.append(instrument_id.encode(u, instrument_id.PERP, 0, 0))
        near = rng.choice((-1, 0, 1))  # before, at and after the snapshot
        for days in (near, *rng.sample(range(2, 400), expiries - 1)):
            day = TODAY + days
            bucket = state.buckets[u << 16 | day] = random_bucket(rng, price)
            world.futures.append(instrument_id.encode(u, instrument_id.FUTURE, day, 0))
            for index in range(len(bucket.strikes_wad)):
                for kind in (instrument_id.CALL, instrument_id.PUT):
                    world.options.append(instrument_id.encode(u, kind, day, index))
    for j in range(rng.randint(1, 5)):
        rated = rng.random() < 0.4
        state.collaterals.append(
            Collateral(
                token=1_000 + j,
                decimals=DECIMALS[j % len(DECIMALS)],
                underlying=rng.randrange(underlyings),
                rate_feed=500 + j if rated else 0,
                rate_wad=WAD + rng.randint(0, 3 * 10**17) if rated else 0,
            )
        )
    state.params = random_params(rng, scenarios, state)
    return world


def random_size(rng: Random) -> int:
    """Sizes from one wei to thousands of units, both signs, never zero."""
    magnitude = rng.choice(
        (rng.randint(1, 10**6), rng.randint(1, WAD), rng.randint(1, 5_000 * WAD))
    )
    return magnitude * rng.choice((-1, 1))


def random_account(
    rng: Random, world: World, options: int, linear: int, collaterals: bool = True
) -> Account:
    a = Account(cash_wad=rng.randint(-(10**5), 10**6) * WAD + rng.randrange(WAD))
    if collaterals:
        for j, c in enumerate(world.state.collaterals):
            if rng.random() < 0.6:
                a.collateral[j] = rng.randint(1, 100 * 10**c.decimals)
    pool = world.perps + world.futures
    for instrument in rng.sample(pool, min(linear, len(pool))):
        claim = rng.random() < 0.1
        a.linear.append(
            Linear(instrument, 0 if claim else random_size(rng), rng.randint(-(10**24), 10**24))
        )
    for instrument in rng.sample(world.options, min(options, len(world.options))):
        a.options.append(Option(instrument, random_size(rng)))
    return a
