// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// @title A pool of shares with interest and loans against them. DELIBERATELY FAULTY: for docs/auditing.md
/// @notice Assets are counted, not moved. Shares round against the user, as in ERC-4626.
contract SharePool {
    error InsufficientShares(uint256 owned, uint256 asked);
    error Unhealthy(uint256 debt, uint256 limit);

    uint256 public constant WAD = 1e18;
    uint256 public constant RATE_PER_SECOND = 3e9; // about 10 % a year
    uint256 public constant LOAN_TO_VALUE = 0.8e18;

    uint256 public totalAssets;
    uint256 public totalShares;
    uint256 public updatedAt = block.timestamp;
    mapping(address => uint256) public sharesOf;
    mapping(address => uint256) public debtOf;

    function deposit(uint256 assets) external returns (uint256 shares) {
        accrue();
        shares = totalShares == 0 ? assets : (assets * totalShares) / totalAssets;
        totalAssets += assets;
        totalShares += shares;
        sharesOf[msg.sender] += shares;
    }

    function redeem(uint256 shares) external returns (uint256 assets) {
        accrue();
        uint256 owned = sharesOf[msg.sender];
        if (owned < shares) revert InsufficientShares(owned, shares);
        assets = toAssets(shares);
        sharesOf[msg.sender] = owned - shares;
        totalShares -= shares;
        totalAssets -= assets;
        check(msg.sender);
    }

    function borrow(uint256 assets) external {
        accrue();
        debtOf[msg.sender] += assets;
        check(msg.sender);
    }

    function repay(uint256 assets) external {
        accrue();
        uint256 debt = debtOf[msg.sender];
        debtOf[msg.sender] = assets > debt ? 0 : debt - assets;
    }

    function accrue() public {
        uint256 elapsed = block.timestamp - updatedAt;
        totalAssets += (totalAssets * RATE_PER_SECOND * elapsed) / WAD;
        updatedAt = block.timestamp;
    }

    /// @dev The fault: rounds up, so a redemption takes one wei from those who stay. It should round down.
    function toAssets(uint256 shares) public view returns (uint256) {
        if (totalShares == 0) return 0;
        return (shares * totalAssets + totalShares - 1) / totalShares;
    }

    function check(address user) internal view {
        uint256 debt = debtOf[user];
        uint256 limit = (toAssets(sharesOf[user]) * LOAN_TO_VALUE) / WAD;
        if (debt > limit) revert Unhealthy(debt, limit);
    }
}
