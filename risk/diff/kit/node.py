"""The node engine: full transactions on Anvil, each in a block of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from risk.chain.node import Anvil
from risk.chain.rpc import CallResult, Rpc, address_hex, from_hex, to_hex
from risk.chain.sync import recovered
from risk.diff.kit.engine import CHAIN_ID, GENESIS_TIME, Call, Log, Probe, Result
from risk.diff.kit.errors import DeployFailed, DiffError, TargetHung
from risk.errors import RevertError, RpcError, TransportError

_HALT = re.compile(r"EVM error (\w+)")
DEPLOY_GAS = 300_000_000
BLOCK_GAS = 2_000_000_000
# Set of program counters by code address; "" is the outermost frame, which is not entered.
COUNTERS = """{
  frames: [""], seen: {},
  enter: function(frame) { this.frames.push(toHex(frame.getTo())); },
  exit: function() { this.frames.pop(); },
  step: function(log) {
    var code = this.frames[this.frames.length - 1];
    var counters = this.seen[code] || (this.seen[code] = {});
    counters[log.getPC()] = 1;
  },
  fault: function() {},
  result: function() { return this.seen; }
}"""


class NodeEngine:
    """See ``engine.Engine``. ``timeout`` seconds without an answer count as hung.

    ``fork`` is the URL of a node whose state to start from (its chain id and its head's time are
    kept), or ``URL@BLOCK``. ``trace`` collects the program counters of transactions, which costs
    about 10 µs a step.
    """

    name = "node"

    def __init__(
        self,
        hardfork: str = "shanghai",
        timeout: float = 30.0,
        *,
        fork: str | None = None,
        trace: bool = False,
    ) -> None:
        self.timeout = timeout
        self.trace = trace
        self._seen: dict[int, set[int]] = {}
        self.hardfork = hardfork
        self.fork = fork
        self._time = GENESIS_TIME
        self._number = 0

    def _anvil(self) -> Anvil:
        extra: tuple[str, ...] = ("--gas-price", "0", "--code-size-limit", str(0xFFFFFF))
        chain_id, timestamp = CHAIN_ID, GENESIS_TIME
        if self.fork is not None:
            url, _, block = self.fork.partition("@")
            with Rpc.connect(url, self.timeout) as upstream:
                chain_id = upstream.chain_id()
                head = upstream.call(
                    "eth_getBlockByNumber", hex(int(block)) if block else "latest", False
                )
            if head is None:
                raise DiffError(f"{url} has no block {block}")
            timestamp = int(head["timestamp"], 16) + 1
            extra += ("--fork-url", url, "--fork-block-number", str(int(head["number"], 16)))
        self._time = timestamp
        return Anvil(
            chain_id=chain_id,
            accounts=1,
            hardfork=self.hardfork,
            base_fee=0,
            gas_limit=BLOCK_GAS,
            timestamp=None if self.fork else timestamp,
            extra=extra,
        )

    def open(self) -> None:
        self.node = self._anvil()
        self.node.start()
        self.rpc = self.node.rpc(self.timeout)
        self.rpc.call("anvil_autoImpersonateAccount", True)
        self._number = self.rpc.block_number()

    def close(self) -> None:
        if hasattr(self, "rpc"):
            self.rpc.close()
        if hasattr(self, "node"):
            self.node.stop()

    # ── transactions ─────────────────────────────────────────────────────────────────────────────

    def deploy(self, creation: bytes, sender: int) -> int:
        receipt = self._send(
            {"from": address_hex(sender), "data": to_hex(creation), "gas": hex(DEPLOY_GAS)}
        )
        if receipt["status"] != "0x1":
            raise DeployFailed(self._output(receipt["transactionHash"]).hex())
        return int(receipt["contractAddress"], 16)

    def transact(self, call: Call) -> Result:
        receipt = self._send(_request(call))
        ok = receipt["status"] == "0x1"
        trace = self._trace(receipt["transactionHash"])
        if self.trace:
            self._collect(call.to, receipt["transactionHash"])
        return Result(
            ok,
            from_hex(trace.get("output") or "0x"),
            "" if ok else _halt(str(trace.get("error", ""))),
            int(receipt["gasUsed"], 16),
            tuple(_log(entry) for entry in receipt["logs"]),
        )

    def _send(self, transaction: dict[str, Any]) -> dict[str, Any]:
        transaction = {**transaction, "gasPrice": "0x0"}
        try:
            _, receipt = self.rpc.batch(
                [
                    ("evm_setNextBlockTimestamp", [self._time]),
                    ("eth_sendTransactionSync", [transaction]),
                ]
            )
        except TransportError as error:
            raise self._hung("a transaction", error) from error
        except RpcError as error:
            receipt = recovered(self.rpc, transaction, error)
        self._number += 1
        found: dict[str, Any] = receipt
        return found

    def _trace(self, tx_hash: str) -> dict[str, Any]:
        options = {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": True}}
        trace: dict[str, Any] = self.rpc.call("debug_traceTransaction", tx_hash, options)
        return trace

    def _output(self, tx_hash: str) -> bytes:
        return from_hex(self._trace(tx_hash).get("output") or "0x")

    def _hung(self, what: str, error: Exception) -> TargetHung:
        return TargetHung(f"{what} had no answer from Anvil within {self.timeout:g} s: {error}")

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def _block(self) -> dict[str, str]:
        return {"number": hex(self._number + 1), "time": hex(self._time)}

    def call(self, calls: Sequence[Call]) -> list[Result]:
        return self.probe([Probe(call) for call in calls])

    def probe(self, probes: Sequence[Probe]) -> list[Result]:
        block = self._block()
        requests: list[tuple[str, Sequence[Any]]] = []
        for probe in probes:
            overrides = {
                address_hex(address): {
                    "stateDiff": {f"0x{s:064x}": f"0x{w:064x}" for s, w in words.items()}
                }
                for address, words in probe.storage.items()
            }
            requests.append(("eth_call", [_request(probe.call), "latest", overrides, block]))
        try:
            return [_result(answer) for answer in self.rpc.try_batch(requests)]
        except TransportError as error:
            raise self._hung("a call", error) from error

    def place(
        self, address: int, code: bytes | None, storage: Mapping[int, int], balance: int | None
    ) -> None:
        where = address_hex(address)
        calls: list[tuple[str, Sequence[Any]]] = []
        if code is not None:
            calls.append(("anvil_setCode", [where, to_hex(code)]))
        if balance is not None:
            calls.append(("anvil_setBalance", [where, hex(balance)]))
        for slot, word in storage.items():
            calls.append(("anvil_setStorageAt", [where, f"0x{slot:064x}", f"0x{word:064x}"]))
        self.rpc.batch(calls)

    def storage(self, address: int, slots: Sequence[int]) -> list[int]:
        where = address_hex(address)
        words = self.rpc.batch(
            [("eth_getStorageAt", [where, f"0x{slot:064x}", "latest"]) for slot in slots]
        )
        return [int(word, 16) for word in words]

    def code(self, address: int) -> bytes:
        return self.rpc.code(address_hex(address))

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def warp(self, seconds: int) -> None:
        self._time += seconds

    def time(self) -> int:
        return self._time

    def snapshot(self) -> object:
        return [self.rpc.call("evm_snapshot"), self._time, self._number]

    def revert(self, mark: object) -> None:
        assert isinstance(mark, list)
        if not self.rpc.call("evm_revert", mark[0]):
            raise TargetHung("Anvil lost a snapshot")
        mark[0] = self.rpc.call("evm_snapshot")  # a snapshot of Anvil serves once
        self._time, self._number = mark[1], mark[2]

    def executed(self) -> Mapping[int, frozenset[int]] | None:
        if not self.trace:
            return None
        seen, self._seen = self._seen, {}
        return {address: frozenset(counters) for address, counters in seen.items()}

    def _collect(self, to: int, tx_hash: str) -> None:
        found = self.rpc.call("debug_traceTransaction", tx_hash, {"tracer": COUNTERS})
        for code, counters in found.items():
            address = int(code, 16) if code else to
            self._seen.setdefault(address, set()).update(map(int, counters))


def _request(call: Call) -> dict[str, Any]:
    return {
        "from": address_hex(call.sender),
        "to": address_hex(call.to),
        "data": to_hex(call.data),
        "value": hex(call.value),
        "gas": hex(call.gas),
    }


def _result(answer: CallResult) -> Result:
    if answer.error is None:
        return Result(True, from_hex(answer.value))
    if isinstance(answer.error, RevertError):
        return Result(False, answer.error.data)
    if isinstance(answer.error, RpcError):
        return Result(False, b"", _halt(str(answer.error)))
    raise answer.error


def _halt(text: str) -> str:
    """revm's name of what ended a call, from Anvil's text; "" for a revert."""
    lowered = text.lower()
    if "revert" in lowered:
        return ""
    if "outofgas" in lowered.replace(" ", ""):
        return "OutOfGas"
    if match := _HALT.search(text):
        return match[1]
    return text or "unknown"


def _log(entry: Mapping[str, Any]) -> Log:
    topics = tuple(int(topic, 16) for topic in entry["topics"])
    return Log(int(entry["address"], 16), topics, from_hex(entry["data"]))
