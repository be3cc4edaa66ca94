// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title The one storage layout of the vault and of every library it delegates to
/// @dev Packed by hand where the margin check reads: each slot read cold costs 2 100 gas, and the margin check is
///      almost nothing but slot reads. Layout of the packed words: docs/architecture.md.
library VaultStorage {
    /* ──────────────────────────── limits ──────────────────────────── */

    uint256 internal constant MAX_UNDERLYINGS = 16;
    uint256 internal constant MAX_COLLATERALS = 16;
    /// @dev perps + futures + options of one account
    uint256 internal constant MAX_POSITIONS = 128;
    uint256 internal constant MAX_SCENARIOS = 64;
    /// @dev 10 million USD per unit, WAD
    uint256 internal constant MAX_PRICE_WAD = 1e25;
    /// @dev 1e-12 USD per unit: below, a forward or a shocked price could round to zero
    uint256 internal constant MIN_PRICE_WAD = 1e6;

    /* ─────────────────────────── accounts ─────────────────────────── */

    /// @dev slot 0 | 8 slots collateral (two uint128 native amounts each, even index low) | linear | options
    struct AccountData {
        int128 cashWad;
        uint16 collateralMask; // bit j set iff collateral j is non-zero
        uint8 linearCount;
        uint8 optionCount;
        uint64 interest; // bit 63: margin call standing; below: interest index (E15) up to which `cashWad` counts, 0 where it is 0
        uint32 flaggedAt; // since when the account may be liquidated, 0: not flagged
        uint256[8] collateral;
        uint256[128] linear; // id(32, high) | size(96, two's complement) | quote(128, two's complement)
        uint256[64] options; // two entries a word, even index in the low half: id(32, high) | size(96)
    }

    /* ──────────────────────────── market ──────────────────────────── */

    /// @dev slot 0: everything the margin check needs of an underlying
    struct UnderlyingData {
        uint88 priceWad; // snapshot
        uint32 epoch; // 0: no snapshot yet
        uint32 time; // of the snapshot
        uint24 gauge; // open interest rounded up and the stable price's flag, see Gauge
        int80 fundingE12; // cumulative funding of one unit long, 1e-12 of the settlement currency
        // slot 1
        address feed;
        uint8 feedDecimals;
        uint16 confidenceBps; // of the last report
        uint64 reportNonce;
        uint8 reserved1;
        // slot 2
        uint40 feedUpdatedAt; // of the last accepted feed price
        uint40 reportTime;
        uint128 pnlPoolWad;
        uint48 reserved2;
        // slot 3
        uint104 openInterestWad; // Σ over instruments of Σ long sizes
        uint88 stablePriceWad; // rate-limited follower of the snapshot price
        int32 premiumE9; // of the last report: (perp mark − index) / index, unclamped
        uint32 fundingTime; // up to which fundingE12 counts
        // slot 4
        uint88 previousPriceWad; // of the snapshot before the present one
        uint32 previousTime;
        uint32 reduceOnlyUntil; // circuit breaker
        uint104 reserved4;
    }

    /// @dev One (underlying, expiry): forward and SVI slice, see IMarket.Slice
    struct BucketData {
        uint64 forwardRatioWad; // 0: never reported
        uint64 discountWad;
        uint40 reportTime;
        bool listed;
        uint16 strikeCount;
        uint64 reserved0;
        // slot 1
        int40 aE9;
        uint40 bE9;
        int32 rhoE9;
        int40 mE9;
        uint40 sigmaE9;
        uint64 reserved1;
    }

    struct CollateralData {
        address token;
        uint8 decimals;
        uint8 underlying;
        uint8 rateFeedDecimals;
        uint40 rateUpdatedAt; // of the last accepted rate
        uint32 withdrawnTime; // at which `withdrawn` was true
        // slot 1
        address rateFeed; // 0: the rate is 1
        uint96 rateWad; // snapshot of the rate, WAD underlying units per collateral unit
        // slot 2
        uint128 totalHeld; // native units
        uint128 withdrawn; // leaky bucket of withdrawals, native units
    }

    /* ───────────────────────────── state ──────────────────────────── */

    struct State {
        // slot 0, read by every call
        address riskParams; // SSTORE2 pointer of the risk parameter blob
        uint8 lock; // see VaultLock
        uint8 underlyingCount;
        uint8 collateralCount;
        uint8 mode; // 0 normal, 1 winding down
        uint64 supplyIndexE15; // what 1e15 of positive cash at the start are now; starts at 1e15
        // slot 1
        uint128 cashHeldWad; // cash tokens the ledger accounts for
        uint128 insuranceWad;
        // slot 2
        address cashToken;
        uint8 cashDecimals;
        uint8 signerThreshold;
        uint80 reserved2;
        // slot 3: cash market
        uint64 borrowIndexE15; // what 1e15 of debt at the start are now; starts at 1e15
        uint40 interestTime; // up to which both indices count
        uint40 windDownTime; // start of the wind-down, 0: none
        uint112 cashWithdrawnWad; // leaky bucket of cash withdrawals
        // slot 4: Σ of positive and Σ of negative cash, interest up to `interestTime` included
        uint128 supplyWad;
        uint128 borrowWad;
        // slot 5
        int128 interestWad; // interest booked from borrowers − interest booked to lenders; negative: still owed by borrowers
        uint40 cashWithdrawnTime;
        uint88 reserved5;
        // slot 6: what the insurance fund paid in the rolling period
        uint128 insurancePaidWad;
        uint40 insurancePaidTime;
        uint88 reserved6;
        // slot 7
        address sequencerFeed; // 0: an L1
        uint96 reserved7;
        UnderlyingData[16] underlyings;
        CollateralData[16] collaterals;
        mapping(uint256 => AccountData) accounts; // key: uint168 account
        mapping(uint256 => BucketData) buckets; // key: underlying << 16 | expiryDay
        mapping(uint256 => uint256) strikes; // key: underlying << 26 | expiryDay << 10 | strikeIndex; WAD, 0: not listed
        mapping(address => uint256) tokenIndex; // collateral index + 1; cash: type(uint256).max; 0: unknown
        mapping(bytes32 => uint256) orders; // filled size; bit 255: cancelled
        mapping(address => bool) isSigner;
        address[] signerList;
        mapping(uint256 => uint256) openInterest; // key: instrument; Σ long sizes
        mapping(uint256 => SettlementData) settlements; // key: bucket key; in a wind-down also 1 << 32 | instrument
        mapping(uint256 => mapping(address => uint256)) operators; // account => operator => rights (IAccounts)
        mapping(uint256 => uint256) minNonce; // account => orders with a lower nonce are dead
        uint256[] deferred; // accounts whose initial margin is asked at the end of the batch
    }

    /// @dev One word: the price that settles an expiry, and the observations it is made of
    struct SettlementData {
        uint88 priceWad; // final when `settled`; before: price of the last observation
        uint16 observations;
        uint32 lastTime; // of the last observation
        uint24 weight; // seconds that the mean below stands for
        uint88 meanWad; // time-weighted mean of the observations so far
        bool settled;
    }

    /* ─────────────────────── scenario arrays ──────────────────────── */

    /// @dev keccak256("plumbline.scenario.arrays") with the low 160 bits cleared: array words live at
    ///      base + (generation << 40) + (instrument << 2) + word, so no keccak is paid per instrument.
    uint256 internal constant ARRAYS_SLOT = uint256(keccak256("plumbline.scenario.arrays")) & ~uint256(type(uint160).max);
}
