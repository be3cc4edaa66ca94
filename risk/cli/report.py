"""``plumbline report``."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk.cli.efficiency import prices, tell
from risk.cli.output import guarded, stdout, write_json
from risk.files import write_text

if TYPE_CHECKING:
    from risk.quant.book_market import RiskBook
    from risk.quant.data import PriceTable
    from risk.quant.holdings import Holding
    from risk.quant.replay import Request
    from risk.quant.report.inputs import Inputs, Sizes
    from risk.quant.rolling_margin import Rolling

WHAT_IF = ("all=-0.2", "vol=0.5")


@dataclass(frozen=True)
class ReportOptions:
    """The options of the command as they came."""

    out: Path
    data: Path | None = None
    positions: Path | None = None
    config: Path | None = None
    rolling: Path | None = None
    what_if: tuple[str, ...] = ()
    days: int | None = None
    accounts: int = 300
    date: str | None = None
    seed: int = 1


def report_command(options: ReportOptions, json: Path | None) -> int:
    """0: written, whatever it found; 2: an input or option was refused, and nothing is written."""
    return guarded(lambda: _report(options, json))


def _report(options: ReportOptions, json: Path | None) -> int:
    from risk.quant.report.collect import collect
    from risk.quant.report.render import render

    if json is not None and json.resolve() == options.out.resolve():
        from risk.quant.errors import QuantError

        raise QuantError(f"--out and --json are the same file: {json}")
    _check_date(options.date)
    value = collect(inputs(options), tell)
    text = render(value)
    write_json(json, value)
    write_text(options.out, text)
    for heading, items in value["summary"].items():
        for item in items:
            stdout().print(f"{heading}: {item['text']}", highlight=False, markup=False)
    size = len(text.encode())
    stdout().print(
        f"{options.out}: {size:,} bytes, sha256 {hashlib.sha256(text.encode()).hexdigest()}",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def inputs(options: ReportOptions) -> Inputs:
    """Everything is read and checked here, before anything is computed."""
    from risk.cli.stress import by_underlying, what_if
    from risk.deploy.config import load_config
    from risk.quant.report.inputs import Inputs

    asked = what_if(options.what_if or WHAT_IF)
    config = options.config or _default_config()
    names = [u.name for u in load_config(config).underlyings]
    table = _prices(options, names)
    book, portfolio, no_book = _book(options, config, table)
    moves: tuple[Any, Any] = ((), ()) if book is None else by_underlying(book, asked)
    rolling = _rolling(options)
    request, no_request = _request(options, config, names, table)
    generated = []
    if options.data is None:
        generated.append("prices")
    if options.positions is None:
        generated.append(f"positions ({options.accounts} accounts)")
    return Inputs(
        table=table,
        book=book,
        portfolio=portfolio,
        what_if=asked,
        moves=moves,
        seed=options.seed,
        request=request,
        sizes=_sizes(options, rolling),
        rolling=rolling,
        no_book=no_book,
        no_request=no_request,
        date=options.date,
        generated=tuple(generated),
        files=_files(options, config),
        commands=_commands(options, names),
    )


def _prices(options: ReportOptions, names: list[str]) -> PriceTable:
    """Those of the underlyings of the configuration, as far as the file has them."""
    if options.data is None:
        generated: PriceTable = prices(None, ",".join(names), options.seed)
        return generated
    from risk.quant.data import read_prices
    from risk.quant.errors import QuantError

    table = read_prices(options.data)
    for notice in table.notices:
        tell(notice)
    there = [name for name in names if name in table.assets]
    if not there:
        raise QuantError(
            f"{options.data}: no prices of {', '.join(names)}, the underlyings of the "
            f"configuration; there are {', '.join(table.assets)}"
        )
    return replace(read_prices(options.data, there), notices=table.notices)


def _book(
    options: ReportOptions, config: Path, table: PriceTable
) -> tuple[RiskBook | None, tuple[Holding, ...], str]:
    """The market of the configuration at the last prices, with positions of a file or drawn."""
    from decimal import Decimal

    from risk.quant import book_data, book_market
    from risk.quant.errors import DataError
    from risk.quant.holdings import read_holdings

    last = {n: Decimal(str(p)) for n, p in zip(table.assets, table.close[-1].tolist(), strict=True)}
    drawn = options.positions is None
    market = book_market.from_config(config, int(table.times[-1]), last, listed=drawn)
    if options.positions is None:
        return book_market.draw(market, options.accounts, options.seed), (), ""
    try:
        return book_data.book_from_file(options.positions, market), (), ""
    except DataError as error:
        if error.column != "account" or error.row is not None:
            raise
    held = read_holdings(options.positions, table.assets, int(table.times[-1]))
    why = "The positions name no accounts (no column 'account'), so nobody's margin is known."
    return None, held, why


def _rolling(options: ReportOptions) -> Rolling | None:
    if options.rolling is None:
        return None
    from risk.quant.rolling_margin import read

    return read(options.rolling)


def _sizes(options: ReportOptions, rolling: Rolling | None) -> Sizes:
    from risk.quant.report.inputs import Sizes

    sizes = Sizes()
    if rolling is not None:
        plan = rolling.about.get("plan", {})
        return replace(
            sizes,
            days=rolling.days,
            refit_days=int(plan.get("refit_days", 0)),
            per_kind=int(plan.get("per_kind", 0)),
        )
    return sizes if options.days is None else replace(sizes, days=options.days)


def _request(
    options: ReportOptions, config: Path, names: list[str], table: PriceTable
) -> tuple[Request | None, str]:
    """The steward's recommendation of the configuration at the last price, or why there is none."""
    from risk.cli import recommend as command
    from risk.quant.errors import QuantError
    from risk.quant.recommend_effect import BookSize
    from risk.quant.replay import Request
    from risk.quant.scenarios import factors
    from risk.quant.scenarios.calibrate import Settings

    if list(table.assets) != names:
        lacking = ", ".join(name for name in names if name not in table.assets)
        return None, f"The prices lack {lacking}, which the parameters in force have."
    asked = command.RecommendOptions(
        data=options.data,
        assets=",".join(names),
        route="steward",
        config=config,
        previous=None,
        since_days=30,
        governor=None,
        timelock=None,
        anchor=None,
        accounts=200,
        quick=True,
        seed=options.seed,
    )
    settings = Settings.quick(options.seed)
    try:
        f = factors.build(table)
        now = command._in_force(asked, f, settings)
    except QuantError as error:
        return None, str(error)
    return (
        Request(
            replace(
                command._source(asked, table),
                path=None if options.data is None else options.data.name,
            ),
            int(f.times[-1]),
            now,
            "steward",
            command._governor(asked),
            settings,
            BookSize(asked.accounts, options.seed),
        ),
        "",
    )


# ------------------------------------------------------------------------------------ reproduction


def _default_config() -> Path:
    from risk.chain.node import project_root
    from risk.cli.stress import DEFAULT_MARKET

    return project_root() / DEFAULT_MARKET


def _files(options: ReportOptions, config: Path) -> list[dict[str, str]]:
    """Names without folders, so that the report does not depend on where the files lie."""
    given = (
        ("prices", options.data),
        ("positions", options.positions),
        ("configuration", config),
        ("history", options.rolling),
    )
    return [
        {"what": what, "name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for what, file in given
        if file is not None
    ]


def _commands(options: ReportOptions, names: list[str]) -> list[str]:
    """How to make the report and its parts again; files by name."""
    data = [] if options.data is None else ["--data", options.data.name]
    book = [] if options.positions is None else ["--positions", options.positions.name]
    config = [] if options.config is None else ["--config", options.config.name]
    market = ["--config", "configs/local.toml"] if options.config is None else config
    seed = ["--seed", str(options.seed)]
    assets = ["--assets", ",".join(names)]
    whole = ["report", "--out", "report.html", *data, *book, *config]
    for name, given in (
        ("--rolling", options.rolling and options.rolling.name),
        ("--days", options.days),
        ("--date", options.date),
    ):
        if given is not None:
            whole += [name, str(given)]
    for move in options.what_if:
        whole += ["--what-if", move]
    if options.accounts != 300:
        whole += ["--accounts", str(options.accounts)]
    rows = [
        [*whole, *seed],
        ["backtest", *data, *assets, *seed],
        ["efficiency", *data, *assets, *seed],
        ["recommend", *data, *market, "--quick", *seed, "--json", "recommendation.json"],
        ["replay", "recommendation.json"],
    ]
    return [shlex.join(["plumbline", *row]) for row in rows]


def _check_date(text: str | None) -> None:
    """Before a run of a minute, not after it."""
    from datetime import date

    from risk.quant.errors import QuantError

    try:
        date.fromisoformat(text or "2026-01-01")
    except ValueError:
        raise QuantError(f"--date {text!r} is not a date such as 2026-01-01") from None
