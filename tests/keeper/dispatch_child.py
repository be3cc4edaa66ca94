"""A dispatcher in a process of its own, which a test kills.

``python -m tests.keeper.dispatch_child ENDPOINT TOKEN FOLDER`` imports everything once, then forks
a life for each line ``ACCOUNTS DEATH DELAY`` of its input and answers with its exit status and
last words. A life dispatches the intents of accounts below ACCOUNTS until all have had their effect
and every nonce is closed. DEATH is the number of the event at which it kills itself with SIGKILL
(0: never): moments before, in the middle of and after every write of the journal, around its
compaction's renaming, and before and after every sending. DELAY: milliseconds after which it is
killed from outside (0: never).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from risk.chain.rpc import Rpc
from risk.keeper.dispatch import journal as journal_module
from risk.keeper.lock import Lock
from tests.keeper.dispatch_chain import (
    dispatcher,
    mint,
    open_real_journal,
    undone,
)
from tests.keeper.dispatch_support import CHAIN, signer

_WRITE, _REPLACE, _SEND = journal_module.write_all, os.replace, Rpc.call


class Events:
    """Counts, and kills at the wanted one."""

    def __init__(self, death: int, words: int) -> None:
        self.left, self.words = death, words
        self.count = 0

    def __call__(self, what: str) -> None:
        self.count += 1
        if self.count == self.left:
            os.write(self.words, what.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Around writing, renaming and sending."""

        def write(descriptor: int, data: bytes) -> None:
            self("before writing")
            half = max(1, len(data) * (self.left * 7 % 10) // 10)
            _WRITE(descriptor, data[:half])
            self("in the middle of writing")
            _WRITE(descriptor, data[half:])
            self("after writing")

        def replace(source: Any, target: Any) -> None:
            self("before renaming")
            _REPLACE(source, target)
            self("after renaming")

        def call(rpc: Rpc, method: str, *params: Any) -> Any:
            if method != "eth_sendRawTransaction":
                return _SEND(rpc, method, *params)
            self("before sending")
            result = _SEND(rpc, method, *params)
            self("after sending")
            return result

        journal_module.write_all = write
        journal_module.os.replace = replace  # type: ignore[attr-defined]
        Rpc.call = call  # type: ignore[method-assign]


def live(endpoint: str, token: int, folder: Path, accounts: int) -> None:
    """One life; returns when nothing is left to do."""
    with (
        Lock(folder, CHAIN, signer().address),
        Rpc.connect(endpoint) as rpc,
        open_real_journal(rpc, folder) as journal,
    ):
        mine = dispatcher(rpc, journal, pipeline=2, confirmations=1, retain_blocks=8)
        while True:
            mine.tick()
            wanted = undone(rpc, token, range(accounts))
            if not wanted and not mine.slots:
                return
            for account in wanted:
                mine.submit(mint(token, account))
            rpc.call("evm_mine")


def main(endpoint: str, token: str, folder: str) -> None:
    """Forks lives as told."""
    print("begin", flush=True)
    for line in sys.stdin:
        accounts, death, delay = map(int, line.split())
        heard, words = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                Events(death, words).install()
                live(endpoint, int(token), Path(folder), accounts)
                status = 0
            finally:
                sys.stderr.flush()
                if status:
                    sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
                os._exit(status)
        os.close(words)
        if delay:
            time.sleep(delay / 1000)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        last = os.read(heard, 100).decode()
        os.close(heard)
        print(os.waitstatus_to_exitcode(status), last or "from outside", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
