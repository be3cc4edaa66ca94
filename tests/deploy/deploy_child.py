"""A deployment in a process of its own, which a test kills.

``python -m tests.deploy.deploy_child ENDPOINT CONFIG OUT KEY|- DEATH PAUSE``: KEY signs, ``-`` uses
the unlocked account 0.  DEATH is the number of the event at which the process kills itself with
SIGKILL (0: never); events are the moments before and after every journal entry and
sending.  PAUSE is slept at every event, in seconds, so a kill from outside has something to hit.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from risk.chain.compile import compile_contracts
from risk.chain.rpc import Rpc
from risk.deploy.cli import deploy_and_record
from risk.deploy.config import load_config
from risk.deploy.journal import Journal
from risk.deploy.sender import RpcSender, load_key
from tests.deploy.support import ROOT, key


class Events:
    """Counts, and kills at the wanted one."""

    def __init__(self, death: int, pause: float) -> None:
        self.death, self.pause, self.count = death, pause, 0

    def __call__(self, what: str) -> None:
        self.count += 1
        if self.count == self.death:
            print(f"dies {what}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.pause)

    def around(self, owner: type, name: str, what: str) -> None:
        """An event before and one after every call of a method."""
        inner: Callable[..., Any] = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            self(f"before {what}")
            result = inner(*arguments, **named)
            self(f"after {what}")
            return result

        setattr(owner, name, wrapped)


def main(endpoint: str, config: str, out: str, secret: str, death: str, pause: str) -> None:
    events = Events(int(death), float(pause))
    events.around(Journal, "_append", "writing")
    events.around(Rpc, "send", "sending")
    events.around(Rpc, "send_raw", "sending")
    events.around(Journal, "remove", "removal")
    artifacts = compile_contracts(ROOT)
    with Rpc.connect(endpoint) as rpc:
        if secret == "-":
            sender = RpcSender(rpc, artifacts, unlocked=key(0).address)
        else:
            sender = RpcSender(rpc, artifacts, key=load_key(secret, "test"))
        print("begin", flush=True)
        deploy_and_record(load_config(config), sender, Path(out), lambda line: None)
        print(f"end {events.count}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
