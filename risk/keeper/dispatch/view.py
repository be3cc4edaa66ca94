"""What the chain says about the signer and his nonces, in one round trip.

The count of used nonces is asked before the receipts: a nonce that counts as used then has its
receipt, unless it is a stranger's, however fast blocks come. A node that does not know the
head that the keeper works on is not believed in anything: it lags, or follows another branch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from risk.chain.rpc import Call, CallResult
from risk.errors import ChainError, RpcError
from risk.keeper.dispatch.answers import said
from risk.keeper.dispatch.slots import NOBODY, Slot, Status
from risk.keeper.errors import Transient
from risk.keeper.types import Head

Json = Any


class Wire(Protocol):
    """The two methods of `risk.chain.rpc.Rpc` that the dispatcher needs."""

    def call(self, method: str, *params: Json) -> Json:
        """Result of one call. Raises `ChainError`."""

    def try_batch(self, calls: Iterable[Call]) -> list[CallResult]:
        """Outcome of every call, in the order given. Raises `ChainError`."""


@dataclass(frozen=True)
class Receipt:
    """A mined transaction."""

    hash: str
    block: int
    block_hash: str
    succeeded: bool
    gas_used: int
    gas_price_wei: int


@dataclass
class View:
    """The signer at a head. `used` counts mined nonces, `pending` those and the pool's."""

    head: Head
    used: int
    pending: int
    tip_wei: int
    balance_wei: int
    receipts: dict[str, Receipt] = field(default_factory=dict)
    pooled: set[str] = field(default_factory=set)


def read_head(wire: Wire) -> Head:
    """The node's latest block. Raises `Transient`."""
    try:
        block = wire.call("eth_getBlockByNumber", "latest", False)
        return Head(
            number=_number(block["number"]),
            hash=str(block["hash"]),
            parent=str(block["parentHash"]),
            timestamp=_number(block["timestamp"]),
            base_fee_wei=_number(block.get("baseFeePerGas") or "0x0"),
        )
    except ChainError as error:
        raise Transient(f"the head cannot be read: {said(error)}") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Transient("the head cannot be read: the answer is not a block") from None


def look(
    wire: Wire, address: str, head: Head, slots: Sequence[Slot], *, default_tip_wei: int
) -> View:
    """View of `address` with receipts of everything that `slots` have signed.

    `default_tip_wei` where the node suggests none. Raises `Transient` unless the node answers all
    of it and knows `head`.
    """
    hashes = [h for slot in slots for h in _hashes(slot)]
    waiting = [slot.last.hash for slot in slots if slot.status is Status.OPEN]
    calls: list[Call] = [
        ("eth_getBlockByNumber", [hex(head.number), False]),
        ("eth_getTransactionCount", [address, "latest"]),
        ("eth_getTransactionCount", [address, "pending"]),
        ("eth_getBalance", [address, "latest"]),
        ("eth_maxPriorityFeePerGas", []),
    ]
    fixed, waits = len(calls), len(calls) + len(hashes)
    calls += [("eth_getTransactionReceipt", [h]) for h in hashes]
    calls += [("eth_getTransactionByHash", [h]) for h in waiting]
    try:
        results = wire.try_batch(calls)
    except ChainError as error:
        raise Transient(f"the signer's nonces cannot be read: {said(error)}") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Transient("the signer's nonces cannot be read: bad batch") from None
    if len(results) != len(calls):
        raise Transient("the signer's nonces cannot be read: short batch")
    try:
        block = _value(results[0])
        if block is None or str(block["hash"]).lower() != head.hash.lower():
            raise Transient(f"the node does not know head {head.number} {head.hash}")
        tip = default_tip_wei
        if results[4].ok:
            tip = _number(results[4].value)
        view = View(
            head=head,
            used=_number(_value(results[1])),
            pending=_number(_value(results[2])),
            balance_wei=_number(_value(results[3])),
            tip_wei=tip,
        )
        for tx_hash, result in zip(hashes, results[fixed:waits], strict=True):
            found = _value(result)
            if found is not None:
                view.receipts[tx_hash] = _receipt(tx_hash, found)
        for tx_hash, result in zip(waiting, results[waits:], strict=True):
            found = _value(result)
            if found is not None and str(found["hash"]).lower() == tx_hash:
                view.pooled.add(tx_hash)
    except RpcError as error:
        raise Transient(f"the signer's nonces cannot be read: {said(error)}") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Transient("the signer's nonces cannot be read: malformed answer") from None
    view.pending = max(view.pending, view.used)
    return view


def canonical(wire: Wire, number: int, block_hash: str) -> bool:
    """The node's block at this height is the one with this hash. Raises `Transient`."""
    try:
        block = wire.call("eth_getBlockByNumber", hex(number), False)
        return block is not None and str(block["hash"]).lower() == block_hash.lower()
    except ChainError as error:
        raise Transient(f"block {number} cannot be read: {said(error)}") from None
    except (KeyError, TypeError, AttributeError):
        raise Transient(f"block {number} cannot be read: malformed answer") from None


@dataclass(frozen=True)
class Used:
    """The mined transaction that has a nonce."""

    hash: str
    block: int
    block_hash: str


def who_used(
    wire: Wire, address: str, nonce: int, since: int, until: int, search_blocks: int
) -> Used | None:
    """The transaction of `address` with this nonce in blocks `since`..`until`, or None.

    Halving over the count at old blocks; where the node keeps none, the last `search_blocks` blocks
    are read one by one. Raises `Transient`.
    """
    try:
        try:
            low, high = since, until
            if _count(wire, address, high) <= nonce:
                return None
            while low < high:
                middle = (low + high) // 2
                if _count(wire, address, middle) > nonce:
                    high = middle
                else:
                    low = middle + 1
            blocks = range(low, low + 1)
        except RpcError:
            blocks = range(max(since, until - search_blocks + 1), until + 1)
        for number in reversed(blocks):
            block = wire.call("eth_getBlockByNumber", hex(number), True)
            for entry in block["transactions"]:
                mine = str(entry["from"]).lower() == address.lower()
                if mine and _number(entry["nonce"]) == nonce:
                    return Used(str(entry["hash"]).lower(), number, str(block["hash"]))
    except ChainError as error:
        raise Transient(f"who used nonce {nonce} cannot be read: {said(error)}") from None
    except (KeyError, TypeError, ValueError):
        raise Transient(f"who used nonce {nonce} cannot be read: malformed answer") from None
    return None


def _count(wire: Wire, address: str, block: int) -> int:
    return _number(wire.call("eth_getTransactionCount", address, hex(block)))


def _hashes(slot: Slot) -> list[str]:
    own = [attempt.hash for attempt in slot.attempts]
    return [*own, slot.winner] if slot.status is Status.TAKEN and slot.winner != NOBODY else own


def _value(result: CallResult) -> Json:
    if result.error is not None:
        raise result.error
    return result.value


def _number(text: Json) -> int:
    if not isinstance(text, str):
        raise TypeError("not a quantity")
    return int(text, 16)


def _receipt(tx_hash: str, found: Json) -> Receipt:
    if str(found["transactionHash"]).lower() != tx_hash:
        raise ValueError("receipt of another transaction")
    return Receipt(
        hash=tx_hash,
        block=_number(found["blockNumber"]),
        block_hash=str(found["blockHash"]),
        succeeded=_number(found["status"]) == 1,
        gas_used=_number(found["gasUsed"]),
        gas_price_wei=_number(found.get("effectiveGasPrice") or "0x0"),
    )
