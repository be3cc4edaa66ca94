"""The record is whole or absent, and reads back only if nothing in it was touched."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from risk.deploy import record as record_module
from risk.deploy.errors import RecordError
from risk.deploy.record import (
    ContractRecord,
    DeploymentRecord,
    StepRecord,
    check_target,
    read_record,
    write_record,
)

A = "0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238"
H = "0x" + "ab" * 32


def sample() -> DeploymentRecord:
    contract = ContractRecord(
        name="Vault",
        kind="vault",
        label="",
        source="contracts/Vault.sol",
        address=A,
        constructor=[A, A],
        constructor_data="0x00",
        libraries={"ArrayLogic": A},
        transaction=H,
        block=3,
        gas_used=4,
        creation_hash=H,
        runtime_hash=H,
    )
    return DeploymentRecord(
        version=2,
        name="sample",
        chain_id=31337,
        deployer=A,
        owner=A,
        pending_owner=None,
        governance=None,
        block=5,
        timestamp=6,
        vault=A,
        cash_token=A,
        cash_decimals=6,
        config_hash=H,
        params_hash=H,
        params_pointer=A,
        signers=[A],
        signer_threshold=1,
        underlyings=[],
        collaterals=[],
        contracts=[contract],
        steps=[StepRecord(step="x", transaction=H, block=1, gas_used=2)],
    )


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder" / "r.json"
    write_record(sample(), path)
    assert read_record(path) == sample()
    assert read_record(path).contract("Vault").block == 3
    with pytest.raises(RecordError, match="no contract 'Nothing'"):
        sample().contract("Nothing")
    assert os.listdir(path.parent) == ["r.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("stage", ["replace", "fsync"])
def test_a_failure_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    path = tmp_path / "r.json"
    write_record(sample(), path)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record_module.os, stage, fail)
    with pytest.raises(RecordError, match="No space left"):
        write_record(sample().model_copy(update={"name": "other"}), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["r.json"]


def test_targets_are_checked_before_anything_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    check_target(path, replace=False)
    path.write_text("{}")
    check_target(path, replace=True)
    with pytest.raises(RecordError, match="a record exists"):
        check_target(path, replace=False)
    with pytest.raises(RecordError, match="is a folder"):
        check_target(tmp_path, replace=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be written"):
        check_target(tmp_path / "file" / "r.json", replace=True)


@pytest.mark.parametrize(
    ("field", "value", "where"),
    [
        ("vault", "0x12", "vault"),
        ("vault", A.swapcase().replace("0X", "0x"), "vault"),
        ("params_hash", "0xzz", "params_hash"),
        ("chain_id", "31337", "chain_id"),
        ("contracts", [{}], "contracts.0"),
        ("extra", 1, "extra"),
        ("version", 1, "version"),
    ],
)
def test_a_touched_record_is_refused(tmp_path: Path, field: str, value: Any, where: str) -> None:
    path = tmp_path / "r.json"
    data = sample().model_dump(mode="json")
    data[field] = value
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert where in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", '{"version": 1', "[]"])
def test_a_truncated_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(RecordError):
        read_record(path)
    with pytest.raises(RecordError, match="cannot be read"):
        read_record(tmp_path / "missing.json")
