"""``plumbline watch``: the accounts near their limits, and the keeper, live in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from risk.keeper.monitor.client import Data

URL = "http://127.0.0.1:9464"
TIMEOUT = 5.0
MOST = 50  # accounts that a snapshot holds


@dataclass(frozen=True)
class WatchOptions:
    """``url`` or ``config`` or neither: then the keeper of this machine at its usual port."""

    url: str | None
    config: Path | None
    once: bool
    json: bool
    interval: float
    top: int


def watch(
    url: Annotated[
        str | None, typer.Option(help=f"Page of a running keeper (default {URL}).")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A keeper's file: read the chain itself, without key and keeper."
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Show it once; exit code 75 where it is not current.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line instead of the screen.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")
    ] = 1.0,
    top: Annotated[int, typer.Option(min=1, max=MOST, help="Accounts on the screen.")] = 15,
) -> None:
    """Accounts near their limits, margin calls and the keeper's state, live."""
    raise typer.Exit(watch_command(WatchOptions(url, config, once, json, interval, top)))


def watch_command(options: WatchOptions) -> int:
    """0: seen, or ended by the user; 75: ``--once`` and there was nothing current to see; else the
    exit code of the error (``risk/keeper/errors.py``).
    """
    import sys

    from risk.errors import PlumblineError
    from risk.keeper.errors import ConfigError, KeeperError

    try:
        with _Signals():
            if options.url is not None and options.config is not None:
                raise ConfigError("give --url or --config, not both")
            if options.config is not None:
                from risk.keeper.monitor.direct import direct

                with direct(options.config, once=options.once) as read:
                    return _Watch(options, read).run()
            from risk.keeper.monitor.client import reader

            return _Watch(options, reader(options.url or URL, TIMEOUT)).run()
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        _silence()
        return 0
    except KeeperError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except PlumblineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


class _Watch:
    """Looks, shows, waits."""

    def __init__(self, options: WatchOptions, read: Callable[[], Data]) -> None:
        self._options, self._read = options, read
        self._data: Data | None = None
        self._failing = ""
        self._age_base = 0.0  # wall clock of the answer minus ours

    def run(self) -> int:
        """Until interrupted, or once."""
        if self._options.once:
            return self._once()
        if self._options.json:
            return self._lines()
        return self._live()

    def _look(self) -> bool:
        """Reads; keeps what it had where there is nothing new. True for an answer."""
        import time

        from risk.keeper.errors import Transient

        try:
            self._data = self._read()
        except Transient as error:
            self._failing = f"{error}."
            return False
        self._failing = ""
        about = self._data.get("monitor")
        said = about.get("now") if isinstance(about, Mapping) else None
        self._age_base = float(said) - time.time() if isinstance(said, int | float) else 0.0
        return True

    def _now(self) -> float:
        """The keeper's clock, so that a difference between the machines makes nothing stale."""
        import time

        return time.time() + self._age_base

    def _once(self) -> int:
        import sys

        from risk.cli.output import stdout

        if not self._look():
            print(f"error: {self._failing}", file=sys.stderr)
            return 75
        assert self._data is not None
        if self._options.json:
            _print_line(self._data)
        else:
            console = stdout()
            console.print(self._screen(console.width))
        return 75 if self._data.get("stale") else 0

    def _lines(self) -> int:
        """A line for every change; what fails goes to stderr, once for each reason."""
        import sys
        import time

        shown: object = None
        failing = ""
        while True:
            if self._look():
                assert self._data is not None
                written = (self._data.get("started"), self._data.get("written"))
                if written != shown:
                    _print_line(self._data)
                shown = written
            elif self._failing != failing:
                print(f"warning: {self._failing}", file=sys.stderr, flush=True)
            failing = self._failing
            time.sleep(self._options.interval)

    def _live(self) -> int:
        import time

        from rich.live import Live

        from risk.cli.output import stdout

        console = stdout()
        if not console.is_terminal:  # a log: one screen after the other
            while True:
                self._look()
                console.print(self._screen(console.width))
                time.sleep(self._options.interval)
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                self._look()
                live.update(self._screen(console.width), refresh=True)
                time.sleep(self._options.interval)

    def _screen(self, width: int) -> RenderableType:
        from rich.text import Text

        from risk.keeper.monitor.terminal import clean, screen

        if self._data is None:
            return Text(clean(self._failing or "Loading"), "bold red" if self._failing else "dim")
        return screen(
            self._data, self._now(), width=width, failing=self._failing, top=self._options.top
        )


class _Signals:
    """SIGTERM ends as Ctrl-C does, so that the terminal is left as it was."""

    def __enter__(self) -> None:
        import signal
        import threading

        self._old: Any = None
        if threading.current_thread() is threading.main_thread():
            self._old = signal.signal(signal.SIGTERM, _interrupt)

    def __exit__(self, *_: object) -> None:
        import signal

        if self._old is not None:
            signal.signal(signal.SIGTERM, self._old)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _print_line(data: Mapping[str, Any]) -> None:
    import json

    print(json.dumps(data, separators=(",", ":"), allow_nan=False), flush=True)


def _silence() -> None:
    """The reader of our output has gone: the interpreter's own flush at the end must not fail."""
    import os
    import sys

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
