"""The journal of a deployment in progress: what was about to be sent, and what has happened.

One JSON object a line, flushed to the disk before anything is sent.  A process that dies at any
moment leaves whole lines and perhaps one torn line at the end, which is dropped.  The first line
says which deployment this is and holds what it worked out from the live market, so that a
resumed run lists the same expiries and strikes.  The file is locked while a run uses it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from risk.deploy.errors import JournalError
from risk.deploy.fields import Address
from risk.deploy.record import Amount, Hash

try:
    import fcntl
except ImportError:  # Windows: two runs at once are not kept apart
    fcntl = None  # type: ignore[assignment]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Header(_Model):
    """Which deployment this is.  A run with another header may not go on with the journal."""

    version: Literal[1]
    config_hash: Hash
    code_hash: Hash  # of the creation code of everything deployed
    chain_id: int
    genesis: Hash  # a local net that was started anew is another chain
    deployer: Address
    # what the first run took from the chain
    block: int
    timestamp: int
    prices_wad: list[Amount]  # one for each underlying

    def same_deployment(self, other: Header) -> list[str]:
        """Names of the fields in which the two are different deployments."""
        fields = ("config_hash", "code_hash", "chain_id", "genesis", "deployer")
        return [name for name in fields if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True)
class Intent:
    """A transaction that may have been sent: nonce, recipient, keccak of its data."""

    nonce: int
    to: str | None
    data_hash: str


class Journal:
    """Intents and results by step.  Without a file it lives in memory."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.header: Header | None = None
        self.intents: dict[str, list[Intent]] = {}
        self.done: dict[str, str] = {}  # step -> transaction
        self._file: BufferedRandom | None = None
        if path is not None and path.exists():
            self._open(path)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------- writing

    def begin(self, header: Header) -> None:
        """Starts afresh; what was there is forgotten."""
        if self.path is not None and self._file is None:
            self._open(self.path)
            if self.header is not None:
                raise JournalError(f"{self.path}: another deployment has just begun")
        self.header, self.intents, self.done = header, {}, {}
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
        self._append({"header": header.model_dump(mode="json")})

    def intend(self, step: str, intent: Intent) -> None:
        """Must return before the transaction is sent."""
        if intent in self.intents.get(step, ()):
            return
        self.intents.setdefault(step, []).append(intent)
        self._append(
            {"step": step, "nonce": intent.nonce, "to": intent.to, "data_hash": intent.data_hash}
        )

    def finish(self, step: str, transaction: str) -> None:
        """The step is on chain."""
        if self.done.get(step) != transaction:
            self.done[step] = transaction
            self._append({"step": step, "transaction": transaction})

    def remove(self) -> None:
        """The deployment is recorded: the journal has done its work."""
        if self.path is not None and self._file is not None:
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Releases the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def in_memory(self) -> Journal:
        """A copy that writes nothing, for a dry run of the rest."""
        copy = Journal()
        copy.header = self.header
        copy.intents = {step: list(intents) for step, intents in self.intents.items()}
        copy.done = dict(self.done)
        return copy

    def _append(self, entry: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise JournalError(f"{self.path}: cannot be written: {error.strerror}") from None

    # ---------------------------------------------------------------- reading

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = self._file.read()
        except BlockingIOError:
            self.close()
            raise JournalError(f"{path}: another deployment is using it") from None
        except OSError as error:
            self.close()
            raise JournalError(f"{path}: cannot be opened: {error.strerror}") from None
        whole = text.rfind(b"\n") + 1
        self._file.truncate(whole)
        self._file.seek(whole)
        try:
            for entry in _entries(text[:whole]):
                self._take(entry)
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            self.close()
            reason = str(error).splitlines()[0]
            raise JournalError(f"{path}: is not a deployment journal: {reason}") from None

    def _take(self, entry: dict[str, Any]) -> None:
        if "header" in entry:
            self.header = Header.model_validate(entry["header"])
        elif "transaction" in entry:
            self.done[str(entry["step"])] = str(entry["transaction"])
        else:
            intent = Intent(int(entry["nonce"]), entry["to"], str(entry["data_hash"]))
            self.intents.setdefault(str(entry["step"]), []).append(intent)


def _entries(text: bytes) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        entry = json.loads(line)
        if not isinstance(entry, dict) or (number == 1) != ("header" in entry):
            raise ValueError(f"line {number} is not what belongs there")
        yield entry


def journal_path(record: Path) -> Path:
    """Where the journal of a deployment lies: beside the record it will become."""
    return record.with_name(f"{record.stem}.journal")
