"""``plumbline diff --bench`` and ``plumbline diff-margin``: speeds, and a million margin cases."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk.cli.output import guarded, stdout, write_json
from risk.errors import PlumblineError

if TYPE_CHECKING:
    from risk.diff.margin_cases.run import CaseRun

ROWS = {
    "web3": "(a) one eth_call a case, web3.py",
    "web3_raw": "    the same, calldata by hand",
    "revm": "(b) in process",
    "batch": "(c) batched eth_call",
    "transactions": "(d) transactions",
    "revm_overlaid": "(b) writing the account too",
    "batch_overlaid": "(c) writing the account too",
    "revm_whole": "(b) with drawing, model, comparison",
    "batch_whole": "(c) with drawing, model, comparison",
    "generation": "drawing accounts alone",
    "model": "reference model alone",
}


@dataclass(frozen=True)
class MarginOptions:
    """What the command line says. ``positions``: a number, or ``mixed`` for 0..128."""

    cases: int = 1_000_000
    seed: int = 1
    workers: int = 2
    engine: str = "revm"
    positions: str = "16"
    cases_a_market: int = 10_000
    scenarios: int = 0
    calm: bool = False
    only_case: int | None = None
    fresh: bool = False  # do not use results of an earlier run, and keep none
    json: Path | None = None


# ── speeds ───────────────────────────────────────────────────────────────────────────────────────


def bench_command(
    seconds: float = 8.0,
    workers: int = 2,
    cases: int = 12_000,
    seed: int = 1,
    json: Path | None = None,
) -> int:
    """0: every answer is the model's; 1: one is not; 2: the bench failed. Targets are reported."""
    return guarded(lambda: _bench(seconds, workers, cases, seed, json))


def _bench(seconds: float, workers: int, cases: int, seed: int, json: Path | None) -> int:
    from risk.diff.bench import bench

    if workers < 1 or cases < workers:
        raise PlumblineError("the bench needs at least one worker, and a case for each")
    result = bench(seconds, workers=workers, cases=cases, seed=seed)
    _print_bench(result)
    write_json(json, result)
    return 1 if result["mismatches"] else 0


def _print_bench(result: dict[str, Any]) -> None:
    from rich.table import Table

    market = result["market"]
    table = Table(
        title=f"margin of 16 instruments, {market['instruments']} listed on "
        f"{market['underlyings']} underlyings, K = {market['scenarios']}, "
        f"{result['workers']} workers"
    )
    for name in ("", "cases/s", "× (a)", "cases", "clients", "CPU µs a case"):
        table.add_column(name, justify="left" if not name else "right")
    for name, row in sorted(
        result["rows"].items(), key=lambda x: list(ROWS).index(x[0]) if x[0] in ROWS else 99
    ):
        ratio = result["ratio_to_web3"].get(name)
        table.add_row(
            ROWS.get(name, name),
            f"{row['cases_per_second']:,.0f}",
            "1" if ratio is None else f"{ratio:g}",
            f"{row['cases']:,}",
            str(row["clients"]),
            f"{row['cpu_us_per_case']:,.0f}",
        )
    out = stdout()
    out.print(table)
    for name, target in result["targets"].items():
        verdict = "reached" if target["reached"] else "missed"
        out.print(
            f"{name}: {target['ratio']} × (a), wanted {target['wanted']} ×: {verdict} "
            f"(by processor time {result['ratio_by_cpu'][name]} ×)"
        )
    out.print(f"{result['mismatches']} answers differ from the model")
    load = result["machine"]["load_before"]
    if load is not None and load > 1:
        out.print(f"the machine was busy (load {load:.1f}): rates are not those of an idle one")


# ── margin cases ─────────────────────────────────────────────────────────────────────────────────


def margin_command(options: MarginOptions) -> int:
    """0: no mismatch; 1: at least one, with a counterexample; 2: the run failed."""
    return guarded(lambda: _margin(options))


def _margin(options: MarginOptions) -> int:
    from risk.diff.margin_cases.accounts import Mix
    from risk.diff.margin_cases.check import CasePlan
    from risk.diff.margin_cases.run import ENGINES, CaseRun, check_case, default_folder, run

    if options.engine not in ENGINES:
        raise PlumblineError(f"engine {options.engine} is none of {', '.join(ENGINES)}")
    plan = CasePlan(
        options.seed,
        options.cases,
        options.cases_a_market,
        Mix(_positions(options.positions)),
        options.scenarios,
        options.calm,
    )
    if options.only_case is not None:
        result = CaseRun(
            plan, options.engine, 1, check_case(plan, options.only_case, options.engine)
        )
    else:
        folder = None if options.fresh else default_folder(plan, options.engine)
        result = run(
            plan,
            workers=options.workers,
            engine=options.engine,
            folder=folder,
            progress=_progress,
        )
        if sys.stderr.isatty():
            print(file=sys.stderr)
    write_json(options.json, result.summary())
    _print_run(result)
    return 1 if result.tally.mismatches else 0


def _positions(text: str) -> int | None:
    if text == "mixed":
        return None
    if not text.isdecimal() or int(text) > 128:
        raise PlumblineError(f"positions {text!r} is neither a number up to 128 nor mixed")
    return int(text)


def _progress(done: CaseRun) -> None:
    rate = done.new_cases / done.seconds if done.seconds else 0.0
    line = (
        f"{100 * done.markets // max(1, done.plan.markets):3d} %  {done.tally.cases:,} cases  "
        f"{done.tally.mismatches} mismatches  {rate:,.0f} cases/s  {done.seconds:.0f} s"
    )
    end = "" if sys.stderr.isatty() else "\n"
    print(("\r" if sys.stderr.isatty() else "") + line, end=end, file=sys.stderr, flush=True)


def _print_run(done: CaseRun) -> None:
    out = stdout()
    tally = done.tally
    out.print(
        f"{tally.cases:,} margin cases on {done.engine}, seed {done.plan.seed}: "
        f"{tally.values:,} values compared, {tally.mismatches} mismatches"
    )
    if done.new_cases:
        out.print(
            f"{done.markets} markets ({done.resumed} from before), {done.seconds:.0f} s, "
            f"{done.new_cases / done.seconds:,.0f} cases/s with {done.workers} workers, "
            f"{tally.cpu_seconds / max(1, tally.cases) * 1e6:,.0f} µs of a processor a case"
        )
    for name, count in sorted(tally.mix.items()):
        out.print(f"  {100 * count / max(1, tally.cases):6.2f} %  {name}", highlight=False)
    for example in tally.examples:
        out.print(f"\ncase {example['case']} of market {example['market']}: {example['command']}")
        for d in example["differences"]:
            out.print(f"  {d['field']}: model {d['model']}, chain {d['chain']}", highlight=False)
            out.print(f"    {d['model_hex']}\n    {d['chain_hex']}", highlight=False)
            if "difference" in d:
                out.print(f"    chain − model = {d['difference']}", highlight=False)
