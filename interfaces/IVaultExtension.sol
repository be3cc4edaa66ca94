// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title The second half of the vault's functions
/// @notice Reached at the vault's own address through its fallback; the code is the library VaultExtension. `account` = owner
///         address << 8 | sub-account. Call it through an instance of this interface at the vault's address.
interface IVaultExtension {
    /* ───────────────────────────── accounts ──────────────────────────── */

    /// @notice Gives `operator` the `rights` (bits of IAccounts) over `account`, 0 takes them away. Only the owner of the account.
    function setOperator(uint168 account, address operator, uint256 rights) external;

    /// @notice Kills every order of `account` with a nonce below `minNonce`. Owner, or operator with MANAGE.
    function raiseMinNonce(uint168 account, uint64 minNonce) external;

    /// @notice Moves `amount` native units of cash or of a collateral between two sub-accounts of one owner;
    ///         `type(uint256).max` means all there is. Owner, or operator of `from` with WITHDRAW.
    function transfer(uint168 from, uint168 to, address token, uint256 amount) external returns (uint256 moved);

    /// @notice Runs `calls` (calldata of this vault's functions) in order, as the caller; all initial margin checks that they owe
    ///         run once at the end of the outermost batch. A call that reverts takes the whole batch with it.
    function batch(bytes[] calldata calls) external returns (bytes[] memory results);

    /* ──────────────────────────── cash market ────────────────────────── */

    /// @notice Brings the interest indices to now. Permissionless.
    function accrue() external;

    /* ──────────────────────────── settlement ─────────────────────────── */

    /// @notice Records one observation of the index for the expiry; permissionless, inside the window before it, and after it
    ///         until there are enough. The call that completes an expiry after its time fixes its settlement price.
    function observe(uint8 underlying, uint16 expiryDay) external;

    /// @notice Settles every position of `accounts` whose expiry has a settlement price (in a wind-down after its notice: every
    ///         position). Anyone, anybody's; accounts with nothing to settle are skipped.
    function settle(uint168[] calldata accounts) external;

    /* ──────────────────────────── liquidation ────────────────────────── */

    /// @notice Starts the grace of an unhealthy account. Permissionless.
    function flag(uint168 account) external;

    /// @notice Clears the flag of an account with E ≥ IM. Permissionless.
    function unflag(uint168 account) external;

    /// @notice Brings the margin call of the account up to date: emits MarginCalled where it crosses the warning level.
    /// @return standing whether a margin call stands now
    function callMargin(uint168 account) external returns (bool standing);

    /// @notice As IVault.liquidate, with a callback to the caller (`ILiquidationCallback.onLiquidation`) before the check of the
    ///         liquidator, so that it can raise the cash within the call.
    function liquidateFlash(
        uint168 account,
        uint168 liquidator,
        uint256 fractionWad,
        int256 maxPaymentWad,
        bytes calldata data
    ) external returns (uint256 fraction, int256 paymentWad);

    /// @notice Takes the named legs at mark minus the reward.
    /// @param legs instrument(32) << 96 | size(96, two's complement, with the sign of the account's position)
    /// @param maxPaymentWad caller's bound on the signed payment from liquidator to account
    /// @param data not empty: callback as in `liquidateFlash`
    function liquidateLegs(
        uint168 account,
        uint168 liquidator,
        uint256[] calldata legs,
        int256 maxPaymentWad,
        bytes calldata data
    ) external returns (int256 paymentWad);

    /* ───────────────────────────── waterfall ─────────────────────────── */

    /// @notice Closes the position of a bankrupt account in `instrument` against `counterparties` (ascending) at mark, with haircuts
    ///         min(⌈θ·closed_i⌉, max(0, E_i − 1)) that pay its deficit. DESIGN §4, docs/waterfall.md.
    /// @param thetaWad cash per unit closed; what a level up to 1 % too high would take is given back
    /// @return paidWad Σ haircuts
    function autoDeleverage(uint168 account, uint32 instrument, uint168[] calldata counterparties, uint256 thetaWad)
        external
        returns (uint256 paidWad);

    /// @notice Pays the deficit of an account that has no position left (where it has collateral, what that does not cover) from the
    ///         insurance fund and, beyond its caps, from all positive cash in proportion.
    /// @return lossWad what the lenders lost
    function socialise(uint168 account) external returns (uint256 lossWad);

    /* ────────────────────────── administration ───────────────────────── */

    /// @notice Owner only, once: from now on positions only shrink, and after the notice everything settles.
    function startWindDown() external;

    /// @notice Owner only: Chainlink L2 sequencer uptime feed, 0 on an L1.
    function setSequencerFeed(address feed) external;

    /* ─────────────────────────────── views ───────────────────────────── */

    function interestState()
        external
        view
        returns (
            uint64 supplyIndexE15,
            uint64 borrowIndexE15,
            uint40 interestTime,
            uint128 supplyWad,
            uint128 borrowWad,
            int128 interestWad
        );

    /// @return fundingE12 cumulative funding of one unit long, 1e-12 of the settlement currency
    /// @return fundingTime up to which it counts
    /// @return premiumE9 of the last report, unclamped
    /// @return stablePriceWad rate-limited follower of the index
    /// @return previousPriceWad of the snapshot before the present one
    /// @return previousTime of that snapshot
    /// @return reduceOnlyUntil end of the circuit breaker
    function underlyingState(uint8 underlying)
        external
        view
        returns (
            int80 fundingE12,
            uint32 fundingTime,
            int32 premiumE9,
            uint88 stablePriceWad,
            uint88 previousPriceWad,
            uint32 previousTime,
            uint32 reduceOnlyUntil
        );

    function settlement(uint8 underlying, uint16 expiryDay)
        external
        view
        returns (uint88 priceWad, uint16 observations, uint32 lastTime, uint88 meanWad, bool settled);
    function instrumentInterest(uint32 instrument) external view returns (uint256 openInterestWad);
    function operatorRights(uint168 account, address operator) external view returns (uint256 rights);
    function minNonce(uint168 account) external view returns (uint64);

    /// @return flaggedAt 0: not flagged
    /// @return marginCall whether a margin call stands
    /// @return interestIndexE15 the index up to which the recorded cash counts
    function accountFlags(uint168 account)
        external
        view
        returns (uint32 flaggedAt, bool marginCall, uint64 interestIndexE15);

    /// @return sequencerFeed 0: none
    /// @return windDownTime 0: not winding down
    function vaultMode() external view returns (address sequencerFeed, uint40 windDownTime);
}
