"""The worked example of docs/margin.md §9 as a model state."""

from __future__ import annotations

from risk.exact.margin import instrument_id
from risk.exact.params.risk_params import CollateralParams, RiskParams, UnderlyingParams
from risk.exact.state import Account, Bucket, Collateral, Linear, Option, State, Underlying

WAD = 10**18
ACCOUNT = 0xE7A << 8
EXPIRY_DAY = 20_090
EXPIRY = EXPIRY_DAY * 86_400 + 8 * 3_600
SNAPSHOT_TIME = EXPIRY - 90 * 86_400
PERP = instrument_id.encode(0, instrument_id.PERP, 0, 0)
CALL = instrument_id.encode(0, instrument_id.CALL, EXPIRY_DAY, 0)


def example() -> State:
    """ETH at 3 000, one expiry in 90 days with σ√T = 0.3, four scenarios, one account."""
    state = State(owner=1, cash_token=2, cash_decimals=6)
    state.underlyings.append(
        Underlying(
            feed=3,
            feed_decimals=8,
            price_wad=3_000 * WAD,
            epoch=1,
            time=SNAPSHOT_TIME,
            open_interest_wad=3 * WAD,
        )
    )
    state.collaterals.append(Collateral(token=4, decimals=18, underlying=0))
    state.buckets[EXPIRY_DAY] = Bucket(
        forward_ratio_wad=WAD,
        discount_wad=WAD,
        report_time=SNAPSHOT_TIME,
        listed=True,
        strikes_wad=[3_300 * WAD],
        a_e9=90_000_000,  # total variance 0.09, flat
        b_e9=0,
        rho_e9=0,
        m_e9=0,
        sigma_e9=10**9,
    )
    state.params = RiskParams(
        im_factor_bps=12_500,
        target_bps=11_000,
        reward_base_bps=300,
        reward_slope_bps=1_000,
        reward_max_bps=1_500,
        weights_bps=(10_000, 10_000, 10_000, 3_500),
        underlyings=(
            UnderlyingParams(
                depth_wad=WAD,
                som_bps=500,
                liq_bps=500,
                basis_base_bps=50,
                basis_slope_bps=100,
                price_unit_e6=100,
                vol_unit_e6=100,
                tenor_power_wad=0,
                tenor_floor_seconds=86_400,
                tenor_cap_wad=3 * WAD,
                deviation_band_bps=50,
                max_age_seconds=3_600,
                max_confidence_bps=100,
                max_skew_seconds=600,
                price_lanes=(-1_000, 1_000, 0, 3_000),
                vol_lanes=(2_500, 2_500, -2_500, 0),
            ),
        ),
        collaterals=(CollateralParams(0, 18, 1_000, 10**24, False),),
    )
    account = Account(
        cash_wad=2_000 * WAD,
        linear=[Linear(PERP, WAD // 2, -1_450 * WAD)],
        options=[Option(CALL, -WAD)],
    )
    account.collateral[0] = WAD
    state.accounts[ACCOUNT] = account
    return state
