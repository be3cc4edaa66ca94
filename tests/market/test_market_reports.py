"""Signed reports: every refusal by name and arguments, their order, signatures.

Chain and model side by side.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id
from risk.exact.market import feed_reader
from risk.exact.market.feed_reader import OracleState
from risk.exact.market.report_hash import Slice, VolReport, digest, domain_separator
from tests.market.conftest import EXPIRIES, STRIKES
from tests.market.market_twin import (
    DAY,
    KEYS,
    REVERTS,
    TODAY,
    WAD,
    Twin,
    key_address,
    report_tuple,
    slice_of,
)

PRICE = 3_000 * 10**8
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of secp256k1
E9 = 10**9


def report(t: Twin, **changes: object) -> VolReport:
    """An acceptable report of underlying 0, made a second before the next action, with a slice of
    both expiries.
    """
    u = t.state.underlyings[0]
    fields: dict[str, object] = {
        "underlying": 0,
        "nonce": u.report_nonce + 1,
        "timestamp": t.world.timestamp - 1,
        "confidence_bps": 10,
        "slices": tuple(slice_of(day) for day in EXPIRIES),
    }
    return VolReport(**{**fields, **changes})  # type: ignore[arg-type]


def fresh(t: Twin) -> None:
    """The feed of underlying 0 is updated at the time of the next action."""
    t.set_feed(t.state.underlyings[0].feed, PRICE)


def future(day: int, underlying: int = 0) -> int:
    return instrument_id.encode(underlying, instrument_id.FUTURE, day, 0)


# ------------------------------------------------------------------------------------ accepted


def test_accepted(market: Twin) -> None:
    fresh(market)
    assert market.submit(report(market)) is None
    assert market.state.underlyings[0].epoch == 2  # though neither stale nor out of the band
    assert market.state.underlyings[1].epoch == 1
    assert len(market.event("SliceReported")) == 2
    assert len(market.event("SnapshotRefreshed")) == 1
    assert market.state.buckets[EXPIRIES[0]].forward_ratio_wad == 101 * WAD // 100


def test_first_snapshot_by_report(twin: Twin) -> None:
    fresh(twin)
    assert twin.submit(report(twin)) is None
    assert twin.state.underlyings[0].epoch == 1


def test_newer_report_always_refreshes_exactly_once(market: Twin) -> None:
    for n in range(3):
        fresh(market)
        assert market.submit(report(market)) is None
        assert market.state.underlyings[0].epoch == 2 + n


def test_without_slices_confidence_and_nonce_move(market: Twin) -> None:
    fresh(market)
    assert market.submit(report(market, slices=(), confidence_bps=65_535, nonce=2**64 - 1)) is None
    data = market.state.underlyings[0]
    assert (data.confidence_bps, data.report_nonce, data.epoch) == (65_535, 2**64 - 1, 2)
    # UNCERTAIN by now; a better report is accepted all the same if its nonce is newer, and none is
    # newer than this one
    fresh(market)
    market.refuse(
        "ReportNonceNotNewer",
        (5, 2**64 - 1),
        market.submit(report(market, nonce=5, confidence_bps=0)),
    )


def test_C26_confidence_at_the_basis_point(market: Twin) -> None:
    for confidence, want in ((51, OracleState.UNCERTAIN), (50, OracleState.FRESH)):
        fresh(market)
        assert market.submit(report(market, confidence_bps=confidence)) is None
        fresh(market)
        model = feed_reader.live(
            market.state, market.world, feed_reader.load_params(market.state), 0
        )
        assert market.view("oracleState", 0) == [int(x) for x in model]
        assert model[0] == want


def test_slice_limits_are_inclusive(market: Twin) -> None:
    for changes in (
        {"forward_ratio_wad": WAD // 4},
        {"forward_ratio_wad": 2 * WAD},
        {"discount_wad": 1},
        {"discount_wad": 11 * WAD // 10},
        {
            "a_e9": 100 * E9,
            "b_e9": 0,
            "rho_e9": 999_999_999,
            "m_e9": -100 * E9,
            "sigma_e9": 100 * E9,
        },
        {"a_e9": 0, "b_e9": 0, "rho_e9": -999_999_999, "m_e9": 100 * E9, "sigma_e9": 1_000},
    ):
        fresh(market)
        assert market.submit(report(market, slices=(slice_of(EXPIRIES[0], **changes),))) is None


# ------------------------------------------------------------------------------------- refused


def test_unknown_underlying(market: Twin) -> None:
    for u in (2, 3, 255):
        market.refuse("UnknownUnderlying", (u,), market.submit(report(market, underlying=u)))


def test_C23_nonce_moves_forward(market: Twin) -> None:
    fresh(market)
    assert market.submit(report(market, nonce=10)) is None
    for nonce in (0, 9, 10):
        fresh(market)
        market.refuse(
            "ReportNonceNotNewer", (nonce, 10), market.submit(report(market, nonce=nonce))
        )
    fresh(market)
    assert market.submit(report(market, nonce=11)) is None


def test_C23_time_moves_forward(market: Twin) -> None:
    fresh(market)
    first = report(market)
    assert market.submit(first) is None
    for time in (first.timestamp, first.timestamp - 1, 0, market.world.timestamp + 10, 2**40 - 1):
        now = market.world.timestamp
        market.refuse(
            "ReportTimeInvalid",
            (time, first.timestamp, now),
            market.submit(report(market, timestamp=time)),
        )
    fresh(market)
    assert market.submit(report(market, timestamp=market.world.timestamp)) is None  # now


def test_too_old_at_the_second(market: Twin) -> None:
    """Of the age limit alone: the skew limit is wider than it here."""
    p = market.state.params
    assert p is not None
    market.set_params(
        replace(
            p, underlyings=(replace(p.underlyings[0], max_skew_seconds=10**5), p.underlyings[1])
        )
    )
    time = market.world.timestamp
    market.world.timestamp = time + 3_601
    fresh(market)
    market.refuse("ReportTooOld", (time, time + 1), market.submit(report(market, timestamp=time)))
    market.world.timestamp += 100
    time = market.world.timestamp
    market.world.timestamp = time + 3_600
    fresh(market)
    assert market.submit(report(market, timestamp=time)) is None


def test_C23_skew_between_report_and_feed_is_bounded(market: Twin) -> None:
    market.warp(1_000)
    feed = market.state.underlyings[0].feed
    for offset in (121, -121):
        now = market.world.timestamp
        market.set_feed(feed, PRICE, now - 200 + offset)
        market.refuse(
            "ReportSkewed",
            (now - 200, now - 200 + offset, 120),
            market.submit(report(market, timestamp=now - 200)),
        )
    for offset in (-120, 120):
        now = market.world.timestamp
        market.set_feed(feed, PRICE, now - 200 + offset)
        assert market.submit(report(market, timestamp=now - 200)) is None
        market.warp(500)


def test_C24_unusable_feed(market: Twin) -> None:
    feed = market.state.underlyings[0].feed
    market.set_feed(feed, PRICE, mode=REVERTS)
    market.refuse("OracleNotUsable", (0, OracleState.HALTED), market.submit(report(market)))
    market.warp(3_700)
    market.set_feed(feed, PRICE, market.world.timestamp - 3_601)
    market.refuse("OracleNotUsable", (0, OracleState.STALE), market.submit(report(market)))


MAX_RATIO, MAX_DISCOUNT = 2 * WAD, 11 * WAD // 10
BAD_SLICES = (
    (slice_of(EXPIRIES[0] + 1), "UnknownInstrument", (future(EXPIRIES[0] + 1),)),
    (slice_of(0), "UnknownInstrument", (future(0),)),
    (
        slice_of(EXPIRIES[0], forward_ratio_wad=WAD // 4 - 1),
        "ForwardRatioOutOfRange",
        (WAD // 4 - 1, WAD // 4, MAX_RATIO),
    ),
    (
        slice_of(EXPIRIES[0], forward_ratio_wad=0),
        "ForwardRatioOutOfRange",
        (0, WAD // 4, MAX_RATIO),
    ),
    (
        slice_of(EXPIRIES[0], forward_ratio_wad=MAX_RATIO + 1),
        "ForwardRatioOutOfRange",
        (MAX_RATIO + 1, WAD // 4, MAX_RATIO),
    ),
    (slice_of(EXPIRIES[0], discount_wad=0), "DiscountOutOfRange", (0, 1, MAX_DISCOUNT)),
    (
        slice_of(EXPIRIES[0], discount_wad=MAX_DISCOUNT + 1),
        "DiscountOutOfRange",
        (MAX_DISCOUNT + 1, 1, MAX_DISCOUNT),
    ),
    (slice_of(EXPIRIES[0], a_e9=100 * E9 + 1), "SviAOutOfRange", ((100 * E9 + 1) * E9,)),
    (slice_of(EXPIRIES[0], rho_e9=E9), "SviRhoOutOfRange", (WAD,)),
    (slice_of(EXPIRIES[0], rho_e9=-E9), "SviRhoOutOfRange", (-WAD,)),
    (slice_of(EXPIRIES[0], m_e9=-100 * E9 - 1), "SviMOutOfRange", (-(100 * E9 + 1) * E9,)),
    (slice_of(EXPIRIES[0], sigma_e9=0), "SviSigmaOutOfRange", (0,)),
    (slice_of(EXPIRIES[0], sigma_e9=100 * E9 + 1), "SviSigmaOutOfRange", ((100 * E9 + 1) * E9,)),
    (slice_of(EXPIRIES[0], b_e9=2 * E9, rho_e9=1), "SviWingTooSteep", (2 * WAD, E9)),
    (slice_of(EXPIRIES[0], b_e9=2**40 - 1, rho_e9=0), "SviWingTooSteep", ((2**40 - 1) * E9, 0)),
    (slice_of(EXPIRIES[0], a_e9=-1, b_e9=0), "SviNegativeVariance", (-E9,)),
)


@pytest.mark.parametrize(("bad", "name", "args"), BAD_SLICES)
def test_C29_bad_slice_is_rejected_at_submission(
    market: Twin, bad: Slice, name: str, args: tuple[int, ...]
) -> None:
    fresh(market)
    market.refuse(name, args, market.submit(report(market, slices=(bad,))))
    # as the second slice too: nothing of the first is written (the state is compared)
    if bad.expiry_day == EXPIRIES[0]:
        bad = replace(bad, expiry_day=EXPIRIES[1])
        fresh(market)
        market.refuse(
            name, args, market.submit(report(market, slices=(slice_of(EXPIRIES[0]), bad)))
        )


def test_C29_expired_slice(market: Twin) -> None:
    expiry = instrument_id.expiry(future(EXPIRIES[0]))
    market.world.timestamp = expiry - 1
    fresh(market)
    assert market.submit(report(market, slices=(slice_of(EXPIRIES[0]),))) is None
    fresh(market)
    assert market.world.timestamp == expiry
    market.refuse(
        "InstrumentExpired",
        (future(EXPIRIES[0]), expiry, expiry),
        market.submit(report(market, timestamp=expiry)),
    )
    fresh(market)
    assert market.submit(report(market, slices=(slice_of(EXPIRIES[1]),))) is None


def test_slices_ascend(market: Twin) -> None:
    near, far = (slice_of(day) for day in EXPIRIES)
    fresh(market)
    market.refuse(
        "SlicesNotAscending", EXPIRIES[::-1], market.submit(report(market, slices=(far, near)))
    )
    fresh(market)
    market.refuse(
        "SlicesNotAscending", (EXPIRIES[0],) * 2, market.submit(report(market, slices=(near, near)))
    )


# ---------------------------------------------------------------------------------- signatures


def test_below_threshold(market: Twin) -> None:
    fresh(market)
    market.refuse("NotEnoughSignatures", (0, 2), market.submit(report(market), []))
    fresh(market)
    market.refuse("NotEnoughSignatures", (1, 2), market.submit(report(market), KEYS[:1]))
    fresh(market)
    assert market.submit(report(market), KEYS[:3]) is None  # more than needed is fine


def test_without_signers_nothing_is_accepted(market: Twin) -> None:
    """A vault whose signers were never set has threshold 0: zero signatures must not suffice."""
    market.state.signer_threshold = 0
    market.write_state()
    fresh(market)
    market.refuse("NotEnoughSignatures", (0, 0), market.submit(report(market), []))
    fresh(market)
    market.refuse("NotEnoughSignatures", (2, 0), market.submit(report(market)))


def test_unsorted_and_duplicate(market: Twin) -> None:
    a, b, c = (key_address(k) for k in KEYS[:3])
    fresh(market)
    market.refuse("SignersNotAscending", (b, a), market.submit(report(market), (KEYS[1], KEYS[0])))
    fresh(market)
    market.refuse("SignersNotAscending", (a, a), market.submit(report(market), (KEYS[0], KEYS[0])))
    fresh(market)
    market.refuse(
        "SignersNotAscending", (c, b), market.submit(report(market), (KEYS[0], KEYS[2], KEYS[1]))
    )


def test_unknown_signer(market: Twin) -> None:
    stranger = key_address(KEYS[3])
    fresh(market)
    market.refuse("UnknownSigner", (stranger,), market.submit(report(market), (KEYS[0], KEYS[3])))
    # also where there would be enough others
    fresh(market)
    market.refuse(
        "UnknownSigner", (stranger,), market.submit(report(market), (KEYS[0], KEYS[1], KEYS[3]))
    )
    # unknown comes before unsorted
    fresh(market)
    market.refuse("UnknownSigner", (stranger,), market.submit(report(market), (KEYS[3], KEYS[0])))


def test_removed_signer_is_unknown(market: Twin) -> None:
    a, b, c = (key_address(k) for k in KEYS[:3])
    assert market.set_signers([b, c], 1) is None
    fresh(market)
    market.refuse("UnknownSigner", (a,), market.submit(report(market), (KEYS[0], KEYS[1])))
    fresh(market)
    assert market.submit(report(market), (KEYS[1],)) is None


@pytest.mark.parametrize(
    "kind", ("malleable", "empty", "short", "long", "eip2098", "v0", "v29", "zero", "r0")
)
def test_signature_that_is_none(market: Twin, kind: str) -> None:
    """Each recovers to address 0: an unknown signer."""
    fresh(market)
    good = report(market)
    first = market.sign(good, KEYS[0])
    second = market.sign(good, KEYS[1])
    r, s, v = second[:32], int.from_bytes(second[32:64], "big"), second[64]
    low_s = s.to_bytes(32, "big")
    bad = {
        "malleable": r + (ORDER - s).to_bytes(32, "big") + bytes([55 - v]),
        "empty": b"",
        "short": second[:64],
        "long": second + b"\x00",
        "eip2098": r + (s | (v - 27) << 255).to_bytes(32, "big"),
        "v0": r + low_s + bytes([v - 27]),
        "v29": r + low_s + bytes([v + 2]),
        "zero": bytes(65),
        "r0": bytes(32) + low_s + bytes([v]),
    }[kind]
    pairs = [(key_address(KEYS[0]), first), (0, bad)]
    market.refuse("UnknownSigner", (0,), market.submit(good, signatures=pairs))


def recovered(message: bytes, signature: bytes) -> int:
    """Whoever a wrongly signed report recovers to."""
    from eth_account import Account

    return int(Account._recover_hash(message, signature=signature), 16)


@pytest.mark.parametrize("change", ({"chain_id": 1}, {"vault": 0xBAD}))
def test_signed_for_another_chain_or_vault(market: Twin, change: dict[str, int]) -> None:
    fresh(market)
    good = report(market)
    domain = domain_separator(replace(market.world, **change))
    message = digest(domain_separator(market.world), good)
    pairs = []
    for key in KEYS[:2]:
        signature = market.sign(good, key, domain)
        pairs.append((recovered(message, signature), signature))
    market.refuse("UnknownSigner", (pairs[0][0],), market.submit(good, signatures=pairs))


def test_every_field_is_signed(market: Twin) -> None:
    """A signature over a report with one field changed does not count."""
    fresh(market)
    good = report(market)
    s = good.slices[0]
    changed = [
        replace(good, confidence_bps=11),
        replace(good, nonce=good.nonce + 1),
        replace(good, premium_e9=-1),
        replace(good, slices=good.slices[1:]),
    ]
    changed += [
        replace(good, slices=(replace(s, **{name: getattr(s, name) + 1}), good.slices[1]))
        for name in (
            "forward_ratio_wad",
            "discount_wad",
            "a_e9",
            "b_e9",
            "rho_e9",
            "m_e9",
            "sigma_e9",
        )
    ]
    for other in changed:
        fresh(market)
        message = digest(domain_separator(market.world), other)
        signature = market.sign(good, KEYS[0])
        who = recovered(message, signature)
        assert who != key_address(KEYS[0])
        pairs = [(who, signature), (0, b"")]
        market.refuse("UnknownSigner", (who,), market.submit(other, signatures=pairs))


def test_replay(market: Twin) -> None:
    fresh(market)
    good = report(market)
    assert market.submit(good) is None
    fresh(market)
    market.refuse("ReportNonceNotNewer", (good.nonce, good.nonce), market.submit(good))


def test_digest_equals(market: Twin) -> None:
    for slices in (
        (),
        tuple(slice_of(d) for d in EXPIRIES),
        (slice_of(1, a_e9=-1, rho_e9=-1, m_e9=-(2**39)),),
    ):
        r = report(market, slices=slices, nonce=2**64 - 1, premium_e9=-(2**31) + len(slices))
        want = int.from_bytes(digest(domain_separator(market.world), r), "big")
        assert market.view("hashReport", report_tuple(r)) == [want]


# --------------------------------------------------------------------------------------- order


def test_order_of_checks(market: Twin) -> None:
    """One report with everything wrong; repaired one thing at a time, the next refusal shows."""
    feed = market.state.underlyings[0].feed
    market.warp(10_000)
    last = market.state.underlyings[0].report_time
    bad = slice_of(
        EXPIRIES[0] + 1,
        forward_ratio_wad=0,
        discount_wad=0,
        a_e9=2**39 - 1,
        rho_e9=2**31 - 1,
        sigma_e9=0,
    )
    r = VolReport(2, 0, 0, 0, (slice_of(EXPIRIES[1]), bad))
    market.set_feed(feed, PRICE, mode=REVERTS)

    def attempt(keys: tuple[object, ...] = ()) -> ModelRevert | None:
        return market.submit(r, keys)  # type: ignore[arg-type]

    market.refuse("UnknownUnderlying", (2,), attempt())
    r = replace(r, underlying=0)
    market.refuse("ReportNonceNotNewer", (0, 0), attempt())
    r = replace(r, nonce=1)
    now = market.world.timestamp
    market.refuse("ReportTimeInvalid", (0, last, now), attempt())
    r = replace(r, timestamp=last + 1)
    now = market.world.timestamp
    market.refuse("ReportTooOld", (last + 1, now - 3_600), attempt())
    r = replace(r, timestamp=market.world.timestamp)
    market.refuse("OracleNotUsable", (0, OracleState.HALTED), attempt())
    market.set_feed(feed, PRICE, market.world.timestamp - 3_000)
    market.refuse("ReportSkewed", (r.timestamp, market.world.timestamp - 3_000, 120), attempt())
    market.set_feed(feed, PRICE)
    market.refuse("UnknownInstrument", (future(EXPIRIES[0] + 1),), attempt())
    for changes, name in (
        ({"expiry_day": EXPIRIES[0]}, "ForwardRatioOutOfRange"),
        ({"forward_ratio_wad": WAD}, "DiscountOutOfRange"),
        ({"discount_wad": WAD}, "SviAOutOfRange"),
        ({"a_e9": 0}, "SviRhoOutOfRange"),
        ({"rho_e9": 0}, "SviSigmaOutOfRange"),
        ({"sigma_e9": E9}, "SlicesNotAscending"),
    ):
        r = replace(r, slices=(r.slices[0], replace(r.slices[1], **changes)))
        outcome = attempt()
        assert outcome is not None and outcome.name == name
    r = replace(r, slices=r.slices[::-1])
    market.refuse("NotEnoughSignatures", (0, 2), attempt())
    market.refuse(
        "SignersNotAscending",
        (key_address(KEYS[1]), key_address(KEYS[0])),
        attempt((KEYS[1], KEYS[0])),
    )
    assert attempt((KEYS[0], KEYS[1])) is None


def test_C22_report_cannot_be_pushed_twice_or_reordered(market: Twin) -> None:
    """Two signed reports wait; whoever delivers them chooses at most to leave one out, never to go
    back to the older.
    """
    fresh(market)
    market.warp(100)
    older = report(market, timestamp=market.world.timestamp - 50)
    newer = report(market, nonce=older.nonce + 1, timestamp=market.world.timestamp - 10)
    fresh(market)
    assert market.submit(newer) is None
    fresh(market)
    market.refuse("ReportNonceNotNewer", (older.nonce, newer.nonce), market.submit(older))
    # signers that skip nonces but not time gain nothing either
    late = replace(older, nonce=newer.nonce + 1)
    now = market.world.timestamp
    market.refuse("ReportTimeInvalid", (late.timestamp, newer.timestamp, now), market.submit(late))


def test_C22_price_cannot_be_pushed_back_within_one_feed_round(market: Twin) -> None:
    """A refresh never goes to an older feed price: no choosing among several prices of a window."""
    feed = market.state.underlyings[0].feed
    market.warp(50)
    market.set_feed(feed, PRICE * 2, market.world.timestamp)
    taken = market.world.timestamp
    assert market.refresh(0) is None
    market.set_feed(feed, PRICE, taken - 1)
    market.refuse("OracleNotUsable", (0, OracleState.HALTED), market.refresh(0))
    market.refuse("OracleNotUsable", (0, OracleState.HALTED), market.submit(report(market)))


# -------------------------------------------------------------------------------------- arrays


def test_compute_arrays(market: Twin) -> None:
    fresh(market)
    assert market.submit(report(market)) is None
    call, put = (
        instrument_id.encode(0, k, EXPIRIES[0], 1) for k in (instrument_id.CALL, instrument_id.PUT)
    )
    assert market.compute_arrays(call, put) is None
    assert len(market.event("ArrayComputed")) == 2
    assert market.compute_arrays(call, put) is None  # cached: skipped
    assert not market.event("ArrayComputed")
    fresh(market)
    assert market.submit(report(market)) is None  # a new epoch
    assert market.compute_arrays(put) is None
    assert len(market.event("ArrayComputed")) == 1


def test_compute_arrays_refuses(market: Twin) -> None:
    call = instrument_id.encode(0, instrument_id.CALL, EXPIRIES[0], 0)
    fresh(market)
    assert market.submit(report(market)) is None
    for bad in (
        instrument_id.encode(0, instrument_id.PERP, 0, 0),
        future(EXPIRIES[0]),
        instrument_id.encode(0, instrument_id.CALL, EXPIRIES[0], len(STRIKES)),
        instrument_id.encode(0, instrument_id.PUT, EXPIRIES[0] + 1, 0),
        instrument_id.encode(15, instrument_id.CALL, EXPIRIES[0], 0),
        2**32 - 1,
    ):
        market.refuse("UnknownInstrument", (bad,), market.compute_arrays(call, bad))


def test_compute_arrays_needs_a_snapshot(twin: Twin) -> None:
    call = instrument_id.encode(0, instrument_id.CALL, EXPIRIES[0], 0)
    twin.refuse("SnapshotMissing", (0,), twin.compute_arrays(call))
    assert twin.list_expiry(1, TODAY + 7, [WAD]) is None
    twin.refuse(
        "SnapshotMissing",
        (1,),
        twin.compute_arrays(instrument_id.encode(1, instrument_id.PUT, TODAY + 7, 0)),
    )
    assert twin.list_expiry(2, TODAY + 7, [WAD]) is None
    twin.refuse(
        "UnknownUnderlying",
        (2,),
        twin.compute_arrays(instrument_id.encode(2, instrument_id.PUT, TODAY + 7, 0)),
    )


def test_gas_of_refresh_and_report(market: Twin) -> None:
    """A bound, so that nobody makes the market expensive by accident; the exact figures are in the
    gas table.
    """
    for factor in (2, 3):  # the first leaves a previous snapshot, in a slot of its own
        market.set_feed(market.state.underlyings[0].feed, PRICE * factor)
        assert market.refresh(0) is None
    one = market.gas_used
    for day in (TODAY + 14, TODAY + 60):
        assert market.list_expiry(0, day, []) is None
    days = sorted((*EXPIRIES, TODAY + 14, TODAY + 60))
    for _ in range(2):
        fresh(market)
        market.warp(DAY // 24)
        fresh(market)
        assert market.submit(report(market, slices=tuple(map(slice_of, days)))) is None
    print(f"refresh with a rate {one}, report of four slices and two signatures {market.gas_used}")
    assert one < 100_000 and market.gas_used < 260_000
