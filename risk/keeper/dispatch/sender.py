"""Signs attempts into the journal and hands them to a node: in this order, without exception."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from risk.chain.keccak import keccak
from risk.chain.rpc import to_hex
from risk.errors import ChainError
from risk.keeper.dispatch.answers import Answer, classify, said
from risk.keeper.dispatch.fees import Fees, bumped, first_fees, replacement_fees
from risk.keeper.dispatch.journal import Journal
from risk.keeper.dispatch.policy import DispatchPolicy, Event, What
from risk.keeper.dispatch.slots import CANCEL, FILL, INTENT, Attempt, Slot, signing
from risk.keeper.dispatch.view import View, Wire
from risk.keeper.errors import BalanceTooLow, WrongChain

_LOG = logging.getLogger("plumbline.keeper.dispatch")
_ROUNDS = 4  # sendings of one nonce in one step: the node may ask for a higher fee each time
_HOLDS = (Answer.ACCEPTED, Answer.KNOWN)
_NO_VERDICT = (Answer.UNKNOWN, Answer.BUSY, Answer.OTHER)


class Signing(Protocol):
    """A key; `risk.keeper.keys.Signer` is one."""

    address: str

    def sign(self, transaction: Mapping[str, Any]) -> bytes:
        """Raw bytes of a signed transaction."""


class Sender:
    """Everything that produces bytes or sends them.

    Args:
        wire: the public node.
        relay: a private endpoint that takes `eth_sendRawTransaction`, or None.
        tell: called with every event.
    """

    def __init__(
        self,
        wire: Wire,
        signer: Signing,
        journal: Journal,
        policy: DispatchPolicy,
        relay: Wire | None,
        tell: Callable[[Event], None],
    ) -> None:
        self._wire, self._relay = wire, relay
        self._signer, self._journal, self._policy = signer, journal, policy
        self._tell = tell
        self._sent_at: dict[str, int] = {}  # attempt -> head of its last sending by this process
        self._stuck: set[str] = set()  # attempts told of

    # --------------------------------------------------------------- signing

    def first(
        self, key: str, to: str, data: bytes, gas: int, budget: int, view: View, n: int
    ) -> Slot | None:
        """Signs a new nonce `n`; None where no fee is within the limits. Not sent yet."""
        fees = first_fees(self._policy.fees, view.head.base_fee_wei, view.tip_wei, gas, budget)
        if fees is None:
            return None
        slot = Slot(n, key, to, data, gas, budget)
        purpose = FILL if key.startswith(FILL) else INTENT
        self._journal.append(signing("signed", slot, self._attempt(slot, purpose, fees, view)))
        return self._journal.slots.by_nonce[n]

    def _again(self, slot: Slot, purpose: str, view: View) -> bool:
        """Signs a replacement; False where cap, budget or number of attempts forbids it."""
        old, policy = slot.last, self._policy
        gas = policy.cancel_gas if purpose == CANCEL else slot.gas_limit
        budget = min(slot.budget_wei, view.balance_wei)
        fees = replacement_fees(
            policy.fees, old.fees, view.head.base_fee_wei, view.tip_wei, gas, budget
        )
        if fees is None or len(slot.attempts) >= policy.max_attempts:
            if old.hash not in self._stuck:
                self._stuck.add(old.hash)
                least = bumped(policy.fees, old.fees)
                note = f"a replacement needs {least.max_fee_wei} wei, tip {least.tip_wei} wei"
                self._event(What.STUCK, slot, old.hash, note)
            return False
        kind = "replaced" if purpose == old.purpose else "cancelled"
        attempt = self._attempt(slot, purpose, fees, view)
        self._journal.append(signing(kind, slot, attempt))
        what = What.REPLACED if kind == "replaced" else What.CANCELLING
        note = f"max fee {fees.max_fee_wei} wei, tip {fees.tip_wei} wei"
        self._event(what, slot, attempt.hash, note)
        return True

    def _attempt(self, slot: Slot, purpose: str, fees: Fees, view: View) -> Attempt:
        own = purpose in (CANCEL, FILL)
        gas = self._policy.cancel_gas if own else slot.gas_limit
        raw = self._signer.sign(
            {
                "type": 2,
                "chainId": self._policy.chain_id,
                "nonce": slot.nonce,
                "to": self._signer.address if own else slot.to,
                "value": 0,
                "data": b"" if own else slot.data,
                "gas": gas,
                "maxFeePerGas": fees.max_fee_wei,
                "maxPriorityFeePerGas": fees.tip_wei,
            }
        )
        return Attempt(to_hex(keccak(raw)), raw, purpose, gas, fees, view.head.number)

    # --------------------------------------------------------------- sending

    def due(self, attempt: Attempt, head: int) -> bool:
        """It was not sent by this process yet, or long enough ago to be sent again."""
        at = self._sent_at.get(attempt.hash)
        return at is None or head - at >= self._policy.resend_after_blocks or head < at

    def bump(self, slot: Slot, view: View) -> Answer | None:
        """Replaces the last attempt at a higher fee and sends it; None where it may not."""
        return self.push(slot, view) if self._again(slot, slot.last.purpose, view) else None

    def cancel(self, slot: Slot, view: View) -> Answer | None:
        """Replaces the last attempt by a transfer of nothing to oneself; None where it may not."""
        return self.push(slot, view) if self._again(slot, CANCEL, view) else None

    def push(self, slot: Slot, view: View) -> Answer:
        """Sends the last attempt, with higher fees where the node asks for them at once.

        Raises `BalanceTooLow` and `WrongChain`; the nonce stays open and is resolved later.
        """
        for _ in range(_ROUNDS):
            attempt = slot.last
            answer, note = self._send(slot, attempt, view)
            if answer in _HOLDS:
                return answer
            self._event(What.REFUSED, slot, attempt.hash, f"{answer.value}: {note}")
            if answer is Answer.INSUFFICIENT_FUNDS:
                raise BalanceTooLow(
                    f"{self._signer.address} has {view.balance_wei} wei; nonce {slot.nonce} may "
                    f"cost {attempt.worst_wei} wei",
                    attempt.worst_wei,
                )
            if answer is Answer.WRONG_CHAIN:
                raise WrongChain(f"the node refuses chain id {self._policy.chain_id}: {note}")
            ours = any(a.sent in (h.value for h in _HOLDS) for a in slot.attempts)
            purpose = attempt.purpose
            if answer is Answer.NEVER_VALID and purpose != CANCEL:
                purpose = CANCEL
            elif answer is Answer.REPLACEMENT_UNDERPRICED and not ours:
                return answer  # a stranger's transaction waits there: outbid it by age only
            elif answer not in (Answer.REPLACEMENT_UNDERPRICED, Answer.FEE_TOO_LOW):
                return answer
            if not self._again(slot, purpose, view):
                return answer
        return answer

    def _send(self, slot: Slot, attempt: Attempt, view: View) -> tuple[Answer, str]:
        wires = self._wires(slot, view)
        answer, note = Answer.UNKNOWN, ""
        for place, wire in enumerate(wires):
            self._sent_at[attempt.hash] = view.head.number
            answer, note = _hand_over(wire, attempt)
            if answer not in _NO_VERDICT or place + 1 == len(wires):
                break
        if answer.value != attempt.sent:  # a repetition needs no record
            self._journal.append(
                {"t": "sent", "nonce": slot.nonce, "hash": attempt.hash, "answer": answer.value}
            )
        return answer, note

    def _wires(self, slot: Slot, view: View) -> list[Wire]:
        """Where to send: the relay first, if there is one, then the public node if allowed."""
        if self._relay is None:
            return [self._wire]
        if not self._policy.relay_fallback:
            return [self._relay]
        age = view.head.number - slot.attempts[0].block
        both = [self._relay, self._wire]
        return both if age < self._policy.relay_patience_blocks else both[1:]

    @property
    def private(self) -> bool:
        """The public node's pool says nothing about our transactions."""
        return self._relay is not None

    def _event(self, what: What, slot: Slot, tx_hash: str, note: str) -> None:
        self._tell(Event(what, slot.key, slot.nonce, tx_hash, note=note))


def _hand_over(wire: Wire, attempt: Attempt) -> tuple[Answer, str]:
    try:
        told = wire.call("eth_sendRawTransaction", to_hex(attempt.raw))
    except ChainError as error:
        return classify(error), said(error)
    if not isinstance(told, str) or told.lower() != attempt.hash:
        return Answer.OTHER, "the node names another transaction"
    return Answer.ACCEPTED, ""
