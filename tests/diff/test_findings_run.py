"""The generated regression tests run as an auditor would run them: by forge, pytest and Brownie, on
the contract that has the fault and on the mended one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from risk.chain.node import free_port
from risk.diff.coverage import Tally
from risk.diff.findings import write_findings
from risk.diff.kit.artifacts import from_sources
from risk.diff.kit.revm import RevmEngine
from risk.diff.kit.target import AdapterTarget
from risk.diff.runner import Plan
from risk.diff.shrink import NothingToShrink, Shrunk, shrink
from tests.diff.bank import CONTRACTS, SOLC, Bank

ROOT = Path(__file__).parents[2]
BIN = ROOT / "node_modules" / ".bin"
VARIANTS = ("faulty", "lax", "mended")
CONFIG = """[profile.default]
src = "src"
test = "test"
solc = "{solc}"
offline = true
evm_version = "shanghai"
optimizer = true
optimizer_runs = 200
"""
BROWNIE = """networks:
  anvil:
    cmd_settings:
      port: {port}
compiler:
  evm_version: shanghai
  solc:
    version: {solc}
"""

pytestmark = pytest.mark.skipif(not (BIN / "forge").exists(), reason="forge is not installed")


@dataclass
class Made:
    """One finding's files; ``fault`` is the variant that has it."""

    fault: str
    stem: str
    foundry: Path
    pytest: Path


@dataclass
class Projects:
    """A folder for each variant of the contract, all with the same tests."""

    root: Path
    found: list[Made] = field(default_factory=list)

    def expected(self, variant: str) -> set[str]:
        """Stems of the tests that must fail there."""
        return {made.stem for made in self.found if made.fault == variant}


def source(variant: str) -> str:
    """``lax`` lets an account ask for one more than it has: another refusal than the model's."""
    if variant != "lax":
        return (CONTRACTS / variant / "Bank.sol").read_text()
    text = (CONTRACTS / "mended" / "Bank.sol").read_text()
    assert text.count("if (have < amount)") == 1
    return text.replace("if (have < amount)", "if (have + 1 < amount)")


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Projects:
    """Findings of the two faulty variants, in projects of all three."""
    out = Projects(tmp_path_factory.mktemp("projects"))
    for variant in VARIANTS:
        folder = out.root / variant
        for name in ("src", "test"):
            (folder / name).mkdir(parents=True)
        (folder / "src" / "Bank.sol").write_text(source(variant))
        (folder / "foundry.toml").write_text(CONFIG.format(solc=ROOT / "tools" / "solc"))
    for variant, returns in (("faulty", True), ("faulty", False), ("lax", True)):
        folder = out.root / variant / "src"
        target = AdapterTarget(
            Bank(returns), RevmEngine(), lambda at=folder: from_sources(at, ["Bank.sol"], solc=SOLC)
        )
        target.open()
        try:
            shrunk = first_failure(target)
            assert shrunk.actions <= 4
            paths = write_findings(
                out.root / "findings", target, shrunk, Tally(), ["pytest", "foundry"]
            )
        finally:
            target.close()
        stem = paths[1].name.removesuffix(".t.sol")
        out.found.append(Made(variant, stem, paths[1], paths[0]))
    assert len({made.stem for made in out.found}) == 3
    for variant in VARIANTS:
        for made in out.found:
            shutil.copy(made.foundry, out.root / variant / "test")
            shutil.copy(made.pytest, out.root / variant)
    return out


def first_failure(target: AdapterTarget) -> Shrunk[Any, Any]:
    """The first sequence that disagrees, shrunk."""
    for index in range(40):
        with contextlib.suppress(NothingToShrink):
            return shrink(target, Plan(seed=1, actions=60), index)
    raise AssertionError("the fault was not found")


def test_what_is_generated_is_short_and_names_no_machine(projects: Projects) -> None:
    for made in projects.found:
        for path in (made.foundry, made.pytest):
            text = path.read_text()
            assert str(ROOT) not in text and str(projects.root) not in text
            assert len(text.splitlines()) < 220
        solidity = made.foundry.read_text()
        assert "import" not in solidity and 'vm.getCode("Bank.sol:Bank")' in solidity
    refusing = next(made for made in projects.found if made.fault == "lax")
    assert "vm.expectRevert(hex" in refusing.foundry.read_text()


@pytest.mark.parametrize("variant", VARIANTS)
def test_forge_and_pytest(projects: Projects, variant: str) -> None:
    """Each test fails on its fault, with the quantity's name, and passes on everything else."""
    folder = projects.root / variant
    run = subprocess.run(
        [BIN / "forge", "test", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    start = run.stdout.index("{")
    failed, passed = {}, set()
    for suite in json.loads(run.stdout[start:]).values():
        for name, result in suite["test_results"].items():
            stem = name.removeprefix("test_").removesuffix("()")
            if result["status"] == "Success":
                passed.add(stem)
            else:
                failed[stem] = result["reason"]
    assert set(failed) == projects.expected(variant), run.stdout + run.stderr
    assert passed == {made.stem for made in projects.found} - set(failed)
    for stem, reason in failed.items():
        made = next(m for m in projects.found if m.stem == stem)
        words = {"lax": "not refused with the model", "faulty": r"return data|fees\[\d\]"}[
            made.fault
        ]
        assert re.search(words, reason), reason

    if variant != "lax":
        return  # Brownie runs the Python tests of these
    # the artifacts that forge just wrote serve the Python tests
    again = run_python(
        [sys.executable, "-m", "pytest", *PLAIN, "."], folder, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"
    )
    assert outcomes(again.stdout) == (len(passed), len(failed)), again.stdout + again.stderr
    for stem in failed:
        assert f"test_{stem}.py::test_{stem}" in again.stdout


PLAIN = ("-q", "-p", "no:cacheprovider", "--rootdir", ".")


def run_python(command: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """With Anvil on the path."""
    path = os.pathsep.join((str(BIN), os.environ["PATH"]))
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "NO_COLOR": "1", "NODE_URL": "", **more},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def outcomes(output: str) -> tuple[int, int]:
    """(passed, failed) of pytest's last line."""
    counts = {word: int(n) for n, word in re.findall(r"\b(\d+) (passed|failed)\b", output)}
    return counts.get("passed", 0), counts.get("failed", 0)


@pytest.mark.brownie
@pytest.mark.slow
@pytest.mark.parametrize("variant", ["faulty", "mended"])
def test_brownie(projects: Projects, variant: str) -> None:
    folder = projects.root / f"brownie-{variant}"
    for name in ("contracts", "tests", "interfaces", "scripts", "reports", "build/contracts"):
        (folder / name).mkdir(parents=True)
    (folder / "contracts" / "Bank.sol").write_text(source(variant))
    (folder / "brownie-config.yaml").write_text(BROWNIE.format(port=free_port(), solc=SOLC))
    for made in projects.found:
        shutil.copy(made.pytest, folder / "tests")
    brownie = Path(sys.executable).parent / "brownie"
    run = run_python([str(brownie), "test", "--network", "anvil"], folder)
    failing = len(projects.expected(variant))
    assert outcomes(run.stdout) == (3 - failing, failing), run.stdout[-6000:] + run.stderr
