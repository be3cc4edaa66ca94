"""Commands that compare contracts with models, and measure their gas.

Only options and texts; what a command does is in the file of its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risk.cli.options import Json, OnlyCase, OnlySequence, Seed, Workers, exits

app = typer.Typer()


@app.command(
    short_help="Compare contracts and reference model on a real Anvil.",
    epilog=exits("no mismatch, and a full run reached every goal", "not so"),
)
def verify(
    profile: Annotated[
        str, typer.Option(help="default, full, or for many seeds: model (no chain), chain.")
    ] = "default",
    cases: Annotated[
        int | None, typer.Option(min=0, help="Account-level cases (default 2000).")
    ] = None,
    sequences: Annotated[
        int | None, typer.Option(min=0, help="Random action sequences (default 200).")
    ] = None,
    actions: Annotated[
        int | None, typer.Option(min=1, help="Actions of each sequence (default 24).")
    ] = None,
    seed: Seed = 1,
    seeds: Annotated[
        int, typer.Option(min=1, help="Profiles model and chain: how many, from --seed on.")
    ] = 1,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes, each with its own Anvil.")
    ] = 2,
    only_case: OnlyCase = None,
    only_sequence: OnlySequence = None,
    json: Json = None,
) -> None:
    """Compare contracts and reference model on a real Anvil, to the wei and the revert."""
    from risk.cli.verify import Sizes, verify_command
    from risk.diff.runner import Plan

    plan = Plan(seed, workers=workers, only_case=only_case, only_sequence=only_sequence)
    sizes = Sizes(cases, sequences, actions)
    raise typer.Exit(verify_command(plan, json, profile, seeds, sizes))


@app.command(
    short_help="Compare any contract with a model of it.",
    epilog=exits(
        "model and contracts agree", "they disagree", "wrong use, or the target or the tool failed"
    ),
)
def diff(
    target: Annotated[
        str | None,
        typer.Argument(help="A built-in target, or path/to/adapter.py[:Class]. None: list them."),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="revm (in process), node (Anvil), batch (Anvil, batched views).")
    ] = "revm",
    fork: Annotated[
        str | None, typer.Option(metavar="URL[@BLOCK]", help="Start from this chain's state.")
    ] = None,
    seed: Seed = 1,
    sequences: Annotated[int, typer.Option(min=1, help="Random action sequences.")] = 200,
    actions: Annotated[int, typer.Option(min=1, help="Actions of each sequence.")] = 24,
    workers: Workers = 2,
    only_sequence: OnlySequence = None,
    guided: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Coverage-guided instead, for so long (node)."),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of sequences kept between guided runs."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for findings.")] = Path(
        "findings"
    ),
    formats: Annotated[
        str, typer.Option(help="Of findings: text,pytest,foundry,json,sarif,html.")
    ] = "text,pytest,foundry,json,sarif,html",
    shrink_seconds: Annotated[
        float, typer.Option(min=0, help="Time to make a counterexample small.")
    ] = 120.0,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="HTML of the run, findings or not.")
    ] = None,
    bench: Annotated[
        bool, typer.Option("--bench", help="Measure the engines on our margin check instead.")
    ] = False,
    json: Json = None,
) -> None:
    """Compare any contract with a model; shrink a disagreement into a test (docs/auditing.md)."""
    from risk.cli.diff import Options, diff_command, list_command
    from risk.diff.runner import Plan

    if bench:
        from risk.cli.diff_bench import bench_command

        raise typer.Exit(bench_command(workers=workers, seed=seed, json=json))
    if target is None:
        raise typer.Exit(list_command())
    chosen = Options(
        target,
        "node" if guided is not None and engine == "revm" else engine,
        fork,
        Plan(seed, 0, sequences, actions, workers, only_sequence=only_sequence),
        json,
        report,
        out,
        tuple(name.strip() for name in formats.split(",") if name.strip()),
        shrink_seconds,
        guided,
        corpus,
    )
    raise typer.Exit(diff_command(chosen))


@app.command(
    short_help="Compare the margin of very many accounts; resumable.",
    epilog=exits("no mismatch", "a mismatch, with a counterexample"),
)
def diff_margin(
    cases: Annotated[int, typer.Option(min=1, help="Accounts; none is repeated.")] = 20_000,
    seed: Seed = 1,
    workers: Workers = 2,
    engine: Annotated[str, typer.Option(help="revm, batch or node.")] = "revm",
    positions: Annotated[str, typer.Option(help="Of each account, 0 to 128, or: mixed.")] = "16",
    cases_a_market: Annotated[
        int, typer.Option(min=1, help="After so many, a new market with new parameters.")
    ] = 10_000,
    scenarios: Annotated[int, typer.Option(min=0, max=64, help="K; 0: drawn.")] = 0,
    calm: Annotated[bool, typer.Option(help="Optional charges and rates off.")] = False,
    only_case: OnlyCase = None,
    fresh: Annotated[bool, typer.Option(help="Forget finished chunks of an earlier run.")] = False,
    json: Json = None,
) -> None:
    """Compare the margin of many accounts in big markets, contract against model; resumable."""
    from risk.cli.diff_bench import MarginOptions, margin_command

    options = MarginOptions(
        cases=cases,
        seed=seed,
        workers=workers,
        engine=engine,
        positions=positions,
        cases_a_market=cases_a_market,
        scenarios=scenarios,
        calm=calm,
        only_case=only_case,
        fresh=fresh,
        json=json,
    )
    raise typer.Exit(margin_command(options))


@app.command(
    short_help="Worked margin cases for other languages: write, check.",
    epilog=exits("written, or every value agrees", "a value differs"),
)
def vectors(
    check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check this file against model and chain.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a new file of worked cases.")
    ] = None,
    cases: Annotated[int, typer.Option(min=1, help="Cases to write.")] = 220,
    seed: Seed = 7,
    json: Json = None,
) -> None:
    """Worked margin cases for implementations in other languages: write or check them."""
    from risk.cli.vectors import vectors_command

    raise typer.Exit(vectors_command(check, write, cases, seed, json))


@app.command(
    short_help="Measure the gas table and judge it against its gates.",
    epilog=exits("every gate holds", "one does not"),
)
def gas(json: Json = None) -> None:
    """Measure the gas table on a real Anvil and judge it against its gates."""
    from risk.cli.gas import gas_command

    raise typer.Exit(gas_command(json))
