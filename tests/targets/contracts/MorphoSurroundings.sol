// SPDX-License-Identifier: MIT
pragma solidity 0.8.19;

import {
    Id,
    IMorphoStaticTyping,
    MarketParams,
    Market
} from "@morpho-org/morpho-blue/src/interfaces/IMorpho.sol";
import {IIrm} from "@morpho-org/morpho-blue/src/interfaces/IIrm.sol";
import {MarketParamsLib} from "@morpho-org/morpho-blue/src/libraries/MarketParamsLib.sol";
import {ERC20Mock} from "@morpho-org/morpho-blue/src/mocks/ERC20Mock.sol";
import {OracleMock} from "@morpho-org/morpho-blue/src/mocks/OracleMock.sol";

/// @title OddToken
/// @notice A token with the habits that SafeTransferLib has to cope with.
contract OddToken is ERC20Mock {
    uint256 public constant NORMAL = 0;
    uint256 public constant RETURNS_NOTHING = 1; // moves, answers with no data
    uint256 public constant RETURNS_FALSE = 2; // moves nothing, answers false
    uint256 public constant REVERTS = 3;
    uint256 public constant RETURNS_TWO = 4; // moves, answers with a word that is no bool

    uint256 public mode;

    function setMode(uint256 newMode) external {
        mode = newMode;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        if (_refuses()) return false;
        super.transfer(to, amount);
        return _answer();
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        if (_refuses()) return false;
        super.transferFrom(from, to, amount);
        return _answer();
    }

    function _refuses() internal view returns (bool) {
        require(mode != REVERTS, "paused");
        return mode == RETURNS_FALSE;
    }

    function _answer() internal view returns (bool) {
        if (mode == RETURNS_NOTHING) {
            assembly {
                return(0, 0)
            }
        }
        if (mode == RETURNS_TWO) {
            assembly {
                mstore(0, 2)
                return(0, 32)
            }
        }
        return true;
    }
}

/// @title RateIrm
/// @notice An interest rate model with a rate set by hand, in WAD per second; it can be broken.
contract RateIrm is IIrm {
    uint256 public constant BROKEN = type(uint256).max;

    uint256 public rate;

    function setRate(uint256 newRate) external {
        rate = newRate;
    }

    function borrowRateView(MarketParams memory, Market memory) public view returns (uint256) {
        require(rate != BROKEN, "rate unknown");
        return rate;
    }

    function borrowRate(MarketParams memory marketParams, Market memory market) external view returns (uint256) {
        return borrowRateView(marketParams, market);
    }
}

/// @title Robot
/// @notice A contract that acts on Morpho: whatever it is asked and does not know itself goes on to Morpho. In a
/// callback it executes the data it is given as another call to Morpho; data shorter than a selector does nothing.
contract Robot {
    address internal immutable MORPHO;

    constructor(address morpho) {
        MORPHO = morpho;
    }

    fallback() external {
        _forward(msg.data, true);
    }

    function approve(ERC20Mock token, uint256 amount) external returns (bool) {
        return token.approve(MORPHO, amount);
    }

    function onMorphoSupply(uint256, bytes calldata data) external {
        _callback(data);
    }

    function onMorphoSupplyCollateral(uint256, bytes calldata data) external {
        _callback(data);
    }

    function onMorphoRepay(uint256, bytes calldata data) external {
        _callback(data);
    }

    function onMorphoLiquidate(uint256, bytes calldata data) external {
        _callback(data);
    }

    function onMorphoFlashLoan(uint256, bytes calldata data) external {
        _callback(data);
    }

    function _callback(bytes calldata data) internal {
        require(msg.sender == MORPHO);
        if (data.length >= 4) _forward(data, false);
    }

    /// @dev Ends the call with Morpho's answer where that is asked for, and with its revert in any case.
    function _forward(bytes memory data, bool answers) internal {
        (bool success, bytes memory returned) = MORPHO.call(data);
        if (success && !answers) return;
        assembly {
            let size := mload(returned)
            if success { return(add(returned, 32), size) }
            revert(add(returned, 32), size)
        }
    }
}

/// @title MorphoLens
/// @notice The complete state in one call, in the order of `observation.py`; the parts are set once after deployment.
contract MorphoLens {
    using MarketParamsLib for MarketParams;

    IMorphoStaticTyping internal immutable MORPHO;

    MarketParams[] internal markets;
    address[] internal holders;
    OddToken[] internal tokens; // those with code; the first is the odd one
    OracleMock[] internal oracles;
    RateIrm internal rateIrm;
    address[] internal irms;
    uint256[] internal lltvs;

    constructor(IMorphoStaticTyping morpho) {
        MORPHO = morpho;
    }

    function configure(
        MarketParams[] memory newMarkets,
        address[] memory newHolders,
        OddToken[] memory newTokens,
        OracleMock[] memory newOracles,
        RateIrm newRateIrm,
        address[] memory newIrms,
        uint256[] memory newLltvs
    ) external {
        for (uint256 i; i < newMarkets.length; ++i) {
            markets.push(newMarkets[i]);
        }
        (holders, tokens, oracles) = (newHolders, newTokens, newOracles);
        (rateIrm, irms, lltvs) = (newRateIrm, newIrms, newLltvs);
    }

    /// @return packed Words: the number of markets, holders, tokens, oracles, interest rate models and LLTVs, then all
    /// values.
    function snapshot() external view returns (bytes memory packed) {
        address[] memory who = holders;
        uint256[] memory words = new uint256[](
            8 + markets.length * (11 + 3 * who.length) + tokens.length * (2 * who.length + 1) + oracles.length
                + who.length * (who.length + 1) + irms.length + lltvs.length + 2
        );
        (words[0], words[1], words[2]) = (markets.length, who.length, tokens.length);
        (words[3], words[4], words[5]) = (oracles.length, irms.length, lltvs.length);
        words[6] = uint160(MORPHO.owner());
        words[7] = uint160(MORPHO.feeRecipient());
        uint256 at = 8;
        for (uint256 i; i < markets.length; ++i) {
            at = _market(words, at, markets[i].id(), who);
        }
        at = _tokens(words, at, who);
        for (uint256 i; i < oracles.length; ++i) {
            words[at++] = oracles[i].price();
        }
        for (uint256 i; i < who.length; ++i) {
            words[at++] = MORPHO.nonce(who[i]);
            for (uint256 j; j < who.length; ++j) {
                words[at++] = MORPHO.isAuthorized(who[i], who[j]) ? 1 : 0;
            }
        }
        for (uint256 i; i < irms.length; ++i) {
            words[at++] = MORPHO.isIrmEnabled(irms[i]) ? 1 : 0;
        }
        for (uint256 i; i < lltvs.length; ++i) {
            words[at++] = MORPHO.isLltvEnabled(lltvs[i]) ? 1 : 0;
        }
        words[at++] = rateIrm.rate();
        words[at++] = tokens[0].mode();
        assert(at == words.length);
        assembly ("memory-safe") {
            packed := words
            mstore(packed, mul(mload(words), 32))
        }
    }

    function _market(uint256[] memory words, uint256 at, Id id, address[] memory who) internal view returns (uint256) {
        {
            (uint128 a, uint128 b, uint128 c, uint128 d, uint128 e, uint128 f) = MORPHO.market(id);
            (words[at], words[at + 1], words[at + 2]) = (a, b, c);
            (words[at + 3], words[at + 4], words[at + 5]) = (d, e, f);
        }
        {
            (address a, address b, address c, address d, uint256 e) = MORPHO.idToMarketParams(id);
            (words[at + 6], words[at + 7], words[at + 8]) = (uint160(a), uint160(b), uint160(c));
            (words[at + 9], words[at + 10]) = (uint160(d), e);
        }
        at += 11;
        for (uint256 i; i < who.length; ++i) {
            (words[at], words[at + 1], words[at + 2]) = MORPHO.position(id, who[i]);
            at += 3;
        }
        return at;
    }

    function _tokens(uint256[] memory words, uint256 at, address[] memory who) internal view returns (uint256) {
        for (uint256 i; i < tokens.length; ++i) {
            words[at++] = tokens[i].totalSupply();
            for (uint256 j; j < who.length; ++j) {
                words[at++] = tokens[i].balanceOf(who[j]);
                words[at++] = tokens[i].allowance(who[j], address(MORPHO));
            }
        }
        return at;
    }
}
