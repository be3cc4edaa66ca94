"""The market of the gas bench: eight underlyings, three collaterals, parameters like a testnet's.

The first underlying lists eight expiries with sixteen strikes around the forward each, the others
one small expiry.
"""

from __future__ import annotations

from math import isqrt

from risk.diff.plumbline.params_blob import CollateralParams, Params, Tail, UnderlyingParams
from risk.diff.plumbline.world import (
    CALL,
    DAY,
    EXPIRY_SECOND,
    PERP,
    PUT,
    WAD,
    YEAR,
    BucketSpec,
    CollateralSpec,
    UnderlyingSpec,
    WorldSpec,
    instrument,
)
from risk.exact.accounts import work_load
from risk.exact.state import MAX_POSITIONS, Account, Linear, Option

NOW = 1_800_000_000
FEED_DECIMALS = 8
PRICES = (3_000, 60_000, 150, 20, 2, 500, 8, 35)
DAYS = (7, 14, 30, 60, 90, 120, 182, 365)
STRIKES = 16
VOL_BPS = 6_000


def gas_world(scenarios: int, *, wide: bool = False) -> WorldSpec:
    """The whole market with K scenarios; ``wide``: 16 underlyings, all with eight expiries."""
    prices = PRICES * 2 if wide else PRICES
    underlyings = tuple(
        _underlying(price, DAYS if wide or u == 0 else DAYS[2:3], _strikes(u, wide))
        for u, price in enumerate(prices)
    )
    collaterals = (
        CollateralSpec(18, 0, 18, 12 * WAD // 10),
        CollateralSpec(8, 1, 0, 0),
        CollateralSpec(6, 2, 0, 0),
    )
    return WorldSpec(NOW, 6, underlyings, collaterals, gas_params(scenarios, len(prices)))


def _strikes(u: int, wide: bool) -> int:
    if wide:
        return 2
    return STRIKES if u == 0 else 4


def gas_params(scenarios: int, underlyings: int) -> Params:
    """φ = 1.25, shocks on a price × volatility grid, every charge switched on."""
    prices = [x * 1500 // 4 for x in range(-4, 5)]  # up to ±15 %, in units of 1e-4
    lanes = [(prices[k % 9], (k // 9 % 3 - 1) * 3000) for k in range(scenarios)]
    params = Params(12_500, 11_000, 300, 5_000, 1_000, [10_000] * scenarios)
    params.tail = Tail(
        base_rate_bps=100,
        kink_utilisation_bps=8_000,
        kink_rate_bps=900,
        full_rate_bps=10_000,
        reserve_share_bps=1_000,
        trade_fee_e6=300,
        option_fee_cap_bps=1_000,
        warning_bps=12_000,
        min_margin_wad=10 * 10**18,
        reward_time_bps=100,
        insurance_event_cap_wad=10**23,
        insurance_period_cap_wad=10**24,
        insurance_period_seconds=86_400,
        adl_share_bps=1_500,
        cash_withdraw_cap_wad=10**27,
        withdraw_period_seconds=86_400,
        unrealised_cap_usd=10**6,
        settle_window_seconds=3_600,
        settle_min_observations=1,
        settle_min_spacing_seconds=60,
        breaker_seconds=3_600,
        funding_period_seconds=28_800,
    )
    for _ in range(underlyings):
        params.underlyings.append(
            UnderlyingParams(
                depth_wad=10**6 * WAD,
                som_bps=100,
                liq_bps=1_000,
                basis_base_bps=50,
                basis_slope_bps=100,
                price_unit_e6=100,
                vol_unit_e6=100,
                tenor_power_wad=WAD // 2,
                tenor_floor_seconds=DAY,
                tenor_cap_wad=3 * WAD,
                deviation_band_bps=100,
                max_age_seconds=10**6,
                max_confidence_bps=500,
                max_skew_seconds=3_600,
                price_lanes=[x for x, _ in lanes],
                vol_lanes=[v for _, v in lanes],
                oi_cap_wad=10**24,
                max_funding_bps=75,
                stable_rate_bps_per_day=500,
                stable_band_bps=300,
                jump_bps=2_000,
                position_cap_wad=10**23,
            )
        )
    for decimals, u, rate in ((18, 0, True), (8, 1, False), (6, 2, False)):
        params.collaterals.append(CollateralParams(u, decimals, 1_000, 10**30, rate))
    return params


def _underlying(price: int, days: tuple[int, ...], strikes: int) -> UnderlyingSpec:
    buckets = []
    for day in days:
        expiry_day = NOW // DAY + day
        seconds = expiry_day * DAY + EXPIRY_SECOND - NOW
        variance_e9 = VOL_BPS * VOL_BPS * seconds * 10 // YEAR
        svi = (variance_e9 * 7 // 10, variance_e9, -(3 * 10**8), 0, 3 * 10**8)
        forward = price * WAD * (1000 + day // 10) // 1000
        step = forward * isqrt(variance_e9) // 31_623 // 8  # an eighth of a standard deviation
        grid = tuple(forward + (2 * i - strikes + 1) * step // 2 for i in range(strikes))
        buckets.append(
            BucketSpec(expiry_day, WAD * (1000 + day // 10) // 1000, WAD * 98 // 100, svi, grid)
        )
    return UnderlyingSpec(FEED_DECIMALS, price * 10**FEED_DECIMALS, tuple(buckets))


def portfolio(spec: WorldSpec, count: int) -> list[tuple[int, int]]:
    """(instrument, signed size): +1 perp and ``count`` options of the first underlying, alternately
    long and short.

    Four expiries, eight from 64 on; the strikes nearest to the forward; puts below it, calls above.
    128 is the limit of an account and counts the perp, so the largest portfolio has 127 options.
    """
    legs = [(instrument(0, PERP), WAD)]
    expiries = spec.underlyings[0].buckets[: 8 if count >= 64 else 4]
    each = count // len(expiries)
    for bucket in expiries:
        first = (STRIKES - each) // 2
        for i in range(first, first + each):
            kind = PUT if i < STRIKES // 2 else CALL
            legs.append((instrument(0, kind, bucket.expiry_day, i), WAD if len(legs) % 2 else -WAD))
    return legs[:MAX_POSITIONS]


def portfolio_4u(spec: WorldSpec) -> list[tuple[int, int]]:
    """One perp and sixteen options over four underlyings, each worth about as much as the first."""
    legs = [(instrument(0, PERP), WAD)]
    for u in range(4):
        bucket = spec.underlyings[u].buckets[-1]
        size = PRICES[0] * WAD // PRICES[u]
        middle = len(bucket.strikes_wad) // 2
        for i, kind in ((middle - 2, PUT), (middle - 1, PUT), (middle, CALL), (middle + 1, CALL)):
            legs.append(
                (instrument(u, kind, bucket.expiry_day, i), size if len(legs) % 2 else -size)
            )
    return legs


def portfolio_wide(spec: WorldSpec) -> list[tuple[int, int]]:
    """The most spread account that 64 scenarios allow (``work_load.LIMIT``): one perp and as many
    options, each with an expiry of its own, over all underlyings.
    """
    legs = [(instrument(0, PERP), WAD)]
    for u, underlying in enumerate(spec.underlyings):
        size = PRICES[0] * WAD // PRICES[u % len(PRICES)] // 10
        for bucket in underlying.buckets:
            sign = 1 if len(legs) % 2 else -1
            legs.append((instrument(u, CALL, bucket.expiry_day, len(legs) % 2), sign * size))
    # expiry by expiry over the underlyings, so that all of these are held
    legs[1:] = sorted(legs[1:], key=lambda leg: ((leg[0] >> 10) & 0xFFFF, leg[0] >> 28))
    account = Account(linear=[Linear(*legs[0], 0)])
    for k, (held, size) in enumerate(legs[1:], start=1):
        account.options.append(Option(held, size))
        if work_load.load(64, account) > work_load.LIMIT:
            return legs[:k]
    return legs
