// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @notice The functions of the vault that its owner calls, and the views that the governor needs.
interface IVaultAdmin {
    function riskParams() external view returns (address pointer, bytes memory blob);
    function collateralInfo(uint8 collateral)
        external
        view
        returns (address token, uint8 decimals, uint8 underlying, address rateFeed, uint256 rateWad, uint256 totalHeld);
    function listUnderlying(address feed) external returns (uint8 underlying);
    function listCollateral(address token, uint8 underlying, address rateFeed) external returns (uint8 collateral);
    function listExpiry(uint8 underlying, uint16 expiryDay, uint128[] calldata strikesWad) external;
    function setRiskParams(bytes calldata blob) external;
    function setSigners(address[] calldata signers, uint8 threshold) external;
    function startWindDown() external;
    function setSequencerFeed(address feed) external;
    function transferOwnership(address newOwner) external payable;
}

/// @title The owner of the vault: who may change what, and how fast
/// @notice docs/governance.md. What loosens risk waits in the timelock; what tightens may come at once from a guardian, but what
///         bears on the health of accounts moves in bounded steps that anybody takes (`poke`). A *blob* is a whole set of risk
///         parameters (docs/margin.md §2).
interface IRiskGovernor {
    /// @notice Who started a ramp. Order matters: a ramp that replaces one keeps the higher origin.
    enum Origin {
        NONE,
        STEWARD,
        GUARDIAN,
        TIMELOCK
    }

    /// @notice Fixed at deployment; another value needs another governor.
    /// @param stepSeconds least time between two steps, of any ramps
    /// @param minSteps of a ramp
    /// @param stewardBps what a steward may move a weight or lane by within a period, of its size at the start
    /// @param stewardPeriod seconds
    /// @param strikesPerDay what a lister may list per underlying and UTC day
    struct Config {
        uint32 stepSeconds;
        uint32 minSteps;
        uint16 stewardBps;
        uint32 stewardPeriod;
        uint32 strikesPerDay;
    }

    /// @param steps 0 where `targetHash` is in force at once
    event ParamsProposed(
        address indexed by, Origin indexed origin, bytes32 startHash, bytes32 targetHash, uint256 steps
    );
    event RampStepped(uint256 step, uint256 steps, bytes32 hash);
    event RampHalted(address indexed by, uint256 step, uint256 steps);
    event StewardPeriodStarted(bytes32 anchorHash, uint256 time);
    event UnderlyingGoverned(uint8 indexed underlying, address feed);
    event CollateralGoverned(uint8 indexed collateral, address token, uint16 haircutBps);
    event VaultTransferred(address indexed newOwner);

    /// @notice Field `place` of the configuration is out of range.
    error ConfigInvalid(uint256 place, uint256 value);
    error BlobLength(uint256 given, uint256 wanted);
    /// @notice U | C << 8
    error BlobCounts(uint256 given, uint256 wanted);
    error NothingChanges();
    /// @notice A guardian's proposal loosens the field at bit `shift` (255: bits of no field) of `word`.
    error Loosens(uint256 word, uint256 shift);
    error UnitAndLanes(uint256 underlying);
    error StewardField(uint256 word, uint256 shift);
    error StewardLimit(uint256 word, uint256 shift, uint256 given, uint256 from, uint256 allowed);
    error RampActive(uint256 step, uint256 steps);
    error RampInactive(uint256 step, uint256 steps);
    error StepTooEarly(uint256 time, uint256 earliest);
    error HaltRefused(address by, Origin origin);
    error ExpiryTooFar(uint256 expiryDay, uint256 lastDay);
    error StrikeBudget(uint256 underlying, uint256 used, uint256 max);
    /// @notice Internal: takes back the trial of a target. Never leaves the governor.
    error ProbePassed();
    error OnlySelf(address sender);

    /* ─────────────────────────── parameters ──────────────────────────── */

    /// @notice Any change, by the timelock. Fields that only loosen jump; what may hurt an account ramps; collateral caps ramp
    ///         up.
    /// @dev Order of refusals: role, RiskParamsMissing, BlobLength, BlobCounts, NothingChanges, UnitAndLanes, then the vault's
    ///      judgement of the target and of the start (`RiskParamsInvalid`).
    function submitParams(bytes calldata blob) external;

    /// @notice A change that loosens nothing, by a guardian. Errors as `submitParams`, with Loosens after NothingChanges.
    function tighten(bytes calldata blob) external;

    /// @notice A change of weights and lanes within the limits of the period, by a steward, while no ramp runs. All of it ramps.
    ///         Errors as `submitParams`, with RampActive, StewardField and StewardLimit after NothingChanges.
    function steer(bytes calldata blob) external;

    /// @notice Takes the next step of the ramp; anybody. `RampInactive`, `StepTooEarly`. However late, one call is one step.
    function poke() external;

    /// @notice Ends the ramp where it stands: the timelock any; guardians those of stewards and stewards those of guardians.
    function halt() external;

    /* ───────────────────────────── listing ───────────────────────────── */

    /// @notice Lists an underlying with its parameters, by the timelock; a running ramp goes on.
    /// @param words its ten words and its word of the tail
    function listUnderlying(address feed, bytes calldata words) external returns (uint8 underlying);

    /// @notice Lists a collateral with cap 0, by the timelock.
    /// @param withdrawCap native units a period, 0: no limit
    function listCollateral(
        address token,
        uint8 underlying,
        address rateFeed,
        uint16 haircutBps,
        uint128 withdrawCap
    ) external returns (uint8 collateral);

    /// @notice Routine listing by a lister: ExpiryTooFar, StrikeBudget, then the vault's errors.
    function listExpiry(uint8 underlying, uint16 expiryDay, uint128[] calldata strikesWad) external;

    /* ───────────────────────────── timelock ──────────────────────────── */

    function setSigners(address[] calldata signers, uint8 threshold) external;
    function setSequencerFeed(address feed) external;
    function startWindDown() external;
    /// @notice Hands the vault to another owner: the way to another governor.
    function transferVault(address newOwner) external;

    /* ─────────────────────────────── views ───────────────────────────── */

    /// @return start blob at step 0, empty without a ramp
    /// @return target where it ends
    /// @return step steps taken
    /// @return steps in all
    /// @return earliest time of the next step
    /// @return origin who started it
    function ramp()
        external
        view
        returns (
            bytes memory start,
            bytes memory target,
            uint256 step,
            uint256 steps,
            uint256 earliest,
            Origin origin
        );

    /// @return anchor blob at the start of the steward's period, empty before the first
    function stewardPeriod() external view returns (bytes memory anchor, uint256 time);
    function strikeBudget(uint8 underlying) external view returns (uint256 day, uint256 used);
    function config() external view returns (Config memory);

    /// @notice What a proposal would change: word << 16 | shift << 8 | direction (1 tightens, 2 loosens, 3 both).
    function diff(bytes calldata old, bytes calldata given) external pure returns (uint256[] memory changes);

    /// @notice Where a ramp would start and its number of steps; `jumpLooser` as for the timelock.
    function plan(bytes calldata current, bytes calldata target, bool jumpLooser)
        external
        view
        returns (bytes memory start, uint256 steps);

    /// @notice The blob at `step` of `steps`.
    function interpolate(bytes calldata start, bytes calldata target, uint256 step, uint256 steps)
        external
        pure
        returns (bytes memory);

    /// @notice Reverts where a steward may not go from `base` to `given`.
    function checkSteward(bytes calldata anchor, bytes calldata base, bytes calldata given) external view;
}
