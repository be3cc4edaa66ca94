"""The interface of the three engines: one EVM state, calls and transactions on it.

An engine knows nothing of adapters and models. Addresses are integers of 160 bits, as everywhere
in this project. The same calls in the same order give the same addresses, times and results on
each engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

GAS_LIMIT = 30_000_000  # of one call or transaction, unless it says otherwise
GENESIS_TIME = 1_700_000_000  # block time at which an engine begins
CHAIN_ID = 31_337


@dataclass(frozen=True)
class Call:
    """A message to a contract."""

    to: int
    data: bytes
    sender: int
    value: int = 0  # wei
    gas: int = GAS_LIMIT


@dataclass(frozen=True)
class Log:
    """An event as the EVM stores it."""

    address: int
    topics: tuple[int, ...]
    data: bytes


@dataclass(frozen=True)
class Result:
    """What a call did.

    ``data`` is the return data, or the revert data. ``halt`` names what ended it where that was
    neither a return nor a revert (``OutOfGas``, ``InvalidFEOpcode``, …). ``gas_used`` and ``logs``
    are those of transactions; an engine may leave them empty for calls.
    """

    ok: bool
    data: bytes = b""
    halt: str = ""
    gas_used: int = 0
    logs: tuple[Log, ...] = ()


@dataclass(frozen=True)
class Probe:
    """An account-level case: a call on the present state with some storage words laid over it.

    Nothing is kept. ``storage`` maps contract -> slot -> word.
    """

    call: Call
    storage: Mapping[int, Mapping[int, int]] = field(default_factory=dict)


class Engine(Protocol):
    """One EVM state."""

    name: str

    def open(self) -> None:
        """Start; afterwards the state is empty, the block number 1, the time GENESIS_TIME."""
        ...

    def close(self) -> None:
        """Stop; harmless when it is not open."""
        ...

    def deploy(self, creation: bytes, sender: int) -> int:
        """Address of a new contract. Raises ``DeployFailed`` with the revert data in hex."""
        ...

    def transact(self, call: Call) -> Result:
        """Execute and keep the effects; the next block holds it, at the present time."""
        ...

    def call(self, calls: Sequence[Call]) -> list[Result]:
        """Execute each on the present state and keep nothing."""
        ...

    def probe(self, probes: Sequence[Probe]) -> list[Result]:
        """As ``call``, each with its own storage words."""
        ...

    def place(
        self, address: int, code: bytes | None, storage: Mapping[int, int], balance: int | None
    ) -> None:
        """Write code, storage words and a balance in wei directly; None leaves as it is."""
        ...

    def storage(self, address: int, slots: Sequence[int]) -> list[int]:
        """Storage words."""
        ...

    def code(self, address: int) -> bytes:
        """Deployed code."""
        ...

    def warp(self, seconds: int) -> None:
        """Move the time of the next block on (0 is allowed: several blocks may share a time)."""
        ...

    def time(self) -> int:
        """Time that the next transaction and the next call see."""
        ...

    def snapshot(self) -> object:
        """A mark to go back to with ``revert``; several may exist, the latest goes first."""
        ...

    def revert(self, mark: object) -> None:
        """Back to the mark, which can be used again."""
        ...

    def executed(self) -> Mapping[int, frozenset[int]] | None:
        """Program counters executed since the last ask, by code address; None if the engine cannot
        tell.
        """
        ...
