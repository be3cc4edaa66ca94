"""``plumbline mutate``: run, report, show."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from risk.cli.options import Json, Seed, Workers, exits

if TYPE_CHECKING:
    from risk.mutate.campaign import Campaign
    from risk.mutate.journal import Entry
    from risk.mutate.report import Report

app = typer.Typer(
    name="mutate",
    help="Plant one fault at a time in the contracts and see whether any check notices.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

FOLDER = Path("build") / "mutation"
CONFIG = Path("configs") / "mutation.toml"
DECISIONS = Path("configs") / "mutation-survivors.toml"

Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Default: configs/mutation.toml.")
]
Count = Annotated[int, typer.Option(min=1, help="Mutants that are no equivalents.")]
Paths = Annotated[
    list[str] | None, typer.Option(help="Only files that fit this pattern; may be repeated.")
]


@app.command(
    short_help="Judge a sample of mutants.",
    epilog=exits("no mutant lives without a decision", "some do"),
)
def run(
    seed: Seed = 1,
    count: Count = 420,
    paths: Paths = None,
    workers: Workers = 2,
    resume: Annotated[
        bool, typer.Option(help="Keep verdicts of an earlier run with this seed.")
    ] = True,
    again: Annotated[
        list[str] | None,
        typer.Option(help="Judge mutants with this verdict again (survived, error, timed out)."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Judge this mutant only; may be repeated.")
    ] = None,
    config: Config = None,
    json: Json = None,
) -> None:
    """Judge a sample of mutants."""
    from risk.cli.output import guarded
    from risk.mutate.campaign import Options

    options = Options(
        seed, count, tuple(paths or ()), workers, frozenset(again or ()), frozenset(only or ())
    )
    raise typer.Exit(guarded(lambda: _run(options, resume, config, json)))


@app.command(
    short_help="Print what a campaign found so far.",
    epilog=exits("no mutant lives without a decision", "some do"),
)
def report(
    seed: Seed = 1,
    count: Count = 420,
    paths: Paths = None,
    config: Config = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as Markdown to FILE.")
    ] = None,
    json: Json = None,
) -> None:
    """Print what a campaign found so far, with the decisions on its survivors."""
    from risk.cli.output import guarded
    from risk.mutate.campaign import Options

    options = Options(seed, count, tuple(paths or ()))
    raise typer.Exit(guarded(lambda: _report(options, config, markdown, json)))


@app.command(
    short_help="Print a mutant's diff and verdict.",
    epilog=exits("shown"),
)
def show(
    mutant: Annotated[str, typer.Argument(help="Id of a mutant, or its beginning.")],
    config: Config = None,
    json: Json = None,
) -> None:
    """Print a mutant's diff, and its verdict where it has one."""
    from risk.cli.output import guarded

    raise typer.Exit(guarded(lambda: _show(mutant, config, json)))


def _run(options: object, resume: bool, config: Path | None, json: Path | None) -> int:
    from risk.chain.node import project_root
    from risk.cli.output import write_json
    from risk.mutate.campaign import Options, run_campaign
    from risk.mutate.config import load_config

    assert isinstance(options, Options)
    root = project_root()
    path = _journal(root, options.seed)
    if not resume:
        path.unlink(missing_ok=True)
    started = time.monotonic()

    def note(text: str) -> None:
        print(f"{time.monotonic() - started:7.0f} s  {text}", file=sys.stderr, flush=True)

    def say(entry: Entry, campaign: Campaign) -> None:
        place = f"{entry.mutant.file}:{entry.mutant.line}"
        wanted = len(options.only) or options.count
        note(
            f"{campaign.counted}/{wanted}  {entry.mutant.id} {entry.verdict} "
            f"{entry.stage} {entry.seconds:.1f} s  {entry.mutant.kind} {place}"
        )

    chosen = load_config(config or root / CONFIG)
    campaign = run_campaign(root, chosen, options, path, say, note)
    found = _with_decisions(root, campaign.sample())
    _print(found)
    write_json(json, found.as_json(campaign.project.sources))
    return 1 if found.unexplained else 0


def _report(options: object, config: Path | None, markdown: Path | None, json: Path | None) -> int:
    from risk.chain.node import project_root
    from risk.cli.output import write_json
    from risk.files import write_text
    from risk.mutate.campaign import Campaign, Options, generate
    from risk.mutate.config import load_config

    assert isinstance(options, Options)
    root = project_root()
    project, mutants = generate(root, load_config(config or root / CONFIG), options.paths)
    path = _journal(root, options.seed)
    campaign = Campaign(project, mutants, options, path, lambda *_: None)
    found = _with_decisions(root, campaign.sample())
    if markdown is not None:
        write_text(markdown, found.markdown(project.sources))
    _print(found)
    write_json(json, found.as_json(project.sources))
    return 1 if found.unexplained else 0


def _show(mutant: str, config: Path | None, json: Path | None) -> int:
    from risk.chain.node import project_root
    from risk.cli.output import write_json
    from risk.mutate import journal
    from risk.mutate.campaign import generate
    from risk.mutate.config import load_config
    from risk.mutate.errors import MutateError

    root = project_root()
    project, mutants = generate(root, load_config(config or root / CONFIG))
    found = [m for m in mutants if m.id.startswith(mutant)]
    if not found:
        raise MutateError(f"no mutant of the present contracts has an id that begins with {mutant}")
    verdicts = {
        e.mutant.id: e for path in (root / FOLDER).glob("seed-*.jsonl") for e in journal.read(path)
    }
    out: list[dict[str, object]] = []
    for item in found:
        diff = item.diff(project.sources[item.file].encode(), 3)
        row: dict[str, object] = {
            "id": item.id,
            "kind": item.kind,
            "file": item.file,
            "line": item.line,
            "diff": diff,
        }
        print(f"{item.id}  {item.kind}  {item.file}:{item.line}")
        print(diff)
        if item.id in verdicts:
            entry = verdicts[item.id]
            row |= {"verdict": entry.verdict, "stage": entry.stage, "evidence": entry.evidence}
            print(f"{entry.verdict} {entry.stage} {entry.evidence}".rstrip())
        out.append(row)
    write_json(json, out)
    return 0


def _journal(root: Path, seed: int) -> Path:
    return root / FOLDER / f"seed-{seed}.jsonl"


def _with_decisions(root: Path, entries: list[Entry]) -> Report:
    from risk.mutate.report import Report
    from risk.mutate.survivors import decide, load_decisions

    return Report(entries, decide(entries, load_decisions(root / DECISIONS)))


def _print(found: Report) -> None:
    from rich.table import Table

    from risk.cli.output import stdout
    from risk.mutate.report import VERDICTS

    console = stdout()
    for title, groups in (
        ("file", found.by(lambda e: e.mutant.file)),
        ("kind", found.by(lambda e: e.mutant.kind)),
    ):
        table = Table(title, "score", *VERDICTS)
        for name, score in {**groups, "all": found.score()}.items():
            table.add_row(name, f"{score.share:.1f} %", *(str(score[v]) for v in VERDICTS))
        console.print(table)
    kills = ", ".join(f"{name} {count}" for name, count in found.stages().items())
    score = found.score()
    console.print(f"killed by: {kills}", highlight=False)
    for entry in found.unexplained:
        line = (
            f"alive: {entry.mutant.id} {entry.mutant.kind} {entry.mutant.file}:{entry.mutant.line}"
        )
        console.print(line, highlight=False)
        console.print(f"    {entry.before}\n    {entry.after}", highlight=False, markup=False)
    console.print(
        f"{score.dead} of {score.total} killed, {score.share:.1f} %; "
        f"{len(found.unexplained)} without a decision",
        highlight=False,
    )


if __name__ == "__main__":
    app()
