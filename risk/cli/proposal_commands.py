"""Commands that propose risk parameters, and report to those who decide.

Only options and texts; what a command does is in the file of its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risk.cli.options import (
    Accounts,
    Book,
    BookBlock,
    BookRecord,
    BookRpc,
    BookVault,
    Data,
    Json,
    Seed,
    exits,
)

app = typer.Typer()


@app.command(
    short_help="Propose risk parameters: diff, effect, integers, calldata.",
    epilog=exits(
        "a proposal, or nothing to change",
        failed="wrong use, the run failed, or the governor would refuse",
    ),
)
def recommend(
    data: Data = None,
    assets: Annotated[
        str | None,
        typer.Option(
            help="Underlyings with prices, with commas; the parameters of others stay. Without "
            "--config and --record: all, in the order of the parameters."
        ),
    ] = None,
    route: Annotated[
        str, typer.Option(help="steward: scales within its limits; timelock: a new fit.")
    ] = "steward",
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Deployment configuration: parameters in force, limits."),
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An earlier recommendation that is in force now."),
    ] = None,
    since_days: Annotated[
        int, typer.Option(min=1, help="Without --previous: age of the parameters in force.")
    ] = 30,
    governor: Annotated[str | None, typer.Option(help="Address of the governor.")] = None,
    timelock: Annotated[str | None, typer.Option(help="Address of the timelock.")] = None,
    anchor: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Blob (hex) at the start of the steward's period."),
    ] = None,
    rpc: BookRpc = None,
    vault: BookVault = None,
    record: BookRecord = None,
    block: BookBlock = None,
    accounts: Accounts = 2_000,
    quick: Annotated[bool, typer.Option(help="A smaller fit.")] = False,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Propose risk parameters: diff, effect, exact integers, calldata; --json can be replayed."""
    from risk.cli.chain_book import ChainOptions
    from risk.cli.recommend import RecommendOptions, recommend_command

    options = RecommendOptions(
        data=data,
        assets=assets,
        route=route,
        config=config,
        previous=previous,
        since_days=since_days,
        governor=governor,
        timelock=timelock,
        anchor=anchor,
        accounts=accounts,
        quick=quick,
        seed=seed,
        chain=ChainOptions(rpc, vault, record, block),
    )
    raise typer.Exit(recommend_command(options, json))


@app.command(
    short_help="Make a recommendation again and compare it byte for byte.",
    epilog=exits(
        "the same", "not the same, or other prices", "wrong use, or a file cannot be read"
    ),
)
def replay(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `plumbline recommend --json` wrote.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its price file, where it lies elsewhere now."),
    ] = None,
    rpc: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Also read its book from this node again, and compare."),
    ] = None,
    json: Json = None,
) -> None:
    """Make a recommendation again; 1 and a diff unless it is the same byte for byte."""
    from risk.cli.replay import replay_command

    raise typer.Exit(replay_command(file, data, json, rpc))


@app.command(
    short_help="One self-contained HTML page for a risk committee.",
    epilog=exits("written, whatever it says"),
)
def report(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the page goes, one file.")],
    data: Data = None,
    assets: Annotated[
        str | None,
        typer.Option(help="Only these underlyings, with commas; what is left out is said."),
    ] = None,
    positions: Book = None,
    rpc: BookRpc = None,
    vault: BookVault = None,
    record: BookRecord = None,
    block: BookBlock = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Deployment configuration: market, parameters in force, limits."
        ),
    ] = None,
    rolling: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A history kept by `backtest --save` instead of a new one."
        ),
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MOVE", help="As in `stress`; none: all=-0.2, vol=0.5."),
    ] = None,
    days: Annotated[int | None, typer.Option(min=2, help="Of a new backtest.")] = None,
    accounts: Accounts = 300,
    date: Annotated[
        str | None, typer.Option(metavar="DAY", help="Of the report, e.g. 2026-01-01.")
    ] = None,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """One self-contained HTML page for a risk committee; generated data unless given."""
    from risk.cli.chain_book import ChainOptions
    from risk.cli.report import ReportOptions, report_command

    options = ReportOptions(
        out=out,
        data=data,
        positions=positions,
        config=config,
        rolling=rolling,
        what_if=tuple(what_if or ()),
        days=days,
        accounts=accounts,
        date=date,
        seed=seed,
        assets=assets,
        chain=ChainOptions(rpc, vault, record, block),
    )
    raise typer.Exit(report_command(options, json))
