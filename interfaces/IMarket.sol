// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Market data: feeds, signed reports, snapshots and epochs
/// @notice Every price that margin uses comes from the *snapshot* of an underlying. A snapshot changes only by a
///         refresh, which opens a new *epoch*; time and nonces only move forward.
interface IMarket {
    /// @notice What the live data of an underlying is worth. Order matters: higher is worse.
    enum OracleState {
        FRESH, // live feed valid, young, confidence within its limit
        UNCERTAIN, // as FRESH but the reported confidence interval is too wide: new risk is blocked
        STALE, // live feed valid but older than `maxAge`
        HALTED // live feed reverts, is not positive, future-dated, went backwards, or is out of range
    }

    /// @notice One volatility slice and forward of (underlying, expiry). Integers in units of 1e-9 unless said.
    /// @param expiryDay unix day number; the expiry is at 08:00 UTC of that day
    /// @param forwardRatioWad forward / index, WAD, in [MIN_FORWARD_RATIO, MAX_FORWARD_RATIO]
    /// @param discountWad discount factor, WAD, in (0, 1.1e18]
    /// @param aE9 SVI level (total variance)
    /// @param bE9 SVI slope
    /// @param rhoE9 SVI correlation, |rho| < 1
    /// @param mE9 SVI shift (log moneyness)
    /// @param sigmaE9 SVI curvature
    struct Slice {
        uint16 expiryDay;
        uint64 forwardRatioWad;
        uint64 discountWad;
        int40 aE9;
        uint40 bE9;
        int32 rhoE9;
        int40 mE9;
        uint40 sigmaE9;
    }

    /// @notice EIP-712 typed report, signed by `threshold` of the registered signers (strictly ascending addresses).
    /// @param confidenceBps width of the reporters' confidence interval
    /// @param premiumE9 (perp mark − index)/index, 1e-9: what funding pays until the next report, clamped
    // The order is that of the EIP-712 type, and calldata is not packed.
    // solhint-disable-next-line gas-struct-packing
    struct VolReport {
        uint8 underlying;
        uint64 nonce;
        uint40 timestamp;
        uint16 confidenceBps;
        Slice[] slices;
        int32 premiumE9;
    }

    /// @notice The frozen price of an underlying.
    struct Snapshot {
        uint88 priceWad;
        uint32 epoch;
        uint32 time;
        uint104 openInterestWad;
    }

    event SnapshotRefreshed(uint8 indexed underlying, uint32 epoch, uint88 priceWad, uint32 time, uint40 feedUpdatedAt);
    /// @notice Nonce, time and confidence of the last report; one `SliceReported` follows for each of its slices, if any.
    event ReportAccepted(uint8 indexed underlying, uint64 nonce, uint40 timestamp, uint16 confidenceBps);
    event SliceReported(uint8 indexed underlying, uint64 nonce, uint40 timestamp, uint16 confidenceBps, Slice slice);
    /// @notice The premium of an accepted report, unclamped; follows its `ReportAccepted`, only where it changed.
    event PremiumReported(uint8 indexed underlying, int32 premiumE9);
    /// @notice Cumulative funding of one unit long, 1e-12 of the settlement currency, and the time up to which it counts.
    event FundingAccrued(uint8 indexed underlying, int80 fundingE12, uint32 time);
    /// @notice The rate-limited follower of the price before a snapshot, and whether it is out of its band at the new price.
    event StablePriceMoved(uint8 indexed underlying, uint88 stablePriceWad, bool apart);
    /// @notice The circuit breaker was tripped: positions may only shrink until then.
    event ReduceOnlySet(uint8 indexed underlying, uint32 until);
    event RateRefreshed(uint8 indexed collateral, uint96 rateWad, uint40 feedUpdatedAt);
    /// @notice A snapshot was taken while the rate feed was unusable: the last rate stays in force.
    event RateKept(uint8 indexed collateral, uint96 rateWad, int256 answer);
    event ArrayComputed(uint32 indexed instrument, uint32 epoch);
    event UnderlyingListed(uint8 indexed underlying, address feed, uint8 feedDecimals);
    event CollateralListed(uint8 indexed collateral, address token, uint8 decimals, uint8 underlying, address rateFeed);
    event ExpiryListed(uint8 indexed underlying, uint16 expiryDay);
    event StrikeListed(uint8 indexed underlying, uint16 expiryDay, uint16 strikeIndex, uint128 strikeWad);
    event RiskParamsSet(address pointer, bytes32 hash);
    event SequencerFeedSet(address feed);
    event SignersSet(address[] signers, uint8 threshold);

    error UnknownUnderlying(uint256 underlying);
    error UnknownInstrument(uint32 instrument);
    error InstrumentExpired(uint32 instrument, uint256 expiry, uint256 timestamp);
    error OracleNotUsable(uint8 underlying, OracleState state);
    error RefreshNotNeeded(uint8 underlying);
    error SliceMissing(uint8 underlying, uint16 expiryDay);
    /// @notice An action that needs initial margin found the report behind a held, unexpired instrument older than `maxAge`.
    error SliceStale(uint8 underlying, uint16 expiryDay, uint40 reportTime);
    error ReportNonceNotNewer(uint64 given, uint64 last);
    error ReportTimeInvalid(uint40 given, uint40 last, uint256 timestamp);
    error ReportTooOld(uint40 given, uint256 oldestAccepted);
    error ReportSkewed(uint40 reportTime, uint256 feedTime, uint256 maxSkew);
    error NotEnoughSignatures(uint256 given, uint256 threshold);
    error SignersNotAscending(address previous, address current);
    error UnknownSigner(address signer);
    error ForwardRatioOutOfRange(uint64 given, uint64 min, uint64 max);
    error DiscountOutOfRange(uint64 given, uint64 min, uint64 max);
    /// @notice The rate feed of a collateral cannot be used (`answer` is 0 where the feed gave none).
    error RateInvalid(uint8 collateral, int256 answer);
    /// @notice The underlying has never had a snapshot.
    error SnapshotMissing(uint8 underlying);
    /// @notice A feed failed and the caller had not left enough gas to tell a bad feed from a starved one.
    error FeedGasTooLow(address feed);
    error SlicesNotAscending(uint16 previous, uint16 current);
    error FeedInvalid(address feed);
    error TokenInvalid(address token);
    error TokenAlreadyListed(address token);
    error DecimalsOutOfRange(address source, uint256 given, uint256 max);
    error TooManyUnderlyings(uint256 max);
    error TooManyCollaterals(uint256 max);
    error StrikesNotAscending(uint128 previous, uint128 current);
    error StrikeOutOfRange(uint128 given, uint256 max);
    error StrikeAlreadyListed(uint8 underlying, uint16 expiryDay, uint128 strikeWad);
    error TooManyStrikes(uint8 underlying, uint16 expiryDay, uint256 max);
    error TooManySigners(uint256 given, uint256 max);
    /// @notice The L2 sequencer is down.
    error SequencerDown();
    /// @notice The L2 sequencer came back less than the grace ago.
    error SequencerGrace(uint256 until);
    /// @notice A circuit breaker stands: positions in this underlying may only shrink.
    error ReduceOnly(uint8 underlying, uint256 until);
    error SignerThresholdInvalid(uint256 threshold, uint256 signers);
}
