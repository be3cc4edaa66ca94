"""A transaction and its receipt in one call, also where the node loses track of it.

A busy Anvil now and then adds a transaction to its pool and does not mine it, or mines it and does
not notice: `eth_sendTransactionSync` then ends after its own timeout, and the transaction is there.
"""

from __future__ import annotations

from typing import Any, Final

from risk.chain.rpc import Json, Rpc
from risk.errors import RpcError

TIMEOUT: Final = "confirmation timeout"  # words of Anvil 1.7
LOOK_BACK: Final = 4  # blocks


def transact(rpc: Rpc, transaction: dict[str, Any]) -> dict[str, Any]:
    """Receipt of an unsigned transaction of an unlocked sender; whatever is left in the pool is
    mined. Raises `RpcError` as the node does, and where the transaction is nowhere.
    """
    try:
        receipt: dict[str, Any] = rpc.call("eth_sendTransactionSync", transaction)
        return receipt
    except RpcError as error:
        return recovered(rpc, transaction, error)


def recovered(rpc: Rpc, transaction: dict[str, Any], error: RpcError) -> dict[str, Any]:
    """The receipt, after `error` of `eth_sendTransactionSync`; raises `error` where it says
    something else, or the transaction is nowhere.
    """
    found = None
    if TIMEOUT in str(error):
        found = _found(rpc, transaction["from"], transaction.get("data", "0x"))
    if found is None:
        raise error
    return found


def _found(rpc: Rpc, sender: str, data: str) -> dict[str, Any] | None:
    """Receipt of the newest transaction of `sender` if it has this `data`; mined if it waits."""
    if _count(rpc, sender, "pending") > _count(rpc, sender, "latest"):
        rpc.call("evm_mine")
    nonce = _count(rpc, sender, "latest") - 1
    head = _number(rpc.call("eth_blockNumber"))
    for number in range(head, max(head - LOOK_BACK, -1), -1):
        block = rpc.call("eth_getBlockByNumber", hex(number), True)
        for found in block["transactions"]:
            if found["from"].lower() != sender.lower() or _number(found["nonce"]) != nonce:
                continue
            if found["input"].lower() == data.lower():
                receipt: dict[str, Any] = rpc.call("eth_getTransactionReceipt", found["hash"])
                return receipt
    return None


def _count(rpc: Rpc, sender: str, tag: str) -> int:
    return _number(rpc.call("eth_getTransactionCount", sender, tag))


def _number(value: Json) -> int:
    return int(str(value), 16)
