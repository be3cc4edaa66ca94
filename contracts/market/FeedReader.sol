// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {AggregatorV3Interface} from "../../interfaces/AggregatorV3Interface.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {Params} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title Reading price and rate feeds that may be hostile
/// @notice Twin: risk/exact/market/feed_reader.py. A feed is an address that somebody else controls: nothing it does may
///         revert the vault. The call is a low-level `staticcall` (no state change, no re-entry that writes) that
///         - forwards at most `FEED_GAS`, so a feed that burns gas costs a bounded amount;
///         - copies at most 160 bytes of the answer and nothing of a revert, so a feed cannot expand our memory;
///         - treats a revert, an address without code and a short answer alike: no answer.
/// @dev The caller chooses the gas of the transaction, so it could starve an honest feed and have it taken for a broken
///      one (EIP-150 forwards only 63/64). Where a call gives no answer and less than `FEED_GAS` could be forwarded, the
///      whole call reverts `FeedGasTooLow` instead of going on with a wrong belief.
library FeedReader {
    /* ──────────────────────────── limits ──────────────────────────── */

    /// @dev A Chainlink proxy answers within 20 000, composed feeds within 100 000.
    uint256 internal constant FEED_GAS = 150_000;
    /// @dev Decimals above 18 divide; 10^(36−18) keeps every power of ten far below 2^256.
    uint256 internal constant MAX_FEED_DECIMALS = 36;
    /// @dev A rate whose feed has not moved for longer is unusable (three heartbeats of 24 h). Rates have no parameter of
    ///      their own because they move by a fraction of a percent a day.
    uint256 internal constant RATE_MAX_AGE = 3 days;

    /* ─────────────────────────── index price ──────────────────────── */

    /// @notice The live price of underlying `u` and what it is worth: HALTED over STALE over UNCERTAIN over FRESH.
    /// @dev HALTED: no answer, answer ≤ 0, updatedAt = 0, in the future or before the last accepted one, or a price that
    ///      is outside [MIN_PRICE_WAD, MAX_PRICE_WAD]. STALE: older than `maxAge`. UNCERTAIN: the last report's confidence
    ///      interval exceeds its limit. `u` must be listed and parameterised (`requireKnown`). Never reverts because of
    ///      the feed, except `FeedGasTooLow`.
    /// @return state worth of the price
    /// @return priceWad rounded down, 0 where HALTED
    /// @return updatedAt the feed's own time, 0 where HALTED
    function live(VaultStorage.State storage $, Params p, uint256 u)
        internal
        view
        returns (IMarket.OracleState state, uint256 priceWad, uint256 updatedAt)
    {
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        int256 answer;
        bool answered;
        (answered, answer, updatedAt) = latest(data.feed);
        priceWad = answered ? toWad(answer, data.feedDecimals, VaultStorage.MAX_PRICE_WAD) : 0;
        if (priceWad < VaultStorage.MIN_PRICE_WAD || !_timeValid(updatedAt, data.feedUpdatedAt)) {
            return (IMarket.OracleState.HALTED, 0, 0);
        }
        unchecked {
            if (block.timestamp - updatedAt > p.maxAge(u)) state = IMarket.OracleState.STALE;
            else if (data.confidenceBps > p.maxConfidenceBps(u)) state = IMarket.OracleState.UNCERTAIN;
        }
    }

    /// @notice Reverts `UnknownUnderlying(u)` unless `u` is listed and has risk parameters.
    function requireKnown(VaultStorage.State storage $, Params p, uint256 u) internal view {
        if (u >= $.underlyingCount || u >= p.underlyingCount()) revert IMarket.UnknownUnderlying(u);
    }

    /* ──────────────────────────── rate feeds ──────────────────────── */

    /// @notice The live rate of collateral `j`, WAD underlying units per collateral unit, rounded down.
    /// @dev Unusable (0): no answer, answer ≤ 0, updatedAt = 0, in the future, before the last accepted one or older than
    ///      RATE_MAX_AGE, a rate that rounds to 0 or exceeds uint96. Never reverts except `FeedGasTooLow`.
    /// @return rateWad 0 where unusable
    /// @return answer as the feed gave it, 0 where it gave none
    /// @return updatedAt the feed's own time, meaningless where the rate is unusable
    function liveRate(VaultStorage.State storage $, uint256 j)
        internal
        view
        returns (uint256 rateWad, int256 answer, uint256 updatedAt)
    {
        VaultStorage.CollateralData storage data = $.collaterals[j];
        return rateOf(data.rateFeed, data.rateFeedDecimals, data.rateUpdatedAt);
    }

    /// @notice As `liveRate`, of any feed; `notBefore` is the time of the last accepted rate.
    function rateOf(address feed, uint256 decimals, uint256 notBefore)
        internal
        view
        returns (uint256 rateWad, int256 answer, uint256 updatedAt)
    {
        bool answered;
        (answered, answer, updatedAt) = latest(feed);
        if (!answered || !_timeValid(updatedAt, notBefore)) return (0, answer, updatedAt);
        unchecked {
            if (block.timestamp - updatedAt > RATE_MAX_AGE) return (0, answer, updatedAt);
        }
        rateWad = toWad(answer, decimals, type(uint96).max);
    }

    /* ────────────────────────────── calls ─────────────────────────── */

    /// @notice `latestRoundData` of `feed`: answer and updatedAt, both 0 where there is no answer.
    /// @dev Of the other words startedAt is for `latestStatus`; Chainlink deprecates answeredInRound.
    function latest(address feed) internal view returns (bool answered, int256 answer, uint256 updatedAt) {
        return _latest(feed, 0x60);
    }

    /// @notice As `latest`, of an uptime feed: answer and startedAt, the time since when it holds.
    function latestStatus(address feed) internal view returns (bool answered, int256 answer, uint256 startedAt) {
        return _latest(feed, 0x40);
    }

    /// @dev answer and the word at `offset` of the round
    function _latest(address feed, uint256 offset) private view returns (bool answered, int256 answer, uint256 time) {
        bytes32 selector = AggregatorV3Interface.latestRoundData.selector;
        uint256 available = gasleft();
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, selector)
            answered := staticcall(FEED_GAS, feed, m, 0x04, m, 0xa0)
            answered := and(answered, gt(returndatasize(), 0x9f))
            if answered {
                answer := mload(add(m, 0x20))
                time := mload(add(m, offset))
            }
        }
        if (!answered) _requireGas(feed, available);
    }

    /// @notice A `decimals()` of a feed or token, read with the same care.
    /// @return answered false where there is no answer
    /// @return value the whole word, not cut to uint8
    function decimalsOf(address source) internal view returns (bool answered, uint256 value) {
        bytes32 selector = AggregatorV3Interface.decimals.selector;
        uint256 available = gasleft();
        assembly ("memory-safe") {
            mstore(0x00, selector)
            answered := staticcall(FEED_GAS, source, 0x00, 0x04, 0x00, 0x20)
            answered := and(answered, gt(returndatasize(), 0x1f))
            if answered { value := mload(0x00) }
        }
        if (!answered) _requireGas(source, available);
    }

    /* ─────────────────────────────── pure ─────────────────────────── */

    /// @notice `answer` at `decimals` (≤ MAX_FEED_DECIMALS) as WAD, rounded down; 0 where it is not in (0, max].
    /// @dev 0 < max < 2^128. Compares before it multiplies, so no answer can overflow.
    function toWad(int256 answer, uint256 decimals, uint256 max) internal pure returns (uint256 wad) {
        if (answer <= 0) return 0;
        // forge-lint: disable-next-line(unsafe-typecast) positive, see the line above
        wad = uint256(answer);
        unchecked {
            if (decimals > 18) {
                wad /= 10 ** (decimals - 18);
                return wad > max ? 0 : wad;
            }
            uint256 scale = 10 ** (18 - decimals);
            return wad > max / scale ? 0 : wad * scale;
        }
    }

    /* ───────────────────────────── private ────────────────────────── */

    /// @dev 0 < updatedAt ≤ now, and not before the last accepted one: publish time never goes backwards
    function _timeValid(uint256 updatedAt, uint256 notBefore) private view returns (bool) {
        return updatedAt != 0 && updatedAt <= block.timestamp && updatedAt >= notBefore;
    }

    /// @dev A failure counts as the feed's own only if it had FEED_GAS. `available` was read just before the call; the
    ///      4 000 cover the cold account access and the instructions between: the test errs towards reverting.
    function _requireGas(address source, uint256 available) private pure {
        unchecked {
            if (available < FEED_GAS + FEED_GAS / 63 + 4_000) revert IMarket.FeedGasTooLow(source);
        }
    }
}
