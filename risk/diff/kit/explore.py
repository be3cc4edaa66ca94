"""Coverage-guided exploration: sequences that execute new code are kept and varied.

Corpus entries are changed in one place (an argument to an edge, a step dropped, doubled or
exchanged) or cut and continued with fresh proposals from the state they lead to. Features are the
program counters that the engine reports and the outcomes (action, error) of the model; a sequence
with a new one enters the corpus. An engine without program counters leaves the outcomes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random

from risk.diff.kit.adapter import Step, World
from risk.diff.kit.corpus import Corpus, Entry
from risk.diff.kit.follow import Followed, follow
from risk.diff.kit.target import AdapterSession, AdapterTarget

Feature = tuple[str | int, str | int]
FRESH_PERCENT = 30  # share of sequences that start from nothing


@dataclass
class Explored:
    """What an exploration saw."""

    sequences: int = 0
    actions: int = 0
    values_compared: int = 0
    features: set[Feature] = field(default_factory=set)
    kept: int = 0  # sequences that entered the corpus
    growth: list[tuple[int, int]] = field(default_factory=list)  # actions -> features
    failure: Followed | None = None
    world: World = field(default_factory=dict)  # of the failure

    @property
    def counters(self) -> int:
        """Program counters reached."""
        return sum(isinstance(kind, int) for kind, _ in self.features)


def explore(
    target: AdapterTarget,
    corpus: Corpus,
    *,
    seed: int,
    actions: int,
    budget_actions: int | None = None,
    budget_seconds: float | None = None,
    guided: bool = True,
    progress: Callable[[Explored], None] | None = None,
) -> Explored:
    """Run until a budget is used up or both sides disagree (``failure``).

    The entries of the corpus run first. With ``guided`` False every sequence starts from nothing,
    which is the baseline to compare with. The target must be open.
    """
    rng = Random(f"explore {seed}")
    out = Explored()
    deadline = None if budget_seconds is None else time.monotonic() + budget_seconds
    index = 0
    for entry in corpus if guided else ():
        if _run(target, out, entry.world, _as_is(entry), None):
            return out
    while (budget_actions is None or out.actions < budget_actions) and (
        deadline is None or time.monotonic() < deadline
    ):
        fresh = not guided or not corpus.entries or rng.randrange(100) < FRESH_PERCENT
        if fresh:
            world = target.make_world(seed, index)
            plan = _fresh(rng, actions)
            index += 1
        else:
            parent = _choose(rng, corpus.entries)
            world = parent.world
            plan = _varied(rng, parent, actions)
        if _run(target, out, world, plan, corpus if guided else None):
            return out
        if progress:
            progress(out)
    return out


Steps = Callable[[AdapterSession], Iterator[Step]]


def _run(
    target: AdapterTarget, out: Explored, world: World, plan: Steps, corpus: Corpus | None
) -> bool:
    """One sequence; True where it failed."""
    session = target.start_in(world)
    target.engine.executed()  # what the set-up ran is no merit
    done = follow(session, plan(session))
    out.sequences += 1
    out.actions += len(done.steps)
    out.values_compared += done.values_compared
    features: set[Feature] = {
        (step.kind, outcome.error or "ok")
        for step, outcome in zip(done.steps, done.outcomes, strict=True)
    }
    for address, counters in (target.engine.executed() or {}).items():
        features |= {(address, counter) for counter in counters}
    new = features - out.features
    out.features |= features
    out.growth.append((out.actions, len(out.features)))
    if done.failed:
        out.failure, out.world = done, world
        return True
    if new and corpus is not None:
        corpus.add(world, done.steps)
        out.kept += 1
    return False


def _choose(rng: Random, entries: list[Entry]) -> Entry:
    """Late entries more often: they were the hardest to reach."""
    return entries[int(len(entries) * rng.random() ** 0.5)]


def _as_is(entry: Entry) -> Steps:
    return lambda session: iter(entry.steps)


def _fresh(rng: Random, actions: int) -> Steps:
    def steps(session: AdapterSession) -> Iterator[Step]:
        for _ in range(actions):
            yield session.propose(rng)

    return steps


def _varied(rng: Random, parent: Entry, actions: int) -> Steps:
    """A parent with one change, then fresh steps up to ``actions``."""
    steps = list(parent.steps)
    at = rng.randrange(len(steps)) if steps else 0
    way = rng.randrange(5)
    if way == 0 or not steps:
        steps = steps[: at + 1]
    elif way == 1:
        del steps[at]
    elif way == 2:
        steps.insert(at, steps[at])
    elif way == 3:
        other = rng.randrange(len(steps))
        steps[at], steps[other] = steps[other], steps[at]
    else:
        steps[at] = _nudged(rng, steps[at])

    def plan(session: AdapterSession) -> Iterator[Step]:
        yield from steps
        for _ in range(actions - len(steps)):
            yield session.propose(rng)

    return plan


def _nudged(rng: Random, step: Step) -> Step:
    """One integer of a step changed by one, halved, doubled, or the wait changed."""
    places = [i for i, a in enumerate(step.arguments) if type(a) is int]
    if not places or rng.random() < 0.2:
        return replace(step, wait=rng.choice((0, 1, step.wait + 1, 3600, 86_400, 365 * 86_400)))
    at = rng.choice(places)
    value = step.arguments[at]
    assert isinstance(value, int)
    choices = [value + 1, max(value - 1, 0), value // 2, 0]
    changed = (*step.arguments[:at], rng.choice(choices), *step.arguments[at + 1 :])
    return replace(step, arguments=changed)
