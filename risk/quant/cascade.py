"""Liquidations that move prices that cause liquidations.

Every account, fraction, price and leg is the model's own integer; how far the market moves when
liquidators hedge what they took over is an assumption (`impact`), and the only one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any, Final

from risk.exact.accounts import account_lib
from risk.exact.liquidation import liquidation_logic, slice_math
from risk.exact.margin import instrument_id
from risk.exact.margin.scenario_array import DELTA_ONE
from risk.exact.state import Account, Linear, Option, State
from risk.quant.book_market import RiskBook, holdings, interest_index
from risk.quant.errors import QuantError
from risk.quant.whatif import Measure, View, cash, shocked
from risk.vector.market import MarketTable

WAD: Final = 10**18


@dataclass(frozen=True)
class Round:
    """One round: `liquidated` accounts, what insurance paid and what it could not pay (wei), the
    `delta` (units, signed) that liquidators took over and hedged away, the price moves it caused.
    """

    liquidated: int
    insurance_paid: int
    unpaid: int
    delta: tuple[Decimal, ...]
    moves: tuple[Decimal, ...]


@dataclass(frozen=True, eq=False)
class Cascade:
    """`end` is the book after the last round; `stopped` False: the limit of rounds was reached."""

    rounds: tuple[Round, ...]
    start: View
    end: View
    stopped: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; amounts as decimal strings."""
        return {
            "rounds": [
                {
                    "liquidated": r.liquidated,
                    "insurance_paid": cash(r.insurance_paid),
                    "unpaid": cash(r.unpaid),
                    "delta_units": [f"{x:f}" for x in r.delta],
                    "price_moves": [f"{x:f}" for x in r.moves],
                }
                for r in self.rounds
            ],
            "settled": self.stopped,
            "start": self.start.summary(),
            "end": self.end.summary(),
        }


def cascade(
    book: RiskBook, state: State, impact: Decimal = Decimal("0.1"), *, most: int = 20
) -> Cascade:
    """Liquidations that move prices that cause liquidations.

    Every round each liquidatable account gives up the slice f* of everything at its price, by the
    model's own integers (`liquidation_logic.quote`, `slice_math`); a negative price is paid by the
    insurance fund while it lasts. Liquidators are not part of the book: they hedge the delta that
    they took in the market, which moves by `impact` for every `depth` (risk parameters) sold, at
    most −90 % and +900 % in a round. Linear impact is an assumption; it is the only number here
    that is not the model's.
    """
    if not impact.is_finite() or impact < 0:
        raise QuantError(f"the impact must be at least 0, got {impact}")
    state = replace(state, accounts=dict(state.accounts))
    rounds: list[Round] = []
    start = view = Measure(replace(book, state=state)).view()
    while len(rounds) < most and len(view.liquidatable()):
        deltas = unit_deltas(view.state, book.held())
        sold = [Decimal(0)] * len(state.underlyings)
        paid = unpaid = 0
        insurance = view.state.insurance_wad
        for i in view.liquidatable():
            number = view.ids[int(i)]
            quote = liquidation_logic.quote(view.state, number)
            account, taken = _slice(
                account_lib.load(view.state, number), quote.max_fraction_wad, deltas
            )
            payment = slice_math.payment(quote.full_price_wad, quote.max_fraction_wad)
            if payment < 0:
                drawn = min(insurance, -payment)
                insurance, paid, unpaid = insurance - drawn, paid + drawn, unpaid - payment - drawn
            account.cash_wad += max(payment, 0)
            account.interest_index = interest_index(state, account.cash_wad)
            state.accounts[number] = account
            for u, units in taken.items():
                sold[u] += units
        moves = _impact(view.state, sold, impact)
        state = replace(view.state, accounts=state.accounts, insurance_wad=insurance)
        state = shocked(state, moves)
        rounds.append(Round(len(view.liquidatable()), paid, unpaid, tuple(sold), tuple(moves)))
        view = Measure(replace(book, state=state)).view()
    return Cascade(tuple(rounds), start, view, not len(view.liquidatable()))


def unit_deltas(state: State, instruments: Sequence[int]) -> Mapping[int, Fraction]:
    """Units of the underlying that one unit of each instrument is worth in delta: perp 1, future
    its forward ratio, option its δ to 1/511. An option that cannot be valued is left out.
    """
    table = MarketTable.from_state(state, instruments)
    out: dict[int, Fraction] = {}
    for x in table.instruments:
        if x.is_option and x.usable:
            out[x.id] = Fraction(x.delta, DELTA_ONE)
        elif not x.is_option and x.delta and x.usable:
            ratio = state.buckets[instrument_id.bucket_key(x.id)].forward_ratio_wad
            out[x.id] = Fraction(ratio, WAD)
        elif not x.is_option and x.usable:
            out[x.id] = Fraction(1)
    return out


def _slice(
    a: Account, fraction: int, deltas: Mapping[int, Fraction]
) -> tuple[Account, dict[int, Decimal]]:
    """(what is left, delta units of the positions that left, by underlying)."""
    taken: dict[int, Fraction] = {}

    def leg(x: int) -> int:
        return x - slice_math.leg(x, fraction)

    for x in holdings(a):
        u = instrument_id.underlying(x.instrument)
        moved = slice_math.leg(x.size_wad, fraction) * deltas.get(x.instrument, Fraction(0))
        taken[u] = taken.get(u, Fraction(0)) + moved
    left = replace(
        a,
        cash_wad=leg(a.cash_wad),
        collateral=[leg(x) for x in a.collateral],
        linear=[
            Linear(x.instrument, leg(x.size_wad), leg(x.quote_wad))
            for x in a.linear
            if leg(x.size_wad) or leg(x.quote_wad)
        ],
        options=[Option(x.instrument, leg(x.size_wad)) for x in a.options if leg(x.size_wad)],
    )
    return left, {u: _decimal(x / WAD) for u, x in taken.items()}


def _impact(state: State, sold: Sequence[Decimal], impact: Decimal) -> list[Decimal]:
    moves = []
    for u, units in enumerate(sold):
        assert state.params is not None
        depth = Decimal(state.params.underlyings[u].depth_wad) / WAD
        move = -impact * units / depth
        moves.append(min(max(move, Decimal("-0.9")), Decimal(9)).quantize(Decimal("1e-9")))
    return moves


def _decimal(x: Fraction) -> Decimal:
    return (Decimal(x.numerator) / Decimal(x.denominator)).quantize(
        Decimal("1e-9"), ROUND_HALF_EVEN
    )
