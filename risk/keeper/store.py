"""What the keeper leaves for people: a SQLite database (WAL) that ``status`` reads at any time.

Nothing the keeper decides depends on it: nonces stand in the journal, the book comes from the
chain. It is checked when it is opened all the same, because a damaged file would tell lies.
Readers open it read-only and never block the writer. Tables are kept to a number of rows.

Amounts are decimal text (they exceed SQLite's 64 bits), times Unix seconds.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risk.keeper.dispatch import Event, Verdict
from risk.keeper.errors import StateError, WrongChain
from risk.keeper.ports import Simulation
from risk.keeper.snapshot import Snapshot
from risk.keeper.types import Health, Intent, Reading, Way

VERSION = 1
APPLICATION = 0x504C4B31  # "PLK1"
_PRUNE_EVERY = 500  # writes

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), time REAL NOT NULL,
    json TEXT NOT NULL);
CREATE TABLE readings (account TEXT PRIMARY KEY, health TEXT NOT NULL, equity_wad TEXT NOT NULL,
    mm_wad TEXT NOT NULL, im_wad TEXT NOT NULL, block INTEGER NOT NULL,
    timestamp INTEGER NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE intents (id INTEGER PRIMARY KEY, time REAL NOT NULL, block INTEGER NOT NULL,
    key TEXT NOT NULL, account TEXT NOT NULL, way TEXT NOT NULL, destination TEXT NOT NULL,
    data BLOB NOT NULL, gas_limit INTEGER NOT NULL, max_payment_wad TEXT NOT NULL,
    reward_wad TEXT NOT NULL, gas_cost_wad TEXT NOT NULL, profit_wad TEXT NOT NULL,
    simulation TEXT NOT NULL, payment_wad TEXT NOT NULL, detail TEXT NOT NULL,
    verdict TEXT NOT NULL, nonce INTEGER NOT NULL, result TEXT NOT NULL DEFAULT '',
    actual_wad TEXT NOT NULL DEFAULT '');
CREATE INDEX intents_key ON intents (key, id);
CREATE TABLE transactions (id INTEGER PRIMARY KEY, time REAL NOT NULL, what TEXT NOT NULL,
    key TEXT NOT NULL, nonce INTEGER NOT NULL, hash TEXT NOT NULL, block INTEGER NOT NULL,
    cost_wei TEXT NOT NULL, note TEXT NOT NULL);
CREATE TABLE heartbeats (id INTEGER PRIMARY KEY, time REAL NOT NULL, block INTEGER NOT NULL,
    hash TEXT NOT NULL, unhealthy INTEGER NOT NULL, unknown INTEGER NOT NULL,
    seconds REAL NOT NULL);
CREATE TABLE errors (id INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL,
    message TEXT NOT NULL);
"""
_GROWING = ("intents", "transactions", "heartbeats", "errors")


@dataclass(frozen=True)
class Sent:
    """The last intent of a key that was signed: what was expected of it."""

    id: int
    intent: Intent
    payment_wad: int  # of the simulation
    nonce: int


def store_path(folder: Path, chain_id: int, vault: str, *, live: bool) -> Path:
    """Where the database of a vault lies; dry runs, which may run beside, have their own."""
    return folder / f"keeper-{chain_id}-{vault.lower()}{'' if live else '-dry-run'}.sqlite"


class Store:
    """See the module. One writer; not to be shared between threads.

    Raises ``StateError``: corrupt, of another version or vault, not writable.
    """

    def __init__(self, path: Path, *, chain_id: int, vault: str, keep_rows: int = 20_000) -> None:
        self.path, self._keep, self._writes = path, keep_rows, 0
        identity = {"chain_id": str(chain_id), "vault": vault.lower()}
        with self._failing():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None)
            try:
                fresh = _version(self._db) == (0, 0) and not _tables(self._db)
                if fresh:
                    self._db.execute("PRAGMA journal_mode = WAL")
                    self._create(identity)
                _check(self._db, path, identity)
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
            except BaseException:
                self._db.close()
                raise

    def _create(self, identity: Mapping[str, str]) -> None:
        self._db.executescript(f"BEGIN;{_SCHEMA}")
        self._db.executemany("INSERT INTO meta VALUES (?, ?)", list(identity.items()))
        self._db.execute(f"PRAGMA application_id = {APPLICATION}")
        self._db.execute(f"PRAGMA user_version = {VERSION}")
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Harmless when closed already."""
        self._db.close()

    def belong(self, genesis: str) -> None:
        """To the chain whose block 0 has this hash, from the first call on. Raises ``WrongChain``
        where it belongs to another one: a local net that was started anew has the same chain id,
        and its vault often the same address.
        """
        with self._writing():
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('genesis', ?)", (genesis,))
            found = self._db.execute("SELECT value FROM meta WHERE key = 'genesis'").fetchone()[0]
        if found != genesis:
            raise WrongChain(
                f"{self.path}: belongs to genesis {found}, the node serves {genesis}: a new chain "
                "needs a new state folder"
            )

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def turn(self, snapshot: Snapshot, readings: Iterable[Reading] | None, seconds: float) -> None:
        """One turn of the loop: snapshot, heartbeat, and everybody in trouble (None: as before)."""
        with self._writing():
            self._snapshot(snapshot)
            if readings is not None:
                self._db.execute("DELETE FROM readings")
                self._db.executemany(
                    "INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (
                            f"{r.account:#044x}",
                            r.health.value,
                            str(r.equity_wad),
                            str(r.mm_wad),
                            str(r.im_wad),
                            r.block,
                            r.timestamp,
                            r.reason,
                        )
                        for r in readings
                    ],
                )
            head = snapshot.head
            if head is not None:
                self._db.execute(
                    "INSERT INTO heartbeats (time, block, hash, unhealthy, unknown, seconds) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        snapshot.written,
                        head.number,
                        head.hash,
                        snapshot.accounts.unhealthy,
                        snapshot.accounts.unknown,
                        seconds,
                    ),
                )
            self._prune()

    def snapshot(self, snapshot: Snapshot) -> None:
        """Only what ``status`` shows."""
        with self._writing():
            self._snapshot(snapshot)

    def _snapshot(self, snapshot: Snapshot) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?)",
            (snapshot.written, json.dumps(snapshot.to_json(snapshot.written))),
        )

    def intent(self, intent: Intent, simulation: Simulation, *, sending: bool) -> int:
        """An intent with what its simulation said; ``sending``: the dispatcher is asked next."""
        with self._writing():
            cursor = self._db.execute(
                "INSERT INTO intents (time, block, key, account, way, destination, data, "
                "gas_limit, max_payment_wad, reward_wad, gas_cost_wad, profit_wad, simulation, "
                "payment_wad, detail, verdict, nonce) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    time.time(),
                    intent.block,
                    intent.key,
                    f"{intent.account:#044x}",
                    intent.way.value,
                    f"{intent.to:#042x}",
                    intent.data,
                    intent.gas_limit,
                    str(intent.max_payment_wad),
                    str(intent.reward_wad),
                    str(intent.gas_cost_wad),
                    str(intent.profit_wad),
                    simulation.outcome.name.lower(),
                    str(simulation.payment_wad),
                    simulation.detail,
                    "sending" if sending else "",
                    -1,
                ),
            )
            return int(cursor.lastrowid or 0)

    def verdict(self, row: int, verdict: Verdict) -> None:
        """What the dispatcher answered."""
        said = "sent" if verdict.declined is None else verdict.declined.name.lower()
        with self._writing():
            self._db.execute(
                "UPDATE intents SET verdict = ?, nonce = ? WHERE id = ?",
                (said, verdict.nonce, row),
            )

    def event(self, event: Event) -> None:
        """Something that happened to a nonce."""
        with self._writing():
            self._db.execute(
                "INSERT INTO transactions (time, what, key, nonce, hash, block, cost_wei, note) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    time.time(),
                    event.what.value,
                    event.key,
                    event.nonce,
                    event.hash,
                    event.block,
                    str(event.cost_wei),
                    event.note,
                ),
            )

    def result(self, row: int, result: str, actual_wad: int | None) -> None:
        """What became of a sent intent; None where there was no payment."""
        with self._writing():
            self._db.execute(
                "UPDATE intents SET result = ?, actual_wad = ? WHERE id = ?",
                (result, "" if actual_wad is None else str(actual_wad), row),
            )

    def error(self, kind: str, message: str) -> None:
        """A failure that the keeper survived, or its last words."""
        with self._writing():
            self._db.execute(
                "INSERT INTO errors (time, kind, message) VALUES (?, ?, ?)",
                (time.time(), kind, message),
            )

    def _prune(self) -> None:
        self._writes += 1
        if self._writes % _PRUNE_EVERY:
            return
        for table in _GROWING:
            self._db.execute(
                f"DELETE FROM {table} WHERE id <= (SELECT MAX(id) FROM {table}) - ?", (self._keep,)
            )

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def sent(self, key: str, nonce: int) -> Sent | None:
        """What was expected of the intent that has this nonce. A row that a killed process left
        before it knew the nonce counts.
        """
        with self._failing():
            row = self._db.execute(
                "SELECT id, account, way, destination, data, gas_limit, max_payment_wad, "
                "reward_wad, gas_cost_wad, profit_wad, block, payment_wad FROM intents "
                "WHERE key = ? AND (nonce = ? OR verdict = 'sending') ORDER BY id DESC LIMIT 1",
                (key, nonce),
            ).fetchone()
        if row is None:
            return None
        payment, reward, cost, profit = (int(x) for x in row[6:10])
        intent = Intent(
            account=int(row[1], 16),
            way=Way(row[2]),
            to=int(row[3], 16),
            data=bytes(row[4]),
            gas_limit=int(row[5]),
            max_payment_wad=payment,
            reward_wad=reward,
            gas_cost_wad=cost,
            profit_wad=profit,
            block=int(row[10]),
        )
        return Sent(int(row[0]), intent, int(row[11]), nonce)

    # ── plumbing ─────────────────────────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction."""
        with self._failing():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(f"{self.path}: {error}") from None
        except OSError as error:
            raise StateError(f"{self.path}: {error.strerror}") from None


@dataclass(frozen=True)
class Report:
    """What ``status`` reads: the last snapshot and the last rows of the tables, newest first."""

    snapshot: Snapshot | None
    readings: list[Reading]
    transactions: list[dict[str, Any]]
    intents: list[dict[str, Any]]
    errors: list[dict[str, Any]]


def read_report(path: Path, *, chain_id: int, vault: str, rows: int = 20) -> Report:
    """Reads without ever writing. Raises ``StateError`` as ``Store``, and where there is none."""
    if not path.exists():
        raise StateError(f"{path}: there is no database: no keeper has run here")
    identity = {"chain_id": str(chain_id), "vault": vault.lower()}
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
        with contextlib.closing(db):
            _check(db, path, identity, quick=False)
            found = db.execute("SELECT json FROM snapshot").fetchone()
            snapshot = Snapshot.from_json(json.loads(found[0])) if found else None
            readings = [
                Reading(int(a, 16), Health(h), int(e), int(mm), int(im), block, stamp, reason)
                for a, h, e, mm, im, block, stamp, reason in db.execute("SELECT * FROM readings")
            ]
            return Report(
                snapshot,
                readings,
                _last(db, "transactions", "time, what, key, nonce, hash, block, note", rows),
                _last(
                    db,
                    "intents",
                    "time, block, account, way, profit_wad, payment_wad, simulation, verdict, "
                    "nonce, result, actual_wad",
                    rows,
                ),
                _last(db, "errors", "time, kind, message", rows),
            )
    except sqlite3.Error as error:
        raise StateError(f"{path}: {error}") from None
    except ValueError as error:
        raise StateError(f"{path}: holds nonsense: {error}") from None


def _last(db: sqlite3.Connection, table: str, columns: str, rows: int) -> list[dict[str, Any]]:
    cursor = db.execute(f"SELECT {columns} FROM {table} ORDER BY id DESC LIMIT ?", (rows,))
    names = [c[0] for c in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _version(db: sqlite3.Connection) -> tuple[int, int]:
    application = db.execute("PRAGMA application_id").fetchone()[0]
    return int(application), int(db.execute("PRAGMA user_version").fetchone()[0])


def _tables(db: sqlite3.Connection) -> list[str]:
    return [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _check(
    db: sqlite3.Connection, path: Path, identity: Mapping[str, str], *, quick: bool = True
) -> None:
    application, version = _version(db)
    if application != APPLICATION:
        raise StateError(f"{path}: is not a database of the keeper")
    if version != VERSION:
        raise StateError(f"{path}: is of version {version}, this keeper writes {VERSION}")
    if quick:
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise StateError(f"{path}: is corrupt: {found}")
    meta = dict(db.execute("SELECT key, value FROM meta"))
    for key, value in identity.items():
        if meta.get(key) != value:
            raise StateError(f"{path}: belongs to {key} {meta.get(key)}, not {value}")
