"""``plumbline bench``."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from risk.cli import keeper_load
from risk.cli.options import Json, Seed, exits

if TYPE_CHECKING:
    from rich.table import Table

    from risk.keeper.measure.scan_rows import NodeScan
    from risk.vector.measure import Move, Row, Scan

app = typer.Typer(help="Measure: accounts a second, load, soak.", no_args_is_help=True)
app.command(
    "load",
    short_help="Keepers race on a path like 10-Oct-2025.",
    epilog=exits("it ran, whatever it found"),
)(keeper_load.load)
app.command(
    "soak",
    short_help="A keeper for simulated hours with random faults.",
    epilog=exits("book and chain agree, memory is flat", "not so"),
)(keeper_load.soak)

WIDTH: Final = 16
# row → (other row, at least so many times as fast)
TARGETS: Final = {"c": ("a", 50.0), "e": ("d", 10.0), "f": ("d", 100.0)}
RESCAN_SECONDS: Final = 1.0
COMPARED_AFTER_A_MOVE: Final = 20_000


@dataclass(frozen=True)
class ScanOptions:
    """Sizes of the run."""

    accounts: int
    model_accounts: int
    rescan_accounts: int
    seed: int
    single_accounts: int = 1_000
    multicall_accounts: int = 2_000
    lens_accounts: int = 50_000


@app.callback()
def bench() -> None:
    """Measure: accounts a second, keepers under load, a day with faults."""


@app.command(
    short_help="Scan a book of 16-instrument accounts in six ways.",
    epilog=exits("all agree and every target is met", "not so"),
)
def scan(
    accounts: Annotated[int, typer.Option(min=1, help="Accounts of rows (e) and (f).")] = 100_000,
    model_accounts: Annotated[
        int, typer.Option(min=1, help="Of these, how many the model computes too, row (d).")
    ] = 100_000,
    rescan_accounts: Annotated[
        int, typer.Option(min=0, help="Accounts of the rescan after a price move; 0: none.")
    ] = 1_000_000,
    single_accounts: Annotated[
        int, typer.Option(min=1, help="Of these, how many web3.py asks one by one, row (a).")
    ] = 1_000,
    multicall_accounts: Annotated[
        int, typer.Option(min=1, help="How many Multicall3 reads, row (b).")
    ] = 2_000,
    lens_accounts: Annotated[
        int, typer.Option(min=0, help="How many the lens reads, row (c); 0: no rows (a) to (c).")
    ] = 50_000,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Scan a book of 16-instrument accounts: web3.py, Multicall3, lens, Python integers, exact
    engine, certified filter.
    """
    options = ScanOptions(
        accounts,
        model_accounts,
        rescan_accounts,
        seed,
        single_accounts,
        multicall_accounts,
        lens_accounts,
    )
    raise typer.Exit(scan_command(options, json))


@app.command(
    short_help="VaR and ES of all accounts: tiles against plain numpy.",
    epilog=exits("right, and fast enough", "not so"),
)
def risk(
    accounts: Annotated[int, typer.Option(min=1, help="Portfolios.")] = 100_000,
    scenarios: Annotated[int, typer.Option(min=1, help="Scenarios.")] = 1_000,
    alpha: Annotated[float, typer.Option(help="Confidence of VaR and ES.")] = 0.975,
    threads: Annotated[int, typer.Option(min=1, help="Of BLAS and of the tiles.")] = 2,
    plain_accounts: Annotated[
        int | None,
        typer.Option(min=1, help="How many the plain way gets; none: as many as fit into memory."),
    ] = None,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """VaR and ES of all accounts under all scenarios: tiles against matmul and np.quantile."""
    from risk.cli.bench_risk import risk_command
    from risk.quant.pnl_bench import Size

    size = Size(accounts, scenarios, alpha, threads, seed, plain_accounts=plain_accounts)
    raise typer.Exit(risk_command(size, json))


def scan_command(options: ScanOptions, json: Path | None) -> int:
    """0: all agree and every target is met; 1: not; 2: the run itself failed."""
    from risk.cli.output import guarded

    return guarded(lambda: _scan(options, json))


def _scan(options: ScanOptions, json: Path | None) -> int:
    from risk.cli.output import stdout, tell, write_json
    from risk.vector import measure, sample
    from risk.vector.market import MarketTable

    state = sample.market(options.seed)
    table = MarketTable.from_state(state)
    tell(f"drawing {options.accounts} accounts")
    batch = sample.accounts(table, options.accounts, WIDTH, options.seed)
    unique = measure.distinct(batch)
    result = measure.scan(state, table, batch, options.model_accounts, tell)
    nodes = _through_a_node(options, state, table, batch)
    moves: list[Move] = []
    if options.rescan_accounts:
        tell(f"drawing {options.rescan_accounts} accounts")
        if options.rescan_accounts != options.accounts:
            batch = sample.accounts(table, options.rescan_accounts, WIDTH, options.seed + 1)
        moves = measure.rescans(state, table, batch, COMPARED_AFTER_A_MOVE, tell)
    report = {
        "book": {
            "accounts": options.accounts,
            "instruments_an_account": WIDTH,
            "instruments_listed": len(table.ids),
            "underlyings": len(table.underlyings),
            "scenarios": table.scenarios,
            "no_account_repeated": unique,
            "seed": options.seed,
        },
        "rows": _rates(all_rows(result, nodes)),
        "variants": _rates(nodes.variants if nodes else {}),
        "ratios": ratios(result, nodes),
        "agreement": {
            **_node_agreement(nodes),
            "model_compared": result.model_compared,
            "model_differs": result.model_differs,
            "filter_compared": result.filter_compared,
            "filter_differs": result.filter_differs,
        },
        "filter": {"left_open": result.left_open, "unhealthy": result.unhealthy},
        "rescans": [{**asdict(move), "seconds": move.seconds} for move in moves],
        "machine": machine(),
    }
    failed = failures(result, moves, unique, nodes)
    report["failed"] = failed
    for shown in tables(result, moves, nodes):
        stdout().print(shown)
    write_json(json, report)
    for line in failed:
        tell(line)
    return 1 if failed else 0


def _through_a_node(options: ScanOptions, state: Any, table: Any, batch: Any) -> NodeScan | None:
    """Rows (a) to (c), where they are wanted."""
    if not options.lens_accounts:
        return None
    from risk.cli.output import tell
    from risk.keeper.measure.scan_rows import NodeSizes, node_rows

    most = options.accounts
    sizes = NodeSizes(
        min(most, options.single_accounts),
        min(most, options.multicall_accounts),
        min(most, options.lens_accounts),
    )
    return node_rows(state, table, batch, sizes, tell)


def _rates(rows: dict[str, Row]) -> dict[str, Any]:
    return {key: {**asdict(row), "per_second": row.per_second} for key, row in rows.items()}


def _node_agreement(nodes: NodeScan | None) -> dict[str, Any]:
    if nodes is None:
        return {}
    return {"node_compared": nodes.compared, "node_differs": nodes.differs}


def all_rows(result: Scan, nodes: NodeScan | None) -> dict[str, Row]:
    """By letter."""
    return dict(sorted({**(nodes.rows if nodes else {}), **result.rows}.items()))


def ratios(result: Scan, nodes: NodeScan | None = None) -> dict[str, float]:
    """How many times as fast as the row it is held against, "e/d" and so on; of rows measured."""
    rows = all_rows(result, nodes)
    return {
        f"{key}/{other}": rows[key].per_second / rows[other].per_second
        for key, (other, _) in TARGETS.items()
        if key in rows and other in rows
    }


def failures(
    result: Scan, moves: list[Move], unique: bool, nodes: NodeScan | None = None
) -> list[str]:
    """Every disagreement and every target missed, in words."""
    out = []
    differ = result.model_differs + result.filter_differs
    differ += nodes.disagreements if nodes else 0
    if differ:
        out.append(f"{differ} accounts disagree")
    if not unique:
        out.append("an account is repeated")
    found = ratios(result, nodes)
    for key, (other, least) in TARGETS.items():
        ratio = found.get(f"{key}/{other}")
        if ratio is not None and ratio < least:
            out.append(f"({key}) is {ratio:.1f} × ({other}), wanted {least:g} ×")
    for move in moves:
        if move.differs:
            out.append(f"{move.differs} accounts disagree after a move of {move.ppm} ppm")
        if move.seconds > RESCAN_SECONDS:
            out.append(f"rescan after {move.ppm} ppm took {move.seconds:.2f} s")
    return out


def tables(result: Scan, moves: list[Move], nodes: NodeScan | None = None) -> list[Table]:
    """Rows and rescans."""
    from rich.table import Table

    first = Table(
        "", "what", "accounts", "seconds", "cpu s", "accounts/s", "ratio", title="bench scan"
    )
    found = ratios(result, nodes)
    for key, row in all_rows(result, nodes).items():
        ratio = next((f"{x:,.1f} × ({n[2:]})" for n, x in found.items() if n[0] == key), "")
        spent = (f"{row.seconds:.3f}", f"{row.cpu_seconds:.3f}", f"{row.per_second:,.0f}")
        first.add_row(f"({key})", row.what, f"{row.accounts:,}", *spent, ratio)
    second = Table(
        "move", "accounts", "seconds", "arrays", "cpu s", "past level 1", "exact", "unhealthy",
        title="rescan after a price move",
    )  # fmt: skip
    for move in moves:
        counts = (move.filtered, move.exact, move.unhealthy)
        second.add_row(
            f"{move.ppm / 10_000:g} %",
            f"{move.accounts:,}",
            f"{move.seconds:.3f}",
            f"{move.table_seconds:.3f}",
            f"{move.cpu_seconds:.3f}",
            *(f"{x:,}" for x in counts),
        )
    return [first, second] if moves else [first]


def machine() -> dict[str, Any]:
    """Processor, cores, load and versions."""
    from importlib.metadata import version

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_1m": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "scipy": version("scipy"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
