"""What must be noticed: a scan that fails for ever, a wrong setting, one account without answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from risk.exact.state import State, Underlying
from risk.keeper.assemble import assemble
from risk.keeper.book import Advance, Prices
from risk.keeper.config import load_config
from risk.keeper.errors import ConfigError, KeeperError, LockHeld
from risk.keeper.lock import Lock
from risk.keeper.loop import FAULTS
from risk.keeper.ports import Outcome, Simulation, Sweep
from risk.keeper.scan import Scanner
from risk.keeper.types import Head
from tests.attacks.scene import model_market
from tests.keeper.planner_scene import LONG, A, Keeper, at_health, settle_in
from tests.keeper.test_keeper_cli import CHAIN_ID, KEEPER, written
from tests.keeper.test_loop import World_, bench, block, ran

WAD = 10**18


class Blind(World_):
    """A scan that fails ``times`` times, as ``Scanner`` tells it."""

    times = 10**9

    def scan(self, state: State, prices: Prices, head: Head, advance: Advance) -> Sweep:
        found = super().scan(state, prices, head, advance)
        self.times -= 1
        if self.times < 0:
            return found
        return Sweep(head, {}, dict(found.unknown), {}, 1, 0, failed="the scan failed: KeyError: 7")


def test_a_scan_that_fails_at_every_head_ends_the_keeper(tmp_path: Path) -> None:
    made = bench(tmp_path, Blind(heads=[block(n) for n in range(1, 99)]))
    with pytest.raises(KeeperError, match="KeyError: 7") as caught:
        made.loop.run()
    assert caught.value.exit_code == 1
    assert made.counters["faults_total"] == FAULTS
    assert all(s.accounts.healthy == 0 for s, _ in made.seen.all)


def test_a_scan_that_fails_once_is_made_again(tmp_path: Path) -> None:
    world = Blind(heads=[block(1), block(1), block(2)])
    world.times = 1
    made = ran(tmp_path, world)
    assert len(world.sent) == 2 and made.counters["faults_total"] == 1


def test_the_scanner_says_that_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    m = model_market()
    settle_in(m)
    at_health(m, A, 94 * WAD // 100, **LONG)
    k = Keeper(m)
    assert A in k.sweep().unhealthy

    def broken(*_: Any) -> Any:
        raise KeyError(7)

    with monkeypatch.context() as patch:
        patch.setattr(Scanner, "_rows", broken)
        sweep = k.sweep()
    assert "KeyError" in sweep.failed and A in sweep.unknown and not sweep.unhealthy
    again = k.sweep()
    assert not again.failed and A in again.unhealthy


@pytest.mark.parametrize("count", [0, 1])
def test_the_underlying_that_prices_gas_is_looked_for_at_the_start(
    tmp_path: Path, count: int
) -> None:
    world = World_(heads=[block(1)], unhealthy=set())
    world._state.underlyings = [Underlying(7, 8)] * count
    with pytest.raises(ConfigError, match=rf"native_underlying: 1, the vault has {count}"):
        bench(tmp_path, world, native_wad=None, native_underlying=1).loop.run()


def test_one_account_without_an_answer_does_not_slow_the_loop(tmp_path: Path) -> None:
    world = World_(heads=[block(n) for n in range(1, 9)])
    world.outcome = Simulation(Outcome.UNAVAILABLE, detail="no answer")
    made = bench(tmp_path, world, poll_seconds=0.001, retry_cap_seconds=30.0)
    pauses: list[float] = []
    pause = made.loop._pause
    made.loop._pause = lambda: pauses.append(pause()) or 0.0  # type: ignore[func-returns-value, method-assign]
    made.loop.run()
    assert len(pauses) >= 8 and set(pauses) == {0.001}
    assert world.sent == []
    # and the head is looked at again as soon as there is an answer
    again = World_(heads=[block(1), block(1)])
    outcomes = [world.outcome, Simulation(Outcome.OK, 50)]
    again.check = lambda wanted, head: outcomes.pop(0)  # type: ignore[method-assign]
    ran(tmp_path / "again", again)
    assert len(again.sent) == 1


def test_two_keepers_with_one_journal_meet_whatever_their_environment(tmp_path: Path) -> None:
    """A service and a shell have different $XDG_STATE_HOME, and the same configuration."""
    config = load_config(written(tmp_path))
    config = config.model_copy(update={"dry_run": False})
    with (
        Lock(config.state.folder, CHAIN_ID, KEEPER.address),
        pytest.raises(LockHeld, match="process"),
    ):
        assemble(config, live=True, locks=tmp_path / "another")
    assert not list(config.state.folder.glob("journal*"))


@pytest.mark.parametrize("part", ["reconcile_error", "tick_error", "prices"])
def test_an_unexpected_failure_anywhere_is_survived_and_not_for_ever(
    tmp_path: Path, part: str
) -> None:
    """Not only while judging and planning: a single odd answer must not end the process."""
    for times in (1, 10**9):
        left = [times]
        world = World_(heads=[block(n) for n in range(1, 40)])
        kind = part.removesuffix("_error")
        good = getattr(world, kind)

        def odd(*args: Any, _good: Any = good, _left: list[int] = left, **more: Any) -> Any:
            _left[0] -= 1
            if _left[0] >= 0:
                raise ValueError("odd")
            return _good(*args, **more)

        setattr(world, kind, odd)
        made = bench(tmp_path / str(times), world, reconcile_every_blocks=1)
        if times == 1:
            made.loop.run()
            assert len(world.sent) >= 38 and made.counters["faults_total"] == 1
        else:
            with pytest.raises(KeeperError, match="odd"):
                made.loop.run()
            assert made.counters["faults_total"] == FAULTS
