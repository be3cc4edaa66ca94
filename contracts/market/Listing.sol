// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMarket} from "../../interfaces/IMarket.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {ScenarioArray} from "../margin/ScenarioArray.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {FeedReader} from "./FeedReader.sol";

/// @title Listing underlyings, collaterals, expiries, strikes and report signers
/// @notice Twin: risk/exact/market/listing.py. The vault checks that the owner calls. Nothing listed can be unlisted or
///         changed: positions and signed orders refer to it. What is listed counts for margin only once risk parameters
///         cover it.
library Listing {
    /* ──────────────────────────── limits ──────────────────────────── */

    uint256 internal constant MAX_TOKEN_DECIMALS = 18;
    /// @dev strikeIndex has 10 bits
    uint256 internal constant MAX_STRIKES = 1024;
    uint256 internal constant MAX_SIGNERS = 16;

    /* ────────────────────────── underlyings ───────────────────────── */

    /// @notice Lists the underlying priced by `feed`.
    /// @dev Reverts TooManyUnderlyings; FeedInvalid where `decimals()` gives no answer; DecimalsOutOfRange above 36.
    function listUnderlying(VaultStorage.State storage $, address feed) internal returns (uint8 underlying) {
        underlying = $.underlyingCount;
        if (underlying == VaultStorage.MAX_UNDERLYINGS) {
            revert IMarket.TooManyUnderlyings(VaultStorage.MAX_UNDERLYINGS);
        }
        uint8 decimals = _feedDecimals(feed);
        VaultStorage.UnderlyingData storage data = $.underlyings[underlying];
        data.feed = feed;
        data.feedDecimals = decimals;
        $.underlyingCount = underlying + 1;
        emit IMarket.UnderlyingListed(underlying, feed, decimals);
    }

    /* ────────────────────────── collaterals ───────────────────────── */

    /// @notice Lists `token` as collateral that carries the price risk of `underlying`; `rateFeed` (or 0 for a rate of 1)
    ///         gives underlying units per unit of collateral.
    /// @dev Reverts, in this order: UnknownUnderlying; TooManyCollaterals; TokenAlreadyListed (the cash token included);
    ///      TokenInvalid where there is no code or no `decimals()`; DecimalsOutOfRange above 18; and of the rate feed
    ///      FeedInvalid, DecimalsOutOfRange above 36, RateInvalid. The first rate is taken here.
    function listCollateral(VaultStorage.State storage $, address token, uint8 underlying, address rateFeed)
        internal
        returns (uint8 collateral)
    {
        if (underlying >= $.underlyingCount) revert IMarket.UnknownUnderlying(underlying);
        collateral = $.collateralCount;
        if (collateral == VaultStorage.MAX_COLLATERALS) {
            revert IMarket.TooManyCollaterals(VaultStorage.MAX_COLLATERALS);
        }
        if (token == $.cashToken || $.tokenIndex[token] != 0) revert IMarket.TokenAlreadyListed(token);
        uint8 decimals = _tokenDecimals(token);
        VaultStorage.CollateralData storage data = $.collaterals[collateral];
        data.token = token;
        data.decimals = decimals;
        data.underlying = underlying;
        if (rateFeed != address(0)) _setRateFeed(data, collateral, rateFeed);
        $.tokenIndex[token] = uint256(collateral) + 1;
        $.collateralCount = collateral + 1;
        emit IMarket.CollateralListed(collateral, token, decimals, underlying, rateFeed);
        if (rateFeed != address(0)) emit IMarket.RateRefreshed(collateral, data.rateWad, data.rateUpdatedAt);
    }

    /* ──────────────────────────── expiries ────────────────────────── */

    /// @notice Lists the expiry (08:00 UTC of `expiryDay`) and appends strikes to it; both may happen in several calls.
    /// @dev Reverts, in this order: UnknownUnderlying; InstrumentExpired unless the expiry lies in the future;
    ///      TooManyStrikes above 1024 in all; per strike StrikesNotAscending (0 does not ascend) and StrikeOutOfRange, for
    ///      all of them; then StrikeAlreadyListed for the first listed strike found again. Strikes ascend within a call;
    ///      a later call may add lower ones.
    ///      Writes 1 into the four array words of every new call and put (tag 0, never valid), so that no liquidation ever
    ///      pays for a fresh slot: about 200 000 gas a strike, so some 70 strikes a call.
    function listExpiry(
        VaultStorage.State storage $,
        uint8 underlying,
        uint16 expiryDay,
        uint128[] calldata strikesWad
    ) internal {
        if (underlying >= $.underlyingCount) revert IMarket.UnknownUnderlying(underlying);
        uint256 id = InstrumentId.encode(underlying, InstrumentId.FUTURE, expiryDay, 0);
        uint256 expiry = InstrumentId.expiry(id);
        // forge-lint: disable-next-line(unsafe-typecast) an id has 32 bits by its encoding
        if (expiry <= block.timestamp) revert IMarket.InstrumentExpired(uint32(id), expiry, block.timestamp);
        VaultStorage.BucketData storage bucket = $.buckets[InstrumentId.bucketKey(id)];
        uint256 listed = bucket.strikeCount;
        if (listed + strikesWad.length > MAX_STRIKES) {
            revert IMarket.TooManyStrikes(underlying, expiryDay, MAX_STRIKES);
        }
        _checkStrikes(strikesWad);
        for (uint256 i = 0; i < listed; ++i) {
            uint256 strike = $.strikes[_strikeKey(underlying, expiryDay, i)];
            if (_contains(strikesWad, strike)) {
                // forge-lint: disable-next-line(unsafe-typecast) _listStrike stores a uint128
                revert IMarket.StrikeAlreadyListed(underlying, expiryDay, uint128(strike));
            }
        }
        if (!bucket.listed) {
            bucket.listed = true;
            emit IMarket.ExpiryListed(underlying, expiryDay);
        }
        // forge-lint: disable-next-line(unsafe-typecast) at most MAX_STRIKES, checked above
        bucket.strikeCount = uint16(listed + strikesWad.length);
        for (uint256 i = 0; i < strikesWad.length; ++i) {
            _listStrike($, underlying, expiryDay, listed + i, strikesWad[i]);
        }
    }

    /* ───────────────────────────── signers ────────────────────────── */

    /// @notice Replaces the signer set of reports: `threshold` of `signers` must sign.
    /// @dev Reverts, in this order: TooManySigners above 16; SignerThresholdInvalid unless 1 ≤ threshold ≤ n;
    ///      SignersNotAscending unless strictly ascending and non-zero.
    function setSigners(VaultStorage.State storage $, address[] calldata signers, uint8 threshold) internal {
        if (signers.length > MAX_SIGNERS) revert IMarket.TooManySigners(signers.length, MAX_SIGNERS);
        if (threshold == 0 || threshold > signers.length) {
            revert IMarket.SignerThresholdInvalid(threshold, signers.length);
        }
        uint256 old = $.signerList.length;
        for (uint256 i = 0; i < old; ++i) {
            delete $.isSigner[$.signerList[i]];
        }
        address previous = address(0);
        for (uint256 i = 0; i < signers.length; ++i) {
            if (signers[i] <= previous) revert IMarket.SignersNotAscending(previous, signers[i]);
            previous = signers[i];
            $.isSigner[previous] = true;
        }
        $.signerList = signers;
        $.signerThreshold = threshold;
        emit IMarket.SignersSet(signers, threshold);
    }

    /* ───────────────────────────── private ────────────────────────── */

    function _feedDecimals(address feed) private view returns (uint8) {
        (bool answered, uint256 decimals) = FeedReader.decimalsOf(feed);
        if (!answered) revert IMarket.FeedInvalid(feed);
        if (decimals > FeedReader.MAX_FEED_DECIMALS) {
            revert IMarket.DecimalsOutOfRange(feed, decimals, FeedReader.MAX_FEED_DECIMALS);
        }
        // forge-lint: disable-next-line(unsafe-typecast) at most 36, checked above
        return uint8(decimals);
    }

    function _tokenDecimals(address token) private view returns (uint8) {
        (bool answered, uint256 decimals) = FeedReader.decimalsOf(token);
        // An address without code gives no answer.
        if (!answered) revert IMarket.TokenInvalid(token);
        if (decimals > MAX_TOKEN_DECIMALS) revert IMarket.DecimalsOutOfRange(token, decimals, MAX_TOKEN_DECIMALS);
        // forge-lint: disable-next-line(unsafe-typecast) at most 18, checked above
        return uint8(decimals);
    }

    function _setRateFeed(VaultStorage.CollateralData storage data, uint8 collateral, address rateFeed) private {
        uint8 decimals = _feedDecimals(rateFeed);
        (uint256 rateWad, int256 answer, uint256 updatedAt) = FeedReader.rateOf(rateFeed, decimals, 0);
        if (rateWad == 0) revert IMarket.RateInvalid(collateral, answer);
        data.rateFeed = rateFeed;
        data.rateFeedDecimals = decimals;
        // forge-lint: disable-start(unsafe-typecast) rateOf gives a time of the past and a rate of 96 bits
        data.rateUpdatedAt = uint40(updatedAt);
        data.rateWad = uint96(rateWad);
        // forge-lint: disable-end(unsafe-typecast)
    }

    /// @dev Each strike above the one before (the first above 0) and at most MAX_PRICE_WAD.
    function _checkStrikes(uint128[] calldata strikesWad) private pure {
        uint128 previous = 0;
        for (uint256 i = 0; i < strikesWad.length; ++i) {
            uint128 strike = strikesWad[i];
            if (strike <= previous) revert IMarket.StrikesNotAscending(previous, strike);
            if (strike > VaultStorage.MAX_PRICE_WAD) revert IMarket.StrikeOutOfRange(strike, VaultStorage.MAX_PRICE_WAD);
            previous = strike;
        }
    }

    /// @dev Binary search in an ascending list.
    function _contains(uint128[] calldata strikesWad, uint256 strike) private pure returns (bool) {
        uint256 low = 0;
        uint256 high = strikesWad.length;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (strikesWad[middle] < strike) low = middle + 1;
            else high = middle;
        }
        return low < strikesWad.length && strikesWad[low] == strike;
    }

    function _listStrike(
        VaultStorage.State storage $,
        uint8 underlying,
        uint16 expiryDay,
        uint256 index,
        uint128 strikeWad
    ) private {
        $.strikes[_strikeKey(underlying, expiryDay, index)] = strikeWad;
        ScenarioArray.prepare(InstrumentId.encode(underlying, InstrumentId.CALL, expiryDay, index));
        ScenarioArray.prepare(InstrumentId.encode(underlying, InstrumentId.PUT, expiryDay, index));
        // forge-lint: disable-next-line(unsafe-typecast) index < MAX_STRIKES = 1024
        emit IMarket.StrikeListed(underlying, expiryDay, uint16(index), strikeWad);
    }

    function _strikeKey(uint256 underlying, uint256 expiryDay, uint256 index) private pure returns (uint256) {
        return (underlying << 26) | (expiryDay << 10) | index;
    }
}
