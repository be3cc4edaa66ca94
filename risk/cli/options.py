"""Options that several commands share, each defined once: same name, same meaning, same words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WRONG = "wrong use, or the run failed"


def exits(good: str, found: str | None = None, failed: str = WRONG) -> str:
    """The last line of a command's ``--help``: what exit codes 0, 1 and 2 say."""
    said = {0: good, 1: found, 2: failed}
    return "Exit codes: " + "; ".join(f"{n} {text}" for n, text in said.items() if text) + "."


Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON to FILE.")
]
Seed = Annotated[int, typer.Option(help="Same seed, same random choices.")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes.")]
OnlyCase = Annotated[int | None, typer.Option(min=0, help="Repeat this one case.")]
OnlySequence = Annotated[int | None, typer.Option(min=0, help="Repeat this one sequence.")]

# Of the risk commands.
Data = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Hourly prices (CSV, gzip or Parquet); none: generated."),
]
GroupAssets = Annotated[str | None, typer.Option(help="Underlyings of one group, with commas.")]
AssetsConfig = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Deployment configuration: its underlyings, where --assets names none.",
    ),
]
Book = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Book (CSV, Parquet or JSON); none: generated."),
]
Accounts = Annotated[int, typer.Option(min=1, help="Traders of the generated book.")]
MostDays = Annotated[int, typer.Option(min=2, help="At most so many days.")]
BookRpc = Annotated[
    str | None, typer.Option("--rpc", metavar="URL", help="Read the book from this node.")
]
BookVault = Annotated[
    str | None, typer.Option("--vault", metavar="ADDRESS", help="Of the vault at --rpc.")
]
BookRecord = Annotated[
    Path | None,
    typer.Option(
        "--record",
        metavar="FILE",
        help="Instead of --vault, the deployment record: address, first block, names.",
    ),
]
BookBlock = Annotated[
    str | None,
    typer.Option("--block", metavar="N|latest", help="At the end of this block; none: the latest."),
]
PerKind = Annotated[int, typer.Option(min=1, help="Portfolios of each archetype.")]
