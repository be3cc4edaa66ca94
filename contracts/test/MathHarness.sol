// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Black76} from "../math/Black76.sol";
import {ExpLn} from "../math/ExpLn.sol";
import {NormalCdf} from "../math/NormalCdf.sol";
import {Svi, SviParams} from "../math/Svi.sol";
import {WadMath} from "../math/WadMath.sol";

/// @title Every function of contracts/math, callable, many cases a call, and their gas
/// @notice Test only. A case is the calldata of one function below; a case that reverts does not end the batch.
contract MathHarness {
    /// @notice ok[i] and the return or revert data of every case
    function many(bytes[] calldata cases)
        external
        view
        returns (bool[] memory ok, bytes[] memory data)
    {
        ok = new bool[](cases.length);
        data = new bytes[](cases.length);
        for (uint256 i; i < cases.length; ++i) {
            (ok[i], data[i]) = address(this).staticcall(cases[i]);
        }
    }

    /// @notice Gas of n kernel evaluations in a loop over varying stdDev, and of the same loop without the kernel
    function gasCallFromLog(
        int256 log_,
        uint256 forward,
        uint256 strike,
        uint256 stdDev_,
        uint256 n
    ) external view returns (uint256 gasUsed, uint256 gasEmpty, uint256 sum) {
        unchecked {
            uint256 start = gasleft();
            for (uint256 i; i < n; ++i) {
                sum ^= Black76.callFromLog(log_, forward, strike, stdDev_ + i);
            }
            gasUsed = start - gasleft();
            start = gasleft();
            for (uint256 i; i < n; ++i) {
                sum ^= stdDev_ + i;
            }
            gasEmpty = start - gasleft();
        }
    }

    /// @notice Gas of one call of each function used once per instrument: price, priceAndDelta, cdf, ln, exp, stdDev
    function gasOnce(uint256 forward, uint256 strike, uint256 stdDev_, SviParams memory p)
        external
        view
        returns (uint256[7] memory used)
    {
        int256 k = -Black76.logMoneyness(forward, strike);
        uint256 sink;
        uint256 start = gasleft();
        (sink,) = Black76.price(forward, strike, stdDev_);
        used[0] = start - gasleft();
        start = gasleft();
        (sink,,) = Black76.priceAndDelta(forward, strike, stdDev_);
        used[1] = start - gasleft();
        start = gasleft();
        sink = NormalCdf.cdf(k);
        used[2] = start - gasleft();
        start = gasleft();
        k = ExpLn.lnWad(int256(forward));
        used[3] = start - gasleft();
        start = gasleft();
        k = ExpLn.expWad(k >> 6);
        used[4] = start - gasleft();
        start = gasleft();
        sink = Svi.stdDev(p, 1e17);
        used[5] = start - gasleft();
        start = gasleft();
        Svi.validate(p);
        used[6] = start - gasleft();
    }

    // ─────────────────────────── WadMath ───────────────────────────

    function mulDivDown(uint256 x, uint256 y, uint256 d) external pure returns (uint256) {
        return WadMath.mulDivDown(x, y, d);
    }

    function mulDivUp(uint256 x, uint256 y, uint256 d) external pure returns (uint256) {
        return WadMath.mulDivUp(x, y, d);
    }

    function mulWadDown(uint256 x, uint256 y) external pure returns (uint256) {
        return WadMath.mulWadDown(x, y);
    }

    function mulWadUp(uint256 x, uint256 y) external pure returns (uint256) {
        return WadMath.mulWadUp(x, y);
    }

    function divWadDown(uint256 x, uint256 y) external pure returns (uint256) {
        return WadMath.divWadDown(x, y);
    }

    function divWadUp(uint256 x, uint256 y) external pure returns (uint256) {
        return WadMath.divWadUp(x, y);
    }

    function mulDivFloor(int256 x, uint256 y, uint256 d) external pure returns (int256) {
        return WadMath.mulDivFloor(x, y, d);
    }

    function mulDivCeil(int256 x, uint256 y, uint256 d) external pure returns (int256) {
        return WadMath.mulDivCeil(x, y, d);
    }

    function abs(int256 x) external pure returns (uint256) {
        return WadMath.abs(x);
    }

    function clampUnsigned(uint256 x, uint256 lo, uint256 hi) external pure returns (uint256) {
        return WadMath.clamp(x, lo, hi);
    }

    function clampSigned(int256 x, int256 lo, int256 hi) external pure returns (int256) {
        return WadMath.clamp(x, lo, hi);
    }

    function sqrt(uint256 x) external pure returns (uint256) {
        return WadMath.sqrt(x);
    }

    // ──────────────────────────── ExpLn ────────────────────────────

    function expWad(int256 x) external pure returns (int256) {
        return ExpLn.expWad(x);
    }

    function lnWad(int256 x) external pure returns (int256) {
        return ExpLn.lnWad(x);
    }

    function sqrtWad(uint256 x) external pure returns (uint256) {
        return ExpLn.sqrtWad(x);
    }

    // ─────────────────────── NormalCdf, Black76 ────────────────────

    function cdf(int256 x) external pure returns (uint256) {
        return NormalCdf.cdf(x);
    }

    function logMoneyness(uint256 forward, uint256 strike) external pure returns (int256) {
        return Black76.logMoneyness(forward, strike);
    }

    function price(uint256 forward, uint256 strike, uint256 stdDev_)
        external
        pure
        returns (uint256, uint256)
    {
        return Black76.price(forward, strike, stdDev_);
    }

    function priceAndDelta(uint256 forward, uint256 strike, uint256 stdDev_)
        external
        pure
        returns (uint256, uint256, uint256)
    {
        return Black76.priceAndDelta(forward, strike, stdDev_);
    }

    function deltaFromLog(int256 logMoneyness_, uint256 stdDev_) external pure returns (uint256) {
        return Black76.deltaFromLog(logMoneyness_, stdDev_);
    }

    function callFromLog(int256 logMoneyness_, uint256 forward, uint256 strike, uint256 stdDev_)
        external
        pure
        returns (uint256)
    {
        return Black76.callFromLog(logMoneyness_, forward, strike, stdDev_);
    }

    // ───────────────────────────── Svi ─────────────────────────────

    function validate(SviParams memory p) external pure {
        Svi.validate(p);
    }

    function totalVariance(SviParams memory p, int256 k) external pure returns (uint256) {
        return Svi.totalVariance(p, k);
    }

    function stdDev(SviParams memory p, int256 k) external pure returns (uint256) {
        return Svi.stdDev(p, k);
    }
}
