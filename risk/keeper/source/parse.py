"""Answers of a node to typed values; whatever has another shape is ``Malformed``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from risk.chain.rpc import from_hex
from risk.keeper.source import bloom
from risk.keeper.source.errors import LyingLogs, Malformed, NotFound
from risk.keeper.types import Head

Json = Any

__all__ = ["Block", "block", "bloom", "hex_data", "log_range", "logs", "quantity", "receipts"]


@dataclass(frozen=True)
class Block(Head):
    """A head with what says which logs it holds."""

    logs_bloom: int = 0
    transactions: int = 0


def quantity(name: str, value: Json) -> int:
    """A `0x` number."""
    try:
        if isinstance(value, str) and value.startswith("0x"):
            return int(value, 16)
    except ValueError:
        pass
    raise Malformed(name, f"no quantity: {str(value)[:40]!r}")


def hex_data(name: str, value: Json) -> str:
    """`0x` data with whole bytes."""
    if isinstance(value, str) and value.startswith("0x"):
        try:
            bytes.fromhex(value[2:])
            return value
        except ValueError:
            pass
    raise Malformed(name, f"no data: {str(value)[:40]!r}")


def hash_of(name: str, value: Json) -> str:
    """32 bytes of `0x` hex."""
    text = hex_data(name, value)
    if len(text) != 66:
        raise Malformed(name, f"no hash: {text[:80]!r}")
    return text.lower()


def block(name: str, value: Json) -> Block:
    """A block without its transactions; null is ``NotFound``."""
    if value is None:
        raise NotFound(name, "no such block")
    if not isinstance(value, dict):
        raise Malformed(name, "a block is no object")
    try:
        found = value["transactions"]
        filter_ = from_hex(hex_data(name, value["logsBloom"]))
        if len(filter_) != bloom.BYTES or not isinstance(found, list):
            raise Malformed(name, "a block of another shape")
        return Block(
            number=quantity(name, value["number"]),
            hash=hash_of(name, value["hash"]),
            parent=hash_of(name, value["parentHash"]),
            timestamp=quantity(name, value["timestamp"]),
            base_fee_wei=quantity(name, value.get("baseFeePerGas") or "0x0"),
            logs_bloom=int.from_bytes(filter_, "big"),
            transactions=len(found),
        )
    except KeyError as error:
        raise Malformed(name, f"a block without {error.args[0]}") from None


def _log(name: str, value: Json) -> dict[str, Json]:
    """One log, its fields checked."""
    if not isinstance(value, dict) or not isinstance(value.get("topics"), list):
        raise Malformed(name, "a log of another shape")
    if value.get("removed"):
        raise LyingLogs(name, "a log that a reorganisation removed")
    for topic in value["topics"]:
        hash_of(name, topic)
    if len(hex_data(name, value.get("address"))) != 42:
        raise Malformed(name, "a log without address")
    hex_data(name, value.get("data"))
    hash_of(name, value.get("blockHash"))
    quantity(name, value.get("blockNumber"))
    quantity(name, value.get("logIndex"))
    return value


def _ordered(name: str, found: list[dict[str, Json]]) -> list[dict[str, Json]]:
    """By height and index, whatever the order of the answer; none twice."""
    found.sort(key=_place)
    for before, after in pairwise(found):
        if _place(before) == _place(after):
            raise Malformed(name, "one log twice")
    return found


def _place(log: dict[str, Json]) -> tuple[int, int]:
    return int(log["blockNumber"], 16), int(log["logIndex"], 16)


def logs(name: str, value: Json, of: Block, address: str) -> list[dict[str, Json]]:
    """Logs of one block and address, in order."""
    if not isinstance(value, list):
        raise Malformed(name, "logs are no list")
    found = [_log(name, item) for item in value]
    for item in found:
        if item["blockHash"].lower() != of.hash:
            raise LyingLogs(name, f"a log of block {item['blockHash']} for {of.hash}")
        if item["address"].lower() != address.lower():
            raise LyingLogs(name, f"a log of {item['address']}")
    return _ordered(name, found)


def log_range(name: str, value: Json, address: str) -> list[dict[str, Json]]:
    """Logs of a range of blocks: one hash a height."""
    if not isinstance(value, list):
        raise Malformed(name, "logs are no list")
    found = [_log(name, item) for item in value]
    hashes: dict[int, str] = {}
    for item in found:
        number, its = int(item["blockNumber"], 16), item["blockHash"].lower()
        if hashes.setdefault(number, its) != its:
            raise LyingLogs(name, f"logs of two blocks of height {number}")
        if item["address"].lower() != address.lower():
            raise LyingLogs(name, f"a log of {item['address']}")
    return _ordered(name, found)


def receipts(name: str, value: Json, of: Block) -> list[dict[str, Json]]:
    """Logs of all receipts of a block, whose number must be that of its transactions."""
    if value is None:
        raise NotFound(name, "no receipts of the block")
    if not isinstance(value, list):
        raise Malformed(name, "receipts are no list")
    if len(value) != of.transactions:
        raise LyingLogs(
            name, f"block {of.number}: {len(value)} receipts of {of.transactions} transactions"
        )
    out: list[dict[str, Json]] = []
    for receipt in value:
        if not isinstance(receipt, dict) or not isinstance(receipt.get("logs"), list):
            raise Malformed(name, "a receipt of another shape")
        if hash_of(name, receipt.get("blockHash")) != of.hash:
            raise LyingLogs(name, f"a receipt of another block than {of.hash}")
        out += [_log(name, item) for item in receipt["logs"]]
    return out
