"""What all commands share: consoles, JSON files, readable failures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from risk.errors import PlumblineError
from risk.files import write_text


def stdout() -> Console:
    """Results; wide enough for tables where the output is no terminal."""
    return Console(width=None if sys.stdout.isatty() else 160)


def stderr() -> Console:
    """Progress."""
    return Console(stderr=True)


def write_json(path: Path | None, value: Any) -> None:
    """Writes the whole file or nothing; no path, no file."""
    if path is None:
        return
    write_text(path, json.dumps(value, indent=2) + "\n")


def tell(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def guarded(body: Callable[[], int]) -> int:
    """Exit code of ``body``; an error raised on purpose becomes one line on stderr and exit code
    2.
    """
    try:
        return body()
    except PlumblineError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
    return 2


def counting(what: str) -> Callable[[int], None]:
    """A progress callback that says how many are done: always on a terminal, now and then in a
    log.
    """

    def tell(done: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} {what}", end="", file=sys.stderr, flush=True)
        elif done % 50 == 0:
            print(f"{done} {what}", file=sys.stderr)

    return tell
