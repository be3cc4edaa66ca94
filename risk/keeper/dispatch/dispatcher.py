"""The dispatcher: intents become transactions that are mined once, or visibly not at all.

`tick` brings every nonce up to date with the chain (also after a restart: the first `tick`
resolves what an earlier run left), `submit` signs and sends one intent, `cancel` takes an open one
back. What it promises:

- Bytes are in the journal, on the disk, before they are sent (`journal`, `sender`).
- One intent, one nonce: an intent whose nonce is not closed is refused, and a replacement differs
  from what it replaces only in its fees. So two effects of one intent would need one nonce twice.
- A nonce is closed `confirmations` blocks after its transaction, or after a stranger's was seen on
  chain with it. A reorg reopens it, and the same bytes are sent again.
- Nothing is concluded from an answer that is missing: `Transient`, and no state changes.
"""

from __future__ import annotations

import logging

from eth_utils.address import to_checksum_address

from risk.keeper.dispatch.answers import Answer
from risk.keeper.dispatch.fees import least_fee
from risk.keeper.dispatch.journal import Journal
from risk.keeper.dispatch.policy import Declined, DispatchPolicy, Event, Verdict, What
from risk.keeper.dispatch.sender import Sender, Signing
from risk.keeper.dispatch.slots import CANCEL, FILL, INTENT, NOBODY, Slot, Status
from risk.keeper.dispatch.spending import SMALLEST_GAS, Spending, flag_wei, lost_fees
from risk.keeper.dispatch.view import View, Wire, canonical, look, read_head, who_used
from risk.keeper.errors import BalanceTooLow, Transient
from risk.keeper.types import Head, Intent

_LOG = logging.getLogger("plumbline.keeper.dispatch")


class Dispatcher:
    """See the module. Not safe to share between threads.

    Args:
        wire: the node: `risk.chain.rpc.Rpc` or what has its `call` and `try_batch`.
        signer: the key (`risk.keeper.keys.Signer`); the caller holds the lock of (chain, signer).
        journal: opened for the same chain and address.
        relay: private endpoint for the sending; everything else is read from `wire`.
    """

    def __init__(
        self,
        wire: Wire,
        signer: Signing,
        journal: Journal,
        policy: DispatchPolicy,
        relay: Wire | None = None,
    ) -> None:
        self._wire, self._journal, self._policy = wire, journal, policy
        self._address = signer.address
        self._events: list[Event] = []
        self._sender = Sender(wire, signer, journal, policy, relay, self._tell)
        self._resolved = False
        self._used = 0  # nonces used as of the last tick
        self._first_used: dict[int, int] = {}  # nonce -> head at which its user was not found

    # ---------------------------------------------------------------- reading

    @property
    def slots(self) -> list[Slot]:
        """Nonces that are not final, lowest first; not to be changed."""
        return self._journal.slots.live()

    def is_open(self, key: str) -> bool:
        """The intent has a nonce that is not final, so it would be declined."""
        return self._journal.slots.find(key) is not None

    def spending(self, head: Head) -> Spending:
        """What the last day has cost as of `head`, by the journal."""
        slots, policy = self._journal.slots, self._policy
        fees = slots.fees(head.timestamp)
        return Spending(
            spent_wei=sum(fee.wei for fee in fees),
            lost_wei=sum(fee.wei for fee in lost_fees(fees)),
            reserved_wei=sum(slot.budget_wei for slot in slots.live() if slot.unmined),
            loss_limit_wei=policy.loss_wei_per_day,
            spend_limit_wei=policy.spend_wei_per_day,
        )

    def held(self, head: Head) -> str:
        """Why no intent is sent at `head`: the day's fees leave nothing that the next block would
        take. Empty where they do.
        """
        fees = self._policy.fees
        least = SMALLEST_GAS * least_fee(fees, head.base_fee_wei, 0)
        return self.spending(head).held(least)

    def flag_wei(self, account: int, head: Head) -> int:
        """What flags of the account have cost in the last day, no liquidation of ours since."""
        return flag_wei(self._journal.slots.fees(head.timestamp), f"{account:042x}")

    # ----------------------------------------------------------------- acting

    def forgive(self, head: Head) -> None:
        """What was spent until `head` counts no more; for an operator who has looked at it."""
        self._journal.append({"t": "forgiven", "time": head.timestamp})
        _LOG.warning("the fees of the last day count no more, from block %d on", head.number)

    def tick(self, head: Head | None = None) -> list[Event]:
        """Brings all nonces up to date, sends what is missing, raises fees; what happened.

        `head` is the block that the keeper works on, the node's latest without it. Raises
        `Transient`, `BalanceTooLow`, `WrongChain`, `StateError`; the journal is whole after each.
        """
        head = head or read_head(self._wire)
        view = self._look(head)
        for slot in self._watched(view):
            self._settle(slot, view)
        self._fill_gaps(view)
        self._used = view.used
        # the first sending may raise: by then every nonce is known
        self._resolved = True
        for slot in self.slots:
            if slot.unmined:
                self._push_on(slot, view)
        self._journal.compact(head.number - self._policy.retain_blocks)
        events, self._events = self._events, []
        return events

    def submit(self, intent: Intent, head: Head | None = None, *, budget_wei: int = 0) -> Verdict:
        """Signs, journals and sends an intent with the next nonce, unless it is declined.

        `budget_wei` bounds gas_limit · max_fee over all replacements; 0, and anything above it,
        means the policy's. Raises what `tick` does, `BalanceTooLow` also before signing.
        """
        slots = self._journal.slots
        if not self._resolved:
            return Verdict(Declined.UNRESOLVED)
        if slots.find(intent.key) is not None:
            return Verdict(Declined.KEY_OPEN)
        waiting = [slot for slot in slots.live() if slot.unmined]
        if len(waiting) >= self._policy.pipeline:
            return Verdict(Declined.WINDOW_FULL)
        view = self._look(head or read_head(self._wire), [])
        if any(slot.nonce < view.used for slot in waiting):
            return Verdict(Declined.UNRESOLVED)  # something was mined: `tick` first
        # the pool's count includes what the owner has sent by other means
        nonce = max(slots.next_nonce(), view.pending)
        known = max(slots.next_nonce(), self._used)
        if nonce - known > self._policy.max_gap:
            raise Transient(
                f"the node counts {view.used} transactions and {view.pending} with its pool, "
                f"{known} are known: signing beyond them could leave a gap"
            )
        to = to_checksum_address(f"0x{intent.to:040x}")
        budget = self._policy.fees.budget(budget_wei)
        reserved = sum(slot.last.worst_wei for slot in waiting)
        fees = self._policy.fees
        needed = intent.gas_limit * least_fee(fees, view.head.base_fee_wei, view.tip_wei)
        if needed > view.balance_wei:
            raise BalanceTooLow(
                f"{self._address} has {view.balance_wei} wei; {intent.key} needs {needed} wei",
                needed,
            )
        if needed > view.balance_wei - reserved:
            return Verdict(Declined.RESERVED)
        left = self.spending(view.head).left_wei
        if left is not None and needed > left:
            return Verdict(Declined.LIMIT)
        budget = min(budget, view.balance_wei - reserved, *([] if left is None else [left]))
        slot = self._sender.first(
            intent.key, to, intent.data, intent.gas_limit, budget, view, nonce
        )
        if slot is None:
            return Verdict(Declined.TOO_EXPENSIVE)
        answer = self._sender.push(slot, view)
        self._event(What.SENT, slot, slot.last.hash, note=answer.value)
        return Verdict(None, nonce, slot.last.hash, answer.value)

    def cancel(self, key: str, head: Head | None = None) -> Verdict:
        """Replaces an open intent by a transfer of nothing to oneself, with the same nonce.

        Which of the two is mined only the chain knows: `tick` reports it. The nonce is used up
        either way. Raises what `tick` does.
        """
        slot = self._journal.slots.find(key)
        if slot is None or not slot.unmined:
            return Verdict(Declined.NOT_OPEN)
        if slot.last.purpose == CANCEL:
            return Verdict(None, slot.nonce, slot.last.hash, slot.last.sent)
        view = self._look(head or read_head(self._wire), [])
        answer = self._sender.cancel(slot, view)
        if answer is None:
            return Verdict(Declined.TOO_EXPENSIVE)
        return Verdict(None, slot.nonce, slot.last.hash, answer.value)

    # -------------------------------------------------------------- resolving

    def _look(self, head: Head, slots: list[Slot] | None = None) -> View:
        asked = self.slots if slots is None else slots
        tip = self._policy.fees.min_tip_wei
        return look(self._wire, self._address, head, asked, default_tip_wei=tip)

    def _watched(self, view: View) -> list[Slot]:
        """Live slots, and closed ones that a deep reorg took back, lowest nonce first."""
        slots = self._journal.slots
        if view.used < slots.floor:
            raise Transient(
                f"the node counts {view.used} transactions, the journal knows of {slots.floor}: "
                "it lags, or the chain was rolled back further than retain_blocks"
            )
        both = slots.by_nonce.items()
        return [s for nonce, s in sorted(both) if s.live or nonce >= view.used]

    def _settle(self, slot: Slot, view: View) -> None:
        """Takes over what the chain says about one nonce."""
        won = next((r for a in slot.attempts if (r := view.receipts.get(a.hash))), None)
        if slot.status is Status.CLOSED:
            self._reopen_closed(slot)
        elif slot.status is not Status.OPEN:
            place = view.receipts.get(slot.winner)
            there = place is not None and place.block_hash == slot.block_hash
            if slot.winner == NOBODY:
                there = won is None and view.used > slot.nonce
            if not there:
                self._reopen(slot, {})
        if slot.status is Status.OPEN and won is not None:
            self._record_mined(slot, view)
        elif slot.status is Status.OPEN and view.used > slot.nonce:
            self._find_user(slot, view)
        if slot.status in (Status.MINED, Status.TAKEN):
            self._close(slot, view)

    def _record_mined(self, slot: Slot, view: View) -> None:
        won = next(view.receipts[a.hash] for a in slot.attempts if a.hash in view.receipts)
        self._journal.append(
            {
                "t": "mined",
                "nonce": slot.nonce,
                "hash": won.hash,
                "status": int(won.succeeded),
                "block": won.block,
                "block_hash": won.block_hash,
                "gas_used": won.gas_used,
                "price": won.gas_price_wei,
                "time": view.head.timestamp,
            }
        )
        attempt = slot.attempt(won.hash)
        what = What.MINED if won.succeeded else What.REVERTED
        if attempt is not None and attempt.purpose == CANCEL:
            what = What.CANCELLED
        self._event(what, slot, won.hash)

    def _find_user(self, slot: Slot, view: View) -> None:
        """The nonce counts as used, and no attempt of ours has a receipt: who was it?"""
        since = max(0, slot.attempts[0].block - self._policy.retain_blocks)
        head = view.head.number
        user = who_used(
            self._wire, self._address, slot.nonce, since, head, self._policy.search_blocks
        )
        if user is not None and slot.attempt(user.hash) is None:
            place = {"hash": user.hash, "block": user.block, "block_hash": user.block_hash}
            self._journal.append({"t": "taken", "nonce": slot.nonce, **place})
            self._event(What.TAKEN, slot, user.hash)
            return
        # ours after all, but its receipt is not there yet; or used in a block after the head; or by
        # a stranger in a block that the node no longer reads. Only time tells that from the others.
        since = self._first_used.setdefault(slot.nonce, head)
        if user is None and head - since > self._policy.confirmations:
            place = {"hash": NOBODY, "block": head, "block_hash": view.head.hash}
            self._journal.append({"t": "taken", "nonce": slot.nonce, **place})
            self._event(What.TAKEN, slot, NOBODY)
            return
        note = f"the nonce is used, by whom is not known since block {since}"
        self._event(What.WAITING, slot, user.hash if user else "", note=note)

    def _reopen_closed(self, slot: Slot) -> None:
        """A reorg deeper than the confirmations has freed a closed nonce.

        Its own transaction is sent again. Where a stranger's was there, or the intent is open under
        another nonce, it may have had its effect elsewhere: the nonce is then filled with nothing.
        """
        ours = slot.attempt(slot.winner) is not None
        twice = self._journal.slots.find(slot.key) is not None
        self._reopen(slot, {} if ours and not twice else {"key": f"{CANCEL}:{slot.nonce}"})

    def _reopen(self, slot: Slot, more: dict[str, str]) -> None:
        was = slot.winner
        self._journal.append({"t": "reopened", "nonce": slot.nonce, **more})
        self._event(What.REOPENED, slot, was)

    def _close(self, slot: Slot, view: View) -> None:
        if view.head.number - slot.block < self._policy.confirmations:
            return
        if not canonical(self._wire, slot.block, slot.block_hash):
            return  # a reorg in this moment: the next tick sees it
        ours = slot.status is Status.MINED
        self._first_used.pop(slot.nonce, None)
        self._journal.append({"t": "closed" if ours else "abandoned", "nonce": slot.nonce})
        self._event(What.CLOSED if ours else What.ABANDONED, slot, slot.winner)

    def _fill_gaps(self, view: View) -> None:
        """A nonce below ours that nobody uses would block ours for ever: fill it with nothing.

        Where the pool counts a stranger's transaction for it, that one is waited for.
        """
        by_nonce = self._journal.slots.by_nonce
        waiting = [slot.nonce for slot in self.slots if slot.unmined]
        first, end = max(view.used, view.pending), max(waiting, default=0)
        known = sum(first <= nonce < end for nonce in by_nonce)
        if end - first - known > self._policy.max_gap:
            raise Transient(
                f"{end - first - known} nonces between {first}, the node's count, and {end}, ours,"
                " are nobody's: filling them would cost as many transactions. The node lies or"
                " lags, or did when ours was signed: then see to nonces and journal by hand"
            )
        for nonce in range(first, end):
            if nonce in by_nonce:
                continue
            gas, budget = self._policy.cancel_gas, self._policy.fees.budget_wei
            left = self.spending(view.head).left_wei
            budget = budget if left is None else min(budget, max(0, left))
            key = f"{FILL}:{nonce}"
            slot = self._sender.first(key, self._address, b"", gas, budget, view, nonce)
            if slot is not None:
                self._event(What.FILLED, slot, slot.last.hash, note="nobody uses this nonce")

    # ---------------------------------------------------------------- pushing

    def _push_on(self, slot: Slot, view: View) -> None:
        """Sends an open nonce that the node does not hold, and raises a fee that is too low."""
        if view.used > slot.nonce:
            return  # `_find_user` waits for its receipt
        last, head = slot.last, view.head
        if slot.key.startswith(f"{CANCEL}:") and last.purpose == INTENT:
            self._sender.cancel(slot, view)
            return
        age = head.number - last.block
        lowest = slot.nonce == view.used
        low = age >= 1 and not last.fees.includable(head.base_fee_wei)
        held = last.hash in view.pooled
        # what the public pool does not hold was dropped: the same bytes go first
        outbid = held or self._sender.private or last.sent == Answer.REPLACEMENT_UNDERPRICED.value
        slow = outbid and age >= self._policy.bump_after_blocks
        due = lowest and bool(last.sent) and (low or slow)
        if due and self._sender.bump(slot, view) is not None:
            return
        if held or not self._sender.due(last, head.number):
            return
        again = bool(last.sent)
        answer = self._sender.push(slot, view)
        self._event(What.RESENT if again else What.SENT, slot, slot.last.hash, note=answer.value)

    # ----------------------------------------------------------------- events

    def _event(self, what: What, slot: Slot, tx_hash: str, note: str = "") -> None:
        cost = slot.gas_used * slot.gas_price_wei if tx_hash == slot.winner else 0
        self._tell(Event(what, slot.key, slot.nonce, tx_hash, slot.block, cost, note))

    def _tell(self, event: Event) -> None:
        self._events.append(event)
        _LOG.info(
            "nonce %d %s %s %s %s", event.nonce, event.what.value, event.key, event.hash, event.note
        )
