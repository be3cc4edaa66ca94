// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// Test target with a planted fault (the fee is rounded down): a ledger of several assets with a transfer fee and interest.
contract Bank {
    error Insufficient(uint256 asset, uint256 have, uint256 want);
    error NotOpen(uint256 asset);

    struct Asset {
        uint256 total; // what all balances and the fees add up to
        uint256 fees;
        uint256 rateE9; // per second
        uint256 updatedAt;
        uint256 owed; // interest
    }

    uint256 public immutable feeBps;
    mapping(uint256 => Asset) public assets;
    mapping(uint256 => mapping(address => uint256)) public balanceOf;

    constructor(uint256 feeBps_) {
        feeBps = feeBps_;
    }

    function open(uint256 asset, uint256 rateE9) external {
        assets[asset].rateE9 = rateE9;
        assets[asset].updatedAt = block.timestamp;
    }

    function put(uint256 asset, uint256 amount) external returns (uint256) {
        grow(asset);
        assets[asset].total += amount;
        return balanceOf[asset][msg.sender] += amount;
    }

    function take(uint256 asset, uint256 amount) external {
        grow(asset);
        _subtract(asset, amount);
        assets[asset].total -= amount;
    }

    /// The fee is rounded up, against the sender.
    function send(uint256 asset, address to, uint256 amount) external returns (uint256 fee) {
        grow(asset);
        _subtract(asset, amount);
        fee = _fee(amount);
        assets[asset].fees += fee;
        balanceOf[asset][to] += amount - fee;
    }

    /// Interest on the total, rounded down.
    function grow(uint256 asset) public {
        Asset storage a = assets[asset];
        if (a.updatedAt == 0) revert NotOpen(asset);
        a.owed += (a.total * a.rateE9 * (block.timestamp - a.updatedAt)) / 1e9;
        a.updatedAt = block.timestamp;
    }

    function _subtract(uint256 asset, uint256 amount) private {
        uint256 have = balanceOf[asset][msg.sender];
        if (have < amount) revert Insufficient(asset, have, amount);
        balanceOf[asset][msg.sender] = have - amount;
    }

    function _fee(uint256 amount) private view returns (uint256) {
        return (amount * feeBps) / 10_000;
    }
}
