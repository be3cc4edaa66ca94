"""Orders, fills and cancellations of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from random import Random
from typing import Any

from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.base import Base
from risk.diff.plumbline.draw import chance, near, sign, weighted
from risk.diff.plumbline.signing import Actor
from risk.diff.plumbline.twin import twin_of
from risk.exact.accounts import rights
from risk.exact.custody import pnl_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import array_logic
from risk.exact.market.report_hash import domain_separator
from risk.exact.state import Linear, Option
from risk.exact.trading.order_hash import Order, digest
from risk.exact.waterfall.waterfall_logic import size_of

WAD = 10**18
REDUCE_ONLY, ABOVE, BELOW = 1, 2, 4


@dataclass
class Pair:
    """Two orders that match, kept for partial fills, over-fills and cancellations."""

    buy: Order
    sell: Order
    price_wad: int


class Trades(Base):
    """Makes matching orders and remembers them."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self.open: list[Pair] = []
        self.nonce = 1000

    def fill(self, rng: Random, bad: bool) -> VaultAction:
        """A new pair, a further part of an old one, or a close; bad: one thing is wrong."""
        if not chance(rng, 10):
            self.open = [p for p in self.open if p.buy.expiry > self.session.now]
        if self.open and chance(rng, 15):
            pair = rng.choice(self.open)
            left = self._left(pair)
            size = near(rng, left, 900_000) // rng.choice([2, 6, 9]) if left else pair.buy.size_wad
        else:
            closing = self._closing(rng) if chance(rng, 30) else None
            pair = closing or self._new_pair(rng)
            if not bad:
                pair = self._affordable(rng, pair)
            if not (pair.buy.flags | pair.sell.flags) & (ABOVE | BELOW):
                self.open = [*self.open[-5:], pair]
            size = min(pair.buy.size_wad, -pair.sell.size_wad)
            if chance(rng, 40):
                size = max(1, size * rng.randint(1, 99) // 100)
        buy, sell, price = pair.buy, pair.sell, pair.price_wad
        buyer, seller = self._signer(rng, buy), self._signer(rng, sell)
        if bad:
            buy, sell, size, price, buyer, seller = self._spoil(
                rng, buy, sell, size, price, buyer, seller
            )
        return self._fill(rng, buy, buyer, sell, seller, max(0, size), max(0, price))

    def cancel(self, rng: Random, bad: bool) -> VaultAction:
        """An order of the caller or of whom he trades for; bad: somebody else's."""
        pair = rng.choice(self.open) if self.open else self._new_pair(rng)
        order = rng.choice([pair.buy, pair.sell])
        sender = self._sender(rng, order.account, rights.TRADE)
        if bad:
            sender = self._intruder(rng, order.account)
        return self.cancellation(sender, order)

    def cancellation(self, sender: int, order: Order) -> VaultAction:
        """The call itself."""
        return self.make.vault(
            "cancel",
            f"nonce {order.nonce}",
            sender,
            "cancel",
            (fields(order),),
            lambda v: v.cancel(sender, order),
        )

    def _left(self, pair: Pair) -> int:
        """What both orders still leave to fill."""
        domain, filled = domain_separator(self.session.vault.world), self._state.filled_wad
        return min(
            abs(order.size_wad) - filled.get(digest(domain, order), 0)
            for order in (pair.buy, pair.sell)
        )

    def _affordable(self, rng: Random, pair: Pair) -> Pair:
        """Smaller until the model accepts it, so that accounts end close to their limit (now and
        then left as it is).
        """
        for _ in range(rng.choice([0, 6, 6, 6])):
            twin = twin_of(self.session.vault)
            twin.world.timestamp += 1
            buy, sell = pair.buy, pair.sell
            try:
                twin.fill(
                    0, buy, buy.account >> 8, sell, sell.account >> 8, buy.size_wad, pair.price_wad
                )
                return pair
            except ModelRevert as refusal:
                if refusal.name not in SMALLER_HELPS:
                    return pair
                size = max(1, buy.size_wad // rng.choice([2, 5, 10]))
                pair = Pair(
                    replace(buy, size_wad=size), replace(sell, size_wad=-size), pair.price_wad
                )
        return pair

    def _signer(self, rng: Random, order: Order) -> Actor:
        return self._key_of(self._sender(rng, order.account, rights.TRADE))

    def _new_pair(self, rng: Random) -> Pair:
        d = self.session.deployment
        buyer, seller = rng.sample(d.accounts, 2)
        ids = self._alive(rng)
        perps = [i for i in ids if i >> 26 & 3 == 0]
        instrument = rng.choice(perps) if perps and chance(rng, 25) else rng.choice(ids)
        account = self.session.state.accounts.get(buyer)
        cash = max(10**18, abs(account.cash_wad) if account else 0)
        price_u = max(1, self.session.state.underlyings[instrument >> 28].price_wad)
        leverage = rng.choice([1, 5, 20, 50, 50, 300])
        size = max(1, min(2**93, near(rng, cash, 900_000) * leverage * WAD // price_u // 10))
        return self._pair(rng, buyer, seller, instrument, size)

    def _alive(self, rng: Random) -> list[int]:
        """What has not expired, and of what somebody holds more often than not."""
        now, every = self.session.now, self.session.instruments()
        if chance(rng, 3):
            return every
        alive = [i for i in every if not i >> 26 & 3 or expiry_of(i) > now + 1]
        held = [i for i in alive if self._state.open_interest.get(i)]
        return held if held and chance(rng, 35) else alive

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
        sell = Order(seller, instrument, -total_sell, limit_sell, self.nonce, expiry)
        return Pair(self._options(rng, buy), self._options(rng, sell), price)

    def _options(self, rng: Random, order: Order) -> Order:
        """Now and then reduce-only, a trigger, or a time from which it counts."""
        if not chance(rng, 18):
            return order
        underlying = self._state.underlyings[order.instrument >> 28]
        lowest = min(underlying.price_wad, underlying.previous_price_wad)
        highest = max(underlying.price_wad, underlying.previous_price_wad)
        held = size_of(self._held(order.account), order.instrument)
        flags = REDUCE_ONLY if held and (held > 0) != (order.size_wad > 0) else 0
        if lowest and chance(rng, 60):
            flags |= rng.choice([ABOVE, BELOW])
        trigger = lowest if flags & ABOVE else highest
        return replace(
            order,
            flags=flags,
            trigger_price_wad=max(0, near(rng, trigger, rng.choice([0] * 7 + [50_000]))),
            created_at=rng.choice([0] * 8 + [self.session.now, underlying.previous_time]),
            slippage_bps=rng.choice([10_000, 10_000, 500, 50]),
        )

    def _mark(self, instrument: int) -> int:
        state = self.session.state
        underlying = state.underlyings[instrument >> 28]
        try:
            if instrument >> 26 & 3 >= 2:
                return array_logic.compute(state, instrument).mark_down
            if instrument >> 26 & 3 == 0:
                return underlying.price_wad
            return pnl_lib.linear_mark(state, instrument)
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
        """One thing wrong: with the match, a signature, or the order itself."""
        kind = rng.randrange(18)
        if kind < 6:
            buy, sell, size, price = self._mismatch(rng, buy, sell, size, price)
        elif kind < 9:
            if chance(rng, 50):
                buyer = self._key_of(self._intruder(rng, buy.account))
            else:
                seller = self._key_of(self._intruder(rng, sell.account))
        elif kind == 9:
            sell, seller = replace(sell, account=buy.account), buyer
        elif kind == 10:
            other = rng.choice(
                [0xF << 28, buy.instrument | 0x3FF, buy.instrument & ~(3 << 26) | 1, 1 << 26]
            )
            buy, sell = replace(buy, instrument=other), replace(sell, instrument=other)
        elif kind == 11:  # far too large for anybody
            size = min(2**95 - 1, buy.size_wad * 10**6 * sign(rng) ** 2)
            buy, sell = replace(buy, size_wad=size), replace(sell, size_wad=-size)
        elif chance(rng, 50):
            buy = self._bad_order(rng, buy)
        else:
            sell = self._bad_order(rng, sell)
        return buy, sell, size, price, buyer, seller

    def _mismatch(
        self, rng: Random, buy: Order, sell: Order, size: int, price: int
    ) -> tuple[Order, Order, int, int]:
        kind = rng.randrange(6)
        if kind == 0:
            size = 0
        elif kind == 1:
            sell = replace(sell, instrument=sell.instrument ^ 1 << 26)
        elif kind == 2:
            buy = replace(buy, size_wad=rng.choice([0, -buy.size_wad]))
        elif kind == 3:
            size = max(buy.size_wad, -sell.size_wad) + 1
        elif kind == 4:
            price = buy.limit_price_wad + 1
        else:
            price = sell.limit_price_wad - 1 if sell.limit_price_wad else buy.limit_price_wad + 1
        return buy, sell, size, price

    def _bad_order(self, rng: Random, order: Order) -> Order:
        """Expired, not yet valid, flags that do not exist, a trigger that is not hit or far from
        the mark, reduce-only without a position, a dead nonce.
        """
        now = self.session.now
        changes: list[dict[str, int]] = [
            {"expiry": now - rng.choice([0, 1000])},
            {"created_at": now + rng.choice([2, 10**6])},
            {"flags": rng.choice([6, 7, 8, 255])},
            {"flags": ABOVE, "trigger_price_wad": 2**127, "slippage_bps": 10_000},
            {"flags": BELOW, "trigger_price_wad": 1, "slippage_bps": 10_000},
            {"flags": ABOVE, "trigger_price_wad": 0, "slippage_bps": 0},
            {"flags": REDUCE_ONLY},
            {"nonce": max(0, self._state.min_nonce.get(order.account, 0) - 1)},
        ]
        return replace(order, **rng.choice(changes))

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
        compact = chance(rng, 20)
        return self.filling(buy, buyer, sell, seller, size, price, compact=compact)

    def filling(
        self,
        buy: Order,
        buyer: Actor,
        sell: Order,
        seller: Actor,
        size: int,
        price: int,
        *,
        compact: bool = False,
    ) -> VaultAction:
        """The call itself; signatures are made when a chain asks for them."""

        def signed() -> tuple[Any, ...]:
            domain = domain_separator(self.session.vault.world)
            return (
                fields(buy),
                buyer.sign(digest(domain, buy), compact=compact),
                fields(sell),
                seller.sign(digest(domain, sell)),
                size,
                price,
            )

        sender = self.session.deployment.users[0].address
        text = f"{buy.instrument:#010x} size {size} price {price}"
        if buy.flags | sell.flags:
            text += f" flags {buy.flags} {sell.flags}"
        return self.make.vault(
            "fill",
            text,
            sender,
            "fill",
            signed,
            lambda v: v.fill(sender, buy, buyer.address, sell, seller.address, size, price),
        )

    def tiny(self, rng: Random, pairs: Sequence[tuple[int, int]]) -> list[VaultAction]:
        """Perp fills of next to nothing between the given accounts."""
        u = rng.randrange(len(self._d.feeds))
        price = max(1, self._state.underlyings[u].price_wad)
        out = []
        for buyer, seller in pairs:
            self.nonce += 1
            buy = Order(buyer, u << 28, 10**6, price, self.nonce, self.session.now + 100)
            sell = replace(buy, account=seller, size_wad=-(10**6))
            keys = self._key_of(buyer >> 8), self._key_of(seller >> 8)
            out.append(self.filling(buy, keys[0], sell, keys[1], 10**6, price))
        return out


SMALLER_HELPS = frozenset(
    {
        "InsufficientMargin",
        "PositionCapExceeded",
        "OpenInterestCapExceeded",
        "ExposureOverflow",
        "SizeOutOfRange",
        "CashOutOfRange",
    }
)


def expiry_of(instrument: int) -> int:
    """Unix time."""
    return (instrument >> 10 & 0xFFFF) * 86_400 + 28_800


def fields(order: Order) -> tuple[int, ...]:
    """The order as the ABI takes it."""
    return astuple(order)
