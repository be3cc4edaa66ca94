"""Targets with something wrong: each gets a clear message and exit code 2, and nothing hangs."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from risk.chain.compile import Artifact
from risk.cli.diff import Options, diff_command
from risk.diff.coverage import Tally
from risk.diff.kit import target as kit_target
from risk.diff.kit.adapter import Adapter, Refused, Step
from risk.diff.kit.artifacts import from_folder, from_sources
from risk.diff.kit.diagnose import check_deterministic, clock_hint
from risk.diff.kit.errors import (
    AbiMismatch,
    AdapterError,
    ArtifactError,
    DeployFailed,
    DiffError,
    NotDeterministic,
    TargetHung,
    TargetOutOfGas,
)
from risk.diff.kit.load import load_target
from risk.diff.kit.node import NodeEngine
from risk.diff.kit.revm import RevmEngine
from risk.diff.kit.target import AdapterTarget
from risk.diff.runner import Plan, run_sequence
from risk.errors import PlumblineError
from tests.diff import share_pool

FOLDER = Path(__file__).parent / "contracts"
STEP = Step("add", "alice", (3,))


class Model:
    """Counts."""

    def __init__(self) -> None:
        self.now = 0
        self.count = 0

    def add(self, who: str, amount: int) -> tuple[()]:
        del who
        self.count += amount
        return ()


class CounterAdapter(Adapter[Any]):
    """One counter; ``contract`` says which."""

    name = "counter"
    roles = ("alice",)
    kinds = ("add",)

    def __init__(self, contract: str, model: type[Model] = Model, abi: str | None = None) -> None:
        self.contract = contract
        self.abi = abi
        self.make = model

    def artifacts(self) -> Mapping[str, Artifact]:
        return from_sources(FOLDER, ["Bad.sol"], solc="0.8.37")

    def world(self, draw: Any) -> dict[str, Any]:
        del draw
        return {}

    def deploy(self, chain: Any, world: Any) -> None:
        made = chain.deploy(self.contract, name="counter")
        if self.abi:
            chain.attach(self.abi, made.address, name="counter")

    def model(self, chain: Any, world: Any) -> Any:
        return self.make()

    def propose(self, draw: Any, model: Any, world: Any) -> Step:
        return Step("add", "alice", (draw.integer(0, 10**6),), draw.integer(0, 100))

    def call_of(self, chain: Any, step: Step) -> Any:
        return chain["counter"], "add", step.arguments

    def observe_model(self, model: Any) -> Any:
        return {"count": model.count}

    def observe_chain(self, chain: Any) -> Any:
        return {"count": chain.view(chain["counter"], "count")}


def run(adapter: Adapter[Any], engine: Any = None) -> Tally:
    target = AdapterTarget(adapter, engine or RevmEngine())
    target.open()
    try:
        tally = Tally()
        run_sequence(target, Plan(seed=1, actions=5), 0, tally)
        return tally
    finally:
        target.close()


def test_the_good_counter_agrees() -> None:
    tally = run(CounterAdapter("Counter"))
    assert (tally.actions, tally.mismatches) == (5, 0)


def test_missing_artifact() -> None:
    with pytest.raises(ArtifactError, match=r"no artifact 'Ghost'; the build .*: .*Counter"):
        run(CounterAdapter("Ghost"))


def test_missing_build_folder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no build folder .*compile the contracts first"):
        from_folder(tmp_path / "out")
    with pytest.raises(ArtifactError, match="holds no artifact of Foundry"):
        from_folder(tmp_path)


def test_truncated_artifact(tmp_path: Path) -> None:
    (tmp_path / "Counter.json").write_text('{"abi": [')
    with pytest.raises(ArtifactError, match=r"Counter\.json is not readable JSON"):
        from_folder(tmp_path)


def test_missing_source_and_compiler(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no Solidity source .*Nope\.sol"):
        from_sources(tmp_path, ["Nope.sol"], solc="0.8.37")
    (tmp_path / "A.sol").write_text("contract A {}")
    with pytest.raises(ArtifactError, match=r"no solc 0\.1\.2: npm install"):
        from_sources(tmp_path, ["A.sol"], solc="0.1.2")


def test_wrong_abi() -> None:
    with pytest.raises(AbiMismatch, match=r"add\(uint256,address\) does not take"):
        run(CounterAdapter("Counter", abi="OtherAbi"))
    with pytest.raises(AbiMismatch, match=r"counter has no function add; its ABI has: "):
        run(CounterAdapter("Counter", abi="Empty"))


def test_answer_that_does_not_fit_the_abi() -> None:
    with pytest.raises(AbiMismatch, match=r"answered 0 bytes that do not fit its ABI"):
        run(CounterAdapter("OtherAbi", abi="Counter"))


def test_wrong_constructor_arguments() -> None:
    class Wrong(CounterAdapter):
        def deploy(self, chain: Any, world: Any) -> None:
            chain.deploy("Counter", 7)

    with pytest.raises(AbiMismatch, match=r"constructor of Counter takes \(\), not \(7,\)"):
        run(Wrong("Counter"))


@pytest.mark.parametrize("engine", [RevmEngine, NodeEngine])
def test_constructor_that_reverts(engine: Any) -> None:
    with pytest.raises(DeployFailed, match=r"of Stillborn reverted: WrongChain\(31337\)"):
        run(CounterAdapter("Stillborn"), engine())


def test_constructor_that_never_ends() -> None:
    started = time.monotonic()
    with pytest.raises(TargetOutOfGas, match=r"a constructor used up 300,000,000 gas"):
        run(CounterAdapter("EndlessConstructor"))
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("engine", [RevmEngine, NodeEngine])
def test_action_that_never_ends(engine: Any) -> None:
    with pytest.raises(TargetOutOfGas, match=r"counter\.add .* ended with OutOfGas .*30,000,000"):
        run(CounterAdapter("Endless"), engine())


def test_model_that_never_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(Model):
        def add(self, who: str, amount: int) -> tuple[()]:
            for _ in itertools.count():
                pass
            return ()

    monkeypatch.setattr(kit_target, "MODEL_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(TargetHung, match=r"the model of counter, alice\.add\(.*did not return"):
        run(CounterAdapter("Counter", Stuck))
    assert time.monotonic() - started < 10


def test_model_that_raises() -> None:
    class Broken(Model):
        def add(self, who: str, amount: int) -> tuple[()]:
            raise KeyError(who)

    with pytest.raises(AdapterError, match=r"the model of counter failed in alice\.add.*KeyError"):
        run(CounterAdapter("Counter", Broken))


def test_model_that_refuses_with_an_unknown_error() -> None:
    class Strange(Model):
        def add(self, who: str, amount: int) -> tuple[()]:
            raise Refused("NoSuchError", 1)

    with pytest.raises(AdapterError, match=r"NoSuchError is in no ABI"):
        run(CounterAdapter("Counter", Strange))


def test_target_that_is_not_deterministic() -> None:
    draws = itertools.count()

    class Moody(CounterAdapter):
        def deploy(self, chain: Any, world: Any) -> None:
            made = chain.deploy("Counter", name="counter")
            chain.must(made, "add", next(draws))  # for instance the wall clock

    target = AdapterTarget(Moody("Counter"), RevmEngine())
    target.open()
    with pytest.raises(NotDeterministic, match=r"after the set-up, count was 0 .* and 1 .* in the"):
        check_deterministic(target, {}, [STEP])
    target.close()


def test_target_that_reads_the_clock() -> None:
    target = AdapterTarget(CounterAdapter("Clock"), RevmEngine())
    target.open()
    check_deterministic(target, {}, [STEP])  # it is deterministic all the same
    hint = clock_hint(target, {}, [STEP], "state.count")
    assert hint.startswith("count depends on the block time") and "`now`" in hint
    assert clock_hint(target, {}, [], "state.count") == ""
    target.close()


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Accepts connections and never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                held.append(server.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.close()
    for connection in held:
        connection.close()


def test_fork_of_a_node_that_never_answers(silent_server: str) -> None:
    started = time.monotonic()
    with pytest.raises(PlumblineError):
        run(CounterAdapter("Counter"), NodeEngine(timeout=1.0, fork=silent_server))
    assert time.monotonic() - started < 15


def test_forks_need_a_node() -> None:
    with pytest.raises(DiffError, match="need --engine node"):
        load_target(str(EXAMPLE), "revm", fork="http://127.0.0.1:1")


# ── on the command line ──────────────────────────────────────────────────────────────────────────

EXAMPLE = share_pool.EXAMPLE / "adapter.py"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no target"),
        ("x = 1\n", "must define one subclass of Adapter (it has: none)"),
        ("import nowhere_at_all\n", "cannot be imported: ModuleNotFoundError"),
        (
            "from risk.diff.kit.adapter import Adapter\nclass A(Adapter):\n    name = 'a'\n",
            "abstract",
        ),
        ("raise ValueError('boom')\n", "ValueError('boom')"),
    ],
)
def test_adapter_files_that_do_not_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    path = tmp_path / "adapter.py"
    if text is not None:
        path.write_text(text)
    assert diff_command(Options(str(path), out=tmp_path)) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.json"))


def test_unknown_engine_and_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff_command(Options(str(EXAMPLE), engine="geth", out=tmp_path)) == 2
    assert "no engine 'geth'; there are revm, batch, node" in capsys.readouterr().err
    assert diff_command(Options(str(EXAMPLE), formats=("pdf",), out=tmp_path)) == 2
    assert "format pdf is none of" in capsys.readouterr().err


def test_a_bad_target_in_worker_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "adapter.py"
    text = EXAMPLE.read_text().replace('chain.deploy("SharePool")', 'chain.deploy("Ghost")')
    path.write_text(text.replace("Path(__file__).parent", f"Path({str(EXAMPLE.parent)!r})"))
    (tmp_path / "model.py").write_text((EXAMPLE.parent / "model.py").read_text())
    plan = Plan(1, 0, 4, 5, workers=2)
    assert diff_command(Options(str(path), plan=plan, out=tmp_path)) == 2
    error = capsys.readouterr().err
    assert "error: no artifact 'Ghost'" in error and "Traceback" not in error
