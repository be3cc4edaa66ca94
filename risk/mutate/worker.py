"""One worker process: a warm compiler, warm stages, one mutant after the other.

Messages to the parent are tuples: ("doing", what, seconds allowed), ("code", fingerprint), which
waits for "go" or the id of a mutant with the same code, ("done", result) and ("failed", text).
"""

from __future__ import annotations

import itertools
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from risk.errors import CompileError, PlumblineError
from risk.mutate.compiler import (
    Solc,
    artifacts_of,
    code_of,
    deployable,
    deployed_code,
    fingerprint,
    open_project,
    with_code,
)
from risk.mutate.config import Config, Stage
from risk.mutate.mutant import Mutant
from risk.mutate.pytest_stage import PytestStage, die_with_parent
from risk.mutate.stages import (
    ERROR,
    KILLED,
    SURVIVED,
    TIMED_OUT,
    CommandStage,
    DifferentialStage,
    Judgement,
    Runner,
    SharedTarget,
    Version,
)

COMPILE_SECONDS = 180.0
GRACE_SECONDS = 15.0  # of the parent, beyond the limit of a stage


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant."""

    verdict: str
    stage: str
    evidence: str
    seconds: float
    code: str = ""  # fingerprint


class Workshop:
    """Everything a worker keeps between mutants."""

    def __init__(self, root: Path, config: Config, skips: dict[str, list[str]]) -> None:
        self.config = config
        self.solc = Solc(root / config.compile.soljson)
        self.project = open_project(root, config, self.solc)
        self.artifacts = artifacts_of(self.project, self.solc)
        self.contracts = deployable(self.project, self.artifacts)
        self.plain = {name: code_of(self.artifacts[name[1]]) for name in self.contracts}
        self.optimised: dict[tuple[str, str], dict[str, Any]] = {}
        self.numbers = itertools.count(1)
        self.shared: dict[str, SharedTarget] = {}
        self.runners = {stage.name: self._runner(root, stage) for stage in config.stage}
        self.skip(skips)
        self.original = Version(0, self.artifacts)

    def skip(self, skips: dict[str, list[str]]) -> None:
        """Tests that fail without any mutant, by stage."""
        for name, tests in skips.items():
            runner = self.runners.get(name)
            if isinstance(runner, PytestStage):
                runner.skip = frozenset(tests)

    def _runner(self, root: Path, stage: Stage) -> Runner:
        if stage.kind == "pytest":
            return PytestStage(stage, root)
        if stage.kind == "command":
            return CommandStage(stage, root, self.config.compile.folders)
        if stage.target not in self.shared:
            self.shared[stage.target] = SharedTarget(stage.target, self.artifacts)
        return DifferentialStage(stage, self.shared[stage.target])

    def close(self) -> None:
        """Ends compiler and nodes."""
        self.solc.close()
        for runner in self.runners.values():
            runner.close()

    # ── one mutant ───────────────────────────────────────────────────────────────────────────────

    def judge(self, mutant: Mutant, parent: Connection) -> Verdict:
        """Compiles the mutant and puts it through the stages."""
        started = time.monotonic()

        print_ = ""

        def verdict(name: str, stage: str, evidence: str = "") -> Verdict:
            return Verdict(name, stage, evidence, round(time.monotonic() - started, 2), print_)

        parent.send(("doing", "compile", COMPILE_SECONDS))
        source = self.project.sources[mutant.file].encode()
        text = mutant.apply(source).decode()
        affected = self.project.importers(mutant.file, self.contracts)
        try:
            code = self.project.code(self.solc, affected, {mutant.file: text})
        except CompileError as error:
            return verdict("stillborn", "compile", _first_line(error))
        print_ = fingerprint(code)
        if print_ == fingerprint({name: self.plain[name] for name in code}):
            return verdict("equivalent", "compile", "the same code")
        parent.send(("code", print_))
        twin = parent.recv()
        if twin != "go":
            return verdict("duplicate", "compile", f"the same code as {twin}")
        artifacts = with_code(self.artifacts, code)
        version = Version(next(self.numbers), artifacts, mutant.file, text)
        trouble: tuple[str, str] | None = None
        for stage in self.config.stage:
            if not stage.applies(mutant.file):
                continue
            parent.send(("doing", stage.name, stage.seconds + GRACE_SECONDS))
            judgement = self.runners[stage.name].judge(version)
            if judgement.verdict in (KILLED, TIMED_OUT):
                return verdict(judgement.verdict, stage.name, judgement.evidence)
            if judgement.verdict == ERROR:
                trouble = trouble or (stage.name, judgement.evidence)
        parent.send(("doing", "compile", COMPILE_SECONDS))
        if self._same_when_deployed(mutant, affected, text):
            return verdict("equivalent", "optimised", "the same code once it is optimised")
        if trouble:
            return verdict(ERROR, *trouble)
        return verdict(SURVIVED, "")

    def _same_when_deployed(
        self, mutant: Mutant, affected: list[tuple[str, str]], text: str
    ) -> bool:
        if not self.optimised:
            self.optimised = deployed_code(self.project, self.solc, self.contracts)
        code = self.project.code(self.solc, affected, {mutant.file: text}, deployed=True)
        return fingerprint(code) == fingerprint({name: self.optimised[name] for name in code})

    # ── no mutant ────────────────────────────────────────────────────────────────────────────────

    def check(self, name: str) -> dict[str, Any]:
        """What a stage says of the contracts as they are: ``failing`` tests to leave out, or
        ``wrong`` where it finds a fault that is not there.
        """
        runner = self.runners[name]
        if isinstance(runner, PytestStage):
            failing, ran = runner.failing(self.original)
            wrong = "every test fails" if len(failing) >= ran else ""
            return {"failing": sorted(failing), "wrong": wrong, "ran": ran}
        found: Judgement = runner.judge(self.original)
        wrong = "" if found.verdict == SURVIVED else f"{found.verdict}: {found.evidence}"
        return {"failing": [], "wrong": wrong, "ran": 0}


def _first_line(error: CompileError) -> str:
    lines = [line for line in error.messages[0].splitlines() if line.strip()]
    return lines[0].strip() if lines else "solc refuses it"


def work(parent: Connection, root: Path, config: Config, skips: dict[str, list[str]]) -> None:
    """Body of a worker process; ends on None."""
    die_with_parent()
    workshop: Workshop | None = None
    try:
        parent.send(("doing", "start", COMPILE_SECONDS))
        workshop = Workshop(root, config, skips)
        parent.send(("ready", None))
        while (job := parent.recv()) is not None:
            kind, payload = job
            if kind == "check":
                limit = next(s.seconds for s in config.stage if s.name == payload)
                parent.send(("doing", payload, limit + GRACE_SECONDS))
                parent.send(("done", workshop.check(payload)))
            elif kind == "skip":
                workshop.skip(payload)
            else:
                parent.send(("done", workshop.judge(payload, parent)))
    except (EOFError, KeyboardInterrupt):
        pass
    except PlumblineError as error:
        parent.send(("failed", str(error)))
    except Exception:
        parent.send(("failed", traceback.format_exc()))
    finally:
        if workshop is not None:
            workshop.close()
