"""A `[governance]` section: roles, timelock, owner, and nothing left for the deployer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from risk.chain.abi import functions
from risk.chain.compile import Artifact
from risk.chain.keccak import keccak
from risk.chain.node import Anvil
from risk.chain.rpc import Rpc
from risk.deploy.artifacts import vault_abi
from risk.deploy.cli import deploy_and_record
from risk.deploy.config import parse_config
from risk.deploy.deployer import deploy
from risk.deploy.errors import ConfigError, VerificationError
from risk.deploy.governance import Deployed, check_governance
from risk.deploy.record import read_record
from risk.deploy.sender import RpcSender
from risk.errors import RevertError
from tests.deploy.support import key, small_config, spoiled
from tests.deploy.test_resume import StopHere, Stopper

Artifacts = Mapping[str, Artifact]
DAY = 86_400
GOVERNANCE: dict[str, Any] = {
    "timelock_delay_seconds": 2 * DAY,
    "timelock_max_delay_seconds": 7 * DAY,
    "admin": key(1).address,
    "guardian": key(2).address,
    "steward": key(3).address,
    "lister": key(4).address,
    "step_seconds": 6 * 3_600,
    "min_steps": 29,
    "steward_limit": "0.1",
    "steward_period_seconds": 7 * DAY,
    "strikes_per_day": 200,
}


def governed(**change: Any) -> dict[str, Any]:
    return {**small_config(), "governance": {**GOVERNANCE, **change}}


def sender(rpc: Rpc, artifacts: Artifacts, index: int = 0) -> RpcSender:
    return RpcSender(rpc, artifacts, unlocked=key(index).address)


def test_the_vault_belongs_to_the_governor(rpc: Rpc, artifacts: Artifacts, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    config = parse_config(governed())
    lines: list[str] = []
    record = deploy_and_record(config, sender(rpc, artifacts), out, lines.append)
    governance = read_record(out).governance
    assert governance is not None and record.owner == governance.governor
    assert [c.kind for c in record.contracts[-2:]] == ["timelock", "governor"]
    assert lines[-2:] == ["reading roles and timelock back", "hand over ownership"]
    assert governance.lister == key(4).address
    # the lister works through the governor; the deployer and the lister have no way around it
    day = record.underlyings[0].expiries[0].day + 1
    governor = functions(artifacts["RiskGovernor"].abi)
    vault = functions(vault_abi(artifacts.__getitem__))
    listing = governor["listExpiry"].encode(0, day, [3_000 * 10**18])
    with pytest.raises(RevertError):
        sender(rpc, artifacts).send(governance.governor, listing)
    for index in (0, 4):
        with pytest.raises(RevertError):
            direct = vault["listExpiry"].encode(0, day, [3_000 * 10**18])
            sender(rpc, artifacts, index).send(record.vault, direct)
    sent = sender(rpc, artifacts, 4).send(governance.governor, listing)
    assert int(rpc.receipt(sent)["status"], 16) == 1
    strike = vault["strike"].encode(0, day, 0)
    assert vault["strike"].decode(rpc.eth_call(record.vault, strike))[0] == 3_000 * 10**18


def test_a_role_too_many_is_found(rpc: Rpc, artifacts: Artifacts) -> None:
    """Whoever got a role after the deployment shows up: by events, not by asking for names."""
    config = parse_config(governed())
    record = deploy(config, sender(rpc, artifacts))
    assert record.governance is not None and config.governance is not None
    at = Deployed(
        timelock=record.governance.timelock,
        governor=record.governance.governor,
        vault=record.vault,
        block=record.contract("GovernanceTimelock").block,
    )
    check_governance(config.governance, at, sender(rpc, artifacts))
    rpc.call("anvil_setBalance", at.timelock, hex(10**18))
    rpc.call("anvil_impersonateAccount", at.timelock)
    grant = functions(artifacts["RiskGovernor"].abi)["grantRole"]
    role = keccak(b"GUARDIAN_ROLE")
    data = grant.encode(int.from_bytes(role, "big"), int(key(9).address, 16))
    rpc.receipt(rpc.send({"from": at.timelock, "to": at.governor, "data": "0x" + data.hex()}))
    with pytest.raises(VerificationError, match="roles of the governor") as caught:
        check_governance(config.governance, at, sender(rpc, artifacts))
    assert len(caught.value.problems) == 1


def test_other_settings_are_found(rpc: Rpc, artifacts: Artifacts) -> None:
    config = parse_config(governed())
    record = deploy(config, sender(rpc, artifacts))
    assert record.governance is not None
    at = Deployed(
        timelock=record.governance.timelock,
        governor=record.governance.governor,
        vault=record.vault,
        block=record.contract("GovernanceTimelock").block,
    )
    for change, expected in (
        ({"timelock_delay_seconds": 3 * DAY}, "timelock delay: expected 259200"),
        ({"strikes_per_day": 100}, "limits of the governor"),
        ({"guardian": key(8).address}, "roles of the timelock"),
    ):
        other = parse_config(governed(**change)).governance
        assert other is not None
        with pytest.raises(VerificationError, match=expected):
            check_governance(other, at, sender(rpc, artifacts))


@pytest.mark.parametrize("missing", [1, 2])
def test_an_interruption_around_the_governor(
    artifacts: Artifacts, tmp_path: Path, missing: int
) -> None:
    """Stopped after the timelock or after the governor: one of each in the end."""
    config = parse_config(governed())
    out = tmp_path / "r.json"
    with Anvil() as node, node.rpc() as rpc:
        whole = deploy(config, sender(rpc, artifacts, 1))
        count = len(whole.contracts) + len(whole.steps)
        with pytest.raises(StopHere):
            stopper = Stopper(rpc, artifacts, count - missing)
            deploy_and_record(config, stopper, out, lambda _: None)
        record = deploy_and_record(config, sender(rpc, artifacts), out, lambda _: None)
        assert rpc.nonce(key(0).address) == count
    assert [c.name for c in record.contracts].count("RiskGovernor") == 1
    assert record.governance is not None and record.owner == record.governance.governor


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"governance.timelock_delay_seconds": DAY - 1}, "timelock_delay_seconds"),
        ({"governance.timelock_delay_seconds": 8 * DAY}, "above timelock_max_delay_seconds"),
        ({"governance.min_steps": 28}, "is shorter than"),
        ({"governance.guardian": key(1).address}, "four different addresses"),
        ({"governance.steward_limit": "0.21"}, "[0.0001, 0.2]"),
        ({"governance.steward_limit": "0.00015"}, "whole basis points"),
        ({"governance.steward_period_seconds": DAY - 1}, "steward_period_seconds"),
        ({"governance.strikes_per_day": 0}, "strikes_per_day"),
        ({"governance.admin": ...}, "governance.admin"),
        ({"owner": key(5).address}, "the vault goes to its governor"),
    ],
)
def test_refused(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(spoiled(change, governed()))
    assert expected in str(caught.value)


def test_the_record_is_plain_json(rpc: Rpc, artifacts: Artifacts, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    deploy_and_record(parse_config(governed()), sender(rpc, artifacts), out, lambda _: None)
    data = json.loads(out.read_text())
    timelock = next(c for c in data["contracts"] if c["kind"] == "timelock")
    assert timelock["constructor"][:2] == [str(2 * DAY), str(7 * DAY)]
    assert timelock["constructor_data"][2 : 2 + 64] == f"{2 * DAY:064x}"
    assert (tmp_path / "r-sources" / "RiskGovernor.json").exists()
