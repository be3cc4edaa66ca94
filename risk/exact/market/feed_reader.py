"""Reading price and rate feeds that may be hostile.  Twin: ``contracts/market/FeedReader.sol``.

A feed that reverts, has no code, answers short, burns its gas or floods us with data is the same
thing here: it gives no answer (``Feed.reverts``, or an address that is not in ``World.feeds``).
Gas is not modelled: the contract refuses a call that leaves too little of it to tell a bad feed
from a starved one (``FeedGasTooLow``).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from risk.exact.errors import ModelRevert
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import MAX_PRICE_WAD, MIN_PRICE_WAD, State, World

MAX_FEED_DECIMALS: Final = 36
RATE_MAX_AGE: Final = 3 * 86_400
MAX_RATE_WAD: Final = 2**96 - 1


class OracleState(IntEnum):
    """What the live data of an underlying is worth; higher is worse.  ``IMarket.OracleState``."""

    FRESH = 0
    UNCERTAIN = 1
    STALE = 2
    HALTED = 3


# ---------------------------------------------------------------------------------- index price


def live(state: State, world: World, p: RiskParams, u: int) -> tuple[OracleState, int, int]:
    """(state, price WAD rounded down, feed time) of underlying ``u``; price and time 0 where
    HALTED.

    HALTED over STALE over UNCERTAIN over FRESH; the conditions stand in ``FeedReader.sol``.
    """
    data = state.underlyings[u]
    answer, updated_at = latest(world, data.feed)
    price_wad = to_wad(answer, data.feed_decimals, MAX_PRICE_WAD)
    if price_wad < MIN_PRICE_WAD or not _time_valid(world, updated_at, data.feed_updated_at):
        return OracleState.HALTED, 0, 0
    if world.timestamp - updated_at > p.underlyings[u].max_age_seconds:
        return OracleState.STALE, price_wad, updated_at
    if data.confidence_bps > p.underlyings[u].max_confidence_bps:
        return OracleState.UNCERTAIN, price_wad, updated_at
    return OracleState.FRESH, price_wad, updated_at


def require_known(state: State, p: RiskParams, u: int) -> None:
    """Raise ``UnknownUnderlying(u)`` unless ``u`` is listed and has risk parameters."""
    if u >= len(state.underlyings) or u >= len(p.underlyings):
        raise ModelRevert("UnknownUnderlying", (u,))


def load_params(state: State) -> RiskParams:
    """The risk parameters; raise ``RiskParamsMissing`` where none are set
    (``RiskParamsBlob.load``).
    """
    if state.params is None:
        raise ModelRevert("RiskParamsMissing")
    return state.params


# ----------------------------------------------------------------------------------- rate feeds


def live_rate(state: State, world: World, j: int) -> tuple[int, int, int]:
    """(rate WAD rounded down, answer, feed time) of collateral ``j``; rate 0 where unusable,
    answer 0 where none.
    """
    data = state.collaterals[j]
    return rate_of(world, data.rate_feed, data.rate_feed_decimals, data.rate_updated_at)


def rate_of(world: World, feed: int, decimals: int, not_before: int) -> tuple[int, int, int]:
    """As ``live_rate``, of any feed; ``not_before`` is the time of the last accepted rate."""
    answer, updated_at = latest(world, feed)
    if (
        not _time_valid(world, updated_at, not_before)
        or world.timestamp - updated_at > RATE_MAX_AGE
    ):
        return 0, answer, updated_at
    return to_wad(answer, decimals, MAX_RATE_WAD), answer, updated_at


# ---------------------------------------------------------------------------------------- calls


def latest(world: World, feed: int) -> tuple[int, int]:
    """(answer, updatedAt) of ``latestRoundData``; (0, 0), which nothing accepts, where there is no
    answer.
    """
    source = world.feeds.get(feed)
    if source is None or source.reverts:
        return 0, 0
    return source.answer, source.updated_at


def to_wad(answer: int, decimals: int, largest: int) -> int:
    """``answer`` at ``decimals`` (≤ 36) as WAD, rounded down; 0 where it is not in (0, largest]."""
    if answer <= 0:
        return 0
    wad = answer // 10 ** (decimals - 18) if decimals > 18 else answer * 10 ** (18 - decimals)
    return wad if wad <= largest else 0


def _time_valid(world: World, updated_at: int, not_before: int) -> bool:
    return updated_at != 0 and not_before <= updated_at <= world.timestamp
