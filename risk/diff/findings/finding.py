"""A finding: everything that the writers need, whatever the target."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from risk.chain.compile import Artifact
from risk.diff.adapter import Mismatch, Value
from risk.diff.compare import show
from risk.diff.findings.recording import Deployed, Recording, record
from risk.diff.kit.target import AdapterTarget
from risk.diff.shrink import Shrunk


@dataclass(frozen=True)
class Place:
    """Where the function of the last action is defined; line 1 where the source is not readable."""

    file: str
    line: int
    contract: str
    function: str


@dataclass
class Finding:
    """One shrunk disagreement. ``recording`` is None for targets that are not adapters."""

    target: str
    kind: str  # of the first diverging quantity, the rule of tools
    fingerprint: str  # the same for the same fault: target, kind and function
    title: str
    world: Any  # as text or JSON
    steps: list[str]
    differences: list[Mismatch]
    explanation: list[str]
    place: Place | None
    figures: dict[str, Any]
    rerun: str
    recording: Recording | None = None
    notes: list[str] = field(default_factory=list)
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    regression: str = ""  # text of a pytest file, for targets without a recording

    @property
    def first(self) -> Mismatch:
        """The first diverging quantity, in the order of the observation."""
        return self.differences[0]

    @property
    def stem(self) -> str:
        """Part of file names: letters, digits, underscores."""
        return re.sub(r"\W+", "_", f"{self.target}_{self.fingerprint[:8]}")


def figures_of(shrunk: Shrunk[Any, Any]) -> dict[str, Any]:
    """How far the search came and what it took."""
    return {
        "actions_recorded": shrunk.recorded,
        "actions": shrunk.actions,
        "instruments": shrunk.instruments,
        "replays": shrunk.replays,
        "seconds": round(shrunk.seconds, 2),
        "complete": shrunk.complete,
        "seed": shrunk.seed,
        "index": shrunk.index,
    }


def fingerprint_of(target: str, kind: str, function: str) -> str:
    """Does not depend on values, roles, the seed or line numbers."""
    return hashlib.sha256("\0".join((target, kind, function)).encode()).hexdigest()[:32]


def finding_of(target: AdapterTarget, shrunk: Shrunk[Any, Any]) -> Finding:
    """Replays the shrunk sequence once more and puts everything together."""
    recording = record(target, shrunk.world, shrunk.steps)
    last = recording.done[-1]
    steps = []
    for number, done in enumerate(recording.done, 1):
        sides = [_said(done.model, done.data), _said(done.chain, done.chain.data)]
        both = f"both {sides[0]}" if sides[0] == sides[1] else f"model {sides[0]}, chain {sides[1]}"
        steps.append(f"{number}. {done.step.describe()} -> {both}")
    return Finding(
        target.name,
        shrunk.kind,
        fingerprint_of(target.name, shrunk.kind, f"{last.contract}.{last.function}"),
        f"{target.name}: {last.contract}.{last.function}: {shrunk.kind} differs from the model",
        shrunk.world,
        steps,
        _in_order(shrunk.mismatches),
        list(last.explanation),
        place_of(target, last.contract, last.function, last.sent.call.to, recording),
        figures_of(shrunk),
        shrunk.rerun,
        recording,
        artifacts=target.artifacts,
    )


def _in_order(mismatches: Sequence[Mismatch]) -> list[Mismatch]:
    """As observed, base quantities first, and outcomes before the state they lead to."""
    return sorted(mismatches, key=lambda m: not m.where.startswith("outcome"))


def _said(outcome: Any, data: bytes | None) -> str:
    if not outcome.ok:
        return f"refuses with {outcome.error}"
    if not data:
        return "accepts"
    if len(data) == 32:
        return f"returns {int.from_bytes(data, 'big')}"
    return f"returns 0x{data.hex()}"


def place_of(
    target: AdapterTarget, contract: str, function: str, address: int, recording: Recording
) -> Place | None:
    """Source file and line of a function, from the artifact that was deployed there."""
    made = {e.address: e.artifact for e in recording.setup if isinstance(e, Deployed)}
    artifact = target.artifacts.get(made.get(address) or contract)
    if artifact is None:
        return None
    name = function.split("(")[0]
    file = source_file(target, artifact.source_path)
    if file is None:
        return Place(artifact.source_path, 1, contract, name)
    text = file.read_text(encoding="utf-8", errors="replace")
    below = file.resolve().is_relative_to(Path.cwd())
    shown = file.resolve().relative_to(Path.cwd()).as_posix() if below else artifact.source_path
    return Place(shown, line_of(text, name), contract, name)


def source_file(target: AdapterTarget, path: str) -> Path | None:
    """A source file of the build: below the working directory, or near the adapter (at most two
    folders below it).
    """
    folders = [Path.cwd()]
    with contextlib.suppress(TypeError, OSError):
        folders.append(Path(inspect.getfile(type(target.adapter))).parent)
    for folder in folders:
        for pattern in ("", "*/", "*/*/"):
            found = sorted(folder.glob(pattern + path)) if folder != Path.cwd() else [folder / path]
            if found and found[0].is_file():
                return found[0]
    return None


def line_of(source: str, function: str) -> int:
    """Line on which a function or public variable of this name is defined; 1 if none is."""
    patterns = (rf"\bfunction\s+{re.escape(function)}\b", rf"\bpublic\b[^;]*\b{function}\b")
    for pattern in patterns:
        if match := re.search(pattern, source):
            return source.count("\n", 0, match.start()) + 1
    return 1


def as_rows(differences: Sequence[Mismatch]) -> list[dict[str, str]]:
    """Both values in decimal and hexadecimal, and chain − model."""
    rows = []
    for item in differences:
        words = [_word(item.model), _word(item.chain)]
        difference = item.difference
        if words[0] is not None and words[1] is not None:  # return data of one word
            difference = words[1] - words[0]
        sides = [
            show(value) + ("" if word is None else f" ({word})")
            for value, word in zip((item.model, item.chain), words, strict=True)
        ]
        rows.append(
            {
                "where": item.where,
                "model": sides[0],
                "chain": sides[1],
                "difference": "" if difference is None else f"{difference:+d}",
            }
        )
    return rows


def _word(value: Value) -> int | None:
    """The number that 32 bytes are, read without a sign."""
    return int.from_bytes(value, "big") if isinstance(value, bytes) and len(value) == 32 else None
