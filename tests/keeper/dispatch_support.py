"""What the dispatcher's tests share: a chain in memory with geth's pool, keys, intents.

The chain keeps to geth's rules where they matter here: one transaction a nonce in the pool, a
replacement needs 10 % more of both fees, the same bytes again are "already known", a nonce below
the account's is "nonce too low", a reorg takes transactions out of the chain and not all of them
come back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes

from risk.chain.keccak import keccak
from risk.chain.rpc import Call, CallResult, from_hex
from risk.errors import RpcError, TransportError
from risk.keeper.dispatch import Dispatcher, DispatchPolicy, FeePolicy, Journal
from risk.keeper.keys import Signer
from risk.keeper.types import Head, Intent, Way

ROOT = Path(__file__).resolve().parents[2]
CHAIN = 31337
GWEI = 10**9
SECRET = hashlib.sha256(b"keeper of the tests").digest()
GENESIS = "0x" + "9e" * 32
SEND = "eth_sendRawTransaction"


def signer(secret: bytes = SECRET) -> Signer:
    return Signer(Account.from_key(secret))


def intent(account: int, *, gas: int = 100_000, to: int = 0xC0FFEE, data: bytes = b"") -> Intent:
    """The intent of an account; without `data` its calldata is its number."""
    content = data or account.to_bytes(4, "big")
    return Intent(account, Way.SLICE, to, content, gas, 0, 0, 0, 0, 0)


def policy(**change: Any) -> DispatchPolicy:
    """Patient about nothing: two confirmations, replacement after two blocks."""
    fees = {"max_fee_cap_wei": 500 * GWEI, "budget_wei": 10**17, "max_tip_wei": 20 * GWEI}
    for name in list(change):
        if name in FeePolicy.__dataclass_fields__:
            fees[name] = change.pop(name)
    return DispatchPolicy(CHAIN, FeePolicy(**fees), **{"confirmations": 2, **change})


def open_journal(folder: Path, genesis: str = GENESIS, **change: Any) -> Journal:
    path = folder / "journal.log"
    return Journal(path, chain_id=CHAIN, signer=signer().address, genesis=genesis, **change)


@dataclass
class Sent:
    """A transaction in pool or block."""

    hash: str
    nonce: int
    data: bytes
    to: str
    max_fee: int
    tip: int
    gas: int

    @classmethod
    def of(cls, raw: bytes) -> Sent:
        fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        return cls(
            "0x" + keccak(raw).hex(),
            fields["nonce"],
            bytes(fields["data"]),
            "0x" + bytes(fields["to"]).hex(),
            fields["maxFeePerGas"],
            fields["maxPriorityFeePerGas"],
            fields["gas"],
        )


@dataclass
class Block:
    number: int
    hash: str
    parent: str
    base: int
    txs: list[Sent] = field(default_factory=list)


class FakeChain:
    """See the module. `faults[method]` is a list of what happens to the next calls of a method."""

    def __init__(self, base: int = 10 * GWEI, balance: int = 10**19) -> None:
        self.base, self.balance = base, balance
        self.tip = GWEI
        self.salt = 0
        self.blocks = [Block(0, GENESIS, "0x" + "0" * 64, base)]
        self.pool: dict[int, Sent] = {}
        self.bytes_seen: list[bytes] = []
        self.prunes_state = False
        self.faults: dict[str, list[Any]] = {}
        self.before: Callable[[str], None] = lambda method: None
        self.mine()

    # ------------------------------------------------------------------ world

    def mine(self, count: int = 1, *, empty: bool = False) -> None:
        for _ in range(count):
            self.salt += 1
            top = self.blocks[-1]
            digest = hashlib.sha256(f"{top.hash}{self.salt}".encode()).hexdigest()
            block = Block(top.number + 1, "0x" + digest, top.hash, self.base)
            self.blocks.append(block)
            while not empty and (tx := self.pool.get(self.used())) is not None:
                if tx.max_fee < self.base:
                    break
                block.txs.append(self.pool.pop(tx.nonce))

    def reorg(self, depth: int, *, back: bool = False) -> None:
        """Replaces the last blocks by empty ones; `back`: their transactions return to the pool."""
        gone = self.blocks[-depth:]
        del self.blocks[-depth:]
        if back:
            self.pool |= {tx.nonce: tx for block in gone for tx in block.txs}
        self.mine(depth + 1, empty=True)

    def stranger(self, nonce: int, data: bytes = b"stranger") -> Sent:
        """Another program's transaction with our key, in the pool at once, whatever it pays."""
        raw = signer().sign(
            {
                "type": 2,
                "chainId": CHAIN,
                "nonce": nonce,
                "to": "0x" + "22" * 20,
                "value": 0,
                "data": data,
                "gas": 60_000,
                "maxFeePerGas": 400 * GWEI,
                "maxPriorityFeePerGas": GWEI,
            }
        )
        self.pool[nonce] = Sent.of(raw)
        return self.pool[nonce]

    def used(self, until: int | None = None) -> int:
        blocks = self.blocks if until is None else self.blocks[: until + 1]
        return sum(len(block.txs) for block in blocks)

    def effects(self) -> list[bytes]:
        """Calldata of everything mined to the intents' contract, in order."""
        all_txs = [tx for block in self.blocks for tx in block.txs]
        return [tx.data for tx in all_txs if int(tx.to, 16) == 0xC0FFEE]

    def head(self) -> Head:
        top = self.blocks[-1]
        return Head(top.number, top.hash, top.parent, 1_000 + 12 * top.number, top.base)

    # ------------------------------------------------------------------- wire

    def call(self, method: str, *params: Any) -> Any:
        self.before(method)
        fault = self.faults.get(method, [])
        do = fault.pop(0) if fault else None
        if do == "lost before":
            raise TransportError("request to http://user:secret@host failed: timed out")
        if isinstance(do, str) and do != "lost after":
            raise RpcError(method, -32000, do)
        result = getattr(self, method)(*params)
        if do == "lost after":
            raise TransportError("request to http://user:secret@host failed: timed out")
        return result if do is None or not callable(do) else do(result)

    def try_batch(self, calls: Iterable[Call]) -> list[CallResult]:
        results = []
        for method, params in calls:
            try:
                results.append(CallResult(True, self.call(method, *params), None))
            except RpcError as error:
                results.append(CallResult(False, None, error))
        return results

    def eth_getBlockByNumber(self, which: str, full: bool) -> Any:
        number = len(self.blocks) - 1 if which == "latest" else int(which, 16)
        if number >= len(self.blocks):
            return None
        block = self.blocks[number]
        txs: list[Any] = [
            {"from": signer().address, "nonce": hex(tx.nonce), "hash": tx.hash} for tx in block.txs
        ]
        return {
            "number": hex(number),
            "hash": block.hash,
            "parentHash": block.parent,
            "timestamp": hex(1_000 + 12 * number),
            "baseFeePerGas": hex(block.base),
            "transactions": txs,
        }

    def eth_getTransactionCount(self, address: str, which: str) -> str:
        if which == "latest":
            return hex(self.used())
        if which == "pending":
            count = self.used()
            while count in self.pool:
                count += 1
            return hex(count)
        if self.prunes_state:
            raise RpcError("eth_getTransactionCount", -32000, "missing trie node")
        return hex(self.used(int(which, 16)))

    def eth_getBalance(self, address: str, which: str) -> str:
        return hex(self.balance)

    def eth_maxPriorityFeePerGas(self) -> str:
        return hex(self.tip)

    def eth_getTransactionReceipt(self, tx_hash: str) -> Any:
        for block in self.blocks:
            for tx in block.txs:
                if tx.hash == tx_hash:
                    return {
                        "transactionHash": tx_hash,
                        "blockNumber": hex(block.number),
                        "blockHash": block.hash,
                        "status": "0x1",
                        "gasUsed": hex(tx.gas),
                        "effectiveGasPrice": hex(min(tx.max_fee, block.base + tx.tip)),
                    }
        return None

    def eth_getTransactionByHash(self, tx_hash: str) -> Any:
        known = [*self.pool.values(), *(tx for block in self.blocks for tx in block.txs)]
        return next(({"hash": tx.hash} for tx in known if tx.hash == tx_hash), None)

    def eth_sendRawTransaction(self, text: str) -> str:
        raw = from_hex(text)
        self.bytes_seen.append(raw)
        tx = Sent.of(raw)
        held = self.pool.get(tx.nonce)
        if held is not None and held.hash == tx.hash:
            raise RpcError(SEND, -32000, "already known")
        if tx.nonce < self.used():
            raise RpcError(SEND, -32000, "nonce too low: next nonce 7, tx nonce 6")
        if tx.gas * tx.max_fee > self.balance:
            raise RpcError(SEND, -32000, "insufficient funds for gas * price + value")
        if held is not None and (
            tx.max_fee * 10 < held.max_fee * 11 or tx.tip * 10 < held.tip * 11
        ):
            raise RpcError(SEND, -32000, "replacement transaction underpriced")
        self.pool[tx.nonce] = tx
        return tx.hash


class Rig:
    """A dispatcher on a chain, with its journal; `restart` opens everything anew."""

    def __init__(self, chain: FakeChain, folder: Path, relay: Any = None, **change: Any) -> None:
        self.chain, self.folder, self.relay = chain, folder, relay
        self.policy = policy(**change)
        self.journal = open_journal(folder)
        self.dispatcher = self._new()

    def _new(self) -> Dispatcher:
        return Dispatcher(self.chain, signer(), self.journal, self.policy, self.relay)

    def restart(self) -> None:
        self.journal.close()
        self.journal = open_journal(self.folder)
        self.dispatcher = self._new()

    def tick(self) -> list[str]:
        """Kinds of the events of one tick."""
        return [event.what.value for event in self.dispatcher.tick(self.chain.head())]

    def block(self, **how: Any) -> list[str]:
        """Mines a block, then ticks."""
        self.chain.mine(**how)
        return self.tick()


def ready(chain: FakeChain, folder: Path, **change: Any) -> Rig:
    """A dispatcher that has resolved what there was: nothing."""
    rig = Rig(chain, folder, **change)
    rig.tick()
    return rig


def finish(rig: Rig, blocks: int = 12) -> None:
    """So many blocks, each with its tick."""
    for _ in range(blocks):
        rig.block()
