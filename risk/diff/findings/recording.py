"""What the contracts were sent while a sequence was replayed: enough to repeat it without the kit.

The engine of a target is wrapped for one replay from an empty state. Deployments are recognised
by the creation code of the artifacts, so that a test deploys what the auditor compiles then, not
what was compiled now.

The value that the test must demand of a view is found by substitution: every word of every answer
that holds the chain's value is replaced by the model's, and the adapter observes again; where its
observation becomes the model's, that word of that view is the quantity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from risk.chain.compile import Artifact
from risk.chain.keccak import keccak
from risk.diff.adapter import Mismatch, Outcome
from risk.diff.kit.adapter import Step, World
from risk.diff.kit.chain import Chain
from risk.diff.kit.engine import Call, Engine, Result
from risk.diff.kit.target import AdapterSession, AdapterTarget

WORD = 32
MAX_NONCE = 100_000


@dataclass(frozen=True)
class Deployed:
    """A contract creation. ``artifact`` is "" where no artifact has this creation code, or where
    libraries are linked into it: then ``creation`` is all there is.
    """

    time: int
    number: int  # of the block
    sender: int
    address: int
    nonce: int  # of the sender, which makes the address
    creation: bytes
    artifact: str = ""
    source: str = ""
    arguments: bytes = b""


@dataclass(frozen=True)
class Sent:
    """A transaction and what it did."""

    time: int
    number: int
    call: Call
    result: Result


@dataclass(frozen=True)
class Placed:
    """Something written directly into the state."""

    address: int
    code: bytes | None
    storage: Mapping[int, int]
    balance: int | None


Event = Deployed | Sent | Placed


@dataclass(frozen=True)
class Demand:
    """One word of a view's answer that must be the model's value."""

    name: str
    call: Call
    word: int  # position in the answer
    model: int
    chain: int


@dataclass(frozen=True)
class Done:
    """One step: its transaction, what the model expects of it and what the contract did.
    ``data`` None: the return or revert data is not compared as it stands.
    """

    step: Step
    sent: Sent
    contract: str
    function: str
    model: Outcome
    chain: Outcome
    data: bytes | None
    explanation: tuple[str, ...]


@dataclass
class Recording:
    """A replay, event by event."""

    setup: list[Event] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    demands: list[Demand] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)  # addresses of contracts and roles
    time: int = 0  # block time after the last step, which the views see
    number: int = 0


class Recorder:
    """An engine that remembers what it was told."""

    def __init__(self, engine: Engine, artifacts: Mapping[str, Artifact]) -> None:
        self.engine = engine
        self.artifacts = artifacts
        self.events: list[Event] = []
        self.views: list[tuple[Call, Result]] = []
        self.number = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def deploy(self, creation: bytes, sender: int) -> int:
        """See ``Engine``."""
        time = self.engine.time()
        address = self.engine.deploy(creation, sender)
        name, source, arguments = _origin(creation, self.artifacts)
        nonce = _nonce_of(sender, address)
        self.events.append(
            Deployed(time, self.number, sender, address, nonce, creation, name, source, arguments)
        )
        self.number += 1
        return address

    def transact(self, call: Call) -> Result:
        """See ``Engine``."""
        time = self.engine.time()
        result = self.engine.transact(call)
        self.events.append(Sent(time, self.number, call, result))
        self.number += 1
        return result

    def place(
        self, address: int, code: bytes | None, storage: Mapping[int, int], balance: int | None
    ) -> None:
        """See ``Engine``."""
        self.engine.place(address, code, storage, balance)
        self.events.append(Placed(address, code, dict(storage), balance))

    def call(self, calls: Sequence[Call]) -> list[Result]:
        """See ``Engine``."""
        results = self.engine.call(calls)
        self.views += zip(calls, results, strict=True)
        return results


class _Differs(Exception):
    """The adapter asks something else when it sees another value."""


class _Player(Recorder):
    """Answers views with recorded results, one word of one of them replaced."""

    def __init__(
        self, engine: Engine, views: Sequence[tuple[Call, Result]], at: int, data: bytes
    ) -> None:
        super().__init__(engine, {})
        self.script = list(views)
        self.script[at] = (views[at][0], Result(True, data))

    def call(self, calls: Sequence[Call]) -> list[Result]:
        """The next answers of the script. Raises ``_Differs``."""
        taken, self.script = self.script[: len(calls)], self.script[len(calls) :]
        if [asked for asked, _ in taken] != list(calls):
            raise _Differs
        return [result for _, result in taken]


def record(target: AdapterTarget, world: World, steps: Sequence[Step]) -> Recording:
    """Replay from an empty state and remember everything. The target can be used afterwards."""
    engine = target.engine
    recorder = Recorder(engine, target.artifacts)
    target.forget_worlds()  # deploy anew, through the recorder
    target.engine = cast(Engine, recorder)
    try:
        session = target.start_in(world)
        out = Recording(recorder.events)
        recorder.events = []
        out.names = _names(target, session.chain)
        out.done = [_do(session, recorder, step) for step in steps]
        out.time, out.number = engine.time(), recorder.number
        out.demands = _demands(session, recorder)
        return out
    finally:
        target.engine = engine
        target.forget_worlds()


def _do(session: AdapterSession, recorder: Recorder, step: Step) -> Done:
    contract, function, _ = session.adapter.call_of(session.chain, step)
    on_model, on_chain = session.on_model(step), session.on_chain(step)
    sent = recorder.events[-1]
    assert isinstance(sent, Sent)
    # outcomes without data, and outcomes that the adapter made of something else, say only ok
    data = on_model.data if on_chain.data == sent.result.data else None
    lines = tuple(session.adapter.explain(session.model, step))
    return Done(step, sent, contract.name, function, on_model, on_chain, data, lines)


def _names(target: AdapterTarget, chain: Chain) -> dict[int, str]:
    names = {chain.role(role): role for role in ("deployer", *target.adapter.roles)}
    return names | {c.address: c.name for c in chain.contracts.values()}


# ── which view shows a quantity ──────────────────────────────────────────────────────────────────


def _demands(session: AdapterSession, recorder: Recorder) -> list[Demand]:
    """For each quantity that differs now, the word of a view that shows it, where there is one."""
    recorder.views = []
    model, chain = session.observe_model(), session.observe_chain()
    views = list(recorder.views)
    out = []
    for name, value in model.items():
        other = chain.get(name)
        if isinstance(value, int) and isinstance(other, int) and value != other:
            found = _shown_by(session, views, name, value, other)
            out += [found] if found else []
    return out


def _shown_by(
    session: AdapterSession, views: Sequence[tuple[Call, Result]], name: str, model: int, chain: int
) -> Demand | None:
    if not -(2**255) <= model < 2**256:
        return None
    old, new = ((v % 2**256).to_bytes(WORD, "big") for v in (chain, model))
    for at, (call, result) in enumerate(views):
        for word in range(len(result.data) // WORD):
            start = WORD * word
            if not result.ok or result.data[start : start + WORD] != old:
                continue
            data = result.data[:start] + new + result.data[start + WORD :]
            if _observed(session, _Player(session.chain.engine, views, at, data), name) == model:
                return Demand(name, call, word, model, chain)
    return None


def _observed(session: AdapterSession, player: _Player, name: str) -> object:
    copy = Chain(cast(Engine, player), session.chain.artifacts)
    copy.contracts = dict(session.chain.contracts)
    try:
        return session.adapter.observe_chain(copy).get(name)
    except Exception:  # the adapter may do anything with a value that no contract gave
        return None


def undemanded(mismatches: Sequence[Mismatch], demands: Sequence[Demand]) -> list[str]:
    """Names of state quantities that differ and that no view shows as they are."""
    shown = {f"state.{d.name}" for d in demands}
    return [m.where for m in mismatches if m.where.startswith("state.") and m.where not in shown]


# ── where a deployment comes from ────────────────────────────────────────────────────────────────


def _origin(creation: bytes, artifacts: Mapping[str, Artifact]) -> tuple[str, str, bytes]:
    """(artifact, source file, constructor arguments); the longest code that fits wins."""
    best: tuple[str, str, bytes] = ("", "", b"")
    longest = 0
    for artifact in artifacts.values():
        if not artifact.bytecode or artifact.libraries:
            continue
        code = bytes.fromhex(artifact.bytecode)
        if len(code) > longest and creation.startswith(code):
            longest = len(code)
            best = (artifact.name, artifact.source_path, creation[longest:])
    return best


def create_address(sender: int, nonce: int) -> int:
    """Address of what ``sender`` creates with CREATE at ``nonce``."""
    raw = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    item = raw if nonce and nonce < 0x80 else bytes([0x80 + len(raw)]) + raw
    body = b"\x94" + sender.to_bytes(20, "big") + item
    return int.from_bytes(keccak(bytes([0xC0 + len(body)]) + body)[12:], "big")


def _nonce_of(sender: int, address: int) -> int:
    """-1 where no nonce gives the address."""
    return next((n for n in range(MAX_NONCE) if create_address(sender, n) == address), -1)
