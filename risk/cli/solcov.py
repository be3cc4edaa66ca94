"""``plumbline solcov``: coverage of Solidity lines and branches.  Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risk.cli.options import Json, exits

app = typer.Typer(
    name="solcov",
    help="Coverage of Solidity lines and branches by what runs on Anvil: collect, report.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command(
    short_help="Collect what runs; several runs add up.",
    epilog="Exit codes: 0 all that ran passed; 2 wrong use; else that of what failed.",
)
def run(
    pytest: Annotated[
        str | None, typer.Option(help="Run the tests with these arguments ('' for all of them).")
    ] = None,
    verify: Annotated[
        str | None, typer.Option(help="Run `plumbline verify` with these arguments.")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Forget what was collected before.")] = False,
    effort: Annotated[
        float, typer.Option(min=0.1, help="More traces of requests that brought nothing.")
    ] = 1.0,
) -> None:
    """Collect what runs; several runs add up."""
    from risk.solcov.command import RunOptions, run_command

    raise typer.Exit(run_command(RunOptions(pytest, verify, fresh, effort)))


@app.command(
    short_help="Print what was reached, and everything that was not.",
    epilog=exits("every threshold is met", "one is not", "wrong use, or there is nothing to judge"),
)
def report(
    json: Json = None,
    lcov: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as LCOV for viewers.")
    ] = None,
    fail_lines: Annotated[
        float | None, typer.Option(min=0, max=100, help="Least per cent of lines.")
    ] = None,
    fail_branches: Annotated[
        float | None, typer.Option(min=0, max=100, help="Least per cent of branches.")
    ] = None,
) -> None:
    """Print what was reached, file by file, and everything that was not."""
    from risk.solcov.command import ReportOptions, report_command

    raise typer.Exit(report_command(ReportOptions(json, lcov, fail_lines, fail_branches)))


if __name__ == "__main__":
    app()
