"""Random lives of a dispatcher: crashes, losses, drops, strangers, reorgs; every intent once.

A crash is an exception that nobody catches, before or after a record is written or bytes are
sent; the next life has only the file. What is wanted is decided as a planner would: from the chain.
`PLUMBLINE_DISPATCH_SEEDS` asks for more lives than the 4 of every run.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from risk.keeper.dispatch import Journal
from risk.keeper.errors import Transient
from tests.keeper.dispatch_support import GWEI, SEND, FakeChain, Rig, intent

INTENTS = 6
SEEDS = int(os.environ.get("PLUMBLINE_DISPATCH_SEEDS", "4"))


class Crash(BaseException):
    """The process is gone."""


class Life:
    """One chain, one journal file, many processes."""

    def __init__(self, seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chance = Random(seed)
        self.chain = FakeChain()
        self.crashes = 0
        self.calm = False
        append = Journal.append

        def dying(journal: Journal, record: object) -> None:
            self._perhaps_crash()
            append(journal, record)  # type: ignore[arg-type]
            self._perhaps_crash()

        monkeypatch.setattr(Journal, "append", dying)
        self.chain.before = lambda method: self._perhaps_crash() if method == SEND else None
        self.rig = Rig(
            self.chain,
            folder,
            pipeline=self.chance.randint(1, 3),
            confirmations=4,
        )

    def _perhaps_crash(self) -> None:
        if not self.calm and self.chance.random() < 0.1:
            raise Crash

    def step(self) -> None:
        """One head of the keeper."""
        try:
            self.rig.dispatcher.tick(self.chain.head())
            done = set(self.chain.effects())
            for account in range(INTENTS):
                if intent(account).data not in done:
                    self.rig.dispatcher.submit(intent(account), self.chain.head())
        except Crash:
            self.crashes += 1
            self.rig.restart()
        except Transient:
            pass

    def mischief(self) -> None:
        """Something that happens to chain, pool or connection."""
        chance, chain = self.chance, self.chain
        what = chance.randrange(9)
        if what == 0 and chain.pool:
            del chain.pool[chance.choice(list(chain.pool))]
        elif what == 1:
            chain.faults[SEND] = [chance.choice(["lost before", "lost after", "txpool is full"])]
        elif what == 2:
            chain.stranger(chain.used() + chance.randrange(2))
        elif what == 3 and len(chain.blocks) > 6:
            chain.reorg(chance.randint(1, 4), back=chance.random() < 0.5)
        elif what == 4:
            chain.base = chance.randint(5, 60) * GWEI
        elif what == 5:
            chain.faults["eth_getTransactionReceipt"] = ["lost before"]
        elif what == 6:
            chain.mine(empty=True)
        elif what == 7 and not self.calm:
            self.rig.restart()
        elif what == 8:
            waiting = self.rig.dispatcher.slots
            if waiting and chance.random() < 0.3:
                try:
                    self.rig.dispatcher.cancel(waiting[0].key, chain.head())
                except Crash:
                    self.crashes += 1
                    self.rig.restart()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_intent_has_its_effect_once(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(seed, tmp_path, monkeypatch)
    for _ in range(90):
        life.step()
        life.mischief()
        if life.chance.random() < 0.6:
            life.chain.mine()
        effects = life.chain.effects()
        assert len(effects) == len(set(effects))
    life.calm = True
    life.chain.base = 10 * GWEI
    life.chain.faults.clear()
    for _ in range(60):
        life.step()
        life.chain.mine()
    assert sorted(life.chain.effects()) == [intent(n).data for n in range(INTENTS)]
    assert life.rig.dispatcher.slots == [] and life.crashes >= 1
    life.rig.restart()  # the journal is whole
    assert not life.rig.journal.notes
