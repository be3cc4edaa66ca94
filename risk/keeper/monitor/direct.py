"""What a keeper would show, without one: a dry run of our own, whose files go with it.

It reads the same configuration and runs the same parts as ``plumbline keeper run`` does without
``--live``: no key, no lock, no journal; nothing is served and nobody is called.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from risk.keeper.assemble import assemble
from risk.keeper.config import KeeperConfig, load_config
from risk.keeper.errors import KeeperError, Transient
from risk.keeper.ground import Stopped
from risk.keeper.monitor.client import Data
from risk.keeper.monitor.monitor import Monitor
from risk.keeper.ports import Sweep
from risk.keeper.snapshot import Snapshot

REACH_SECONDS = 30.0  # to reach the chain, where only one look is wanted
FIRST_SECONDS = 300.0  # until everybody is judged, then
_STOP_SECONDS = 30.0


class Ended(KeeperError):
    """The dry run has ended; asking again is of no use."""

    def __init__(self, cause: BaseException) -> None:
        self.exit_code = cause.exit_code if isinstance(cause, KeeperError) else 1
        super().__init__(str(cause) or type(cause).__name__)


class _Run:
    """The dry run in a thread of its own (its database wants one), and what it showed last."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._failure: BaseException | None = None
        self._reason = "the book is being read"
        self._news = threading.Event()  # a judged head, or the end

    def seen(self, snapshot: Snapshot, sweep: Sweep | None) -> None:
        """As observer. That it is told to stop at the end is no news for those who watch."""
        if snapshot.stopped:
            return
        if snapshot.head is None:
            self._reason = snapshot.suspended
            return
        self._monitor.seen(snapshot, sweep)
        self._news.set()

    def data(self, wait: float = 0.0) -> Data:
        """The newest; waits up to ``wait`` seconds for the first. ``Transient``, ``Ended``."""
        self._news.wait(wait)
        if self._failure is not None:
            raise Ended(self._failure)
        data = self._monitor.data()
        if data is None:
            raise Transient(f"no head yet: {self._reason}")
        return data

    @contextmanager
    def going(self, config: KeeperConfig) -> Iterator[None]:
        """While inside, it runs."""
        stop = threading.Event()

        def run() -> None:
            try:
                with assemble(config, live=False, stop=stop, observers=[self]) as keeper:
                    keeper.loop.run()
            except Stopped:
                pass
            except BaseException as error:
                self._failure = error
            finally:
                self._news.set()

        thread = threading.Thread(target=run, name="watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(_STOP_SECONDS)


@contextmanager
def direct(file: Path, *, once: bool = False) -> Iterator[Callable[[], Data]]:
    """Gives a reader like ``client.reader``'s: the newest data at every call, ``Transient`` before
    the first, ``Ended`` where what ran is over. ``once``: it waits for the first. Raises
    ``ConfigError``.
    """
    config = load_config(file)
    log = logging.getLogger("plumbline.keeper")
    silent = logging.NullHandler()  # warnings on stderr would tear the screen
    log.addHandler(silent)
    run = _Run(Monitor(port=None))
    try:
        with (
            tempfile.TemporaryDirectory(prefix="plumbline-watch-") as folder,
            run.going(_ours(config, Path(folder), once)),
        ):
            yield lambda: run.data(FIRST_SECONDS if once else 0.0)
    finally:
        log.removeHandler(silent)


def _ours(config: KeeperConfig, folder: Path, once: bool) -> KeeperConfig:
    """The same with files that go, and without page and webhook."""
    state = config.state.model_copy(update={"folder": folder, "log_file": None})
    monitor = config.monitor.model_copy(update={"enabled": False, "webhook_url": None})
    patience = config.chain.give_up_seconds
    chain = config.chain.model_copy(
        update={"give_up_seconds": min(patience, REACH_SECONDS) if once else patience}
    )
    changed = {"state": state, "monitor": monitor, "chain": chain, "dry_run": True}
    return config.model_copy(update=changed)
