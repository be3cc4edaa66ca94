"""Kill stages that run inside the worker: cases and sequences of a differential target, and any
command in a copy of the project.

A stage says *killed* only where the contracts were seen to misbehave: another value, another
revert, a deployment that reverts.  An exception of our own code is *error*, never a kill.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from risk.chain.compile import Artifact
from risk.diff.adapter import Counterexample, Target
from risk.diff.compare import show
from risk.diff.coverage import Tally
from risk.diff.runner import Plan, run_case, run_sequence
from risk.errors import ChainError, RevertError
from risk.mutate.config import Stage
from risk.mutate.errors import ConfigError, Disagreement

KILLED, SURVIVED, ERROR, TIMED_OUT = "killed", "survived", "error", "timed out"


@dataclass(frozen=True)
class Judgement:
    """What one stage says of one version of the contracts, and why."""

    verdict: str
    evidence: str = ""


@dataclass(frozen=True)
class Version:
    """One version of the contracts: the project's, or with one mutant."""

    number: int  # another number for every version of a worker
    artifacts: Mapping[str, Artifact]
    file: str = ""  # the mutated file …
    text: str = ""  # … and its text


class VersionTarget(Target, Protocol):
    """A differential target whose contracts can be exchanged: ``open`` may follow ``install``
    any number of times.
    """

    def install(self, artifacts: Mapping[str, Artifact]) -> None:
        """The next ``open`` deploys these."""
        ...


class Runner(Protocol):
    """A stage in a worker."""

    def judge(self, version: Version) -> Judgement:
        """Never raises on what the contracts do."""
        ...

    def close(self) -> None:
        """Ends what the stage has started."""
        ...


def resolve(name: str) -> Callable[..., Any]:
    """``module:attribute``.  Raises ``ConfigError``."""
    module, _, attribute = name.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{name} cannot be imported: {error}") from error
    return found


class SharedTarget:
    """One target for all stages of a worker that name it; opened once a version."""

    def __init__(self, factory: str, artifacts: Mapping[str, Artifact]) -> None:
        self.factory, self.artifacts = factory, artifacts
        self._target: VersionTarget | None = None
        self._number = -1

    def at(self, version: Version) -> VersionTarget:
        """The target with this version deployed."""
        if self._target is None:
            self._target = resolve(self.factory)(self.artifacts)
        assert self._target is not None
        if self._number != version.number:
            self._number = -1
            self._target.install(version.artifacts)
            self._target.open()
            self._number = version.number
        return self._target

    def close(self) -> None:
        """Stops the node; the next version starts another."""
        target, self._target, self._number = self._target, None, -1
        if target is not None:
            target.close()


class DifferentialStage:
    """Cases or sequences, one after the other, until one disagrees."""

    def __init__(self, stage: Stage, shared: SharedTarget) -> None:
        self.stage, self.shared = stage, shared
        self.plan = Plan(stage.seed, 0, 0, stage.actions, 1)

    def judge(self, version: Version) -> Judgement:
        """See the module.  A node in trouble, which a busy machine is enough for, is replaced and
        asked once more.
        """
        trouble = ""
        for index in range(self.stage.first, self.stage.first + self.stage.count):
            found = self._judge_one(version, index)
            if found.verdict == ERROR:
                self.shared.close()
                found = self._judge_one(version, index)
            if found.verdict == KILLED:
                return found
            trouble = trouble or found.evidence  # another case may still show the fault
        return Judgement(ERROR, trouble) if trouble else Judgement(SURVIVED)

    def _judge_one(self, version: Version, index: int) -> Judgement:
        where = f"{self.stage.kind} {index}"
        try:
            tally = self._one(version, index)
        except (Disagreement, RevertError) as error:
            return Judgement(KILLED, f"{where}: {error}")
        except Exception as error:
            if type(error) is ChainError:  # a deployment or the batch of views reverted
                return Judgement(KILLED, f"{where}: {error}")
            return Judgement(ERROR, f"{where}: {type(error).__name__}: {error}")
        if tally.counterexamples:
            return Judgement(KILLED, _evidence(tally.counterexamples[0]))
        return Judgement(SURVIVED)

    def _one(self, version: Version, index: int) -> Tally:
        target, tally = self.shared.at(version), Tally()
        if self.stage.kind == "cases":
            run_case(target, self.stage.seed, index, tally)
        else:
            run_sequence(target, self.plan, index, tally)
        return tally

    def close(self) -> None:
        """Stops the node."""
        self.shared.close()


def _evidence(found: Counterexample) -> str:
    first = found.mismatches[0]
    step = f", action {found.step}: {found.title}" if found.step else ""
    values = f"model {show(first.model)[:90]}, chain {show(first.chain)[:90]}"
    return f"{found.kind} {found.index}{step}: {first.where}: {values}"


class CommandStage:
    """Any program, in a copy of the project in which only the mutated file differs.  For projects
    that bring their own test command.
    """

    def __init__(self, stage: Stage, root: Path, folders: tuple[str, ...]) -> None:
        self.stage = stage
        self._folder = Path(tempfile.mkdtemp(prefix="plumbline-mutate-"))
        for entry in root.iterdir():
            if entry.name in folders:
                shutil.copytree(entry, self._folder / entry.name)
            elif entry.name not in (".git", "build"):
                (self._folder / entry.name).symlink_to(entry)

    def judge(self, version: Version) -> Judgement:
        """By exit code.  The limit of the stage is kept by the campaign, and here as well: the
        command has its own process group, which must not outlive it.
        """
        path = self._folder / version.file if version.file else None
        kept = path.read_text(encoding="utf-8") if path else ""
        try:
            if path:
                path.write_text(version.text, encoding="utf-8")
            return self._run()
        finally:
            if path:
                path.write_text(kept, encoding="utf-8")

    def _run(self) -> Judgement:
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                self.stage.command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(timeout=self.stage.seconds)
            except subprocess.TimeoutExpired:
                return Judgement(TIMED_OUT, f"after {self.stage.seconds:g} s")
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            log.seek(max(0, log.seek(0, os.SEEK_END) - 400))
            tail = " ".join(log.read().decode("utf-8", "replace").split())
        if code == 0:
            return Judgement(SURVIVED)
        verdict = KILLED if code in self.stage.kill_codes else ERROR
        return Judgement(verdict, f"exit code {code}: {tail}")

    def close(self) -> None:
        """Removes the copy."""
        shutil.rmtree(self._folder, ignore_errors=True)
