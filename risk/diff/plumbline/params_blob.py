"""Risk parameters as plain fields, and the blob of docs/margin.md §2 written down a second time.

Used by the generators only: the reference model decodes the same blob with its own code.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from risk.chain.layout import pack

LANE_BITS = 13
LANE_BIAS = 4096
LANE_MAX = 4095


@dataclass
class UnderlyingParams:
    """Per underlying; lanes have one entry per scenario."""

    depth_wad: int
    som_bps: int
    liq_bps: int
    basis_base_bps: int
    basis_slope_bps: int
    price_unit_e6: int
    vol_unit_e6: int
    tenor_power_wad: int
    tenor_floor_seconds: int
    tenor_cap_wad: int
    deviation_band_bps: int
    max_age_seconds: int
    max_confidence_bps: int
    max_skew_seconds: int
    price_lanes: list[int]
    vol_lanes: list[int]
    oi_cap_wad: int = 0
    max_funding_bps: int = 0
    stable_rate_bps_per_day: int = 0
    stable_band_bps: int = 0
    jump_bps: int = 0
    position_cap_wad: int = 0
    group: int = 0


@dataclass
class CollateralParams:
    """Per collateral; ``cap`` in native units."""

    underlying: int
    decimals: int
    haircut_bps: int
    cap: int
    has_rate: bool
    withdraw_cap: int = 0


@dataclass
class Tail:
    """The global words of the tail; 0 is off."""

    base_rate_bps: int = 0
    kink_utilisation_bps: int = 0
    kink_rate_bps: int = 0
    full_rate_bps: int = 0
    reserve_share_bps: int = 0
    trade_fee_e6: int = 0
    option_fee_cap_bps: int = 0
    warning_bps: int = 0
    min_margin_wad: int = 0
    grace_seconds: int = 0
    reward_time_bps: int = 0
    emergency_bps: int = 0
    insurance_event_cap_wad: int = 0
    insurance_period_cap_wad: int = 0
    insurance_period_seconds: int = 0
    adl_share_bps: int = 0
    cash_withdraw_cap_wad: int = 0
    withdraw_period_seconds: int = 0
    unrealised_cap_usd: int = 0
    settle_window_seconds: int = 0
    settle_min_observations: int = 0
    settle_min_spacing_seconds: int = 0
    breaker_seconds: int = 0
    sequencer_grace_seconds: int = 0
    wind_down_notice_seconds: int = 0
    funding_period_seconds: int = 0

    def words(self) -> list[int]:
        """Four words."""
        return [
            pack(
                (self.base_rate_bps, 16),
                (self.kink_utilisation_bps, 16),
                (self.kink_rate_bps, 16),
                (self.full_rate_bps, 24),
                (self.reserve_share_bps, 16),
                (self.trade_fee_e6, 24),
                (self.option_fee_cap_bps, 16),
                (self.warning_bps, 16),
                (self.min_margin_wad, 96),
            ),
            pack(
                (self.grace_seconds, 24),
                (self.reward_time_bps, 16),
                (self.emergency_bps, 16),
                (self.insurance_event_cap_wad, 96),
                (self.insurance_period_cap_wad, 96),
            ),
            pack(
                (self.insurance_period_seconds, 32),
                (self.adl_share_bps, 16),
                (self.cash_withdraw_cap_wad, 112),
                (self.withdraw_period_seconds, 32),
                (self.unrealised_cap_usd, 64),
            ),
            pack(
                (self.settle_window_seconds, 24),
                (self.settle_min_observations, 16),
                (self.settle_min_spacing_seconds, 16),
                (self.breaker_seconds, 24),
                (self.sequencer_grace_seconds, 24),
                (self.wind_down_notice_seconds, 32),
                (self.funding_period_seconds, 32),
            ),
        ]


@dataclass
class Params:
    """The whole blob."""

    im_factor_bps: int
    target_bps: int
    reward_base_bps: int
    reward_slope_bps: int
    reward_max_bps: int
    weights: list[int]
    underlyings: list[UnderlyingParams] = field(default_factory=list)
    collaterals: list[CollateralParams] = field(default_factory=list)
    tail: Tail = field(default_factory=Tail)

    @property
    def scenarios(self) -> int:
        """K"""
        return len(self.weights)

    def blob(self) -> bytes:
        """The words of docs/margin.md §2, big-endian."""
        words = [
            pack(
                (self.scenarios, 8),
                (len(self.underlyings), 8),
                (len(self.collaterals), 8),
                (self.im_factor_bps, 16),
                (self.target_bps, 16),
                (self.reward_base_bps, 16),
                (self.reward_slope_bps, 16),
                (self.reward_max_bps, 16),
            )
        ]
        weights = self.weights + [0] * (64 - self.scenarios)
        words += [pack(*((w, 16) for w in weights[i : i + 16])) for i in range(0, 64, 16)]
        for u in self.underlyings:
            words += _underlying(u)
        for c in self.collaterals:
            words.append(
                pack(
                    (c.underlying, 8),
                    (c.decimals, 8),
                    (c.haircut_bps, 16),
                    (c.cap, 128),
                    (int(c.has_rate), 1),
                )
            )
        words += self.tail.words()
        for u in self.underlyings:
            words.append(
                pack(
                    (u.oi_cap_wad, 104),
                    (u.max_funding_bps, 16),
                    (u.stable_rate_bps_per_day, 16),
                    (u.stable_band_bps, 16),
                    (u.jump_bps, 16),
                    (u.position_cap_wad, 88),
                )
            )
        words += [pack((c.withdraw_cap, 128)) for c in self.collaterals]
        return b"".join(w.to_bytes(32, "big") for w in words)


def _underlying(u: UnderlyingParams) -> list[int]:
    words = [
        pack(
            (u.depth_wad, 104),
            (u.som_bps, 16),
            (u.liq_bps, 16),
            (u.basis_base_bps, 16),
            (u.basis_slope_bps, 16),
            (u.price_unit_e6, 16),
            (u.vol_unit_e6, 16),
            (u.group, 8),
        ),
        pack(
            (u.tenor_power_wad, 64),
            (u.tenor_floor_seconds, 40),
            (u.tenor_cap_wad, 64),
            (u.deviation_band_bps, 16),
            (u.max_age_seconds, 32),
            (u.max_confidence_bps, 16),
            (u.max_skew_seconds, 24),
        ),
    ]
    for lanes in (u.price_lanes, u.vol_lanes):
        full = lanes + [0] * (64 - len(lanes))
        words += [
            pack(*((x + LANE_BIAS, LANE_BITS) for x in full[i : i + 16])) for i in range(0, 64, 16)
        ]
    return words
