"""Rows (a), (b) and (c) of ``plumbline bench scan``: the same accounts through a node.

(a) ``contract.functions.margin(account).call()`` of web3.py, one account after the other: the
    vault computes, web3.py encodes and decodes.
(b) the same calls in ``Multicall3.aggregate3``, 100 a call, through web3.py.
(c) the lens reads the accounts' storage, 1 000 a call; the verdict of each (HEALTHY, UNHEALTHY,
    UNKNOWN) comes from the certified filter, exact integers where it leaves one open. Inside the
    clock: reading, decoding, batch, filter. Outside: the market table.

All three use the node's Unix socket: over HTTP web3.py loses some 30 ms a call to Anvil, which
would flatter (c). Arrays are cached by the contract before, as in production. Compared: every
field of every margin of (a) and (b) with the exact engine's, and of (c) the exact margins of what
the lens read, and the verdicts, with those of the book.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from risk.chain.sync import transact
from risk.exact.state import State
from risk.keeper.book.lens import lens_code
from risk.keeper.measure import multicall
from risk.keeper.measure.packed import PackedLens, decode_batch
from risk.keeper.measure.processor import timed
from risk.keeper.measure.stage import Stage, option_ids
from risk.keeper.source import Block, HeadRule, open_source
from risk.vector import exact
from risk.vector.accounts import AccountBatch
from risk.vector.certified import FloatBatch
from risk.vector.decide import Verdicts
from risk.vector.market import MarketTable
from risk.vector.measure import Row, Tell, differing, filtered
from risk.vector.result import FIELDS, Margins

REPEATS: Final = 3
CALLS_A_BATCH: Final = 100
# the order of the vault's `Margin`
CHAIN_FIELDS: Final = (
    "mark_equity", "equity", "scan", "floor_charge", "basis", "liq", "liq_im", "mm", "im",
    "health_factor", "has_obligations", "binding_scenario",
)  # fmt: skip

Shown = tuple[int, ...]


@dataclass(frozen=True)
class NodeSizes:
    """How many accounts each row reads: the first ones of the book."""

    single: int
    multicall: int
    lens: int


@dataclass
class NodeScan:
    """Rows a, b, c and their variants; how many accounts were compared, and how many differ."""

    rows: dict[str, Row] = field(default_factory=dict)
    variants: dict[str, Row] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)
    differs: dict[str, int] = field(default_factory=dict)

    @property
    def disagreements(self) -> int:
        """Over all rows."""
        return sum(self.differs.values())

    def add(self, key: str, row: Row, compared: int, differs: int) -> None:
        """One row, or a variant where the key is longer than a letter."""
        (self.rows if len(key) == 1 else self.variants)[key] = row
        self.compared[key], self.differs[key] = compared, differs


def node_rows(
    state: State, table: MarketTable, batch: AccountBatch, sizes: NodeSizes, tell: Tell
) -> NodeScan:
    """Rows a, b and c on the first accounts of ``batch``, in the market of ``state``."""
    count = min(len(batch), max(sizes.single, sizes.multicall, sizes.lens))
    rows = np.arange(count)
    wanted = exact.margins(table, batch.take(rows), state)
    placed = State(**vars(state))
    numbers = [(i + 1) << 8 for i in range(count)]
    placed.accounts = {}
    for i, number in enumerate(numbers):
        account = batch.account(i)
        # at the present index, so that recorded cash and cash are the same
        account.interest_index = (
            0
            if not account.cash_wad
            else state.supply_index_e15
            if account.cash_wad > 0
            else state.borrow_index_e15
        )
        placed.accounts[number] = account
    with Stage() as stage:
        tell(f"writing {count} accounts into a node")
        stage.place(placed, max(u.time for u in state.underlyings) + 600)
        stage.compute_arrays(option_ids(table.ids))
        reader = _Reader(stage, table, state, numbers, wanted)
        tell(f"(a) web3.py on {sizes.single} accounts")
        out = NodeScan()
        reader.singles(out, sizes.single)
        tell(f"(b) Multicall3 on {sizes.multicall} accounts")
        reader.multicalls(out, sizes.multicall)
        tell(f"(c) the lens on {sizes.lens} accounts")
        reader.lens(out, sizes.lens)
        reader.close()
    return out


class _Reader:
    """The ways to read one stage."""

    def __init__(
        self,
        stage: Stage,
        table: MarketTable,
        state: State,
        numbers: list[int],
        wanted: Margins,
    ) -> None:
        from web3 import IPCProvider, Web3

        self.stage, self.table, self.state = stage, table, state
        self.numbers, self.wanted = numbers, wanted
        self.web3 = Web3(IPCProvider(stage.chain.node.endpoint))
        self.vault = Web3.to_checksum_address(stage.vault_hex)
        self.contract = self.web3.eth.contract(address=self.vault, abi=stage.abi)
        self.pid = stage.chain.node.pid
        self.source = open_source(
            [str(stage.chain.node.endpoint)], timeout=120.0, rule=HeadRule(lag=None)
        )

    def close(self) -> None:
        """Connections."""
        self.source.close()

    # ── (a) ──────────────────────────────────────────────────────────────────────────────────────

    def singles(self, out: NodeScan, count: int) -> None:
        """web3.py, and the same call by our own client."""
        numbers = self.numbers[:count]
        margin = self.contract.functions.margin

        def web3_py() -> list[Shown]:
            return [tuple(margin(number).call()) for number in numbers]

        self._compare(out, "a", "eth_call each, web3.py", numbers, web3_py)
        function = self.stage.chain.vault_functions["margin"]

        def own() -> list[Shown]:
            rpc, vault = self.stage.chain.rpc, self.stage.vault_hex
            answers = [rpc.eth_call(vault, function.encode(number)) for number in numbers]
            return [tuple(function.decode(data)[0]) for data in answers]

        self._compare(out, "a_own_client", "eth_call each, our own client", numbers, own)

    # ── (b) ──────────────────────────────────────────────────────────────────────────────────────

    def multicalls(self, out: NodeScan, count: int) -> None:
        """``aggregate3`` of the deployed Multicall3, calldata and answers by web3.py."""
        receipt = transact(
            self.stage.chain.rpc,
            {
                "from": "0x" + "de" * 20,
                "data": multicall.creation_code(),
                "gas": hex(10**7),
                "gasPrice": "0x0",
            },
        )
        where = self.web3.to_checksum_address(receipt["contractAddress"])
        aggregate = self.web3.eth.contract(address=where, abi=multicall.ABI).functions.aggregate3
        numbers = self.numbers[:count]
        codec = self.web3.codec
        outputs = next(e for e in self.stage.abi if e.get("name") == "margin")["outputs"]
        kinds = [f"({','.join(c['type'] for c in outputs[0]['components'])})"]

        def body() -> list[Shown]:
            found: list[Shown] = []
            for i in range(0, len(numbers), CALLS_A_BATCH):
                calls = [
                    (self.vault, False, self.contract.encode_abi("margin", [number]))
                    for number in numbers[i : i + CALLS_A_BATCH]
                ]
                for _, data in aggregate(calls).call():
                    found.append(tuple(codec.decode(kinds, data)[0]))
            return found

        what = f"Multicall3 aggregate3, {CALLS_A_BATCH} a call, web3.py"
        self._compare(out, "b", what, numbers, body)

    def _compare(
        self,
        out: NodeScan,
        key: str,
        what: str,
        numbers: Sequence[int],
        body: Callable[[], list[Shown]],
    ) -> None:
        answers, wall, cpu = timed(body, self.pid, REPEATS)
        differs = sum(not same(self.wanted, i, shown) for i, shown in enumerate(answers))
        out.add(key, Row(what, len(numbers), wall, cpu), len(answers), differs)

    # ── (c) ──────────────────────────────────────────────────────────────────────────────────────

    def lens(self, out: NodeScan, count: int) -> None:
        """Read, decode, judge; the variants stop earlier, or leave the arithmetic to the vault."""
        numbers = self.numbers[:count]
        lens = PackedLens(self.source, self.stage.vault_hex, lens_code(self.stage.chain.artifacts))
        head = self.source.head()
        state, table = self.state, self.table

        def body() -> tuple[AccountBatch, Verdicts]:
            batch = self._batch(lens, numbers, head)
            return batch, filtered(state, table, batch, FloatBatch.build(table, batch))

        (batch, verdicts), wall, cpu = timed(body, self.pid, REPEATS)
        mine = exact.margins(table, batch, state)
        differs = unequal(mine, self.wanted, count) + differing(verdicts, mine)
        row = Row("lens, filter, exact integers for the rest", count, wall, cpu)
        out.add("c", row, count, differs)

        def margins() -> Margins:
            return exact.margins(table, self._batch(lens, numbers, head), state)

        m, wall, cpu = timed(margins, self.pid, 1)
        row = Row("lens, every field by the exact engine", count, wall, cpu)
        out.add("c_exact", row, count, unequal(m, self.wanted, count))
        read, wall, cpu = timed(lambda: lens.accounts(numbers, head), self.pid, 1)
        again = exact.margins(
            table,
            AccountBatch.from_accounts(table, list(read), list(read.values())),
            state,
        )
        row = Row("lens into accounts, as the book starts", count, wall, cpu)
        out.add("c_accounts", row, count, unequal(again, self.wanted, count))

    def _batch(self, lens: PackedLens, numbers: Sequence[int], head: Block) -> AccountBatch:
        parts = lens.packed(numbers, head)
        batches = [decode_batch(self.table, self.state, part, data) for part, data in parts]
        return AccountBatch.concat(batches)


def same(m: Margins, i: int, shown: Shown) -> bool:
    """Whether every field that the chain showed is that of account i."""
    if i in m.errors:
        return False
    row = m.row(i)
    return all(
        int(value) == int(getattr(row, name))
        for name, value in zip(CHAIN_FIELDS, shown, strict=True)
    )


def unequal(mine: Margins, wanted: Margins, count: int) -> int:
    """Accounts of which a field differs."""
    other = np.zeros(count, dtype=np.bool_)
    for name in FIELDS:
        other |= (mine.words[name] != wanted.words[name][:count]).any(axis=1)
    other |= mine.binding != wanted.binding[:count]
    other |= (mine.health != wanted.health[:count]) | (mine.initial != wanted.initial[:count])
    for i in range(count):
        if i in mine.errors or i in wanted.errors:
            other[i] = repr(mine.errors.get(i)) != repr(wanted.errors.get(i))
    return int(other.sum())
