"""The whole state of a vault from its logs alone.

What logs cannot say is configuration that never changes: the cash token and its decimals, the
decimals of rate feeds, and the bytes of the risk parameters (the log carries their hash and the
address of the code that holds them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from risk.chain.events import Event, EventDecoder
from risk.errors import ChainError
from risk.exact.state import Account, Bucket, Collateral, Linear, Option, State, Underlying

IGNORED = frozenset(
    {
        "PnlRealized",  # followed by PositionChanged and CashChanged
        "Liquidated",  # followed by the balances it leaves
        "ArrayComputed",  # arrays are a cache
        "RateKept",  # nothing changes
    }
)


@dataclass
class Rebuilder:
    """Applies events in log order to an empty state."""

    state: State = field(default_factory=lambda: State(owner=0, cash_token=0, cash_decimals=0))
    params_pointer: int = 0
    params_hash: int = 0

    def apply(self, event: Event) -> None:
        """One event; raises ``ChainError`` for one that it does not know."""
        if event.name in IGNORED:
            return
        handler: Callable[..., None] | None = getattr(self, "on_" + event.name, None)
        if handler is None:
            raise ChainError(f"event {event.name} is unknown to the rebuild")
        handler(**event.arguments)

    def finish(self) -> State:
        """The state, with the totals that follow from it."""
        s = self.state
        s.cash_held_wad = sum(a.cash_wad for a in s.accounts.values()) + s.insurance_wad
        s.cash_held_wad += sum(u.pnl_pool_wad for u in s.underlyings)
        for j, collateral in enumerate(s.collaterals):
            collateral.total_held = sum(a.collateral[j] for a in s.accounts.values())
        return s

    def _account(self, account: int) -> Account:
        return self.state.accounts.setdefault(account, Account())

    # ── custody ──────────────────────────────────────────────────────────────────────────────────

    def on_CashDeposited(self, account: int, amount: int, cashWad: int) -> None:
        self._account(account).cash_wad = cashWad

    def on_CashWithdrawn(self, account: int, to: int, amount: int, cashWad: int) -> None:
        self._account(account).cash_wad = cashWad

    def on_CashChanged(self, account: int, cashWad: int) -> None:
        self._account(account).cash_wad = cashWad

    def on_CollateralDeposited(
        self, account: int, collateral: int, amount: int, balance: int
    ) -> None:
        self._account(account).collateral[collateral] = balance

    def on_CollateralWithdrawn(
        self, account: int, collateral: int, to: int, amount: int, balance: int
    ) -> None:
        self._account(account).collateral[collateral] = balance

    def on_CollateralChanged(self, account: int, collateral: int, balance: int) -> None:
        self._account(account).collateral[collateral] = balance

    def on_PositionChanged(
        self, account: int, instrument: int, sizeWad: int, quoteWad: int
    ) -> None:
        a = self._account(account)
        if instrument >> 26 & 3 >= 2:
            _change(a.options, Option(instrument, sizeWad), sizeWad == 0)
        else:
            _change(a.linear, Linear(instrument, sizeWad, quoteWad), sizeWad == 0 and quoteWad == 0)

    def on_PositionsReplaced(self, account: int, linear: list[int], options: list[int]) -> None:
        a = self._account(account)
        a.linear = [Linear(w >> 224, _signed(w >> 128, 96), _signed(w, 128)) for w in linear]
        a.options = [Option(w >> 96 & 0xFFFFFFFF, _signed(w, 96)) for w in options]

    def on_OpenInterestChanged(self, underlying: int, openInterestWad: int) -> None:
        self.state.underlyings[underlying].open_interest_wad = openInterestWad

    def on_PnlPoolChanged(self, underlying: int, poolWad: int) -> None:
        self.state.underlyings[underlying].pnl_pool_wad = poolWad

    def on_InsuranceChanged(self, insuranceWad: int) -> None:
        self.state.insurance_wad = insuranceWad

    # ── market ───────────────────────────────────────────────────────────────────────────────────

    def on_UnderlyingListed(self, underlying: int, feed: int, feedDecimals: int) -> None:
        self.state.underlyings.append(Underlying(feed=feed, feed_decimals=feedDecimals))

    def on_CollateralListed(
        self, collateral: int, token: int, decimals: int, underlying: int, rateFeed: int
    ) -> None:
        self.state.collaterals.append(
            Collateral(token=token, decimals=decimals, underlying=underlying, rate_feed=rateFeed)
        )

    def on_ExpiryListed(self, underlying: int, expiryDay: int) -> None:
        self.state.buckets[underlying << 16 | expiryDay] = Bucket(listed=True)

    def on_StrikeListed(
        self, underlying: int, expiryDay: int, strikeIndex: int, strikeWad: int
    ) -> None:
        strikes = self.state.buckets[underlying << 16 | expiryDay].strikes_wad
        if strikeIndex != len(strikes):
            raise ChainError(f"strike {strikeIndex} listed after {len(strikes)}")
        strikes.append(strikeWad)

    def on_SnapshotRefreshed(
        self, underlying: int, epoch: int, priceWad: int, time: int, feedUpdatedAt: int
    ) -> None:
        u = self.state.underlyings[underlying]
        u.epoch, u.price_wad, u.time, u.feed_updated_at = epoch, priceWad, time, feedUpdatedAt

    def on_RateRefreshed(self, collateral: int, rateWad: int, feedUpdatedAt: int) -> None:
        self.state.collaterals[collateral].rate_wad = rateWad
        self.state.collaterals[collateral].rate_updated_at = feedUpdatedAt

    def on_ReportAccepted(
        self, underlying: int, nonce: int, timestamp: int, confidenceBps: int
    ) -> None:
        u = self.state.underlyings[underlying]
        u.report_nonce, u.report_time, u.confidence_bps = nonce, timestamp, confidenceBps

    def on_SliceReported(
        self, underlying: int, nonce: int, timestamp: int, confidenceBps: int, slice: list[int]
    ) -> None:
        day, ratio, discount, a, b, rho, m, sigma = slice
        bucket = self.state.buckets[underlying << 16 | day]
        bucket.forward_ratio_wad, bucket.discount_wad, bucket.report_time = (
            ratio,
            discount,
            timestamp,
        )
        bucket.a_e9, bucket.b_e9, bucket.rho_e9, bucket.m_e9, bucket.sigma_e9 = a, b, rho, m, sigma

    def on_RiskParamsSet(self, pointer: int, hash: int) -> None:
        self.params_pointer, self.params_hash = pointer, hash

    def on_SignersSet(self, signers: list[int], threshold: int) -> None:
        self.state.signers, self.state.signer_threshold = list(signers), threshold

    # ── trading, ownership ───────────────────────────────────────────────────────────────────────

    def on_OrderFilled(
        self,
        buyHash: int,
        sellHash: int,
        instrument: int,
        buyer: int,
        seller: int,
        sizeWad: int,
        priceWad: int,
    ) -> None:
        for order in (buyHash, sellHash):
            key = order.to_bytes(32, "big")
            self.state.filled_wad[key] = self.state.filled_wad.get(key, 0) + sizeWad

    def on_OrderCancelled(self, orderHash: int, account: int) -> None:
        self.state.cancelled.add(orderHash.to_bytes(32, "big"))

    def on_OwnershipTransferred(self, oldOwner: int, newOwner: int) -> None:
        self.state.owner = newOwner


def _change(entries: list[Any], entry: Any, gone: bool) -> None:
    """Replace, append, or remove with the last taking its place: the contract's own storage
    order.
    """
    for i, old in enumerate(entries):
        if old.instrument == entry.instrument:
            if gone:
                entries[i] = entries[-1]
                entries.pop()
            else:
                entries[i] = entry
            return
    if not gone:
        entries.append(entry)


def _signed(word: int, bits: int) -> int:
    value = word & ((1 << bits) - 1)
    return value - (1 << bits) if value >> (bits - 1) else value


def rebuild(abi: Iterable[Mapping[str, Any]], logs: Iterable[Mapping[str, Any]]) -> Rebuilder:
    """Apply all logs of one vault, in order."""
    decoder, result = EventDecoder(abi), Rebuilder()
    for log in logs:
        result.apply(decoder.decode(log))
    result.finish()
    return result
