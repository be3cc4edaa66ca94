"""A deployment that is killed anywhere goes on: one vault, the same record, nothing twice.

ATTACKS H61: every nonce is resolved after a restart, from a journal written before sending.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from risk.chain.abi import Errors, functions
from risk.chain.compile import Artifact
from risk.chain.keccak import keccak
from risk.chain.node import Anvil, Node
from risk.chain.rpc import Rpc
from risk.deploy.artifacts import vault_abi
from risk.deploy.cli import deploy_and_record
from risk.deploy.config import parse_config
from risk.deploy.deployer import deploy
from risk.deploy.errors import JournalError, TransactionError
from risk.deploy.journal import Header, Intent, Journal, journal_path
from risk.deploy.once import Once
from risk.deploy.record import DeploymentRecord, read_record
from risk.deploy.sender import RpcSender
from risk.errors import RpcError, TransportError
from tests.deploy.support import ROOT, key, small_config, spoiled

Artifacts = Mapping[str, Artifact]


@pytest.fixture(scope="module")
def reference(artifacts: Artifacts) -> DeploymentRecord:
    """The same deployment without interruption, on a fresh chain."""
    with Anvil() as node, node.rpc() as rpc:
        return deploy(parse_config(small_config()), unlocked(rpc, artifacts))


@pytest.fixture
def fresh(artifacts: Artifacts) -> Iterator[Node]:
    """A chain on which nothing has happened."""
    with Anvil(tx_gas_limit=True) as running:
        yield running


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    file = tmp_path / "small.json"
    file.write_text(json.dumps(small_config()))
    return file


def unlocked(rpc: Rpc, artifacts: Artifacts) -> RpcSender:
    return RpcSender(rpc, artifacts, unlocked=key(0).address)


def child(node: Node, config: Path, out: Path, *, secret: str, death: int, pause: float) -> Any:
    """Starts a deployment in its own process and returns when it is about to begin."""
    arguments = [node.endpoint, config, out, secret, death, pause]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.deploy.deploy_child", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    if process.stdout.readline() != "begin\n":
        raise AssertionError(process.stderr.read())
    return process


def comparable(record: DeploymentRecord) -> dict[str, Any]:
    """Everything that does not depend on the clock."""
    data = record.model_dump(mode="json")
    for name in ("block", "timestamp"):
        del data[name]
    for entry in [*data["contracts"], *data["steps"]]:
        for name in ("block", "transaction", "gas_used"):
            del entry[name]
        if entry.get("kind") == "feed":  # starts with the time of the first run
            for name in ("constructor", "constructor_data", "creation_hash"):
                del entry[name]
    return data


def check_single(
    rpc: Rpc, artifacts: Artifacts, record: DeploymentRecord, reference: DeploymentRecord
) -> None:
    """One vault, the record of an uninterrupted run, one transaction for each step."""
    assert comparable(record) == comparable(reference)
    assert rpc.nonce(record.deployer) == len(record.contracts) + len(record.steps)
    creations = []
    for number in range(rpc.block_number() + 1):
        block = rpc.call("eth_getBlockByNumber", hex(number), True)
        for sent in block["transactions"]:
            if sent["to"] is None and artifacts["Vault"].bytecode[:64] == sent["input"][2:66]:
                creations.append(sent["hash"])
    vault = record.contract("Vault")
    assert vault.transaction in creations
    same_start = [c for c in record.contracts if c.transaction in creations]
    assert len(creations) == len(same_start)  # whatever starts like the vault is in the record
    assert [c.name for c in record.contracts].count("Vault") == 1
    calls = functions(vault_abi(artifacts.__getitem__))

    def read(name: str, *arguments: Any) -> list[Any]:
        return calls[name].decode(rpc.eth_call(record.vault, calls[name].encode(*arguments)))

    assert read("listedCounts") == [1, 1]
    expiry = record.underlyings[0].expiries[0]
    beyond = len(expiry.strikes_wad)
    assert read("strike", 0, expiry.day, beyond - 1)[0] == int(expiry.strikes_wad[-1])
    assert read("strike", 0, expiry.day, beyond)[0] == 0
    for index, step in enumerate(record.steps[:-1]):  # in the order of the plan
        assert step.block <= record.steps[index + 1].block


@pytest.mark.slow
@pytest.mark.parametrize("signer", ["key", "unlocked"])
def test_H61_killed_at_twenty_random_points(
    fresh: Node,
    artifacts: Artifacts,
    reference: DeploymentRecord,
    config_file: Path,
    tmp_path: Path,
    signer: str,
) -> None:
    """SIGKILL at a random event of every run: around journal entries and sendings."""
    chance = random.Random(61)
    out = tmp_path / "records" / "small.json"
    secret = key(0).key.hex() if signer == "key" else "-"
    deaths: list[str] = []
    while True:
        death = chance.randint(1, 6)
        process = child(fresh, config_file, out, secret=secret, death=death, pause=0)
        output, errors = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        assert process.returncode == -9, errors
        deaths.append(output.split("dies ")[1].strip())
        if deaths[-1] == "after removal":
            break  # everything was done by then
        assert not out.exists() or deaths[-1] == "before removal"
        assert len(deaths) < 200, "no progress"
    assert len(deaths) >= 20
    assert {"before sending", "after sending", "before writing", "after writing"} <= set(deaths)
    with fresh.rpc() as rpc:
        check_single(rpc, artifacts, read_record(out), reference)
    assert not journal_path(out).exists()


@pytest.mark.slow
def test_H61_killed_from_outside_while_transactions_wait(
    artifacts: Artifacts, reference: DeploymentRecord, config_file: Path, tmp_path: Path
) -> None:
    """Blocks come every second, so most kills find a transaction in the pool."""
    chance = random.Random(7)
    out = tmp_path / "small.json"
    secret = key(0).key.hex()
    kills = pending = 0
    with Anvil(extra=("--block-time", "1")) as node, node.rpc() as rpc:
        while kills < 20:
            process = child(node, config_file, out, secret=secret, death=0, pause=0.005)
            try:
                process.communicate(timeout=chance.uniform(0.02, 0.6))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
            me = key(0).address
            pending += rpc.nonce(me) > int(rpc.call("eth_getTransactionCount", me, "latest"), 16)
            if process.returncode == 0:
                break
        rpc.call("evm_setIntervalMining", 0)
        rpc.call("evm_setAutomine", True)
        rpc.call("evm_mine")
        process = child(node, config_file, out, secret=secret, death=0, pause=0)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert kills >= 20 and pending >= 3
        check_single(rpc, artifacts, read_record(out), reference)


def test_two_runs_at_once_exclude_each_other(
    rpc: Rpc, artifacts: Artifacts, tmp_path: Path
) -> None:
    out = tmp_path / "r.json"
    config = parse_config(small_config())
    with pytest.raises(StopHere), Journal(journal_path(out)) as held:
        deploy(config, Stopper(rpc, artifacts, after=3), journal=held)
    with Journal(journal_path(out)), pytest.raises(JournalError, match="another deployment is"):
        deploy_and_record(config, unlocked(rpc, artifacts), out, lambda _: None)
    deploy_and_record(config, unlocked(rpc, artifacts), out, lambda _: None)
    assert read_record(out).contract("Vault")


class StopHere(Exception):
    """Stands for a crash."""


class Stopper(RpcSender):
    """Crashes after so many transactions, the last of which is sent but never heard of."""

    def __init__(self, rpc: Rpc, artifacts: Artifacts, after: int) -> None:
        super().__init__(rpc, artifacts, unlocked=key(0).address)
        self.left = after

    def _submit(self, to: str | None, data: bytes, nonce: int | None) -> str:
        sent = super()._submit(to, data, nonce)
        self.left -= 1
        if self.left == 0:
            raise StopHere
        return sent


def stopped(rpc: Rpc, artifacts: Artifacts, out: Path, after: int) -> None:
    with pytest.raises(StopHere):
        deploy_and_record(
            parse_config(small_config()),
            Stopper(rpc, artifacts, after),
            out,
            lambda _: None,
        )


def test_a_nonce_used_by_a_stranger_is_replaced(
    rpc: Rpc, artifacts: Artifacts, tmp_path: Path
) -> None:
    """Another transaction took the nonce of an intent: the step is sent with the next one."""
    out = tmp_path / "r.json"
    stopped(rpc, artifacts, out, 4)
    me = key(0).address
    journal = journal_path(out)
    lines = journal.read_text().splitlines()
    # the intent of a fifth step was written, then the process died and its owner sent ether
    nonce = rpc.nonce(me)
    step = "deploy ArrayLogic" if "ArrayLogic" not in journal.read_text() else "deploy MarketLogic"
    intent = {"step": step, "nonce": nonce, "to": None, "data_hash": "0x" + "1" * 64}
    journal.write_text("\n".join([*lines, json.dumps(intent)]) + "\n")
    rpc.receipt(rpc.send({"from": me, "to": key(5).address, "value": "0x1"}))
    record = deploy_and_record(
        parse_config(small_config()), unlocked(rpc, artifacts), out, lambda _: None
    )
    assert rpc.nonce(me) == len(record.contracts) + len(record.steps) + 1
    assert [c.name for c in record.contracts].count("Vault") == 1


def test_a_journal_line_torn_in_the_middle_is_dropped(
    rpc: Rpc, artifacts: Artifacts, tmp_path: Path
) -> None:
    out = tmp_path / "r.json"
    stopped(rpc, artifacts, out, 6)
    journal = journal_path(out)
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"step":"deploy Vau')
    lines: list[str] = []
    deploy_and_record(parse_config(small_config()), unlocked(rpc, artifacts), out, lines.append)
    assert "going on with an unfinished deployment: 5 steps are done" in lines[0]
    assert sum(line.endswith("(done)") for line in lines) == 5
    assert read_record(out).contract("Vault").libraries


@pytest.mark.parametrize("text", [b"\x00\n", b"[]\n", b'{"step":"x"}\n', b'{"header":{}}\n'])
def test_a_foreign_file_is_not_taken_for_a_journal(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "r.journal"
    file.write_bytes(text)
    with pytest.raises(JournalError, match="is not a deployment journal"):
        Journal(file)
    assert file.read_bytes() == text


def test_another_configuration_does_not_go_on(
    rpc: Rpc, artifacts: Artifacts, tmp_path: Path
) -> None:
    """On a local net the old journal is forgotten; elsewhere it is refused and kept."""
    out = tmp_path / "r.json"
    stopped(rpc, artifacts, out, 3)
    journal = journal_path(out)
    other = parse_config(spoiled({"margin.target": "1.05"}, small_config()))
    public = other.model_copy(update={"local": False})
    before = journal.read_bytes()
    with pytest.raises(JournalError, match=r"differs in config_hash.*move the file away"):
        deploy_and_record(public, unlocked(rpc, artifacts), out, lambda _: None)
    assert journal.read_bytes() == before
    lines: list[str] = []
    deploy_and_record(other, unlocked(rpc, artifacts), out, lines.append)
    assert "forgetting an unfinished deployment" in lines[0]
    assert not journal.exists()


def test_a_failing_step_is_sent_anew_when_its_cause_is_gone(
    rpc: Rpc, artifacts: Artifacts, tmp_path: Path
) -> None:
    """Mined but reverted (out of gas here): the next run uses a new nonce."""
    out = tmp_path / "r.json"
    config = parse_config(small_config())

    class Starved(RpcSender):
        def send(self, to: str, data: bytes, nonce: int | None = None) -> str:
            place = {"from": self.address, "to": to, "data": "0x" + data.hex()}
            return self.rpc.send({**place, "nonce": hex(nonce or 0), "gas": hex(60_000)})

    starved = Starved(rpc, artifacts, unlocked=key(0).address)
    with pytest.raises(TransactionError, match="list underlying ETH: "):
        deploy_and_record(config, starved, out, lambda _: None)
    used = rpc.nonce(key(0).address)
    record = deploy_and_record(config, unlocked(rpc, artifacts), out, lambda _: None)
    assert rpc.nonce(key(0).address) == len(record.contracts) + len(record.steps) + (
        used - len(record.contracts)
    )


def test_a_lost_connection_leaves_the_journal(
    rpc: Rpc, artifacts: Artifacts, tmp_path: Path
) -> None:
    out = tmp_path / "r.json"
    config = parse_config(small_config())

    class Cut(RpcSender):
        count = 0

        def _submit(self, to: str | None, data: bytes, nonce: int | None) -> str:
            sent = super()._submit(to, data, nonce)
            self.count += 1
            if self.count == 7:
                raise TransportError("the line is cut")
            return sent

    lines: list[str] = []
    with pytest.raises(TransportError):
        deploy_and_record(config, Cut(rpc, artifacts, unlocked=key(0).address), out, lines.append)
    assert "the same command goes on from here" in lines[-1]
    record = deploy_and_record(config, unlocked(rpc, artifacts), out, lambda _: None)
    assert rpc.nonce(key(0).address) == len(record.contracts) + len(record.steps)


def test_an_underpriced_copy_is_outbid(rpc: Rpc, artifacts: Artifacts) -> None:
    """The pool holds an earlier copy with the same nonce and a higher fee."""
    sender = RpcSender(rpc, artifacts, key=key(4))

    refusals = 3

    class Pool:
        """Refuses until the fee has risen often enough."""

        def __init__(self) -> None:
            self.fees: list[int] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(rpc, name)

        def send_raw(self, signed: bytes) -> str:
            self.fees.append(len(self.fees))
            if len(self.fees) <= refusals:
                raise RpcError("eth_sendRawTransaction", -32000, "transaction underpriced")
            return rpc.send_raw(signed)

    pool = Pool()
    sender.rpc = pool  # type: ignore[assignment]
    sent = sender.send(key(5).address, b"")
    assert len(pool.fees) == refusals + 1
    transaction = rpc.call("eth_getTransactionByHash", sent)
    base = int(rpc.call("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
    assert int(transaction["maxFeePerGas"], 16) > 2 * base * 19 // 10


def test_a_transaction_stuck_in_the_pool_is_replaced_not_doubled(artifacts: Artifacts) -> None:
    """Nobody mines it: after the timeout it goes out again with its own nonce and a higher fee."""
    with Anvil(automine=False) as node, node.rpc() as rpc:
        sender = RpcSender(rpc, artifacts, key=key(0))
        to, data = key(5).address, b"\x01\x02"
        header = Header(
            version=1,
            config_hash="0x" + "0" * 64,
            code_hash="0x" + "0" * 64,
            chain_id=31337,
            genesis="0x" + "0" * 64,
            deployer=sender.address,
            block=0,
            timestamp=0,
            prices_wad=[],
        )
        journal = Journal()
        journal.begin(header)
        journal.intend("step", Intent(0, to.lower(), "0x" + keccak(data).hex()))
        stuck = sender.send(to, data, 0)

        def send(nonce: int, payload: bytes) -> str:
            sent = sender.send(to, payload, nonce)
            rpc.call("evm_mine")
            return sent

        once = Once(sender, journal, Errors([]), timeout=0.3)
        receipt = once.run("step", to, lambda: data, send)
        assert receipt["transactionHash"] != stuck
        assert rpc.call("eth_getTransactionReceipt", stuck) is None
        rpc.call("evm_mine")
        assert rpc.nonce(sender.address) == 1
        # and the next run finds it by its nonce, without having heard of its hash
        journal.done.clear()
        again = Once(sender, journal, Errors([]), timeout=0.3)
        assert again.run("step", to, lambda: data, send) == receipt and again.sent == []
