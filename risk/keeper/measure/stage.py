"""A vault on an Anvil of its own, put into a state of the model by writing its storage.

Nobody sends fifty thousand deposits: every word of the state is computed from the layout
(``risk/chain/layout.py``) and written by ``anvil_setStorageAt``. Feeds are the code of
``MockFeed`` at the addresses that the state names. What the contract computes itself, the scenario
arrays, it is told to compute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final

from risk.chain import layout
from risk.chain.rpc import Json, to_hex
from risk.chain.vault_abi import vault_abi
from risk.diff.margin_cases.words import account_words
from risk.diff.plumbline.chain import ANYBODY, Chain, address
from risk.diff.plumbline.setup import deploy_vault
from risk.errors import ChainError
from risk.exact.state import Account, Feed, State
from risk.keeper.book.load import topics

OWNER: Final = 0xAD << 152
PARAMS: Final = 0xBB << 152
WRITES_A_BATCH: Final = 2_000
ARRAYS_A_CALL: Final = 64
LOGS_A_CALL: Final = 2_000
# for each word of calldata after the first: LOG2 without data, topics the first word and this one
EMITTER: Final = "0x5f3560205b803611600c57005b8035825f5fa2602001600456"


class Stage:
    """A node with a vault. ``with Stage() as stage: stage.place(state)``.

    ``options`` are those of ``risk.chain.node.Anvil``.
    """

    def __init__(self, **options: Any) -> None:
        self.chain = Chain(**{"extra": ("--gas-price", "0"), **options})
        self.vault = 0

    def __enter__(self) -> Stage:
        self.chain.open()
        try:
            self.vault = deploy_vault(self.chain, OWNER, self.chain.deploy("MockToken", 6, 0, 0))
        except BaseException:
            self.chain.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.chain.close()

    @property
    def vault_hex(self) -> str:
        """Address of the vault."""
        return address(self.vault)

    @property
    def abi(self) -> list[dict[str, Any]]:
        """Of vault and extension."""
        return vault_abi(self.chain.artifacts)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def place(self, state: State, time: int, feeds: Mapping[int, Feed] | None = None) -> None:
        """The whole state, as of a block of this time. Once a stage: old words are not cleared."""
        rpc = self.chain.rpc
        assert state.params is not None
        rpc.call("anvil_setCode", address(PARAMS), to_hex(b"\0" + state.params.blob))
        accounts, state.accounts = state.accounts, {}
        try:
            words = layout.to_words(layout.state_fields(state))
        finally:
            state.accounts = accounts
        words[layout.STATE_SLOT] |= PARAMS
        self.write(self.vault, words)
        self.place_accounts(accounts)
        self.place_feeds(feeds or {})
        rpc.call("evm_setNextBlockTimestamp", time)
        rpc.call("evm_mine")

    def list_market(self, state: State, time: int, feeds: Mapping[int, Feed]) -> None:
        """Underlyings and expiries listed by real transactions, so that there are the events from
        which a book finds them; ``place`` afterwards.
        """
        self.place_feeds(feeds)
        functions = self.chain.vault_functions
        for underlying in state.underlyings:
            self._owner(functions["listUnderlying"].encode(underlying.feed), time)
        for key, bucket in state.buckets.items():
            args = (key >> 16, key & 0xFFFF, bucket.strikes_wad)
            self._owner(functions["listExpiry"].encode(*args), time)

    def name_accounts(self, accounts: Sequence[int]) -> None:
        """A log of the vault for each, so that a book discovers who is there: for one transaction
        the vault's code is one that only emits. The data of these logs is empty, so a book that
        starts from logs alone (``LogLoader``) cannot be used on a stage.
        """
        rpc = self.chain.rpc
        entry = next(e for e in self.abi if e.get("name") == "CashDeposited")
        first = bytes.fromhex(topics([entry])["CashDeposited"][2:])
        code = rpc.call("eth_getCode", self.vault_hex, "latest")
        rpc.call("anvil_setCode", self.vault_hex, EMITTER)
        for i in range(0, len(accounts), LOGS_A_CALL):
            part = accounts[i : i + LOGS_A_CALL]
            data = first + b"".join(a.to_bytes(32, "big") for a in part)
            sent = self.chain.transact(ANYBODY, self.vault, data, output=False)
            if len(sent.logs) != len(part):
                raise ChainError(f"{len(sent.logs)} logs of {len(part)} accounts")
        rpc.call("anvil_setCode", self.vault_hex, code)

    def _owner(self, data: bytes, time: int) -> None:
        now = int(self.chain.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        sent = self.chain.transact(OWNER, self.vault, data, max(now, time - 100) + 1)
        if not sent.outcome.ok:
            raise ChainError(f"listing refused: {sent.outcome.error}")

    def place_feeds(self, feeds: Mapping[int, Feed]) -> None:
        """``MockFeed`` at each address, with its answer."""
        code = "0x" + self.chain.artifacts["MockFeed"].deployed_bytecode
        for feed, item in feeds.items():
            self.chain.rpc.call("anvil_setCode", address(feed), code)
            self.write(feed, layout.feed_words(item))

    def place_accounts(self, accounts: Mapping[int, Account]) -> None:
        """Accounts alone; their slots must have been empty before."""
        pending: dict[int, int] = {}
        for number, item in accounts.items():
            pending |= account_words(number, item)
            if len(pending) >= WRITES_A_BATCH:
                self.write(self.vault, pending)
                pending = {}
        self.write(self.vault, pending)

    def write(self, contract: int, words: Mapping[int, int]) -> None:
        """Storage words that are not zero."""
        where = address(contract)
        calls: list[tuple[str, Sequence[Json]]] = [
            ("anvil_setStorageAt", [where, f"0x{slot:064x}", f"0x{word:064x}"])
            for slot, word in words.items()
            if word
        ]
        for i in range(0, len(calls), WRITES_A_BATCH):
            self.chain.rpc.batch(calls[i : i + WRITES_A_BATCH])

    def compute_arrays(self, options: Sequence[int]) -> None:
        """Scenario arrays of these options, by the contract. ``ChainError`` where it refuses."""
        encode = self.chain.vault_functions["computeArrays"].encode
        for i in range(0, len(options), ARRAYS_A_CALL):
            data = encode(options[i : i + ARRAYS_A_CALL])
            sent = self.chain.transact(ANYBODY, self.vault, data, output=False)
            if not sent.outcome.ok:
                raise ChainError(f"computeArrays refused: {sent.outcome.error}")


def option_ids(instruments: Iterable[int]) -> list[int]:
    """Calls and puts among them."""
    return [i for i in instruments if i >> 26 & 3 >= 2]
