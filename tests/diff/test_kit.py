"""The kit: artifacts of every build tool, the same cases on every engine, exploration, corpus,
hypothesis, forks.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.chain.node import Anvil, project_root
from risk.chain.rpc import to_hex
from risk.diff.compare import compare
from risk.diff.coverage import Tally
from risk.diff.kit.adapter import Step
from risk.diff.kit.artifacts import from_folder, from_sources
from risk.diff.kit.chain import role_address
from risk.diff.kit.corpus import Corpus, Entry, from_json, to_json
from risk.diff.kit.draw import SeededDraw
from risk.diff.kit.errors import DiffError
from risk.diff.kit.explore import explore
from risk.diff.kit.load import adapter_from_file, load_target
from risk.diff.kit.node import NodeEngine
from risk.diff.kit.strategies import assert_agreement
from risk.diff.kit.target import AdapterTarget
from risk.diff.runner import Plan, run_sequence
from tests.diff.share_pool import EXAMPLE, mended_copy


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The example without its fault."""
    return str(mended_copy(tmp_path_factory.mktemp("mended")))


def run(target: AdapterTarget, sequences: int, actions: int = 20) -> Tally:
    tally = Tally()
    target.open()
    try:
        for index in range(sequences):
            run_sequence(target, Plan(seed=3, actions=actions), index, tally)
    finally:
        target.close()
    return tally


# ── engines ──────────────────────────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_on_every_engine(mended: str) -> None:
    tallies = [run(load_target(mended, engine), 6) for engine in ("revm", "node", "batch")]
    assert tallies[0].actions == 120 and tallies[0].mismatches == 0
    assert tallies[0].reverts_compared > 10
    for other in tallies[1:]:
        assert other.summary() == tallies[0].summary()


def test_the_fault_of_the_example_is_found() -> None:
    tally = run(load_target(str(EXAMPLE / "adapter.py")), 10)
    assert tally.mismatches > 0
    first = tally.counterexamples[0]
    assert {m.where for m in first.mismatches} & {"outcome.data", "state.total_assets"}
    assert first.rerun.startswith("plumbline diff ") and "--only-sequence" in first.rerun


def test_engines_undo_and_keep_time(mended: str) -> None:
    for name in ("revm", "node", "batch"):
        target = load_target(mended, name)
        target.open()
        session = target.start_in({"seed_deposit": 5})
        engine, before = target.engine, dict(session.observe_chain())
        mark, time = engine.snapshot(), engine.time()
        for _ in range(2):  # a mark serves more than once
            session.on_model(Step("deposit", "alice", (10,), wait=50))
            assert session.on_chain(Step("deposit", "alice", (10,), wait=50)).ok
            assert engine.time() == time + 50
            assert session.observe_chain()["shares[alice]"] == 10
            engine.revert(mark)
            assert engine.time() == time and session.observe_chain() == before
        target.close()


# ── tolerance ────────────────────────────────────────────────────────────────────────────────────


def test_a_tolerance_covers_what_it_names_and_no_more() -> None:
    model: dict[str, Any] = {"a": 10, "b[1]": 10, "c": True}
    chain: dict[str, Any] = {"a": 11, "b[1]": 12, "c": 1}
    assert len(compare(model, chain)[1]) == 3
    left = compare(model, chain, "", {"a": 1, "b*": 1, "c": 5})[1]
    assert [m.where for m in left] == ["b[1]", "c"]
    assert [m.where for m in compare(model, chain, "", {"b*": 2})[1]] == ["a", "c"]


# ── artifacts ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def compiled() -> Any:
    return from_sources(EXAMPLE, ["src/SharePool.sol"], solc="0.8.37")["SharePool"]


def test_foundry_output(tmp_path: Path, compiled: Any) -> None:
    """Written by the real forge."""
    shutil.copytree(EXAMPLE / "src", tmp_path / "src")
    solc = project_root() / "tools" / "solc"
    (tmp_path / "foundry.toml").write_text(
        "[profile.default]\nsrc = 'src'\nout = 'out'\noptimizer = true\noptimizer_runs = 200\n"
        f"evm_version = 'shanghai'\noffline = true\nsolc = '{solc}'\n"
    )
    forge = next((project_root() / "node_modules" / "@foundry-rs").glob("forge-*/bin/forge"))
    build = subprocess.run(
        [forge, "build", "--root", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert build.returncode == 0, build.stdout + build.stderr
    made = from_folder(tmp_path / "out")["SharePool"]
    assert sorted(map(str_of, made.abi)) == sorted(map(str_of, compiled.abi))
    assert without_metadata(made.bytecode) == without_metadata(compiled.bytecode)


def str_of(entry: Any) -> str:
    return json.dumps(entry, sort_keys=True)


def without_metadata(code: str) -> str:
    return code[: -2 * (int(code[-4:], 16) + 2)]


def test_hardhat_and_brownie_output(tmp_path: Path, compiled: Any) -> None:
    links = {"src/L.sol": {"L": [{"start": 5, "length": 20}]}}
    plain = {"abi": compiled.abi, "contractName": "SharePool"}
    hardhat = tmp_path / "hardhat" / "artifacts" / "contracts" / "SharePool.sol"
    hardhat.mkdir(parents=True)
    (hardhat / "SharePool.json").write_text(
        json.dumps(
            {
                "_format": "hh-sol-artifact-1",
                **plain,
                "bytecode": "0x" + compiled.bytecode,
                "deployedBytecode": "0x" + compiled.deployed_bytecode,
                "linkReferences": links,
                "deployedLinkReferences": {},
            }
        )
    )
    (hardhat / "SharePool.dbg.json").write_text("{}")
    brownie = tmp_path / "brownie" / "build" / "contracts"
    brownie.mkdir(parents=True)
    (brownie / "SharePool.json").write_text(
        json.dumps(
            {
                **plain,
                "bytecode": compiled.bytecode,
                "deployedBytecode": compiled.deployed_bytecode,
                "sourcePath": "contracts/SharePool.sol",
            }
        )
    )
    for folder in ("hardhat/artifacts", "brownie/build/contracts"):
        made = from_folder(tmp_path / folder)["SharePool"]
        assert (made.abi, made.bytecode) == (compiled.abi, compiled.bytecode)
        assert made.deployed_bytecode == compiled.deployed_bytecode
    assert from_folder(tmp_path / "hardhat")["SharePool"].link_references == {
        "src/L.sol": {"L": (5,)}
    }


# ── forks ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.chain
def test_attach_to_an_address_on_a_fork(compiled: Any) -> None:
    """The contract lives on another node; the fork sees its state and leaves it alone."""
    with Anvil(chain_id=777) as upstream, upstream.rpc() as rpc:
        (owner,) = rpc.call("eth_accounts")[:1]
        creation = {"from": owner, "data": "0x" + compiled.bytecode}
        address = rpc.receipt(rpc.send(creation))["contractAddress"]
        rpc.receipt(
            rpc.send({"from": owner, "to": address, "data": to_hex(deposit(compiled, 900))})
        )

        class Forked(type(adapter_from_file(str(EXAMPLE / "adapter.py")))):  # type: ignore[misc]
            def deploy(self, chain: Any, world: Any) -> None:
                chain.attach("SharePool", int(address, 16))

            def observe_model(self, model: Any) -> Any:
                return {}

        for fork in (upstream.url, f"{upstream.url}@2"):
            target = AdapterTarget(Forked(), NodeEngine(fork=fork))
            target.open()
            session = target.start_in({"seed_deposit": 0})
            assert session.observe_chain()["total_assets"] == 900
            assert target.engine.node.chain_id == 777  # type: ignore[attr-defined]
            pool = session.chain["SharePool"]
            session.chain.must(pool, "deposit", 100, sender="alice")
            assert session.chain.view(pool, "sharesOf", role_address("alice")) > 0
            target.close()
        held = rpc.eth_call(address, bytes.fromhex(compiled.method_identifiers["totalAssets()"]))
        assert int.from_bytes(held, "big") == 900


def deposit(compiled: Any, amount: int) -> bytes:
    selector: str = compiled.method_identifiers["deposit(uint256)"]
    return bytes.fromhex(selector) + amount.to_bytes(32, "big")


# ── exploration ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.chain
def test_guided_exploration_keeps_a_corpus(mended: str, tmp_path: Path) -> None:
    target = load_target(mended, "node", trace=True)
    target.open()
    try:
        corpus = Corpus(tmp_path)
        seen = explore(target, corpus, seed=1, actions=6, budget_actions=120)
        assert seen.failure is None and seen.actions >= 120
        assert seen.counters > 300 and 1 < seen.kept == len(corpus) < seen.sequences
        assert [total for _, total in seen.growth] == sorted(total for _, total in seen.growth)
        again = Corpus(tmp_path)
        assert {to_json(e) for e in again} == {to_json(e) for e in corpus}
        replayed = explore(target, again, seed=2, actions=6, budget_actions=0)
        assert replayed.sequences == len(again) and replayed.features == seen.features
    finally:
        target.close()


@pytest.mark.chain
def test_guided_exploration_finds_the_fault() -> None:
    target = load_target(str(EXAMPLE / "adapter.py"), "node", trace=True)
    target.open()
    try:
        seen = explore(target, Corpus(), seed=1, actions=20, budget_actions=2000)
    finally:
        target.close()
    assert seen.failure is not None and seen.failure.mismatches


def test_corpus_entries_survive_the_file() -> None:
    entry = Entry({"a": [1, "x"]}, (Step("k", "bob", (b"\x00\xff", (1, ("y", -5)), True), 7, 9),))
    assert from_json(to_json(entry)) == entry
    with pytest.raises(DiffError, match="not a corpus entry"):
        from_json('{"world": {}}')


# ── drawing ──────────────────────────────────────────────────────────────────────────────────────


def test_draws_lean_to_the_boundaries() -> None:
    draw = SeededDraw(Random(1))
    drawn = [draw.integer(0, 2**96, [12_345]) for _ in range(4000)]
    assert min(drawn) == 0 and max(drawn) == 2**96
    for edge in (0, 1, 2**96 - 1, 2**96, 12_344, 12_345, 12_346):
        assert drawn.count(edge) >= 40, edge
    assert len(set(drawn)) > 1200


def test_hypothesis_drives_an_adapter(mended: str) -> None:
    good, faulty = load_target(mended), load_target(str(EXAMPLE / "adapter.py"))
    for target in (good, faulty):
        target.open()

    def agreement(target: AdapterTarget) -> Any:
        @settings(max_examples=60, deadline=None, database=None, derandomize=True)
        @given(st.data())
        def check(data: Any) -> None:
            assert_agreement(target, data, actions=8)

        return check

    agreement(good)()
    with pytest.raises(AssertionError, match=r"model \d+ .*chain \d+|model 0x.*chain 0x"):
        agreement(faulty)()
    for target in (good, faulty):
        target.close()
