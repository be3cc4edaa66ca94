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
from risk.exact.custody import interest_lib
from risk.exact.state import (
    Account,
    Bucket,
    Collateral,
    Linear,
    Option,
    Settlement,
    State,
    Underlying,
)

IGNORED = frozenset(
    {
        "FeePaid",  # followed by CashChanged and InsuranceChanged
        "PnlRealized",  # followed by PositionChanged and CashChanged
        "Liquidated",  # followed by the balances it leaves
        "LegsLiquidated",  # beside the positions and balances it leaves
        "ArrayComputed",  # arrays are a cache
        "RateKept",  # nothing changes
        "AutoDeleveraged",  # followed by the positions and balances it leaves
        "Deleveraged",  # the same
        "LossSocialised",  # after InterestAccrued with the new index and totals
        "Transferred",  # after the balances it leaves
    }
)


@dataclass
class Rebuilder:
    """Applies events in log order to an empty state."""

    state: State = field(default_factory=lambda: State(owner=0, cash_token=0, cash_decimals=0))
    params_pointer: int = 0
    params_hash: int = 0
    time: int = 0  # of the block that the event is in, where the log says it

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
        s.cash_held_wad += s.interest_wad
        s.cash_held_wad += sum(u.pnl_pool_wad for u in s.underlyings)
        for j, collateral in enumerate(s.collaterals):
            collateral.total_held = sum(a.collateral[j] for a in s.accounts.values())
        return s

    def _account(self, account: int) -> Account:
        return self.state.accounts.setdefault(account, Account())

    def _set_cash(self, account: int, cash_wad: int) -> None:
        """New recorded cash; interest, totals and index follow as in the contract."""
        a = self._account(account)
        a.interest_index = interest_lib.book(
            self.state, account, a.cash_wad, a.interest_index, cash_wad
        )
        a.cash_wad = cash_wad

    # ── cash market ──────────────────────────────────────────────────────────────────────────────

    def on_InterestAccrued(
        self,
        time: int,
        supplyIndexE15: int,
        borrowIndexE15: int,
        supplyWad: int,
        borrowWad: int,
        interestWad: int,
        insuranceWad: int,
    ) -> None:
        s = self.state
        s.interest_time, s.interest_wad, s.insurance_wad = time, interestWad, insuranceWad
        s.supply_index_e15, s.borrow_index_e15 = supplyIndexE15, borrowIndexE15
        s.supply_wad, s.borrow_wad = supplyWad, borrowWad

    def on_InterestBooked(self, account: int, interestWad: int, cashWad: int) -> None:
        self._set_cash(account, cashWad)

    # ── accounts ─────────────────────────────────────────────────────────────────────────────────

    def on_OperatorSet(self, account: int, operator: int, rights: int) -> None:
        self.state.operators[account, operator] = rights

    def on_MinNonceRaised(self, account: int, minNonce: int) -> None:
        self.state.min_nonce[account] = minNonce

    # ── custody ──────────────────────────────────────────────────────────────────────────────────

    def on_WithdrawalCounted(self, token: int, withdrawn: int) -> None:
        for collateral in self.state.collaterals:
            if collateral.token == token:
                collateral.withdrawn, collateral.withdrawn_time = withdrawn, self.time
                return
        self.state.cash_withdrawn_wad, self.state.cash_withdrawn_time = withdrawn, self.time

    def on_CashDeposited(self, account: int, amount: int, cashWad: int) -> None:
        self._set_cash(account, cashWad)

    def on_CashWithdrawn(self, account: int, to: int, amount: int, cashWad: int) -> None:
        self._set_cash(account, cashWad)

    def on_CashChanged(self, account: int, cashWad: int) -> None:
        self._set_cash(account, cashWad)

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

    def on_InstrumentInterestChanged(self, instrument: int, openInterestWad: int) -> None:
        self.state.open_interest[instrument] = openInterestWad

    def on_PnlPoolChanged(self, underlying: int, poolWad: int) -> None:
        self.state.underlyings[underlying].pnl_pool_wad = poolWad

    def on_InsuranceChanged(self, insuranceWad: int) -> None:
        self.state.insurance_wad = insuranceWad

    def on_InsurancePaid(
        self, account: int, paidWad: int, insuranceWad: int, periodWad: int, time: int
    ) -> None:
        s = self.state
        s.insurance_wad, s.insurance_paid_wad, s.insurance_paid_time = insuranceWad, periodWad, time

    # ── liquidation ──────────────────────────────────────────────────────────────────────────────

    def on_Flagged(self, account: int, time: int, equity: int, mm: int) -> None:
        self._account(account).flagged_at = time

    def on_FlagCleared(self, account: int, equity: int, im: int) -> None:
        self._account(account).flagged_at = 0

    def on_MarginCalled(self, account: int, equity: int, mm: int, warningBps: int) -> None:
        self._account(account).margin_call = True

    def on_MarginCallCleared(self, account: int, equity: int, mm: int, warningBps: int) -> None:
        self._account(account).margin_call = False

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
        if not u.epoch:
            u.previous_price_wad = priceWad
        elif time != u.time:  # a second snapshot in one second replaces the first
            u.previous_price_wad, u.previous_time = u.price_wad, u.time
        u.epoch, u.price_wad, u.time, u.feed_updated_at = epoch, priceWad, time, feedUpdatedAt

    def on_FundingAccrued(self, underlying: int, fundingE12: int, time: int) -> None:
        u = self.state.underlyings[underlying]
        u.funding_e12, u.funding_time = fundingE12, time

    def on_PremiumReported(self, underlying: int, premiumE9: int) -> None:
        self.state.underlyings[underlying].premium_e9 = premiumE9

    def on_StablePriceMoved(self, underlying: int, stablePriceWad: int, apart: bool) -> None:
        u = self.state.underlyings[underlying]
        u.stable_price_wad, u.stable_apart = stablePriceWad, bool(apart)

    def on_ReduceOnlySet(self, underlying: int, until: int) -> None:
        self.state.underlyings[underlying].reduce_only_until = until

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

    def on_SequencerFeedSet(self, feed: int) -> None:
        self.state.sequencer_feed = feed

    def on_SignersSet(self, signers: list[int], threshold: int) -> None:
        self.state.signers, self.state.signer_threshold = list(signers), threshold

    # ── settlement ───────────────────────────────────────────────────────────────────────────────

    def on_Observed(
        self,
        underlying: int,
        expiryDay: int,
        priceWad: int,
        observations: int,
        time: int,
        weight: int,
        meanWad: int,
    ) -> None:
        self.state.settlements[underlying << 16 | expiryDay] = Settlement(
            priceWad, observations, time, weight, meanWad
        )

    def on_SettlementRecorded(self, underlying: int, expiryDay: int, priceWad: int) -> None:
        item = self.state.settlements[underlying << 16 | expiryDay]
        item.price_wad, item.settled = priceWad, True

    def on_WindDownPriceRecorded(
        self, instrument: int, priceWad: int, fundingE12: int, time: int
    ) -> None:
        self.state.settlements[1 << 32 | instrument] = Settlement(
            price_wad=priceWad, last_time=time, mean_wad=fundingE12 % 2**80, settled=True
        )

    def on_PositionSettled(
        self, account: int, instrument: int, sizeWad: int, valueWad: int
    ) -> None:
        a, kind = self._account(account), instrument >> 26 & 3
        if kind >= 2:
            _change(a.options, Option(instrument, 0), True)
        elif kind == 1:  # the entry of a perp follows in PositionChanged
            _change(a.linear, Linear(instrument, 0, 0), True)

    def on_WindDownStarted(self, time: int) -> None:
        self.state.winding_down, self.state.wind_down_time = True, time

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
        result.time = int(log.get("blockTimestamp") or "0x0", 16)
        result.apply(decoder.decode(log))
    result.finish()
    return result
