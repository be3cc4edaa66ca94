"""Rows (a) to (c) of the scan: agreement, counts, and that a difference would be seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from risk.cli import bench
from risk.diff.margin_cases.words import account_slot, account_words
from risk.errors import ToolchainError
from risk.exact.state import Account, Linear, Option, State
from risk.keeper.measure import multicall, scan_rows
from risk.keeper.measure.packed import decode_batch
from risk.keeper.measure.scan_rows import CHAIN_FIELDS, NodeScan, NodeSizes
from risk.keeper.source import Malformed
from risk.vector import exact, sample
from risk.vector.accounts import AccountBatch
from risk.vector.market import MarketTable
from risk.vector.measure import Row, Scan

WIDTH = 16


@pytest.fixture(scope="module")
def market() -> tuple[State, MarketTable]:
    state = sample.market(1, instruments=20, underlyings=2, scenarios=32)
    return state, MarketTable.from_state(state)


def lens_words(number: int, account: Account) -> bytes:
    """What the lens gives of an account: header, pairs named by the mask, entries in use."""
    words = account_words(number, account)
    first = account_slot(number)
    pairs = [1 + j // 2 for j in range(0, 16, 2) if any(account.collateral[j : j + 2])]
    slots = [0, *pairs, *range(9, 9 + len(account.linear))]
    slots += range(137, 137 + (len(account.options) + 1) // 2)
    return b"".join(words.get(first + s, 0).to_bytes(32, "big") for s in slots)


def wild_account(rng: Random, table: MarketTable, state: State) -> Account:
    """Any number of entries of either kind, claims, odd counts of options, all collaterals."""
    out = Account(rng.choice([0, rng.randrange(-(10**24), 10**24)]))
    if out.cash_wad:
        out.interest_index = rng.randint(10**15, 11 * 10**14)
    ids = rng.sample(table.ids, rng.randint(0, min(20, len(table.ids))))
    for i in ids:
        size = rng.choice((-1, 1)) * rng.randrange(1, 10**22)
        if i >> 26 & 3 >= 2:
            out.options.append(Option(i, size))
        else:
            claim = rng.random() < 0.2
            out.linear.append(Linear(i, 0 if claim else size, rng.randrange(-(10**26), 10**26)))
    for j in range(len(state.collaterals)):
        if rng.random() < 0.5:
            out.collateral[j] = rng.randrange(1, 10**20)
    if rng.random() < 0.1:
        out.options.append(Option(1 << 31 | 2 << 26 | 77, 10**18))  # the table lacks it
    return out


def test_packed_accounts_are_those_of_the_model(market: tuple[State, MarketTable]) -> None:
    state, table = market
    state = replace(state, supply_index_e15=13 * 10**14, borrow_index_e15=15 * 10**14)
    rng = Random(5)
    state.accounts = {i << 8: wild_account(rng, table, state) for i in range(1, 400)}
    data = b"".join(lens_words(n, a) for n, a in state.accounts.items())
    got = decode_batch(table, state, list(state.accounts), data)
    want = AccountBatch.from_state(table, state, list(state.accounts))
    for name in ("cash", "recorded", "index", "pointer", "column", "size", "quote"):
        assert np.array_equal(getattr(got, name), getattr(want, name)), name
    for name in ("collateral_pointer", "collateral", "amount", "apart"):
        assert np.array_equal(getattr(got, name), getattr(want, name)), name
    assert got.apart.any() and not got.apart.all()
    assert [got.account(i) for i in range(399)] == [want.account(i) for i in range(399)]


def test_a_cut_answer_and_a_wrong_mask_are_refused(market: tuple[State, MarketTable]) -> None:
    state, table = market
    account = Account(7, linear=[Linear(0, 1, 1)])
    account.collateral[0] = 5
    data = lens_words(256, account)
    for bad in (data[:-32], data[:-1], data + bytes(32), b""):
        with pytest.raises(Malformed):
            decode_batch(table, state, [256], bad)
    hidden = bytearray(data)
    hidden[32:64] = bytes(32)  # the mask names collateral 0, its word is empty
    with pytest.raises(Malformed, match="mask"):
        decode_batch(table, state, [256], bytes(hidden))


def test_all_rows_agree_on_a_node() -> None:
    state = sample.market(1)
    table = MarketTable.from_state(state)
    batch = sample.accounts(table, 150, WIDTH, 3)
    done = scan_rows.node_rows(state, table, batch, NodeSizes(20, 120, 150), lambda _: None)
    assert list(done.rows) == ["a", "b", "c"]
    assert {k: r.accounts for k, r in done.rows.items()} == {"a": 20, "b": 120, "c": 150}
    assert done.compared == {
        "a": 20, "a_own_client": 20, "b": 120, "c": 150, "c_exact": 150, "c_accounts": 150,
    }  # fmt: skip
    assert done.disagreements == 0
    assert done.rows["c"].per_second > done.rows["a"].per_second
    # the comparison can fail: each field of the vault's answer counts
    m = exact.margins(table, batch.take(np.arange(1)), state)
    shown = tuple(int(getattr(m.row(0), name)) for name in CHAIN_FIELDS)
    assert scan_rows.same(m, 0, shown)
    for k, value in enumerate(shown):
        assert not scan_rows.same(m, 0, (*shown[:k], value + 1, *shown[k + 1 :]))
    other = exact.margins(MarketTable.from_state(sample.move(state, 1)), batch, state)
    right = exact.margins(table, batch, state)
    assert scan_rows.unequal(other, right, 150) > 140
    assert scan_rows.unequal(right, right, 150) == 0


def test_targets_and_differences_of_the_node_rows_are_reported() -> None:
    rows = {k: Row(k, 1000, s, s) for k, s in (("d", 1.0), ("e", 0.05), ("f", 0.005))}
    result = Scan(rows, 1000, 0, 1000, 0, 0, 0)
    nodes = NodeScan()
    nodes.add("a", Row("a", 100, 1.0, 1.0), 100, 0)
    nodes.add("c", Row("c", 1000, 0.25, 0.25), 1000, 3)
    nodes.add("c_exact", Row("c", 1000, 0.25, 0.25), 1000, 0)
    assert bench.ratios(result, nodes)["c/a"] == 40
    assert bench.failures(result, [], True, nodes) == [
        "3 accounts disagree",
        "(c) is 40.0 × (a), wanted 50 ×",
    ]
    assert list(bench.all_rows(result, nodes)) == ["a", "c", "d", "e", "f"]


def test_multicall_is_the_published_code(tmp_path: Path) -> None:
    code = bytes.fromhex(multicall.creation_code()[2:])
    assert bytes.fromhex("82ad56cb") in code  # selector of aggregate3
    with pytest.raises(ToolchainError, match="make setup"):
        multicall.creation_code(tmp_path)
