// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMarket} from "../../interfaces/IMarket.sol";
import {Tail} from "../params/ParamsTail.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {FeedReader} from "./FeedReader.sol";

/// @title Whether the sequencer of the L2 is up, and has been for a while
/// @notice Twin: risk/exact/market/sequencer.py. Reads a Chainlink uptime feed: answer 0 = up, anything else = down; `startedAt`
///         is when that status began. An L1 has no such feed (address 0) and is always live.
/// @dev While the sequencer is down its users cannot react, and when it comes back prices jump: after an outage everybody gets a
///      grace in which nobody adds risk or withdraws on prices that the others have not seen yet.
///
///      A *broken* feed (no answer, startedAt 0 or in the future) counts as down for whatever needs initial margin, because nothing
///      is lost by waiting. It never holds a liquidation: the vault's solvency must not hang on one more contract of somebody else.
///      A feed that answers "down" or "up since a moment ago" holds liquidations, but for MAX_OUTAGE after `startedAt` at most, so
///      one that is stuck does not block them for ever either. The owner may also set another feed, or none.
library Sequencer {
    /// @dev Liquidations wait at most so long for a feed that says the sequencer is down, or back since a moment.
    uint256 internal constant MAX_OUTAGE = 1 days;

    /// @notice Reverts `SequencerDown()` while the sequencer is down or its feed is broken, `SequencerGrace(until)` while it has
    ///         been up for less than the grace.
    function requireLive(VaultStorage.State storage $, Tail t) internal view {
        (bool up, uint256 since) = _status($);
        if (!up) revert IMarket.SequencerDown();
        uint256 until = since + t.sequencerGraceSeconds();
        if (block.timestamp < until) revert IMarket.SequencerGrace(until);
    }

    /// @notice Whether `requireLive` would pass
    function isLive(VaultStorage.State storage $, Tail t) internal view returns (bool) {
        (bool up, uint256 since) = _status($);
        return up && block.timestamp >= since + t.sequencerGraceSeconds();
    }

    /// @notice Whether a liquidation must wait: not live according to a feed that works, for at most MAX_OUTAGE
    function holdsLiquidations(VaultStorage.State storage $, Tail t) internal view returns (bool) {
        (bool up, uint256 since) = _status($);
        if (since == 0 || block.timestamp - since > MAX_OUTAGE) return false;
        return !up || block.timestamp < since + t.sequencerGraceSeconds();
    }

    /// @dev (up, since when); since = 0 where there is no feed (up) or it is broken (not up). since ≤ now.
    function _status(VaultStorage.State storage $) private view returns (bool up, uint256 since) {
        address feed = $.sequencerFeed;
        if (feed == address(0)) return (true, 0);
        bool answered;
        int256 answer;
        (answered, answer, since) = FeedReader.latestStatus(feed);
        if (!answered || since == 0 || since > block.timestamp) return (false, 0);
        up = answer == 0;
    }
}
