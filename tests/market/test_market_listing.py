"""Listing: every refusal by name and arguments.

Chain and model side by side.
"""

from __future__ import annotations

import pytest

from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id
from risk.exact.state import Feed
from tests.market.conftest import EXPIRIES, STRIKES
from tests.market.market_twin import (
    BROKEN,
    CASH,
    DAY,
    EMPTY,
    KEYS,
    NO_DECIMALS,
    REVERTS,
    SHORT,
    STRANGER,
    TODAY,
    WAD,
    Twin,
    address,
    key_address,
)


def future(day: int) -> int:
    return instrument_id.encode(0, instrument_id.FUTURE, day, 0)


# --------------------------------------------------------------------------------- underlyings


@pytest.mark.parametrize("mode", (REVERTS, EMPTY))
def test_feed_that_does_not_answer_decimals(twin: Twin, mode: int) -> None:
    feed = twin.deploy("MockFeed", 8, 1, 1)  # not in the model's world: no feed to it
    twin.rpc.call("anvil_setStorageAt", address(feed), "0x3", f"0x{mode << 8:064x}")
    twin.refuse("FeedInvalid", (feed,), twin.list_underlying(feed))
    twin.refuse("FeedInvalid", (STRANGER,), twin.list_underlying(STRANGER))
    twin.refuse("FeedInvalid", (0,), twin.list_underlying(0))
    twin.refuse(
        "FeedInvalid", (4,), twin.list_underlying(4)
    )  # the identity precompile echoes four bytes


@pytest.mark.parametrize("decimals", (37, 255, 256, 2**256 - 1))
def test_feed_decimals_out_of_range(twin: Twin, decimals: int) -> None:
    feed = twin.new_feed(decimals, 1)
    twin.refuse("DecimalsOutOfRange", (feed, decimals, 36), twin.list_underlying(feed))


def test_sixteen_underlyings(twin: Twin) -> None:
    for u in range(3, 16):
        assert twin.list_underlying(twin.new_feed(u % 37, 1)) is None
        assert len(twin.state.underlyings) == u + 1
    twin.refuse("TooManyUnderlyings", (16,), twin.list_underlying(twin.new_feed(8, 1)))
    twin.refuse("TooManyUnderlyings", (16,), twin.list_underlying(STRANGER))


# --------------------------------------------------------------------------------- collaterals


def test_collateral_of_unknown_underlying(twin: Twin) -> None:
    token = twin.new_token(18)
    twin.refuse("UnknownUnderlying", (3,), twin.list_collateral(token, 3))
    twin.refuse("UnknownUnderlying", (255,), twin.list_collateral(token, 255))
    assert twin.list_collateral(token, 2) is None  # listed is enough, parameters follow


def test_token_listed_twice(twin: Twin) -> None:
    token = twin.state.collaterals[0].token
    for u in (0, 1):
        twin.refuse("TokenAlreadyListed", (token,), twin.list_collateral(token, u))
    twin.refuse("TokenAlreadyListed", (CASH,), twin.list_collateral(CASH, 0))


def test_token_that_is_none(twin: Twin) -> None:
    twin.refuse("TokenInvalid", (STRANGER,), twin.list_collateral(STRANGER, 0, decimals=None))
    twin.refuse("TokenInvalid", (0,), twin.list_collateral(0, 0, decimals=None))
    token = twin.new_token(18, NO_DECIMALS)
    twin.refuse("TokenInvalid", (token,), twin.list_collateral(token, 0, decimals=None))


@pytest.mark.parametrize("decimals", (0, 6, 18, 19, 255, 256 + 18))
def test_token_decimals(twin: Twin, decimals: int) -> None:
    token = twin.new_token(decimals)
    outcome = twin.list_collateral(token, 1, decimals=decimals)
    assert outcome == (
        None if decimals <= 18 else ModelRevert("DecimalsOutOfRange", (token, decimals, 18))
    )


def test_rate_is_taken_at_listing(twin: Twin) -> None:
    assert twin.list_collateral(twin.new_token(18), 0, twin.new_feed(27, 115 * 10**25)) is None
    assert twin.state.collaterals[-1].rate_wad == 115 * WAD // 100
    assert len(twin.event("RateRefreshed")) == len(twin.event("CollateralListed")) == 1


@pytest.mark.parametrize("answer", (0, -1, 2**96, 2**255 - 1))
def test_C24_absurd_rate_refuses_the_listing(twin: Twin, answer: int) -> None:
    outcome = twin.list_collateral(twin.new_token(18), 0, twin.new_feed(18, answer))
    twin.refuse("RateInvalid", (3, answer), outcome)


def test_A2_rate_that_rounds_to_zero_refuses_the_listing(twin: Twin) -> None:
    feed = twin.new_feed(36, 10**18 - 1)
    twin.refuse("RateInvalid", (3, 10**18 - 1), twin.list_collateral(twin.new_token(18), 0, feed))
    twin.set_feed(feed, 10**18)
    assert twin.list_collateral(twin.new_token(18), 0, feed) is None
    assert twin.state.collaterals[-1].rate_wad == 1


def test_C24_rate_times_at_listing(twin: Twin) -> None:
    token, feed = twin.new_token(18), twin.new_feed(18, WAD)
    for offset in (1, -3 * DAY - 1):
        twin.set_feed(feed, WAD, twin.world.timestamp + offset)
        twin.refuse("RateInvalid", (3, WAD), twin.list_collateral(token, 0, feed))
    twin.set_feed(feed, WAD, 0)
    twin.refuse("RateInvalid", (3, WAD), twin.list_collateral(token, 0, feed))
    twin.set_feed(feed, WAD, twin.world.timestamp - 3 * DAY)
    assert twin.list_collateral(token, 0, feed) is None


@pytest.mark.parametrize("mode", BROKEN)
def test_broken_rate_feed_refuses_the_listing(twin: Twin, mode: int) -> None:
    feed = twin.new_feed(18, WAD)
    twin.set_feed(feed, WAD, mode=mode)
    twin.refuse("RateInvalid", (3, 0), twin.list_collateral(twin.new_token(18), 0, feed))


def test_rate_feed_that_is_none(twin: Twin) -> None:
    token = twin.new_token(18)
    twin.refuse("FeedInvalid", (STRANGER,), twin.list_collateral(token, 0, STRANGER))
    feed = twin.new_feed(37, WAD)
    twin.refuse("DecimalsOutOfRange", (feed, 37, 36), twin.list_collateral(token, 0, feed))
    feed = twin.deploy("MockFeed", 18, WAD, twin.world.timestamp)
    twin.rpc.call("anvil_setStorageAt", address(feed), "0x3", f"0x{SHORT << 8 | REVERTS:064x}")
    # 159 bytes are enough for decimals(): a word. What it holds is garbage, here 0; then the rate
    # fails.
    twin.world.feeds[feed] = Feed(0, reverts=True)
    twin.refuse("RateInvalid", (3, 0), twin.list_collateral(token, 0, feed))


def test_sixteen_collaterals_and_order_of_checks(twin: Twin) -> None:
    for j in range(3, 16):
        assert twin.list_collateral(twin.new_token(j), j % 3, decimals=j) is None
    twin.refuse("TooManyCollaterals", (16,), twin.list_collateral(CASH, 0))
    twin.refuse("UnknownUnderlying", (9,), twin.list_collateral(CASH, 9))


# ------------------------------------------------------------------------------------ expiries


def test_expiry_in_the_past(twin: Twin) -> None:
    expiry = instrument_id.expiry(future(EXPIRIES[0]))
    for day in (0, TODAY - 1):
        now = twin.world.timestamp
        twin.refuse(
            "InstrumentExpired",
            (future(day), instrument_id.expiry(future(day)), now),
            twin.list_expiry(0, day, [WAD]),
        )
    twin.world.timestamp = expiry - 1
    assert twin.list_expiry(0, EXPIRIES[0], [WAD]) is None
    twin.refuse(
        "InstrumentExpired",
        (future(EXPIRIES[0]), expiry, expiry),
        twin.list_expiry(0, EXPIRIES[0], [2 * WAD]),
    )
    assert twin.list_expiry(0, 65_535, [WAD]) is None


def test_expiry_of_unknown_underlying(twin: Twin) -> None:
    twin.refuse("UnknownUnderlying", (3,), twin.list_expiry(3, TODAY + 1, [WAD]))
    twin.refuse("UnknownUnderlying", (16,), twin.list_expiry(16, 0, []))


@pytest.mark.parametrize(
    ("strikes", "name", "args"),
    [
        ([0], "StrikesNotAscending", (0, 0)),
        ([5, 5], "StrikesNotAscending", (5, 5)),
        ([5, 6, 4], "StrikesNotAscending", (6, 4)),
        ([10**25 + 1], "StrikeOutOfRange", (10**25 + 1, 10**25)),
        ([1, 2**128 - 1], "StrikeOutOfRange", (2**128 - 1, 10**25)),
        ([1, 10**25 + 1, 3], "StrikeOutOfRange", (10**25 + 1, 10**25)),
        ([1, STRIKES[1]], "StrikeAlreadyListed", (0, EXPIRIES[0], STRIKES[1])),
        (list(STRIKES), "StrikeAlreadyListed", (0, EXPIRIES[0], STRIKES[0])),
        ([STRIKES[2], STRIKES[2] + 1], "StrikeAlreadyListed", (0, EXPIRIES[0], STRIKES[2])),
    ],
)
def test_bad_strikes(twin: Twin, strikes: list[int], name: str, args: tuple[int, ...]) -> None:
    twin.refuse(name, args, twin.list_expiry(0, EXPIRIES[0], strikes))


def test_strikes_are_appended(twin: Twin) -> None:
    more = [1, STRIKES[0] - 1, STRIKES[0] + 1, 10**25]
    assert twin.list_expiry(0, EXPIRIES[0], more) is None
    assert not twin.event("ExpiryListed") and len(twin.event("StrikeListed")) == 4
    bucket = twin.state.buckets[EXPIRIES[0]]
    assert bucket.strikes_wad == [*STRIKES, *more]
    assert twin.view("strikeWad", EXPIRIES[0] << 10 | 3) == [1]
    assert twin.view("strikeWad", EXPIRIES[0] << 10 | 7) == [0]


def test_expiry_without_strikes(twin: Twin) -> None:
    """For futures only; strikes may follow."""
    assert twin.list_expiry(1, TODAY + 3, []) is None
    assert len(twin.event("ExpiryListed")) == 1
    assert twin.list_expiry(1, TODAY + 3, [WAD]) is None
    assert not twin.event("ExpiryListed")


def test_listing_keeps_what_was_reported(twin: Twin) -> None:
    """The words of a bucket are shared by listing and reports."""
    from risk.exact.market.report_hash import VolReport
    from tests.market.market_twin import slice_of

    twin.set_feed(twin.state.underlyings[0].feed, 3_000 * 10**8)
    assert (
        twin.submit(VolReport(0, 1, twin.world.timestamp - 1, 0, (slice_of(EXPIRIES[0]),))) is None
    )
    assert twin.list_expiry(0, EXPIRIES[0], [1]) is None
    assert twin.state.buckets[EXPIRIES[0]].forward_ratio_wad != 0


def test_listing_touches_all_array_slots(twin: Twin) -> None:
    for kind in (instrument_id.CALL, instrument_id.PUT):
        for i in range(len(STRIKES)):
            array = instrument_id.encode(0, kind, EXPIRIES[1], i)
            assert twin.view("arrayWords", array, 1) == [[1] * 4]
    assert twin.view(
        "arrayWords", instrument_id.encode(0, instrument_id.CALL, EXPIRIES[1], 3), 1
    ) == [[0] * 4]


def test_at_most_1024_strikes(twin: Twin) -> None:
    day = TODAY + 90
    first = 0
    for count in (400, 400, 223):
        strikes = [(first + i + 1) * WAD for i in range(count)]
        assert twin.transact("listExpiry", 0, day, strikes, gas=200_000_000) is None
        first += count
    twin.state.buckets.setdefault(day, type(twin.state.buckets[EXPIRIES[0]])()).listed = True
    twin.state.buckets[day].strikes_wad = [(i + 1) * WAD for i in range(1023)]
    twin.compare_state()
    twin.refuse("TooManyStrikes", (0, day, 1024), twin.list_expiry(0, day, [1, 2]))
    assert twin.list_expiry(0, day, [1]) is None
    twin.refuse("TooManyStrikes", (0, day, 1024), twin.list_expiry(0, day, [2]))


# ------------------------------------------------------------------------------------- signers


def test_signer_sets(twin: Twin) -> None:
    a, b, c, d = (key_address(k) for k in KEYS)
    twin.refuse("SignerThresholdInvalid", (0, 2), twin.set_signers([a, b], 0))
    twin.refuse("SignerThresholdInvalid", (3, 2), twin.set_signers([a, b], 3))
    twin.refuse("SignerThresholdInvalid", (1, 0), twin.set_signers([], 1))
    twin.refuse("SignerThresholdInvalid", (0, 0), twin.set_signers([], 0))
    twin.refuse("SignersNotAscending", (0, 0), twin.set_signers([0, a], 1))
    twin.refuse("SignersNotAscending", (b, a), twin.set_signers([b, a], 1))
    twin.refuse("SignersNotAscending", (b, b), twin.set_signers([a, b, b], 2))
    twin.refuse("TooManySigners", (17, 16), twin.set_signers(list(range(1, 18)), 1))
    assert twin.set_signers(list(range(1, 17)), 16) is None
    assert twin.set_signers([c, d], 2) is None
    assert [twin.view("isSigner", x)[0] for x in (a, b, c, d, 1, 16)] == [0, 0, 1, 1, 0, 0]
    assert twin.view("signerSet") == [[c, d], 2]
