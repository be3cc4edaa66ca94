"""Risk parameters as plain fields, and the blob of docs/margin.md §2 written down a second time.

Used by the generators only: the reference model decodes the same blob with its own code.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from risk.diff.plumbline.layout import pack

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


@dataclass
class CollateralParams:
    """Per collateral; ``cap`` in native units."""

    underlying: int
    decimals: int
    haircut_bps: int
    cap: int
    has_rate: bool


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
