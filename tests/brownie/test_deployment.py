"""What a Brownie user finds after a deployment."""

import pytest
from brownie import ArrayLogic, TradeLogic, Vault, accounts

from risk.deploy.brownie_tasks import check_config, sender_of
from risk.deploy.config import load_config
from risk.deploy.deployer import deploy
from risk.deploy.errors import TransactionError
from risk.deploy.quantise import quantise


def test_containers_hold_what_was_deployed(system):
    assert Vault[-1] == system.vault
    assert ArrayLogic[-1].address == system.record.contract("ArrayLogic").address
    code = system.vault.bytecode.lower()
    assert TradeLogic[-1].address[2:].lower() in code  # linked by Brownie
    assert system.vault.owner() == accounts[0] == system.record.owner
    _, blob = system.vault.riskParams()
    assert bytes(blob) == check_config("configs/local.toml")
    assert bytes(blob) == quantise(load_config("configs/local.toml")).encode()


def test_a_failing_step_is_named(system):
    config = load_config("configs/local.toml")
    underlying = config.underlyings[0]
    expiry = underlying.expiries[0]
    negative = expiry.slice.model_copy(update={"a": -expiry.slice.a * 9})
    broken = underlying.model_copy(
        update={"expiries": [expiry.model_copy(update={"slice": negative})]}
    )
    lines = []
    with pytest.raises(TransactionError, match=r"report ETH: .*SviNegativeVariance"):
        deploy(
            config.model_copy(update={"underlyings": [broken, *config.underlyings[1:]]}),
            sender_of("0"),
            lines.append,
        )
    assert "without a record" in lines[-1] and Vault[-1].address in lines[-1]
