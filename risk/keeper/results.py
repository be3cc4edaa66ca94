"""What a mined liquidation has really paid: the vault's own event in the block that holds it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from risk.chain.abi import AbiError
from risk.chain.events import Event as Told
from risk.chain.events import EventDecoder
from risk.keeper.dispatch import Event
from risk.keeper.errors import Transient
from risk.keeper.source import Source
from risk.keeper.types import Intent, Way

_EVENTS = {Way.FLAG: "Flagged", Way.SLICE: "Liquidated", Way.LEGS: "LegsLiquidated"}
log = logging.getLogger("plumbline.keeper.results")


@dataclass(frozen=True)
class Paid:
    """Signed cash (WAD) from liquidator to account; 0 for a flag."""

    payment_wad: int


class Results(Protocol):
    """Reads results; None where the chain does not say (any more, or now). ``rival``: whether
    another transaction took the account in the block in which ours failed.
    """

    def of(self, event: Event, intent: Intent) -> Paid | None: ...

    def rival(self, event: Event, account: int) -> bool | None: ...


class ChainResults:
    """``Results`` over a source: the logs of the block, those of our transaction."""

    def __init__(self, source: Source, vault: str, abi: Sequence[Mapping[str, Any]]) -> None:
        self._source, self._vault, self._decoder = source, vault, EventDecoder(abi)

    def rival(self, event: Event, account: int) -> bool | None:
        """Whether another transaction in the block of ``event`` took the account."""
        found = self._logs(event)
        if found is None:
            return None
        return any(
            told.name in _EVENTS.values() and told.arguments["account"] == account
            for told in self._told(found, lambda hash_: hash_ != event.hash.lower())
        )

    def of(self, event: Event, intent: Intent) -> Paid | None:
        """See ``Results``."""
        found = self._logs(event)
        for told in self._told(found or (), lambda hash_: hash_ == event.hash.lower()):
            if told.name == _EVENTS[intent.way] and told.arguments["account"] == intent.account:
                return Paid(int(told.arguments.get("paymentWad", 0)))
        return None

    def _logs(self, event: Event) -> Sequence[Mapping[str, Any]] | None:
        try:
            block = self._source.blocks(event.block, event.block)[0]
            return self._source.logs([block], self._vault)[0]
        except Transient as error:
            log.warning("result cannot be read", extra={"hash": event.hash, "reason": str(error)})
            return None

    def _told(
        self, logs: Sequence[Mapping[str, Any]], wanted: Callable[[str], bool]
    ) -> Iterator[Told]:
        """Events of the transactions with these hashes; what does not decode is left out."""
        for item in logs:
            if not wanted(str(item.get("transactionHash", "")).lower()):
                continue
            try:
                yield self._decoder.decode(item)
            except AbiError:
                continue


def classify(intent: Intent, simulated_wad: int, paid: Paid | None) -> str:
    """Expected against actual: as_simulated, cheaper, dearer (within the bound), beyond_bound,
    flagged, unmeasured.
    """
    if paid is None:
        return "unmeasured"
    if intent.way is Way.FLAG:
        return "flagged"
    if paid.payment_wad > intent.max_payment_wad:
        return "beyond_bound"
    if paid.payment_wad == simulated_wad:
        return "as_simulated"
    return "cheaper" if paid.payment_wad < simulated_wad else "dearer"
