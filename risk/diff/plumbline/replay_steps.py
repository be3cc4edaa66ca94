"""Actions of a sequence as data, free of addresses that a deployment chooses.

``VaultAction`` holds closures over one session's model; a ``VaultStep`` can be replayed in any
world in which the names that it uses exist. Block times inside arguments are kept relative to the
block where they describe it (reports, feeds), as they were where they are terms of an order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from risk.chain.abi import Function
from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.setup import Deployment
from risk.diff.plumbline.signing import Actor

VAULT = "vault"


@dataclass(frozen=True)
class Signed:
    """The signature of an actor over the order or report that goes with it."""

    actor: str
    compact: bool = False


@dataclass(frozen=True)
class At:
    """A time: so many seconds after the block of the step."""

    seconds: int


@dataclass(frozen=True)
class Place:
    """The address of a contract of the world, or with ``sub`` an account that it owns."""

    name: str
    sub: int = -1


@dataclass(frozen=True)
class VaultStep:
    """One transaction. ``wait`` seconds pass beyond the one that every block takes. ``inner`` are
    the calls of a batch or of an armed callback; they stand in the place of their calldata.
    """

    kind: str
    sender: Any  # address, or a Place
    contract: str  # place
    name: str
    arguments: tuple[Any, ...]
    wait: int = 0
    inner: tuple[VaultStep, ...] = ()
    funding: bool = False  # a deposit of the set-up: may be dropped, is no action

    def describe(self) -> str:
        """One readable line."""
        who = self.sender.name if isinstance(self.sender, Place) else f"{self.sender:#x}"
        words = ", ".join(map(_word, self.arguments))
        if self.inner:
            words = "; ".join(step.describe() for step in self.inner)
        wait = f" after {self.wait} s" if self.wait else ""
        return f"{self.contract}.{self.name}({words}) by {who}{wait}"


def _word(value: Any) -> str:
    if isinstance(value, Place):
        return value.name if value.sub < 0 else f"{value.name}/{value.sub}"
    if isinstance(value, Signed):
        return f"signature of {value.actor}"
    if isinstance(value, At):
        return f"now{value.seconds:+d}" if value.seconds else "now"
    if isinstance(value, tuple):
        return f"({', '.join(map(_word, value))})"
    if isinstance(value, bytes):
        return f"0x{value.hex()}" if len(value) <= 32 else f"{len(value)} bytes"
    return hex(value) if isinstance(value, int) and value >= 2**100 else str(value)


# ── places ───────────────────────────────────────────────────────────────────────────────────────


def places_of(d: Deployment) -> dict[str, int]:
    """Names of the contracts of a fresh deployment."""
    out = {VAULT: d.vault, "cash": d.cash}
    groups = (("token", d.tokens), ("feed", d.feeds))
    spares = (("spare feed", d.spare_feeds), ("spare token", d.spare_tokens))
    for name, items in (*groups, *spares):
        out |= {f"{name} {i}": item for i, item in enumerate(items)}
    out |= {f"rate {j}": feed for j, feed in d.rate_feeds.items()}
    if d.callback:
        out |= {"sequencer": d.sequencer, "callback": d.callback}
    return out


class Symbols:
    """From addresses of one deployment to names."""

    def __init__(self, places: Mapping[str, int], functions: Mapping[str, Function]) -> None:
        self.names = {address: name for name, address in places.items()}
        self.by_selector = {f.selector: f for f in functions.values()}

    def step_of(self, action: VaultAction, now: int) -> VaultStep:
        """The action as data; ``now`` is the time of the block before it."""
        with patch.object(Actor, "sign", _marked):
            inner = tuple(replace(self.step_of(i, now), wait=0) for i in action.inner)
            if action.function.name in ("batch", "arm"):
                arguments: tuple[Any, ...] = ()
            else:
                given = action.arguments
                arguments = self._symbolic(tuple(given))
        if action.function.name == "arm":
            targets, data = action.arguments
            assert all(self.names[t] == VAULT for t in targets)
            inner = tuple(self._decoded(d, self._symbolic(action.contract)) for d in data)
        step = VaultStep(
            action.kind,
            self._symbolic(action.sender),
            self.names[action.contract] if action.contract else VAULT,
            action.function.name,
            arguments,
            max(0, action.time - now - 1),
            inner if action.function.name in ("batch", "arm") else (),
        )
        return relative(step, action.time)

    def _decoded(self, data: bytes, sender: Any) -> VaultStep:
        """Calldata of the vault without signatures."""
        f = self.by_selector[data[:4]]
        if f.name == "batch":
            inner = tuple(self._decoded(d, sender) for d in f.arguments(data)[0])
            return VaultStep("batch", sender, VAULT, "batch", (), inner=inner)
        arguments = self._symbolic(tuple(f.arguments(data)))
        return VaultStep(f.name, sender, VAULT, f.name, arguments)

    def _symbolic(self, value: Any) -> Any:
        if isinstance(value, tuple | list):
            return tuple(self._symbolic(item) for item in value)
        if isinstance(value, int) and value:
            if value in self.names:
                return Place(self.names[value])
            if value >> 8 in self.names:
                return Place(self.names[value >> 8], value & 0xFF)
        return value


def _marked(self: Actor, digest: bytes, *, compact: bool = False) -> Signed:
    del digest
    return Signed(self.name, compact)


def relative(step: VaultStep, time: int) -> VaultStep:
    """Times that describe the block, as seconds after it."""
    a = step.arguments
    if step.name == "set" and isinstance(a[1], int):
        return replace(step, arguments=(a[0], At(a[1] - time)))
    if step.name == "submitReport":
        report = a[0]
        return replace(step, arguments=((*report[:2], At(report[2] - time), *report[3:]), a[1]))
    return step


def resolved(value: Any, places: Mapping[str, int], time: int) -> Any:
    """Addresses and times instead of names. Raises ``KeyError`` for a place that is not there."""
    if isinstance(value, tuple):
        return tuple(resolved(item, places, time) for item in value)
    if isinstance(value, Place):
        address = places[value.name]
        return address if value.sub < 0 else address << 8 | value.sub
    if isinstance(value, At):
        return max(0, time + value.seconds)
    return value


# ── walking through steps ────────────────────────────────────────────────────────────────────────


def mapped(step: VaultStep, change: Callable[[VaultStep], VaultStep | None]) -> VaultStep | None:
    """``change`` applied to the step and what it contains; None drops it. A batch that lost all its
    calls is dropped too.
    """
    if step.inner:
        kept = [made for i in step.inner if (made := mapped(i, change)) is not None]
        if not kept:
            return None
        step = replace(step, inner=tuple(kept))
    return change(step)


def flat(steps: tuple[VaultStep, ...] | list[VaultStep]) -> Iterator[VaultStep]:
    """The steps and all that they contain."""
    for step in steps:
        yield step
        yield from flat(step.inner)


#: paths of the amounts that may be made smaller
AMOUNTS: dict[str, tuple[tuple[int, ...], ...]] = {
    "deposit": ((2,),),
    "withdraw": ((2,),),
    "transfer": ((3,),),
    "fundInsurance": ((0,),),
    "fill": ((4,), (5,), (0, 2), (2, 2), (0, 3), (2, 3), (0, 4), (2, 4)),
    "set": ((0,),),
    "liquidate": ((2,),),
    "liquidateFlash": ((2,),),
    "raiseMinNonce": ((1,),),
}


def amounts(step: VaultStep) -> list[tuple[VaultStep, tuple[int, ...]]]:
    """(step or inner step, path) of every amount, in order."""
    return [(s, path) for s in flat([step]) for path in AMOUNTS.get(s.name, ())]


def read(step: VaultStep, path: tuple[int, ...]) -> int:
    """The number at a path of the arguments; 0 where there is a name."""
    value: Any = step.arguments
    for i in path:
        value = value[i]
    return value if isinstance(value, int) else 0


def written(step: VaultStep, path: tuple[int, ...], number: int) -> VaultStep:
    """The step with another number."""

    def put(values: tuple[Any, ...], at: tuple[int, ...]) -> tuple[Any, ...]:
        i, rest = at[0], at[1:]
        new = put(values[i], rest) if rest else number
        return (*values[:i], new, *values[i + 1 :])

    return replace(step, arguments=put(step.arguments, path))
