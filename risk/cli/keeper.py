"""``plumbline keeper``. Exit codes: risk/keeper/errors.py, docs/keeper.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risk.cli.options import Json

app = typer.Typer(
    help="The liquidation keeper: docs/keeper.md. A dry run unless told otherwise (--live).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="Keeper's TOML file.")]


@app.command(
    short_help="Follow the vault and liquidate whoever is unhealthy.",
    epilog="Exit codes: 0 ended as asked; others in docs/keeper.md.",
)
def run(
    config: Config,
    live: Annotated[bool, typer.Option("--live", help="Sign and send.")] = False,
    once: Annotated[bool, typer.Option("--once", help="End after one finished turn.")] = False,
) -> None:
    """Follow the vault and liquidate whoever is unhealthy."""
    from risk.keeper.commands import run_command

    raise typer.Exit(run_command(config, live=live, once=once))


@app.command(
    short_help="Say what the keeper last knew; asks no chain.",
    epilog="Exit codes: 0 it is well; 75 stale, suspended or not running; others in "
    "docs/keeper.md.",
)
def status(
    config: Config,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    dry_run: Annotated[
        bool | None,
        typer.Option("--dry-run/--live", help="Whose database; default: the newer one."),
    ] = None,
) -> None:
    """Say what the keeper last knew, from its database; asks no chain."""
    from risk.keeper.commands import status_command

    raise typer.Exit(status_command(config, json=json, dry_run=dry_run))


@app.command(
    short_help="Let a keeper go on that has reached its limit of the day.",
    epilog="Exit codes: 0 asked; others in docs/keeper.md.",
)
def resume(config: Config) -> None:
    """Forget what the last 24 hours have cost, so that a keeper at its limit goes on."""
    from risk.keeper.commands import resume_command

    raise typer.Exit(resume_command(config))


@app.command(
    short_help="Liquidate everybody unhealthy on a private fork.",
    epilog="Exit codes: 0 nobody remained; 1 somebody did; others in docs/keeper.md.",
)
def drill(
    config: Config,
    shock: Annotated[
        list[str] | None,
        typer.Option("--shock", metavar="UNDERLYING=-20%", help="Move a price first; repeatable."),
    ] = None,
    block: Annotated[int | None, typer.Option(min=0, help="Fork at this block.")] = None,
    json: Json = None,
) -> None:
    """Liquidate everybody unhealthy on a private fork, to prove that it could be done."""
    from risk.keeper.commands import drill_command

    raise typer.Exit(drill_command(config, shocks=shock or [], block=block, json=json))
