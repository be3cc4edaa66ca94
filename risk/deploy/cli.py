"""The body of ``plumbline deploy``; the command line itself only passes its options on.

Progress goes to stderr; stdout carries the result (one JSON object with ``--json``).  The exit code
is 0 only if the system is deployed, read back and recorded.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount

from risk.chain.compile import compile_contracts
from risk.chain.node import Anvil, Ganache, Node, project_root
from risk.chain.rpc import Rpc
from risk.deploy.artifacts import all_contracts
from risk.deploy.config import DeployConfig, load_config
from risk.deploy.deployer import Progress, deploy
from risk.deploy.dry_run import dry_run
from risk.deploy.errors import ConfigError, KeyFileError, PreflightError
from risk.deploy.fields import parse_address
from risk.deploy.handover import complete_handover
from risk.deploy.journal import Journal, journal_path
from risk.deploy.quantise import quantise
from risk.deploy.record import DeploymentRecord, check_target, read_record, write_record
from risk.deploy.sender import RpcSender, Sender, load_key, load_key_file
from risk.deploy.sources import collect_sources, sources_folder, write_sources
from risk.errors import PlumblineError, RpcError

KEY_VARIABLE = "PLUMBLINE_DEPLOYER_KEY"
RECORD_FOLDER = Path("deployments")
RPC_TIMEOUT = 120.0


@dataclass(frozen=True)
class DeployOptions:
    """Options of the command.

    ``rpc`` is an endpoint; or ``node`` ("anvil" or "ganache") starts one of our own at ``port``
    (0: a free one), which serves until interrupted when ``serve`` is set.  The key comes from
    ``key_file`` (hex, or a keystore with ``password_file``), else from the environment, else the
    node must have ``account`` (or, on local nets, its first account) unlocked.
    """

    config: Path
    rpc: str | None = None
    node: str | None = None
    port: int = 0
    serve: bool = False
    out: Path | None = None
    replace: bool = False
    key_file: Path | None = None
    password_file: Path | None = None
    account: str | None = None
    json_output: bool = False
    check: bool = False  # only check the configuration; nothing is connected
    dry_run: bool = False  # deploy on a private fork and say what it costs; nothing is sent
    complete_handover: bool = False  # only the second half of a two-step hand-over


def deploy_command(options: DeployOptions) -> int:
    """Runs the command; returns the exit code."""
    try:
        return _run(options)
    except PlumblineError as error:
        if options.json_output:
            _print_json({"ok": False, "error": type(error).__name__, "message": str(error)})
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1


def record_path(config: DeployConfig, chain_id: int, folder: Path = RECORD_FOLDER) -> Path:
    """Where the record of this configuration on this chain goes."""
    return folder / f"{config.name}-{chain_id}.json"


def _run(options: DeployOptions) -> int:
    config = load_config(options.config)
    params = quantise(config)
    if options.check:
        summary = {"ok": True, "name": config.name, "config_hash": config.config_hash()}
        _report(options, {**summary, "risk_params": "0x" + params.encode().hex()}, summary)
        return 0
    if (options.rpc is None) == (options.node is None):
        raise PreflightError("give exactly one of --rpc URL and --node anvil|ganache")
    with ExitStack() as stack:
        endpoint = options.rpc
        if options.node is not None:
            endpoint = stack.enter_context(_node(options, config)).url
        assert endpoint is not None
        rpc = stack.enter_context(Rpc.connect(endpoint, RPC_TIMEOUT))
        out = options.out or record_path(config, rpc.chain_id())
        if not (options.dry_run or options.complete_handover):
            _check_place(config, out, options.replace)
        sender = _sender(options, config, rpc)
        if options.dry_run:
            return _dry_run(options, config, sender, endpoint, out)
        if options.complete_handover:
            record = complete_handover(read_record(out), sender, say)
            write_record(record, out)
        else:
            record = deploy_and_record(config, sender, out, say, replace=options.replace)
        _report(options, {"ok": True, "record": str(out), **record.model_dump(mode="json")}, None)
        if not options.json_output:
            print(summary_text(record, out), flush=True)
        if options.node is not None and options.serve:
            print(f"serving chain {record.chain_id} at {endpoint}; Ctrl-C ends it", file=sys.stderr)
            _wait_for_interrupt()
    return 0


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)


def deploy_and_record(
    config: DeployConfig, sender: Sender, out: Path, progress: Progress, *, replace: bool = False
) -> DeploymentRecord:
    """Deploys, or goes on with an unfinished deployment, and writes the record and the sources.

    The journal lies beside the record until everything is written.
    """
    _check_place(config, out, replace)
    names = all_contracts(config, sender.artifact)
    artifacts = {name: sender.artifact(name) for name in names}
    sources = collect_sources(artifacts, project_root())
    with Journal(journal_path(out)) as journal:
        try:
            record = deploy(config, sender, progress, journal)
        except PlumblineError:
            if not journal.intents:  # nothing can have been sent: leave nothing behind
                journal.remove()
            raise
        write_sources(record, artifacts, sources, project_root(), sources_folder(out))
        write_record(record, out)
        journal.remove()
    return record


def _check_place(config: DeployConfig, out: Path, replace: bool) -> None:
    """The place of the record is free; with a journal it was when the deployment began."""
    if not journal_path(out).exists():
        check_target(out, replace=replace or config.local)


def _dry_run(
    options: DeployOptions, config: DeployConfig, sender: Sender, endpoint: str, out: Path
) -> int:
    at = journal_path(out)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(at)) if at.exists() else None
        estimate = dry_run(config, sender, endpoint, say, journal)
    _report(options, {"ok": True, **estimate.as_json()}, None)
    if not options.json_output:
        print("\n".join(estimate.lines()))
    return 0


def _node(options: DeployOptions, config: DeployConfig) -> Node:
    if not config.local:
        raise PreflightError("--node: only with a configuration that says local = true")
    if options.node == "anvil":
        return Anvil(port=options.port, chain_id=31337)
    if options.node == "ganache":
        return Ganache(port=options.port, chain_id=1337)
    raise PreflightError(f"--node: {options.node!r} is not one of anvil, ganache")


def _sender(options: DeployOptions, config: DeployConfig, rpc: Rpc) -> RpcSender:
    key, account = _key(options), options.account
    if account is not None:
        try:
            account = parse_address(account)
        except ValueError as error:
            raise KeyFileError(f"--account: {error}") from None
    if key is not None:
        if account is not None and account != key.address:
            raise KeyFileError(f"--account: the key belongs to {key.address}, not {account}")
        return RpcSender(rpc, compile_contracts(project_root()), key=key)
    if account is None:
        if not config.local:
            raise KeyFileError(f"no key: give --key-file, --account or set {KEY_VARIABLE}")
        unlocked = _unlocked(rpc)
        if not unlocked:
            raise KeyFileError("no key, and the node has no unlocked account")
        account = unlocked[0]
    elif not options.dry_run and account not in (parse_address(a) for a in _unlocked(rpc)):
        raise KeyFileError(f"--account: {account} is not unlocked at the node, and there is no key")
    return RpcSender(rpc, compile_contracts(project_root()), unlocked=account)


def _key(options: DeployOptions) -> LocalAccount | None:
    if options.key_file is not None:
        password = None
        if options.password_file is not None:
            try:
                password = options.password_file.read_text(encoding="utf-8").rstrip("\n")
            except (OSError, UnicodeDecodeError):
                raise KeyFileError(f"{options.password_file}: cannot be read") from None
        return load_key_file(options.key_file, password)
    text = os.environ.get(KEY_VARIABLE)
    return load_key(text, f"environment variable {KEY_VARIABLE}") if text else None


def _unlocked(rpc: Rpc) -> list[str]:
    try:
        return list(rpc.call("eth_accounts"))
    except RpcError:
        return []


def summary_text(record: DeploymentRecord, out: Path) -> str:
    """The lines a person reads after a deployment."""
    gas = sum(c.gas_used for c in record.contracts) + sum(s.gas_used for s in record.steps)
    count = len(record.contracts) + len(record.steps)
    lines = [f"vault       {record.vault}", f"cash        {record.cash_token}"]
    lines += [f"collateral  {c.token}  {c.symbol}" for c in record.collaterals]
    lines += [f"feed        {u.feed}  {u.name}" for u in record.underlyings]
    lines += [
        f"{count} transactions, {gas:,} gas on chain {record.chain_id}; owner {record.owner}",
        *([f"pending owner {record.pending_owner}"] if record.pending_owner else []),
        f"read back without a difference; record: {out}",
    ]
    return "\n".join(lines)


def _report(
    options: DeployOptions, full: Mapping[str, Any], short: Mapping[str, Any] | None
) -> None:
    if options.json_output:
        _print_json(full)
    elif short is not None:
        print("\n".join(f"{name:12} {value}" for name, value in short.items()))


def _print_json(value: Mapping[str, Any]) -> None:
    print(json.dumps(value, indent=2))


def _wait_for_interrupt() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
