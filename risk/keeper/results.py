"""What a mined liquidation has really paid: the vault's own event in the block that holds it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from risk.chain.abi import AbiError
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
    """Reads results; None where the chain does not say (any more, or now)."""

    def of(self, event: Event, intent: Intent) -> Paid | None: ...


class ChainResults:
    """``Results`` over a source: the logs of the block, those of our transaction."""

    def __init__(self, source: Source, vault: str, abi: Sequence[Mapping[str, Any]]) -> None:
        self._source, self._vault, self._decoder = source, vault, EventDecoder(abi)

    def of(self, event: Event, intent: Intent) -> Paid | None:
        """See ``Results``."""
        try:
            block = self._source.blocks(event.block, event.block)[0]
            found = self._source.logs([block], self._vault)[0]
        except Transient as error:
            log.warning("result cannot be read", extra={"hash": event.hash, "reason": str(error)})
            return None
        for item in found:
            if str(item.get("transactionHash", "")).lower() != event.hash.lower():
                continue
            try:
                told = self._decoder.decode(item)
            except AbiError:
                continue
            if told.name == _EVENTS[intent.way] and told.arguments["account"] == intent.account:
                return Paid(int(told.arguments.get("paymentWad", 0)))
        return None


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
