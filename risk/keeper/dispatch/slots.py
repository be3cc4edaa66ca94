"""What the journal says about every nonce: records, and the state that they add up to.

A *slot* is one nonce. It holds every attempt that was ever signed for it, all with the same
recipient and data, save that the last ones may be cancellations (a transfer of 0 wei to oneself).
States::

    open ──mined──▶ mined ──closed──▶ closed        an attempt of ours has the nonce
      │ ▲             │
      │ └──reopened───┤                              a reorg took it back
      └──taken──────▶ taken ──abandoned──▶ closed    a stranger's transaction has it

`Slots.apply` refuses a record that does not follow from those before it: a journal that was
tampered with, or mixed up with another, is not acted upon.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from risk.chain.keccak import keccak
from risk.chain.rpc import from_hex, to_hex
from risk.keeper.dispatch.fees import Fees
from risk.keeper.dispatch.spending import DAY_SECONDS, Fee

Record = Mapping[str, Any]

INTENT, CANCEL, FILL = "intent", "cancel", "fill"
NOBODY = "unknown"  # winner of a nonce that was used, by a stranger whom the node cannot name
SIGNING = {"signed": (INTENT, FILL), "replaced": (INTENT, CANCEL, FILL), "cancelled": (CANCEL,)}


class Status(Enum):
    """See the module."""

    OPEN = "open"
    MINED = "mined"
    TAKEN = "taken"
    CLOSED = "closed"


@dataclass
class Attempt:
    """One signed transaction. `sent` is the last answer to its sending, empty before that."""

    hash: str
    raw: bytes
    purpose: str
    gas_limit: int
    fees: Fees
    block: int  # head when it was signed
    sent: str = ""

    @property
    def worst_wei(self) -> int:
        """Most that it can cost."""
        return self.fees.worst(self.gas_limit)


@dataclass
class Slot:
    """One nonce. `to` and `data` are the intent's; `budget_wei` bounds the worst case."""

    nonce: int
    key: str
    to: str
    data: bytes
    gas_limit: int
    budget_wei: int
    attempts: list[Attempt] = field(default_factory=list)
    status: Status = Status.OPEN
    winner: str = ""  # hash of the transaction that has the nonce
    block: int = -1
    block_hash: str = ""
    succeeded: bool = False
    gas_used: int = 0
    gas_price_wei: int = 0
    time: int = 0  # of the head at which it was seen mined, Unix seconds

    @property
    def last(self) -> Attempt:
        """The attempt with the highest fees."""
        return self.attempts[-1]

    @property
    def unmined(self) -> bool:
        """Nobody has the nonce yet, as far as we know."""
        return self.status is Status.OPEN

    @property
    def live(self) -> bool:
        """Not final: its intent must not be sent under another nonce."""
        return self.status is not Status.CLOSED

    def attempt(self, tx_hash: str) -> Attempt | None:
        """Our attempt with this hash, or None."""
        return next((a for a in self.attempts if a.hash == tx_hash), None)

    @property
    def fee(self) -> Fee | None:
        """What the nonce has cost; None where nobody, or a stranger, has it."""
        mined = self.attempt(self.winner)
        if mined is None:
            return None
        worked = self.succeeded and mined.purpose == INTENT
        return Fee(self.time, self.gas_used * self.gas_price_wei, self.key, worked)


class BadRecord(ValueError):
    """A record that does not follow from those before it."""


@dataclass
class Slots:
    """All slots by nonce. `floor`: the first nonce that no forgotten slot has used; `old_fees`:
    what those have cost in the last day; fees up to the time `forgiven` count no more.
    """

    floor: int = 0
    by_nonce: dict[int, Slot] = field(default_factory=dict)
    old_fees: list[Fee] = field(default_factory=list)
    forgiven: int = 0
    _live: dict[str, Slot] = field(default_factory=dict, repr=False)  # by key

    def live(self) -> list[Slot]:
        """Slots that are not final, lowest nonce first."""
        return sorted(self._live.values(), key=lambda slot: slot.nonce)

    def find(self, key: str) -> Slot | None:
        """The live slot of an intent, or None."""
        return self._live.get(key)

    def next_nonce(self) -> int:
        """First nonce above everything that the journal knows."""
        return max(self.floor, max(self.by_nonce, default=-1) + 1)

    def fees(self, now: int) -> list[Fee]:
        """What transactions have cost in the day before `now`, lowest nonce first. Those that a
        journal of an older version holds without a time count as long past.
        """
        since = max(now - DAY_SECONDS, self.forgiven)
        return [fee for fee in self._fees() if fee.time > since]

    def _fees(self) -> Iterator[Fee]:
        yield from self.old_fees
        for _, slot in sorted(self.by_nonce.items()):
            fee = slot.fee
            if fee is not None:
                yield fee

    # --------------------------------------------------------------- records

    def apply(self, record: Record) -> None:
        """Takes one record over. Raises `BadRecord`."""
        try:
            self._apply(record)
        except (KeyError, TypeError, AttributeError) as error:
            raise BadRecord(f"field {error} is missing or of a wrong type") from None

    def _apply(self, record: Record) -> None:
        kind = record["t"]
        if kind == "floor":
            if self.by_nonce or record["nonce"] < self.floor:
                raise BadRecord("floor after slots, or lower than before")
            self.floor = _count(record["nonce"])
            return
        if kind == "fee":
            key, worked = str(record["key"]), record["worked"] == 1
            self.old_fees.append(Fee(_count(record["time"]), _count(record["wei"]), key, worked))
            return
        if kind == "forgiven":
            self.forgiven = max(self.forgiven, _count(record["time"]))
            return
        if kind in SIGNING:
            self._sign(record)
            return
        slot = self.by_nonce.get(record["nonce"])
        if slot is None:
            raise BadRecord(f"{kind} for nonce {record['nonce']}, which was never signed")
        step = {
            "sent": self._sent,
            "mined": self._mined,
            "taken": self._taken,
            "reopened": self._reopened,
            "closed": self._closed,
            "abandoned": self._abandoned,
        }.get(kind)
        if step is None:
            raise BadRecord(f"unknown record {kind!r}")
        step(slot, record)

    def _sign(self, record: Record) -> None:
        nonce, kind = _count(record["nonce"]), record["t"]
        raw = from_hex(record["raw"])
        fees = Fees(_count(record["max_fee"]), _count(record["tip"]))
        tried = Attempt(
            record["hash"], raw, record["purpose"], _count(record["gas"]), fees, record["block"]
        )
        if to_hex(keccak(raw)) != tried.hash or tried.purpose not in SIGNING[kind]:
            raise BadRecord(f"nonce {nonce}: the bytes are not those of {tried.hash}")
        slot = self.by_nonce.get(nonce)
        if kind == "signed":
            if slot is not None or nonce < self.floor:
                raise BadRecord(f"nonce {nonce} is signed twice")
            if self.find(record["key"]) is not None:
                raise BadRecord(f"intent {record['key']} is open twice")
            slot = Slot(
                nonce,
                str(record["key"]),
                str(record["to"]),
                from_hex(record["data"]),
                tried.gas_limit,
                _count(record["budget"]),
            )
            self.by_nonce[nonce] = self._live[slot.key] = slot
        elif slot is None or not slot.unmined:
            raise BadRecord(f"nonce {nonce}: nothing open to replace")
        else:
            old = slot.last
            if fees.max_fee_wei <= old.fees.max_fee_wei or fees.tip_wei <= old.fees.tip_wei:
                raise BadRecord(f"nonce {nonce}: a replacement that pays less")
            if kind == "replaced" and tried.purpose != old.purpose:
                raise BadRecord(f"nonce {nonce}: a replacement with another effect")
        slot.attempts.append(tried)

    def _sent(self, slot: Slot, record: Record) -> None:
        attempt = slot.attempt(record["hash"])
        if attempt is None:
            raise BadRecord(f"nonce {slot.nonce}: {record['hash']} was never signed")
        attempt.sent = str(record["answer"])

    def _mined(self, slot: Slot, record: Record) -> None:
        if not slot.unmined or slot.attempt(record["hash"]) is None:
            raise BadRecord(f"nonce {slot.nonce}: mined, but not open or not ours")
        slot.status, slot.winner = Status.MINED, record["hash"]
        slot.block, slot.block_hash = _count(record["block"]), str(record["block_hash"])
        slot.succeeded = record["status"] == 1
        slot.gas_used, slot.gas_price_wei = _count(record["gas_used"]), _count(record["price"])
        slot.time = _count(record.get("time", 0))

    def _taken(self, slot: Slot, record: Record) -> None:
        if not slot.unmined or slot.attempt(record["hash"]) is not None:
            raise BadRecord(f"nonce {slot.nonce}: taken, but not open or by ourselves")
        slot.status, slot.winner = Status.TAKEN, record["hash"]
        slot.block, slot.block_hash = _count(record["block"]), str(record["block_hash"])

    def _reopened(self, slot: Slot, record: Record) -> None:
        if slot.unmined:
            raise BadRecord(f"nonce {slot.nonce}: reopened while open")
        key = record.get("key", slot.key)
        other = self.find(key)
        if other is not None and other is not slot:
            raise BadRecord(f"intent {key} is open twice")
        if slot.live:
            del self._live[slot.key]
        slot.key = str(key)
        self._live[slot.key] = slot
        slot.status, slot.winner, slot.block, slot.block_hash = Status.OPEN, "", -1, ""
        slot.succeeded, slot.gas_used, slot.gas_price_wei, slot.time = False, 0, 0, 0

    def _closed(self, slot: Slot, record: Record) -> None:
        if slot.status is not Status.MINED:
            raise BadRecord(f"nonce {slot.nonce}: closed, but not mined")
        self._close(slot)

    def _abandoned(self, slot: Slot, record: Record) -> None:
        if slot.status is not Status.TAKEN:
            raise BadRecord(f"nonce {slot.nonce}: abandoned, but nobody took it")
        self._close(slot)

    def _close(self, slot: Slot) -> None:
        slot.status = Status.CLOSED
        del self._live[slot.key]

    # ------------------------------------------------------------ compaction

    def forget(self, below_block: int) -> int:
        """Drops closed slots of blocks before `below_block`, lowest nonces first; their number.
        Their fees stay for a day after the newest one.
        """
        gone = 0
        newest = max((fee.time for fee in self._fees()), default=0)
        for nonce, slot in sorted(self.by_nonce.items()):
            if slot.live or slot.block >= below_block:
                break
            fee = slot.fee
            if fee is not None:
                self.old_fees.append(fee)
            del self.by_nonce[nonce]
            self.floor = max(self.floor, nonce + 1)
            gone += 1
        since = max(newest - DAY_SECONDS, self.forgiven)
        self.old_fees = [fee for fee in self.old_fees if fee.time > since]
        return gone

    def snapshot(self) -> Iterator[Record]:
        """Records that add up to this state, and to no more."""
        yield {"t": "floor", "nonce": self.floor}
        if self.forgiven:
            yield {"t": "forgiven", "time": self.forgiven}
        for f in self.old_fees:
            yield {"t": "fee", "time": f.time, "wei": f.wei, "key": f.key, "worked": int(f.worked)}
        # closed ones first: a later slot may hold the same key
        for _, slot in sorted(self.by_nonce.items(), key=lambda item: (item[1].live, item[0])):
            yield from _records_of(slot)


def signing(kind: str, slot: Slot, attempt: Attempt) -> Record:
    """Record of an attempt that is about to be sent."""
    record: dict[str, Any] = {
        "t": kind,
        "nonce": slot.nonce,
        "purpose": attempt.purpose,
        "hash": attempt.hash,
        "raw": to_hex(attempt.raw),
        "gas": attempt.gas_limit,
        "max_fee": attempt.fees.max_fee_wei,
        "tip": attempt.fees.tip_wei,
        "block": attempt.block,
    }
    if kind == "signed":
        record |= {"key": slot.key, "to": slot.to, "data": to_hex(slot.data)}
        record["budget"] = slot.budget_wei
    return record


def _records_of(slot: Slot) -> Iterator[Record]:
    purpose = ""
    for attempt in slot.attempts:
        if not purpose:
            kind = "signed"
        else:
            kind = "replaced" if attempt.purpose == purpose else "cancelled"
        purpose = attempt.purpose
        yield signing(kind, slot, attempt)
        if attempt.sent:
            yield {"t": "sent", "nonce": slot.nonce, "hash": attempt.hash, "answer": attempt.sent}
    place = {"nonce": slot.nonce, "hash": slot.winner}
    place |= {"block": slot.block, "block_hash": slot.block_hash}
    ours = slot.attempt(slot.winner) is not None
    if slot.winner and ours:
        done = {"status": int(slot.succeeded), "gas_used": slot.gas_used}
        yield {"t": "mined", **place, **done, "price": slot.gas_price_wei, "time": slot.time}
    elif slot.winner:
        yield {"t": "taken", **place}
    if not slot.live:
        yield {"t": "closed" if ours else "abandoned", "nonce": slot.nonce}


def _count(value: Any) -> int:
    """A whole number from 0 on."""
    if type(value) is not int or value < 0:
        raise BadRecord(f"{value!r} is not a count")
    return value
