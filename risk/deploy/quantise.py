"""The one documented quantisation: from decimals to the integers of ``RiskParams``.

Every rounding is against the account and for the vault:

- up to the next basis point: weights, haircut, short_option_minimum, liquidity, basis,
  basis_per_year;
- down: depth (to 1e-18 units), cap (to native units), max_confidence (to the basis point);
- up to 1e-18: tenor_power, tenor_cap;
- away from zero, to the next lane of their unit: price_shocks, vol_shocks;
- none: im_factor, target, the rewards and deviation_band are policy, so they must be whole basis
  points, else an error.

The unit of the shocks of an underlying is ``price_unit`` / ``vol_unit`` where given (whole
millionths), else the smallest whole number of millionths at which the largest shock fits the 4095
lanes; so a lane is never coarser than 1/4095 of the largest shock.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext

from risk.deploy.config import Collateral, DeployConfig, Underlying
from risk.deploy.errors import ConfigError
from risk.exact.params.risk_params import CollateralParams, RiskParams, UnderlyingParams

MAX_LANE = 4095
_MILLION = 10**6
_BPS = 10**4
_WAD = 10**18
_EXACT = Context(prec=120)


def quantise(config: DeployConfig) -> RiskParams:
    """Exact parameters of a checked configuration.

    ``ConfigError`` where a number has no exact counterpart.
    """
    with localcontext(_EXACT):
        margin = config.margin
        names = [u.name for u in config.underlyings]
        return RiskParams(
            im_factor_bps=_exact_bps("margin.im_factor", margin.im_factor),
            target_bps=_exact_bps("margin.target", margin.target),
            reward_base_bps=_exact_bps("margin.reward_base", margin.reward_base),
            reward_slope_bps=_exact_bps("margin.reward_slope", margin.reward_slope),
            reward_max_bps=_exact_bps("margin.reward_max", margin.reward_max),
            weights_bps=tuple(_up(w, _BPS) for w in config.weights),
            underlyings=tuple(
                _underlying(f"underlyings[{i}]", u) for i, u in enumerate(config.underlyings)
            ),
            collaterals=tuple(
                _collateral(c, names.index(c.underlying)) for c in config.collaterals
            ),
        )


def shock_lanes(field: str, shocks: Sequence[Decimal], unit_e6: int) -> tuple[int, ...]:
    """Shocks in lanes of ``unit_e6`` millionths, away from zero.

    ``ConfigError`` where one does not fit.
    """
    with localcontext(_EXACT):
        lanes = []
        for k, shock in enumerate(shocks):
            lane = _up(abs(shock) / unit_e6, _MILLION) * (-1 if shock < 0 else 1)
            if abs(lane) > MAX_LANE:
                limit = Decimal(MAX_LANE * unit_e6) / _MILLION
                raise ConfigError(
                    "quantisation",
                    [f"{field}[{k}]: {shock} is beyond the limit of ±{limit} at its unit"],
                )
            lanes.append(lane)
        return tuple(lanes)


def shock_unit_e6(shocks: Sequence[Decimal]) -> int:
    """Smallest whole number of millionths at which every shock fits the lanes."""
    with localcontext(_EXACT):
        return max(1, *(_up(abs(s) / MAX_LANE, _MILLION) for s in shocks))


def _underlying(field: str, u: Underlying) -> UnderlyingParams:
    price_unit = _unit(f"{field}.price_unit", u.price_unit, u.price_shocks)
    vol_unit = _unit(f"{field}.vol_unit", u.vol_unit, u.vol_shocks)
    price_lanes = shock_lanes(f"{field}.price_shocks", u.price_shocks, price_unit)
    for k, lane in enumerate(price_lanes):
        if lane * price_unit <= -_MILLION:
            where = f"{field}.price_shocks[{k}]"
            problem = f"{where}: {u.price_shocks[k]} rounds to −100 %, the limit is above −1"
            raise ConfigError("quantisation", [problem])
    return UnderlyingParams(
        depth_wad=_down(u.depth, _WAD),
        som_bps=_up(u.short_option_minimum, _BPS),
        liq_bps=_up(u.liquidity, _BPS),
        basis_base_bps=_up(u.basis, _BPS),
        basis_slope_bps=_up(u.basis_per_year, _BPS),
        price_unit_e6=price_unit,
        vol_unit_e6=vol_unit,
        tenor_power_wad=_up(u.tenor_power, _WAD),
        tenor_floor_seconds=u.tenor_floor_seconds,
        tenor_cap_wad=_up(u.tenor_cap, _WAD),
        deviation_band_bps=_exact_bps(f"{field}.deviation_band", u.deviation_band),
        max_age_seconds=u.max_age_seconds,
        max_confidence_bps=_down(u.max_confidence, _BPS),
        max_skew_seconds=u.max_skew_seconds,
        price_lanes=price_lanes,
        vol_lanes=shock_lanes(f"{field}.vol_shocks", u.vol_shocks, vol_unit),
    )


def _collateral(c: Collateral, underlying: int) -> CollateralParams:
    return CollateralParams(
        underlying=underlying,
        decimals=c.token.decimals,
        haircut_bps=_up(c.haircut, _BPS),
        cap=_down(c.cap, 10**c.token.decimals),
        has_rate=c.rate_feed is not None,
    )


def _unit(field: str, given: Decimal | None, shocks: Sequence[Decimal]) -> int:
    if given is None:
        return shock_unit_e6(shocks)
    if (given * _MILLION) % 1:
        raise ConfigError("quantisation", [f"{field}: {given} is not a whole number of millionths"])
    return int(given * _MILLION)


def _exact_bps(field: str, value: Decimal) -> int:
    if (value * _BPS) % 1:
        raise ConfigError(
            "quantisation", [f"{field}: {value} is not a whole number of basis points (0.0001)"]
        )
    return int(value * _BPS)


def _up(value: Decimal, scale: int) -> int:
    return int((value * scale).to_integral_value(ROUND_CEILING))


def _down(value: Decimal, scale: int) -> int:
    return int((value * scale).to_integral_value(ROUND_FLOOR))
