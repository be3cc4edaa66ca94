"""The world around the vault at a block: the clock, and what every feed answers."""

from __future__ import annotations

from dataclasses import dataclass

from risk.exact.state import Feed, State, World
from risk.keeper.book.lens import Lens
from risk.keeper.source import SourceError
from risk.keeper.types import Head


@dataclass(frozen=True)
class Prices:
    """``unknown`` are underlyings whose feeds could not be asked: nothing may be concluded about
    accounts that depend on them. A feed that *is* broken is a fact, and stands in ``world``.
    """

    world: World
    unknown: frozenset[int]
    reason: str = ""


def read_prices(lens: Lens, state: State, head: Head, chain_id: int, vault: str) -> Prices:
    """All feeds in one call. Never raises a ``SourceError``: what failed is unknown.

    The uptime feed of a sequencer gives ``startedAt`` as its time, as the model wants it.
    """
    world = World(timestamp=head.timestamp, chain_id=chain_id, vault=int(vault, 16))
    decimals = {u.feed: u.feed_decimals for u in state.underlyings}
    for c in state.collaterals:
        if c.rate_feed:
            decimals.setdefault(c.rate_feed, c.rate_feed_decimals)
    sequencer = state.sequencer_feed
    asked = sorted({*decimals, *([sequencer] if sequencer else [])})
    try:
        answers = lens.feeds(asked, head)
    except SourceError as error:
        every = frozenset(range(len(state.underlyings)))
        return Prices(world, every, f"{type(error).__name__}: {error.reason}")
    for feed, item in answers.items():
        time = item.started_at if feed == sequencer else item.updated_at
        digits = decimals.get(feed, 0)
        world.feeds[feed] = Feed(digits, item.answer, time, reverts=not item.answered)
    return Prices(world, frozenset())
