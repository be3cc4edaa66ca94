"""The batched engine: many calls or cases in one ``eth_call`` through ``CaseHarness.sol``.

A state override puts the harness at the sender and at every contract whose storage a case overlays;
the code that was there moves, for the call, to an address beside (see the contract). What remains
different from a call of its own: ``EXTCODESIZE`` and ``EXTCODEHASH`` of the sender and of such a
contract, the gas that is left (a case that comes near its gas limit is asked for again alone), and
which slots are warm.

Records are packed by hand; at thousands of cases a second an ABI encoder would take most of the
time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from risk.chain.compile import compiler_settings
from risk.chain.keccak import keccak
from risk.chain.node import project_root
from risk.chain.rpc import address_hex, from_hex, to_hex
from risk.diff.kit.artifacts import from_sources
from risk.diff.kit.engine import Call, Probe, Result
from risk.diff.kit.errors import DiffError
from risk.diff.kit.node import NodeEngine
from risk.errors import RpcError, TransportError

HARNESS = "contracts/test/CaseHarness.sol"
OLDEST_RULES = "istanbul"  # the harness itself uses no younger instruction: it runs on any fork
BATCH = keccak(b"plumbline.cases.batch")
RUN = keccak(b"plumbline.cases.run")
MOVED = 0xC0DEC0DEC0DEC0DEC0DEC0DEC0DEC0DEC0DEC0DE  # in the code of the harness: its own code
ROUND_GAS = 2**45  # of one round; only what the cases use counts
ROUND_BYTES = 400_000  # of calldata: memory of the harness stays cheap
ROUND_CASES = 256
REVERTED, RETURNED, UNDECIDED = range(3)


@lru_cache(maxsize=1)
def _harness() -> bytes:
    version = compiler_settings(project_root())["version"]
    built = from_sources(project_root(), [HARNESS], solc=version, evm_version=OLDEST_RULES)
    code = bytes.fromhex(built["CaseHarness"].deployed_bytecode)
    if code.count(MOVED.to_bytes(20, "big")) != 1:
        raise DiffError("the code of CaseHarness does not name MOVED exactly once")
    return code


def moved(place: int) -> int:
    """Where the code of ``place`` lies during a round."""
    return place ^ MOVED


def harness_code(place: int) -> bytes:
    """Deployed code of the harness for one address. Raises ``CompileError``."""
    return _harness().replace(MOVED.to_bytes(20, "big"), moved(place).to_bytes(20, "big"))


def record(probe: Probe) -> bytes:
    """One case as RUN takes it."""
    call = probe.call
    words = [call.to, call.value, call.gas, len(call.data), len(probe.storage)]
    for contract, items in probe.storage.items():
        words += (contract, len(items))
        for item in items.items():
            words += item
    return b"".join((RUN, *[word.to_bytes(32, "big") for word in words], call.data))


def split(answer: bytes, count: int) -> list[tuple[int, bytes]]:
    """(status, data) of each case. Raises ``DiffError`` where the answer is not that of a batch."""
    out = []
    at = 0
    for _ in range(count):
        size = int.from_bytes(answer[at + 1 : at + 32], "big")
        out.append((answer[at], answer[at + 32 : at + 32 + size]))
        at += 32 + size
        if at > len(answer):
            raise DiffError(f"the harness answered {len(answer)} bytes for {count} cases")
    if at != len(answer):
        raise DiffError(f"the harness answered {len(answer) - at} bytes too much")
    return out


class BatchEngine(NodeEngine):
    """``NodeEngine`` whose calls and probes go many at a time. See ``engine.Engine``."""

    name = "batch"

    def call(self, calls: Sequence[Call]) -> list[Result]:
        return self.probe([Probe(call) for call in calls])

    def probe(self, probes: Sequence[Probe]) -> list[Result]:
        """Cases of one sender share rounds; the order of the results is that of the probes."""
        results: list[Result | None] = [None] * len(probes)
        by_sender: dict[int, list[int]] = {}
        for i, probe in enumerate(probes):
            by_sender.setdefault(probe.call.sender, []).append(i)
        for sender, indices in by_sender.items():
            if len(indices) == 1:
                continue
            codes = self._codes(sender, [probes[i] for i in indices])
            records = [record(probes[i]) for i in indices]
            first = 0
            while first < len(indices):
                last, size = first, 0
                while last < len(indices) and last - first < ROUND_CASES and size < ROUND_BYTES:
                    size += len(records[last])
                    last += 1
                answers = self._round(sender, codes, records[first:last])
                for i, (status, data) in zip(indices[first:last], answers, strict=True):
                    # without data it may have been a halt, whose name the harness cannot tell
                    if status == RETURNED or (status == REVERTED and data):
                        results[i] = Result(status == RETURNED, data)
                first = last
        alone = [i for i, result in enumerate(results) if result is None]
        for i, result in zip(alone, super().probe([probes[i] for i in alone]), strict=True):
            results[i] = result
        return [result for result in results if result is not None]

    def _codes(self, sender: int, probes: Sequence[Probe]) -> dict[str, dict[str, str]]:
        """State override: the harness in place, what was there beside it."""
        places = sorted({sender}.union(*(probe.storage for probe in probes)))
        codes = {}
        try:
            found = self.rpc.batch([("eth_getCode", [address_hex(p), "latest"]) for p in places])
        except TransportError as error:
            raise self._hung("reading code", error) from error
        for place, code in zip(places, found, strict=True):
            codes[address_hex(place)] = {"code": to_hex(harness_code(place))}
            if code != "0x":
                codes[address_hex(moved(place))] = {"code": code}
        return codes

    def _round(
        self, sender: int, codes: dict[str, dict[str, str]], records: Sequence[bytes]
    ) -> list[tuple[int, bytes]]:
        """One ``eth_call``; everything undecided where the node refuses it as a whole."""
        data = b"".join((BATCH, *[len(r).to_bytes(32, "big") + r for r in records]))
        request = {
            "from": address_hex(sender),
            "to": address_hex(sender),
            "data": to_hex(data),
            "gas": hex(ROUND_GAS),
        }
        try:
            answer = self.rpc.call("eth_call", request, "latest", codes, self._block())
        except TransportError as error:
            raise self._hung("a round of calls", error) from error
        except RpcError:
            return [(UNDECIDED, b"")] * len(records)
        return split(from_hex(answer), len(records))
