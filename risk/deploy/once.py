"""Sends every step of a deployment exactly once, whatever happened to the runs before.

Before a step is sent, its nonce, recipient and the hash of its data go to the journal.  A nonce is
used at most once on a chain, so a later run that finds the intent can tell by the nonce alone what
became of it, even where it never learnt the hash of the transaction:

- the nonce is used, and by this very transaction: the step is done (or failed, and is sent anew
  with another nonce);
- the nonce is used by something else: the intent can never be executed any more; another nonce;
- the nonce waits in the node's pool: it is waited for;
- the nonce is free: the step is sent again *with the same nonce*, so an earlier copy that turns up
  late and this one exclude each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from risk.chain.abi import Errors
from risk.chain.keccak import keccak
from risk.chain.rpc import from_hex
from risk.deploy.errors import TransactionError
from risk.deploy.journal import Intent, Journal
from risk.deploy.sender import RECEIPT_TIMEOUT, Sender
from risk.errors import RevertError, RpcError

Receipt = Mapping[str, Any]
Send = Callable[[int, bytes], str]  # (nonce, data) -> hash of the transaction
_OK = 1


class Once:
    """Runs steps over a sender and a journal."""

    def __init__(
        self, sender: Sender, journal: Journal, errors: Errors, timeout: float = RECEIPT_TIMEOUT
    ) -> None:
        self._sender = sender
        self._rpc = sender.rpc
        self._journal = journal
        self._errors = errors
        self._timeout = timeout
        self._next_nonce = 0
        self.sent: list[str] = []  # steps that this run has sent

    def run(
        self,
        step: str,
        to: str | None,
        data: Callable[[], bytes],
        send: Callable[[int, bytes], str],
    ) -> Receipt:
        """Receipt of the step, which succeeded in an earlier run or is sent now.

        ``data`` is asked for only where something is sent.  ``TransactionError`` names the step
        where it is refused or reverts; running again sends it anew.
        """
        receipt = self._earlier(step)
        if receipt is None:
            receipt = self._send(step, to, data, send)
        if int(receipt["status"], 16) != _OK:
            raise TransactionError(
                step, f"transaction {receipt['transactionHash']} failed on chain"
            )
        self._journal.finish(step, str(receipt["transactionHash"]))
        return receipt

    # ----------------------------------------------------------- earlier runs

    def _earlier(self, step: str) -> Receipt | None:
        """Receipt of an attempt that succeeded; what waits in the pool is waited for."""
        known = self._journal.done.get(step)
        if known is not None:
            receipt: Receipt | None = self._rpc.call("eth_getTransactionReceipt", known)
            if receipt is not None and int(receipt["status"], 16) == _OK:
                return receipt
        for intent in self._journal.intents.get(step, ()):
            if self._count("latest") <= intent.nonce < self._rpc.nonce(self._sender.address):
                self._until_used(intent.nonce)
            receipt = self._receipt_of(step, intent.nonce)
            if receipt is not None and int(receipt["status"], 16) == _OK:
                return receipt
        return None

    def _receipt_of(self, step: str, nonce: int) -> Receipt | None:
        """Receipt of the transaction with this nonce, if it is on chain and is of this step."""
        sent = self._transaction(nonce) if self._count("latest") > nonce else None
        if sent is None or not self._is_of(step, sent):
            return None
        receipt: Receipt | None = self._rpc.call("eth_getTransactionReceipt", sent["hash"])
        return receipt

    def _is_of(self, step: str, sent: Mapping[str, Any]) -> bool:
        """The transaction is one that the journal announced for this step."""
        to = sent.get("to")
        here = Intent(
            nonce=int(sent["nonce"], 16),
            to=str(to).lower() if to else None,
            data_hash="0x" + keccak(from_hex(sent["input"])).hex(),
        )
        return here in self._journal.intents.get(step, ())

    def _transaction(self, nonce: int) -> Mapping[str, Any] | None:
        """The mined transaction of the deployer with this nonce."""
        assert self._journal.header is not None
        low, high = self._journal.header.block, self._rpc.block_number()
        try:  # the first block after which the nonce counts as used
            while low < high:
                middle = (low + high) // 2
                if self._count(hex(middle)) > nonce:
                    high = middle
                else:
                    low = middle + 1
            blocks = range(low, low + 1)
        except RpcError:  # the node keeps no state of old blocks
            blocks = range(self._journal.header.block, self._rpc.block_number() + 1)
        me = self._sender.address.lower()
        for number in blocks:
            block = self._rpc.call("eth_getBlockByNumber", hex(number), True)
            for entry in block["transactions"]:
                if str(entry["from"]).lower() == me and int(entry["nonce"], 16) == nonce:
                    found: Mapping[str, Any] = entry
                    return found
        return None

    # ---------------------------------------------------------------- sending

    def _send(
        self,
        step: str,
        to: str | None,
        data: Callable[[], bytes],
        send: Callable[[int, bytes], str],
    ) -> Receipt:
        payload = data()
        nonce = self._nonce(step)
        data_hash = "0x" + keccak(payload).hex()
        self._journal.intend(step, Intent(nonce, to.lower() if to else None, data_hash))
        self.sent.append(step)
        try:
            transaction = send(nonce, payload)
        except RpcError as error:
            # a copy that an earlier run had sent may have arrived in the meantime
            receipt = self._receipt_of(step, nonce)
            if receipt is None or int(receipt["status"], 16) != _OK:
                raise TransactionError(step, self._reason(error)) from error
        else:
            receipt = self._arrived(step, transaction, nonce)
        self._next_nonce = nonce + 1
        return receipt

    def _nonce(self, step: str) -> int:
        """That of an attempt nobody has used, else the next one."""
        used = self._count("latest") if step in self._journal.intents else 0
        for intent in self._journal.intents.get(step, ()):
            if intent.nonce >= used:
                return intent.nonce
        # a node behind a load balancer may lag behind what was sent
        return max(self._rpc.nonce(self._sender.address), self._next_nonce)

    def _arrived(self, step: str, transaction: str, nonce: int) -> Receipt:
        """Waits with growing pauses for the transaction, or for an earlier copy of the step."""
        deadline = time.monotonic() + self._timeout
        pause = 0.002
        while True:
            receipt: Receipt | None = self._rpc.call("eth_getTransactionReceipt", transaction)
            if receipt is None and self._count("latest") > nonce:
                used = self._transaction(nonce)
                ours = used is None or used["hash"] == transaction or self._is_of(step, used)
                if not ours:
                    reason = f"nonce {nonce} was used by another transaction of the deployer"
                    raise TransactionError(step, reason)
                if (
                    used is not None
                ):  # perhaps an earlier copy; a node may know it before its receipt
                    receipt = self._rpc.call("eth_getTransactionReceipt", used["hash"])
            if receipt is not None:
                return receipt
            if time.monotonic() > deadline:
                reason = f"nothing about {transaction} within {self._timeout:g} s"
                raise TransactionError(step, reason)
            time.sleep(pause)
            pause = min(1.5 * pause, 3.0)

    def _until_used(self, nonce: int) -> None:
        """Waits until the nonce is used on chain, or for the timeout."""
        deadline = time.monotonic() + self._timeout
        pause = 0.01
        while self._count("latest") <= nonce and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(1.5 * pause, 3.0)

    def _count(self, block: str) -> int:
        return int(self._rpc.call("eth_getTransactionCount", self._sender.address, block), 16)

    def _reason(self, error: RpcError) -> str:
        if isinstance(error, RevertError):
            return f"reverted: {self._errors.show(error.data)}"
        return str(error)
