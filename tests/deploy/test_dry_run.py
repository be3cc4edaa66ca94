"""The dry run: gas as in the real deployment, nothing sent, no key needed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from risk.chain.compile import Artifact
from risk.chain.node import Anvil, Node
from risk.deploy.cli import DeployOptions, deploy_and_record, deploy_command
from risk.deploy.config import parse_config
from risk.deploy.dry_run import Estimate, costs_of, dry_run
from risk.deploy.errors import PreflightError, TransactionError
from risk.deploy.journal import Journal, journal_path
from risk.deploy.reports import local_key
from risk.deploy.sender import RpcSender
from risk.errors import NodeError
from tests.deploy.support import key, small_config, spoiled
from tests.deploy.test_resume import stopped

Artifacts = Mapping[str, Artifact]


@pytest.fixture
def fresh() -> Iterator[Node]:
    with Anvil() as running:
        yield running


def test_the_estimate_is_what_the_deployment_uses(
    fresh: Node, artifacts: Artifacts, tmp_path: Path
) -> None:
    config = parse_config(small_config())
    with fresh.rpc() as rpc:
        sender = RpcSender(rpc, artifacts, unlocked=key(0).address)
        before = (rpc.block_number(), rpc.nonce(sender.address), rpc.balance(sender.address))
        estimate = dry_run(config, sender, fresh.url)
        after = (rpc.block_number(), rpc.nonce(sender.address), rpc.balance(sender.address))
        assert after == before  # nothing was sent
        record = deploy_and_record(config, sender, tmp_path / "r.json", lambda _: None)
        paid = before[2] - rpc.balance(sender.address)
    real = costs_of(record)
    assert [c.step for c in estimate.costs] == [c.step for c in real]
    # the clock differs: bytes of call data, and what accrues where a second has passed
    for expected, measured in zip(estimate.costs, real, strict=True):
        assert abs(expected.gas - measured.gas) <= max(1_000, measured.gas // 10), expected.step
    total = sum(c.gas for c in real)
    assert abs(estimate.gas - total) <= total // 500
    assert 0 < paid <= estimate.max_cost
    assert estimate.cost < estimate.max_cost and estimate.balance == before[2]
    assert "nothing was sent" in estimate.lines()[-1]
    assert any("enough" in line and "NOT" not in line for line in estimate.lines())


def test_only_the_rest_of_an_unfinished_deployment_is_estimated(
    fresh: Node, artifacts: Artifacts, tmp_path: Path
) -> None:
    out = tmp_path / "r.json"
    config = parse_config(small_config())
    with fresh.rpc() as rpc:
        stopped(rpc, artifacts, out, 9)  # the ninth was sent but never heard of
        sender = RpcSender(rpc, artifacts, unlocked=key(0).address)
        before = journal_path(out).read_bytes()
        with Journal(journal_path(out)) as journal:
            estimate = dry_run(config, sender, fresh.url, journal=journal)
        assert journal_path(out).read_bytes() == before
        record = deploy_and_record(config, sender, out, lambda _: None)
    assert len(estimate.costs) == len(costs_of(record)) - 8


def test_without_a_key_and_without_money(
    fresh: Node, artifacts: Artifacts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command needs only the address; too small a balance is said, not discovered later."""
    poor = local_key(77).address
    file = tmp_path / "small.json"
    file.write_text(json.dumps(small_config()))
    options = DeployOptions(
        file, rpc=fresh.url, account=poor, dry_run=True, out=tmp_path / "r.json", json_output=True
    )
    assert deploy_command(options) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["balance_wei"], result["sufficient"]) == ("0", False)
    with fresh.rpc() as rpc:
        rpc.call("anvil_setBalance", poor, hex(10**12))
    assert deploy_command(options) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] is True and result["sufficient"] is False
    assert int(result["max_cost_wei"]) > int(result["cost_wei"]) > 10**12
    assert result["gas"] == sum(step["gas"] for step in result["steps"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.json"]


def test_what_would_fail_fails_in_the_dry_run(fresh: Node, artifacts: Artifacts) -> None:
    with fresh.rpc() as rpc:
        sender = RpcSender(rpc, artifacts, unlocked=key(0).address)
        bad = spoiled({"underlyings.0.expiries.0.slice.a": "-0.9"}, small_config())
        with pytest.raises(TransactionError, match="SviNegativeVariance"):
            dry_run(parse_config(bad), sender, fresh.url)
        other = spoiled({"deployer": key(5).address}, small_config())
        with pytest.raises(PreflightError, match="deployer: the key belongs to"):
            dry_run(parse_config(other), sender, fresh.url)
        assert rpc.block_number() == 0


def test_an_endpoint_that_cannot_be_forked_is_not_shown(fresh: Node, artifacts: Artifacts) -> None:
    with fresh.rpc() as rpc:
        sender = RpcSender(rpc, artifacts, unlocked=key(0).address)
        with pytest.raises(NodeError, match="cannot be forked") as caught:
            dry_run(parse_config(small_config()), sender, "http://127.0.0.1:1/v3/5ec7e7")
    assert "5ec7e7" not in str(caught.value)


def test_sums() -> None:
    estimate = Estimate(1, "0x", [], gas_price=3, max_gas_price=5, balance=0)
    assert (estimate.gas, estimate.cost, estimate.max_cost, estimate.largest) == (0, 0, 0, 0)
    assert "0.000000 ETH" in estimate.lines()[2]
