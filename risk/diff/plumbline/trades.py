"""Orders, fills and cancellations of a sequence."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from risk.diff.plumbline.draw import chance, near, sign, weighted
from risk.diff.plumbline.setup import ActionMaker
from risk.diff.plumbline.signing import Actor
from risk.exact.errors import ModelRevert
from risk.exact.margin import array_logic, margin_engine
from risk.exact.market.report_hash import domain_separator
from risk.exact.state import Linear, Option
from risk.exact.trading.order_hash import Order, digest
from risk.exact.vault import Vault

if TYPE_CHECKING:
    from risk.diff.plumbline.session import VaultAction, VaultSession

WAD = 10**18


@dataclass
class Pair:
    """Two orders that match, kept for partial fills, over-fills and cancellations."""

    buy: Order
    sell: Order
    price_wad: int


class Trades:
    """Makes matching orders and remembers them."""

    def __init__(self, session: VaultSession) -> None:
        self.session = session
        self.make = ActionMaker(session)
        self.open: list[Pair] = []
        self.nonce = 0

    def fill(self, rng: Random, bad: bool) -> VaultAction:
        """A new pair, a further part of an old one, or a close; bad: one thing is wrong."""
        if not chance(rng, 10):
            self.open = [p for p in self.open if p.buy.expiry > self.session.now]
        if self.open and chance(rng, 15):
            pair = rng.choice(self.open)
            size = near(rng, pair.buy.size_wad, 900_000) // rng.choice([2, 6, 9])
        else:
            closing = self._closing(rng) if chance(rng, 30) else None
            pair = closing or self._new_pair(rng)
            if not bad:
                pair = self._affordable(rng, pair)
            self.open = [*self.open[-5:], pair]
            size = (
                pair.buy.size_wad
                if chance(rng, 60)
                else max(1, pair.buy.size_wad * rng.randint(1, 99) // 100)
            )
        buy, sell, price = pair.buy, pair.sell, pair.price_wad
        buyer, seller = self._owner(buy), self._owner(sell)
        if bad:
            buy, sell, size, price, buyer, seller = self._spoil(
                rng, buy, sell, size, price, buyer, seller
            )
        return self._fill(rng, buy, buyer, sell, seller, max(0, size), max(0, price))

    def cancel(self, rng: Random, bad: bool) -> VaultAction:
        """An order of the caller; bad: somebody else's."""
        pair = rng.choice(self.open) if self.open else self._new_pair(rng)
        order = rng.choice([pair.buy, pair.sell])
        sender = (order.account >> 8) ^ 1 if bad else order.account >> 8
        return self.make.vault(
            "cancel",
            f"nonce {order.nonce}",
            sender,
            "cancel",
            (fields(order),),
            lambda v: v.cancel(sender, order),
        )

    def _affordable(self, rng: Random, pair: Pair) -> Pair:
        """Smaller until the model accepts it, so that accounts end close to their limit (now and
        then left as it is).
        """
        for _ in range(rng.choice([0, 8, 8, 8])):
            twin = Vault(self.session.state.clone(), copy.deepcopy(self.session.vault.world))
            twin.world.timestamp += 1
            buy, sell = pair.buy, pair.sell
            try:
                twin.fill(
                    0, buy, buy.account >> 8, sell, sell.account >> 8, buy.size_wad, pair.price_wad
                )
                return pair
            except ModelRevert:
                size = max(1, buy.size_wad // rng.choice([2, 3, 5]))
                pair = Pair(
                    replace(buy, size_wad=size), replace(sell, size_wad=-size), pair.price_wad
                )
        return pair

    def _owner(self, order: Order) -> Actor:
        users = self.session.deployment.users
        return next((u for u in users if u.address == order.account >> 8), users[0])

    def _new_pair(self, rng: Random) -> Pair:
        d = self.session.deployment
        buyer, seller = rng.sample(d.accounts, 2)
        ids = d.spec.instruments()
        perps = [i for i in ids if i >> 26 & 3 == 0]
        instrument = rng.choice(perps) if chance(rng, 25) else rng.choice(ids)
        account = self.session.state.accounts.get(buyer)
        cash = max(10**18, abs(account.cash_wad) if account else 0)
        price_u = max(1, self.session.state.underlyings[instrument >> 28].price_wad)
        leverage = rng.choice([1, 5, 20, 50, 50, 300])
        size = max(1, min(2**93, near(rng, cash, 900_000) * leverage * WAD // price_u // 10))
        return self._pair(rng, buyer, seller, instrument, size)

    def _closing(self, rng: Random) -> Pair | None:
        """Two accounts that hold opposite sizes of one instrument trade it back, exactly or
        beyond.
        """
        holders: dict[int, list[tuple[int, int]]] = {}
        for account_id, account in self.session.state.accounts.items():
            positions: list[Linear | Option] = [*account.linear, *account.options]
            for p in positions:
                if p.size_wad:
                    holders.setdefault(p.instrument, []).append((p.size_wad, account_id))
        choices = [i for i, sides in holders.items() if len({s > 0 for s, _ in sides}) == 2]
        if not choices:
            return None
        instrument = rng.choice(sorted(choices))
        short = rng.choice([x for x in holders[instrument] if x[0] < 0])
        long = rng.choice([x for x in holders[instrument] if x[0] > 0])
        size = min(-short[0], long[0]) * weighted(rng, [(1, 8), (2, 1)])
        return self._pair(rng, short[1], long[1], instrument, size)

    def _pair(self, rng: Random, buyer: int, seller: int, instrument: int, size: int) -> Pair:
        price = near(rng, self._mark(instrument), 20_000)
        self.nonce += 1
        expiry = self.session.now + rng.choice([2, 600, 10**7])
        limit_buy = price + price // 100 if chance(rng, 80) else price
        limit_sell = max(0, price - price // 100) if chance(rng, 80) else price
        total_buy = size if chance(rng, 70) else min(2**95 - 1, size * rng.randint(1, 4))
        total_sell = size if chance(rng, 70) else min(2**95 - 1, size * rng.randint(1, 4))
        buy = Order(buyer, instrument, total_buy, limit_buy, self.nonce, expiry)
        return Pair(
            buy, Order(seller, instrument, -total_sell, limit_sell, self.nonce, expiry), price
        )

    def _mark(self, instrument: int) -> int:
        state = self.session.state
        underlying = state.underlyings[instrument >> 28]
        try:
            if instrument >> 26 & 3 >= 2:
                return array_logic.compute(state, instrument).mark_down
            return margin_engine.linear_mark(
                state, instrument, underlying.price_wad, underlying.time
            )
        except ModelRevert:
            return underlying.price_wad // 20

    def _spoil(
        self,
        rng: Random,
        buy: Order,
        sell: Order,
        size: int,
        price: int,
        buyer: Actor,
        seller: Actor,
    ) -> tuple[Order, Order, int, int, Actor, Actor]:
        now = self.session.now
        users = self.session.deployment.users
        kind = rng.randrange(14)
        if kind == 0:
            size = 0
        elif kind == 1:
            sell = replace(sell, instrument=sell.instrument ^ 1 << 26)
        elif kind == 2:
            buy = replace(buy, size_wad=rng.choice([0, -buy.size_wad]))
        elif kind == 3:
            sell = replace(sell, size_wad=rng.choice([0, -sell.size_wad]))
        elif kind == 4:
            sell, seller = replace(sell, account=buy.account), buyer
        elif kind == 5:
            buy = replace(buy, expiry=now - rng.choice([0, 1000]))
        elif kind == 6:
            sell = replace(sell, expiry=0)
        elif kind == 7:
            size = max(buy.size_wad, -sell.size_wad) + 1
        elif kind == 8:
            price = buy.limit_price_wad + 1
        elif kind == 9:
            price = sell.limit_price_wad - 1 if sell.limit_price_wad else buy.limit_price_wad + 1
        elif kind == 10:
            buyer = rng.choice([u for u in users if u != buyer])
        elif kind == 11:
            seller = rng.choice([u for u in users if u != seller])
        elif kind == 12:
            other = rng.choice(
                [0xF << 28, buy.instrument | 0x3FF, buy.instrument & ~(3 << 26) | 1, 1 << 26]
            )
            buy, sell = replace(buy, instrument=other), replace(sell, instrument=other)
        else:  # far too large for anybody
            size = min(2**95 - 1, buy.size_wad * 10**6 * sign(rng) ** 2)
            buy, sell = replace(buy, size_wad=size), replace(sell, size_wad=-size)
        return buy, sell, size, price, buyer, seller

    def _fill(
        self,
        rng: Random,
        buy: Order,
        buyer: Actor,
        sell: Order,
        seller: Actor,
        size: int,
        price: int,
    ) -> VaultAction:
        domain = domain_separator(self.session.vault.world)
        compact = chance(rng, 20)
        args = (
            fields(buy),
            buyer.sign(digest(domain, buy), compact=compact),
            fields(sell),
            seller.sign(digest(domain, sell)),
            size,
            price,
        )
        sender = self.session.deployment.users[0].address
        text = f"{buy.instrument:#010x} size {size} price {price}"
        return self.make.vault(
            "fill",
            text,
            sender,
            "fill",
            args,
            lambda v: v.fill(sender, buy, buyer.address, sell, seller.address, size, price),
        )


def fields(order: Order) -> tuple[int, ...]:
    """The order as the ABI takes it."""
    return (
        order.account,
        order.instrument,
        order.size_wad,
        order.limit_price_wad,
        order.nonce,
        order.expiry,
    )
