"""This repository as a Brownie project: `brownie test`, `run deploy`, `run liquidate`.

Brownie runs in a copy of the project under ``build/brownie``, on ports of its own, so that neither
a node of the user nor another test run is ever taken for ours; compiled contracts are kept there.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from risk.chain.compile import Artifact
from risk.chain.node import Anvil, Ganache, Node, free_port
from risk.chain.rpc import Rpc
from risk.deploy.brownie_sender import artifact_of_build
from risk.deploy.liquidation import VaultClient, account_text
from risk.deploy.record import DeploymentRecord, read_record
from risk.deploy.sender import RpcSender
from tests.deploy.support import ROOT, Trader

BROWNIE = Path(sys.executable).parent / "brownie"
COPIED = ("contracts", "interfaces", "scripts", "configs", "tests/brownie")
LINKED = ("node_modules", "risk", "package.json")
NODES: dict[str, tuple[type[Node], int]] = {"anvil": (Anvil, 31337), "ganache": (Ganache, 1337)}
WAD = 10**18


class Project:
    """The copied project and its ports."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ports = {name: free_port() for name in NODES}
        root.mkdir(parents=True, exist_ok=True)
        for name in COPIED:
            shutil.rmtree(root / name, ignore_errors=True)
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in LINKED:
            if not (root / name).exists():
                (root / name).symlink_to(ROOT / name)
        shutil.rmtree(root / "deployments", ignore_errors=True)
        text = (ROOT / "brownie-config.yaml").read_text()
        for name, port in self.ports.items():
            text, count = re.subn(
                rf"(\n  {name}:\n.*?port: )\d+", rf"\g<1>{port}", text, flags=re.S
            )
            assert count == 1
        (root / "brownie-config.yaml").write_text(text)

    def brownie(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Runs one brownie command; the venv need not be activated."""
        return subprocess.run(
            [str(BROWNIE), *arguments],
            cwd=self.root,
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def artifacts(self) -> dict[str, Artifact]:
        """What Brownie compiled and deployed, not what the sources say by now."""
        builds = (self.root / "build" / "contracts").glob("*.json")
        return {p.stem: artifact_of_build(p.stem, json.loads(p.read_text())) for p in builds}

    def record(self, chain_id: int) -> DeploymentRecord:
        """What `brownie run deploy` wrote."""
        return read_record(self.root / "deployments" / f"local-{chain_id}.json")


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """The compiled copy; one test run at a time."""
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with (build / "brownie.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Project(build / "brownie")
        run = made.brownie("compile", timeout=600)
        assert run.returncode == 0, run.stdout + run.stderr
        yield made


networks = pytest.mark.parametrize(
    "network", ["anvil", pytest.param("ganache", marks=pytest.mark.ganache)]
)


@pytest.mark.brownie
@pytest.mark.slow
@networks
def test_brownie_test(project: Project, network: str) -> None:
    run = project.brownie("test", "tests/brownie", "--network", network)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr
    passed = re.search(r"\b(\d+) passed", run.stdout)
    assert passed and int(passed[1]) >= 11 and "failed" not in run.stdout, run.stdout[-8000:]


@pytest.mark.brownie
@pytest.mark.slow
@networks
def test_brownie_run_deploy_then_liquidate(project: Project, network: str) -> None:
    """Against a node that runs already: deploy, let a trader fall below MM, liquidate by script."""
    kind, chain_id = NODES[network]
    with kind(port=project.ports[network], chain_id=chain_id) as node, node.rpc() as rpc:
        run = project.brownie("run", "deploy", "--network", network, "--silent")
        assert run.returncode == 0, run.stdout + run.stderr
        assert "read back without a difference" in run.stdout
        record = project.record(chain_id)
        artifacts = project.artifacts()
        victim = unhealthy_account(rpc, record, artifacts)
        target = account_text(victim)
        where = f"deployments/local-{chain_id}.json"
        quoted = project.brownie(
            "run", "liquidate", "quote", record.vault, target, "--network", network
        )
        assert quoted.returncode == 0, quoted.stdout + quoted.stderr
        assert re.search(r"health factor +0\.\d+", quoted.stdout)
        run = project.brownie("run", "liquidate", "main", where, target, "--network", network)
        assert run.returncode == 0, run.stdout + run.stderr
        assert re.search(r"took 0\.\d+ for ", run.stdout)
        client = VaultClient(RpcSender(rpc, artifacts, unlocked=record.owner), record.vault)
        after = client.quote(victim)
        # the target is 1.1; the legs are cut to whole units against the liquidator
        assert 109 * WAD // 100 < after.health_factor <= 110 * WAD // 100 + 10**9
        again = project.brownie("run", "liquidate", "main", where, target, "--network", network)
        assert again.returncode == 0 and "healthy at live prices" in again.stdout


def unhealthy_account(rpc: Rpc, record: DeploymentRecord, artifacts: dict[str, Artifact]) -> int:
    """Account 1 buys 60 ETH-PERP from account 2, then ETH falls; account 0 has cash."""
    liquidator, victim, other = (Trader(rpc, artifacts, record, i) for i in range(3))
    liquidator.deposit(500_000 * 10**6)
    victim.deposit(40_000 * 10**6)
    other.deposit(400_000 * 10**6)
    victim.buy_from(other, 0, 60 * WAD, 3_000 * WAD)
    victim.set_price(0, 2_600 * 10**8)
    health: int = victim.read("margin", victim.account)[0][9]
    assert 0 < health < WAD
    return victim.account


@pytest.mark.brownie
def test_a_bad_call_ends_with_an_error(project: Project) -> None:
    """Non-zero exit, the reason on the screen, nothing written."""
    (project.root / "configs" / "bad.toml").write_text("version = 3\n")
    for arguments, reason in (
        (("deploy", "main", "configs/bad.toml"), "version"),
        (("deploy", "main", "configs/sepolia.toml"), "chain id mismatch"),
        (("liquidate", "quote", "0x12", "1"), "40 hex digits"),
    ):
        run = project.brownie("run", *arguments, "--network", "anvil")
        assert run.returncode != 0, run.stdout
        assert reason in run.stdout + run.stderr, run.stdout + run.stderr
    assert not (project.root / "deployments" / "sepolia-31337.json").exists()
