// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IMargin} from "../../interfaces/IMargin.sol";
import {IRiskGovernor, IVaultAdmin} from "../../interfaces/IRiskGovernor.sol";
import {GovernanceTimelock} from "./GovernanceTimelock.sol";
import {GovernorStore} from "./GovernorStore.sol";
import {ParamDiff} from "./ParamDiff.sol";
import {ParamLayout} from "./ParamLayout.sol";
import {ParamRamp} from "./ParamRamp.sol";
import {StewardCheck} from "./StewardCheck.sol";

/// @title Risk governor: owner of the vault
/// @notice Twin: risk/exact/governance/risk_governor.py. Roles, requirements and bounds: docs/governance.md. The timelock is
///         the only admin of every role from the start, so there is nothing to hand over but the vault.
contract RiskGovernor is AccessControl, IRiskGovernor {
    using GovernorStore for GovernorStore.State;

    bytes32 public constant TIMELOCK_ROLE = keccak256("TIMELOCK_ROLE");
    bytes32 public constant GUARDIAN_ROLE = keccak256("GUARDIAN_ROLE");
    bytes32 public constant STEWARD_ROLE = keccak256("STEWARD_ROLE");
    bytes32 public constant LISTER_ROLE = keccak256("LISTER_ROLE");

    uint256 private constant MIN_STEP_SECONDS = 1 hours;
    uint256 private constant MAX_STEWARD_BPS = 2000;
    uint256 private constant MAX_HORIZON_DAYS = 1200;

    IVaultAdmin public immutable VAULT;

    Config private _config;
    GovernorStore.State private $;

    /// @dev Reverts `ConfigInvalid`: steps at least an hour apart; a ramp at least as long as the timelock may ever take to
    ///      answer it; a steward at most 20 % a period of at least a day; some strikes.
    constructor(
        IVaultAdmin vault,
        GovernanceTimelock timelock,
        address guardian,
        address steward,
        address lister,
        Config memory config_
    ) {
        _requireConfig(config_, timelock.MAX_DELAY());
        VAULT = vault;
        _config = config_;
        _grantRole(DEFAULT_ADMIN_ROLE, address(timelock));
        _grantRole(TIMELOCK_ROLE, address(timelock));
        _grantRole(GUARDIAN_ROLE, guardian);
        _grantRole(STEWARD_ROLE, steward);
        _grantRole(LISTER_ROLE, lister);
    }

    /* ─────────────────────────── parameters ───────────────────────── */

    /// @inheritdoc IRiskGovernor
    function submitParams(bytes calldata blob) external onlyRole(TIMELOCK_ROLE) {
        _begin(blob, Origin.TIMELOCK);
    }

    /// @inheritdoc IRiskGovernor
    function tighten(bytes calldata blob) external onlyRole(GUARDIAN_ROLE) {
        _begin(blob, Origin.GUARDIAN);
    }

    /// @inheritdoc IRiskGovernor
    function steer(bytes calldata blob) external onlyRole(STEWARD_ROLE) {
        _begin(blob, Origin.STEWARD);
    }

    /// @inheritdoc IRiskGovernor
    function poke() external {
        (address start, address target) = ($.start, $.target);
        (uint256 step, uint256 steps) = ($.step, $.steps);
        if (target == address(0)) revert RampInactive(step, steps);
        uint256 earliest = uint256($.lastStep) + _config.stepSeconds;
        // forge-lint: disable-next-line(block-timestamp) steps are an hour apart at least
        if (block.timestamp < earliest) revert StepTooEarly(block.timestamp, earliest);
        ++step;
        // forge-lint: disable-start(unsafe-typecast) step <= steps, a uint32; seconds fit 40 bits
        $.step = uint32(step);
        $.lastStep = uint40(block.timestamp);
        // forge-lint: disable-end(unsafe-typecast)
        bytes memory blob =
            ParamRamp.interpolate(GovernorStore.load(start), GovernorStore.load(target), step, steps);
        if (step == steps) $.end();
        bytes32 hash = keccak256(blob);
        emit RampStepped(step, steps, hash);
        // a step too small to move any field costs nobody an epoch
        (, bytes memory current) = _current();
        if (keccak256(current) != hash) VAULT.setRiskParams(blob);
    }

    /// @inheritdoc IRiskGovernor
    function halt() external {
        (uint256 step, uint256 steps, Origin origin) = ($.step, $.steps, Origin($.origin));
        if ($.target == address(0)) revert RampInactive(step, steps);
        bool allowed = hasRole(TIMELOCK_ROLE, msg.sender)
            || (origin == Origin.STEWARD && hasRole(GUARDIAN_ROLE, msg.sender))
            || (origin == Origin.GUARDIAN && hasRole(STEWARD_ROLE, msg.sender));
        if (!allowed) revert HaltRefused(msg.sender, origin);
        $.end();
        emit RampHalted(msg.sender, step, steps);
    }

    /// @notice Internal trial of a target: the vault's own judgement, without effect. Reverts `OnlySelf` for everybody else.
    function probe(bytes calldata blob) external {
        if (msg.sender != address(this)) revert OnlySelf(msg.sender);
        VAULT.setRiskParams(blob);
        revert ProbePassed();
    }

    /* ───────────────────────────── listing ────────────────────────── */

    /// @inheritdoc IRiskGovernor
    function listUnderlying(address feed, bytes calldata words)
        external
        onlyRole(TIMELOCK_ROLE)
        returns (uint8 underlying)
    {
        underlying = VAULT.listUnderlying(feed);
        (, bytes memory current) = _current();
        current = ParamLayout.withUnderlying(current, words);
        if ($.anchor != address(0)) {
            $.anchor = GovernorStore.save(ParamLayout.withUnderlying(GovernorStore.load($.anchor), words));
        }
        if ($.target != address(0)) {
            $.start = GovernorStore.save(ParamLayout.withUnderlying(GovernorStore.load($.start), words));
            $.target = GovernorStore.save(ParamLayout.withUnderlying(GovernorStore.load($.target), words));
        }
        VAULT.setRiskParams(current);
        emit UnderlyingGoverned(underlying, feed);
    }

    /// @inheritdoc IRiskGovernor
    function listCollateral(
        address token,
        uint8 underlying,
        address rateFeed,
        uint16 haircutBps,
        uint128 withdrawCap
    ) external onlyRole(TIMELOCK_ROLE) returns (uint8 collateral) {
        collateral = VAULT.listCollateral(token, underlying, rateFeed);
        (, uint8 decimals,,,,) = VAULT.collateralInfo(collateral);
        uint256 word = uint256(underlying) | (uint256(decimals) << 8) | (uint256(haircutBps) << 16)
            | (rateFeed == address(0) ? 0 : 1 << 160);
        (, bytes memory current) = _current();
        current = ParamLayout.withCollateral(current, word, withdrawCap);
        if ($.anchor != address(0)) {
            $.anchor = GovernorStore.save(ParamLayout.withCollateral(GovernorStore.load($.anchor), word, withdrawCap));
        }
        if ($.target != address(0)) {
            $.start = GovernorStore.save(ParamLayout.withCollateral(GovernorStore.load($.start), word, withdrawCap));
            $.target = GovernorStore.save(ParamLayout.withCollateral(GovernorStore.load($.target), word, withdrawCap));
        }
        VAULT.setRiskParams(current);
        emit CollateralGoverned(collateral, token, haircutBps);
    }

    /// @inheritdoc IRiskGovernor
    function listExpiry(uint8 underlying, uint16 expiryDay, uint128[] calldata strikesWad)
        external
        onlyRole(LISTER_ROLE)
    {
        uint256 today = block.timestamp / 1 days;
        if (expiryDay > today + MAX_HORIZON_DAYS) revert ExpiryTooFar(expiryDay, today + MAX_HORIZON_DAYS);
        GovernorStore.Budget storage budget = $.strikes[underlying];
        uint256 used = (budget.day == today ? budget.used : 0) + strikesWad.length;
        uint256 max = _config.strikesPerDay;
        if (used > max) revert StrikeBudget(underlying, used, max);
        // forge-lint: disable-next-line(unsafe-typecast) used <= max, a uint32; days fit 32 bits
        (budget.day, budget.used) = (uint32(today), uint32(used));
        VAULT.listExpiry(underlying, expiryDay, strikesWad);
    }

    /* ───────────────────────────── timelock ───────────────────────── */

    /// @inheritdoc IRiskGovernor
    function setSigners(address[] calldata signers, uint8 threshold) external onlyRole(TIMELOCK_ROLE) {
        VAULT.setSigners(signers, threshold);
    }

    /// @inheritdoc IRiskGovernor
    function setSequencerFeed(address feed) external onlyRole(TIMELOCK_ROLE) {
        VAULT.setSequencerFeed(feed);
    }

    /// @inheritdoc IRiskGovernor
    function startWindDown() external onlyRole(TIMELOCK_ROLE) {
        VAULT.startWindDown();
    }

    /// @inheritdoc IRiskGovernor
    function transferVault(address newOwner) external onlyRole(TIMELOCK_ROLE) {
        VAULT.transferOwnership(newOwner);
        emit VaultTransferred(newOwner);
    }

    /* ─────────────────────────────── views ────────────────────────── */

    /// @inheritdoc IRiskGovernor
    function ramp()
        external
        view
        returns (bytes memory start, bytes memory target, uint256 step, uint256 steps, uint256 earliest, Origin origin)
    {
        start = GovernorStore.load($.start);
        target = GovernorStore.load($.target);
        (step, steps, origin) = ($.step, $.steps, Origin($.origin));
        earliest = uint256($.lastStep) + _config.stepSeconds;
    }

    /// @inheritdoc IRiskGovernor
    function stewardPeriod() external view returns (bytes memory anchor, uint256 time) {
        return (GovernorStore.load($.anchor), $.anchorTime);
    }

    /// @inheritdoc IRiskGovernor
    function strikeBudget(uint8 underlying) external view returns (uint256 day, uint256 used) {
        return ($.strikes[underlying].day, $.strikes[underlying].used);
    }

    /// @inheritdoc IRiskGovernor
    function config() external view returns (Config memory) {
        return _config;
    }

    /// @inheritdoc IRiskGovernor
    function diff(bytes calldata old, bytes calldata given) external pure returns (uint256[] memory changes) {
        return ParamDiff.diff(old, given);
    }

    /// @inheritdoc IRiskGovernor
    function plan(bytes calldata current, bytes calldata target, bool jumpLooser)
        external
        view
        returns (bytes memory start, uint256 steps)
    {
        ParamLayout.requireShape(current, target);
        return ParamRamp.plan(current, target, jumpLooser, _config.minSteps);
    }

    /// @inheritdoc IRiskGovernor
    function interpolate(bytes calldata start, bytes calldata target, uint256 step, uint256 steps)
        external
        pure
        returns (bytes memory)
    {
        ParamLayout.requireShape(start, target);
        return ParamRamp.interpolate(start, target, step, steps);
    }

    /// @inheritdoc IRiskGovernor
    function checkSteward(bytes calldata anchor, bytes calldata base, bytes calldata given) external view {
        ParamLayout.requireShape(anchor, base);
        StewardCheck.requireWithin(anchor, base, given, _config.stewardBps);
    }

    /* ─────────────────────────── private ──────────────────────────── */

    function _begin(bytes memory blob, Origin origin) private {
        (address pointer, bytes memory current) = _current();
        bytes memory base = $.target == address(0) ? current : GovernorStore.load($.target);
        ParamLayout.requireShape(base, blob);
        bytes32 hash = keccak256(blob);
        if (hash == keccak256(base)) revert NothingChanges();
        if (origin == Origin.GUARDIAN) ParamDiff.requireTightening(base, blob);
        else if (origin == Origin.STEWARD) _requireSteward(pointer, current, blob);
        else $.anchor = address(0);
        (bytes memory start, uint256 steps) =
            ParamRamp.plan(current, blob, origin == Origin.TIMELOCK, _config.minSteps);
        if (steps != 0) {
            _probe(blob);
            $.target = GovernorStore.save(blob);
            // at most minSteps, a uint32, or 2^16: no field that ramps is further than that from its target in steps
            // forge-lint: disable-next-line(unsafe-typecast)
            ($.step, $.steps) = (0, uint32(steps));
            // a ramp that replaces one of the timelock stays the timelock's
            if (uint8(origin) > $.origin) $.origin = uint8(origin);
        } else {
            $.end();
        }
        bytes32 startHash = keccak256(start);
        emit ParamsProposed(msg.sender, origin, startHash, hash, steps);
        if (startHash != keccak256(current)) {
            VAULT.setRiskParams(start);
            (pointer,) = _current();
        }
        // the vault's own copy serves as ours
        if (steps != 0) $.start = pointer;
    }

    /// @dev `RampActive` during any ramp; then the limits of the period, which a steering starts where none runs.
    function _requireSteward(address pointer, bytes memory base, bytes memory blob) private {
        if ($.target != address(0)) revert RampActive($.step, $.steps);
        // forge-lint: disable-next-line(block-timestamp) a period of a day at least
        if ($.anchor == address(0) || block.timestamp >= uint256($.anchorTime) + _config.stewardPeriod) {
            $.anchor = pointer;
            // forge-lint: disable-next-line(unsafe-typecast) seconds fit 40 bits for 34,000 years
            $.anchorTime = uint40(block.timestamp);
            emit StewardPeriodStarted(keccak256(base), block.timestamp);
        }
        StewardCheck.requireWithin(GovernorStore.load($.anchor), base, blob, _config.stewardBps);
    }

    function _probe(bytes memory blob) private {
        try this.probe(blob) {}
        catch (bytes memory reason) {
            // forge-lint: disable-next-line(unsafe-typecast) the length was tested first
            if (reason.length == 4 && bytes4(reason) == ProbePassed.selector) return;
            assembly ("memory-safe") {
                revert(add(reason, 0x20), mload(reason))
            }
        }
    }

    /// @dev The blob in force and its code; reverts `RiskParamsMissing`.
    function _current() private view returns (address pointer, bytes memory blob) {
        (pointer, blob) = VAULT.riskParams();
        if (pointer == address(0)) revert IMargin.RiskParamsMissing();
    }

    function _requireConfig(Config memory c, uint256 maxDelay) private pure {
        if (c.stepSeconds < MIN_STEP_SECONDS) revert ConfigInvalid(0, c.stepSeconds);
        if (c.minSteps == 0 || (uint256(c.minSteps) - 1) * c.stepSeconds < maxDelay) {
            revert ConfigInvalid(1, c.minSteps);
        }
        if (c.stewardBps == 0 || c.stewardBps > MAX_STEWARD_BPS) revert ConfigInvalid(2, c.stewardBps);
        if (c.stewardPeriod < 1 days) revert ConfigInvalid(3, c.stewardPeriod);
        if (c.strikesPerDay == 0) revert ConfigInvalid(4, c.strikesPerDay);
    }
}
