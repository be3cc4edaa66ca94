// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title An ERC-20 with any decimals and any of the vices real tokens have
/// @notice For tests of custody. Anybody may mint. The vices are flags of the constructor and may be changed later.
contract MockToken {
    /// @notice `transfer` and `transferFrom` return nothing (USDT)
    uint256 public constant NO_RETURN = 1;
    /// @notice they return false and do nothing instead of reverting
    uint256 public constant RETURNS_FALSE = 2;
    /// @notice they revert (paused token)
    uint256 public constant REVERTS = 4;
    /// @notice they revert when the sender or recipient is on the deny list
    uint256 public constant DENY_LIST = 8;
    /// @notice the recipient is called back (`tokensReceived(address,address,uint256)`), ERC-777 style
    uint256 public constant CALLBACK = 16;
    /// @notice `decimals()` reverts
    uint256 public constant NO_DECIMALS = 32;

    string public constant name = "Mock token";
    string public constant symbol = "MOCK";

    uint256 private immutable _decimals;
    uint256 public flags;
    /// @notice share of every transfer that vanishes, bps (fee-on-transfer)
    uint256 public feeBps;
    uint256 public totalSupply;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    mapping(address => bool) public denied;

    event Transfer(address indexed from, address indexed to, uint256 amount);
    event Approval(address indexed owner, address indexed spender, uint256 amount);

    error TransferRefused();

    /// @param decimals_ a whole word, so that `decimals()` can answer nonsense
    constructor(uint256 decimals_, uint256 flags_, uint256 feeBps_) {
        _decimals = decimals_;
        flags = flags_;
        feeBps = feeBps_;
    }

    function setFlags(uint256 flags_) external {
        flags = flags_;
    }

    function setFeeBps(uint256 feeBps_) external {
        feeBps = feeBps_;
    }

    function setDenied(address who, bool denied_) external {
        denied[who] = denied_;
    }

    function mint(address to, uint256 amount) external {
        totalSupply += amount;
        balanceOf[to] += amount;
        emit Transfer(address(0), to, amount);
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        emit Approval(msg.sender, spender, amount);
        return true;
    }

    function decimals() external view returns (uint8) {
        if (flags & NO_DECIMALS != 0) revert TransferRefused();
        uint256 word = _decimals;
        assembly ("memory-safe") {
            mstore(0x00, word)
            return(0x00, 0x20)
        }
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _finish(_move(msg.sender, to, amount));
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        if (flags & RETURNS_FALSE == 0) {
            uint256 allowed = allowance[from][msg.sender];
            if (allowed != type(uint256).max) allowance[from][msg.sender] = allowed - amount;
        }
        return _finish(_move(from, to, amount));
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        if (flags & RETURNS_FALSE != 0) return false;
        if (flags & REVERTS != 0) revert TransferRefused();
        if (flags & DENY_LIST != 0 && (denied[from] || denied[to])) revert TransferRefused();
        uint256 fee = amount * feeBps / 1e4;
        balanceOf[from] -= amount;
        balanceOf[to] += amount - fee;
        totalSupply -= fee;
        emit Transfer(from, to, amount - fee);
        if (flags & CALLBACK != 0 && to.code.length != 0) {
            (bool ok,) = to.call(abi.encodeWithSignature("tokensReceived(address,address,uint256)", from, to, amount));
            if (!ok) revert TransferRefused();
        }
        return true;
    }

    /// @dev Ends the call without return data where the flag says so.
    function _finish(bool done) private view returns (bool) {
        if (flags & NO_RETURN != 0) {
            assembly ("memory-safe") {
                return(0, 0)
            }
        }
        return done;
    }
}
