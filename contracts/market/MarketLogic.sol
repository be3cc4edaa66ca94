// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMarket} from "../../interfaces/IMarket.sol";
import {ArrayLogic} from "../margin/ArrayLogic.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {ScenarioArray} from "../margin/ScenarioArray.sol";
import {Svi, SviParams} from "../math/Svi.sol";
import {ParamsTail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {FeedReader} from "./FeedReader.sol";
import {Funding} from "./Funding.sol";
import {Listing} from "./Listing.sol";
import {ReportHash} from "./ReportHash.sol";
import {Snapshots} from "./Snapshots.sol";

/// @title Market data: refreshing, reports, arrays, listing
/// @notice Twin: risk/exact/market/market_logic.py. Linked into the vault, which holds the lock and checks the owner where
///         one is needed.
/// @dev Errors come in the order in which the functions below check, the same in both languages.
library MarketLogic {
    /* ──────────────────────────── limits ──────────────────────────── */

    uint64 internal constant MIN_FORWARD_RATIO = 0.25e18;
    uint64 internal constant MAX_FORWARD_RATIO = 2e18;
    uint64 internal constant MIN_DISCOUNT = 1;
    uint64 internal constant MAX_DISCOUNT = 1.1e18;

    /* ──────────────────────────── refresh ─────────────────────────── */

    /// @notice Takes a new snapshot of each underlying, in the order given.
    /// @dev Reverts, for the first that fails: UnknownUnderlying; OracleNotUsable where HALTED or STALE (UNCERTAIN blocks
    ///      new risk only); RefreshNotNeeded unless due (Snapshots.isDue, or a rate left the band). One failure reverts
    ///      all; an underlying named twice is not due the second time.
    function refresh(VaultStorage.State storage $, uint8[] calldata underlyings) external {
        Params p = RiskParamsBlob.load($);
        for (uint256 i = 0; i < underlyings.length; ++i) {
            uint256 u = underlyings[i];
            FeedReader.requireKnown($, p, u);
            (uint256 priceWad, uint256 updatedAt) = _requireUsable($, p, u);
            if (!Snapshots.isDue($, p, u, priceWad) && !Snapshots.anyRateLeftBand($, p, u)) {
                revert IMarket.RefreshNotNeeded(underlyings[i]);
            }
            Snapshots.take($, p, u, priceWad, updatedAt);
        }
    }

    /* ──────────────────────────── reports ─────────────────────────── */

    /// @notice Accepts a newer report and takes a new snapshot of its underlying, due or not.
    /// @dev Order of checks: RiskParamsMissing, UnknownUnderlying, ReportNonceNotNewer, ReportTimeInvalid, ReportTooOld,
    ///      OracleNotUsable, ReportSkewed, then per slice UnknownInstrument, InstrumentExpired, ForwardRatioOutOfRange,
    ///      DiscountOutOfRange, Svi*, SlicesNotAscending, then the signatures NotEnoughSignatures and per signature
    ///      UnknownSigner, SignersNotAscending. The cheap checks come first: a report that lost a race against a newer one
    ///      costs its sender no signature recovery, and nothing is written before all have passed.
    ///      A report without slices is allowed: it moves nonce, time, confidence and premium. Funding is brought to now at
    ///      the old premium first. No premium is refused: funding clamps it.
    /// @param domainSeparator EIP-712 domain of the vault
    /// @param signatures 65 bytes each, at least `threshold` of them, by strictly ascending signer addresses
    function submitReport(
        VaultStorage.State storage $,
        bytes32 domainSeparator,
        IMarket.VolReport calldata report,
        bytes[] calldata signatures
    ) external {
        Params p = RiskParamsBlob.load($);
        uint256 u = report.underlying;
        FeedReader.requireKnown($, p, u);
        _checkTime($.underlyings[u], report, p.maxAge(u));
        (uint256 priceWad, uint256 updatedAt) = _requireUsable($, p, u);
        _checkSkew(report.timestamp, updatedAt, p.maxSkew(u));
        _checkSlices($, report);
        _checkSignatures($, ReportHash.digest(domainSeparator, report), signatures);
        // what happened until now happened at the old premium
        Funding.close($, ParamsTail.load($, p), u);
        _writeReport($, report);
        Snapshots.take($, p, u, priceWad, updatedAt);
    }

    /* ───────────────────────────── arrays ─────────────────────────── */

    /// @notice Computes and caches the scenario arrays of `ids` that are not cached in this epoch. Permissionless.
    /// @dev For each id in order: UnknownInstrument unless a listed option, UnknownUnderlying where its underlying has no
    ///      parameters yet, SnapshotMissing where it has no snapshot. Then the arrays, in order (SliceMissing,
    ///      ArrayOutOfRange). An expired option has an array too: its intrinsic value.
    function computeArrays(VaultStorage.State storage $, uint32[] calldata ids) external {
        Params p = RiskParamsBlob.load($);
        uint256[] memory missing = new uint256[](ids.length);
        uint256 n = 0;
        for (uint256 i = 0; i < ids.length; ++i) {
            uint256 id = ids[i];
            uint256 u = InstrumentId.underlying(id);
            if (InstrumentId.kind(id) < InstrumentId.CALL || $.strikes[InstrumentId.strikeKey(id)] == 0) {
                revert IMarket.UnknownInstrument(ids[i]);
            }
            if (u >= p.underlyingCount()) revert IMarket.UnknownUnderlying(u);
            uint256 epoch = $.underlyings[u].epoch;
            if (epoch == 0) revert IMarket.SnapshotMissing(uint8(u));
            if (!ScenarioArray.isCached(id, epoch)) missing[n++] = id;
        }
        if (n == 0) return;
        assembly ("memory-safe") {
            mstore(missing, n)
        }
        ArrayLogic.compute($, missing, true);
    }

    /* ───────────────────────────── listing ────────────────────────── */

    /// @notice See Listing.listUnderlying; owner only.
    function listUnderlying(VaultStorage.State storage $, address feed) external returns (uint8) {
        return Listing.listUnderlying($, feed);
    }

    /// @notice See Listing.listCollateral; owner only.
    function listCollateral(VaultStorage.State storage $, address token, uint8 underlying, address rateFeed)
        external
        returns (uint8)
    {
        return Listing.listCollateral($, token, underlying, rateFeed);
    }

    /// @notice See Listing.listExpiry; owner only.
    function listExpiry(
        VaultStorage.State storage $,
        uint8 underlying,
        uint16 expiryDay,
        uint128[] calldata strikesWad
    ) external {
        Listing.listExpiry($, underlying, expiryDay, strikesWad);
    }

    /// @notice See Listing.setSigners; owner only.
    function setSigners(VaultStorage.State storage $, address[] calldata signers, uint8 threshold) external {
        Listing.setSigners($, signers, threshold);
    }

    /// @notice See IVaultExtension.setSequencerFeed; owner only.
    function setSequencerFeed(VaultStorage.State storage $, address feed) external {
        $.sequencerFeed = feed;
        emit IMarket.SequencerFeedSet(feed);
    }

    /* ───────────────────────────── private ────────────────────────── */

    /// @dev The live price of `u`, or OracleNotUsable where it is HALTED or STALE.
    function _requireUsable(VaultStorage.State storage $, Params p, uint256 u)
        private
        view
        returns (uint256 priceWad, uint256 updatedAt)
    {
        IMarket.OracleState state;
        (state, priceWad, updatedAt) = FeedReader.live($, p, u);
        if (state >= IMarket.OracleState.STALE) revert IMarket.OracleNotUsable(uint8(u), state);
    }

    /// @dev Nonce and time move forward strictly, time not past now, age at most `maxAge`.
    function _checkTime(VaultStorage.UnderlyingData storage data, IMarket.VolReport calldata report, uint256 maxAge)
        private
        view
    {
        if (report.nonce <= data.reportNonce) revert IMarket.ReportNonceNotNewer(report.nonce, data.reportNonce);
        if (report.timestamp <= data.reportTime || report.timestamp > block.timestamp) {
            revert IMarket.ReportTimeInvalid(report.timestamp, data.reportTime, block.timestamp);
        }
        uint256 oldest = block.timestamp > maxAge ? block.timestamp - maxAge : 0;
        if (report.timestamp < oldest) revert IMarket.ReportTooOld(report.timestamp, oldest);
    }

    /// @dev |report time − feed time| ≤ maxSkew: volatilities and index belong to the same market.
    function _checkSkew(uint40 time, uint256 feedTime, uint256 maxSkew) private pure {
        uint256 skew = time > feedTime ? time - feedTime : feedTime - time;
        if (skew > maxSkew) revert IMarket.ReportSkewed(time, feedTime, maxSkew);
    }

    function _checkSlices(VaultStorage.State storage $, IMarket.VolReport calldata report) private view {
        uint16 previous = 0;
        for (uint256 i = 0; i < report.slices.length; ++i) {
            IMarket.Slice calldata s = report.slices[i];
            uint256 id = InstrumentId.encode(report.underlying, InstrumentId.FUTURE, s.expiryDay, 0);
            if (!$.buckets[InstrumentId.bucketKey(id)].listed) revert IMarket.UnknownInstrument(uint32(id));
            uint256 expiry = InstrumentId.expiry(id);
            if (expiry <= block.timestamp) revert IMarket.InstrumentExpired(uint32(id), expiry, block.timestamp);
            if (s.forwardRatioWad < MIN_FORWARD_RATIO || s.forwardRatioWad > MAX_FORWARD_RATIO) {
                revert IMarket.ForwardRatioOutOfRange(s.forwardRatioWad, MIN_FORWARD_RATIO, MAX_FORWARD_RATIO);
            }
            if (s.discountWad < MIN_DISCOUNT || s.discountWad > MAX_DISCOUNT) {
                revert IMarket.DiscountOutOfRange(s.discountWad, MIN_DISCOUNT, MAX_DISCOUNT);
            }
            Svi.validate(
                SviParams({
                    a: int256(s.aE9) * 1e9,
                    b: uint256(s.bE9) * 1e9,
                    rho: int256(s.rhoE9) * 1e9,
                    m: int256(s.mE9) * 1e9,
                    sigma: uint256(s.sigmaE9) * 1e9
                })
            );
            // Day 0 is never listed in the future, so 0 can stand for "none before".
            if (s.expiryDay <= previous) revert IMarket.SlicesNotAscending(previous, s.expiryDay);
            previous = s.expiryDay;
        }
    }

    /// @dev At least `threshold` signatures, each by a registered signer, by strictly ascending addresses (no duplicates).
    ///      Without a signer set nothing is accepted.
    function _checkSignatures(VaultStorage.State storage $, bytes32 digest, bytes[] calldata signatures) private view {
        uint256 threshold = $.signerThreshold;
        if (threshold == 0 || signatures.length < threshold) {
            revert IMarket.NotEnoughSignatures(signatures.length, threshold);
        }
        address previous = address(0);
        for (uint256 i = 0; i < signatures.length; ++i) {
            address signer = ReportHash.recover(digest, signatures[i]);
            if (!$.isSigner[signer]) revert IMarket.UnknownSigner(signer);
            if (signer <= previous) revert IMarket.SignersNotAscending(previous, signer);
            previous = signer;
        }
    }

    function _writeReport(VaultStorage.State storage $, IMarket.VolReport calldata report) private {
        VaultStorage.UnderlyingData storage data = $.underlyings[report.underlying];
        data.reportNonce = report.nonce;
        data.confidenceBps = report.confidenceBps;
        data.reportTime = report.timestamp;
        emit IMarket.ReportAccepted(report.underlying, report.nonce, report.timestamp, report.confidenceBps);
        if (data.premiumE9 != report.premiumE9) {
            data.premiumE9 = report.premiumE9;
            emit IMarket.PremiumReported(report.underlying, report.premiumE9);
        }
        for (uint256 i = 0; i < report.slices.length; ++i) {
            IMarket.Slice calldata s = report.slices[i];
            _writeSlice($.buckets[uint256(report.underlying) << 16 | s.expiryDay], s, report.timestamp);
            emit IMarket.SliceReported(
                report.underlying, report.nonce, report.timestamp, report.confidenceBps, s
            );
        }
    }

    /// @dev Two words, each written once (layout: VaultStorage.BucketData); `listed` and `strikeCount` stay.
    function _writeSlice(VaultStorage.BucketData storage b, IMarket.Slice calldata s, uint40 time) private {
        uint256 market = uint256(s.forwardRatioWad) | uint256(s.discountWad) << 64 | uint256(time) << 128;
        // forge-lint: disable-start(unsafe-typecast) two's complement in as many bits is what is meant
        uint256 svi = uint256(uint40(s.aE9)) | uint256(s.bE9) << 40 | uint256(uint32(s.rhoE9)) << 80
            | uint256(uint40(s.mE9)) << 112 | uint256(s.sigmaE9) << 152;
        // forge-lint: disable-end(unsafe-typecast)
        assembly ("memory-safe") {
            sstore(b.slot, or(shl(168, shr(168, sload(b.slot))), market))
            sstore(add(b.slot, 1), svi)
        }
    }
}
