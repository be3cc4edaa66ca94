"""Stages: only the contracts can be killed, our own exceptions kill nobody."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from risk.chain.compile import Artifact
from risk.errors import ChainError, NodeError, RevertError
from risk.mutate.config import Stage
from risk.mutate.errors import ConfigError, Disagreement
from risk.mutate.pytest_stage import PytestStage, blames_contracts
from risk.mutate.stages import (
    CommandStage,
    DifferentialStage,
    Judgement,
    SharedTarget,
    Version,
    resolve,
)
from tests.mutate.conftest import BANK, write_bank

FILE = "src/Bank.sol"


class FakeTarget:
    """Case i of the chain says what ``script[i]`` is, or raises it; the model says 7."""

    name = "fake"
    command = "fake"
    script: tuple[Any, ...] = ()
    opened = 0
    closed = 0

    def __init__(self, artifacts: Mapping[str, Artifact]) -> None:
        del artifacts

    def install(self, artifacts: Mapping[str, Artifact]) -> None:
        """Nothing."""

    def open(self) -> None:
        """Counts."""
        type(self).opened += 1

    def close(self) -> None:
        """Counts."""
        type(self).closed += 1

    def make_case(self, seed: int, index: int) -> Any:
        """The index."""
        del seed
        return _Case(index)

    def case_on_model(self, case: Any) -> dict[str, int]:
        """Seven."""
        del case
        return {"value": 7}

    def case_on_chain(self, case: Any) -> dict[str, int]:
        """By the script."""
        item = self.script[case.index]
        if isinstance(item, BaseException):
            raise item
        return {"value": item}

    def case_events(self, model: Any) -> tuple[str, ...]:
        """None."""
        del model
        return ()


class _Case:
    tags: frozenset[str] = frozenset()

    def __init__(self, index: int) -> None:
        self.index = index

    def describe(self) -> list[str]:
        """Nothing to say."""
        return []


def _judge(monkeypatch: pytest.MonkeyPatch, *script: Any) -> Judgement:
    monkeypatch.setattr(FakeTarget, "script", script)
    monkeypatch.setattr(FakeTarget, "opened", 0)
    monkeypatch.setattr(FakeTarget, "closed", 0)
    name = f"{__name__}:FakeTarget"
    monkeypatch.setitem(sys.modules, __name__, sys.modules[FakeTarget.__module__])
    stage = Stage(name="cases", kind="cases", target=name, count=len(script))
    runner = DifferentialStage(stage, SharedTarget(name, {}))
    return runner.judge(Version(1, {}))


def test_agreement_lets_live(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _judge(monkeypatch, 7, 7).verdict == "survived"
    assert FakeTarget.opened == 1  # once a version, not once a case


def test_another_value_kills_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _judge(monkeypatch, 7, 8)
    assert found.verdict == "killed"
    assert "case 1: value: model 7 (0x7), chain 8 (0x8)" in found.evidence


@pytest.mark.parametrize(
    "error",
    [
        ChainError("deployment of Bank reverted"),
        Disagreement("set-up step list: chain Panic"),
        RevertError("eth_call", 3, "execution reverted", b""),
    ],
)
def test_a_revert_of_the_contracts_kills(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    assert _judge(monkeypatch, error).verdict == "killed"


@pytest.mark.parametrize("error", [KeyError("slot"), ValueError("no"), NodeError("it died")])
def test_our_own_exception_kills_nobody(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    found = _judge(monkeypatch, error)
    assert found.verdict == "error"
    assert type(error).__name__ in found.evidence


def test_after_our_exception_the_next_case_may_still_kill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _judge(monkeypatch, KeyError("slot"), 9).verdict == "killed"
    assert _judge(monkeypatch, KeyError("slot"), 7).verdict == "error"


def test_a_node_that_died_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    once = iter([NodeError("it died")])

    def on_chain(self: FakeTarget, case: Any) -> dict[str, int]:
        for error in once:
            raise error
        return {"value": self.script[case.index]}

    monkeypatch.setattr(FakeTarget, "case_on_chain", on_chain)
    assert _judge(monkeypatch, 7, 7).verdict == "survived"
    assert (FakeTarget.opened, FakeTarget.closed) == (2, 1)


def test_a_stage_that_cannot_be_imported() -> None:
    with pytest.raises(ConfigError, match="nowhere:Target cannot be imported"):
        resolve("nowhere:Target")


# ── any command ──────────────────────────────────────────────────────────────────────────────────


def _command(root: Path, code: str, seconds: float = 20, text: str = BANK) -> Judgement:
    program = (sys.executable, "-c", code)
    stage = Stage(name="own", kind="command", command=program, seconds=seconds)
    runner = CommandStage(stage, root, ("src",))
    try:
        return runner.judge(Version(1, {}, FILE, text))
    finally:
        runner.close()


LOOK = "import pathlib, sys; sys.exit('FEE = 31' in pathlib.Path('src/Bank.sol').read_text())"


def test_a_command_sees_the_mutant_and_the_project_does_not(tmp_path: Path) -> None:
    root = write_bank(tmp_path)
    changed = BANK.replace("FEE = 30", "FEE = 31")
    assert _command(root, LOOK).verdict == "survived"
    assert _command(root, LOOK, text=changed).verdict == "killed"
    assert (root / FILE).read_text() == BANK


def test_a_command_that_crashes_kills_nobody(tmp_path: Path) -> None:
    found = _command(write_bank(tmp_path), "import sys; print('no node'); sys.exit(3)")
    assert found == Judgement("error", "exit code 3: no node")


def test_a_command_that_hangs_is_timed_out(tmp_path: Path) -> None:
    found = _command(write_bank(tmp_path), "import time; time.sleep(60)", seconds=0.5)
    assert found.verdict == "timed out"


# ── pytest ───────────────────────────────────────────────────────────────────────────────────────

TESTS = """
import pytest
from risk.errors import ChainError, RpcError, RevertError

ARTIFACTS = {}

def test_fine():
    assert True

def test_value():
    assert 1 == 2

def test_crash():
    {}["missing"]

def test_no_revert():
    with pytest.raises(RevertError):
        pass

def test_skipped():
    pytest.skip("not here")

def test_hangs():
    import time
    time.sleep(60)

def test_rpc():
    raise RpcError("eth_call", 1, "who knows")
"""


def _write_tests(root: Path) -> None:
    """Brownie's plugin, which only its own tests need, takes seconds to start."""
    (root / "test_it.py").write_text(TESTS)
    (root / "pytest.ini").write_text("[pytest]\naddopts = -p no:pytest-brownie\n")


def _pytest(root: Path, *names: str, seconds: float = 60, skip: tuple[str, ...] = ()) -> Judgement:
    _write_tests(root)
    files = tuple(f"test_it.py::{name}" for name in names)
    stage = Stage(name="tests", kind="pytest", files=files, seconds=seconds)
    runner = PytestStage(stage, root)
    runner.skip = frozenset(f"test_it.py::{name}" for name in skip)
    return runner.judge(Version(1, {}))


@pytest.mark.parametrize(
    ("names", "verdict"),
    [
        (("test_fine", "test_skipped"), "survived"),
        (("test_fine", "test_value"), "killed"),
        (("test_no_revert",), "killed"),
        (("test_crash", "test_fine"), "error"),
        (("test_rpc",), "error"),
        (("test_crash", "test_value"), "killed"),
    ],
)
def test_whose_fault_a_failing_test_is(
    tmp_path: Path, names: tuple[str, ...], verdict: str
) -> None:
    found = _pytest(tmp_path, *names)
    assert found.verdict == verdict, found
    if verdict != "survived":
        assert "test_it.py::" in found.evidence


def test_tests_that_fail_anyway_are_not_asked(tmp_path: Path) -> None:
    assert _pytest(tmp_path, "test_fine", "test_value", skip=("test_value",)).verdict == "survived"


def test_a_test_that_hangs_is_timed_out(tmp_path: Path) -> None:
    assert _pytest(tmp_path, "test_hangs", seconds=4).verdict == "timed out"


def test_the_baseline_names_what_fails(tmp_path: Path) -> None:
    _write_tests(tmp_path)
    files = ("test_it.py::test_fine", "test_it.py::test_value", "test_it.py::test_crash")
    runner = PytestStage(Stage(name="tests", kind="pytest", files=files), tmp_path)
    failing, ran = runner.failing(Version(0, {}))
    assert sorted(failing) == ["test_it.py::test_crash", "test_it.py::test_value"]
    assert ran == 3


def test_groups_of_exceptions() -> None:
    class Several(Exception):
        exceptions = (KeyError("x"), AssertionError("y"))

    assert blames_contracts(Several())
    assert not blames_contracts(KeyError("x"))
    assert not blames_contracts(NodeError("gone"))
