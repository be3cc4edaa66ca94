"""The database: what is written is read back, exactly; what does not belong is refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from risk.keeper import store as store_module
from risk.keeper.dispatch import Declined, Event, Verdict, What
from risk.keeper.errors import StateError, WrongChain
from risk.keeper.ports import Outcome, Simulation
from risk.keeper.snapshot import (
    BucketLine,
    Counts,
    Endangered,
    ErrorLine,
    OpenNonce,
    Snapshot,
    bins,
)
from risk.keeper.store import Store, read_report, store_path
from risk.keeper.types import Head, Health, Intent, Reading, Way

VAULT = "0x00000000000000000000000000000000000000aA"
BIG = -(2**120) - 1


def place(folder: Path) -> Path:
    return store_path(folder / "state", 5, VAULT, live=True)


def opened(folder: Path, **options: int) -> Store:
    return Store(place(folder), chain_id=5, vault=VAULT, **options)


def snapshot(number: int = 9) -> Snapshot:
    return Snapshot(
        chain_id=5,
        vault=VAULT,
        signer="0xbb",
        live=True,
        started=1.5,
        written=2.5,
        stale_seconds=60.0,
        head=Head(number, "0x01", "0x02", 1_000, 7),
        head_seen=2.0,
        accounts=Counts(10, 7, 2, 1, 1),
        histogram=bins(list(range(13))),
        endangered=(Endangered("0x0a", "unhealthy", BIG, 2**90, 2**91, -0.5, "scenario 3"),),
        buckets={"in_grace": BucketLine(1, BIG)},
        nonces=(OpenNonce(3, "0a:slice", "open", "0xcc", 2, 2**70, 1, 8),),
        balance_wei=2**80,
        errors=(ErrorLine(2.0, "Unreachable", "no answer"),),
        counters={"heads_total": 4},
    )


def intent(account: int = 0xA00) -> Intent:
    return Intent(account, Way.SLICE, 0xAA, b"\x01\x02", 500_000, BIG, 5, 6, 7, 9)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    store = opened(tmp_path)
    readings = [Reading(0xA00, Health.UNKNOWN, BIG, 1, 2, 8, 990, "no price")]
    store.turn(snapshot(), readings, 0.25)
    row = store.intent(intent(), Simulation(Outcome.OK, BIG, 1, ""), sending=True)
    store.verdict(row, Verdict(None, 3, "0xcc", "accepted"))
    store.event(Event(What.MINED, intent().key, 3, "0xcc", 9, 2**70))
    store.error("Unreachable", "no answer")
    store.result(row, "cheaper", BIG - 1)
    report = read_report(place(tmp_path), chain_id=5, vault=VAULT)  # beside the writer
    assert report.snapshot == snapshot()
    assert report.readings == readings
    assert report.intents[0]["actual_wad"] == str(BIG - 1)
    assert (report.intents[0]["verdict"], report.intents[0]["nonce"]) == ("sent", 3)
    assert report.transactions[0]["hash"] == "0xcc"
    assert report.errors[0]["message"] == "no answer"
    store.close()


def test_readings_are_those_of_the_last_turn(tmp_path: Path) -> None:
    store = opened(tmp_path)
    one = Reading(1, Health.UNHEALTHY, 0, 1, 2, 8, 990)
    store.turn(snapshot(), [one, Reading(2, Health.UNKNOWN, 0, 1, 2, 8, 990)], 0.0)
    store.turn(snapshot(10), [one], 0.0)
    report = read_report(place(tmp_path), chain_id=5, vault=VAULT)
    assert report.readings == [one]
    store.close()


def test_what_was_expected_of_a_nonce(tmp_path: Path) -> None:
    store = opened(tmp_path)
    found = Simulation(Outcome.OK, 42)
    for nonce in (3, 4):
        row = store.intent(intent(), found, sending=True)
        store.verdict(row, Verdict(None, nonce))
    row = store.intent(intent(), found, sending=True)
    store.verdict(row, Verdict(Declined.WINDOW_FULL))
    assert store.sent(intent().key, 5) is None
    expected = store.sent(intent().key, 3)
    assert expected is not None and expected.intent == intent() and expected.payment_wad == 42
    # killed between asking the dispatcher and hearing of the nonce
    torn = store.intent(intent(), Simulation(Outcome.OK, 43), sending=True)
    store.close()
    again = opened(tmp_path)
    found_again = again.sent(intent().key, 5)
    assert found_again is not None and (found_again.id, found_again.payment_wad) == (torn, 43)
    again.close()


def test_tables_do_not_grow_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_PRUNE_EVERY", 10)
    store = opened(tmp_path, keep_rows=100)
    for i in range(150):
        store.error("Kind", str(i))
        store.turn(snapshot(i), None, 0.0)
    store.close()
    with sqlite3.connect(place(tmp_path)) as db:
        assert db.execute("SELECT COUNT(*) FROM errors").fetchone()[0] == 100
        assert db.execute("SELECT MIN(block) FROM heartbeats").fetchone()[0] == 50
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def damage(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[4096 : 3 * 4096] = b"\x5a" * (2 * 4096)
    path.write_bytes(bytes(whole))


def other_version(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")


def other_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (x)")


def other_vault(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = '0xbb' WHERE key = 'vault'")


def no_database(path: Path) -> None:
    path.write_bytes(b"this is no database, whatever its name says" * 40)


@pytest.mark.parametrize("harm", [damage, other_version, other_program, other_vault, no_database])
def test_H64_a_file_that_does_not_belong_is_refused(tmp_path: Path, harm: object) -> None:
    store = opened(tmp_path)
    store.turn(snapshot(), [], 0.0)
    store.close()
    assert callable(harm)
    harm(place(tmp_path))
    before = place(tmp_path).read_bytes()
    with pytest.raises(StateError, match=str(place(tmp_path))):
        opened(tmp_path)
    assert place(tmp_path).read_bytes() == before


def test_a_chain_that_was_started_anew_is_another_one(tmp_path: Path) -> None:
    """Its id is the same, and its vault lies at the same address."""
    one, other = "0x" + "11" * 32, "0x" + "22" * 32
    store = opened(tmp_path)
    store.belong(one)
    store.turn(snapshot(), [], 0.0)
    store.close()
    again = opened(tmp_path)
    with pytest.raises(WrongChain, match=f"{place(tmp_path)}: .*{one}.*{other}") as caught:
        again.belong(other)
    assert caught.value.exit_code == 4 and "new state folder" in str(caught.value)
    again.belong(one)
    again.close()
    report = read_report(place(tmp_path), chain_id=5, vault=VAULT)
    assert report.snapshot == snapshot()


def test_status_needs_a_database_and_never_makes_one(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no keeper has run"):
        read_report(place(tmp_path), chain_id=5, vault=VAULT)
    assert not place(tmp_path).exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StateError):
        opened(tmp_path)
