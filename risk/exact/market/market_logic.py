"""Market data: refreshing, reports, arrays.

Twin: ``contracts/market/MarketLogic.sol``; listing is in ``listing.py``.

Errors come in the order of the checks below, the same in both languages.  A function that raises
may leave the state half changed: the vault facade rolls back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id
from risk.exact.market import feed_reader, funding, snapshots
from risk.exact.market.feed_reader import OracleState
from risk.exact.market.report_hash import Slice, VolReport
from risk.exact.math import svi
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Bucket, State, Underlying, World

WAD: Final = 10**18
MIN_FORWARD_RATIO: Final = WAD // 4
MAX_FORWARD_RATIO: Final = 2 * WAD
MIN_DISCOUNT: Final = 1
MAX_DISCOUNT: Final = 11 * WAD // 10
_E9: Final = 10**9


# -------------------------------------------------------------------------------------- refresh


def refresh(state: State, world: World, underlyings: Sequence[int]) -> None:
    """Take a new snapshot of each underlying, in order.

    Per underlying: ``UnknownUnderlying``, ``OracleNotUsable`` where HALTED or STALE,
    ``RefreshNotNeeded`` unless due.
    """
    p = feed_reader.load_params(state)
    for u in underlyings:
        feed_reader.require_known(state, p, u)
        price_wad, updated_at = _require_usable(state, world, p, u)
        if not snapshots.is_due(state, world, p, u, price_wad) and not snapshots.any_rate_left_band(
            state, world, p, u
        ):
            raise ModelRevert("RefreshNotNeeded", (u,))
        snapshots.take(state, world, p, u, price_wad, updated_at)


# -------------------------------------------------------------------------------------- reports


def submit_report(state: State, world: World, report: VolReport, signers: Sequence[int]) -> None:
    """Accept a newer report and take a new snapshot of its underlying, due or not.

    ``signers`` are the addresses the signatures recover to, 0 for a signature that is none.  The
    order of the checks is documented in ``MarketLogic.sol``.
    """
    p = feed_reader.load_params(state)
    u = report.underlying
    feed_reader.require_known(state, p, u)
    _check_time(state.underlyings[u], world.timestamp, report, p.underlyings[u].max_age_seconds)
    price_wad, updated_at = _require_usable(state, world, p, u)
    _check_skew(report.timestamp, updated_at, p.underlyings[u].max_skew_seconds)
    _check_slices(state, world, report)
    _check_signatures(state, signers)
    funding.close(state, world, p, u)  # what happened until now happened at the old premium
    _write_report(state, report)
    snapshots.take(state, world, p, u, price_wad, updated_at)


# --------------------------------------------------------------------------------------- arrays


def compute_arrays_check(state: State, ids: Sequence[int]) -> None:
    """The checks of ``computeArrays`` on the ids; the arrays themselves are no state of the
    model.
    """
    p = feed_reader.load_params(state)
    for instrument in ids:
        u = instrument_id.underlying(instrument)
        bucket = state.buckets.get(instrument_id.bucket_key(instrument))
        if (
            instrument_id.kind(instrument) < instrument_id.CALL
            or bucket is None
            or instrument_id.strike_index(instrument) >= len(bucket.strikes_wad)
        ):
            raise ModelRevert("UnknownInstrument", (instrument,))
        if u >= len(p.underlyings):
            raise ModelRevert("UnknownUnderlying", (u,))
        if state.underlyings[u].epoch == 0:
            raise ModelRevert("SnapshotMissing", (u,))


# -------------------------------------------------------------------------------------- private


def _require_usable(state: State, world: World, p: RiskParams, u: int) -> tuple[int, int]:
    """The live price of ``u`` and its time, or ``OracleNotUsable`` where it is HALTED or STALE."""
    oracle_state, price_wad, updated_at = feed_reader.live(state, world, p, u)
    if oracle_state >= OracleState.STALE:
        raise ModelRevert("OracleNotUsable", (u, oracle_state))
    return price_wad, updated_at


def _check_time(data: Underlying, now: int, report: VolReport, max_age: int) -> None:
    if report.nonce <= data.report_nonce:
        raise ModelRevert("ReportNonceNotNewer", (report.nonce, data.report_nonce))
    if report.timestamp <= data.report_time or report.timestamp > now:
        raise ModelRevert("ReportTimeInvalid", (report.timestamp, data.report_time, now))
    oldest = max(0, now - max_age)
    if report.timestamp < oldest:
        raise ModelRevert("ReportTooOld", (report.timestamp, oldest))


def _check_skew(time: int, feed_time: int, max_skew: int) -> None:
    if abs(time - feed_time) > max_skew:
        raise ModelRevert("ReportSkewed", (time, feed_time, max_skew))


def _check_slices(state: State, world: World, report: VolReport) -> None:
    previous = 0
    for s in report.slices:
        future = instrument_id.encode(report.underlying, instrument_id.FUTURE, s.expiry_day, 0)
        bucket = state.buckets.get(instrument_id.bucket_key(future))
        if bucket is None or not bucket.listed:
            raise ModelRevert("UnknownInstrument", (future,))
        expiry = instrument_id.expiry(future)
        if expiry <= world.timestamp:
            raise ModelRevert("InstrumentExpired", (future, expiry, world.timestamp))
        if not MIN_FORWARD_RATIO <= s.forward_ratio_wad <= MAX_FORWARD_RATIO:
            raise ModelRevert(
                "ForwardRatioOutOfRange",
                (s.forward_ratio_wad, MIN_FORWARD_RATIO, MAX_FORWARD_RATIO),
            )
        if not MIN_DISCOUNT <= s.discount_wad <= MAX_DISCOUNT:
            raise ModelRevert("DiscountOutOfRange", (s.discount_wad, MIN_DISCOUNT, MAX_DISCOUNT))
        svi.validate(svi_params(s))
        if s.expiry_day <= previous:
            raise ModelRevert("SlicesNotAscending", (previous, s.expiry_day))
        previous = s.expiry_day


def svi_params(s: Slice | Bucket) -> svi.SviParams:
    """The SVI parameters of a slice or bucket in WAD."""
    return svi.SviParams(
        a=s.a_e9 * _E9, b=s.b_e9 * _E9, rho=s.rho_e9 * _E9, m=s.m_e9 * _E9, sigma=s.sigma_e9 * _E9
    )


def _check_signatures(state: State, signers: Sequence[int]) -> None:
    threshold = state.signer_threshold
    if threshold == 0 or len(signers) < threshold:
        raise ModelRevert("NotEnoughSignatures", (len(signers), threshold))
    previous = 0
    for signer in signers:
        if signer not in state.signers:
            raise ModelRevert("UnknownSigner", (signer,))
        if signer <= previous:
            raise ModelRevert("SignersNotAscending", (previous, signer))
        previous = signer


def _write_report(state: State, report: VolReport) -> None:
    data = state.underlyings[report.underlying]
    data.report_nonce = report.nonce
    data.confidence_bps = report.confidence_bps
    data.report_time = report.timestamp
    data.premium_e9 = report.premium_e9
    for s in report.slices:
        bucket = state.buckets[report.underlying << 16 | s.expiry_day]
        bucket.forward_ratio_wad = s.forward_ratio_wad
        bucket.discount_wad = s.discount_wad
        bucket.report_time = report.timestamp
        bucket.a_e9 = s.a_e9
        bucket.b_e9 = s.b_e9
        bucket.rho_e9 = s.rho_e9
        bucket.m_e9 = s.m_e9
        bucket.sigma_e9 = s.sigma_e9
