"""``plumbline bench risk``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from risk.cli.output import guarded, stdout, tell, write_json

if TYPE_CHECKING:
    from risk.quant.pnl_bench import Measured, Size

TARGET: Final = 20.0  # times as fast as the plain way


def risk_command(size: Size, json: Path | None) -> int:
    """0: right and at least ``TARGET`` times as fast as plain numpy; 1: not; 2: the run failed."""
    return guarded(lambda: _risk(size, json))


def _risk(size: Size, json: Path | None) -> int:
    from rich.table import Table

    from risk.cli.bench import machine
    from risk.quant.pnl_bench import measure

    found = measure(size, tell)
    failed = failures(found)
    table = Table(
        "what", "accounts", "seconds", "cpu s", "accounts/s", "GFLOP/s", title="bench risk"
    )
    for name, row in found.rows.items():
        spent = (f"{row.seconds:.3f}", f"{row.cpu_seconds:.3f}", f"{1 / row.per_account:,.0f}")
        table.add_row(row.what, f"{row.accounts:,}", *spent, f"{found.gflops[name]:.1f}")
    out = stdout()
    out.print(table)
    out.print(
        f"{found.ratio:.1f} × the plain way ({found.cpu_ratio:.1f} × in processor seconds); "
        f"the products alone would take {found.of_gemm:.0%} of the time of the float32 tiles, and "
        f"a square product runs at {found.gflops['peak']:.0f} GFLOP/s"
    )
    out.print(
        f"largest error of VaR and ES: {found.error_float32:.1e} of gross (float32, proven bound "
        f"{found.bound_float32:.1e}), {found.error_float64:.1e} (float64)"
    )
    write_json(json, report(found) | {"failed": failed, "machine": machine()})
    for line in failed:
        tell(line)
    return 1 if failed else 0


def report(found: Measured) -> dict[str, Any]:
    """What the JSON file holds besides the machine."""
    rows = {
        name: {**asdict(row), "accounts_per_second": 1 / row.per_account}
        for name, row in found.rows.items()
    }
    plain = found.rows["plain"].accounts
    return {
        "size": {**asdict(found.size), "instruments": found.instruments},
        "rows": rows,
        "gflops": found.gflops,
        "ratio": found.ratio,
        "ratio_cpu": found.cpu_ratio,
        "share_of_gemm": found.of_gemm,
        "share_of_peak": found.gflops["tiles float32"] / found.gflops["peak"],
        "target": TARGET,
        "plain": {
            "accounts": plain,
            "whole": plain == found.size.accounts,
            "note": "float64; VaR only, np.quantile interpolates; seconds an account are compared",
        },
        "agreement": {
            "compared": plain,
            "outside_bound": found.outside,
            "error_float32_of_gross": found.error_float32,
            "bound_float32_of_gross": found.bound_float32,
            "error_float64_of_gross": found.error_float64,
        },
    }


def failures(found: Measured) -> list[str]:
    """What was missed, in words."""
    out = []
    if found.outside:
        out.append(f"{found.outside} accounts differ by more than the bound")
    if found.ratio < TARGET:
        out.append(f"{found.ratio:.1f} × the plain way, wanted {TARGET:g} ×")
    return out
