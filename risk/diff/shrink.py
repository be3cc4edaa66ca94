"""From a failing sequence to a small one: fewer actions, smaller values, a smaller world.

The search knows nothing of a target. It asks a ``Replays`` to record the failing sequence as data
and to replay any steps in a fresh world, and it accepts a candidate only if that **fails the same
way**: the kind of the first disagreement of the original (``kind_of``: the quantity's name without
its indices, addresses and roles; for outcomes also who refused, and with which error) is among the
kinds of disagreement at the candidate's first failing step. A replay that ends in an error of the
tool (``DiffError``: a deployment that fails, a call out of gas, a model that raises) is never
accepted.

The passes, repeated until none of them changes anything or the budget is used up:

1. what comes after the first failing step is cut off;
2. ddmin over the steps (Zeller, Hildebrandt 2002), then single steps; the time that a dropped step
   waited goes to the next one that stays;
3. roles renamed to earlier ones, then numbers: 0, 1, then the smallest or roundest that fails;
4. smaller worlds, as the target offers them.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Generic, Protocol, TypeVar

from risk.diff.adapter import Mismatch
from risk.diff.coverage import Tally
from risk.diff.kit.errors import DiffError, NotDeterministic
from risk.diff.runner import Plan, step_once

W = TypeVar("W")
S = TypeVar("S")
_INDEX = re.compile(r"\[[^\]]*\]")
_NUMBER = re.compile(r"-?\b(0x[0-9a-f]+|\d+)\b")
EXACT_BITS = 24  # a gap of at most so many bits is searched to the last unit


class NothingToShrink(DiffError):
    """The sequence of this plan and index shows no disagreement."""


@dataclass(frozen=True)
class Budget:
    """When to stop searching; what was found until then is returned."""

    seconds: float = 120.0
    replays: int = 3000


@dataclass(frozen=True)
class Failure:
    """The first failing step of a replay (counted from 0) and what differed there."""

    step: int
    mismatches: tuple[Mismatch, ...]

    @property
    def kinds(self) -> frozenset[str]:
        """Of all disagreements of the step."""
        return frozenset(kind_of(m) for m in self.mismatches)


@dataclass
class Shrunk(Generic[W, S]):
    """What is left. ``kind`` is the criterion; ``complete`` is False where the budget ended it."""

    world: W
    steps: list[S]
    mismatches: list[Mismatch]
    replays: int
    seconds: float
    kind: str
    actions: int  # of ``steps``, set-up steps not counted
    instruments: int
    recorded: int  # actions of the recorded sequence
    complete: bool
    rejected: int = 0  # candidates that ended in an error of the tool
    seed: int = 0
    index: int = 0
    rerun: str = ""


class Replays(Protocol[W, S]):
    """A target whose sequences can be recorded and replayed."""

    def record(self, plan: Plan, index: int) -> tuple[W, list[S]]:
        """World and steps of the plan's sequence, up to its first disagreement or its end."""
        ...

    def replay(self, world: W, steps: Sequence[S]) -> Failure | None:
        """In a fresh world on both sides; None where they agree. Raises ``DiffError``."""
        ...

    def is_action(self, step: S) -> bool:
        """False for set-up steps, which may be dropped but are not counted."""
        ...

    def waits(self, step: S) -> int:
        """Seconds before the step that nothing needs: what ``with_wait`` can take away."""
        ...

    def with_wait(self, step: S, wait: int) -> S:
        """The step, ``wait`` unneeded seconds later than the one before."""
        ...

    def numbers(self, step: S) -> Sequence[int]:
        """Numbers of a step that may be made smaller, the time to wait not among them."""
        ...

    def with_number(self, step: S, position: int, value: int) -> S:
        """The step with another number; position as in ``numbers``."""
        ...

    def others(self, world: W, steps: Sequence[S]) -> Iterable[tuple[W, list[S]]]:
        """Simplifications of other kinds: smaller worlds, renamed roles; the boldest first."""
        ...

    def instruments(self, world: W, steps: Sequence[S]) -> int:
        """Instruments (markets, assets) that are involved."""
        ...

    def key(self, world: W, steps: Sequence[S]) -> Hashable:
        """Equal for equal replays."""
        ...


def kind_of(mismatch: Mismatch) -> str:
    """What disagrees, without indices, addresses, roles and amounts.

    ``state.balance[alice]`` → ``state.balance[]``; where the sides refuse differently, or only one
    of them refuses, the errors are named: ``outcome.error: accepted, Insufficient``.
    """
    where = _INDEX.sub("[]", mismatch.where)
    if where == "invariant":
        return f"invariant: {_NUMBER.sub('#', str(mismatch.chain))}"
    if where == "outcome.error":
        return f"{where}: {mismatch.model or 'accepted'!s}, {mismatch.chain or 'accepted'!s}"
    return where


def principal(mismatches: Sequence[Mismatch]) -> Mismatch:
    """The one whose kind is the criterion: different errors, else the first."""
    return next((m for m in mismatches if m.where == "outcome.error"), mismatches[0])


def run_steps(session: Any, steps: Sequence[Any]) -> Failure | None:
    """Apply steps to a session as the runner does; the first disagreement."""
    counts = Tally()
    for number, step in enumerate(steps):
        mismatches, _, _ = step_once(session, step, counts)
        if mismatches:
            return Failure(number, tuple(mismatches))
    return None


def record_steps(session: Any, plan: Plan, index: int) -> list[Any]:
    """What the runner would do in this sequence, up to the first disagreement."""
    rng = Random(f"sequence {plan.seed} {index}")
    counts, steps = Tally(), []
    for _ in range(plan.actions):
        steps.append(session.propose(rng))
        if step_once(session, steps[-1], counts)[0]:
            break
    return steps


def replays_of(target: Any) -> Replays[Any, Any]:
    """How to replay a target: its own method ``replays()``, or the one of kit adapters."""
    if hasattr(target, "replays"):
        made: Replays[Any, Any] = target.replays()
        return made
    from risk.diff.findings.adapter_replays import AdapterReplays

    return AdapterReplays(target)


def shrink(target: Any, plan: Plan, index: int, budget: Budget | None = None) -> Shrunk[Any, Any]:
    """The smallest failing sequence that the budget finds.

    ``target`` is open, and either a target of the runner or a ``Replays``. Raises
    ``NothingToShrink`` where the sequence agrees, ``NotDeterministic`` where the same steps fail
    in different ways.
    """
    replays = target if hasattr(target, "replay") else replays_of(target)
    world, steps = replays.record(plan, index)
    rerun = f"{getattr(target, 'command', 'plumbline diff')} --seed {plan.seed}"
    search = Search(replays, budget or Budget())
    shrunk = search.run(world, list(steps))
    shrunk.seed, shrunk.index = plan.seed, index
    shrunk.rerun = f"{rerun} --only-sequence {index}" + (
        f" --actions {plan.actions}" if plan.actions != Plan.actions else ""
    )
    return shrunk


class _Spent(Exception):
    """The budget is used up."""


@dataclass
class Search(Generic[W, S]):
    """One search; ``run`` may be called once."""

    target: Replays[W, S]
    budget: Budget
    replays: int = 0
    rejected: int = 0
    kind: str = ""
    _seen: dict[Hashable, Failure | None] = field(default_factory=dict)
    _taken: set[Hashable] = field(default_factory=set)
    _started: float = 0.0

    def run(self, world: W, steps: list[S]) -> Shrunk[W, S]:
        """See ``shrink``."""
        self._started = time.monotonic()
        recorded = sum(map(self.target.is_action, steps))
        first = self._certain(world, steps)
        if first is None:
            raise NothingToShrink("model and chain agree on every step of the sequence")
        self.kind = kind_of(principal(first.mismatches))
        self.world, self.steps = world, steps[: first.step + 1]
        complete = True
        try:
            while self._one_round():
                pass
        except _Spent:
            complete = False
        last = self._certain(self.world, self.steps)
        assert last is not None and self.kind in last.kinds
        mismatches = sorted(last.mismatches, key=lambda m: kind_of(m) != self.kind)
        return Shrunk(
            self.world,
            self.steps,
            mismatches,
            self.replays,
            time.monotonic() - self._started,
            self.kind,
            sum(map(self.target.is_action, self.steps)),
            self.target.instruments(self.world, self.steps),
            recorded,
            complete,
            self.rejected,
        )

    def _certain(self, world: W, steps: Sequence[S]) -> Failure | None:
        """Replayed twice; both must say the same."""
        once, again = (self.target.replay(world, steps) for _ in range(2))
        self.replays += 2
        if once != again:
            raise NotDeterministic(
                "the same steps in the same world gave different results in two replays: "
                f"{_brief(once)}; then {_brief(again)}"
            )
        return once

    def _one_round(self) -> bool:
        passes = (self._fewer, self._singles, self._others, self._earlier, self._numbers)
        changed = [one() for one in passes]  # every pass runs
        return any(changed)

    def _accept(self, world: W, steps: Sequence[S]) -> bool:
        """Whether the candidate fails the same way; then it is the new best."""
        if not steps:
            return False
        key = self.target.key(world, steps)
        if key not in self._seen:
            spent = time.monotonic() - self._started
            if self.replays >= self.budget.replays or spent > self.budget.seconds:
                raise _Spent
            self.replays += 1
            try:
                self._seen[key] = self.target.replay(world, steps)
            except DiffError:
                self.rejected += 1
                self._seen[key] = None
        failure = self._seen[key]
        if failure is None or self.kind not in failure.kinds or key in self._taken:
            return False
        self._taken.add(key)  # never back to where the search has been: it ends
        self.world, self.steps = world, list(steps[: failure.step + 1])
        return True

    # ── fewer steps ──────────────────────────────────────────────────────────────────────────────

    def _keep(self, kept: Sequence[int]) -> list[S]:
        """These steps of the present ones; the time that the others waited goes to the next one
        that is kept, or to the last.
        """
        out: list[S] = []
        owed, wanted = 0, set(kept)
        for i, step in enumerate(self.steps):
            if i not in wanted:
                owed += self.target.waits(step)
                continue
            if owed:
                step, owed = self.target.with_wait(step, self.target.waits(step) + owed), 0
            out.append(step)
        if owed and out:  # of dropped last steps
            out[-1] = self.target.with_wait(out[-1], self.target.waits(out[-1]) + owed)
        return out

    def _fewer(self) -> bool:
        """ddmin: leaves out one of n parts, with n growing. The last step always stays."""
        before, parts = len(self.steps), 2
        while len(self.steps) > 2 and parts <= len(self.steps) - 1:
            size = len(self.steps) - 1
            bounds = [size * i // parts for i in range(parts + 1)]
            for low, high in itertools.pairwise(bounds):
                kept = [i for i in range(size + 1) if not low <= i < high]
                if self._accept(self.world, self._keep(kept)):
                    parts = max(2, parts - 1)
                    break
            else:
                if parts == size:
                    break
                parts = min(size, 2 * parts)
        return len(self.steps) < before

    def _singles(self) -> bool:
        """Each step on its own, from the last: fails without it?"""
        before = len(self.steps)
        i = before - 1
        while i >= 0:
            if i < len(self.steps):
                self._accept(self.world, self._keep([j for j in range(len(self.steps)) if j != i]))
            i -= 1
        return len(self.steps) < before

    # ── simpler steps ────────────────────────────────────────────────────────────────────────────

    def _others(self) -> bool:
        changed = False
        while any(self._accept(w, s) for w, s in self.target.others(self.world, self.steps)):
            changed = True
        return changed

    def _replace(self, i: int, step: S) -> bool:
        return self._accept(self.world, [*self.steps[:i], step, *self.steps[i + 1 :]])

    def _earlier(self) -> bool:
        """Waits to 0, or to the shortest that fails."""
        changed = False
        for i in range(len(self.steps)):
            if i < len(self.steps) and (wait := self.target.waits(self.steps[i])):
                changed |= self._smallest(i, wait, lambda s, v: self.target.with_wait(s, v))
        return changed

    def _numbers(self) -> bool:
        changed = False
        for i in range(len(self.steps)):
            at = 0
            while i < len(self.steps):
                numbers = self.target.numbers(self.steps[i])
                if at >= len(numbers):
                    break
                if numbers[at]:
                    changed |= self._smallest(i, numbers[at], self._putter(at))
                at += 1
        return changed

    def _putter(self, position: int) -> Callable[[S, int], S]:
        return lambda step, value: self.target.with_number(step, position, value)

    def _smallest(self, i: int, value: int, put: Callable[[S, int], S]) -> bool:
        """The smallest or roundest value in place of ``value`` that still fails.

        Failing is hardly ever monotone over all values, but mostly near a threshold: the number of
        bits is bisected first, then the value itself where the gap is small, else digits are
        rounded away.
        """
        sign = -1 if value < 0 else 1
        original = size = abs(value)

        def fails(candidate: int) -> bool:
            if candidate == size or i >= len(self.steps):
                return False
            return self._replace(i, put(self.steps[i], sign * candidate))

        for small in (0, 1):
            if small < size and fails(small):
                return True
        low, high = 0, size.bit_length() - 1  # shifts: low fails, high + 1 does not
        while low < high:
            middle = (low + high + 1) // 2
            if fails(original >> middle):
                low, size = middle, original >> middle
            else:
                high = middle - 1
        passes = size >> 1
        if (size - passes).bit_length() <= EXACT_BITS:
            while size - passes > 1:
                middle = (size + passes) // 2
                if fails(middle):
                    size = middle
                else:
                    passes = middle
        else:
            for rounded in _rounder(size):
                if fails(rounded):
                    size = rounded
                    break
        return size != original


def _rounder(value: int) -> Iterator[int]:
    """Values near this one with fewer digits, the roundest first: 1, 2, 3 … leading digits, each
    rounded down and up.
    """
    places = len(str(value))
    for digits in range(1, min(places, 7)):
        unit = 10 ** (places - digits)
        for candidate in (value // unit * unit, -(-value // unit) * unit):
            if 0 < candidate != value:
                yield candidate


def _brief(failure: Failure | None) -> str:
    if failure is None:
        return "no disagreement"
    first = failure.mismatches[0]
    return f"step {failure.step + 1}, {first.where} = {first.model!r} and {first.chain!r}"
