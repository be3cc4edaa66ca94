"""Brownie as its users run it, in a project with this repository's settings.

Shows what our own sources rely on: imports from `interfaces/` and `node_modules`, library linking,
the networks `anvil` and `ganache`, and commands that work without an activated venv.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from risk.chain.node import free_port

ROOT = Path(__file__).resolve().parents[2]
BROWNIE = Path(sys.executable).parent / "brownie"
HEADER = "// SPDX-License-Identifier: MIT\npragma solidity 0.8.37;\n"

FILES = {
    "interfaces/ICounter.sol": HEADER
    + """
interface ICounter {
    error Odd(uint256 by);
    function bump(uint256 by) external returns (uint256);
}
""",
    "contracts/lib/Double.sol": HEADER
    + """
library Double {
    function doubled(uint256 x) public pure returns (uint256) { return 2 * x; }
}
""",
    "contracts/Counter.sol": HEADER
    + """
import {ICounter} from "../interfaces/ICounter.sol";
import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";
import {Double} from "./lib/Double.sol";

contract Counter is ICounter {
    uint256 public total;
    function bump(uint256 by) external returns (uint256) {
        if (by % 2 == 1) revert Odd(by);
        total += Double.doubled(FixedPointMathLib.max(by, 4));
        return total;
    }
}
""",
    "tests/brownie/pytest.ini": (ROOT / "tests" / "brownie" / "pytest.ini").read_text(),
    "tests/brownie/test_counter.py": """
import brownie
from brownie import Counter, Double, accounts, chain

def test_bump():
    accounts[0].deploy(Double)
    counter = accounts[0].deploy(Counter)
    counter.bump(6)
    assert counter.total() == 12
    with brownie.reverts():
        counter.bump(3)
    before = chain.time()
    chain.sleep(1000)
    chain.mine()
    assert chain[-1].timestamp >= before + 1000
""",
    "scripts/deploy.py": """
from brownie import Counter, Double, accounts, network

def main():
    accounts[0].deploy(Double)
    print("deployed", accounts[0].deploy(Counter).total(), "on", network.show_active())
""",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("brownie")
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    config = (ROOT / "brownie-config.yaml").read_text()
    for port in ("8745", "8747"):  # other tests may use the real ones at the same time
        assert config.count(port) == 1
        config = config.replace(port, str(free_port()))
    (root / "brownie-config.yaml").write_text(config)
    (root / "node_modules").symlink_to(ROOT / "node_modules")
    return root


def brownie(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    binaries = str(BROWNIE.parent)
    path = [p for p in os.environ["PATH"].split(os.pathsep) if p != binaries]
    return subprocess.run(
        [str(BROWNIE), *arguments],
        cwd=project,
        env={**os.environ, "PATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.brownie
def test_brownie_test_on_anvil(project: Path) -> None:
    run = brownie(project, "test", "--network", "anvil")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed" in run.stdout


@pytest.mark.brownie
@pytest.mark.ganache
def test_brownie_run_on_ganache(project: Path) -> None:
    run = brownie(project, "run", "deploy", "--network", "ganache")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "deployed 0 on ganache" in run.stdout
