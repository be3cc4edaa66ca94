"""The journal: every signed transaction is on the disk before it is sent.

One record a line: ``LENGTH CHECK PAYLOAD\\n``. LENGTH is that of the payload, 8 hex digits;
CHECK is the first 16 hex digits of SHA-256 over the CHECK before and the payload, so that a line
that was changed, lost or moved breaks the chain; the payload is JSON on one line. `append` returns
after fsync. The first record says whose journal it is.

A process that dies in the middle of a write leaves the beginning of one record at the end of
the file, perhaps followed by zeros that the file system put there. That tail is cut off: nothing
was sent for it, because sending comes after fsync. Anything else that does not fit is a
`StateError`: the bytes it hides may have been sent, so nobody may guess.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from risk.keeper.dispatch.slots import BadRecord, Record, Slots
from risk.keeper.errors import StateError, WrongChain

VERSION = 1
_START = "0" * 16
_HEAD = re.compile(rb"([0-9a-f]{8}) ([0-9a-f]{16}) ")
_HEAD_SIZE = 26
_BEGINNING = re.compile(rb"[0-9a-f]{0,8}|[0-9a-f]{8} [0-9a-f]{0,16}")
_LOG = logging.getLogger("plumbline.keeper.journal")


def journal_path(folder: Path, chain_id: int, signer: str) -> Path:
    """Where the journal of a signer lies."""
    return folder / f"journal-{chain_id}-{signer.lower()}.log"


class Journal:
    """Records of one (chain, signer), and the `Slots` that they add up to.

    The caller holds the lock of (chain, signer). Opening reads everything and cuts a torn tail.

    Args:
        path: the file; it and its folder are made where they are missing.
        chain_id, signer, genesis: whose journal. Another's is `WrongChain`; `genesis` is the hash
            of block 0, which tells a local net that was started anew from the one before.
        compact_after: records after which `compact` is worth its while.

    Raises `StateError` for a corrupt file, one of another version, or one that cannot be written.
    """

    def __init__(
        self, path: Path, *, chain_id: int, signer: str, genesis: str, compact_after: int = 2_000
    ) -> None:
        self.path = path
        self.slots = Slots()
        self.notes: list[str] = []
        self.records = 0
        self.compact_after = compact_after
        self._needed = 0  # records that the last compaction left
        self._header: Record = {
            "t": "header",
            "version": VERSION,
            "chain_id": chain_id,
            "signer": signer.lower(),
            "genesis": genesis,
        }
        self._check = _START
        self._descriptor = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = _temporary(path)
            if fresh.exists():  # a compaction that did not end: the journal itself is whole
                fresh.unlink()
                self._note("an unfinished compaction was removed")
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            text = path.read_bytes()
            _sync_folder(path.parent)
        except OSError as error:
            self.close()
            raise StateError(f"{path}: cannot be opened: {error.strerror}") from None
        try:
            self._read(text)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; every record is on the disk already."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    # --------------------------------------------------------------- writing

    def append(self, record: Record) -> None:
        """Applies one record and writes it. It is on the disk when this returns.

        Raises `StateError` if it does not follow from what is there (nothing is written then), or
        cannot be written (the journal refuses everything from then on).
        """
        if self._descriptor < 0:
            raise StateError(f"{self.path}: the journal is closed")
        try:
            self.slots.apply(record)
        except BadRecord as error:
            raise StateError(f"{self.path}: refused a record: {error}") from None
        line, check = encode(record, self._check)
        try:
            write_all(self._descriptor, line)
            os.fsync(self._descriptor)
        except OSError as error:
            # memory is ahead of the disk, and the disk perhaps torn: only a restart can tell
            self.close()
            raise StateError(f"{self.path}: cannot be written: {error.strerror}") from None
        self._check = check
        self.records += 1

    def compact(self, below_block: int) -> bool:
        """Forgets nonces closed in blocks before `below_block`, once there are many records.

        The new file is complete and on the disk before it takes the old one's name, so at every
        moment the name leads to a whole journal. True if it was done.
        """
        # what is still needed may be long: wait for as much again
        if self.records < max(self.compact_after, 2 * self._needed):
            return False
        self.slots.forget(below_block)
        fresh = _temporary(self.path)
        check, count = _START, 0
        try:
            descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                for record in (self._header, *self.slots.snapshot()):
                    line, check = encode(record, check)
                    write_all(descriptor, line)
                    count += 1
                os.fsync(descriptor)
                os.replace(fresh, self.path)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(self._descriptor)
            self._descriptor = descriptor
            self._check, self.records = check, count
            _sync_folder(self.path.parent)
        except OSError as error:
            self.close()
            raise StateError(f"{self.path}: cannot be compacted: {error.strerror}") from None
        self._needed = count
        return True

    # --------------------------------------------------------------- reading

    def _read(self, text: bytes) -> None:
        records, good, check = decode(text, self.path)
        for number, record in enumerate(records, 1):
            if number == 1:
                self._check_header(record)
                continue
            try:
                self.slots.apply(record)
            except (BadRecord, ValueError) as error:
                raise StateError(f"{self.path}: record {number}: {error}") from None
        self._check, self.records = check, len(records)
        try:
            if good < len(text):
                os.ftruncate(self._descriptor, good)
                os.fsync(self._descriptor)
                self._note(f"a torn record of {len(text) - good} bytes at the end was cut off")
            os.lseek(self._descriptor, good, os.SEEK_SET)
            if not records:
                line, self._check = encode(self._header, _START)
                write_all(self._descriptor, line)
                os.fsync(self._descriptor)
                self.records = 1
        except OSError as error:
            raise StateError(f"{self.path}: cannot be written: {error.strerror}") from None

    def _check_header(self, found: Record) -> None:
        if found.get("t") != "header" or found.get("version") != VERSION:
            version = found.get("version")
            raise StateError(f"{self.path}: not a keeper journal of version {VERSION}: {version}")
        wrong = [name for name, value in self._header.items() if found.get(name) != value]
        if wrong:
            name = wrong[0]
            raise WrongChain(
                f"{self.path}: the journal has {name} {found.get(name)}, here it is "
                f"{self._header[name]}; if the old chain is gone, move the file away"
            )

    def _note(self, text: str) -> None:
        self.notes.append(text)
        _LOG.warning("%s: %s", self.path.name, text)


def encode(record: Record, before: str) -> tuple[bytes, str]:
    """Line of a record, and its CHECK; `before` is the CHECK of the line before."""
    payload = json.dumps(dict(record), separators=(",", ":")).encode()
    check = _checksum(before, payload)
    return b"%08x %s %s\n" % (len(payload), check.encode(), payload), check


def decode(text: bytes, path: Path) -> tuple[list[Mapping[str, Any]], int, str]:
    """Records of a file, the length of their text, and the last CHECK.

    What follows that length is a torn record (see the module). Raises `StateError` for all else.
    """
    records: list[Mapping[str, Any]] = []
    at, check = 0, _START
    while at < len(text):
        head = _HEAD.match(text, at)
        end = at + _HEAD_SIZE + int(head[1], 16) if head else len(text)
        payload = text[at + _HEAD_SIZE : end]
        now = _checksum(check, payload)
        fits = head is not None and head[2].decode() == now
        if not fits or text[end : end + 1] != b"\n":
            damaged = not fits and end == len(text) and head is not None and text[-1] != 0
            if not damaged and _torn(text[at:]):
                break
            raise StateError(f"{path}: record {len(records) + 1} is corrupt")
        try:
            record = json.loads(payload)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise StateError(f"{path}: record {len(records) + 1} is corrupt: not a JSON object")
        records.append(record)
        at, check = end + 1, now
    return records, at, check


def _torn(tail: bytes) -> bool:
    """True if `tail` is the beginning of one record, perhaps followed by zeros."""
    begun = tail.rstrip(b"\0")
    if b"\n" in begun:
        return False
    head = _HEAD.match(begun)
    if head is None:
        return _BEGINNING.fullmatch(begun) is not None
    missing = int(head[1], 16) - (len(begun) - _HEAD_SIZE)
    # with the whole payload there, only the line end may be missing: a zero in its place is damage
    return missing > 0 or (missing == 0 and begun == tail)


def _checksum(before: str, payload: bytes) -> str:
    return hashlib.sha256(before.encode() + payload).hexdigest()[:16]


def write_all(descriptor: int, data: bytes) -> None:
    """Writes everything, however little the system takes at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _sync_folder(folder: Path) -> None:
    """Makes names durable; where a folder cannot be opened (Windows) the system does it."""
    with contextlib.suppress(PermissionError, IsADirectoryError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
