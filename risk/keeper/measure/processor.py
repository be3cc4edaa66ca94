"""Processor seconds of this process and of a node, wall seconds beside them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def node_seconds(pid: int | None) -> float:
    """Processor time of another process so far; 0 where the system does not say (Linux does)."""
    if pid is None:
        return 0.0
    with suppress(OSError):
        # fields 14 and 15 of proc(5), counted behind the name in parentheses
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return 0.0


def timed(
    body: Callable[[], T], pid: int | None = None, repeats: int = 1
) -> tuple[T, float, float]:
    """(what the last call returned, least seconds by the clock, least of the processors)."""
    wall, cpu = [], []
    for _ in range(repeats):
        began, spent = time.perf_counter(), time.process_time() + node_seconds(pid)
        result = body()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() + node_seconds(pid) - spent)
    return result, min(wall), min(cpu)


def resident_bytes(pid: int | None = None) -> int:
    """Memory of a process (ours) that is in RAM; 0 where the system does not say."""
    with suppress(OSError):
        pages = Path(f"/proc/{pid or 'self'}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return 0
