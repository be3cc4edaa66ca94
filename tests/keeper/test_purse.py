"""One answer that the balance is too low is not believed; two are. The day's fees hold sending."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from risk.keeper.commands import _status_lines, resume_command
from risk.keeper.config import load_config
from risk.keeper.dispatch import Declined
from risk.keeper.dispatch.spending import Spending
from risk.keeper.errors import BalanceTooLow, StateError
from risk.keeper.ports import Outcome, Simulation
from risk.keeper.purse import APART, Purse, ask_to_resume, resume_path
from risk.keeper.store import read_report
from tests.keeper.test_keeper_cli import written
from tests.keeper.test_loop import VAULT, WAD, World_, bench, block, intent, ran

POOR = {"submit_error": BalanceTooLow("0xbb has 0 wei; it needs 9 wei", 9)}


# ── balance ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("answers", [[0, 10], [10, 0], [0]])
@pytest.mark.parametrize("limit", [True, False])
def test_one_answer_suspends_and_does_not_end(
    tmp_path: Path, answers: list[int], limit: bool
) -> None:
    """By the configured limit, or by what an intent needs: the head is worked on again."""
    world = World_(heads=[block(1), block(1)], **({} if limit else POOR))
    made = bench(tmp_path, world, min_balance_wei=9 if limit else 0)
    world.wei[:] = answers
    made.loop._p.purse._endpoints = len(answers)  # type: ignore[union-attr]
    made.loop.run()
    shown = next(s for s, sweep in made.seen.all if sweep is not None)
    assert "balance" in shown.suspended and "0 wei" in shown.suspended
    assert shown.accounts.unhealthy == 1 and not world.sent
    # the answer was wrong: the next turn sends
    world.heads, world.wei[:] = [block(2)], [WAD for _ in answers]
    world.submit_error = None
    made.loop._stop.clear()
    made.loop.run()
    assert world.sent == [intent()] and made.seen.all[-1][0].suspended == ""


@pytest.mark.parametrize("change", [{}, POOR])
def test_two_endpoints_agree(tmp_path: Path, change: dict[str, Any]) -> None:
    world = World_(heads=[block(1), block(2)], wei=[10, 0, 0], **change)
    made = bench(tmp_path, world, min_balance_wei=0 if change else 9)
    with pytest.raises(BalanceTooLow, match="has 0 wei, 9 wei are needed"):
        made.loop.run()
    assert world.asked.count("head") == 1


@pytest.mark.parametrize("change", [{}, POOR])
def test_one_endpoint_agrees_with_itself_two_blocks_later(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    world = World_(heads=[block(n) for n in (1, 1, 2, 1 + APART, 9)], wei=[0], **change)
    made = bench(tmp_path, world, min_balance_wei=0 if change else 9)
    with pytest.raises(BalanceTooLow):
        made.loop.run()
    assert world.heads == [block(9)]


def test_of_two_endpoints_one_alone_never_ends_it(tmp_path: Path) -> None:
    """However long the other one is silent."""
    world = World_(heads=[block(n) for n in range(1, 20)], wei=[0, 0])
    made = bench(tmp_path, world, min_balance_wei=9)
    del world.wei[1]
    made.loop.run()
    assert "nobody else answers" in made.seen.all[-1][0].suspended


def test_a_lie_between_true_answers_starts_anew(tmp_path: Path) -> None:
    """0, enough, 0: no two answers in a row."""
    world = World_(heads=[block(n) for n in range(1, 9)], wei=[WAD])
    made = bench(tmp_path, world, min_balance_wei=9)
    head = world.head

    def next_head() -> Any:
        found = head()
        world.wei[:] = [0 if found.number % 2 else WAD]
        return found

    world.head = next_head  # type: ignore[method-assign]
    made.loop.run()
    assert not world.heads and world.sent


# ── fees of a day ────────────────────────────────────────────────────────────────────────────────

FEES = Spending(5 * 10**16, 4 * 10**16, 0, 4 * 10**16, 10**18)
HELD = "[fees] loss_native_per_day: transactions that brought nothing have cost 0.04 of 0.04"


def test_held_it_scans_reports_and_stays(tmp_path: Path) -> None:
    world = World_(heads=[block(1), block(2), block(3)], reason=HELD, fees=FEES)
    made = ran(tmp_path, world)
    assert not {"submit", "check"} & set(world.asked)
    assert world.asked.count("scan") == 3 and made.counters["heads_total"] == 3
    shown = [s for s, sweep in made.seen.all if sweep is not None][-1]
    assert shown.suspended == HELD and shown.accounts.unhealthy == 1
    assert (shown.spent_wei, shown.lost_wei) == (FEES.spent_wei, FEES.lost_wei)
    assert (shown.loss_limit_wei, shown.spend_limit_wei) == (4 * 10**16, 10**18)
    assert shown.buckets["left_for_a_later_head"].profit_wad == intent().profit_wad
    kept = read_report(made.path, chain_id=5, vault=VAULT).snapshot
    assert kept is not None and kept.lost_wei == FEES.lost_wei and kept.loss_limit_wei == 4 * 10**16
    # the window goes on
    world.reason, world.heads = "", [block(4)]
    made.loop._stop.clear()
    made.loop.run()
    assert world.sent == [intent()]


def test_held_it_still_takes_back(tmp_path: Path) -> None:
    """A nonce whose account recovered costs less cancelled than mined."""
    from tests.keeper.test_loop import slot

    world = World_(heads=[block(1)], unhealthy=set(), intents=[], reason=HELD)
    world.outcome = Simulation(Outcome.HEALTHY)
    world.live = [slot(intent().key)]
    ran(tmp_path, world)
    assert world.cancelled == [intent().key]


@pytest.mark.parametrize("reserved", [0, 7])
def test_too_little_for_an_intent_is_shown_unless_open_nonces_have_it(
    tmp_path: Path, reserved: int
) -> None:
    world = World_(heads=[block(1)], declined=Declined.LIMIT)
    world.fees = Spending(1, 1, reserved, 10, 10)
    made = ran(tmp_path, world)
    assert made.counters["declined_limit_total"] == 1
    shown = next(s for s, sweep in made.seen.all if sweep is not None)
    assert shown.suspended == ("" if reserved else Declined.LIMIT.value)
    assert shown.buckets["left_for_a_later_head"].count == 1


def test_the_operators_word(tmp_path: Path) -> None:
    """It is heard once, by the next head."""
    world = World_()
    path = ask_to_resume(tmp_path, 5, "0xBB")
    assert path == resume_path(tmp_path, 5, "0xbb") and path.stat().st_mode & 0o777 == 0o600
    purse = Purse(world, lambda: [WAD], resume=path)
    purse.means(block(7))
    assert world.forgiven == 7 and not path.exists()
    purse.means(block(8))
    assert world.forgiven == 7
    with pytest.raises(StateError, match="cannot be written"):
        ask_to_resume(tmp_path / "nowhere", 5, "0xbb")


def test_status_says_what_the_day_has_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the command that forgets it leaves the operator's word."""
    path = written(tmp_path)
    config = load_config(path)
    folder = config.state.folder
    assert resume_command(path) == 7 and "cannot be written" in capsys.readouterr().err
    folder.mkdir()
    world = World_(heads=[block(1)], reason=HELD, fees=FEES)
    made = bench(tmp_path, world)
    made.loop.run()
    assert resume_command(path) == 0
    assert resume_path(folder, config.chain.id, config.signer.address).exists()
    capsys.readouterr()
    report = read_report(made.path, chain_id=5, vault=VAULT)
    told = "\n".join(_status_lines(report))
    assert f"suspended   {HELD}" in told
    assert "spent       0.050000 native in 24 hours, limit 1.000000" in told
    assert "lost        0.040000 native in 24 hours, limit 0.040000" in told
