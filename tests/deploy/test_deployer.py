"""The deployment on a real node: what it leaves, what it refuses; a failure leaves no record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from risk.chain.abi import functions
from risk.chain.compile import Artifact
from risk.chain.keccak import keccak
from risk.chain.rpc import Rpc, from_hex
from risk.deploy.artifacts import is_code_of, link_order
from risk.deploy.config import load_config, parse_config
from risk.deploy.deployer import deploy
from risk.deploy.errors import (
    DeployError,
    PreflightError,
    TransactionError,
    VerificationError,
)
from risk.deploy.quantise import quantise
from risk.deploy.reports import first_report, local_key, resolve_expiries, sign_digest
from risk.deploy.sender import RpcSender, wait_for
from risk.errors import ChainIdMismatchError, TransportError
from tests.deploy.support import LOCAL, Trader, content, key, small_config, spoiled

Artifacts = Mapping[str, Artifact]
ETH_FEED = 3_000 * 10**8


def sender(rpc: Rpc, artifacts: Artifacts, index: int = 0) -> RpcSender:
    return RpcSender(rpc, artifacts, unlocked=key(index).address)


def test_the_whole_system(rpc: Rpc, artifacts: Artifacts) -> None:
    config = load_config(LOCAL)
    lines: list[str] = []
    record = deploy(config, sender(rpc, artifacts), lines.append)
    assert record.chain_id == 31337 and record.owner == record.deployer == key(0).address
    assert record.config_hash == config.config_hash()
    assert record.params_hash == "0x" + keccak(quantise(config).encode()).hex()
    libraries = [c.name for c in record.contracts if c.kind == "library"]
    assert libraries == link_order("Vault", artifacts.__getitem__)
    linked = {name for c in record.contracts for name in c.libraries}
    assert set(libraries) == linked >= set(record.contract("Vault").libraries)
    for contract in record.contracts:
        code = rpc.code(contract.address)
        assert contract.runtime_hash == "0x" + keccak(code).hex()
        sent = rpc.call("eth_getTransactionByHash", contract.transaction)
        assert contract.creation_hash == "0x" + keccak(from_hex(sent["input"])).hex()
        assert int(sent["blockNumber"], 16) == contract.block
        assert len(code) <= 24_576
        for library, address in contract.libraries.items():
            assert bytes.fromhex(address[2:]) in code, library
    assert len(lines) == len(record.contracts) + len(record.steps) + 1
    assert [len(u.expiries) for u in record.underlyings] == [4, 4, 4]
    vault = functions(artifacts["Vault"].abi)
    for index in range(3):
        data = rpc.eth_call(record.vault, vault["reportStatus"].encode(index))
        assert vault["reportStatus"].decode(data)[0] == 1  # the first report was accepted


def test_a_key_signs_what_an_unlocked_account_may_not(rpc: Rpc, artifacts: Artifacts) -> None:
    me = key(7)
    record = deploy(parse_config(small_config()), RpcSender(rpc, artifacts, key=me))
    assert record.owner == me.address
    sent = rpc.call("eth_getTransactionByHash", record.contract("Vault").transaction)
    assert int(sent["type"], 16) == 2 and int(sent["from"], 16) == int(me.address, 16)


def test_twice_gives_two_independent_systems(rpc: Rpc, artifacts: Artifacts) -> None:
    config = parse_config(small_config())
    one, two = (deploy(config, sender(rpc, artifacts)) for _ in range(2))
    addresses = {c.address for r in (one, two) for c in r.contracts}
    assert len(addresses) == len(one.contracts) + len(two.contracts)
    assert one.params_hash == two.params_hash and one.params_pointer != two.params_pointer
    assert [s.step for s in one.steps] == [s.step for s in two.steps]
    trader = Trader(rpc, artifacts, one, 3)
    trader.deposit(10**6)
    assert trader.read("accountState", trader.account)[0] == 10**18
    other = Trader(rpc, artifacts, two, 3)
    assert other.read("accountState", other.account)[0] == 0


def test_another_chain_is_refused(rpc: Rpc, artifacts: Artifacts) -> None:
    before = rpc.block_number()
    with pytest.raises(ChainIdMismatchError, match="expected 1337, got 31337"):
        deploy(parse_config(spoiled({"chain_ids": [1337]})), sender(rpc, artifacts))
    raw = spoiled({"local": False, "chain_ids": [1, 10]}, public())
    with pytest.raises(PreflightError, match=r"chain_ids: .*31337.*\[1, 10\]"):
        deploy(parse_config(raw), sender(rpc, artifacts))
    assert rpc.block_number() == before


def test_the_wrong_key_is_refused(rpc: Rpc, artifacts: Artifacts) -> None:
    before = rpc.block_number()
    config = parse_config(spoiled({"deployer": key(1).address}))
    with pytest.raises(PreflightError, match="deployer: the key belongs to"):
        deploy(config, sender(rpc, artifacts, 2))
    poor = RpcSender(rpc, artifacts, key=local_key(99))
    with pytest.raises(PreflightError, match="no balance"):
        deploy(parse_config(content()), poor)
    assert rpc.block_number() == before


def public() -> dict[str, Any]:
    """The small system as on a public chain: nothing is mocked, no keys are known."""
    raw = small_config()
    raw["local"] = False
    raw["signers"] = {"threshold": 1, "include_deployer": True}
    del raw["underlyings"][0]["expiries"][0]["slice"]
    for place in (raw["cash"], raw["collaterals"][0]["token"], raw["underlyings"][0]["feed"]):
        place.pop("mock")
        place.pop("price", None)
        place["address"] = "0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238"
    raw["collaterals"][0]["token"]["address"] = "0x779877A7B0D9E8603169DdbD7836e478b4624789"
    return raw


@pytest.fixture
def existing(rpc: Rpc, artifacts: Artifacts) -> dict[str, Any]:
    """`public()` with tokens and a feed that exist."""
    record = deploy(parse_config(small_config()), sender(rpc, artifacts))
    raw = public()
    raw["cash"]["address"] = record.cash_token
    raw["collaterals"][0]["token"]["address"] = record.collaterals[0].token
    raw["underlyings"][0]["feed"]["address"] = record.underlyings[0].feed
    raw["chain_ids"] = [31337]
    return raw


def test_a_public_chain_without_reports(
    rpc: Rpc, artifacts: Artifacts, existing: dict[str, Any]
) -> None:
    record = deploy(parse_config(existing), sender(rpc, artifacts))
    assert [c.kind for c in record.contracts].count("token") == 0
    assert record.steps[-1].step == "refresh ETH"
    assert record.signers == [key(0).address]
    strikes = [int(k) for k in record.underlyings[0].expiries[0].strikes_wad]
    assert strikes[0] == 1_800 * 10**18 and strikes[-1] == 4_500 * 10**18
    assert all(k % (25 * 10**18) == 0 for k in strikes)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"cash.decimals": 18}, "cash.decimals: 18 in the config, 6 on chain"),
        ({"collaterals.0.token.decimals": 8}, "collaterals[0].token.decimals: 8"),
        ({"underlyings.0.feed.decimals": 18}, "underlyings[0].feed.decimals: 18"),
        ({"underlyings.0.feed.min_price": "3001"}, "underlyings[0].feed: the live answer"),
        (
            {"underlyings.0.feed.max_price": "2999"},
            "outside the limits [10000000000, 299900000000]",
        ),
        ({"cash.address": key(5).address}, "cash.address: no contract at"),
    ],
)
def test_what_is_there_must_be_what_the_config_says(
    rpc: Rpc, artifacts: Artifacts, existing: dict[str, Any], change: dict[str, Any], expected: str
) -> None:
    before = rpc.block_number()
    with pytest.raises(PreflightError) as caught:
        deploy(parse_config(spoiled(change, existing)), sender(rpc, artifacts))
    assert expected in str(caught.value)
    assert rpc.block_number() == before


def test_a_token_is_no_feed_and_a_stale_feed_is_refused(
    rpc: Rpc, artifacts: Artifacts, existing: dict[str, Any]
) -> None:
    cash = existing["cash"]["address"]
    change = {"underlyings.0.feed.address": cash, "underlyings.0.feed.decimals": 6}
    with pytest.raises(PreflightError, match="no latestRoundData"):
        deploy(parse_config(spoiled(change, existing)), sender(rpc, artifacts))
    rpc.call("evm_increaseTime", 86_401)
    rpc.call("evm_mine")
    with pytest.raises(PreflightError, match="s old, the limit is max_age_seconds = 86400"):
        deploy(parse_config(existing), sender(rpc, artifacts))


def test_a_revert_names_step_and_error(rpc: Rpc, artifacts: Artifacts) -> None:
    """A slice with negative total variance passes the field limits and is refused by the vault."""
    change = {"underlyings.0.expiries.0.slice.a": "-0.9"}
    with pytest.raises(TransactionError, match=r"report ETH: reverted: SviNegativeVariance\("):
        deploy(parse_config(spoiled(change, small_config())), sender(rpc, artifacts))


def test_signers_that_coincide_do_not_reach_the_threshold(rpc: Rpc, artifacts: Artifacts) -> None:
    signers = {"threshold": 2, "include_deployer": True, "addresses": [key(0).address]}
    before = rpc.block_number()
    with pytest.raises(PreflightError, match=r"signers.threshold: 2 is above the 1 distinct"):
        deploy(parse_config(spoiled({"signers": signers}, small_config())), sender(rpc, artifacts))
    assert rpc.block_number() == before


class Meddler(RpcSender):
    """Sends something else than asked for at one step."""

    swap: tuple[bytes, bytes] = (b"", b"")

    def send(self, to: str, data: bytes, nonce: int | None = None) -> str:
        if data[:4] == self.swap[0]:
            data = self.swap[1]
        return super().send(to, data, nonce)


def test_the_read_back_notices(rpc: Rpc, artifacts: Artifacts) -> None:
    """Parameters, signers and strikes that are not what was asked for are found."""
    vault = functions(artifacts["Vault"].abi)
    raw = small_config()
    other = quantise(parse_config(spoiled({"margin.target": "1.05"}, raw))).encode()
    meddler = Meddler(rpc, artifacts, unlocked=key(0).address)
    meddler.swap = (vault["setRiskParams"].selector, vault["setRiskParams"].encode(other))
    with pytest.raises(VerificationError, match="risk parameters: expected"):
        deploy(parse_config(raw), meddler)
    wrong = sorted(int(local_key(i).address, 16) for i in range(3))
    meddler.swap = (vault["setSigners"].selector, vault["setSigners"].encode(wrong, 1))
    with pytest.raises((VerificationError, TransactionError)) as caught:
        deploy(parse_config(raw), meddler)
    assert "signers" in str(caught.value)


def test_code_comparison(rpc: Rpc, artifacts: Artifacts) -> None:
    record = deploy(parse_config(small_config()), sender(rpc, artifacts))
    code = rpc.code(record.vault)
    vault = artifacts["Vault"]
    assert is_code_of(vault, code)
    for name in link_order("Vault", artifacts.__getitem__):
        assert is_code_of(artifacts[name], rpc.code(record.contract(name).address))
        assert not is_code_of(artifacts[name], code)
    assert not is_code_of(vault, b"") and not is_code_of(vault, code[:-1])
    flipped = bytearray(code)
    flipped[-20] ^= 1  # inside the metadata hash
    assert not is_code_of(vault, bytes(flipped))


def test_links_must_not_form_a_circle(artifacts: Artifacts) -> None:
    vault = artifacts["Vault"]
    circle = replace(artifacts["ArrayLogic"], link_references={"x": {"TradeLogic": (1,)}})
    everything = {**artifacts, "ArrayLogic": circle}
    with pytest.raises(DeployError, match="circle"):
        link_order(vault.name, everything.__getitem__)


def test_expiry_resolution() -> None:
    day = 20_000
    noon = day * 86_400 + 43_200

    def resolve(expiries: Sequence[dict[str, Any]], now: int = noon) -> list[Any]:
        raw = spoiled({"underlyings.0.expiries": list(expiries)}, small_config())
        underlying = parse_config(raw).underlyings[0]
        return resolve_expiries(underlying, 2_510 * 10**18, now, "underlyings[0]")

    near, far = (
        {"in_days": 30, "moneyness": ["0.98", "1", "1.01"], "step": "25"},
        {"day": day + 7, "strikes": ["1", "2.5"]},
    )
    listed = resolve([near, far])
    assert [e.day for e in listed] == [day + 7, day + 30]
    assert listed[0].strikes_wad == (10**18, 25 * 10**17)
    # 2459.8 -> 98.392 steps -> 2450; 2510 -> 100.4 -> 2500; 2535.1 -> 101.404 -> 2525
    assert [k // 10**18 for k in listed[1].strikes_wad] == [2450, 2500, 2525]
    with pytest.raises(PreflightError, match=r"expiries\[1\]: day 20007 is given twice"):
        resolve([far, {**far}])
    with pytest.raises(PreflightError, match="day 20000 is over"):
        resolve([{"day": day, "strikes": ["1"]}])
    assert resolve([{"day": day, "strikes": ["1"]}], now=day * 86_400)[0].day == day
    with pytest.raises(PreflightError, match=r"strike 0 is outside the limits \(0, 10000000\]"):
        resolve([{"in_days": 1, "moneyness": ["0.01"], "step": "100"}])
    assert first_report(0, listed, noon) is None


def test_signatures_come_in_the_order_of_the_addresses() -> None:
    keys = [local_key(i) for i in range(5)]
    ordered = sorted(keys, key=lambda k: int(k.address, 16))
    assert sign_digest(b"\x01" * 32, keys) == sign_digest(b"\x01" * 32, ordered)
    assert len({k.address for k in keys}) == 5


def test_a_transaction_that_never_arrives_is_given_up(rpc: Rpc) -> None:
    with pytest.raises(TransportError, match="nothing about 0x0000"):
        wait_for(rpc, "eth_getTransactionReceipt", "0x" + "0" * 64, timeout=0.05)
