"""The soak's keeper in a process of its own: what grows there is the keeper's.

The parent (``Host``) keeps the chain, the town, the endpoints and all faults. The child
(``python -m risk.keeper.measure.host``) imports what a keeper imports, and does as it is told by
lines of JSON: assemble a keeper, take a turn, compare the whole book, close it. Keepers follow one
another in the same process, so whatever a restart leaves behind adds up there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from risk.chain.node import project_root
from risk.keeper import errors
from risk.keeper.errors import KeeperError

COMMAND: Final = (sys.executable, "-m", "risk.keeper.measure.host")
END_SECONDS: Final = 60.0


class Host:
    """The parent's side. ``settings`` are those of a ``KeeperConfig``, with plain values.

    Every order raises the ``KeeperError`` that ended the keeper, as the class of ``errors.py`` that
    it is. ``command`` starts the child, which ends with its input.
    """

    def __init__(
        self, settings: dict[str, Any], locks: Path, command: tuple[str, ...] = COMMAND
    ) -> None:
        self._first = {"settings": settings, "locks": str(locks)}
        self._command = command

    def __enter__(self) -> Host:
        self._child = subprocess.Popen(
            self._command,
            cwd=project_root(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # an interrupt is for the parent, which closes the input
        )
        self._write(self._first)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            self._child.stdin.close()  # it closes its keeper and ends
            self._child.wait(END_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            self._child.kill()
            self._child.wait()
        finally:
            self._child.stdout.close()

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    def start(self) -> None:
        """Assembles a keeper."""
        self._ask("start")

    def turn(self) -> None:
        """The loop until a turn is finished."""
        self._ask("turn")

    def reconcile(self, margins: int) -> int:
        """The whole book against the chain; accounts compared."""
        return int(self._ask("reconcile", margins))

    def stop(self) -> dict[str, int]:
        """Closes the keeper, if there is one; its counters."""
        return {name: int(n) for name, n in self._ask("stop").items()}

    def _ask(self, order: str, *arguments: int) -> Any:
        self._write([order, *arguments])
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise KeeperError(f"the keeper's process ended: exit {self._child.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise getattr(errors, answer["error"])(answer["why"])
        return answer["value"]

    def _write(self, what: object) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(what) + "\n")
            self._child.stdin.flush()
        except OSError:
            raise KeeperError(f"the keeper's process ended: exit {self._child.wait()}") from None


# ── the child ────────────────────────────────────────────────────────────────────────────────────


class Child:
    """Carries out the orders; ``close`` is harmless without a keeper."""

    def __init__(self, settings: dict[str, Any], locks: Path) -> None:
        from risk.keeper.assemble import Keeper
        from risk.keeper.config import KeeperConfig

        self._config, self._locks = KeeperConfig.model_validate(settings), locks
        self._keeper: Keeper | None = None

    def start(self) -> None:
        """See ``Host``, as for all that follow."""
        from risk.keeper.assemble import assemble

        self._keeper = assemble(self._config, live=True, locks=self._locks)

    def turn(self) -> None:
        assert self._keeper is not None
        self._keeper.loop.run(once=True)

    def reconcile(self, margins: int) -> int:
        assert self._keeper is not None
        return self._keeper.ground.book.reconcile(None, margins=margins).accounts

    def stop(self) -> dict[str, int]:
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return {}
        keeper.close()
        return dict(keeper.board.counters)

    def answer(self, order: str, arguments: list[int]) -> dict[str, Any]:
        """Value or error of one order. What is no ``KeeperError`` is a defect and goes through."""
        try:
            return {"value": getattr(self, order)(*arguments)}
        except KeeperError as error:
            kind = next(c for c in type(error).__mro__ if c.__module__ == errors.__name__)
            return {"error": kind.__name__, "why": str(error)}


def main() -> None:
    """Orders from the input until it ends."""
    import logging

    logging.getLogger("plumbline.keeper").addHandler(logging.NullHandler())
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else gets between the answers
    first = json.loads(sys.stdin.readline())
    child = Child(first["settings"], Path(first["locks"]))
    try:
        for line in sys.stdin:
            order, *arguments = json.loads(line)
            print(json.dumps(child.answer(order, arguments)), file=answers, flush=True)
    finally:
        child.stop()


if __name__ == "__main__":
    main()
