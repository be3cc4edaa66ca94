"""What a node says to `eth_sendRawTransaction`, by name.

There is no standard: geth, Anvil (reth's pool), Nethermind, Erigon and Besu word the same refusal
differently and use the codes -32000, -32003 and -32010 for everything. So the text decides, and a
text that nobody knows is `OTHER`, after which the transaction counts as neither sent nor refused.
"""

from __future__ import annotations

from enum import Enum

from risk.errors import ChainError, RpcError

_LONGEST = 160  # characters of a node's message that go into logs and errors


class Answer(Enum):
    """Outcome of one sending. Only `ACCEPTED` and `KNOWN` say that the node holds the bytes."""

    ACCEPTED = "accepted"
    KNOWN = "already known"
    NONCE_TOO_LOW = "nonce too low"
    NONCE_GAP = "nonce gap"
    REPLACEMENT_UNDERPRICED = "replacement underpriced"
    FEE_TOO_LOW = "fee too low"
    INSUFFICIENT_FUNDS = "insufficient funds"
    NEVER_VALID = "never valid"
    WRONG_CHAIN = "wrong chain"
    BUSY = "busy"
    UNKNOWN = "no answer"
    OTHER = "other"


# the first match counts: "replacement transaction underpriced" before "transaction underpriced"
_TEXTS: tuple[tuple[Answer, tuple[str, ...]], ...] = (
    (
        Answer.KNOWN,
        ("already known", "already imported", "known transaction:", "alreadyknown", "same hash"),
    ),
    (
        Answer.REPLACEMENT_UNDERPRICED,
        (
            "replacement transaction underpriced",
            "replace transaction underpriced",
            "could not replace existing",
            "replacementnotallowed",
            "replacement underpriced",
        ),
    ),
    (Answer.NONCE_TOO_LOW, ("nonce too low", "nonce is too low", "oldnonce", "old nonce")),
    (
        Answer.NONCE_GAP,
        (
            "nonce too high",
            "noncegap",
            "nonce gap",
            "gapped",
            "nonce too far",
            "future transaction",
        ),
    ),
    (
        Answer.INSUFFICIENT_FUNDS,
        (
            "insufficient funds",
            "insufficientfunds",
            "insufficient balance",
            "upfront cost exceeds",
            "overshot",  # Erigon and geth: queued cost overshot the balance
        ),
    ),
    (
        Answer.WRONG_CHAIN,
        ("invalid chain id", "incompatible eip", "wrong chain", "chain id mismatch"),
    ),
    (
        Answer.FEE_TOO_LOW,
        (
            "underpriced",
            "feetoolow",
            "fee too low",
            "less than block base fee",
            "gas price below",
            "gas price too low",
            "gas tip cap",
            "tip below",
        ),
    ),
    (
        Answer.NEVER_VALID,
        (
            "intrinsic gas",
            "exceeds block gas limit",
            "gas limit too high",
            "gaslimitexceeded",
            "transaction gas limit",
            "oversized data",
            "max initcode",
            "invalid sender",
            "higher than max fee",
            "floor data gas",
        ),
    ),
    (
        Answer.BUSY,
        (
            "pool is full",
            "pool overflow",
            "too many requests",
            "rate limit",
            "limit exceeded",
            "try again",
            "timeout",
            "timed out",
            "not synced",
            "syncing",
        ),
    ),
)


def classify(error: ChainError) -> Answer:
    """Name of a failed sending. After a lost connection nobody knows whether the bytes arrived."""
    if not isinstance(error, RpcError):
        return Answer.UNKNOWN
    text = error.message.lower()
    for answer, signs in _TEXTS:
        if any(sign in text for sign in signs):
            return answer
    return Answer.OTHER


def said(error: ChainError) -> str:
    """The node's own words, short; none for a lost connection, whose text holds the endpoint."""
    if isinstance(error, RpcError):
        return " ".join(error.message.split())[:_LONGEST]
    return "no answer"
