"""The crossing into the exact world: scenario set -> `RiskParams`, book -> `State`, exact Scan.

One quantisation, that of `risk.deploy.quantise`: shocks are written with `PLACES` decimals and
then go away from zero to the next lane of the smallest unit that fits the 4095 lanes; weights go
up to the next basis point. Everything that is not a scenario (charges, tenor limits, factors) comes
from `Policy`, exact to the basis point. The exact Scan of a portfolio is that of the reference
model itself (`risk.exact.margin.margin_engine`), never a float copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.exact.margin import instrument_id, margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.params.risk_params import RiskParams, UnderlyingParams
from risk.exact.state import Account, Bucket, Linear, Option, State, Underlying
from risk.quant.scenarios.book import TENOR_CAP, TENOR_FLOOR_DAYS, TENOR_POWER, YEAR_DAYS, Book
from risk.quant.scenarios.factors import Scale, shocks
from risk.quant.scenarios.fit import ScenarioSet

Floats = NDArray[np.float64]

WAD: Final = 10**18
PLACES: Final = 6
BPS: Final = 10_000
DAY: Final = 86_400
ACCOUNT: Final = 0xCA11B << 8
MIN_SHOCK: Final = -0.95
MAX_SHOCK: Final = 20.0


@dataclass(frozen=True)
class Policy:
    """What the scenario set does not decide. Basis points, whole."""

    im_factor_bps: int = 12_000
    target_bps: int = 11_000
    reward_base_bps: int = 200
    reward_slope_bps: int = 2_000
    reward_max_bps: int = 800
    som_bps: int = 600
    liq_bps: int = 1_000
    basis_base_bps: int = 50
    basis_slope_bps: int = 100
    depth: int = 10**9  # units of the underlying: no size charge in a calibration

    def basis_rates(self, book: Book) -> Floats:
        """(M,) Basis rate of the bucket of every column."""
        yearly = self.basis_slope_bps * book.days / YEAR_DAYS
        return np.asarray((self.basis_base_bps + yearly) / BPS)


def rounded(values: Floats) -> list[Decimal]:
    """Floats as decimals with `PLACES` places: the only place where a float becomes a number."""
    return [Decimal(f"{value:.{PLACES}f}") for value in values]


def quantised(scenarios: ScenarioSet, scale: Scale, policy: Policy) -> RiskParams:
    """Exact parameters without collaterals."""
    from risk.deploy.quantise import shock_lanes, shock_unit_e6

    x, v = shocks(scenarios.shapes, scale)
    x = np.clip(x, MIN_SHOCK, MAX_SHOCK)
    v = np.clip(v, -1.0, MAX_SHOCK)
    underlyings = []
    for u in range(scale.price.size):
        prices, vols = rounded(x[:, u]), rounded(v[:, u])
        price_unit, vol_unit = shock_unit_e6(prices), shock_unit_e6(vols)
        underlyings.append(
            UnderlyingParams(
                depth_wad=policy.depth * WAD,
                som_bps=policy.som_bps,
                liq_bps=policy.liq_bps,
                basis_base_bps=policy.basis_base_bps,
                basis_slope_bps=policy.basis_slope_bps,
                price_unit_e6=price_unit,
                vol_unit_e6=vol_unit,
                tenor_power_wad=int(Decimal(str(TENOR_POWER)) * WAD),
                tenor_floor_seconds=int(TENOR_FLOOR_DAYS * DAY),
                tenor_cap_wad=int(Decimal(str(TENOR_CAP)) * WAD),
                deviation_band_bps=50,
                max_age_seconds=DAY,
                max_confidence_bps=500,
                max_skew_seconds=DAY,
                price_lanes=shock_lanes(f"price_shocks[{u}]", prices, price_unit),
                vol_lanes=shock_lanes(f"vol_shocks[{u}]", vols, vol_unit),
            )
        )
    weights = rounded(scenarios.weights)
    return RiskParams(
        im_factor_bps=policy.im_factor_bps,
        target_bps=policy.target_bps,
        reward_base_bps=policy.reward_base_bps,
        reward_slope_bps=policy.reward_slope_bps,
        reward_max_bps=policy.reward_max_bps,
        weights_bps=tuple(int((w * BPS).to_integral_value(ROUND_CEILING)) for w in weights),
        underlyings=tuple(underlyings),
        collaterals=(),
    )


def quantised_shocks(params: RiskParams) -> tuple[Floats, Floats, Floats]:
    """(x, v) (K, n) and weights (K,) as the parameters have them: the scenarios after rounding."""
    x = np.array([[lane * u.price_unit_e6 for lane in u.price_lanes] for u in params.underlyings])
    v = np.array([[lane * u.vol_unit_e6 for lane in u.vol_lanes] for u in params.underlyings])
    return x.T * 1e-6, v.T * 1e-6, np.array(params.weights_bps) / BPS


def price_wad(price: float) -> int:
    """A price to 1e-6, in WAD."""
    return int(Decimal(f"{price:.6f}") * WAD)


def make_state(book: Book, prices: Sequence[float], time: int, params: RiskParams) -> State:
    """A vault with every column of the book listed and a snapshot at `time` (08:00 UTC of a day,
    so that whole days to expiry are exact)."""
    state = State(owner=1, cash_token=2, cash_decimals=6, params=params)
    for u, price in enumerate(prices):
        spot = price_wad(price)
        state.underlyings.append(
            Underlying(feed=100 + u, feed_decimals=8, price_wad=spot, epoch=1, time=time)
        )
        for e, expiry in enumerate(book.expiries[u]):
            a, b, rho, m, sigma = expiry.svi_e9
            state.buckets[u << 16 | time // DAY + int(expiry.days)] = Bucket(
                forward_ratio_wad=WAD,
                discount_wad=WAD,
                report_time=time,
                listed=True,
                strikes_wad=strikes_wad(book, u, e, spot),
                a_e9=a,
                b_e9=b,
                rho_e9=rho,
                m_e9=m,
                sigma_e9=sigma,
            )
    return state


def strikes_wad(book: Book, u: int, e: int, spot: int) -> list[int]:
    """Strikes of one expiry: spot times the book's strike, which has four decimals."""
    chosen = (book.owner == u) & (book.expiry_index == e)
    return [round(float(k) * 10**4) * spot // 10**4 for k in book.strike[chosen]]


def instruments(book: Book, time: int) -> list[int]:
    """Instrument ids (M,) of the columns at a snapshot of that time."""
    ids = []
    for j in range(book.size):
        u = int(book.owner[j])
        if book.linear[j]:
            ids.append(instrument_id.encode(u, instrument_id.PERP, 0, 0))
            continue
        kind = instrument_id.CALL if book.call[j] else instrument_id.PUT
        day = time // DAY + int(book.days[j])
        ids.append(instrument_id.encode(u, kind, day, int(book.strike_index[j])))
    return ids


def account_of(
    sizes: Floats, book: Book, state: State, ids: Sequence[int], notional: int
) -> Account:
    """The account that holds one portfolio (M,), `notional` (whole currency) times as large.

    Perps are entered at the mark (no PnL); one wei of debt makes it an account with obligations
    whatever it holds, so that it is always scanned.
    """
    account = Account(cash_wad=-1)
    for j in np.flatnonzero(sizes):
        spot = state.underlyings[int(book.owner[j])].price_wad
        size = int(Decimal(float(sizes[j])) * notional * WAD * WAD / spot)
        if size == 0:
            continue
        if book.linear[j]:
            account.linear.append(Linear(ids[j], size, -(size * spot // WAD)))
        else:
            account.options.append(Option(ids[j], size))
    return account


def margins(
    sizes: Floats, book: Book, state: State, time: int, notional: int = 10**6
) -> list[Margin]:
    """Exact margins of portfolios (P, M) by the reference model."""
    ids = instruments(book, time)
    return [
        margin_engine.compute(state, ACCOUNT, account_of(row, book, state, ids, notional))
        for row in sizes
    ]


def exact_scan(sizes: Floats, book: Book, state: State, time: int, notional: int = 10**6) -> Floats:
    """Scan (P,) of the exact model per unit of notional, rounded down to a float."""
    unit = notional * WAD
    return np.array([m.scan / unit for m in margins(sizes, book, state, time, notional)])
