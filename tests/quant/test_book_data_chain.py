"""The book of a vault on a node, at the head and at an earlier block."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from risk.cli.main import app
from risk.exact.errors import ModelRevert
from risk.exact.margin import margin_engine
from risk.exact.state import Account
from risk.quant.book_chain import book_from_chain, book_from_record
from risk.quant.errors import QuantError
from risk.quant.whatif import Measure
from tests.support.book_ground import Ground

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def ground(furnished: Ground) -> Ground:
    return furnished


def endpoint(ground: Ground) -> str:
    return str(ground.chain.node.endpoint)


def test_the_book_is_the_models_at_the_block(ground: Ground) -> None:
    earlier = ground.chain.rpc.block_number()
    then = {n: a for n, a in ground.session.state.clone().accounts.items() if a != Account()}
    assert sum(len(a.linear) + len(a.options) for a in then.values()) >= 6
    user = next(iter(then)) >> 8
    number = [u.address for u in ground.session.deployment.users].index(user)
    ground.deposit(number, 0, 1_000_000)
    now = book_from_chain(endpoint(ground), ground.vault, deployed=ground.first)
    block = ground.chain.rpc.call("eth_getBlockByNumber", "latest", False)
    assert now.about["block"] == int(block["number"], 16) > earlier
    assert now.about["block_hash"] == block["hash"]
    assert now.about["time"] == int(block["timestamp"], 16)

    old = book_from_chain(endpoint(ground), ground.vault, deployed=ground.first, block=earlier)
    assert old.about["block"] == earlier and old.about["block_hash"] != block["hash"]
    assert {n: a for n, a in old.state.accounts.items() if a != Account()} == then
    assert old.state.accounts[user << 8] != now.state.accounts[user << 8]
    view = Measure(old).view()
    for i, account in enumerate(view.ids):
        try:
            want = margin_engine.compute(
                ground.session.state, account, ground.session.state.accounts[account]
            )
        except ModelRevert:
            assert view.status[i] == 0
        else:
            assert view.margins.row(i).mm == want.mm


def test_refuses_what_is_not_there(ground: Ground) -> None:
    head = ground.chain.rpc.block_number()
    with pytest.raises(QuantError, match=rf"block {head + 9} is not within"):
        book_from_chain(endpoint(ground), ground.vault, block=head + 9)
    with pytest.raises(QuantError, match="there is no contract at 0x00000000000000000000000000000"):
        book_from_chain(endpoint(ground), "0x" + "0" * 39 + "9")
    with pytest.raises(QuantError, match="1 names of underlyings"):
        book_from_chain(endpoint(ground), ground.vault, deployed=ground.first, underlyings=["ETH"])


def test_the_command_records_the_block(ground: Ground, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = ["stress", "--rpc", endpoint(ground), "--vault", ground.vault]
    result = CliRunner().invoke(app, [*arguments, "--scenario", "vol-up", "--json", str(out)])
    assert result.exit_code == 0, result.stderr
    book = json.loads(out.read_text())["book"]
    assert book["vault"] == ground.vault
    assert book["block"] == ground.chain.rpc.block_number()
    assert book["block_hash"] in result.stderr


def test_a_record_gives_address_first_block_and_names(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = ground.session.state
    record = SimpleNamespace(
        chain_id=31337,
        vault=ground.vault,
        contracts=[
            SimpleNamespace(kind="token", block=0),
            SimpleNamespace(kind="vault", block=ground.first),
        ],
        underlyings=[SimpleNamespace(name=f"U{i}") for i in range(len(state.underlyings))],
        collaterals=[SimpleNamespace(symbol=f"C{i}") for i in range(len(state.collaterals))],
    )
    monkeypatch.setattr("risk.deploy.record.read_record", lambda _: record)
    book = book_from_record(endpoint(ground), Path("record.json"))
    assert book.underlyings[0] == "U0" and len(book.state.accounts) > 0
    record.chain_id = 1
    with pytest.raises(QuantError, match=r"record.json is of chain 1; .* serves chain 31337"):
        book_from_record(endpoint(ground), Path("record.json"))
