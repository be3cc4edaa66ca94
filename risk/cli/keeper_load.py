"""``plumbline bench load`` and ``plumbline bench soak``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from risk.cli.options import Json, Seed

if TYPE_CHECKING:
    from rich.table import Table

HOURS: Final = 24.0
ROWS: Final = (
    ("accounts that became unhealthy", "episodes", "{:,}"),
    ("liquidated", "liquidated", "{:,}"),
    ("recovered with the prices", "recovered", "{:,}"),
    ("still unhealthy at the end", "left", "{:,}"),
    ("most unhealthy at once", "most_unhealthy_at_once", "{:,}"),
    ("liquidations", "liquidations", "{:,}"),
    ("transactions mined", "transactions_mined", "{:,}"),
    ("of these failed", "transactions_failed", "{:,}"),
    ("gas", "gas", "{:,}"),
    ("gas of the failed", "gas_of_failed", "{:,}"),
    ("spent on gas, ether", "cost_ether", "{:,.3f}"),
    ("spent on gas, cash", "cost_cash", "{:,.0f}"),
    ("bad debt at the end, cash", "bad_debt_cash", "{:,.0f}"),
    ("most bad debt, cash", "most_bad_debt_cash", "{:,.0f}"),
    ("paid by the insurance fund, cash", "insurance_paid_cash", "{:,.0f}"),
    ("gain of the liquidators before gas, cash", "gain_cash", "{:,.0f}"),
)
SPREADS: Final = (
    ("blocks from unhealthy to liquidated", "blocks_to_liquidation"),
    ("the same, those left with their age", "blocks_with_those_left"),
)


def load(
    accounts: Annotated[int, typer.Option(min=2, help="Traders.")] = 50_000,
    keepers: Annotated[int, typer.Option(min=1, help="Keepers that race.")] = 20,
    blocks: Annotated[int, typer.Option(min=1, help="Blocks of 12 s.")] = 300,
    start_hour: Annotated[
        float, typer.Option(min=0, max=24, help="Hour (UTC) of 10-Oct-2025 to begin at.")
    ] = 20.9,
    looks: Annotated[
        int, typer.Option(min=0, help="Accounts a keeper looks at in a head; 0: all.")
    ] = 12,
    spread_bps: Annotated[
        int, typer.Option(min=0, help="How the keepers draw their order; 0: strictly by profit.")
    ] = 10_000,
    retry_blocks: Annotated[
        int, typer.Option(min=0, help="Heads that an account rests after a lost race.")
    ] = 3,
    intents: Annotated[int, typer.Option(min=1, help="Transactions of a keeper a head.")] = 4,
    pool: Annotated[
        bool, typer.Option(help="The keepers see the pool: they ask the node's pending block.")
    ] = False,
    baseline: Annotated[bool, typer.Option(help="Run the naive keepers too.")] = True,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Keepers race on a path like 10-Oct-2025; then naive ones on the same."""
    from risk.cli.output import guarded

    def body() -> int:
        from risk.cli.bench import machine
        from risk.cli.output import stdout, tell, write_json
        from risk.keeper.measure.load import LoadPlan, load
        from risk.keeper.measure.racer import Means

        means = Means(
            looks=looks,
            spread_bps=spread_bps,
            retry_blocks=retry_blocks,
            intents=intents,
            pool=pool,
        )
        plan = LoadPlan(accounts, keepers, blocks, seed, start_hour, means, baseline=baseline)
        report = {**load(plan, tell), "machine": machine()}
        write_json(json, report)
        stdout().print(load_table(report))
        return 0

    raise typer.Exit(guarded(body))


def soak(
    hours: Annotated[float, typer.Option(min=0.01, help="Simulated hours.")] = HOURS,
    blocks: Annotated[int, typer.Option(min=0, help="Blocks instead of hours.")] = 0,
    accounts: Annotated[int, typer.Option(min=2, help="Traders.")] = 2_000,
    start_hour: Annotated[
        float, typer.Option(min=0, max=24, help="Hour (UTC) of 10-Oct-2025 to begin at.")
    ] = 0.0,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """A keeper for simulated hours with random faults: exit 1 where book and chain differ, or
    memory grows.
    """
    from risk.cli.output import guarded

    def body() -> int:
        from risk.cli.bench import machine
        from risk.cli.output import stdout, tell, write_json
        from risk.keeper.measure.soak import SoakPlan, soak

        quiet()
        count = blocks or round(hours * 300)
        plan = SoakPlan(blocks=count, accounts=accounts, seed=seed, start_hour=start_hour)
        report = {**soak(plan, tell), "machine": machine()}
        write_json(json, report)
        stdout().print(soak_table(report))
        bad = soak_failures(report)
        for line in bad:
            tell(line)
        return 1 if bad else 0

    raise typer.Exit(guarded(body))


def soak_failures(report: dict[str, Any]) -> list[str]:
    """What a soak must not show, in words."""
    out = []
    if report["divergence"]:
        out.append(f"book and chain differ: {report['divergence']}")
    elif report["blocks"] < report["plan"]["blocks"]:
        out.append(f"the run ended after {report['blocks']} blocks")
    memory = report["memory"]
    if memory.get("flat") is False:
        out.append(f"memory grows by {memory['growth_mib_a_day']} MiB a simulated day")
    return out


def load_table(report: dict[str, Any]) -> Table:
    """Both runs side by side."""
    from rich.table import Table

    runs = [(name, report[name]) for name in ("keepers", "baseline") if name in report]
    table = Table(title="bench load")
    table.add_column("")
    for name, _ in runs:
        table.add_column("naive keepers" if name == "baseline" else name, justify="right")
    for text, key in SPREADS:
        table.add_row(f"{text}: median, p99, most", *(shown(run[key]) for _, run in runs))
    for text, key, form in ROWS:
        table.add_row(text, *(form.format(run[key]) for _, run in runs))
    for name in sorted({name for _, run in runs for name in run["failed_because"]}):
        counts = (f"{run['failed_because'].get(name, 0):,}" for _, run in runs)
        table.add_row(f"failed: {name}", *counts)
    for name in sorted({name for _, run in runs for name in run["failed_by_rival"]}):
        counts = (f"{run['failed_by_rival'].get(name, 0):,}" for _, run in runs)
        table.add_row(f"failed, account taken: {name}", *counts)
    return table


def shown(spread: dict[str, Any]) -> str:
    """Median, 99th percentile, largest."""
    if not spread["count"]:
        return "none"
    return f"{spread['median']:g}, {spread['p99']:g}, {spread['most']:g}"


def soak_table(report: dict[str, Any]) -> Table:
    """What happened, and what is left of it."""
    from rich.table import Table

    table = Table("bench soak", "", show_header=True)
    memory = report["memory"]
    lines = {
        "simulated hours": report["simulated_hours"],
        "blocks": report["blocks"],
        **{f"fault: {name}": count for name, count in report["faults"].items()},
        "requests that met a fault": sum(report["requests_that_met_a_fault"].values()),
        "transactions sent": report["keeper"].get("sent_total", 0),
        "blocks taken back": report["keeper"].get("blocks_undone_total", 0),
        "accounts compared in whole": report["accounts_compared_in_full_reconciliations"],
        "divergence": report["divergence"] or "none",
        "memory, MiB: first, settled, last": ", ".join(
            str(memory.get(k, "–")) for k in ("first_mib", "settled_mib", "last_mib")
        ),
        "growth, MiB a simulated day": memory.get("growth_mib_a_day", "–"),
        "flat": memory.get("flat", "–"),
        "seconds": report["wall_seconds"],
    }
    for name, value in lines.items():
        table.add_row(name, str(value))
    return table


def quiet() -> None:
    """The keeper's warnings about the faults that were ordered go nowhere."""
    import logging

    logging.getLogger("plumbline.keeper").addHandler(logging.NullHandler())
    logging.getLogger("plumbline.keeper").propagate = False
