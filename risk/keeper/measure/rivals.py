"""Who was first: every failed transaction of a race by what happened to its account.

A taking is a ``Flagged``, ``Liquidated`` or ``LegsLiquidated`` of the vault. A transaction was
decided at a head; it fails in a later block. In the order in which they are asked:

========================  ==========================================================================
``rival_same_block``      another sender took the account earlier in the block of the failure
``rival_earlier_block``   another sender did in a block between, while this one waited in the pool
``own``                   only the sender himself did, since the head
``rival_before_head``     nobody since, but another sender did before: decided on old news
``nobody``                nobody ever took it: prices, own margin or gas
========================  ==========================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from risk.chain.abi import Function
from risk.chain.events import EventDecoder
from risk.chain.rpc import Rpc, from_hex

TAKINGS: Final = ("Flagged", "Liquidated", "LegsLiquidated")
ENTRIES: Final = ("flag", "liquidate", "liquidateLegs")
OUT_OF_GAS: Final = "out of gas"


@dataclass(frozen=True)
class Taking:
    """``index``: of the transaction in its block; ``sender``: hex, lower case."""

    block: int
    index: int
    sender: str


@dataclass
class Rivals:
    """Feed it every block in order: ``block`` first, then ``classify`` for what failed in it."""

    decoder: EventDecoder
    vault: str
    functions: Mapping[str, Function]
    takings: dict[int, list[Taking]] = field(default_factory=dict)
    classes: Counter[str] = field(default_factory=Counter)

    def block(self, receipts: Iterable[Mapping[str, Any]]) -> None:
        """Takings of a block."""
        for receipt in receipts:
            where = int(receipt["blockNumber"], 16), int(receipt["transactionIndex"], 16)
            for log in receipt["logs"]:
                if log["address"].lower() != self.vault.lower():
                    continue
                event = self.decoder.decode(log)
                if event.name in TAKINGS:
                    taking = Taking(*where, receipt["from"].lower())
                    self.takings.setdefault(event.arguments["account"], []).append(taking)

    def classify(self, receipt: Mapping[str, Any], data: bytes, head: int) -> str:
        """Class of a failed transaction with this calldata, decided at block ``head``."""
        account = self._account(data)
        block, index = int(receipt["blockNumber"], 16), int(receipt["transactionIndex"], 16)
        sender = receipt["from"].lower()
        before = [t for t in self.takings.get(account, ()) if (t.block, t.index) < (block, index)]
        since = [t for t in before if t.block > head]
        rivals = [t for t in since if t.sender != sender]
        if any(t.block == block for t in rivals):
            return "rival_same_block"
        if rivals:
            return "rival_earlier_block"
        if since:
            return "own"
        return "rival_before_head" if any(t.sender != sender for t in before) else "nobody"

    def _account(self, data: bytes) -> int:
        for name in ENTRIES:
            function = self.functions[name]
            if data[:4] == function.selector:
                return int(function.arguments(data)[0])
        return 0


def reason(trace: Mapping[str, Any], name: Callable[[bytes], str]) -> str:
    """Why a mined transaction failed, of its whole trace: the name of its error (``name``: of
    revert data), or ``OUT_OF_GAS`` where a call within it had none left, or what the tracer says.

    The vault works in libraries that it calls with 63/64 of its gas (EIP-150). Where one of those
    runs out there is no data to pass on: the vault reverts with nothing, with some gas left.
    """
    data = from_hex(trace.get("output") or "0x")
    if data:
        return name(data)
    if any("out of gas" in error.lower() for error in _errors(trace)):
        return OUT_OF_GAS
    return str(trace.get("error") or "no data")


def _errors(call: Mapping[str, Any]) -> Iterator[str]:
    if call.get("error"):
        yield str(call["error"])
    for inner in call.get("calls") or ():
        yield from _errors(inner)


def fetch(rpc: Rpc, receipts: Sequence[Mapping[str, Any]]) -> list[tuple[Any, Any]]:
    """Transaction and trace of each, in one exchange."""
    calls: list[tuple[str, list[Any]]] = []
    for receipt in receipts:
        calls.append(("eth_getTransactionByHash", [receipt["transactionHash"]]))
        calls.append(
            ("debug_traceTransaction", [receipt["transactionHash"], {"tracer": "callTracer"}])
        )
    found = rpc.batch(calls) if calls else []
    return list(zip(found[::2], found[1::2], strict=True))
