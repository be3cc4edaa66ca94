"""The market of the vault tests without a chain: the same methods, the reference model alone.

An attack runs on model and chain together (fixture ``market``). To see that it fails where its
defence is removed, the defence is patched out of the model and the attack runs here: the two agree
to the wei, which every other test of this repository is about, so one side is enough, and it needs
no compiler.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from eth_account.signers.local import LocalAccount

from risk.exact.errors import ModelRevert
from risk.exact.state import Feed, State, World
from risk.exact.vault import Vault
from tests.market.market_twin import BROKEN, GENESIS, WORKS
from tests.support.vault_fixtures import PRICES, Market, furnish
from tests.support.vault_twin import OWNER, key_address


class ModelMarket(Market):
    """See the module."""

    def __init__(self) -> None:
        self.world = World(timestamp=GENESIS, vault=0xFA17)
        self.state = State(owner=OWNER, cash_token=0, cash_decimals=6, interest_time=GENESIS)
        self.next_nonce = 0
        self.gas_used = 0
        self.logs: list[dict[str, Any]] = []
        self._addresses = 0xC0DE0000
        self.state.cash_token = self.new_token(6)
        self.model = Vault(self.state, self.world)

    # ------------------------------------------------------------------ world

    def _address(self) -> int:
        self._addresses += 1
        return self._addresses

    def new_token(self, decimals: int, flags: int = 0) -> int:
        token = self._address()
        self.world.balances[token] = {}
        return token

    def new_feed(self, decimals: int, answer: int, updated_at: int | None = None) -> int:
        feed = self._address()
        time = self.world.timestamp if updated_at is None else updated_at
        self.world.feeds[feed] = Feed(decimals, answer, time)
        return feed

    def set_feed(
        self, feed: int, answer: int, updated_at: int | None = None, mode: int = WORKS
    ) -> None:
        item = self.world.feeds[feed]
        item.answer, item.reverts = answer, mode in BROKEN
        item.updated_at = self.world.timestamp if updated_at is None else updated_at

    def token(self, token: int, name: str, *args: Any, sender: int = OWNER) -> None:
        """Minting is in ``give``, approvals are no part of the model."""

    def balance(self, token: int, holder: int) -> int:
        return self.world.balances[token].get(holder, 0)

    # ------------------------------------------------------------------ actions

    def do(
        self, sender: LocalAccount | int, name: str, *args: Any, chain: Sequence[Any] = ()
    ) -> Any:
        who = sender if isinstance(sender, int) else key_address(sender)
        method = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
        try:
            return getattr(self.model, method)(who, *args)
        except ModelRevert as error:
            return error
        finally:
            self.world.timestamp += 1

    def batch(self, sender: LocalAccount, *calls: tuple[Any, ...]) -> Any:
        revert = self._batch_on_model(sender, calls)
        self.world.timestamp += 1
        return revert

    def sign(self, order: Any, key: Any, domain: bytes | None = None) -> bytes:
        return b""

    # ------------------------------------------------------------------ comparisons

    def compare_state(self) -> None:
        """There is nothing to compare with."""

    def compare_balances(self) -> None:
        """There is nothing to compare with."""

    def write_state(self) -> None:
        """There is nowhere to write to."""

    def compare_margin(self, account_id: int) -> Any:
        return self.model.margin(account_id)

    def copy(self) -> ModelMarket:
        """An independent market in the same state."""
        twin = copy.copy(self)
        twin.restore((self.state.clone(), copy.deepcopy(self.world)))
        return twin


_FURNISHED: list[ModelMarket] = []


def model_market() -> ModelMarket:
    """As the fixture ``market``: listed, priced, everybody funded, nobody has deposited."""
    if not _FURNISHED:
        m = ModelMarket()
        furnish(m)
        for u, price in enumerate(PRICES):
            m.set_price(u, price)
        _FURNISHED.append(m)
    return _FURNISHED[0].copy()
