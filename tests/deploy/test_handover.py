"""The ownership ends where the configuration says, at once or in two steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from risk.chain.abi import functions
from risk.chain.compile import Artifact
from risk.chain.rpc import Rpc
from risk.deploy.artifacts import vault_abi
from risk.deploy.cli import deploy_and_record
from risk.deploy.config import parse_config
from risk.deploy.deployer import deploy
from risk.deploy.errors import DeployError, PreflightError, VerificationError
from risk.deploy.handover import complete_handover
from risk.deploy.record import DeploymentRecord
from risk.deploy.sender import RpcSender
from risk.errors import RevertError
from tests.deploy.support import key, small_config, spoiled
from tests.deploy.test_resume import StopHere, Stopper

Artifacts = Mapping[str, Artifact]
OLD, NEW = 0, 6


def sender(rpc: Rpc, artifacts: Artifacts, index: int = OLD) -> RpcSender:
    return RpcSender(rpc, artifacts, unlocked=key(index).address)


def owner(rpc: Rpc, artifacts: Artifacts, record: DeploymentRecord) -> int:
    call = functions(vault_abi(artifacts.__getitem__))["owner"]
    return int(call.decode(rpc.eth_call(record.vault, call.encode()))[0])


def handed(rpc: Rpc, artifacts: Artifacts, kind: str) -> DeploymentRecord:
    change = {"owner": key(NEW).address, "handover": kind}
    return deploy(parse_config(spoiled(change, small_config())), sender(rpc, artifacts))


def test_direct(rpc: Rpc, artifacts: Artifacts) -> None:
    record = handed(rpc, artifacts, "direct")
    assert record.owner == key(NEW).address and record.deployer == key(OLD).address
    assert record.pending_owner is None and record.steps[-1].step == "hand over ownership"
    assert owner(rpc, artifacts, record) == int(key(NEW).address, 16)
    # the deployer may do nothing any more, the new owner may
    calls = functions(vault_abi(artifacts.__getitem__))
    data = calls["setSigners"].encode([int(key(3).address, 16)], 1)
    with pytest.raises(RevertError):
        sender(rpc, artifacts).send(record.vault, data)
    sent = sender(rpc, artifacts, NEW).send(record.vault, data)
    assert int(rpc.receipt(sent)["status"], 16) == 1


def test_the_deployer_as_owner_keeps_it(rpc: Rpc, artifacts: Artifacts) -> None:
    change = {"owner": key(OLD).address}
    record = deploy(parse_config(spoiled(change, small_config())), sender(rpc, artifacts))
    assert (record.owner, record.pending_owner) == (key(OLD).address, None)


def test_two_steps(rpc: Rpc, artifacts: Artifacts) -> None:
    record = handed(rpc, artifacts, "two_step")
    assert (record.owner, record.pending_owner) == (key(OLD).address, key(NEW).address)
    assert owner(rpc, artifacts, record) == int(key(OLD).address, 16)
    old = sender(rpc, artifacts)
    with pytest.raises(PreflightError, match="has not called requestOwnershipHandover"):
        complete_handover(record, old)
    calls = functions(vault_abi(artifacts.__getitem__))
    request = calls["requestOwnershipHandover"].encode()
    rpc.receipt(sender(rpc, artifacts, NEW).send(record.vault, request))
    with pytest.raises(PreflightError, match="does not belong to"):
        complete_handover(record, sender(rpc, artifacts, 5))
    done = complete_handover(record, old)
    assert (done.owner, done.pending_owner) == (key(NEW).address, None)
    assert done.steps[-1].step == "complete the hand-over"
    assert owner(rpc, artifacts, done) == int(key(NEW).address, 16)
    # repeated with the old record: found done, nothing sent
    before = rpc.block_number()
    assert complete_handover(record, old).owner == key(NEW).address
    assert rpc.block_number() == before
    with pytest.raises(DeployError, match="no hand-over is pending"):
        complete_handover(done, old)


def test_a_request_expires(rpc: Rpc, artifacts: Artifacts) -> None:
    record = handed(rpc, artifacts, "two_step")
    calls = functions(vault_abi(artifacts.__getitem__))
    request = calls["requestOwnershipHandover"].encode()
    rpc.receipt(sender(rpc, artifacts, NEW).send(record.vault, request))
    rpc.call("evm_increaseTime", 48 * 3600 + 1)
    rpc.call("evm_mine")
    with pytest.raises(PreflightError, match="within the last 48 hours"):
        complete_handover(record, sender(rpc, artifacts))


def test_killed_after_the_hand_over(rpc: Rpc, artifacts: Artifacts, tmp_path: Path) -> None:
    """The last transaction was sent and never heard of: the next run is no longer the owner."""
    change = {"owner": key(NEW).address, "handover": "direct"}
    config = parse_config(spoiled(change, small_config()))
    whole = deploy(config, sender(rpc, artifacts))
    count = len(whole.contracts) + len(whole.steps)
    out = tmp_path / "r.json"
    with pytest.raises(StopHere):
        deploy_and_record(config, Stopper(rpc, artifacts, count), out, lambda _: None)
    nonce = rpc.nonce(key(OLD).address)
    record = deploy_and_record(config, sender(rpc, artifacts), out, lambda _: None)
    assert record.owner == key(NEW).address and rpc.nonce(key(OLD).address) == nonce


def test_a_wrong_owner_is_noticed(rpc: Rpc, artifacts: Artifacts) -> None:
    class Thief(RpcSender):
        def send(self, to: str, data: bytes, nonce: int | None = None) -> str:
            transfer = functions(vault_abi(artifacts.__getitem__))["transferOwnership"]
            if data[:4] == transfer.selector:
                data = transfer.encode(int(key(8).address, 16))
            return super().send(to, data, nonce)

    change = {"owner": key(NEW).address, "handover": "direct"}
    config = parse_config(spoiled(change, small_config()))
    with pytest.raises(VerificationError, match=f"owner: expected {key(NEW).address}"):
        deploy(config, Thief(rpc, artifacts, unlocked=key(OLD).address))
