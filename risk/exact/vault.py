"""The vault of the reference model: one method per external function of ``IVault``.  Twin:
``contracts/Vault.sol``.

Methods that change state take the sender first; they raise ``ModelRevert`` and then leave state and
world as they were. A signature is represented by the address it recovers to (0: none).  Gas,
allowances, the lock and the array cache are no state of the model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from risk.exact.accounts import account_lib, account_logic
from risk.exact.custody import custody_logic, interest_lib
from risk.exact.errors import ModelRevert
from risk.exact.liquidation import flag_logic, legs_logic, liquidation_logic
from risk.exact.liquidation.liquidation_logic import LiquidationQuote
from risk.exact.margin import array_logic, explain_logic, margin_engine, margin_logic
from risk.exact.margin.explain_logic import Explanation
from risk.exact.margin.margin_engine import Margin
from risk.exact.market import feed_reader, listing, market_logic, report_hash
from risk.exact.market.feed_reader import OracleState
from risk.exact.market.report_hash import Slice, VolReport
from risk.exact.params import params_logic
from risk.exact.settlement import settlement_logic
from risk.exact.state import Bucket, Collateral, State, Underlying, World
from risk.exact.trading import order_hash, trade_logic
from risk.exact.trading.order_hash import Order
from risk.exact.waterfall import waterfall_logic


@dataclass(frozen=True)
class AccountState:
    """``IVault.accountState``, positions packed as the contract packs them, in storage order."""

    cash_wad: int
    collateral: tuple[int, ...]
    linear: tuple[int, ...]
    options: tuple[int, ...]


@dataclass(frozen=True)
class Snapshot:
    """``IMarket.Snapshot``."""

    price_wad: int
    epoch: int
    time: int
    open_interest_wad: int


class Vault:
    """A vault in its world.  ``state`` and ``world`` may be read freely; change them only
    through methods, or outside.
    """

    def __init__(self, state: State, world: World) -> None:
        self.state = state
        self.world = world

    # ---------------------------------------------------------------------------------- custody

    def deposit(self, sender: int, account: int, token: int, amount: int) -> None:
        """Pull ``amount`` native units of ``token`` from ``sender`` into ``account``."""
        with self._atomic():
            custody_logic.deposit(self.state, self.world, sender, account, token, amount)

    def withdraw(self, sender: int, account: int, token: int, amount: int, to: int) -> int:
        """Send ``amount`` native units (UINT256_MAX: all there is) to ``to``; returns what was
        sent.
        """
        with self._atomic():
            return custody_logic.withdraw(
                self.state, self.world, sender, account, token, amount, to
            )

    def realize_pnl(self, sender: int, account: int) -> int:
        """Realise perp and future PnL of anybody; returns the signed change of cash."""
        del sender  # anyone may touch anyone
        with self._atomic():
            return custody_logic.realize_pnl(self.state, self.world, account)

    def fund_insurance(self, sender: int, amount: int) -> None:
        """Add native units of cash to the insurance fund."""
        with self._atomic():
            custody_logic.fund_insurance(self.state, self.world, sender, amount)

    # ----------------------------------------------------------------------------------- market

    def refresh(self, sender: int, underlyings: Sequence[int]) -> None:
        """Take a new snapshot of each underlying."""
        del sender
        with self._atomic():
            market_logic.refresh(self.state, self.world, underlyings)

    def submit_report(self, sender: int, report: VolReport, signers: Sequence[int]) -> None:
        """Accept a newer report; ``signers`` are the addresses the signatures recover to."""
        del sender
        with self._atomic():
            market_logic.submit_report(self.state, self.world, report, signers)

    def compute_arrays(self, sender: int, instruments: Sequence[int]) -> None:
        """Check what ``computeArrays`` checks; the model has no cache to fill."""
        del sender
        market_logic.compute_arrays_check(self.state, instruments)
        for instrument in instruments:
            array_logic.compute(self.state, instrument)

    # ---------------------------------------------------------------------------------- trading

    def fill(
        self,
        sender: int,
        buy: Order,
        buy_signer: int,
        sell: Order,
        sell_signer: int,
        size_wad: int,
        price_wad: int,
    ) -> None:
        """Fill ``size_wad`` of both orders at ``price_wad``."""
        del sender
        with self._atomic():
            trade_logic.fill(
                self.state, self.world, buy, buy_signer, sell, sell_signer, size_wad, price_wad
            )

    def cancel(self, sender: int, order: Order) -> None:
        """Cancel an order of an account of ``sender``."""
        with self._atomic():
            trade_logic.cancel(self.state, self.world, sender, order)

    # ------------------------------------------------------------------------------ liquidation

    def liquidate(
        self, sender: int, account: int, liquidator: int, fraction_wad: int, max_payment_wad: int
    ) -> tuple[int, int]:
        """Take min(``fraction_wad``, f*) of everything; returns (fraction, signed payment)."""
        with self._atomic():
            return liquidation_logic.liquidate(
                self.state, self.world, sender, account, liquidator, fraction_wad, max_payment_wad
            )

    def liquidate_flash(
        self,
        sender: int,
        account: int,
        liquidator: int,
        fraction_wad: int,
        max_payment_wad: int,
        callback: Callable[[], None] | None,
    ) -> tuple[int, int]:
        """As ``liquidate``; ``callback`` is what the liquidator's contract does (None where the
        call carries no data).
        """
        with self._atomic():
            return liquidation_logic.liquidate(
                self.state,
                self.world,
                sender,
                account,
                liquidator,
                fraction_wad,
                max_payment_wad,
                callback,
            )

    def liquidate_legs(
        self,
        sender: int,
        account: int,
        liquidator: int,
        legs: Sequence[int],
        max_payment_wad: int,
        callback: Callable[[], None] | None,
    ) -> int:
        """Take the named legs (instrument << 96 | size); returns the signed payment."""
        with self._atomic():
            return legs_logic.liquidate_legs(
                self.state,
                self.world,
                sender,
                account,
                liquidator,
                legs,
                max_payment_wad,
                callback,
            )

    def flag(self, sender: int, account: int) -> None:
        """Start the grace of an unhealthy account."""
        del sender
        with self._atomic():
            flag_logic.flag(self.state, self.world, account)

    def unflag(self, sender: int, account: int) -> None:
        """Clear the flag of an account with E ≥ IM."""
        del sender
        with self._atomic():
            flag_logic.unflag(self.state, self.world, account)

    def call_margin(self, sender: int, account: int) -> bool:
        """Bring the margin call of the account up to date; returns whether one stands."""
        del sender
        with self._atomic():
            return flag_logic.call_margin(self.state, self.world, account)

    # -------------------------------------------------------------------------------- waterfall

    def auto_deleverage(
        self,
        sender: int,
        account: int,
        instrument: int,
        counterparties: Sequence[int],
        theta_wad: int,
    ) -> int:
        """Close a bankrupt account's position against others; returns what they paid."""
        del sender
        with self._atomic():
            return waterfall_logic.auto_deleverage(
                self.state, self.world, account, instrument, counterparties, theta_wad
            )

    def socialise(self, sender: int, account: int) -> int:
        """Pay the bare debt of an account; returns the loss of the lenders."""
        del sender
        with self._atomic():
            return waterfall_logic.socialise(self.state, self.world, account)

    # --------------------------------------------------------------------------------- accounts

    def set_operator(self, sender: int, account: int, operator: int, rights: int) -> None:
        """Give ``operator`` rights over ``account``."""
        with self._atomic():
            account_logic.set_operator(self.state, sender, account, operator, rights)

    def raise_min_nonce(self, sender: int, account: int, min_nonce: int) -> None:
        """Kill every order of ``account`` with a lower nonce."""
        with self._atomic():
            account_logic.raise_min_nonce(self.state, sender, account, min_nonce)

    def transfer(self, sender: int, source: int, target: int, token: int, amount: int) -> int:
        """Move cash or collateral between two sub-accounts of one owner."""
        with self._atomic():
            return account_logic.transfer(
                self.state, self.world, sender, source, target, token, amount
            )

    def batch(self, sender: int, calls: Sequence[Callable[[Vault], Any]]) -> list[Any]:
        """Run ``calls`` in order; the margin checks they owe run at the outermost exit."""
        del sender
        with self._atomic():
            if not calls:
                raise ModelRevert("BatchEmpty")
            outermost = not self.state.deferring
            self.state.deferring = True
            results = [call(self) for call in calls]
            if outermost:
                self.state.deferring = False
                margin_logic.require_deferred(self.state, self.world)
            return results

    def accrue(self, sender: int) -> None:
        """Bring the interest indices to now."""
        del sender
        with self._atomic():
            interest_lib.accrue(self.state, self.world)

    # ------------------------------------------------------------------------------- settlement

    def observe(self, sender: int, underlying: int, expiry_day: int) -> None:
        """Record one observation of the index for the expiry."""
        del sender
        with self._atomic():
            settlement_logic.observe(self.state, self.world, underlying, expiry_day)

    def settle(self, sender: int, accounts: Sequence[int]) -> None:
        """Settle what has a settlement price."""
        del sender
        with self._atomic():
            settlement_logic.settle(self.state, self.world, accounts)

    # ---------------------------------------------------------------------- views of the ledger

    def margin(self, account: int) -> Margin:
        """Portfolio margin at the snapshots."""
        return margin_engine.compute(self.state, account, account_lib.load(self.state, account))

    def explain(self, account: int) -> Explanation:
        """What the margin consists of."""
        return explain_logic.explain(self.state, account)

    def liquidation_quote(self, account: int) -> LiquidationQuote:
        """f*, ρ and the price of the whole account at the snapshots as they are."""
        return liquidation_logic.quote(self.state, account, self.world.timestamp)

    def account_state(self, account: int) -> AccountState:
        """Cash, collateral and packed positions."""
        a = account_lib.load(self.state, account)
        return AccountState(
            cash_wad=a.cash_wad,
            collateral=tuple(a.collateral[: len(self.state.collaterals)]),
            linear=tuple(
                x.instrument << 224 | (x.size_wad % 2**96) << 128 | x.quote_wad % 2**128
                for x in a.linear
            ),
            options=tuple(x.instrument << 96 | x.size_wad % 2**96 for x in a.options),
        )

    def pnl_pool(self, underlying: int) -> int:
        """WAD in the PnL pool of the underlying."""
        return self._listed(underlying).pnl_pool_wad

    def order_status(self, key: bytes) -> tuple[int, bool]:
        """(filled size WAD, cancelled) of the order with this EIP-712 digest."""
        return self.state.filled_wad.get(key, 0), key in self.state.cancelled

    def totals(self) -> tuple[int, int]:
        """(cash tokens the ledger accounts for, insurance fund), WAD."""
        return self.state.cash_held_wad, self.state.insurance_wad

    def collateral_info(self, collateral: int) -> Collateral:
        """A copy of the listed collateral."""
        if collateral >= len(self.state.collaterals):
            raise ModelRevert("UnknownToken", (0,))
        return copy.copy(self.state.collaterals[collateral])

    # ---------------------------------------------------------------------- views of the market

    def snapshot(self, underlying: int) -> Snapshot:
        """The frozen price of the underlying."""
        u = self._listed(underlying)
        return Snapshot(u.price_wad, u.epoch, u.time, u.open_interest_wad)

    def oracle_state(self, underlying: int) -> tuple[OracleState, int]:
        """(state, live price WAD)."""
        p = feed_reader.load_params(self.state)
        feed_reader.require_known(self.state, p, underlying)
        oracle_state, price_wad, _ = feed_reader.live(self.state, self.world, p, underlying)
        return oracle_state, price_wad

    def slice(self, underlying: int, expiry_day: int) -> tuple[Slice, int]:
        """(forward and SVI slice, time of its report); zeros where none was reported."""
        b = self.state.buckets.get(underlying << 16 | expiry_day, Bucket())
        curve = (b.a_e9, b.b_e9, b.rho_e9, b.m_e9, b.sigma_e9)
        return Slice(expiry_day, b.forward_ratio_wad, b.discount_wad, *curve), b.report_time

    def strike(self, underlying: int, expiry_day: int, strike_index: int) -> int:
        """WAD; 0 where it is not listed."""
        b = self.state.buckets.get(underlying << 16 | expiry_day, Bucket())
        return b.strikes_wad[strike_index] if strike_index < len(b.strikes_wad) else 0

    def report_status(self, underlying: int) -> tuple[int, int, int]:
        """(nonce, time, confidence bps) of the last report."""
        u = self._listed(underlying)
        return u.report_nonce, u.report_time, u.confidence_bps

    # --------------------------------------------------------------- views of the configuration

    def hash_order(self, order: Order) -> bytes:
        """EIP-712 digest of an order."""
        return order_hash.digest(report_hash.domain_separator(self.world), order)

    def hash_report(self, report: VolReport) -> bytes:
        """EIP-712 digest of a report."""
        return report_hash.digest(report_hash.domain_separator(self.world), report)

    def risk_params(self) -> bytes:
        """The parameter blob; empty where none is set."""
        return b"" if self.state.params is None else self.state.params.blob

    def listed_counts(self) -> tuple[int, int]:
        """(underlyings, collaterals)"""
        return len(self.state.underlyings), len(self.state.collaterals)

    def signers(self) -> tuple[tuple[int, ...], int]:
        """(report signers, threshold)"""
        return tuple(self.state.signers), self.state.signer_threshold

    def cash_token(self) -> tuple[int, int]:
        """(token, decimals)"""
        return self.state.cash_token, self.state.cash_decimals

    # --------------------------------------------------------------------------- administration

    def list_underlying(self, sender: int, feed: int) -> int:
        """List the underlying that ``feed`` prices; returns its index."""
        with self._atomic():
            self._only_owner(sender)
            return listing.list_underlying(self.state, self.world, feed)

    def list_collateral(
        self, sender: int, token: int, underlying: int, rate_feed: int, token_decimals: int | None
    ) -> int:
        """List a collateral; ``token_decimals`` is what the token answers, None where it answers
        nothing.
        """
        with self._atomic():
            self._only_owner(sender)
            return listing.list_collateral(
                self.state, self.world, token, underlying, rate_feed, token_decimals
            )

    def list_expiry(
        self, sender: int, underlying: int, expiry_day: int, strikes_wad: Sequence[int]
    ) -> None:
        """List an expiry and append strikes to it."""
        with self._atomic():
            self._only_owner(sender)
            listing.list_expiry(self.state, self.world, underlying, expiry_day, strikes_wad)

    def set_risk_params(self, sender: int, blob: bytes) -> None:
        """Validate and set the parameters."""
        with self._atomic():
            self._only_owner(sender)
            params_logic.set_params(self.state, self.world, blob)

    def set_signers(self, sender: int, signers: Sequence[int], threshold: int) -> None:
        """Replace the report signers."""
        with self._atomic():
            self._only_owner(sender)
            listing.set_signers(self.state, signers, threshold)

    def start_wind_down(self, sender: int) -> None:
        """From now on positions only shrink."""
        with self._atomic():
            self._only_owner(sender)
            settlement_logic.start_wind_down(self.state, self.world)

    def set_sequencer_feed(self, sender: int, feed: int) -> None:
        """L2 sequencer uptime feed, 0 on an L1."""
        with self._atomic():
            self._only_owner(sender)
            self.state.sequencer_feed = feed

    # ---------------------------------------------------------------------------------- private

    def _only_owner(self, sender: int) -> None:
        if sender != self.state.owner:
            raise ModelRevert("Unauthorized")

    def _listed(self, underlying: int) -> Underlying:
        if underlying >= len(self.state.underlyings):
            raise ModelRevert("UnknownUnderlying", (underlying,))
        return self.state.underlyings[underlying]

    @contextmanager
    def _atomic(self) -> Iterator[None]:
        """Undo everything where the body raises."""
        state, balances = _copy_state(self.state), _copy_balances(self.world)
        try:
            yield
        except BaseException:
            self.state.__dict__.update(state.__dict__)
            self.world.balances = balances
            raise


def _copy_state(state: State) -> State:
    """As ``State.clone``, without copying what actions replace as a whole.

    Accounts are replaced by ``account_lib.store`` and never changed in place, parameters are
    immutable; everything else that is changed in place is copied one level deep.
    """
    twin = copy.copy(state)
    twin.underlyings = [copy.copy(u) for u in state.underlyings]
    twin.collaterals = [copy.copy(c) for c in state.collaterals]
    twin.accounts = dict(state.accounts)
    twin.buckets = {key: _copy_bucket(b) for key, b in state.buckets.items()}
    twin.filled_wad = dict(state.filled_wad)
    twin.cancelled = set(state.cancelled)
    twin.signers = list(state.signers)
    twin.open_interest = dict(state.open_interest)
    twin.settlements = {key: copy.copy(s) for key, s in state.settlements.items()}
    twin.operators = dict(state.operators)
    twin.min_nonce = dict(state.min_nonce)
    twin.deferred = list(state.deferred)
    return twin


def _copy_bucket(bucket: Bucket) -> Bucket:
    twin = copy.copy(bucket)
    twin.strikes_wad = list(bucket.strikes_wad)
    return twin


def _copy_balances(world: World) -> dict[int, dict[int, int]]:
    """Balances are all that a vault changes in the world."""
    return {token: dict(holders) for token, holders in world.balances.items()}
