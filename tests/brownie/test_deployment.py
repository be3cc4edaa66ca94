"""What a Brownie user finds after a deployment."""

import pytest
from brownie import ArrayLogic, TradeLogic, Vault, VaultExtension, accounts, web3

from risk.deploy.brownie_sender import BrownieSender
from risk.deploy.brownie_tasks import check_config, sender_of
from risk.deploy.cli import deploy_and_record
from risk.deploy.config import load_config
from risk.deploy.deployer import deploy
from risk.deploy.dry_run import dry_run
from risk.deploy.errors import TransactionError
from risk.deploy.journal import journal_path
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


class Crash(Exception):
    """Stands for the end of the process."""


class Crashing(BrownieSender):
    """Dies when so many transactions were sent; the last was never heard of."""

    left = 0

    def _sent(self, what, send):
        sent = super()._sent(what, send)
        self.left -= 1
        if self.left == 0:
            raise Crash
        return sent


def crashing(after):
    usual = sender_of("0")
    sender = Crashing(usual._project, accounts[0], web3.provider)
    sender.left = after
    return sender


def test_an_interrupted_deployment_goes_on(system, tmp_path):
    """Once among the libraries, once after the vault; then it is finished by another run."""
    config = load_config("configs/local.toml")
    out = tmp_path / "local.json"
    start = accounts[0].nonce
    for after in (12, 10, 9):
        with pytest.raises(Crash):
            deploy_and_record(config, crashing(after), out, print)
        assert journal_path(out).exists() and not out.exists()
    record = deploy_and_record(config, sender_of("0"), out, print)
    assert accounts[0].nonce - start == len(record.contracts) + len(record.steps)
    assert [c.name for c in record.contracts].count("Vault") == 1
    assert Vault[-1].address == record.vault and not journal_path(out).exists()
    assert VaultExtension[-1].address == record.contract("VaultExtension").address


def test_a_dry_run_sends_nothing(system):
    sender = sender_of("0")
    before = (accounts[0].nonce, accounts[0].balance())
    estimate = dry_run(load_config("configs/local.toml"), sender, sender.rpc.transport.endpoint)
    assert (accounts[0].nonce, accounts[0].balance()) == before
    used = [c.gas_used for c in system.record.contracts + system.record.steps]
    assert len(estimate.costs) == len(used)
    assert (
        abs(estimate.gas - sum(used)) < sum(used) // 500 and estimate.balance >= estimate.max_cost
    )
