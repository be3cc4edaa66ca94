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
        uint96 reserved;
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
        uint104 openInterestWad; // Σ over instruments of Σ long sizes
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
        uint32 reserved0;
        // slot 1
        address rateFeed; // 0: the rate is 1
        uint96 rateWad; // snapshot of the rate, WAD underlying units per collateral unit
        // slot 2
        uint128 totalHeld; // native units
        uint128 reserved1;
    }

    /* ───────────────────────────── state ──────────────────────────── */

    struct State {
        // slot 0, read by every call
        address riskParams; // SSTORE2 pointer of the risk parameter blob
        uint8 lock; // 1 open, 2 entered
        uint8 underlyingCount;
        uint8 collateralCount;
        uint8 signerThreshold;
        uint64 reserved0;
        // slot 1
        uint128 cashHeldWad; // cash tokens the ledger accounts for
        uint128 insuranceWad;
        // slot 2
        address cashToken;
        uint8 cashDecimals;
        uint88 reserved1;
        UnderlyingData[16] underlyings;
        CollateralData[16] collaterals;
        mapping(uint256 => AccountData) accounts; // key: uint168 account
        mapping(uint256 => BucketData) buckets; // key: underlying << 16 | expiryDay
        mapping(uint256 => uint256) strikes; // key: underlying << 26 | expiryDay << 10 | strikeIndex; WAD, 0: not listed
        mapping(address => uint256) tokenIndex; // collateral index + 1; cash: type(uint256).max; 0: unknown
        mapping(bytes32 => uint256) orders; // filled size; bit 255: cancelled
        mapping(address => bool) isSigner;
        address[] signerList;
    }

    /* ─────────────────────── scenario arrays ──────────────────────── */

    /// @dev keccak256("plumbline.scenario.arrays") with the low 160 bits cleared: array words live at
    ///      base + (generation << 40) + (instrument << 2) + word, so no keccak is paid per instrument.
    uint256 internal constant ARRAYS_SLOT = uint256(keccak256("plumbline.scenario.arrays")) & ~uint256(type(uint160).max);
}
