// SPDX-License-Identifier: MIT
pragma solidity ^0.8.19;

import {ERC20} from "@yield-protocol/utils-v2/contracts/token/ERC20.sol";
import {IERC20} from "@yield-protocol/utils-v2/contracts/token/IERC20.sol";
import {AccumulatorMultiOracle} from
    "@yield-protocol/vault-v2/contracts/oracles/accumulator/AccumulatorMultiOracle.sol";
import {Cauldron} from "@yield-protocol/vault-v2/contracts/Cauldron.sol";
import {FYToken} from "@yield-protocol/vault-v2/contracts/FYToken.sol";
import {IJoin} from "@yield-protocol/vault-v2/contracts/interfaces/IJoin.sol";
import {IOracle} from "@yield-protocol/vault-v2/contracts/interfaces/IOracle.sol";
import {Ladle} from "@yield-protocol/vault-v2/contracts/Ladle.sol";
import {Witch} from "@yield-protocol/vault-v2/contracts/Witch.sol";
import {DataTypes} from "@yield-protocol/vault-v2/contracts/interfaces/DataTypes.sol";

/// An asset whose issuer can stop an account from receiving it.
contract Token is ERC20 {
    mapping(address => bool) public stopped;

    constructor(string memory name_) ERC20(name_, name_, 18) {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function stop(address who, bool on) external {
        stopped[who] = on;
    }

    function _transfer(address from, address to, uint256 amount) internal override returns (bool) {
        require(!stopped[to], "Token: stopped");
        return super._transfer(from, to, amount);
    }
}

/// Spot prices that anybody sets: value = amount * price / 1e18, rounded down.
contract SpotOracle is IOracle {
    mapping(bytes32 => mapping(bytes32 => uint256)) public price;

    function set(bytes32 base, bytes32 quote, uint256 value) external {
        price[base][quote] = value;
    }

    function peek(bytes32 base, bytes32 quote, uint256 amount) public view returns (uint256, uint256) {
        return ((amount * price[base][quote]) / 1e18, block.timestamp);
    }

    function get(bytes32 base, bytes32 quote, uint256 amount) external view returns (uint256, uint256) {
        return peek(base, quote, amount);
    }
}

/// Every word of the protocol's state in one call; the order is that of risk/targets/yield_v2/look.py.
contract Lens {
    Cauldron internal immutable CAULDRON;
    Ladle internal immutable LADLE;
    Witch internal immutable WITCH;
    AccumulatorMultiOracle internal immutable RATES;
    SpotOracle internal immutable SPOT;
    bytes6[] internal assets;
    bytes6[] internal series;
    address[] internal people;
    address[] internal others;

    constructor(
        address[5] memory core,
        bytes6[] memory assets_,
        bytes6[] memory series_,
        address[] memory people_,
        address[] memory others_
    ) {
        CAULDRON = Cauldron(core[0]);
        LADLE = Ladle(payable(core[1]));
        WITCH = Witch(core[2]);
        RATES = AccumulatorMultiOracle(core[3]);
        SPOT = SpotOracle(core[4]);
        (assets, series, people, others) = (assets_, series_, people_, others_);
    }

    struct Page {
        uint256[] words;
        uint256 length;
    }

    function read(bytes12[] calldata vaults) external view returns (uint256[] memory words) {
        Page memory page = Page(new uint256[](2048), 0);
        put(page, LADLE.borrowingFee());
        put(page, WITCH.auctioneerReward());
        for (uint256 i; i < people.length; i++) put(page, WITCH.protected(people[i]) ? 1 : 0);
        for (uint256 i; i < assets.length; i++) readAsset(page, assets[i]);
        for (uint256 i; i < series.length; i++) readSeries(page, series[i]);
        for (uint256 i; i < assets.length; i++) {
            for (uint256 j; j < assets.length; j++) if (i != j || i == 0) readPair(page, assets[i], assets[j]);
        }
        for (uint256 i; i < vaults.length; i++) readVault(page, vaults[i]);
        words = page.words;
        uint256 length = page.length;
        assembly {
            mstore(words, length)
        }
    }

    function put(Page memory page, uint256 word) internal pure {
        page.words[page.length++] = word;
    }

    function readAsset(Page memory page, bytes6 id) internal view {
        Token token = Token(CAULDRON.assets(id));
        address join = address(LADLE.joins(id));
        put(page, token.totalSupply());
        put(page, join == address(0) ? 0 : IJoin(join).storedBalance());
        readBalances(page, token);
        for (uint256 i; i < people.length; i++) {
            put(page, token.stopped(people[i]) ? 1 : 0);
            put(page, token.allowance(people[i], address(LADLE)));
            put(page, token.allowance(people[i], join));
        }
        readRate(page, id, "RATE");
        readRate(page, id, "CHI");
    }

    function readBalances(Page memory page, ERC20 token) internal view {
        for (uint256 i; i < people.length; i++) put(page, token.balanceOf(people[i]));
        for (uint256 i; i < others.length; i++) put(page, token.balanceOf(others[i]));
    }

    function readRate(Page memory page, bytes6 id, bytes6 kind) internal view {
        (uint256 perSecond, uint256 accumulated, uint256 updated) = RATES.sources(id, kind);
        put(page, perSecond);
        put(page, accumulated);
        put(page, updated);
    }

    function readSeries(Page memory page, bytes6 id) internal view {
        (FYToken token,, uint32 maturity) = seriesOf(id);
        put(page, maturity);
        put(page, CAULDRON.ratesAtMaturity(id));
        put(page, token.chiAtMaturity());
        put(page, token.totalSupply());
        readBalances(page, token);
        for (uint256 i; i < people.length; i++) {
            put(page, token.allowance(people[i], address(LADLE)));
            put(page, token.allowance(people[i], address(WITCH)));
            for (uint256 j; j < people.length; j++) put(page, token.allowance(people[i], people[j]));
        }
    }

    function seriesOf(bytes6 id) internal view returns (FYToken token, bytes6 base, uint32 maturity) {
        (bool ok, bytes memory data) =
            address(CAULDRON).staticcall(abi.encodeCall(CAULDRON.series, (id)));
        require(ok);
        return abi.decode(data, (FYToken, bytes6, uint32));
    }

    function readPair(Page memory page, bytes6 base, bytes6 ilk) internal view {
        (uint96 max, uint24 min, uint8 dec, uint128 sum) = CAULDRON.debt(base, ilk);
        put(page, max);
        put(page, min);
        put(page, dec);
        put(page, sum);
        (, uint32 ratio) = CAULDRON.spotOracles(base, ilk);
        put(page, ratio);
        put(page, SPOT.price(ilk, base));
        (uint32 duration, uint64 vaultProportion, uint64 collateralProportion) = WITCH.lines(ilk, base);
        put(page, duration);
        put(page, vaultProportion);
        put(page, collateralProportion);
        (uint128 limit, uint128 auctioned) = WITCH.limits(ilk, base);
        put(page, limit);
        put(page, auctioned);
    }

    function readVault(Page memory page, bytes12 id) internal view {
        (address owner, bytes6 seriesId, bytes6 ilkId) = CAULDRON.vaults(id);
        put(page, uint160(owner));
        put(page, uint48(seriesId));
        put(page, uint48(ilkId));
        (uint128 art, uint128 ink) = CAULDRON.balances(id);
        put(page, art);
        put(page, ink);
        readAuction(page, id);
    }

    function readAuction(Page memory page, bytes12 id) internal view {
        (bool ok, bytes memory data) = address(WITCH).staticcall(abi.encodeCall(WITCH.auctions, (id)));
        require(ok);
        DataTypes.Auction memory a = abi.decode(data, (DataTypes.Auction));
        put(page, uint160(a.owner));
        put(page, a.start);
        put(page, uint48(a.baseId));
        put(page, a.ink);
        put(page, a.art);
        put(page, uint160(a.auctioneer));
        put(page, uint48(a.ilkId));
        put(page, uint48(a.seriesId));
    }
}
