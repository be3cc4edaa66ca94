"""Collects coverage while something else runs: an observer of every exchange with a node.

``risk/chain/rpc.py`` calls the observer that the environment names (``environment`` makes these
variables).  It runs each request again with trapped code (``traps``); if that ends otherwise, the
request does something new and is traced on the same node, where the state still is.  The observer
has connections of its own and never raises: what it cannot trace it counts.  Nodes other than Anvil
are left alone.  The first request of each kind is traced in any case, since a caller that catches
errors hides a trap.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from risk.chain.node import project_root
from risk.chain.rpc import OBSERVER, Rpc, from_hex
from risk.errors import PlumblineError, RpcError, TransportError
from risk.solcov.build import Compiled, Unit, compile_project
from risk.solcov.cover import Index, Point
from risk.solcov.match import Matcher
from risk.solcov.novelty import PATIENCE, Filter
from risk.solcov.points import sources
from risk.solcov.requests import (
    addresses_in,
    call_data,
    call_ending,
    codes_of,
    ended,
    ending,
    joined,
    plain_address,
    simulated_again,
)
from risk.solcov.store import Hits, Writer, read
from risk.solcov.tracer import (
    CREATED,
    TOP,
    Trace,
    trace_call,
    trace_simulated,
    trace_transaction,
)
from risk.solcov.traps import Traps

Json = Any

FOLDER = "PLUMBLINE_SOLCOV"
EFFORT = "PLUMBLINE_SOLCOV_EFFORT"
TIMEOUT = 900.0
TRACED_GAS = 600_000  # above, a search takes less time than a trace
SEARCH_RUNS = 240
# after so many requests of one kind with nothing new every second is run again, then every fourth …
PROBES = 64
PROBE_GAP = 16
NOTE_EVERY = 10.0
_MOVES_CODE = {"evm_revert", "anvil_reset", "anvil_setCode", "anvil_loadState", "hardhat_setCode"}
_MINES = {"eth_sendTransactionSync", "evm_mine", "anvil_mine", "evm_revert"}
RECENT = 4


def environment(folder: Path, effort: float = 1.0) -> dict[str, str]:
    """Environment variables that make a process and its children collect into ``folder``."""
    return {
        OBSERVER: f"{__name__}:watch",
        FOLDER: str(folder.resolve()),
        EFFORT: str(effort),
    }


def watch() -> Collector:
    """The collector of this process (a new one after a fork)."""
    return _collector(os.getpid())


@lru_cache(maxsize=1)
def _collector(_pid: int) -> Collector:
    compiled = compile_project(project_root())
    folder = Path(os.environ[FOLDER])
    collector = Collector(compiled, Writer(folder), float(os.environ.get(EFFORT, "1")))
    hits, _ = read(folder, compiled.by_key)
    collector.know(hits)
    return collector


@dataclass
class _Node:
    """One endpoint: our own client, the code we know to be there, and who was called lately."""

    rpc: Rpc
    code: dict[str, bytes] = field(default_factory=dict)
    sent: dict[str, Mapping[str, Json]] = field(default_factory=dict)
    recent: list[str] = field(default_factory=list)
    exact: bool = False
    late: float = 0.0

    def turn_back(self, seconds: float) -> None:
        """Lets little time pass on the node for what watching took: tests count in seconds.  Not
        where the time of the next block is set already; that would be lost.
        """
        self.late += seconds
        if self.late > 0.002 and not self.exact:
            block = self.rpc.call("eth_getBlockByNumber", "latest", False)
            # the next block is never older than one second after this
            self.rpc.call("evm_setTime", int(block["timestamp"], 16) - 1)
            self.late = 0.0

    def code_at(self, address: str) -> bytes:
        """Code at an address; empty where there is none (asked again next time)."""
        plain = plain_address(address)
        code = self.code.get(plain)
        if code is None:
            code = self.rpc.code("0x" + plain)
            if code:
                self.code[plain] = code
        return code


class _Target(NamedTuple):
    """A contract whose code can be trapped."""

    address: str
    unit: Unit
    code: bytes


@dataclass
class _Asked:
    """A request that the node answered: what decides whether it is traced, and how.

    ``again`` runs it with code in state overrides and tells how it ended; ``expected`` is how it
    ended with the real code, or None where only ``again`` without overrides can tell.
    """

    kind: str
    request: Mapping[str, Json]
    outcome: tuple[Hashable, ...]
    gas: int
    codes: Mapping[str, bytes]
    again: Callable[[Mapping[str, Json]], Hashable]
    trace: Callable[[], Trace]
    expected: Hashable = None
    data: bytes = b""
    block: Json = "latest"
    overrides: Mapping[str, Json] | None = None
    times: Mapping[str, Json] | None = None

    def __post_init__(self) -> None:
        self.data = self.data or call_data(self.request)


class Collector:
    """The observer.  What to recognise, where new hits go, what is known already."""

    def __init__(self, compiled: Compiled, writer: Writer, effort: float = 1.0) -> None:
        self.matcher = Matcher(compiled.units)
        self.index = Index(compiled, sources(compiled))
        self.traps = Traps(compiled, self.index)
        self.writer = writer
        self.filter = Filter(PATIENCE * effort)
        self.probes = Filter(PROBES * effort, PROBE_GAP)
        self.hits = Hits()
        self.counts: Counter[str] = Counter()
        self.seconds = 0.0
        self.errors: Counter[str] = Counter()
        self._nodes: dict[str, _Node | None] = {}
        self._kinds: set[Hashable] = set()
        self._noted = 0.0

    def know(self, hits: Hits) -> None:
        """Takes what other runs reached as known: it is not looked for again."""
        for key in hits.counters:
            self.traps.clear(self.index.reached(key, hits.counters[key], hits.edges[key]))

    def __call__(self, rpc: Rpc, request: Json, answer: Json) -> None:
        started = time.monotonic()
        endpoint = rpc.transport.endpoint
        try:
            node = self._node(endpoint)
            if node is None:
                return
            if isinstance(request, list):
                answers = {a["id"]: a for a in answer} if isinstance(answer, list) else {}
                for item in request:
                    self._one(node, item, answers.get(item["id"], {}))
            else:
                self._one(node, request, answer)
            node.turn_back(time.monotonic() - started)
        except TransportError as error:
            self._nodes.pop(endpoint, None)
            self.errors[str(error)[:160]] += 1
        except (PlumblineError, LookupError, TypeError, ValueError, AttributeError) as error:
            self.errors[f"{type(error).__name__}: {error}"[:160]] += 1
        finally:
            now = time.monotonic()
            self.seconds += now - started
            if self.counts and now - self._noted > NOTE_EVERY:
                self._noted = now
                self.note()

    def note(self) -> None:
        """Writes how much was seen and traced so far."""
        self.writer.note(
            counts=dict(self.counts), seconds=round(self.seconds, 1), errors=dict(self.errors)
        )

    def _node(self, endpoint: str) -> _Node | None:
        if endpoint not in self._nodes:
            client = Rpc.connect(endpoint, TIMEOUT)
            client.observer = None
            version = str(client.call("web3_clientVersion")).lower()
            self._nodes[endpoint] = _Node(client) if version.startswith("anvil") else None
        return self._nodes[endpoint]

    # ── what was asked ───────────────────────────────────────────────────────────────────────────

    def _one(self, node: _Node, request: Mapping[str, Json], answer: Json) -> None:
        method, params = request["method"], list(request["params"])
        result = answer.get("result")
        if method in ("evm_setNextBlockTimestamp", "evm_increaseTime"):
            node.exact = True
        elif method in _MINES:
            node.exact = False
        if method in _MOVES_CODE:
            node.code.clear()
        elif method == "eth_call":
            self._call(node, params, answer)
        elif method == "eth_simulateV1" and result is not None:
            self._simulation(node, params, result)
        elif method in ("eth_sendTransactionSync", "eth_sendTransaction"):
            if isinstance(result, dict):
                self._transaction(node, params[0], result)
            elif isinstance(result, str):
                self._later(node, result, params[0])
            else:
                self._call(node, [params[0], "latest"], answer)
        elif method == "eth_sendRawTransaction" and isinstance(result, str):
            self._later(node, result, node.rpc.call("eth_getTransactionByHash", result))
        elif method == "eth_getTransactionReceipt" and isinstance(result, dict):
            sent = node.sent.pop(result["transactionHash"], None)
            if sent is not None:
                node.exact = False
                self._transaction(node, sent, result)

    def _later(self, node: _Node, tx_hash: str, sent: Mapping[str, Json]) -> None:
        """A transaction known by its hash only: now if it is mined, else with its receipt."""
        receipt = node.rpc.call("eth_getTransactionReceipt", tx_hash)
        if receipt is None:
            node.sent[tx_hash] = sent
        else:
            node.exact = False
            self._transaction(node, sent, receipt)

    def _transaction(
        self, node: _Node, sent: Mapping[str, Json], receipt: Mapping[str, Json]
    ) -> None:
        gas, number = int(receipt["gasUsed"], 16), int(receipt["blockNumber"], 16)
        tx_hash, rpc = receipt["transactionHash"], node.rpc
        fields = ("from", "to", "data", "input", "value", "gas")
        request = {name: sent[name] for name in fields if sent.get(name) is not None}

        def again(overrides: Mapping[str, Json]) -> Hashable:
            block = rpc.call("eth_getBlockByNumber", receipt["blockNumber"], False)
            times = {"time": block["timestamp"], "number": block["number"]}
            return call_ending(rpc, [request, hex(number - 1), overrides, times])

        outcome = (receipt["status"],)
        trace = partial(trace_transaction, rpc, tx_hash)
        self._consider(node, _Asked("transaction", request, outcome, gas, {}, again, trace))

    def _call(self, node: _Node, params: list[Json], answer: Json) -> None:
        given = params + ["latest", None, None][len(params) - 1 :]
        request, block, overrides, times = given[:4]
        expected = ended(answer)

        def again(codes: Mapping[str, Json]) -> Hashable:
            return call_ending(node.rpc, [request, block, joined(overrides, codes), times or {}])

        outcome = (expected[0], b"" if expected[0] else expected[1][:4])
        trace = partial(trace_call, node.rpc, request, block, overrides, times)
        asked = _Asked("call", request, outcome, 0, codes_of(overrides), again, trace, expected)
        asked.block, asked.overrides, asked.times = block, overrides, times
        self._consider(node, asked)

    def _simulation(self, node: _Node, params: list[Json], result: Json) -> None:
        """Each block on its own: what a block changed is not there for the next."""
        state: Json = params[1] if len(params) > 1 else "latest"
        blocks = params[0]["blockStateCalls"]
        for block, answered in zip(blocks, result, strict=True):
            if block is not blocks[0] and len(block["calls"]) == 1:
                continue  # reads back what the first block left
            gas = sum(int(c["gasUsed"], 16) for c in answered["calls"])
            again = partial(simulated_again, node.rpc, params[0], block, state)
            kind = "call" if len(block["calls"]) == 1 else "block"
            overrides, call = block.get("stateOverrides"), block["calls"][0]
            if kind == "call":
                times = block.get("blockOverrides")
                trace = partial(trace_call, node.rpc, call, state, overrides, times)
            else:
                trace = partial(trace_simulated, node.rpc, block, state)
            outcome = tuple(ending(c) for c in answered["calls"])
            expected = tuple((c["status"], c["returnData"]) for c in answered["calls"])
            data = b"".join(call_data(c) for c in block["calls"])
            self._consider(
                node,
                _Asked(kind, call, outcome, gas, codes_of(overrides), again, trace, expected, data),
            )

    # ── tracing ──────────────────────────────────────────────────────────────────────────────────

    def _consider(self, node: _Node, asked: _Asked) -> None:
        """Traces a request if it reaches something new, and stores what it reached."""
        self.counts[asked.kind] += 1
        to = asked.request.get("to")
        if to is None:
            unit = self.matcher.creation(asked.data)
            targets: list[_Target] = []
            if unit is not None and not self.traps.remaining(unit.key):
                return  # a constructor that is known
        else:
            unit = self._unit(node, to, asked.codes)
            if unit is None and plain_address(to) in asked.codes:
                return  # foreign code: the reader of raw storage
            targets = self._targets(node, to, asked)
        key = (asked.kind, unit and unit.key, asked.data[:4] if unit and to else b"", asked.outcome)
        same = False
        if to is not None:
            if not targets or not self.probes.wants(key):
                return
            if asked.expected is None:
                asked.expected = asked.again({})
            same = asked.again(self._armed(targets)) == asked.expected
            self.probes.learn(key, not same, 0)
            if same and key in self._kinds:
                return
        self.counts["new"] += not same
        if not self.filter.wants(key):
            self.counts["skipped"] += 1
            return
        started = time.monotonic()
        try:
            gas = asked.gas or self._gas(node, asked)
            if same and gas > TRACED_GAS:
                new = False  # a search would see what the traps saw: nothing
            elif gas <= TRACED_GAS or not targets:
                new = self._keep(node, asked.trace(), unit, asked.codes)
                self.counts["traced"] += 1
            else:
                new = self._search(asked, targets)
        except RpcError as error:
            new, gas = False, 0
            self.errors[f"trace of {asked.kind}: {error}"[:160]] += 1
        self._kinds.add(key)
        self.counts["milliseconds"] += round(1000 * (time.monotonic() - started))
        if not same:  # the traps saw something: a trace that finds nothing was in vain
            self.counts["barren"] += not new
            self.filter.learn(key, new, gas)

    def _gas(self, node: _Node, asked: _Asked) -> int:
        """Gas of a call."""
        options = {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": True}}
        options |= {"stateOverrides": asked.overrides or {}, "blockOverrides": asked.times or {}}
        answer = node.rpc.call("debug_traceCall", asked.request, asked.block, options)
        return int(answer.get("gasUsed", "0x0"), 16)

    def _search(self, asked: _Asked, targets: list[_Target]) -> bool:
        """Finds what a long request reaches for the first time by running it with the traps of
        halves, quarters … of the points, at most ``SEARCH_RUNS`` times; a trace of every
        instruction would take a minute.
        """
        self.counts["searched"] += 1
        runs = SEARCH_RUNS
        found: list[Point] = []
        everything = {p: None for t in targets for p in self.traps.points(t.unit.key)}
        stack = [list(everything)]
        while stack and runs:
            points = stack.pop()
            runs -= 1
            if asked.again(self._armed(targets, set(points))) == asked.expected:
                continue
            if len(points) == 1:
                found += points
            else:
                half = len(points) // 2
                stack += [points[half:], points[:half]]
        for point in found:
            key = next(t.unit.key for t in targets if point in self.traps.points(t.unit.key))
            self.writer.hits(key, *self.traps.shown_by(key, point))
            self.traps.clear([point])
        return bool(found)

    def _targets(self, node: _Node, to: str, asked: _Asked) -> list[_Target]:
        """Everything with traps that the request may run: whom it calls, whom it names in its
        data, whom others called lately, and the libraries these are linked to.
        """
        named = [to, *node.recent, *addresses_in(asked.data)]
        if to not in node.recent:
            node.recent = [to, *node.recent][:RECENT]
        out: list[_Target] = []
        seen: set[str] = set()
        while named:
            plain = plain_address(named.pop())
            if plain in seen:
                continue
            seen.add(plain)
            code = asked.codes.get(plain) or node.code_at(plain)
            unit = self.matcher.runtime(code) if code else None
            if unit is not None:
                named += [address.hex() for address in unit.libraries(code)]
                if self.traps.remaining(unit.key):
                    out.append(_Target("0x" + plain, unit, code))
        return out

    def _armed(self, targets: list[_Target], points: set[Point] | None = None) -> dict[str, Json]:
        """State override: the code of ``targets`` with all traps, or with those of ``points``."""
        out: dict[str, Json] = {}
        for address, unit, code in targets:
            if points is None:
                out[address] = {"code": self.traps.armed(unit, code)}
            elif here := [p for p in self.traps.points(unit.key) if p in points]:
                out[address] = {"code": self.traps.with_traps(unit, code, here)}
        return out

    def _keep(
        self, node: _Node, trace: Trace, top: Unit | None, codes: Mapping[str, bytes]
    ) -> bool:
        """Adds a trace to the hits; True if it reached a point for the first time."""
        found = 0
        for key, frame in trace.frames.items():
            if key == TOP:
                unit = top
            elif key.startswith(CREATED):
                unit = self.matcher.creation(from_hex(key.removeprefix(CREATED)))
            else:
                unit = self._unit(node, key, codes)
            if unit is None:
                continue
            counters, edges = self.hits.add(unit.key, frame.counters, frame.edges)
            if counters or edges:
                self.writer.hits(unit.key, counters, edges)
                found += self.traps.clear(self.index.reached(unit.key, counters, edges))
        return found > 0

    def _unit(self, node: _Node, address: str, codes: Mapping[str, bytes]) -> Unit | None:
        code = codes.get(plain_address(address)) or node.code_at(address)
        return self.matcher.runtime(code) if code else None
