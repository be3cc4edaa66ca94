"""Listing underlyings, collaterals, expiries, strikes and report signers.

Twin: ``contracts/market/Listing.sol``.

The world says which addresses are feeds (``World.feeds``) and tokens: ``token_decimals`` is what
``decimals()`` of a token answers, None where there is no code or no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id
from risk.exact.market import feed_reader
from risk.exact.state import (
    MAX_COLLATERALS,
    MAX_PRICE_WAD,
    MAX_UNDERLYINGS,
    Bucket,
    Collateral,
    State,
    Underlying,
    World,
)

MAX_TOKEN_DECIMALS: Final = 18
MAX_STRIKES: Final = 1024
MAX_SIGNERS: Final = 16


def list_underlying(state: State, world: World, feed: int) -> int:
    """List the underlying priced by ``feed``; returns its index.

    ``TooManyUnderlyings``, ``FeedInvalid``, ``DecimalsOutOfRange``.
    """
    if len(state.underlyings) == MAX_UNDERLYINGS:
        raise ModelRevert("TooManyUnderlyings", (MAX_UNDERLYINGS,))
    decimals = _feed_decimals(world, feed)
    state.underlyings.append(Underlying(feed=feed, feed_decimals=decimals))
    return len(state.underlyings) - 1


def list_collateral(
    state: State,
    world: World,
    token: int,
    underlying: int,
    rate_feed: int,
    token_decimals: int | None,
) -> int:
    """List ``token`` as collateral of ``underlying``; ``rate_feed`` 0 means a rate of 1.  Returns
    its index.

    ``UnknownUnderlying``, ``TooManyCollaterals``, ``TokenAlreadyListed``, ``TokenInvalid``,
    ``DecimalsOutOfRange``, and of the rate feed ``FeedInvalid``, ``DecimalsOutOfRange``,
    ``RateInvalid``.
    """
    if underlying >= len(state.underlyings):
        raise ModelRevert("UnknownUnderlying", (underlying,))
    if len(state.collaterals) == MAX_COLLATERALS:
        raise ModelRevert("TooManyCollaterals", (MAX_COLLATERALS,))
    if token == state.cash_token or any(c.token == token for c in state.collaterals):
        raise ModelRevert("TokenAlreadyListed", (token,))
    if token_decimals is None:
        raise ModelRevert("TokenInvalid", (token,))
    if token_decimals > MAX_TOKEN_DECIMALS:
        raise ModelRevert("DecimalsOutOfRange", (token, token_decimals, MAX_TOKEN_DECIMALS))
    item = Collateral(token=token, decimals=token_decimals, underlying=underlying)
    if rate_feed != 0:
        _set_rate_feed(world, item, len(state.collaterals), rate_feed)
    state.collaterals.append(item)
    return len(state.collaterals) - 1


def list_expiry(
    state: State, world: World, underlying: int, expiry_day: int, strikes_wad: Sequence[int]
) -> None:
    """List the expiry and append strikes to it.

    ``UnknownUnderlying``, ``InstrumentExpired``, ``TooManyStrikes``, per strike
    ``StrikesNotAscending`` and ``StrikeOutOfRange``, then ``StrikeAlreadyListed`` for the first
    listed strike found again.
    """
    if underlying >= len(state.underlyings):
        raise ModelRevert("UnknownUnderlying", (underlying,))
    future = instrument_id.encode(underlying, instrument_id.FUTURE, expiry_day, 0)
    expiry = instrument_id.expiry(future)
    if expiry <= world.timestamp:
        raise ModelRevert("InstrumentExpired", (future, expiry, world.timestamp))
    bucket = state.buckets.get(instrument_id.bucket_key(future), Bucket())
    if len(bucket.strikes_wad) + len(strikes_wad) > MAX_STRIKES:
        raise ModelRevert("TooManyStrikes", (underlying, expiry_day, MAX_STRIKES))
    _check_strikes(strikes_wad)
    given = set(strikes_wad)
    for strike in bucket.strikes_wad:
        if strike in given:
            raise ModelRevert("StrikeAlreadyListed", (underlying, expiry_day, strike))
    bucket.listed = True
    bucket.strikes_wad.extend(strikes_wad)
    state.buckets[instrument_id.bucket_key(future)] = bucket


def set_signers(state: State, signers: Sequence[int], threshold: int) -> None:
    """Replace the signer set: ``threshold`` of ``signers`` must sign a report.

    ``TooManySigners``, ``SignerThresholdInvalid``, ``SignersNotAscending``.
    """
    if len(signers) > MAX_SIGNERS:
        raise ModelRevert("TooManySigners", (len(signers), MAX_SIGNERS))
    if threshold == 0 or threshold > len(signers):
        raise ModelRevert("SignerThresholdInvalid", (threshold, len(signers)))
    previous = 0
    for signer in signers:
        if signer <= previous:
            raise ModelRevert("SignersNotAscending", (previous, signer))
        previous = signer
    state.signers = list(signers)
    state.signer_threshold = threshold


# -------------------------------------------------------------------------------------- private


def _feed_decimals(world: World, feed: int) -> int:
    source = world.feeds.get(feed)
    if source is None:
        raise ModelRevert("FeedInvalid", (feed,))
    if source.decimals > feed_reader.MAX_FEED_DECIMALS:
        raise ModelRevert(
            "DecimalsOutOfRange", (feed, source.decimals, feed_reader.MAX_FEED_DECIMALS)
        )
    return source.decimals


def _set_rate_feed(world: World, item: Collateral, collateral: int, rate_feed: int) -> None:
    decimals = _feed_decimals(world, rate_feed)
    rate_wad, answer, updated_at = feed_reader.rate_of(world, rate_feed, decimals, 0)
    if rate_wad == 0:
        raise ModelRevert("RateInvalid", (collateral, answer))
    item.rate_feed = rate_feed
    item.rate_feed_decimals = decimals
    item.rate_updated_at = updated_at
    item.rate_wad = rate_wad


def _check_strikes(strikes_wad: Sequence[int]) -> None:
    previous = 0
    for strike in strikes_wad:
        if strike <= previous:
            raise ModelRevert("StrikesNotAscending", (previous, strike))
        if strike > MAX_PRICE_WAD:
            raise ModelRevert("StrikeOutOfRange", (strike, MAX_PRICE_WAD))
        previous = strike
