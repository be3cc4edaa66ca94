"""The journal: whole, torn or corrupt, and never in doubt which."""

from __future__ import annotations

import functools
import os
import random
from pathlib import Path
from typing import Any

import pytest

from risk.keeper.dispatch import journal as module
from risk.keeper.dispatch.fees import Fees
from risk.keeper.dispatch.journal import Journal
from risk.keeper.dispatch.slots import Attempt, Slot, Status, signing
from risk.keeper.errors import StateError, WrongChain
from tests.keeper.dispatch_support import CHAIN, GENESIS, Sent, open_journal, signer


@functools.lru_cache
def signed(
    nonce: int, key: str, purpose: str = "intent", fee: int = 10, kind: str = "signed"
) -> Any:
    """A record with real bytes."""
    raw = signer().sign(
        {
            "type": 2,
            "chainId": CHAIN,
            "nonce": nonce,
            "to": "0x" + "11" * 20,
            "value": 0,
            "data": b"",
            "gas": 21_000,
            "maxFeePerGas": fee,
            "maxPriorityFeePerGas": fee,
        }
    )
    slot = Slot(nonce, key, "0x" + "11" * 20, b"", 21_000, 10**18)
    return signing(kind, slot, Attempt(Sent.of(raw).hash, raw, purpose, 21_000, Fees(fee, fee), 5))


def mined(nonce: int, tx_hash: str, block: int) -> dict[str, Any]:
    place = {"block": block, "block_hash": "0x" + "b0" * 32, "gas_used": 21_000, "price": 7}
    return {"t": "mined", "nonce": nonce, "hash": tx_hash, "status": 1, **place}


def story(journal: Journal) -> None:
    """One closed nonce, one mined, one open with a replacement and a cancellation."""
    for nonce in range(3):
        record = signed(nonce, f"key {nonce}")
        journal.append(record)
        journal.append({"t": "sent", "nonce": nonce, "hash": record["hash"], "answer": "accepted"})
        if nonce < 2:
            journal.append(mined(nonce, record["hash"], 7 + nonce))
    journal.append({"t": "closed", "nonce": 0})
    journal.append(signed(2, "key 2", fee=20, kind="replaced"))
    journal.append(signed(2, "key 2", purpose="cancel", fee=30, kind="cancelled"))


def test_it_reads_back_what_was_written(tmp_path: Path) -> None:
    with open_journal(tmp_path) as first:
        story(first)
        told = first.slots
    with open_journal(tmp_path) as second:
        assert second.slots == told
        assert [s.status for s in second.slots.by_nonce.values()] == [
            Status.CLOSED,
            Status.MINED,
            Status.OPEN,
        ]
        assert [a.purpose for a in second.slots.by_nonce[2].attempts] == [
            "intent",
            "intent",
            "cancel",
        ]
        assert second.slots.next_nonce() == 3 and not second.notes


def test_the_bytes_are_synced_when_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order of system calls: write, fsync of the file; and of the folder when it is made."""
    calls: list[str] = []
    write, sync = os.write, os.fsync

    def tell_sync(descriptor: int) -> None:
        is_folder = os.path.isdir(f"/proc/self/fd/{descriptor}")
        calls.append("folder" if is_folder else "fsync")
        sync(descriptor)

    monkeypatch.setattr(os, "write", lambda fd, data: (calls.append("write"), write(fd, data))[1])
    monkeypatch.setattr(os, "fsync", tell_sync)
    with open_journal(tmp_path) as journal:
        assert calls == ["folder", "write", "fsync"]
        calls.clear()
        journal.append(signed(0, "a"))
        assert calls == ["write", "fsync"]


def test_a_record_torn_at_any_byte_is_cut_off(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        story(journal)
        before = journal.path.read_bytes()
        journal.append(signed(3, "key 3"))
        path, after = journal.path, journal.path.read_bytes()
    for size in [*range(len(before) + 1, len(before) + 40, 3), len(after) - 2, len(after) - 1]:
        for zeros in (0, 1, 5000):
            if size == len(after) - 1 and zeros:
                continue  # a whole payload with zeros behind it: see the next test
            path.write_bytes(after[:size] + b"\0" * zeros)
            with open_journal(tmp_path) as journal:
                assert journal.slots.next_nonce() == 3
                assert len(journal.notes) == 1 and "torn record" in journal.notes[0]
                assert path.read_bytes() == before
                journal.append(signed(3, "key 3"))  # and it goes on
            assert path.read_bytes() == after


def test_any_other_change_is_refused_and_left_alone(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        story(journal)
        path = journal.path
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    chance = random.Random(5)
    broken = [
        b"".join(lines[:3] + lines[4:]),  # a line is lost
        b"".join([*lines[:3], lines[4], lines[3], *lines[5:]]),  # two are swapped
        b"".join([*lines, lines[-1]]),  # one is repeated
        whole + b"garbage",
        whole + b"\n",
        whole[:-1] + b"\0",  # the last record was complete: its line end is damaged
        lines[0] + b"\0" * 300 + b"".join(lines[1:]),
        b"{}\n" + whole,
        whole[: len(lines[0]) // 2] + whole[len(lines[0]) :],
    ]
    for _ in range(60):  # one bit anywhere
        at = chance.randrange(len(whole))
        flipped = bytearray(whole)
        flipped[at] ^= 1 << chance.randrange(8)
        broken.append(bytes(flipped))
    for text in broken:
        path.write_bytes(text)
        with pytest.raises(StateError, match=r"corrupt|not a keeper journal"):
            open_journal(tmp_path)
        assert path.read_bytes() == text


def test_it_is_of_one_chain_and_signer(tmp_path: Path) -> None:
    open_journal(tmp_path).close()
    with pytest.raises(WrongChain, match="genesis"):
        open_journal(tmp_path, genesis="0x" + "00" * 32)
    path = tmp_path / "journal.log"
    with pytest.raises(WrongChain, match="chain_id 31337, here it is 1"):
        Journal(path, chain_id=1, signer=signer().address, genesis=GENESIS)


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("signed twice", lambda: signed(2, "other")),
        ("open twice", lambda: signed(3, "key 2")),
        ("pays less", lambda: signed(2, "key 2", fee=25, purpose="cancel", kind="cancelled")),
        ("another effect", lambda: signed(2, "key 2", fee=50, kind="replaced")),
        ("nothing open to replace", lambda: signed(1, "key 1", fee=50, kind="replaced")),
        ("not ours", lambda: mined(2, "0x" + "aa" * 32, 9)),
        ("never signed", lambda: {"t": "closed", "nonce": 9}),
        ("not mined", lambda: {"t": "closed", "nonce": 2}),
        ("unknown record", lambda: {"t": "whatever", "nonce": 2}),
        ("reopened while open", lambda: {"t": "reopened", "nonce": 2}),
        ("not those of", lambda: {**signed(3, "key 3"), "hash": "0x" + "aa" * 32}),
        ("missing", lambda: {"t": "sent", "nonce": 2}),
    ],
)
def test_what_does_not_follow_is_not_written(tmp_path: Path, name: str, record: Any) -> None:
    with open_journal(tmp_path) as journal:
        story(journal)
        before = journal.path.read_bytes()
        with pytest.raises(StateError, match=name):
            journal.append(record())
        assert journal.path.read_bytes() == before
        journal.append(signed(3, "key 3"))
    with open_journal(tmp_path) as journal:
        assert journal.slots.next_nonce() == 4


def test_a_disk_that_is_full_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a record was written: nothing is appended behind it, and a restart cuts it off."""
    write = os.write

    def full(descriptor: int, data: Any) -> int:
        if len(data) > 100:
            return write(descriptor, data[:100])
        raise OSError(28, "No space left on device")

    with open_journal(tmp_path) as journal:
        journal.append(signed(0, "a"))
        with monkeypatch.context() as patch:
            patch.setattr(module.os, "write", full)
            long = {**signed(1, "b"), "padding": ""}
            long["padding"] = "x" * (199 - len(module.encode(long, "0" * 16)[0]) % 100)
            with pytest.raises(StateError, match="No space left"):
                journal.append(long)
        with pytest.raises(StateError, match="closed"):
            journal.append(signed(1, "b"))
    with open_journal(tmp_path) as journal:
        assert "torn" in journal.notes[0] and journal.slots.next_nonce() == 1


def test_compaction_keeps_what_counts(tmp_path: Path) -> None:
    with open_journal(tmp_path, compact_after=5) as journal:
        story(journal)
        live, size = journal.slots.live(), journal.path.stat().st_size
        assert journal.compact(below_block=8)
        assert journal.path.stat().st_size < size
        assert journal.slots.live() == live and journal.slots.floor == 1
        journal.append(signed(3, "key 3"))
        told = journal.slots
    with open_journal(tmp_path) as again:
        assert again.slots == told and 0 not in again.slots.by_nonce
        with pytest.raises(StateError, match="signed twice"):
            again.append(signed(0, "key 0"))


@pytest.mark.parametrize("moment", ["before rename", "after rename"])
def test_compaction_has_no_moment_at_which_data_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    with open_journal(tmp_path, compact_after=5) as journal:
        story(journal)
        live = journal.slots.live()
        replace = os.replace

        def dies(source: Any, target: Any) -> None:
            if moment == "after rename":
                replace(source, target)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(module.os, "replace", dies)
            with pytest.raises(KeyboardInterrupt):
                journal.compact(below_block=8)
    with open_journal(tmp_path) as again:
        assert again.slots.live() == live
        assert bool(again.notes) == (moment == "before rename")
    assert [p.name for p in tmp_path.iterdir()] == ["journal.log"]
