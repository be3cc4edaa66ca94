"""The differential runner: cases and sequences over worker processes, one target (and one node)
each.

The same (seed, index) gives the same case or sequence whatever the number of workers.
"""

from __future__ import annotations

import multiprocessing
import queue
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from risk.diff.adapter import Counterexample, Mismatch, Outcome, SequenceTarget, Session, Target
from risk.diff.compare import compare
from risk.diff.coverage import Tally
from risk.errors import PlumblineError

AnyTarget = Any  # a Target, or a SequenceTarget with a plan of sequences only
CASES_A_TASK = 10
WORKER_TIMEOUT_SECONDS = 300  # a worker that says nothing for so long counts as hung


class WorkerFailed(Exception):
    """A worker died: the tool is broken, which is not a mismatch."""


class TargetRefused(PlumblineError):
    """A worker ended with an error raised on purpose; its text is the message."""


@dataclass(frozen=True)
class Plan:
    """What to run.  ``only_case`` and ``only_sequence`` repeat a single one."""

    seed: int = 1
    cases: int = 2000
    sequences: int = 200
    actions: int = 24  # per sequence
    workers: int = 2
    only_case: int | None = None
    only_sequence: int | None = None
    alone: bool = False  # sequences of the model without a chain

    def tasks(self) -> list[tuple[str, list[int]]]:
        """("case", indices) and ("sequence", [index]), long tasks first."""
        if self.alone:
            if self.only_sequence is not None:
                return [("alone", [self.only_sequence])]
            some = range(0, self.sequences, CASES_A_TASK)
            return [("alone", list(range(i, min(i + CASES_A_TASK, self.sequences)))) for i in some]
        if self.only_case is not None:
            return [("case", [self.only_case])]
        if self.only_sequence is not None:
            return [("sequence", [self.only_sequence])]
        cases = [
            ("case", list(range(i, min(i + CASES_A_TASK, self.cases))))
            for i in range(0, self.cases, CASES_A_TASK)
        ]
        return [("sequence", [i]) for i in range(self.sequences)] + cases


def run_case(target: Target, seed: int, index: int, tally: Tally) -> bool:
    """One account-level case on both sides; True if they agree."""
    case = target.make_case(seed, index)
    model = target.case_on_model(case)
    chain = target.case_on_chain(case)
    count, mismatches = compare(model, chain)
    tally.cases += 1
    tally.values_compared += count
    tally.tags.update(case.tags)
    tally.events.update(target.case_events(model))
    if mismatches:
        tally.mismatches += len(mismatches)
        tally.counterexamples.append(
            Counterexample(
                "case",
                seed,
                index,
                0,
                "account-level case",
                mismatches,
                f"{target.command} --seed {seed} --only-case {index}",
                case.describe(),
            )
        )
    return not mismatches


def run_sequence(target: SequenceTarget, plan: Plan, index: int, tally: Tally) -> bool:
    """One stateful sequence; stops at the first disagreement.  True if there was none."""
    rng = Random(f"sequence {plan.seed} {index}")
    session = target.start(plan.seed, index)
    tally.sequences += 1
    history: list[str] = []
    for step in range(1, plan.actions + 1):
        action = session.propose(rng)
        mismatches, count, title = step_once(session, action, tally)
        tally.actions += 1
        tally.values_compared += count
        history.append(f"{step:3d}. {title}")
        if step == plan.actions and not mismatches:
            mismatches = session.finish()
        if mismatches:
            tally.mismatches += len(mismatches)
            tally.counterexamples.append(
                Counterexample(
                    "sequence",
                    plan.seed,
                    index,
                    step,
                    title,
                    mismatches,
                    f"{target.command} --seed {plan.seed} --only-sequence {index}"
                    + (f" --actions {plan.actions}" if plan.actions != Plan.actions else ""),
                    history,
                )
            )
            return False
    return True


def step_once(session: Session, action: Any, tally: Tally) -> tuple[list[Mismatch], int, str]:
    """One action on both sides, counted: what differs, number of values compared, a readable
    line.
    """
    on_model, count, mismatches = compare_step(session, action)
    title = f"{action.describe()} -> {'ok' if on_model.ok else on_model.error}"
    tally.action_kinds[f"{action.kind}:{'ok' if on_model.ok else 'revert'}"] += 1
    if not on_model.ok:
        tally.events[f"revert:{on_model.error}"] += 1
    tally.events.update(session.counted(action, on_model))
    return mismatches, count, title


def compare_step(session: Session, action: Any) -> tuple[Outcome, int, list[Mismatch]]:
    """One action on both sides: the model's outcome, number of values compared, what differs."""
    on_model = session.on_model(action)
    on_chain = session.on_chain(action)
    count, mismatches = compare(on_model.observation("outcome"), on_chain.observation("outcome"))
    if on_model.error != on_chain.error:
        mismatches.append(Mismatch("outcome.error", on_model.error, on_chain.error))
    more, differing = compare(
        session.observe_model(), session.observe_chain(), "state.", session.tolerance
    )
    mismatches += differing
    mismatches += [Mismatch("invariant", "holds", line) for line in session.invariants()]
    return on_model, count + more, mismatches


def run_alone(target: Target, plan: Plan, index: int, tally: Tally) -> bool:
    """One sequence of the model without a chain: invariants after each action."""
    rng = Random(f"sequence {plan.seed} {index}")
    session = target.start_alone(plan.seed, index)
    tally.sequences += 1
    history: list[str] = []
    for step in range(1, plan.actions + 1):
        action = session.propose(rng)
        outcome = session.on_model(action)
        tally.actions += 1
        tally.action_kinds[f"{action.kind}:{'ok' if outcome.ok else 'revert'}"] += 1
        if not outcome.ok:
            tally.events[f"revert:{outcome.error}"] += 1
        tally.events.update(session.counted(action, outcome))
        history.append(f"{step:3d}. {action.describe()} -> {outcome.error or 'ok'}")
        broken = [Mismatch("invariant", "holds", line) for line in session.invariants()]
        if broken:
            tally.mismatches += len(broken)
            again = (
                f"{target.command} --profile model --seed {plan.seed} --only-sequence {index}"
                f" --actions {plan.actions}"
            )
            tally.counterexamples.append(
                Counterexample(
                    "sequence", plan.seed, index, step, history[-1], broken, again, history
                )
            )
            return False
    return True


# ── worker processes ─────────────────────────────────────────────────────────────────────────────


def run(
    factory: Callable[[], AnyTarget],
    plan: Plan,
    progress: Callable[[Tally, int, int], None] | None = None,
) -> Tally:
    """Run the whole plan; ``progress(tally, tasks done, tasks)`` is called after each task."""
    tasks = plan.tasks()
    total = Tally()
    if plan.workers <= 1 or len(tasks) == 1:
        target = factory()
        open_for(target, plan)
        try:
            for done, task in enumerate(tasks, 1):
                total.merge(run_task(target, plan, task))
                if progress:
                    progress(total, done, len(tasks))
        finally:
            target.close()
        return total
    for done, tally in enumerate(_in_processes(factory, plan, tasks), 1):
        total.merge(tally)
        if progress:
            progress(total, done, len(tasks))
    return total


def open_for(target: AnyTarget, plan: Plan) -> None:
    """With a chain, or without where the plan does not need one."""
    if plan.alone:
        target.open_alone()
    else:
        target.open()


def run_task(target: AnyTarget, plan: Plan, task: tuple[str, list[int]]) -> Tally:
    """One task of a plan on an open target."""
    tally = Tally()
    kind, indices = task
    for index in indices:
        if kind == "case":
            run_case(target, plan.seed, index, tally)
        elif kind == "alone":
            run_alone(target, plan, index, tally)
        else:
            run_sequence(target, plan, index, tally)
    return tally


def _in_processes(
    factory: Callable[[], AnyTarget], plan: Plan, tasks: list[tuple[str, list[int]]]
) -> Iterable[Tally]:
    context = multiprocessing.get_context("spawn")
    todo: Any = context.Queue()
    results: Any = context.Queue()
    for task in tasks:
        todo.put(task)
    workers = [
        context.Process(target=_worker, args=(factory, plan, todo, results), daemon=False)
        for _ in range(min(plan.workers, len(tasks)))
    ]
    for worker in workers:
        todo.put(None)
        worker.start()
    try:
        for _ in tasks:
            kind, payload = _next_result(results, workers)
            if kind == "failed":
                raise WorkerFailed(payload)
            if kind == "refused":
                raise TargetRefused(payload)
            yield payload
    finally:
        while True:  # nothing more to start: lets every worker leave through its own clean-up
            try:
                todo.get_nowait()
            except queue.Empty:
                break
        for _ in workers:
            todo.put(None)
        for worker in workers:
            worker.join(timeout=30)
            if worker.is_alive():
                worker.terminate()


def _next_result(results: Any, workers: list[Any]) -> tuple[str, Any]:
    deadline = time.monotonic() + WORKER_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            item: tuple[str, Any] = results.get(timeout=1)
            return item
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers):
                return "failed", "every worker ended before the work was done"
    return "failed", f"no worker reported for {WORKER_TIMEOUT_SECONDS} s"


def _worker(factory: Callable[[], AnyTarget], plan: Plan, todo: Any, results: Any) -> None:
    target = factory()
    try:
        open_for(target, plan)
        try:
            while (task := todo.get()) is not None:
                results.put(("done", run_task(target, plan, task)))
        finally:
            target.close()
    except PlumblineError as error:
        results.put(("refused", str(error)))
    except BaseException:
        results.put(("failed", traceback.format_exc()))
