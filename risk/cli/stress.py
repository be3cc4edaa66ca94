"""``plumbline stress``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk.cli.chain_book import NOWHERE, ChainOptions, read_book
from risk.cli.output import guarded, stdout, tell, write_json

if TYPE_CHECKING:
    from decimal import Decimal

    from risk.exact.params.risk_params import RiskParams
    from risk.quant.book_market import RiskBook
    from risk.quant.data import PriceTable
    from risk.quant.stress_tests import Outcome
    from risk.quant.whatif import Measure

DEFAULT_MARKET = "configs/local.toml"
DEFAULT_ACCOUNTS = 300
LEAST_HOURS = 25  # one move of a day


@dataclass(frozen=True)
class StressOptions:
    """The options of the command as they came."""

    positions: Path | None = None
    config: Path | None = None
    at: str | None = None
    price: Sequence[str] = ()
    chain: ChainOptions = NOWHERE  # where the book is read
    data: Path | None = None
    scenario: Sequence[str] = ()
    what_if: Sequence[str] = ()
    params: Path | None = None
    heatmap: str | None = None
    exposures: bool = False
    cascade: bool = False
    impact: str = "0.1"
    accounts: int = DEFAULT_ACCOUNTS
    seed: int = 1


def stress_command(options: StressOptions, json: Path | None) -> int:
    """0: done, whatever it found; 2: it could not be done, and nothing was written."""
    return guarded(lambda: _stress(options, json))


def _stress(options: StressOptions, json: Path | None) -> int:
    from risk.cli import stress_tables as tables
    from risk.quant.data import read_prices
    from risk.quant.whatif import Measure, compare, shocked, with_params

    asked = what_if(options.what_if)
    impact = decimal("--impact", options.impact)
    table = None if options.data is None else read_prices(options.data, min_rows=LEAST_HOURS)
    stresses = _stresses(options, table)
    book = _book(options)
    params = None if options.params is None else read_params(options.params)
    measure = Measure(book)
    before = measure.view()
    out: dict[str, Any] = {"book": dict(book.about), "now": before.summary()}
    console = stdout()
    if before.known().size == 0:
        tell("the model refuses every account: see the JSON report")
    if asked or params is not None:
        after = book.state
        if asked:
            prices, vols = by_underlying(book, asked)
            after = shocked(after, prices, vols)
        if params is not None:
            after = with_params(after, params)
        effect = compare(measure, after, before)
        out["what_if"] = {
            "moves": {name: f"{move:f}" for name, move in asked.items()},
            "params": None if options.params is None else options.params.name,
            **effect.to_json(),
        }
        console.print(tables.effect_table(effect))
    outcomes = _run(measure, stresses) if stresses else []
    out["scenarios"] = [o.to_json() for o in outcomes]
    if outcomes:
        console.print(tables.stress_table(outcomes))
        out["expected_bad_debt"] = _expected(table, measure, console)
    if options.cascade and outcomes:
        from risk.quant.cascade import cascade

        found = [(o, cascade(book, o.effect.after.state, impact)) for o in outcomes]
        out["cascades"] = {o.stress.name: c.to_json() for o, c in found}
        console.print(tables.cascade_table([(o.stress.name, c) for o, c in found]))
    if options.heatmap is not None:
        from risk.quant.stress_tests import heatmap

        tell("heatmap")
        picture = heatmap(measure, None if options.heatmap == "all" else options.heatmap)
        out["heatmap"] = picture.to_json()
        console.print(tables.heatmap_table(picture))
    if options.exposures:
        from risk.quant.exposures import measure_exposures

        tell("exposures")
        exposures = measure_exposures(measure)
        out["exposures"] = exposures.totals() | _correlation(table, exposures)
        console.print(tables.exposure_table(out["exposures"]))
    write_json(json, out)
    return 0


# ------------------------------------------------------------------------------------------- inputs


def decimal(option: str, text: str) -> Decimal:
    """A plain decimal. `QuantError` names the option."""
    from decimal import Decimal, InvalidOperation

    from risk.quant.errors import QuantError

    try:
        value = Decimal(text)
    except InvalidOperation:
        raise QuantError(f"{option}: {text!r} is not a decimal number") from None
    if not value.is_finite():
        raise QuantError(f"{option}: {text!r} is not a finite number")
    return value


def pairs(option: str, items: Sequence[str]) -> dict[str, Decimal]:
    """NAME=NUMBER items, also several with commas. `QuantError` names what is wrong."""
    from risk.quant.errors import QuantError

    out: dict[str, Decimal] = {}
    for item in ",".join(items).split(",") if items else ():
        name, equals, number = (part.strip() for part in item.partition("="))
        if not name or not equals or not number:
            raise QuantError(f"{option}: {item!r} is not of the form NAME=NUMBER")
        if name in out:
            raise QuantError(f"{option}: {name} is given twice")
        out[name] = decimal(f"{option} {name}", number)
    return out


def what_if(items: Sequence[str]) -> dict[str, Decimal]:
    """Moves by name: ETH, ETH.vol, all, vol (of all)."""
    return pairs("--what-if", items)


def by_underlying(book: RiskBook, moves: dict[str, Decimal]) -> tuple[list[Decimal], list[Decimal]]:
    """(price moves, vol moves) in the order of the book. `QuantError` for an unknown name."""
    from decimal import Decimal

    zero, n = Decimal(0), len(book.underlyings)
    prices = [moves.get("all", zero)] * n
    vols = [moves.get("vol", zero)] * n
    for name, move in moves.items():
        if name in ("all", "vol"):
            continue
        target, dot, which = name.rpartition(".")
        if dot and which == "vol":
            vols[book.underlying(target)] = move
        else:
            prices[book.underlying(name)] = move
    return prices, vols


def moment(text: str | None) -> int:
    """Unix seconds of an ISO date (08:00 UTC) or time stamp; none: that of the generated book."""
    from datetime import datetime

    from risk.quant.book_market import GENERATED_AT
    from risk.quant.errors import QuantError

    if text is None:
        return GENERATED_AT
    whole = f"{text}T08:00:00+00:00" if len(text) == 10 else text.replace("Z", "+00:00")
    try:
        parsed = datetime.fromisoformat(whole)
    except ValueError:
        raise QuantError(f"--at: {text!r} is not an ISO date or time stamp") from None
    if parsed.tzinfo is None:
        raise QuantError(f"--at: {text!r} has no zone")
    return int(parsed.timestamp())


def read_params(path: Path) -> RiskParams:
    """Risk parameters of a deployment configuration (.toml, .json), or of a blob (.hex)."""
    from risk.quant.errors import DataError

    if path.suffix == ".hex":
        from risk.exact.params.risk_params import RiskParams

        try:
            return RiskParams.decode(
                bytes.fromhex(path.read_text(encoding="ascii").strip().removeprefix("0x"))
            )
        except (ValueError, IndexError) as error:
            raise DataError(path, f"is not a blob of risk parameters: {error}") from error
    from risk.deploy.config import load_config
    from risk.deploy.quantise import quantise

    return quantise(load_config(path))


def _book(options: StressOptions) -> RiskBook:
    from risk.quant import book_data, book_market
    from risk.quant.errors import QuantError

    chain = options.chain
    if chain.given:
        if options.positions is not None:
            raise QuantError("give positions from a file or from a chain, not both")
        if options.config or options.at or options.price:
            raise QuantError("--config, --at and --price do not go with --rpc: the chain has them")
        return read_book(chain)
    prices = pairs("--price", options.price)
    config = options.config or _default_config()
    drawn = options.positions is None
    market = book_market.from_config(config, moment(options.at), prices, listed=drawn)
    if options.positions is not None:
        return book_data.book_from_file(options.positions, market)
    tell(f"no --positions and no --rpc: {options.accounts} generated accounts")
    return book_market.draw(market, options.accounts, options.seed)


def _default_config() -> Path:
    from risk.chain.node import project_root

    return project_root() / DEFAULT_MARKET


def _stresses(options: StressOptions, table: PriceTable | None) -> list[Any]:
    from risk.quant import stress_tests

    among = stress_tests.named()
    if options.scenario:
        names = [] if list(options.scenario) == ["none"] else options.scenario
        among = tuple(stress_tests.choose(names, among))
    return [s if table is None else stress_tests.measured(s, table) for s in among]


# ------------------------------------------------------------------------------------------ running


def _run(measure: Measure, stresses: Sequence[Any]) -> list[Outcome]:
    from risk.quant.stress_tests import run

    out = []
    for stress in stresses:
        tell(stress.name)
        out += run(measure, [stress])
    return out


def _expected(table: PriceTable | None, measure: Measure, console: Any) -> dict[str, Any] | None:
    """Mean bad debt over the daily moves of the price file, from the book as it is."""
    if table is None:
        return None
    from decimal import Decimal

    from risk.quant.whatif import cash, expected_bad_debt

    hours = 24 * 3600 // table.step_seconds
    returns = table.simple_returns(hours)[::hours]
    names = measure.book.underlyings
    known = {name: table.column(name) for name in names if name in table.assets}
    # an underlying without prices moves like the mean of the others
    moves = [
        [Decimal(f"{(row[known[name]] if name in known else row.mean()):.6f}") for name in names]
        for row in returns
    ]
    tell(f"bad debt over {len(moves)} days")
    mean, debts = expected_bad_debt(measure, measure.book.state, moves)
    console.print(
        f"expected bad debt over {len(debts)} days of {table.source}: {cash(int(mean))}, "
        f"worst day {cash(max(debts))}, days with any {sum(d > 0 for d in debts)}"
    )
    return {
        "source": table.source,
        "days": len(debts),
        "mean": cash(int(mean)),
        "worst": cash(max(debts)),
        "days_with_any": sum(d > 0 for d in debts),
        "without_prices": [name for name in names if name not in known],
    }


def _correlation(table: PriceTable | None, exposures: Any) -> dict[str, Any]:
    """Sensitivity to correlation from the daily moves of the price file, where there is one that
    has every underlying.
    """
    import numpy as np

    names = exposures.book.underlyings
    if table is None or any(name not in table.assets for name in names):
        return {"correlation": None}
    hours = 24 * 3600 // table.step_seconds
    returns = table.log_returns(hours)[:, [table.column(n) for n in names]]
    matrix = np.corrcoef(returns, rowvar=False).reshape(len(names), len(names))
    now, change = exposures.correlation(returns.std(axis=0), matrix)
    known = np.isfinite(now)
    return {
        "correlation": {
            "deviation_of_delta_pnl": float(now[known].sum()),
            "change_for_0.1_higher": float(change[known].sum()),
            "worst_account": exposures.book.label(
                exposures.ids[int(np.argmax(np.where(known, change, -np.inf)))]
            ),
            "matrix": matrix.tolist(),
        }
    }
