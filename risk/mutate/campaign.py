"""The campaign: mutants in their order over worker processes, until enough of them count."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from risk.files import write_text
from risk.mutate import journal
from risk.mutate.compiler import Project, Solc, mutable, open_project
from risk.mutate.config import Config, Stage, matches
from risk.mutate.errors import BaselineError, MutateError
from risk.mutate.journal import Entry
from risk.mutate.mutant import Mutant
from risk.mutate.operators import mutants_of
from risk.mutate.sample import ordered
from risk.mutate.source import Source
from risk.mutate.worker import Verdict, work

WORKER_FAILURES = 3  # of one after the other: then the tool is broken, and the run ends


@dataclass
class Worker:
    """One process and what it is doing."""

    process: SpawnProcess
    pipe: Connection
    job: Any = None
    doing: str = "start"
    deadline: float = 0.0
    began: float = 0.0
    ready: bool = False


@dataclass
class Pool:
    """Workers that are replaced when they die or must be killed."""

    root: Path
    config: Config
    size: int
    skips: dict[str, list[str]] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    failures: int = 0

    def start(self) -> None:
        """The processes; they report when they are ready."""
        while len(self.workers) < self.size:
            self.workers.append(self._new())

    def _new(self) -> Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=work, args=(theirs, self.root, self.config, self.skips), daemon=False
        )
        process.start()
        theirs.close()
        return Worker(process, ours, deadline=time.monotonic() + 600)

    def replace(self, worker: Worker) -> None:
        """Kills a worker and starts another in its place."""
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        self.workers[self.workers.index(worker)] = self._new()

    def stop(self) -> None:
        """Ends all workers."""
        for worker in self.workers:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
        self.workers.clear()

    def run(
        self,
        jobs: Callable[[], Any],
        done: Callable[[Any, Any], None],
        same: Callable[[Any, str], str] | None = None,
    ) -> None:
        """``jobs()`` gives the next job or None (for now); ``done(job, result)`` is told of each.
        ``same(job, fingerprint)`` answers "go" or the id of the mutant that had this code first.
        """
        self.start()
        while True:
            for worker in self.workers:
                if worker.ready and worker.job is None and (job := jobs()) is not None:
                    worker.job, worker.began = job, time.monotonic()
                    worker.pipe.send(job)
            if any(w.ready for w in self.workers) and not any(w.job for w in self.workers):
                return  # somebody is idle, so there was no job for him
            pipes = {w.pipe: w for w in self.workers}
            for pipe in wait(list(pipes), timeout=1.0):
                self._hear(pipes[pipe], done, same)  # type: ignore[index]
            for worker in list(self.workers):
                if worker.job is not None and time.monotonic() > worker.deadline:
                    seconds = round(time.monotonic() - worker.began, 2)
                    job, doing = worker.job, worker.doing
                    self.replace(worker)
                    done(job, Verdict("timed out", doing, "the worker had to be killed", seconds))

    def _hear(
        self,
        worker: Worker,
        done: Callable[[Any, Any], None],
        same: Callable[[Any, str], str] | None,
    ) -> None:
        try:
            kind, *payload = worker.pipe.recv()
        except (EOFError, OSError):
            kind, payload = "failed", ["the worker ended without a word"]
        if kind == "doing":
            worker.doing, seconds = payload
            worker.deadline = time.monotonic() + seconds
        elif kind == "ready":
            worker.ready = True
        elif kind == "code":
            worker.pipe.send(same(worker.job, payload[0]) if same else "go")
        elif kind == "done":
            job, worker.job = worker.job, None
            self.failures = 0
            done(job, payload[0])
        else:
            self._failed(worker, str(payload[0]), done)

    def _failed(self, worker: Worker, text: str, done: Callable[[Any, Any], None]) -> None:
        self.failures += 1
        job, doing, began = worker.job, worker.doing, worker.began
        if self.failures >= WORKER_FAILURES or job is None:
            raise MutateError(f"a worker failed while doing {doing}: {text}")
        self.replace(worker)
        last = text.strip().splitlines()[-1]
        done(job, Verdict("error", doing, last, round(time.monotonic() - began, 2)))


# ── baseline ─────────────────────────────────────────────────────────────────────────────────────


def check_stages(pool: Pool, project: Project, say: Callable[[str], None]) -> None:
    """Every stage must let the contracts live as they are.  Tests that fail on them (gas, code
    size) are left out, and named.  Answers are kept below ``build/mutation``.
    """
    todo: list[tuple[Stage, Path]] = []
    skips: dict[str, list[str]] = {}
    for stage in pool.config.stage:
        path = project.root / "build" / "mutation" / f"check-{_stage_hash(project, stage)}.json"
        try:
            skips[stage.name] = json.loads(path.read_text())["failing"]
        except (OSError, ValueError, KeyError):
            todo.append((stage, path))
    waiting = iter({path: (stage, path) for stage, path in todo}.values())  # each run once
    paths = {stage.name: path for stage, path in todo}

    def next_job() -> Any:
        stage = next(waiting, None)
        return None if stage is None else ("check", stage[0].name)

    def done(job: Any, result: Any) -> None:
        name = job[1]
        if isinstance(result, Verdict):
            raise BaselineError(f"stage {name}: {result.verdict}: {result.evidence}")
        if result["wrong"]:
            raise BaselineError(f"stage {name} finds a fault without a mutant: {result['wrong']}")
        for stage, path in todo:
            if path == paths[name]:
                skips[stage.name] = result["failing"]
        write_text(paths[name], json.dumps(result, indent=1) + "\n")
        say(f"stage {name} is sound; {len(result['failing'])} tests left out")

    if todo:
        pool.run(next_job, done)
    pool.skips = skips
    for worker in pool.workers:
        worker.pipe.send(("skip", skips))


def _stage_hash(project: Project, stage: Stage) -> str:
    """Changes with what the stage runs, the contracts, and the test files."""
    where = {"name", "paths", "except_paths", "seconds"}
    parts = [project.digest, stage.model_dump_json(exclude=where)]
    for name in stage.files:
        path = project.root / name
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        parts += [
            f"{f.relative_to(project.root)}:{hashlib.sha256(f.read_bytes()).hexdigest()}"
            for f in files
        ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


# ── mutants ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Options:
    """What a run is asked for.

    Args:
        seed: of the order of the mutants.
        count: mutants that count, that is, neither stillborn nor equivalent nor a duplicate.
        paths: only these files (patterns), besides the scope of the configuration.
        workers: processes, each with a compiler and a node.
        again: verdicts that are asked once more (survivors, when tests were added).
        only: ids of mutants; nothing else is run then.
    """

    seed: int = 1
    count: int = 420
    paths: tuple[str, ...] = ()
    workers: int = 2
    again: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()


def generate(root: Path, config: Config, paths: Iterable[str] = ()) -> tuple[Project, list[Mutant]]:
    """The project and every mutant in scope."""
    chosen = tuple(paths)
    with Solc(root / config.compile.soljson) as solc:
        project = open_project(root, config, solc)
        files = [n for n in project.own if config.in_scope(n)]
        files = [n for n in files if not chosen or matches(n, chosen)]
        if not files:
            raise MutateError("no file is in scope")
        trees = project.trees(solc, files)
    found: list[Mutant] = []
    for name in mutable(project, config, trees) if not chosen else files:
        found += mutants_of(Source(name, project.sources[name].encode()), trees[name])
    return project, found


class Campaign:
    """Gives out the mutants in their order; stops when ``count`` of them count."""

    def __init__(
        self,
        project: Project,
        mutants: list[Mutant],
        options: Options,
        path: Path,
        say: Callable[[Entry, Campaign], None],
    ) -> None:
        self.project, self.options, self.path, self.say = project, options, path, say
        known = journal.valid(journal.read(path), project.sources)
        self.entries = {e.mutant.id: e for e in known if e.verdict not in options.again}
        everything = ordered(mutants, options.seed)
        if options.only:
            everything = [m for m in everything if m.id in options.only]
            for mutant in everything:
                self.entries.pop(mutant.id, None)
        self.order = everything
        self.resumed = sum(m.id in self.entries for m in everything)
        self.codes: dict[tuple[str, str], str] = {
            (e.mutant.file, e.code): e.mutant.id
            for e in self.entries.values()
            if e.code and e.verdict != "duplicate"
        }
        self._next = 0
        self._counted = 0
        self._running = 0

    def job(self) -> Any:
        """The next mutant without a verdict; None where enough count or are being judged."""
        while self._next < len(self.order):
            if self._counted + self._running >= self.options.count and not self.options.only:
                return None
            mutant = self.order[self._next]
            self._next += 1
            if mutant.id in self.entries:
                self._counted += self.entries[mutant.id].counts
                continue
            self._running += 1
            return ("mutant", mutant)
        return None

    def same(self, job: Any, code: str) -> str:
        """Mutants of one file with the same code are one mutant."""
        mutant: Mutant = job[1]
        first = self.codes.setdefault((mutant.file, code), mutant.id)
        return "go" if first == mutant.id else first

    def done(self, job: Any, verdict: Verdict) -> None:
        """Keeps the verdict."""
        mutant: Mutant = job[1]
        item = journal.entry(mutant, verdict, self.project.sources[mutant.file])
        self._running -= 1
        self._counted += item.counts
        self.entries[mutant.id] = item
        journal.append(self.path, item)
        self.say(item, self)

    @property
    def counted(self) -> int:
        """Mutants that count so far."""
        return self._counted

    def sample(self) -> list[Entry]:
        """Verdicts in the order of the sample: the shortest beginning in which ``count`` count."""
        out: list[Entry] = []
        counted = 0
        for mutant in self.order:
            if mutant.id in self.entries:
                out.append(self.entries[mutant.id])
                counted += out[-1].counts
            if counted >= self.options.count and not self.options.only:
                break
        return out


def run_campaign(
    root: Path,
    config: Config,
    options: Options,
    path: Path,
    say: Callable[[Entry, Campaign], None],
    note: Callable[[str], None],
) -> Campaign:
    """Generates, checks the stages, judges.  Whatever ends it, what was judged is kept."""
    project, mutants = generate(root, config, options.paths)
    note(f"{len(mutants):,} mutants in {len({m.file for m in mutants})} files")
    campaign = Campaign(project, mutants, options, path, say)
    if campaign.resumed:
        note(f"{campaign.resumed} verdicts from before")
    pool = Pool(root, config, options.workers)
    try:
        check_stages(pool, project, note)
        pool.run(campaign.job, campaign.done, campaign.same)
    finally:
        pool.stop()
    return campaign
