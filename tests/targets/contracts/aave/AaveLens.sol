// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// The part of the Pool of Aave v3.6 that the lens asks; selectors as in its interface IPool.
interface ILensPool {
    struct Reserve {
        uint256 configuration;
        uint128 liquidityIndex;
        uint128 liquidityRate;
        uint128 borrowIndex;
        uint128 borrowRate;
        uint128 stableRate;
        uint40 updated;
        uint16 id;
        address aToken;
        address stableDebtToken;
        address debtToken;
        address strategy;
        uint128 accruedToTreasury;
        uint128 unbacked;
        uint128 isolationDebt;
    }

    function getReserveData(address asset) external view returns (Reserve memory);
    function getReserveDeficit(address asset) external view returns (uint256);
    function getVirtualUnderlyingBalance(address asset) external view returns (uint128);
    function getLiquidationGracePeriod(address asset) external view returns (uint40);
    function getReserveNormalizedIncome(address asset) external view returns (uint256);
    function getReserveNormalizedVariableDebt(address asset) external view returns (uint256);
    function getUserConfiguration(address user) external view returns (uint256);
    function getUserAccountData(
        address user
    ) external view returns (uint256, uint256, uint256, uint256, uint256, uint256);
}

interface ILensConfigurator {
    function getPendingLtv(address asset) external view returns (uint256);
}

interface ILensOracle {
    function getAssetPrice(address asset) external view returns (uint256);
}

interface ILensStrategy {
    struct Rates {
        uint16 optimal;
        uint32 base;
        uint32 slope1;
        uint32 slope2;
    }

    function getInterestRateDataBps(address asset) external view returns (Rates memory);
}

interface ILensToken {
    function balanceOf(address user) external view returns (uint256);
    function allowance(address owner, address spender) external view returns (uint256);
    function totalSupply() external view returns (uint256);
    function scaledTotalSupply() external view returns (uint256);
    function scaledBalanceOf(address user) external view returns (uint256);
    function getPreviousIndex(address user) external view returns (uint256);
    function borrowAllowance(address from, address to) external view returns (uint256);
}

/// All that a comparison needs of an Aave market, read through its own views in one call. It holds
/// no state and computes nothing: a word that a view refuses becomes `REFUSED`.
contract AaveLens {
    uint256 public constant REFUSED = uint256(keccak256("refused"));

    ILensPool private immutable POOL;
    ILensConfigurator private immutable CONFIGURATOR;
    ILensOracle private immutable ORACLE;

    struct Words {
        uint256[] list;
        uint256 count;
    }

    constructor(ILensPool pool, ILensConfigurator configurator, ILensOracle oracle) {
        POOL = pool;
        CONFIGURATOR = configurator;
        ORACLE = oracle;
    }

    /// Per asset 25 words, per user 7, per user and asset 6, per asset and ordered pair of different
    /// users among the first `delegates` one: in this order.
    function read(
        address[] calldata assets,
        address[] calldata users,
        uint256 delegates
    ) external view returns (uint256[] memory) {
        Words memory out;
        out.list = new uint256[](
            assets.length * 25 + users.length * (7 + 6 * assets.length) +
                assets.length * delegates * delegates
        );
        ILensToken[] memory aTokens = new ILensToken[](assets.length);
        ILensToken[] memory debtTokens = new ILensToken[](assets.length);
        for (uint256 i; i < assets.length; i++) {
            (aTokens[i], debtTokens[i]) = _reserve(out, assets[i]);
        }
        for (uint256 u; u < users.length; u++) {
            _user(out, users[u]);
            for (uint256 i; i < assets.length; i++) {
                _position(out, assets[i], aTokens[i], debtTokens[i], users[u]);
            }
        }
        for (uint256 i; i < assets.length; i++) _delegations(out, debtTokens[i], users, delegates);
        uint256[] memory list = out.list;
        uint256 count = out.count;
        assembly ("memory-safe") {
            mstore(list, count)
        }
        return list;
    }

    function _put(Words memory out, uint256 word) private pure {
        out.list[out.count++] = word;
    }

    function _reserve(
        Words memory out,
        address asset
    ) private view returns (ILensToken aToken, ILensToken debtToken) {
        ILensPool.Reserve memory r = POOL.getReserveData(asset);
        (aToken, debtToken) = (ILensToken(r.aToken), ILensToken(r.debtToken));
        _put(out, r.liquidityIndex);
        _put(out, r.borrowIndex);
        _put(out, r.updated);
        _put(out, r.accruedToTreasury);
        _put(out, r.liquidityRate);
        _put(out, r.borrowRate);
        _put(out, POOL.getReserveDeficit(asset));
        _put(out, POOL.getVirtualUnderlyingBalance(asset));
        _put(out, POOL.getReserveNormalizedIncome(asset));
        _put(out, POOL.getReserveNormalizedVariableDebt(asset));
        _put(out, aToken.scaledTotalSupply());
        _put(out, debtToken.scaledTotalSupply());
        _put(out, aToken.totalSupply());
        _put(out, debtToken.totalSupply());
        _put(out, ILensToken(asset).balanceOf(r.aToken));
        _put(out, r.configuration);
        _put(out, CONFIGURATOR.getPendingLtv(asset));
        _put(out, POOL.getLiquidationGracePeriod(asset));
        _put(out, r.id);
        _put(out, r.isolationDebt);
        ILensStrategy.Rates memory rates = ILensStrategy(r.strategy).getInterestRateDataBps(asset);
        _put(out, rates.optimal);
        _put(out, rates.base);
        _put(out, rates.slope1);
        _put(out, rates.slope2);
        try ORACLE.getAssetPrice(asset) returns (uint256 price) {
            _put(out, price);
        } catch {
            _put(out, REFUSED);
        }
    }

    function _user(Words memory out, address user) private view {
        _put(out, POOL.getUserConfiguration(user));
        try POOL.getUserAccountData(user) returns (
            uint256 collateral,
            uint256 debt,
            uint256 available,
            uint256 threshold,
            uint256 ltv,
            uint256 health
        ) {
            _put(out, collateral);
            _put(out, debt);
            _put(out, available);
            _put(out, threshold);
            _put(out, ltv);
            _put(out, health);
        } catch {
            for (uint256 i; i < 6; i++) _put(out, REFUSED);
        }
    }

    function _position(
        Words memory out,
        address asset,
        ILensToken aToken,
        ILensToken debtToken,
        address user
    ) private view {
        _put(out, aToken.scaledBalanceOf(user));
        _put(out, debtToken.scaledBalanceOf(user));
        _put(out, aToken.getPreviousIndex(user));
        _put(out, debtToken.getPreviousIndex(user));
        _put(out, ILensToken(asset).balanceOf(user));
        _put(out, ILensToken(asset).allowance(user, address(POOL)));
    }

    function _delegations(
        Words memory out,
        ILensToken debtToken,
        address[] calldata users,
        uint256 delegates
    ) private view {
        for (uint256 i; i < delegates; i++) {
            for (uint256 j; j < delegates; j++) {
                if (i != j) _put(out, debtToken.borrowAllowance(users[i], users[j]));
            }
        }
    }
}
