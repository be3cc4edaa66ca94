"""``plumbline report``."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk.cli.chain_book import NOWHERE, ChainOptions, names_of, read_book
from risk.cli.output import guarded, stdout, tell, write_json
from risk.cli.price_source import LEAST_HOURS, prices
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
    assets: str | None = None
    chain: ChainOptions = NOWHERE  # where book, market and parameters are read


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
    from risk.cli.recommend import choose
    from risk.cli.stress import by_underlying, what_if
    from risk.deploy.config import load_config
    from risk.quant.report.inputs import Inputs

    asked = what_if(options.what_if or WHAT_IF)
    config = options.config or _default_config()
    whole = _vault(options)
    if whole is not None:
        listed = whole.underlyings
    else:
        listed = tuple(u.name for u in load_config(config).underlyings)
    chosen, columns = choose(options.assets, listed)
    assert chosen is not None and columns is not None
    table = _prices(options, chosen)
    market = _market(options, config, table, listed) if whole is None else whole
    book, portfolio, no_book, left = _book(options, market, table, chosen)
    moves: tuple[Any, Any] = ((), ()) if book is None else by_underlying(book, asked)
    rolling = _rolling(options)
    used = config if whole is None else options.config  # a vault has its own market
    request, no_request = _request(options, used, table, listed, chosen, whole)
    generated = []
    if options.data is None:
        generated.append("prices")
    if options.positions is None and whole is None:
        generated.append(f"positions ({options.accounts} traders and their makers)")
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
        listed=listed,
        columns=columns if len(columns) < len(listed) else None,
        left_out=left,
        files=_files(options, used),
        commands=_commands(options, chosen),
    )


def _vault(options: ReportOptions) -> RiskBook | None:
    """The vault's book at the block; None without --rpc."""
    if not options.chain.given:
        return None
    from risk.deploy.config import load_config
    from risk.quant.errors import QuantError

    if options.positions is not None:
        raise QuantError("give positions from a file or from a chain, not both")
    names = names_of(options.chain.record)
    if not names and options.config is not None:
        names = tuple(u.name for u in load_config(options.config).underlyings)
    if not names:
        raise QuantError("which underlyings the vault has is not known: give --record or --config")
    return read_book(options.chain, names)


def _prices(options: ReportOptions, names: Sequence[str]) -> PriceTable:
    """Those of `names` that the file has; all of them where they were asked for."""
    if options.data is None:
        return prices(None, ",".join(names), options.seed)
    from risk.quant.data import read_prices
    from risk.quant.errors import QuantError

    table = read_prices(options.data, min_rows=LEAST_HOURS)
    for notice in table.notices:
        tell(notice)
    there = [name for name in names if name in table.assets]
    if not there:
        raise QuantError(
            f"{options.data}: no prices of {', '.join(names)}, the underlyings of the "
            f"configuration; there are {', '.join(table.assets)}"
        )
    chosen = names if options.assets is not None else there
    return replace(read_prices(options.data, chosen), notices=table.notices)


def _market(
    options: ReportOptions, config: Path, table: PriceTable, listed: Sequence[str]
) -> RiskBook:
    """That of the configuration at the last prices, with all its underlyings: one that has no
    prices keeps its configured one."""
    from decimal import Decimal

    from risk.quant import book_market

    last = {n: Decimal(str(p)) for n, p in zip(table.assets, table.close[-1].tolist(), strict=True)}
    drawn = options.positions is None
    known = {name: price for name, price in last.items() if name in listed}
    return book_market.from_config(config, int(table.times[-1]), known, listed=drawn)


def _book(
    options: ReportOptions, market: RiskBook, table: PriceTable, chosen: Sequence[str]
) -> tuple[RiskBook | None, tuple[Holding, ...], str, tuple[str, ...]]:
    """(book of the chosen underlyings, positions without accounts, why there is no book, what was
    left out): a vault's own, positions of a file, or drawn ones."""
    from risk.quant import book_data, book_market
    from risk.quant.holdings import read_holdings
    from risk.quant.restrict import restrict

    if options.chain.given:
        book = restrict(market, chosen)
        return book, (), "", _left_out(book)
    if options.positions is None:
        part = restrict(market, chosen)
        return book_market.draw(part, options.accounts, options.seed), (), "", _left_out(part)
    if "account" in book_data.table_of(options.positions)[0]:
        book = restrict(book_data.book_from_file(options.positions, market), chosen)
        return book, (), "", _left_out(book)
    held = read_holdings(options.positions, table.assets, int(table.times[-1]))
    why = "The positions name no accounts (no column 'account'), so nobody's margin is known."
    return None, held, why, _left_out(restrict(market, chosen))


def _left_out(book: RiskBook) -> tuple[str, ...]:
    """What `restrict` took away, in words; nothing where it took nothing."""
    left = book.about.get("left_out")
    if left is None:
        return ()
    names = ", ".join(left["underlyings"])
    out = [f"{names}, by --assets: no section below is about it, and its parameters stay."]
    if left["accounts"]:
        out.append(
            f"{left['accounts']:,} of {left['of_accounts']:,} accounts hold something of {names} "
            f"or its collateral and are left out whole, with {left['positions']:,} of "
            f"{left['of_positions']:,} positions. The margin of the others is what it was."
        )
    return tuple(out)


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
    options: ReportOptions,
    config: Path | None,
    table: PriceTable,
    listed: Sequence[str],
    chosen: Sequence[str],
    whole: RiskBook | None,
) -> tuple[Request | None, str]:
    """The steward's recommendation at the last price, or why there is none."""
    from risk.cli import recommend as command
    from risk.quant.errors import QuantError
    from risk.quant.recommend_effect import BookSize
    from risk.quant.replay import Request
    from risk.quant.scenarios import factors
    from risk.quant.scenarios.calibrate import Settings

    if table.assets != tuple(chosen):
        lacking = ", ".join(name for name in chosen if name not in table.assets)
        return None, (
            f"The prices lack {lacking}, which the parameters in force have; "
            f"--assets {','.join(table.assets)} leaves it out."
        )
    places = tuple(i for i, name in enumerate(listed) if name in chosen)
    asked = command.RecommendOptions(
        data=options.data,
        assets=",".join(chosen),
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
        chain=ChainOptions(options.chain.rpc, record=options.chain.record),
    )
    settings = Settings.quick(options.seed)
    try:
        f = factors.build(table)
        now = command.in_force(asked, f, settings, places, whole)
    except QuantError as error:
        return None, str(error)
    return (
        Request(
            replace(
                command.source(asked, table),
                path=None if options.data is None else options.data.name,
            ),
            int(f.times[-1]),
            now,
            "steward",
            command.governor(asked, whole),
            settings,
            BookSize(asked.accounts, options.seed) if whole is None else whole,
        ),
        "",
    )


# ------------------------------------------------------------------------------------ reproduction


def _default_config() -> Path:
    from risk.chain.node import project_root
    from risk.cli.stress import DEFAULT_MARKET

    return project_root() / DEFAULT_MARKET


def _files(options: ReportOptions, config: Path | None) -> list[dict[str, str]]:
    """Names without folders, so that the report does not depend on where the files lie."""
    given = (
        ("prices", options.data),
        ("positions", options.positions),
        ("configuration", config),
        ("history", options.rolling),
        ("deployment record", options.chain.record),
    )
    return [
        {"what": what, "name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for what, file in given
        if file is not None
    ]


def _commands(options: ReportOptions, names: Sequence[str]) -> list[str]:
    """How to make the report and its parts again; files by name."""
    data = [] if options.data is None else ["--data", options.data.name]
    book = [] if options.positions is None else ["--positions", options.positions.name]
    config = [] if options.config is None else ["--config", options.config.name]
    market = config
    if options.config is None and options.chain.rpc is None:
        market = ["--config", "configs/local.toml"]
    seed = ["--seed", str(options.seed)]
    assets = ["--assets", ",".join(names)]
    only = [] if options.assets is None else assets
    chain = _chain(options)
    whole = ["report", "--out", "report.html", *data, *book, *config, *chain, *only]
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
        [
            *("recommend", *data, *market, *chain, *only, "--quick", *seed),
            *("--json", "recommendation.json"),
        ],
        ["replay", "recommendation.json"],
    ]
    return [shlex.join(["plumbline", *row]) for row in rows]


def _chain(options: ReportOptions) -> list[str]:
    """The node by a word, since its URL may hold a key."""
    if options.chain.rpc is None:
        return []
    out = ["--rpc", "URL"]
    for name, given in (
        ("--vault", options.chain.vault),
        ("--record", options.chain.record and options.chain.record.name),
        ("--block", options.chain.block),
    ):
        if given is not None:
            out += [name, str(given)]
    return out


def _check_date(text: str | None) -> None:
    """Before a run of a minute, not after it."""
    from datetime import date

    from risk.quant.errors import QuantError

    try:
        date.fromisoformat(text or "2026-01-01")
    except ValueError:
        raise QuantError(f"--date {text!r} is not a date such as 2026-01-01") from None
