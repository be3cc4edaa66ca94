"""What a change of prices, volatilities or parameters does to a whole book, by the exact engine.

Every figure is that of `risk.vector.exact`, which is bit-identical to the reference model: whole
wei, no float in any margin. A change is a second `State` with the same accounts; `compare` measures
both and says who becomes liquidatable, who falls below initial margin, and what is owed.

*Bad debt* of an account is max(0, −M), what it cannot pay at mark. *Insurance need* is what the
insurance fund would be asked for if every liquidatable account were taken over whole at its price
M − ρ·MM (docs/liquidation.md): the reward of the liquidators is in it. *Expected bad debt* is the
mean of the bad debt over a sample of further moves, nobody having been liquidated in between.

A price shock moves the snapshot price; forwards move with it, because they are ratios. A volatility
shock v is relative, at 30 days, and acts on other tenors by the tenor factor g(T) of the underlying
as the scan's own shocks do: the total variance of a slice is multiplied by (1 + v·g(T))². Slices
are functions of ln(K/F), so at v = 0 volatilities are sticky in moneyness: what the vault itself
has until the next report. Time, funding, interest and the stable price stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from math import isqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from risk.exact.errors import ModelRevert
from risk.exact.liquidation import liquidation_logic
from risk.exact.margin import array_logic, instrument_id
from risk.exact.params import params_logic
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import (
    MAX_PRICE_WAD,
    MIN_PRICE_WAD,
    Bucket,
    State,
)
from risk.quant.book_market import RiskBook
from risk.quant.errors import QuantError
from risk.vector.accounts import AccountBatch
from risk.vector.market import MarketTable
from risk.vector.result import Margins

WAD: Final = 10**18
E9: Final = 10**9
HEALTHY: Final = "healthy"
WARNED: Final = "below IM"
LIQUIDATABLE: Final = "liquidatable"
UNKNOWN: Final = "unknown"
MAX_WING_E9: Final = 2 * E9  # b·(1 + |ρ|) of a slice, risk/exact/math/svi.py

Status = NDArray[np.int8]
_STATUS: Final = (UNKNOWN, LIQUIDATABLE, WARNED, HEALTHY)


# ------------------------------------------------------------------------------------ changes


def shocked(
    state: State, prices: Sequence[Decimal], vols: Sequence[Decimal] | None = None
) -> State:
    """The same book after prices moved by `prices` (n,) and 30-day volatilities by `vols` (n,),
    both relative (-0.2 is −20 %). Accounts are shared with `state`.

    Rounding: prices down to the wei, variances to the nearest 1e-9. A slice whose wings would be
    too steep for the model is held at the steepest it admits. `QuantError` for a move of -100 % or
    less, or a price outside what the vault can hold.
    """
    n = len(state.underlyings)
    given = [Decimal(0)] * n if vols is None else list(vols)
    if len(prices) != n or len(given) != n:
        raise QuantError(f"{len(prices)} prices and {len(given)} volatilities; the book has {n}")
    if state.params is None:
        raise QuantError("the vault has no risk parameters: no account has a margin")
    underlyings = []
    for u, (data, move, vol) in enumerate(zip(state.underlyings, prices, given, strict=True)):
        if not (move.is_finite() and move > -1) or not (vol.is_finite() and vol > -1):
            raise QuantError(f"a move of {move} with volatility {vol} is not above -100 %")
        price = int(data.price_wad * (1 + Fraction(move)))
        if not MIN_PRICE_WAD <= price <= MAX_PRICE_WAD:
            raise QuantError(f"underlying {u} would cost {price} wei, outside what the vault holds")
        underlyings.append(replace(data, price_wad=price))
    buckets = {
        key: _with_vol(state, key, bucket, given[key >> 16])
        for key, bucket in state.buckets.items()
    }
    return replace(state, underlyings=underlyings, buckets=buckets)


def with_params(state: State, params: RiskParams) -> State:
    """The same book under other parameters. `QuantError` for what the contract would refuse."""
    if len(params.underlyings) != len(state.underlyings):
        raise QuantError(
            f"parameters for {len(params.underlyings)} underlyings; the vault has "
            f"{len(state.underlyings)}"
        )
    if len(params.collaterals) != len(state.collaterals):
        raise QuantError(
            f"parameters for {len(params.collaterals)} collaterals; the vault has "
            f"{len(state.collaterals)}"
        )
    try:
        params_logic.validate(state, params.blob)
    except ModelRevert as error:
        name, index, value = error.args  # RiskParamsInvalid(bytes32 field, index, value)
        field = name.to_bytes(32, "big").rstrip(b"\0").decode()
        raise QuantError(
            f"the vault refuses these parameters: {field}[{index}] = {value}"
        ) from None
    except ValueError as error:
        raise QuantError(f"these parameters cannot be encoded: {error}") from error
    return replace(state, params=params)


def _with_vol(state: State, key: int, bucket: Bucket, vol: Decimal) -> Bucket:
    u, day = key >> 16, key & 0xFFFF
    tenor = day * instrument_id.DAY + instrument_id.EXPIRY_TIME_OF_DAY - state.underlyings[u].time
    if not vol or bucket.forward_ratio_wad == 0 or tenor <= 0 or state.params is None:
        return bucket
    g = Fraction(array_logic.tenor_factor(state.params, u, tenor), WAD)
    return _scaled(bucket, max(Fraction(0), 1 + Fraction(vol) * g) ** 2)


def aged(state: State, seconds: int) -> State:
    """The same book when that much of every option's life has passed at unchanged volatilities:
    total variances shrink in proportion, to 0 at the expiry. Prices and clocks stay.
    """
    buckets = {}
    for key, bucket in state.buckets.items():
        day, now = key & 0xFFFF, state.underlyings[key >> 16].time
        tenor = day * instrument_id.DAY + instrument_id.EXPIRY_TIME_OF_DAY - now
        live = tenor > 0 and bucket.forward_ratio_wad
        share = Fraction(max(0, tenor - seconds), tenor) if live else Fraction(1)
        buckets[key] = _scaled(bucket, share)
    return replace(state, buckets=buckets)


def _scaled(bucket: Bucket, factor: Fraction) -> Bucket:
    """The slice with its total variance times `factor`."""
    steepest = MAX_WING_E9 * E9 // (E9 + abs(bucket.rho_e9))
    if bucket.b_e9 and bucket.b_e9 * factor > steepest:
        factor = Fraction(steepest, bucket.b_e9)
    slope = int(bucket.b_e9 * factor)
    # a is rounded up to where the smallest variance of the slice is not below 0
    least = slope * bucket.sigma_e9 * isqrt(E9 * E9 - bucket.rho_e9**2) // (E9 * E9)
    return replace(bucket, a_e9=max(round(bucket.a_e9 * factor), -least), b_e9=slope)


# --------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True, eq=False)
class View:
    """Every account of a book at one state. `status` (n,): 0 unknown (the model refuses), 1
    liquidatable (E < MM), 2 below IM, 3 healthy.
    """

    state: State
    ids: Sequence[int]
    margins: Margins
    status: Status
    mark_equity: Sequence[int]
    equity: Sequence[int]
    mm: Sequence[int]
    im: Sequence[int]

    def known(self) -> NDArray[np.int64]:
        """Rows with a margin."""
        return np.flatnonzero(self.status > 0)

    def total(self, values: Sequence[int]) -> int:
        """Sum over the accounts with a margin."""
        return sum(values[int(i)] for i in self.known())

    def bad_debts(self) -> list[int]:
        """max(0, −M) of every account; 0 where it is unknown."""
        return [max(0, -m) if s else 0 for m, s in zip(self.mark_equity, self.status, strict=True)]

    def liquidatable(self) -> NDArray[np.int64]:
        """Rows below maintenance margin."""
        return np.flatnonzero(self.status == 1)

    def insurance_need(self) -> int:
        """Σ max(0, ρ·MM − M) of the liquidatable accounts, see the module."""
        need = 0
        for i in self.liquidatable():
            quote = liquidation_logic.quote(self.state, self.ids[int(i)])
            need += max(0, -quote.full_price_wad)
        return need

    def summary(self) -> dict[str, Any]:
        """Counts, and sums over the known accounts as decimal strings of cash."""
        names = dict(
            zip((0, 1, 2, 3), ("unknown", "liquidatable", "below_im", "healthy"), strict=True)
        )
        return {
            "accounts": len(self.ids),
            **{name: int((self.status == code).sum()) for code, name in names.items()},
            "mark_equity": cash(self.total(self.mark_equity)),
            "equity": cash(self.total(self.equity)),
            "mm": cash(self.total(self.mm)),
            "im": cash(self.total(self.im)),
            "bad_debt": cash(sum(self.bad_debts())),
            "insurance_need": cash(self.insurance_need()),
            "insurance": cash(self.state.insurance_wad),
        }


class Measure:
    """Measures one book at many states. The accounts are packed once; states must hold the same
    accounts and list the same instruments.
    """

    def __init__(self, book: RiskBook) -> None:
        if not book.state.accounts:
            raise QuantError("the book is empty: no account")
        self.book = book
        self.instruments = book.held()
        self.table = MarketTable.from_state(book.state, self.instruments)
        self.batch = AccountBatch.from_state(self.table, book.state)

    def view(self, state: State | None = None) -> View:
        """All accounts at `state` (None: as the book is)."""
        from risk.vector import exact  # loads scipy

        at = self.book.state if state is None else state
        table = self.table if state is None else MarketTable.from_state(at, self.instruments)
        m = exact.margins(table, self.batch, at)
        status = np.where(m.health < 0, 1, np.where(m.initial < 0, 2, 3)).astype(np.int8)
        status[list(m.errors)] = 0
        values = (m.values(name) for name in ("mark_equity", "equity", "mm", "im"))
        return View(at, list(self.batch.ids), m, status, *values)


def cash(wad: int) -> str:
    """WAD of cash as a decimal string, exact."""
    sign, (whole, rest) = "-" if wad < 0 else "", divmod(abs(wad), WAD)
    tail = f"{rest:018d}".rstrip("0")
    return f"{sign}{whole}{'.' + tail if tail else ''}"


@dataclass(frozen=True, eq=False)
class Effect:
    """A book before and after a change."""

    book: RiskBook
    before: View
    after: View

    def rows(self, mask: NDArray[np.bool_]) -> list[int]:
        """Account ids where `mask`, those with the lowest E − MM after the change first."""
        found = [int(i) for i in np.flatnonzero(mask)]
        found.sort(key=lambda i: self.after.equity[i] - self.after.mm[i])
        return [self.before.ids[i] for i in found]

    def newly_liquidatable(self) -> list[int]:
        """At or above MM before, below it after."""
        return self.rows((self.before.status > 1) & (self.after.status == 1))

    def newly_below_im(self) -> list[int]:
        """At or above IM before, below it (but not below MM) after."""
        return self.rows((self.before.status == 3) & (self.after.status == 2))

    def cured(self) -> list[int]:
        """Liquidatable before, no longer after."""
        return self.rows((self.before.status == 1) & (self.after.status > 1))

    def newly_unknown(self) -> list[int]:
        """The model refuses them after the change: never counted as healthy."""
        return self.rows((self.before.status > 0) & (self.after.status == 0))

    def account(self, number: int) -> dict[str, Any]:
        """One account before and after; amounts as decimal strings of cash."""
        i = self.before.ids.index(number)
        return self._account(i)

    def _account(self, i: int) -> dict[str, Any]:
        def side(v: View) -> dict[str, Any]:
            if not v.status[i]:
                return {"status": UNKNOWN, "error": str(v.margins.errors[i])}
            return {
                "status": _STATUS[int(v.status[i])],
                "mark_equity": cash(v.mark_equity[i]),
                "equity": cash(v.equity[i]),
                "mm": cash(v.mm[i]),
                "im": cash(v.im[i]),
            }

        number = self.before.ids[i]
        return {
            "account": self.book.label(number),
            "id": f"0x{number:042x}",
            "before": side(self.before),
            "after": side(self.after),
        }

    def to_json(self, most: int | None = None) -> dict[str, Any]:
        """The whole effect; `accounts` has everybody, or the `most` with the lowest E − MM."""
        order = np.argsort(
            [
                e - m if s else -(10**60)
                for e, m, s in zip(self.after.equity, self.after.mm, self.after.status, strict=True)
            ],
            kind="stable",
        )

        def names(numbers: Sequence[int]) -> list[str]:
            return [self.book.label(x) for x in numbers]

        return {
            "before": self.before.summary(),
            "after": self.after.summary(),
            "newly_liquidatable": names(self.newly_liquidatable()),
            "newly_below_im": names(self.newly_below_im()),
            "cured": names(self.cured()),
            "newly_unknown": names(self.newly_unknown()),
            "accounts": [self._account(int(i)) for i in order[:most]],
        }


def compare(measure: Measure, after: State, before: View | None = None) -> Effect:
    """Effect of going from the book as it is to `after`."""
    return Effect(measure.book, before or measure.view(), measure.view(after))


def expected_bad_debt(
    measure: Measure,
    state: State,
    moves: Sequence[Sequence[Decimal]],
    vols: Sequence[Sequence[Decimal]] | None = None,
) -> tuple[Fraction, list[int]]:
    """(mean, bad debt of each) over further moves (m, n) from `state`, equally likely, in wei.

    Nobody is liquidated in between, so it is an upper estimate for accounts that could be. An
    account that the model refuses counts with nothing; `compare` names those.
    """
    if not moves:
        raise QuantError("no moves: there is no expectation")
    debts = []
    for i, move in enumerate(moves):
        view = measure.view(shocked(state, move, None if vols is None else vols[i]))
        debts.append(sum(view.bad_debts()))
    return Fraction(sum(debts), len(debts)), debts
