// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Portfolio margin of an account
/// @dev Formulas and rounding: docs/margin.md. All amounts WAD of the settlement currency unless said.
interface IMargin {
    /// @param markEquity M, rounded down
    /// @param equity E = M − collateral haircuts, rounded down
    /// @param scan worst weighted scenario loss, rounded up
    /// @param floorCharge short-option minimum, rounded up
    /// @param basis basis charge, rounded up
    /// @param liq size-based charge on the account's own size
    /// @param liqIm the same on the open interest (initial margin only)
    /// @param mm maintenance margin, @param im initial margin
    /// @param healthFactor E / MM in WAD, floored; see DESIGN §1 for MM = 0
    /// @param hasObligations false: cash ≥ 0, no short option, no perp, no future; charges are then all zero
    /// @param bindingScenario index k of the worst scenario (lowest k on ties); type(uint256).max where scan = 0
    struct Margin {
        int256 markEquity;
        int256 equity;
        uint256 scan;
        uint256 floorCharge;
        uint256 basis;
        uint256 liq;
        uint256 liqIm;
        uint256 mm;
        uint256 im;
        int256 healthFactor;
        bool hasObligations;
        uint256 bindingScenario;
    }

    /// @notice Kind of a row of the explanation.
    enum RowKind {
        COLLATERAL,
        LINEAR,
        OPTION
    }

    /// @param kind what `id` is
    /// @param id collateral index or instrument id
    /// @param value what the row adds to M
    /// @param scanContribution Euler contribution to `scan` at the binding scenario; rows sum to `scan` exactly
    struct Row {
        RowKind kind;
        uint32 id;
        int256 value;
        int256 scanContribution;
    }

    /// @param distanceToIm E − IM, @param distanceToMm E − MM, @param distanceToTarget E − ⌈t·MM⌉
    struct Explanation {
        Margin margin;
        Row[] rows;
        int256 distanceToIm;
        int256 distanceToMm;
        int256 distanceToTarget;
    }

    error RiskParamsMissing();
    error RiskParamsInvalid(bytes32 field, uint256 index, uint256 value);
    error ExposureOverflow(uint168 account);
    error InsufficientMargin(uint168 account, int256 equity, uint256 required);
    /// @notice An account with obligations would hold underlyings of two groups: `u` is its lowest one, `v` its lowest one of
    ///         another group. Perps and futures of size 0 do not count. docs/margin.md §12
    error MixedGroups(uint168 account, uint8 u, uint8 v);
    error ArrayOutOfRange(uint32 instrument);
}
