"""ATTACKS H61 and H64: `kill -9` at random points of a liquidation run.

A few points in every run of the tests; `PLUMBLINE_KEEPER_KILLS=200` (`make keeper-faults`) for the
campaign, `PLUMBLINE_KEEPER_SEED` for other ones. Points are of two kinds: an event (a write of the
journal: before, in its middle, after; a sending: before, after), at which the keeper kills itself,
and a time after which it is killed from outside, wherever it is.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.keeper_faults import proxy as faults
from tests.keeper_faults.home import PATIENCE, Home, Zygote, alive
from tests.keeper_faults.life import EVENTS
from tests.keeper_faults.proxy import SEND, Proxy
from tests.keeper_faults.scene import GWEI, Scene

pytestmark = [pytest.mark.chain, pytest.mark.slow]
POINTS = int(os.environ.get("PLUMBLINE_KEEPER_KILLS", "12"))
SEED = int(os.environ.get("PLUMBLINE_KEEPER_SEED", "2026"))


Death = tuple[tuple[str, int] | None, float]
"""The event (None: from outside), and after how many seconds."""


class Run:
    """One liquidation run: the price falls, keepers live and die until all is done."""

    def __init__(self, home: Home, proxy: Proxy, chance: random.Random) -> None:
        self.home, self.scene, self.proxy, self.chance = home, home.scene, proxy, chance
        self.deaths: Counter[str] = Counter()
        self.lives = 0
        self.journal: list[Any] = []  # every record that was ever seen

    def go(self, wanted: int) -> None:
        """Until nobody is liquidatable and every nonce closed; no more deaths than `wanted`."""
        self.scene.crash()
        for _ in range(1_000):
            left = wanted - self.deaths.total()
            if self._live(self._death() if left > 0 else (None, PATIENCE)):
                break
            self._mischief()
        self.proxy.heal()
        life = self.home.live()
        self.home.until(self.home.clean, life=life)
        assert life.stop().code == 0
        self._keep_records()
        self.home.audit()

    def _death(self) -> Death:
        self.lives += 1
        if self.lives % 5 < 3:
            return (self.chance.choice(EVENTS), self.chance.randint(1, 5)), PATIENCE
        return None, self.chance.uniform(0.0, 1.2)

    def _live(self, how: Death) -> bool:
        """True where it lived until all was done."""
        event, seconds = how
        life = self.home.live(death=event)
        end = time.monotonic() + seconds
        while alive(life.pid):
            if event is None and seconds < PATIENCE and time.monotonic() >= end:
                life.signal(signal.SIGKILL)
                break
            assert time.monotonic() < end, life.said[-4_000:]
            if self.chance.random() < 0.7:
                self.scene.mine(base_fee=self.chance.choice((1, 1, 2, 5)) * GWEI)
            if not self.scene.liquidatable() and not self.home.open_nonces():
                assert life.stop().code == 0
                self._keep_records()
                return True
            time.sleep(0.02)
        outcome = life.end()
        assert outcome.code == -signal.SIGKILL, outcome.said[-4_000:]
        words = re.search(r"\[killed (.*)\]", outcome.err)
        self.deaths[words[1] if words else "from outside"] += 1
        self._keep_records()
        return False

    def _keep_records(self) -> None:
        """A record that once stood in the journal stands there for ever, at its place."""
        now = self.home.whole_records()
        assert now[: len(self.journal)] == self.journal, "the journal lost a record"
        self.journal = now

    def _mischief(self) -> None:
        """Between two lives."""
        what = self.chance.randrange(6)
        pooled = list(self.home.pooled().values())
        if what == 0 and pooled:
            self.scene.rpc.call("anvil_dropTransaction", self.chance.choice(pooled)["hash"])
        elif what == 1:
            self.scene.mine(self.chance.randint(1, 3))
        elif what == 2 and self.scene.rpc.block_number() > self.scene.base + 6:
            self.scene.rpc.call("anvil_reorg", self.chance.randint(1, 3), [])
        elif what == 3:
            self.proxy.add(self.chance.choice(LOST), SEND, times=1)


LOST: Sequence[faults.Fault] = (
    faults.disconnect,
    faults.disconnect_after,
    faults.cut_json,
    faults.error_200,
    faults.status(429),
)


def test_H64_killed_at_random_points(built: Scene, zygote: Zygote, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    deaths: Counter[str] = Counter()
    number = 0
    while deaths.total() < POINTS:
        built.reset()
        with Proxy(built.node.url) as proxy:
            folder = tmp_path / f"run{number}" / "home"
            secrets = [proxy.secret]
            with Home(built, folder, [proxy.url], zygote, secrets) as home:
                run = Run(home, proxy, chance)
                run.go(POINTS - deaths.total())
                deaths += run.deaths
        number += 1
    print(f"{deaths.total()} deaths in {number} runs: {dict(deaths)}")
    assert deaths.total() >= POINTS and set(deaths) & set(EVENTS)
    if POINTS >= 100:  # of a dozen, which kinds come is the scheduler's choice
        assert {*EVENTS, "from outside"} <= set(deaths)
