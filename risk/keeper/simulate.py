"""An intent at the head before anything is signed: ``eth_call`` from the signer, as of the next
block's time where the node lets the time be chosen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from risk.chain.abi import AbiError, Errors, functions
from risk.chain.rpc import from_hex, to_hex
from risk.keeper.ports import Outcome, Simulation
from risk.keeper.source import Malformed, NodeRefused, Source, SourceError
from risk.keeper.source.endpoint import Reply
from risk.keeper.source.pool import Member
from risk.keeper.types import Head, Intent, Way

log = logging.getLogger("plumbline.keeper.simulate")

_KINDS: Final = {
    "AccountHealthy": Outcome.HEALTHY,
    "PaymentAboveLimit": Outcome.BOUND,
    "NotFlagged": Outcome.GRACE,
    "AlreadyFlagged": Outcome.TAKEN,
    "GracePeriod": Outcome.GRACE,
    "SequencerDown": Outcome.GRACE,
    "SequencerGrace": Outcome.GRACE,
    # legs that are not there any more, or too large for what is left of the account
    "LegInvalid": Outcome.TAKEN,
    "LegsAboveTarget": Outcome.TAKEN,
    "LegsKeepRequirement": Outcome.TAKEN,
    "LegsKeepShortfall": Outcome.TAKEN,
    "LegsKeepHealth": Outcome.TAKEN,
}
_OWN: Final = frozenset(
    {
        "InsufficientMargin",
        "TooManyPositions",
        "CashOutOfRange",
        "AccountTooHeavy",
        "SizeOutOfRange",
    }
)
_MACHINE: Final = ("out of gas", "outofgas", "invalid opcode", "stack ", "evm error")
_MOST: Final = 300


class Simulator:
    """``ports.Simulating``. ``abi``: of vault and extension, with the errors of the libraries.

    ``block_seconds``: from the head to the block that includes the intent; None, or a node that
    does not take block overrides: the head's own time.
    """

    def __init__(
        self,
        source: Source,
        abis: Iterable[Iterable[Mapping[str, Any]]],
        signer: str,
        *,
        block_seconds: int | None = 12,
    ) -> None:
        parts = [list(part) for part in abis]
        self._source, self._signer = source, signer
        self._functions = functions([e for part in parts for e in part])
        self._errors = Errors(parts)
        self._seconds = block_seconds

    def check(self, intent: Intent, head: Head) -> Simulation:
        """Never raises for the chain's sake; what cannot be asked is ``UNAVAILABLE``."""
        try:
            reply = self._ask(intent, head)
            if isinstance(reply.failure, NodeRefused):
                return self._refused(intent, reply.failure)
            return Simulation(Outcome.OK, self._payment(intent, _hex(reply)), intent.gas_limit)
        except (SourceError, AbiError, ValueError, LookupError) as error:
            return Simulation(Outcome.UNAVAILABLE, detail=_short(error))

    def pool(self, intent: Intent) -> Simulation:
        """``TAKEN`` where the call fails for somebody else's sake in the node's pending block, with
        what lies in its pool; ``OK`` where it does not, ``UNAVAILABLE`` where the node has none. A
        node whose pending block leaves the pool out says what the head says. Never raises for the
        chain's sake, and never says more than that: another refusal is ``OK`` here.
        """

        def work(member: Member) -> Reply:
            asked = [("eth_call", [self._request(intent), "pending"])]
            reply = self._source.pool.ask(member, asked)[0]
            if reply.failure is not None and not isinstance(reply.failure, NodeRefused):
                raise reply.failure
            return reply

        try:
            reply = self._source.pool.run(work, only=self._source.agreeing or None)
            if not isinstance(reply.failure, NodeRefused):
                return Simulation(Outcome.OK)
            found = self._refused(intent, reply.failure)
        except (SourceError, AbiError, ValueError, LookupError) as error:
            return Simulation(Outcome.UNAVAILABLE, detail=_short(error))
        if found.outcome in (Outcome.TAKEN, Outcome.HEALTHY):
            return Simulation(Outcome.TAKEN, detail=f"in the pool: {found.detail}"[:_MOST])
        return Simulation(Outcome.OK)

    def _request(self, intent: Intent) -> dict[str, str]:
        return {
            "from": self._signer,
            "to": f"0x{intent.to:040x}",
            "data": to_hex(intent.data),
            "gas": hex(intent.gas_limit),
        }

    def _ask(self, intent: Intent, head: Head) -> Reply:
        """The node's answer: data, or that it refuses."""
        plain: list[Any] = [self._request(intent), {"blockHash": head.hash}]
        later = {"time": hex(head.timestamp + (self._seconds or 0))}

        def work(member: Member) -> Reply:
            if self._seconds:
                reply = self._source.pool.ask(member, [("eth_call", [*plain, {}, later])])[0]
                failure = reply.failure
                if failure is None or (isinstance(failure, NodeRefused) and _ran(failure)):
                    return reply
                if not isinstance(failure, NodeRefused):
                    raise failure
                log.debug("no block overrides", extra={"reason": failure.reason})
            reply = self._source.pool.ask(member, [("eth_call", plain)])[0]
            if reply.failure is not None and not isinstance(reply.failure, NodeRefused):
                raise reply.failure
            return reply

        return self._source.pool.run(work, only=self._source.agreeing or None)

    def _payment(self, intent: Intent, answer: bytes) -> int:
        if intent.way is Way.FLAG:
            return 0
        name = "liquidate" if intent.way is Way.SLICE else "liquidateLegs"
        return int(self._functions[name].decode(answer)[-1])

    def _refused(self, intent: Intent, failure: NodeRefused) -> Simulation:
        data = failure.data
        if data is None:  # not run at all, or stopped by the machine itself
            kind = Outcome.REVERTED if _ran(failure) else Outcome.UNAVAILABLE
            return Simulation(kind, detail=_short(failure))
        try:
            name, detail = self._errors.name(data), self._errors.show(data)
            known = self._errors.by_selector.get(data[:4])
            arguments = known.arguments(data) if known is not None else []
        except AbiError:
            name, detail, arguments = "", "0x" + data.hex(), []
        kind = _KINDS.get(name, Outcome.REVERTED)
        if name == "AccountHealthy" and arguments[2] == 0:
            kind = Outcome.TAKEN  # nothing is left of it
        if name in _OWN and arguments[0] != intent.account:
            kind = Outcome.LIQUIDATOR
        return Simulation(kind, detail=detail[:_MOST])


def _ran(failure: NodeRefused) -> bool:
    """Whether the call was executed, and failed there."""
    return failure.data is not None or any(t in failure.reason.lower() for t in _MACHINE)


def _hex(reply: Reply) -> bytes:
    value = reply.get()
    if not isinstance(value, str) or not value.startswith("0x"):
        raise Malformed("", "eth_call: no hex data")
    return from_hex(value)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_MOST]
