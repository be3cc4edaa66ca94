"""Forks keepers for `home.Zygote`: everything is imported once.

``python -m tests.keeper_faults.life`` reads one JSON object a line. ``{"args", "env", "out", "err",
"death"}`` starts ``plumbline ARGS`` in a process of its own and answers with its id;
``{"wait", "seconds"}`` answers with its exit code, or ``hangs``. DEATH is one of `EVENTS` and the
how manieth of them it is at which the process kills itself with SIGKILL; null: it does not.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from typing import Any

from typer.main import get_command

from risk.cli.main import app
from risk.keeper.dispatch import journal as journal_module
from risk.keeper.dispatch import sender as sender_module

PARTS = ("risk.keeper.assemble", "risk.keeper.commands", "eth_account")


EVENTS = (
    "before writing",
    "in the middle of writing",
    "after writing",
    "before sending",
    "after sending",
)
"""Of the journal, and of a transaction to the node."""


class Events:
    """Counts, and kills at the wanted one. Its last words go to the process's stderr."""

    def __init__(self, kind: str, number: int) -> None:
        self.kind, self.left = kind, number

    def __call__(self, what: str) -> None:
        self.left -= what == self.kind
        if not self.left:
            os.write(2, f"\n[killed {what}]\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Around writing and sending."""
        write_all, send = journal_module.write_all, sender_module._hand_over

        def write(descriptor: int, data: bytes) -> None:
            self("before writing")
            half = len(data) * (self.left % 10) // 10
            write_all(descriptor, data[:half])
            self("in the middle of writing")
            write_all(descriptor, data[half:])
            self("after writing")

        def hand_over(wire: Any, attempt: Any) -> Any:
            self("before sending")
            result = send(wire, attempt)
            self("after sending")
            return result

        journal_module.write_all = write
        sender_module._hand_over = hand_over


def start(command: Any, order: dict[str, Any]) -> int:
    """Process id of a new keeper."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        for name, descriptor in (("out", 1), ("err", 2)):
            file = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(file, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(order["env"])
        if order["death"]:
            Events(*order["death"]).install()

        try:
            command(order["args"], prog_name="plumbline")
            code = 0
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else int(bool(done.code))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def wait(pid: int, seconds: float) -> str:
    """Exit code of the process."""
    end = time.monotonic() + seconds
    pause = 0.001
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return str(os.waitstatus_to_exitcode(status))
        time.sleep(pause)
        pause = min(0.02, pause * 2)
    return "hangs"


def main() -> None:
    """Until the end of the input."""
    for name in PARTS:
        importlib.import_module(name)
    command = get_command(app)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        answer = (
            wait(order["wait"], order["seconds"]) if "wait" in order else str(start(command, order))
        )
        print(answer, flush=True)


if __name__ == "__main__":
    main()
