// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Portfolio} from "./Portfolio.sol";

/// @title The scan: worst weighted loss over the scenarios, by packed multiply-add
/// @notice Twin: risk/exact/margin/scenario_scan.py. PnL_k = Σ s·ℓ_k − deductions, loss_k = ⌈w_k·(−PnL_k)/1e4⌉,
///         Scan = max(0, max_k loss_k). Rounds up.
/// @dev Two lanes a multiplication. Lanes j and j + 8 of a word are 104 bits apart; masked out together and multiplied by
///      the signed s they give 2^(13·j)·(s·ℓ_j + 2^104·s·ℓ_{j+8}), summed in two's complement. Σ|s| < 2^90 and stored lanes
///      < 2^13, so each of the two sums stays within 104 signed bits and the whole below 2^(13·3 + 208) for j ≤ 3; for
///      j ≥ 4 the word is shifted by 52 bits first. Stored lanes are biased by 4096; the bias is taken out once, as 4096·Σs.
library ScenarioScan {
    /// @dev what follows from the range of one accumulator
    uint256 internal constant MAX_EXPOSURE = 1 << 90;

    /// @dev lanes 0 and 8 of a word
    uint256 private constant LANES_0 = 0x1fff00000000000000000000001fff;

    /// @notice Worst loss and the lowest scenario that reaches it; (0, type(uint256).max) where nothing loses
    /// @param w rows of the portfolio with Σ|s| < 2^90
    function scan(Portfolio.Work memory w) internal pure returns (uint256 worst, uint256 binding) {
        binding = type(uint256).max;
        uint256 row;
        uint256 end;
        uint256 columnBytes;
        uint256 scenarios;
        uint256 sums;
        assembly ("memory-safe") {
            row := mload(add(w, 0xc0))
            end := add(row, shl(5, mload(add(w, 0xe0))))
            columnBytes := mload(add(w, 0x100))
            scenarios := mload(add(w, 0x20))
            mstore(end, 0) // rows are taken in pairs: the one after the last counts nothing
            sums := mload(0x40) // 256 bytes of scratch memory, not kept
        }
        uint256 column;
        unchecked {
            for (uint256 first = 0; first < scenarios; first += 16) {
                column += columnBytes;
                // most accounts have one row: collateral, perps and futures of one underlying
                if (end == row + 32) _scale(sums, column, row);
                else _accumulate(sums, end, column, row);
                (worst, binding) = _worst(w, first, sums, worst, binding);
            }
        }
    }

    /// @dev As `_accumulate`, of one row: s times each pair of lanes
    function _scale(uint256 sums, uint256 column, uint256 row) private pure {
        assembly ("memory-safe") {
            let m := LANES_0
            let x := mload(add(row, column))
            let s := mload(row)
            mstore(sums, mul(s, and(x, m)))
            mstore(add(sums, 0x20), mul(s, and(shr(13, x), m)))
            mstore(add(sums, 0x40), mul(s, and(shr(26, x), m)))
            mstore(add(sums, 0x60), mul(s, and(shr(39, x), m)))
            x := shr(52, x)
            mstore(add(sums, 0x80), mul(s, and(x, m)))
            mstore(add(sums, 0xa0), mul(s, and(shr(13, x), m)))
            mstore(add(sums, 0xc0), mul(s, and(shr(26, x), m)))
            mstore(add(sums, 0xe0), mul(s, and(shr(39, x), m)))
        }
    }

    /// @dev The hot loop: eight accumulators on the stack, two rows at a time, one pass over the rows a column of lanes.
    ///      Leaves the accumulator of lanes (j, j + 8) at sums + 32·j, without the factor 2^(13·j). The masks are variables,
    ///      three on the stack and one in scratch memory: the compiler would compute such constants anew at each use.
    function _accumulate(uint256 sums, uint256 end, uint256 column, uint256 row) private pure {
        assembly ("memory-safe") {
            let m0 := LANES_0
            let m1 := shl(13, m0)
            let m2 := shl(26, m0)
            mstore(0x00, shl(39, m0))
            let a0 := 0
            let a1 := 0
            let a2 := 0
            let a3 := 0
            let a4 := 0
            let a5 := 0
            let a6 := 0
            let a7 := 0
            for {} lt(row, end) { row := add(row, 0x20) } {
                let x := mload(add(row, column))
                let s := mload(row)
                row := add(row, 0x20)
                let y := mload(add(row, column))
                let t := mload(row)
                a0 := add(a0, add(mul(s, and(x, m0)), mul(t, and(y, m0))))
                a1 := add(a1, add(mul(s, and(x, m1)), mul(t, and(y, m1))))
                a2 := add(a2, add(mul(s, and(x, m2)), mul(t, and(y, m2))))
                a3 := add(a3, add(mul(s, and(x, mload(0x00))), mul(t, and(y, mload(0x00)))))
                x := shr(52, x)
                y := shr(52, y)
                a4 := add(a4, add(mul(s, and(x, m0)), mul(t, and(y, m0))))
                a5 := add(a5, add(mul(s, and(x, m1)), mul(t, and(y, m1))))
                a6 := add(a6, add(mul(s, and(x, m2)), mul(t, and(y, m2))))
                a7 := add(a7, add(mul(s, and(x, mload(0x00))), mul(t, and(y, mload(0x00)))))
            }
            row := sums
            mstore(row, a0)
            mstore(add(row, 0x20), sar(13, a1))
            mstore(add(row, 0x40), sar(26, a2))
            mstore(add(row, 0x60), sar(39, a3))
            mstore(add(row, 0x80), a4)
            mstore(add(row, 0xa0), sar(13, a5))
            mstore(add(row, 0xc0), sar(26, a6))
            mstore(add(row, 0xe0), sar(39, a7))
        }
    }

    /// @dev Worst of scenarios first … first + 15 and of what was found before; weights beyond K are 0 and lose nothing.
    ///      The low sum of a pair is the sign extension of its low 104 bits, the high one what is left above it; + 2^103
    ///      makes the low part positive, so that the shift drops it exactly. As weights are ≤ 1, only an unweighted loss above
    ///      the worst so far is looked at closely; a later scenario wins only where its rounded loss is larger, and
    ///      w·(−PnL) > worst·1e4 says just that.
    function _worst(Portfolio.Work memory w, uint256 first, uint256 sums, uint256 worst, uint256 binding)
        private
        pure
        returns (uint256, uint256)
    {
        assembly ("memory-safe") {
            function raise(loss, k, weights, worst_, binding_) -> worstNext, bindingNext {
                worstNext := worst_
                bindingNext := binding_
                loss := mul(loss, and(shr(shl(4, and(k, 15)), weights), 0xffff))
                if sgt(loss, mul(worst_, 10000)) {
                    worstNext := div(add(loss, 9999), 10000)
                    bindingNext := k
                }
            }
            // −PnL_k = level − sum_k
            let level := add(shl(12, mload(add(w, 0x140))), mload(add(w, 0x160)))
            let weights := mload(add(mload(w), add(0x20, shl(1, first))))
            first := sub(first, shr(5, sums)) // scenario of a low sum = first + its pointer/32
            let end := add(sums, 0x100)
            for {} lt(sums, end) { sums := add(sums, 0x80) } {
                let loss := sub(level, signextend(12, mload(sums)))
                if sgt(loss, worst) { worst, binding := raise(loss, add(first, shr(5, sums)), weights, worst, binding) }
                loss := sub(level, signextend(12, mload(add(sums, 0x20))))
                if sgt(loss, worst) {
                    worst, binding := raise(loss, add(first, shr(5, add(sums, 0x20))), weights, worst, binding)
                }
                loss := sub(level, signextend(12, mload(add(sums, 0x40))))
                if sgt(loss, worst) {
                    worst, binding := raise(loss, add(first, shr(5, add(sums, 0x40))), weights, worst, binding)
                }
                loss := sub(level, signextend(12, mload(add(sums, 0x60))))
                if sgt(loss, worst) {
                    worst, binding := raise(loss, add(first, shr(5, add(sums, 0x60))), weights, worst, binding)
                }
            }
            sums := sub(sums, 0x100)
            first := add(first, 8) // lanes 8 … 15
            let half := shl(103, 1)
            for {} lt(sums, end) { sums := add(sums, 0x80) } {
                let loss := sub(level, sar(104, add(mload(sums), half)))
                if sgt(loss, worst) { worst, binding := raise(loss, add(first, shr(5, sums)), weights, worst, binding) }
                loss := sub(level, sar(104, add(mload(add(sums, 0x20)), half)))
                if sgt(loss, worst) {
                    worst, binding := raise(loss, add(first, shr(5, add(sums, 0x20))), weights, worst, binding)
                }
                loss := sub(level, sar(104, add(mload(add(sums, 0x40)), half)))
                if sgt(loss, worst) {
                    worst, binding := raise(loss, add(first, shr(5, add(sums, 0x40))), weights, worst, binding)
                }
                loss := sub(level, sar(104, add(mload(add(sums, 0x60)), half)))
                if sgt(loss, worst) {
                    worst, binding := raise(loss, add(first, shr(5, add(sums, 0x60))), weights, worst, binding)
                }
            }
        }
        return (worst, binding);
    }
}
