"""Factor exposures of accounts: delta, gamma, vega, theta, correlation, liquidity, funding.

Greeks are differences of the exact engine's mark equity at bumped markets, so they hold whatever an
account holds (collateral, perps, futures, options) and need no second pricing model. Per underlying
and account, in cash:

==============  =================================================================================
delta           S·∂M/∂S: P&L of +100 % at today's slope; divided by S it is in units
gamma           change of delta for +1 %: 0.01·S²·∂²M/∂S²
vega            P&L of volatilities 10 % higher (of themselves) at 30 days, other tenors by g(T)
theta           P&L of one day at unchanged prices, of the whole account
funding         paid (> 0) by the account's perp in one day at the last premium reported
==============  =================================================================================

Bumps: ±1 % of price, ±5 % of volatility, central differences; their error is of third order.
*Correlation*: change of the standard deviation of the delta P&L over the horizon when every
correlation rises by 0.1 towards 1. *Liquidity*: the account's size against the depth, and the size
charge Liq of the margin.

Sums over accounts are sums of signed numbers: on a chain, where every instrument's positions sum to
zero, only the collateral's delta is left. `gross` adds up absolute values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from risk.exact.margin import instrument_id
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State
from risk.quant.book_market import RiskBook, holdings
from risk.quant.errors import QuantError
from risk.quant.whatif import Measure, View, aged, shocked

Floats = NDArray[np.float64]

WAD: Final = 10**18
DAY: Final = 86_400
PRICE_BUMP: Final = Decimal("0.01")
VOL_BUMP: Final = Decimal("0.05")
VEGA_UNIT: Final = 0.10
CORRELATION_STEP: Final = 0.10
BPS_TO_E9: Final = 10**5


@dataclass(frozen=True, eq=False)
class Exposures:
    """Cash, (n accounts, U underlyings) but `theta` and `liq` (n,); `units` in the underlying.

    Rows of accounts that the model refuses, at the market or at a bump, are NaN.
    """

    book: RiskBook
    ids: tuple[int, ...]
    delta: Floats
    gamma: Floats
    vega: Floats
    theta: Floats
    funding: Floats
    units: Floats
    liq: Floats
    depth: Floats

    def correlation(self, sigma: Floats, matrix: Floats) -> tuple[Floats, Floats]:
        """(standard deviation of the delta P&L, its change for correlations 0.1 higher), (n,).

        `sigma` (U,) of returns over the horizon, `matrix` (U, U) their correlation.
        """
        n = len(self.book.underlyings)
        if sigma.shape != (n,) or matrix.shape != (n, n):
            raise QuantError(f"sigma {sigma.shape} and correlation {matrix.shape} are not for {n}")
        if not (sigma >= 0).all() or not np.allclose(matrix, matrix.T):
            raise QuantError("sigma must be at least 0 and the correlation symmetric")
        higher = np.minimum(matrix + CORRELATION_STEP, 1.0)
        np.fill_diagonal(higher, 1.0)
        moved = self.delta * sigma

        def deviation(m: Floats) -> Floats:
            return np.asarray(np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", moved, m, moved), 0.0)))

        now = deviation(matrix)
        return now, deviation(higher) - now

    def account(self, number: int) -> dict[str, Any]:
        """One account; floats, because they are estimates."""
        i = self.ids.index(number)
        names = self.book.underlyings
        return {
            "account": self.book.label(number),
            "theta_a_day": float(self.theta[i]),
            "liq": float(self.liq[i]),
            "by_underlying": {
                name: {
                    "delta": float(self.delta[i, u]),
                    "gamma_per_percent": float(self.gamma[i, u]),
                    "vega_per_10_percent": float(self.vega[i, u]),
                    "funding_a_day": float(self.funding[i, u]),
                    "size_of_depth": float(self.units[i, u] / self.depth[u]),
                }
                for u, name in enumerate(names)
            },
        }

    def totals(self) -> dict[str, Any]:
        """Signed and absolute sums, and who holds most, per underlying; NaN rows left out."""
        known = np.isfinite(self.delta).all(axis=1) & np.isfinite(self.vega).all(axis=1)
        if not known.any():
            raise QuantError("no account of the book can be valued")

        def pair(values: Floats, u: int) -> dict[str, float]:
            column = values[known, u]
            return {"net": float(column.sum()), "gross": float(np.abs(column).sum())}

        out = {}
        for u, name in enumerate(self.book.underlyings):
            units = np.where(known, self.units[:, u], 0.0)
            top = int(units.argmax())
            out[name] = {
                "delta": pair(self.delta, u),
                "gamma_per_percent": pair(self.gamma, u),
                "vega_per_10_percent": pair(self.vega, u),
                "funding_a_day": pair(self.funding, u),
                "units": float(units.sum()),
                "depth": float(self.depth[u]),
                "largest": {
                    "account": self.book.label(self.ids[top]),
                    "units": float(units[top]),
                    "of_depth": float(units[top] / self.depth[u]),
                },
            }
        return {
            "accounts": int(known.sum()),
            "not_valued": int((~known).sum()),
            "theta_a_day": float(self.theta[known].sum()),
            "liq": float(self.liq[known].sum()),
            "by_underlying": out,
        }


def measure_exposures(measure: Measure) -> Exposures:
    """Exposures of every account of the book, 4·U + 2 runs of the exact engine."""
    book, state = measure.book, measure.book.state
    if state.params is None:
        raise QuantError("the vault has no risk parameters: no account has a margin")
    now = measure.view()
    n, count = len(book.underlyings), len(now.ids)
    base = _marks(now)
    delta, gamma, vega = (np.empty((count, n)) for _ in range(3))
    price, vol = float(PRICE_BUMP), float(VOL_BUMP)
    for u in range(n):
        up, down = (_marks(_bumped(measure, u, way * PRICE_BUMP, Decimal(0))) for way in (1, -1))
        delta[:, u] = _quotient(up, down, 2.0 * price)
        gamma[:, u] = (_quotient(up, base, 1.0) - _quotient(base, down, 1.0)) / price**2 * 0.01
        up, down = (_marks(_bumped(measure, u, Decimal(0), way * VOL_BUMP)) for way in (1, -1))
        vega[:, u] = _quotient(up, down, 2.0 * vol / VEGA_UNIT)
    later = _marks(measure.view(aged(state, DAY)))
    units, funding = _sizes(state, state.params, now.ids)
    known = now.status > 0
    liq = np.array([x / WAD for x in now.margins.values("liq")])
    return Exposures(
        book,
        tuple(now.ids),
        delta,
        gamma,
        vega,
        _quotient(later, base, 1.0),
        funding,
        units,
        np.where(known, liq, np.nan),
        np.array([p.depth_wad / WAD for p in state.params.underlyings]),
    )


def funding_rate(state: State, params: RiskParams, u: int) -> float:
    """What one currency unit of long perp pays in a day at the last premium reported."""
    limit = params.underlyings[u].max_funding_bps * BPS_TO_E9
    if limit == 0 or params.funding_period_seconds == 0:
        return 0.0
    premium = max(-limit, min(limit, state.underlyings[u].premium_e9))
    return premium * 1e-9 * DAY / params.funding_period_seconds


def _bumped(measure: Measure, u: int, price: Decimal, vol: Decimal) -> View:
    n = len(measure.book.underlyings)

    def at(move: Decimal) -> list[Decimal]:
        return [move if i == u else Decimal(0) for i in range(n)]

    return measure.view(shocked(measure.book.state, at(price), at(vol)))


def _marks(view: View) -> list[int | None]:
    """M in wei; None where the model refuses."""
    return [m if s else None for m, s in zip(view.mark_equity, view.status, strict=True)]


def _quotient(up: Sequence[int | None], down: Sequence[int | None], step: float) -> Floats:
    """(up − down)/step in cash; the difference is exact, of whole wei."""
    return np.array(
        [
            np.nan if a is None or b is None else float(a - b) / WAD / step
            for a, b in zip(up, down, strict=True)
        ]
    )


def _sizes(state: State, params: RiskParams, ids: Sequence[int]) -> tuple[Floats, Floats]:
    """(N_u: Σ|size| of u in units, funding a day), (n, U)."""
    units = np.zeros((len(ids), len(state.underlyings)))
    funding = np.zeros_like(units)
    rate = [
        funding_rate(state, params, u) * data.price_wad / WAD
        for u, data in enumerate(state.underlyings)
    ]
    for i, number in enumerate(ids):
        account = state.accounts[number]
        for x in holdings(account):
            u = instrument_id.underlying(x.instrument)
            units[i, u] += abs(x.size_wad) / WAD
            if instrument_id.kind(x.instrument) == instrument_id.PERP:
                funding[i, u] += x.size_wad / WAD * rate[u]
    return units, funding
