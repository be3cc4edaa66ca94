"""Plumbline's contracts on an Anvil of our own: deploy, transact, simulate, read storage.
Addresses are integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from risk.chain.abi import Errors, Function, codec, functions
from risk.chain.compile import Artifact, compile_contracts
from risk.chain.node import Anvil, project_root
from risk.chain.rpc import Rpc, from_hex, to_hex
from risk.chain.sync import transact
from risk.chain.vault_abi import vault_abi
from risk.diff.adapter import Outcome
from risk.errors import ChainError

GENESIS = 1_799_000_000
BLOCK_GAS = 2_000_000_000
CALL_GAS = 500_000_000
DEPLOYER = 0xDE << 152
ADMIN = 0xAD << 152
ANYBODY = 0xEE << 152

# for each word of calldata: its storage word of the account that runs this code
SLOAD_READER = "0x5f5b368110600b57365ff35b8035548152602001600156"


@dataclass(frozen=True)
class Sent:
    """A mined transaction."""

    outcome: Outcome
    gas_used: int
    logs: list[dict[str, Any]]
    tx_hash: str
    block: int


@dataclass
class Call:
    """One call of a simulated block."""

    to: int
    data: bytes
    sender: int = ANYBODY


@dataclass
class Block:
    """One simulated block: overrides first, then the calls, each its own transaction."""

    calls: list[Call]
    time: int | None = None
    storage: Mapping[int, Mapping[int, int]] = field(
        default_factory=dict
    )  # address -> slot -> word
    code: Mapping[int, str] = field(default_factory=dict)


def address(value: int) -> str:
    """20-byte hex address."""
    return f"0x{value:040x}"


def word_hex(value: int) -> str:
    """32-byte hex word."""
    return f"0x{value:064x}"


@lru_cache(maxsize=4)
def load_artifacts(root: Path) -> dict[str, Artifact]:
    """Compiled contracts (cached on disk by risk/chain/compile.py)."""
    return compile_contracts(root)


def link_order(artifacts: Mapping[str, Artifact], name: str) -> list[str]:
    """Libraries of ``name`` in an order in which each comes after what it needs, ``name`` last."""
    order: list[str] = []

    def visit(item: str) -> None:
        for library in artifacts[item].libraries:
            visit(library)
        if item not in order:
            order.append(item)

    visit(name)
    return order


class Chain:
    """One Anvil with the libraries deployed.  ``open()`` first; not safe to share between
    threads.
    """

    def __init__(self, root: Path | None = None, **node_options: Any) -> None:
        self.root = root or project_root()
        options: dict[str, Any] = {
            "accounts": 1,
            "base_fee": 0,
            "gas_limit": BLOCK_GAS,
            "timestamp": GENESIS,
        }
        options["extra"] = ("--gas-price", "0", "--prune-history", "2")
        self.node = Anvil(**{**options, **node_options})
        self.artifacts: dict[str, Artifact] = {}
        self.libraries: dict[str, str] = {}
        self.tx_gas = CALL_GAS
        self.rpc: Rpc
        self.errors: Errors
        self.vault_functions: dict[str, Function] = {}

    def open(self) -> None:
        """Compile, start the node, deploy the libraries of the vault."""
        self.artifacts = load_artifacts(self.root)
        self.errors = Errors(a.abi for a in self.artifacts.values())
        self.vault_functions = functions(vault_abi(self.artifacts, "IVault"))
        self.reader = functions(self.artifacts["BatchReader"].abi)["read"]
        self.node.start()
        self.rpc = self.node.rpc()
        self.rpc.call("anvil_autoImpersonateAccount", True)
        # time stands still between the times that are set: the machine's clock may not run ahead
        # of the times that a run has planned, however busy it is
        self.rpc.call("anvil_setBlockTimestampInterval", 0)
        for name in link_order(self.artifacts, "Vault")[:-1]:
            self.libraries[name] = address(self.deploy(name))
        self.libraries["BatchReader"] = address(self.deploy("BatchReader"))
        self._snapshot: str = self.rpc.call("evm_snapshot")

    def reset(self) -> None:
        """Back to the state after ``open`` (or the last ``keep``): same time, same nonces, so same
        addresses.
        """
        if not self.rpc.call("evm_revert", self._snapshot):
            raise ChainError("the node lost its snapshot")
        self._snapshot = self.rpc.call("evm_snapshot")

    def keep(self) -> None:
        """``reset`` returns to the present state from now on."""
        self._snapshot = self.rpc.call("evm_snapshot")

    def close(self) -> None:
        """Stop the node."""
        if hasattr(self, "rpc"):
            self.rpc.close()
        self.node.stop()

    # ── transactions ─────────────────────────────────────────────────────────────────────────────

    def deploy(self, name: str, *arguments: Any, sender: int = DEPLOYER) -> int:
        """Address of a new contract; raises ``ChainError`` where the constructor reverts."""
        artifact = self.artifacts[name]
        data = artifact.linked(self.libraries) + constructor_arguments(artifact, arguments)
        receipt = self._send({"from": address(sender), "data": to_hex(data)})
        if receipt["status"] != "0x1":
            raise ChainError(f"deployment of {name} reverted")
        return int(receipt["contractAddress"], 16)

    def transact(
        self, sender: int, to: int, data: bytes, time: int | None = None, *, output: bool = True
    ) -> Sent:
        """A real transaction in its own block at ``time``; ``output`` also fetches what a
        successful call returned.
        """
        if time is not None:
            self.rpc.call("evm_setNextBlockTimestamp", time)
        receipt = self._send({"from": address(sender), "to": address(to), "data": to_hex(data)})
        ok = receipt["status"] == "0x1"
        raw = b""
        if output or not ok:
            trace = self.rpc.call(
                "debug_traceTransaction", receipt["transactionHash"], {"tracer": "callTracer"}
            )
            raw = from_hex(trace.get("output", "0x"))
        return Sent(
            self.outcome(ok, raw),
            int(receipt["gasUsed"], 16),
            receipt["logs"],
            receipt["transactionHash"],
            int(receipt["blockNumber"], 16),
        )

    def _send(self, transaction: dict[str, Any]) -> dict[str, Any]:
        transaction |= {"gas": hex(self.tx_gas), "gasPrice": "0x0"}
        return transact(self.rpc, transaction)

    def outcome(self, ok: bool, data: bytes) -> Outcome:
        """Outcome with the error's name decoded."""
        return Outcome(ok, data, "" if ok else self.errors.name(data))

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def call(self, to: int, data: bytes, sender: int = ANYBODY) -> Outcome:
        """An ``eth_call`` on the latest block."""
        request = {
            "from": address(sender),
            "to": address(to),
            "data": to_hex(data),
            "gas": hex(CALL_GAS),
        }
        result = self.rpc.try_batch([("eth_call", [request, "latest"])])[0]
        if result.error is not None:
            return self.outcome(False, getattr(result.error, "data", b""))
        return Outcome(True, from_hex(result.value))

    def read_words(self, contract: int, slots: Sequence[int]) -> dict[int, int]:
        """Storage words of ``contract``, all in one call."""
        request = {"to": address(contract), "data": to_hex(slot_data(slots)), "gas": hex(CALL_GAS)}
        overrides = {address(contract): {"code": SLOAD_READER}}
        return split_words(slots, from_hex(self.rpc.call("eth_call", request, "latest", overrides)))

    def views(self, vault: int, calls: Sequence[bytes], time: int | None = None) -> list[Outcome]:
        """Many views of the vault in one call, on the latest state, at block time ``time``."""
        to = self.batch_reader
        block = Block([Call(to, self.reader.encode(vault, calls))], time)
        ((result,),) = self.simulate([block])
        return self.decode_views(result)

    @property
    def batch_reader(self) -> int:
        """Address of the deployed ``BatchReader``."""
        return int(self.libraries["BatchReader"], 16)

    def decode_views(self, result: Outcome) -> list[Outcome]:
        """Answers of ``BatchReader.read``."""
        if not result.ok:
            raise ChainError(f"BatchReader reverted: {self.errors.show(result.data)}")
        return [self.outcome(bool(ok), data) for ok, data in self.reader.decode(result.data)[0]]

    def simulate(self, blocks: Iterable[Block]) -> list[list[Outcome]]:
        """``eth_simulateV1``: the blocks one after the other on top of the latest state, nothing is
        kept.
        """
        states = [_block_json(block) for block in blocks]
        answer = self.rpc.call(
            "eth_simulateV1", {"blockStateCalls": states, "validation": False}, "latest"
        )
        return [
            [self.outcome(c["status"] == "0x1", from_hex(c["returnData"])) for c in block["calls"]]
            for block in answer
        ]


def _block_json(block: Block) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for contract, code in block.code.items():
        overrides.setdefault(address(contract), {})["code"] = code
    for contract, words in block.storage.items():
        entry = overrides.setdefault(address(contract), {})
        entry["stateDiff"] = {word_hex(slot): word_hex(word) for slot, word in words.items()}
    item: dict[str, Any] = {
        "calls": [
            {
                "from": address(c.sender),
                "to": address(c.to),
                "data": to_hex(c.data),
                "gas": hex(CALL_GAS),
            }
            for c in block.calls
        ]
    }
    if overrides:
        item["stateOverrides"] = overrides
    if block.time is not None:
        item["blockOverrides"] = {"time": hex(block.time)}
    return item


def constructor_arguments(artifact: Artifact, arguments: Sequence[Any]) -> bytes:
    """ABI-encoded constructor arguments; raises ``ChainError`` where their number is wrong."""
    entry = next((e for e in artifact.abi if e["type"] == "constructor"), {})
    inputs = entry.get("inputs", [])
    if len(inputs) != len(arguments):
        names = ", ".join(i["name"] for i in inputs)
        raise ChainError(f"{artifact.name} takes ({names}), got {len(arguments)} arguments")
    return codec("tuple", inputs).encode(arguments)


def slot_data(slots: Sequence[int]) -> bytes:
    """Calldata of the storage reader."""
    return b"".join(slot.to_bytes(32, "big") for slot in slots)


def split_words(slots: Sequence[int], data: bytes) -> dict[int, int]:
    """Answer of the storage reader."""
    return {slot: int.from_bytes(data[32 * i : 32 * i + 32], "big") for i, slot in enumerate(slots)}
