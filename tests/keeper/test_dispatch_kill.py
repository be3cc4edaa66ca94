"""SIGKILL at random points: every intent has its effect exactly once, and the journal is whole.

ATTACKS H61 and H64. `PLUMBLINE_KILL_POINTS` asks for more points than the 40 of every run.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from risk.chain.rpc import Rpc
from tests.keeper.dispatch_chain import deploy_token, mints, open_real_journal, quiet_anvil
from tests.keeper.dispatch_support import ROOT, signer

pytestmark = pytest.mark.chain
POINTS = int(os.environ.get("PLUMBLINE_KILL_POINTS", "40"))


class Zygote:
    """The process that forks lives, see `dispatch_child`."""

    def __init__(self, endpoint: str, token: int, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.keeper.dispatch_child"]
        self.process = subprocess.Popen(
            [*command, endpoint, str(token), str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "begin"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def live(self, accounts: int, death: int = 0, delay: int = 0) -> tuple[int, str]:
        """Exit code and last words of one life."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{accounts} {death} {delay}\n")
        self.process.stdin.flush()
        code, words = self._answer().split(" ", 1)
        return int(code), words

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def mischief(rpc: Rpc, chance: random.Random) -> None:
    """Between two lives: the pool loses a transaction, or blocks come."""
    what = chance.randrange(3)
    me = signer().address.lower()
    pooled = rpc.call("txpool_content")["pending"]
    mine = next((txs for who, txs in pooled.items() if who.lower() == me), {})
    if what == 0 and mine:
        rpc.call("anvil_dropTransaction", chance.choice(list(mine.values()))["hash"])
    elif what == 1:
        rpc.call("anvil_mine", hex(chance.randint(1, 3)))


def test_H61_killed_at_random_points(tmp_path: Path) -> None:
    chance = random.Random(2024)
    deaths: Counter[str] = Counter()
    accounts = 6
    with quiet_anvil() as node, node.rpc() as rpc:
        token = deploy_token(rpc)
        zygote = Zygote(node.endpoint, token, tmp_path)
        try:
            for _ in range(POINTS * 10):
                if sum(deaths.values()) >= POINTS:
                    break
                inside = chance.random() < 0.85
                how = (
                    {"death": chance.randint(1, 14)} if inside else {"delay": chance.randint(1, 60)}
                )
                code, words = zygote.live(accounts, **how)
                if code == 0:
                    accounts += 3  # all done: new work
                    continue
                assert code == -9, words
                deaths[words] += 1
                mischief(rpc, chance)
            assert zygote.live(accounts)[0] == 0
        finally:
            zygote.close()
        assert sum(deaths.values()) >= POINTS
        assert mints(rpc, token) == Counter(range(accounts))
        assert rpc.nonce(signer().address) == accounts  # one transaction each, and no other
        with open_real_journal(rpc, tmp_path) as journal:
            assert not journal.notes and not journal.slots.live()
            assert journal.slots.next_nonce() == accounts
    parts = ("writing", "sending")
    seen = {f"{when} {what}" for when in ("before", "after") for what in parts}
    assert seen | {"in the middle of writing", "from outside"} <= set(deaths)
