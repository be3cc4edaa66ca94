"""Test files as a kill stage: pytest in a fork of the warm worker, so that nobody pays the start of
an interpreter and its imports again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from risk.errors import ChainError, RevertError
from risk.mutate.config import Stage
from risk.mutate.stages import ERROR, KILLED, SURVIVED, TIMED_OUT, Judgement, Version, resolve


@dataclass
class Judge:
    """A pytest plugin: which tests fail, and whether the contracts are to blame.  Stops at the
    first failure that is theirs, unless ``everything``.
    """

    skip: frozenset[str] = frozenset()
    everything: bool = False
    failed: list[str] = field(default_factory=list)
    verdict: str = SURVIVED
    evidence: str = ""
    ran: int = 0

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        """Tests that fail without any mutant are not asked."""
        out = [item for item in items if item.nodeid in self.skip]
        if out:
            config.hook.pytest_deselected(items=out)
            items[:] = [item for item in items if item.nodeid not in self.skip]

    def pytest_collectreport(self, report: Any) -> None:
        """A test file that cannot be imported is our fault."""
        if report.failed:
            self._note(ERROR, f"{report.nodeid}: {report.longreprtext[-300:]}")

    def pytest_runtest_makereport(self, item: Any, call: Any) -> None:
        """The exception of a test, of its fixtures included."""
        if call.when == "call":
            self.ran += 1
        if call.excinfo is None or _skipped(call.excinfo.value):
            return
        self.failed.append(item.nodeid)
        error = call.excinfo.value
        verdict = KILLED if blames_contracts(error) else ERROR
        text = " ".join(str(error).split())[:300]
        self._note(verdict, f"{item.nodeid}: {type(error).__name__}: {text}")
        if verdict == KILLED and not self.everything:
            item.session.shouldstop = "killed"

    def _note(self, verdict: str, evidence: str) -> None:
        if self.verdict == SURVIVED or (self.verdict == ERROR and verdict == KILLED):
            self.verdict, self.evidence = verdict, evidence


def _skipped(error: BaseException) -> bool:
    return type(error).__name__ in ("Skipped", "XFailed")


def blames_contracts(error: BaseException) -> bool:
    """A failed assertion, a missing or unexpected revert.  Everything else is a crash of ours."""
    inner: Iterable[BaseException] = getattr(error, "exceptions", ())
    if any(blames_contracts(e) for e in inner):
        return True
    if isinstance(error, (AssertionError, RevertError)) or type(error) is ChainError:
        return True
    return type(error).__name__ in ("Failed", "MultipleFailures")


class PytestStage:
    """``stage.files`` against a version of the contracts."""

    def __init__(self, stage: Stage, root: Path) -> None:
        if not hasattr(os, "fork"):
            raise ChainError("stages of kind pytest need fork(); use kind command here")
        self.stage, self.root = stage, root
        self.install = resolve(stage.artifacts) if stage.artifacts else None
        self.skip: frozenset[str] = frozenset()
        _libraries()

    def judge(self, version: Version) -> Judgement:
        """See the module."""
        answer = self._fork(version, Judge(self.skip))
        return Judgement(answer["verdict"], answer["evidence"])

    def failing(self, version: Version) -> tuple[Collection[str], int]:
        """Tests that fail with this version whatever the reason, and how many ran."""
        answer = self._fork(version, Judge(everything=True))
        if not answer.get("ran") or (answer["verdict"] != SURVIVED and not answer["failed"]):
            raise ChainError(f"stage {self.stage.name}: {answer['evidence'] or 'no test ran'}")
        return answer["failed"], answer["ran"]

    def _fork(self, version: Version, judge: Judge) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="plumbline-tests-") as folder:
            result, log = Path(folder) / "result.json", Path(folder) / "log"
            child = os.fork()
            if child == 0:
                self._child(version, judge, result, log)
            try:
                done = _wait(child, time.monotonic() + self.stage.seconds)
            except BaseException:
                os.kill(child, signal.SIGKILL)
                raise
            if not done:
                return {"verdict": TIMED_OUT, "evidence": f"after {self.stage.seconds:g} s"}
            try:
                answer: dict[str, Any] = json.loads(result.read_text())
            except (OSError, ValueError):
                tail = log.read_text(errors="replace")[-400:] if log.exists() else ""
                return {"verdict": ERROR, "evidence": f"pytest ended early: {tail}", "ran": 0}
            return answer

    def _child(self, version: Version, judge: Judge, result: Path, log: Path) -> None:
        """In the fork; does not return.  ``os._exit`` leaves the parent's node and files alone."""
        try:
            die_with_parent()
            os.chdir(self.root)
            with log.open("wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            if self.install is not None:
                self.install(version.artifacts)
            _run(self.stage.files, judge)
            text = {
                "verdict": judge.verdict,
                "evidence": judge.evidence,
                "failed": judge.failed,
                "ran": judge.ran,
            }
            result.write_text(json.dumps(text))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)

    def close(self) -> None:
        """Nothing is kept."""


def _run(files: tuple[str, ...], judge: Judge) -> None:
    hypothesis, pytest = _libraries()
    # no examples of mutants in the database of the project; the same examples for every mutant
    hypothesis.settings.register_profile("mutate", database=None, derandomize=True, deadline=None)
    hypothesis.settings.load_profile("mutate")
    sys.argv = ["pytest"]
    options = ["-q", "--tb=short", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
    pytest.main([*options, *files], plugins=[judge])


def _libraries() -> tuple[Any, Any]:
    """Imported once, before the first fork, and not where no stage needs them."""
    import hypothesis
    import pytest

    return hypothesis, pytest


def _wait(child: int, deadline: float) -> bool:
    """False if it had to be killed."""
    pause = 0.01
    while True:
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies; nothing elsewhere."""
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
