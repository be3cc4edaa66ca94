"""What the operator allows the dispatcher, what it answers, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from risk.keeper.dispatch.fees import FeePolicy


@dataclass(frozen=True)
class DispatchPolicy:
    """Limits; all times are in blocks, because a stalled chain needs no action.

    Args:
        chain_id: signed into every transaction.
        fees: fee limits.
        confirmations: blocks on top of a transaction's block before its nonce is closed.
        pipeline: nonces that may be open (signed, not mined) at once.
        bump_after_blocks: age at which the lowest open nonce is replaced, though it could have
            been mined. One whose fee has become too low is replaced at the next head.
        resend_after_blocks: pause between resendings of what the node does not know.
        max_attempts: signed transactions for one nonce.
        cancel_gas: gas limit of a cancellation; 21000, more on rollups that charge for data.
        retain_blocks: age at which the bytes of a closed nonce may be forgotten. A reorg up to
            this depth reopens closed nonces.
        search_blocks: blocks read, at most, to find who used a nonce where the node keeps no old
            state.
        max_gap: nonces, at most, by which one answer of a node may run ahead of what is known, and
            that are filled to close a gap; more is a lie, or a matter for the operator.
        loss_wei_per_day: what transactions that bring nothing may cost in 24 hours (`spending`);
            None: no limit. Budgets of new nonces shrink to what is left of it.
        spend_wei_per_day: the same for all transactions.
        relay_fallback: send publicly what the private relay refuses, or has not had mined within
            `relay_patience_blocks`. False: only ever through the relay.
    """

    chain_id: int
    fees: FeePolicy
    confirmations: int = 6
    pipeline: int = 1
    bump_after_blocks: int = 2
    resend_after_blocks: int = 2
    max_attempts: int = 24
    cancel_gas: int = 21_000
    retain_blocks: int = 256
    search_blocks: int = 512
    max_gap: int = 16
    loss_wei_per_day: int | None = None
    spend_wei_per_day: int | None = None
    relay_fallback: bool = False
    relay_patience_blocks: int = 5

    def __post_init__(self) -> None:
        counts = (self.pipeline, self.bump_after_blocks, self.resend_after_blocks)
        if min(*counts, self.max_attempts, self.search_blocks, self.max_gap) < 1:
            raise ValueError(
                "pipeline, pauses, max_attempts, search_blocks and max_gap must be positive"
            )
        if self.cancel_gas < 21_000 or self.relay_patience_blocks < 0:
            raise ValueError("cancel_gas below 21000, or relay_patience_blocks negative")
        if not 0 <= self.confirmations <= self.retain_blocks:
            raise ValueError("0 <= confirmations <= retain_blocks does not hold")
        limits = (self.loss_wei_per_day, self.spend_wei_per_day)
        if any(limit is not None and limit <= 0 for limit in limits):
            raise ValueError("a limit of a day's fees must be positive")


class Declined(Enum):
    """Why an intent was not signed. None of these stops the keeper."""

    UNRESOLVED = "the nonces of an earlier run are not resolved yet"
    KEY_OPEN = "the same intent is open"
    WINDOW_FULL = "as many nonces are open as the policy allows"
    TOO_EXPENSIVE = "no fee within cap and budget would be mined in the next block"
    LIMIT = "the limit of a day's fees leaves too little"
    RESERVED = "the balance is reserved for the open nonces"
    NOT_OPEN = "there is no open nonce for it"


@dataclass(frozen=True)
class Verdict:
    """Outcome of `submit` and `cancel`: sent under `nonce` as `hash`, or `declined`.

    `answer` is the node's (`answers.Answer`, its text); the nonce is ours whatever it was.
    """

    declined: Declined | None = None
    nonce: int = -1
    hash: str = ""
    answer: str = ""

    @property
    def accepted(self) -> bool:
        """It was signed and journalled."""
        return self.declined is None


class What(Enum):
    """Kinds of `Event`."""

    SENT = "sent"
    RESENT = "resent"
    REPLACED = "replaced"
    CANCELLING = "cancelling"
    FILLED = "filled"
    STUCK = "stuck"
    REFUSED = "refused"
    MINED = "mined"
    REVERTED = "reverted"
    CANCELLED = "cancelled"
    TAKEN = "taken"
    REOPENED = "reopened"
    CLOSED = "closed"
    ABANDONED = "abandoned"
    WAITING = "waiting"


@dataclass(frozen=True)
class Event:
    """Something that happened to a nonce. `cost_wei` is what a mined transaction has cost."""

    what: What
    key: str
    nonce: int
    hash: str = ""
    block: int = -1
    cost_wei: int = 0
    note: str = ""
