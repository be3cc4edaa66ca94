"""Whether the sequencer of the L2 is up, and has been for a while.  Twin:
``contracts/market/Sequencer.sol``, which says why a broken feed stops new risk but no liquidation.

In the model a feed has one time, which stands for ``startedAt`` here.
"""

from __future__ import annotations

from typing import Final

from risk.exact.errors import ModelRevert
from risk.exact.market import feed_reader
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State, World

MAX_OUTAGE: Final = 86_400  # liquidations wait at most so long, seconds


def require_live(state: State, world: World, p: RiskParams) -> None:
    """``SequencerDown`` while it is down or its feed is broken, ``SequencerGrace(until)`` while it
    has been up for less than the grace.
    """
    up, since = _status(state, world)
    if not up:
        raise ModelRevert("SequencerDown")
    until = since + p.sequencer_grace_seconds
    if world.timestamp < until:
        raise ModelRevert("SequencerGrace", (until,))


def is_live(state: State, world: World, p: RiskParams) -> bool:
    """Whether ``require_live`` would pass."""
    up, since = _status(state, world)
    return up and world.timestamp >= since + p.sequencer_grace_seconds


def holds_liquidations(state: State, world: World, p: RiskParams) -> bool:
    """Whether a liquidation must wait: not live according to a feed that works, for at most
    ``MAX_OUTAGE``.
    """
    up, since = _status(state, world)
    if since == 0 or world.timestamp - since > MAX_OUTAGE:
        return False
    return not up or world.timestamp < since + p.sequencer_grace_seconds


def _status(state: State, world: World) -> tuple[bool, int]:
    """(up, since when); since 0 where there is no feed (up) or it is broken (not up)."""
    if state.sequencer_feed == 0:
        return True, 0
    answer, since = feed_reader.latest(world, state.sequencer_feed)
    if since == 0 or since > world.timestamp:
        return False, 0
    return answer == 0, since
