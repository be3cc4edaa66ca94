"""Named stress scenarios on a whole book, and spot × volatility heatmaps.

*Historical* scenarios are moves of a crash, peak to trough within `hours`, as the source named in
each says; where a price table contains the time, `measured` takes the moves from it instead (open
of the day to its low, hour by hour). The sources are press and exchange reports: rounded, and for
one venue. None of them has implied volatility: those moves are `VOL_BETA` times the fall of BTC, an
assumption. An underlying that a scenario does not name moves like `OTHERS`, the worst large coin
of the report or a round number beyond it: an assumption, too.

*Hypothetical* ones are round numbers that ask one question each. Everything is evaluated by the
exact engine (`risk.quant.whatif`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Final

import numpy as np

from risk.exact.state import State
from risk.quant.book_market import RiskBook
from risk.quant.data import PriceTable
from risk.quant.errors import QuantError
from risk.quant.whatif import Effect, Measure, View, cash, compare, shocked

OTHERS: Final = "*"
VOL_BETA: Final = Decimal("2.5")
PLACES: Final = Decimal("0.0001")

HISTORICAL: Final = "historical"
MEASURED: Final = "measured"
HYPOTHETICAL: Final = "hypothetical"


@dataclass(frozen=True)
class Stress:
    """Relative moves of prices and of 30-day volatilities by name of the underlying; `OTHERS` for
    the rest. `start` (ISO, UTC) and `hours` say when, where it happened; `source` who says so.
    """

    name: str
    kind: str
    prices: Mapping[str, Decimal]
    vols: Mapping[str, Decimal]
    source: str
    start: str = ""
    hours: int = 24

    def moves(self, names: Sequence[str]) -> tuple[list[Decimal], list[Decimal]]:
        """(price moves, vol moves) in the order of `names`."""

        def of(table: Mapping[str, Decimal]) -> list[Decimal]:
            return [table.get(name, table.get(OTHERS, Decimal(0))) for name in names]

        return of(self.prices), of(self.vols)


def _historical(name: str, start: str, hours: int, source: str, **prices: str) -> Stress:
    moves = {OTHERS if k == "others" else k: Decimal(v) for k, v in prices.items()}
    vol = (VOL_BETA * -moves["BTC"]).quantize(PLACES)
    return Stress(name, HISTORICAL, moves, {OTHERS: vol}, source, start, hours)


HISTORICAL_STRESSES: Final = (
    _historical(
        "black-thursday-2020",
        "2020-03-12T00:00Z",
        30,
        "BTC 7 300 to 3 900 from 10:00 UTC to 02:15 UTC of the 13th (BTCMEX blog), above 7 900 to "
        "3 800 over the day (press); ETH 200 to 90 (press, 5th anniversary)",
        BTC="-0.50",
        ETH="-0.55",
        others="-0.55",
    ),
    _historical(
        "china-ban-2021",
        "2021-05-19T00:00Z",
        14,
        "BTC 42 000 to 30 000 within 14 hours, ETH 3 200 to 1 888, BNB 500 to 280 "
        "(worldstockmarket.net, 19 May 2021)",
        BTC="-0.2857",
        ETH="-0.41",
        others="-0.44",
    ),
    _historical(
        "luna-2022",
        "2022-05-11T12:00Z",
        24,
        "24 hours to 12 May: BTC as much as 10 %, ETH 16 %, others more than a third (Nasdaq, "
        "12 May 2022); LUNA itself to nothing",
        BTC="-0.10",
        ETH="-0.16",
        LUNA="-0.99",
        others="-0.34",
    ),
    _historical(
        "ftx-2022",
        "2022-11-08T12:00Z",
        36,
        "BTC 18 %, ETH 25 %, SOL 50 % within two days, other large coins 15 to 35 % "
        "(globelivemedia.com, 9 Nov 2022)",
        BTC="-0.18",
        ETH="-0.25",
        SOL="-0.50",
        others="-0.35",
    ),
    _historical(
        "yen-carry-2024",
        "2024-08-05T00:00Z",
        24,
        "hourly prices against USDT, open of the day to the low",
        BTC="-0.1277",
        ETH="-0.1646",
        SOL="-0.1629",
        others="-0.1646",
    ),
    _historical(
        "tariffs-2025",
        "2025-02-03T00:00Z",
        24,
        "hourly prices against USDT, open of the day to the low",
        BTC="-0.0547",
        ETH="-0.2474",
        SOL="-0.1132",
        others="-0.2474",
    ),
    _historical(
        "october-2025",
        "2025-10-10T00:00Z",
        24,
        "hourly prices against USDT, open of the day to the low; smaller coins fell much further",
        BTC="-0.1622",
        ETH="-0.2159",
        SOL="-0.2370",
        others="-0.50",
    ),
)


def _hypothetical(name: str, question: str, price: str, vol: str, **more: str) -> Stress:
    prices = {OTHERS: Decimal(price)} | {k: Decimal(v) for k, v in more.items()}
    return Stress(name, HYPOTHETICAL, prices, {OTHERS: Decimal(vol)}, question, hours=24)


HYPOTHETICAL_STRESSES: Final = (
    _hypothetical("crash-30", "everything falls by 30 %, volatility doubles", "-0.30", "1.0"),
    _hypothetical("crash-60", "everything falls by 60 %", "-0.60", "1.5"),
    _hypothetical("melt-up-30", "everything rises by 30 %, volatility up", "0.30", "0.5"),
    _hypothetical("short-squeeze", "everything doubles", "1.0", "1.0"),
    _hypothetical("vol-up", "volatility doubles at unchanged prices", "0", "1.0"),
    _hypothetical("vol-crush", "volatility halves at unchanged prices", "0", "-0.5"),
    _hypothetical(
        "decoupling", "BTC up 15 %, the others down 25 %: pairs fail", "-0.25", "0.6", BTC="0.15"
    ),
    _hypothetical("alt-crash", "BTC down 10 %, the others down 50 %", "-0.50", "1.0", BTC="-0.10"),
)


def named() -> tuple[Stress, ...]:
    """All scenarios that come with the project."""
    return (*HISTORICAL_STRESSES, *HYPOTHETICAL_STRESSES)


def choose(names: Iterable[str], among: Sequence[Stress]) -> list[Stress]:
    """The scenarios of these names, in this order. `QuantError` names what there is."""
    by_name = {s.name: s for s in among}
    out = []
    for name in names:
        if name not in by_name:
            raise QuantError(f"no scenario {name!r}; there are {', '.join(by_name)}")
        out.append(by_name[name])
    return out


def measured(stress: Stress, table: PriceTable) -> Stress:
    """The scenario with the moves that the table has for that day, where it contains it whole;
    else the scenario as it is. Moves: from the last close before `start` to the lowest price
    (`low` where the table has it, else the close) of the `hours` after it, of every asset.
    """
    if stress.kind == HYPOTHETICAL or not stress.start:
        return stress
    moment = datetime.fromisoformat(stress.start.replace("Z", "+00:00"))
    begin = int(moment.astimezone(timezone.utc).timestamp())
    first = int(np.searchsorted(table.times, begin))
    steps = stress.hours * 3600 // table.step_seconds
    if first >= len(table.times) or table.times[first] != begin:
        return stress
    if first + steps >= len(table.times):
        return stress
    lows = table.fields.get("low", table.close)[first + 1 : first + steps + 1].min(axis=0)
    moves = {
        name: Decimal(f"{low / start - 1.0:.4f}")
        for name, low, start in zip(table.assets, lows, table.close[first], strict=True)
    }
    fall = -moves.get("BTC", min(moves.values()))
    vols = {OTHERS: max(Decimal(0), VOL_BETA * fall).quantize(PLACES)}
    others = stress.prices.get(OTHERS, min(moves.values()))
    return Stress(
        stress.name,
        MEASURED,
        {**moves, OTHERS: others},
        vols,
        f"{table.source}: close of {stress.start} to the low of {stress.hours} hours; others as "
        f"reported; volatility {VOL_BETA} × the fall of BTC (assumption)",
        stress.start,
        stress.hours,
    )


@dataclass(frozen=True, eq=False)
class Outcome:
    """A scenario and what it does to the book."""

    stress: Stress
    prices: tuple[Decimal, ...]
    vols: tuple[Decimal, ...]
    effect: Effect

    def to_json(self, most: int | None = 10) -> dict[str, Any]:
        """Moves as decimal strings, and the effect with the `most` worst accounts."""
        names = self.effect.book.underlyings
        return {
            "name": self.stress.name,
            "kind": self.stress.kind,
            "source": self.stress.source,
            "start": self.stress.start,
            "hours": self.stress.hours,
            "price_moves": {n: f"{x:f}" for n, x in zip(names, self.prices, strict=True)},
            "vol_moves_30d": {n: f"{x:f}" for n, x in zip(names, self.vols, strict=True)},
            **self.effect.to_json(most),
        }


def run(measure: Measure, stresses: Sequence[Stress]) -> list[Outcome]:
    """Every scenario on the book of `measure`, each from the book as it is."""
    before = measure.view()
    out = []
    for stress in stresses:
        prices, vols = stress.moves(measure.book.underlyings)
        after = shocked(measure.book.state, prices, vols)
        out.append(Outcome(stress, tuple(prices), tuple(vols), compare(measure, after, before)))
    return out


# ---------------------------------------------------------------------------------------- heatmaps


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Rows: price moves; columns: vol moves. `change` of Σ mark equity, `bad_debt`, wei; counts of
    liquidatable and unknown accounts. `underlying` None: all move together.
    """

    underlying: str | None
    prices: tuple[Decimal, ...]
    vols: tuple[Decimal, ...]
    change: tuple[tuple[int, ...], ...]
    bad_debt: tuple[tuple[int, ...], ...]
    liquidatable: tuple[tuple[int, ...], ...]
    unknown: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Amounts as decimal strings."""
        return {
            "underlying": self.underlying,
            "price_moves": [f"{x:f}" for x in self.prices],
            "vol_moves_30d": [f"{x:f}" for x in self.vols],
            "mark_equity_change": [[cash(x) for x in row] for row in self.change],
            "bad_debt": [[cash(x) for x in row] for row in self.bad_debt],
            "liquidatable": [list(row) for row in self.liquidatable],
            "unknown": [list(row) for row in self.unknown],
        }


PRICE_GRID: Final = tuple(
    Decimal(x) for x in ("-0.5", "-0.3", "-0.2", "-0.1", "0", "0.1", "0.2", "0.3", "0.5")
)
VOL_GRID: Final = tuple(Decimal(x) for x in ("-0.4", "-0.2", "0", "0.25", "0.5", "1"))


def heatmap(
    measure: Measure,
    underlying: str | None = None,
    prices: Sequence[Decimal] = PRICE_GRID,
    vols: Sequence[Decimal] = VOL_GRID,
) -> Heatmap:
    """The book under every pair of moves of one underlying, or of all together."""
    book, before = measure.book, measure.view()
    which = None if underlying is None else book.underlying(underlying)
    cells = [
        [_cell(measure, before, _moved(book, price, vol, which)) for vol in vols]
        for price in prices
    ]

    def layer(k: int) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(cell[k] for cell in row) for row in cells)

    return Heatmap(underlying, tuple(prices), tuple(vols), layer(0), layer(1), layer(2), layer(3))


def _moved(book: RiskBook, price: Decimal, vol: Decimal, which: int | None) -> State:
    def spread(move: Decimal) -> list[Decimal]:
        return [move if which in (None, u) else Decimal(0) for u in range(len(book.underlyings))]

    return shocked(book.state, spread(price), spread(vol))


def _cell(measure: Measure, before: View, state: State) -> tuple[int, int, int, int]:
    view = measure.view(state)
    both = np.flatnonzero((before.status > 0) & (view.status > 0))
    change = sum(view.mark_equity[int(i)] - before.mark_equity[int(i)] for i in both)
    return (
        change,
        sum(view.bad_debts()),
        len(view.liquidatable()),
        int((view.status == 0).sum()),
    )
