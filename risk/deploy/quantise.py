"""The one documented quantisation: from decimals to the integers of ``RiskParams``.

Every rounding is against the account and for the vault:

- up to the next basis point: weights, haircut, short_option_minimum, liquidity, basis,
  basis_per_year;
- down: depth (to 1e-18 units), cap and withdraw_cap (to native units), max_confidence (to the
  basis point), the caps of policy sections and of open interest and positions (to 1e-18); a cap
  that would become 0, which means no cap, is an error;
- up to 1e-18: min_margin_cash;
- up to 1e-18: tenor_power, tenor_cap;
- away from zero, to the next lane of their unit: price_shocks, vol_shocks;
- none: im_factor, target, the rewards, deviation_band and every ratio of a policy section are
  policy, so they must be whole basis points (trade_fee: whole millionths), else an error.

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
                _collateral(f"collaterals[{j}]", c, names.index(c.underlying))
                for j, c in enumerate(config.collaterals)
            ),
            **_tail(config),
        )


def _tail(config: DeployConfig) -> dict[str, int]:
    """The global fields of the tail, by their name in ``RiskParams``."""
    fees, liquidation, insurance = config.fees, config.liquidation, config.insurance
    out, settlement, guards = config.withdrawals, config.settlement, config.guards

    def bps(section: str, name: str) -> int:
        return _exact_bps(f"{section}.{name}", getattr(getattr(config, section), name))

    return {
        "base_rate_bps": bps("cash_market", "base_rate_per_year"),
        "kink_utilisation_bps": bps("cash_market", "kink_utilisation"),
        "kink_rate_bps": bps("cash_market", "kink_rate_per_year"),
        "full_rate_bps": bps("cash_market", "full_rate_per_year"),
        "reserve_share_bps": bps("cash_market", "reserve_share"),
        "trade_fee_e6": _exact_millionths("fees.trade_fee", fees.trade_fee),
        "option_fee_cap_bps": bps("fees", "option_fee_cap"),
        "warning_bps": bps("liquidation", "warning"),
        "min_margin_wad": _up(liquidation.min_margin_cash, _WAD),
        "grace_seconds": liquidation.grace_seconds,
        "reward_time_bps": bps("liquidation", "reward_per_hour"),
        "emergency_bps": bps("liquidation", "emergency"),
        "insurance_event_cap_wad": _cap("insurance.event_cap_cash", insurance.event_cap_cash, _WAD),
        "insurance_period_cap_wad": _cap(
            "insurance.period_cap_cash", insurance.period_cap_cash, _WAD
        ),
        "insurance_period_seconds": insurance.period_seconds,
        "adl_share_bps": bps("deleveraging", "open_interest_share"),
        "cash_withdraw_cap_wad": _cap("withdrawals.cash_cap_cash", out.cash_cap_cash, _WAD),
        "withdraw_period_seconds": out.period_seconds,
        "unrealised_cap_usd": out.unrealised_cap_usd,
        "settle_window_seconds": settlement.window_seconds,
        "settle_min_observations": settlement.min_observations,
        "settle_min_spacing_seconds": settlement.min_spacing_seconds,
        "breaker_seconds": guards.breaker_seconds,
        "sequencer_grace_seconds": guards.sequencer_grace_seconds,
        "wind_down_notice_seconds": guards.wind_down_notice_seconds,
        "funding_period_seconds": config.funding.period_seconds,
    }


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
        oi_cap_wad=_cap(f"{field}.open_interest_cap", u.open_interest_cap, _WAD),
        max_funding_bps=_exact_bps(f"{field}.max_funding", u.max_funding),
        stable_rate_bps_per_day=_exact_bps(f"{field}.stable_rate_per_day", u.stable_rate_per_day),
        stable_band_bps=_exact_bps(f"{field}.stable_band", u.stable_band),
        jump_bps=_exact_bps(f"{field}.jump", u.jump),
        position_cap_wad=_cap(f"{field}.position_cap", u.position_cap, _WAD),
        group=u.group,
    )


def _collateral(field: str, c: Collateral, underlying: int) -> CollateralParams:
    return CollateralParams(
        underlying=underlying,
        decimals=c.token.decimals,
        haircut_bps=_up(c.haircut, _BPS),
        cap=_down(c.cap, 10**c.token.decimals),
        has_rate=c.rate_feed is not None,
        withdraw_cap=_cap(f"{field}.withdraw_cap", c.withdraw_cap, 10**c.token.decimals),
    )


def _unit(field: str, given: Decimal | None, shocks: Sequence[Decimal]) -> int:
    if given is None:
        return shock_unit_e6(shocks)
    return _exact_millionths(field, given)


def _exact_bps(field: str, value: Decimal) -> int:
    if (value * _BPS) % 1:
        raise ConfigError(
            "quantisation", [f"{field}: {value} is not a whole number of basis points (0.0001)"]
        )
    return int(value * _BPS)


def _exact_millionths(field: str, value: Decimal) -> int:
    if (value * _MILLION) % 1:
        raise ConfigError("quantisation", [f"{field}: {value} is not a whole number of millionths"])
    return int(value * _MILLION)


def _cap(field: str, value: Decimal, scale: int) -> int:
    """Rounded down; 0 says no cap, so a positive one must not become 0."""
    cap = _down(value, scale)
    if value > 0 and cap == 0:
        raise ConfigError("quantisation", [f"{field}: {value} rounds to 0, which means no cap"])
    return cap


def _up(value: Decimal, scale: int) -> int:
    return int((value * scale).to_integral_value(ROUND_CEILING))


def _down(value: Decimal, scale: int) -> int:
    return int((value * scale).to_integral_value(ROUND_FLOOR))
