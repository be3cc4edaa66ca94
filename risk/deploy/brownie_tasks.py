"""What ``scripts/*.py`` call: deployment and liquidation with Brownie's network and accounts.

Brownie is imported inside the functions: the rest of ``risk`` works without it.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from risk.deploy.brownie_sender import BrownieSender, look_up_patiently
from risk.deploy.cli import deploy_and_record, record_path, summary_text
from risk.deploy.config import load_config
from risk.deploy.dry_run import Estimate
from risk.deploy.dry_run import dry_run as estimate_of
from risk.deploy.errors import DeployError
from risk.deploy.handover import complete_handover as complete
from risk.deploy.journal import Journal, journal_path
from risk.deploy.liquidation import (
    Outcome,
    Quote,
    VaultClient,
    decimal,
    parse_account,
    parse_fraction,
)
from risk.deploy.quantise import quantise
from risk.deploy.record import DeploymentRecord, read_record, write_record


def sender_of(account: str | None) -> BrownieSender:
    """Sender for ``accounts[n]``, the stored account of that id, or (None) only for reading."""
    from brownie import accounts, web3
    from brownie.project.main import get_loaded_projects

    loaded = get_loaded_projects()
    if not loaded:
        raise DeployError("no Brownie project is loaded; run this through `brownie run`")
    look_up_patiently(web3)
    if account is None:
        return BrownieSender(loaded[0], None, web3.provider)
    if account.isdigit():
        if int(account) >= len(accounts):
            raise DeployError(f"account {account}: this network has {len(accounts)} accounts")
        return BrownieSender(loaded[0], accounts[int(account)], web3.provider)
    return BrownieSender(loaded[0], accounts.load(account), web3.provider)


def deploy_system(config_path: str, account: str) -> DeploymentRecord:
    """Deploys from a configuration file and writes the record; goes on where a run stopped."""
    config = load_config(config_path)
    sender = sender_of(account)
    out = record_path(config, sender.rpc.chain_id())
    record = deploy_and_record(config, sender, out, print)
    print(summary_text(record, out))
    return record


def dry_run(config_path: str, account: str) -> Estimate:
    """Deploys on a private fork of the connected chain and prints gas and cost."""
    config = load_config(config_path)
    sender = sender_of(account)
    at = journal_path(record_path(config, sender.rpc.chain_id()))
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(at)) if at.exists() else None
        estimate = estimate_of(config, sender, sender.rpc.transport.endpoint, print, journal)
    print("\n".join(estimate.lines()))
    return estimate


def complete_handover(config_path: str, account: str) -> DeploymentRecord:
    """Second half of a two-step hand-over; the record gets its new owner."""
    config = load_config(config_path)
    sender = sender_of(account)
    out = record_path(config, sender.rpc.chain_id())
    record = complete(read_record(out), sender, print)
    write_record(record, out)
    print(summary_text(record, out))
    return record


def check_config(config_path: str) -> bytes:
    """Checks a configuration file; returns and prints the risk parameter blob."""
    config = load_config(config_path)
    blob = quantise(config).encode()
    print(f"{config.name}: config hash {config.config_hash()}, {len(blob)} bytes of parameters")
    return blob


def quote(vault: str, account: str) -> Quote:
    """Prints and returns the quote of an account."""
    result = _client(vault, sender_of(None)).quote(parse_account(account))
    print("\n".join(result.lines()))
    return result


def liquidate(
    vault: str, account: str, sender: str, sub: str, fraction: str, slippage_bps: str
) -> Outcome | None:
    """Quotes an account and liquidates it; None where it is healthy."""
    for name, text in (("sub", sub), ("slippage_bps", slippage_bps)):
        if not text.isdigit():
            raise DeployError(f"{name}: expected a whole number, got {text[:40]!r}")
    signer = sender_of(sender)
    client = _client(vault, signer)
    target = parse_account(account)
    before = client.quote(target)
    print("\n".join(before.lines()))
    liquidator = parse_account(f"{signer.address}:{sub}")
    outcome = client.liquidate(target, liquidator, parse_fraction(fraction), int(slippage_bps))
    if outcome is None:
        print("healthy at live prices: nothing to liquidate")
        return None
    print(
        f"took {decimal(outcome.fraction)} for {decimal(outcome.payment)}, {outcome.gas_used:,} gas"
    )
    print("\n".join(outcome.after.lines()))
    return outcome


def keeper(config_path: str, *flags: str) -> int:
    """Runs the keeper on its own configuration file, with its own key; returns its exit code.

    Brownie's network and accounts are not used: only the chain id of the network must be the
    configured one, so that nobody runs a main net's keeper believing himself on a test net.
    """
    from brownie import network

    from risk.keeper.commands import run_command
    from risk.keeper.config import load_config

    unknown = [flag for flag in flags if flag not in ("live", "once")]
    if unknown:
        raise DeployError(f"keeper: unknown flag {unknown[0][:40]!r}; there are live and once")
    path = Path(config_path)
    expected, found = load_config(path).chain.id, network.chain.id
    if expected != found:
        raise DeployError(f"{path}: is for chain {expected}, this network is chain {found}")
    return run_command(path, live="live" in flags, once="once" in flags)


def _client(vault: str, sender: BrownieSender) -> VaultClient:
    if vault.startswith("0x"):
        return VaultClient(sender, vault)
    record = read_record(Path(vault))
    chain_id = sender.rpc.chain_id()
    if record.chain_id != chain_id:
        raise DeployError(f"{vault}: the record is of chain {record.chain_id}, this is {chain_id}")
    return VaultClient(sender, record.vault)
