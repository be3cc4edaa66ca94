"""The governor's state machine, model and chain side by side: docs/governance.md G1, G4, G5, G7,
G10–G13, G16, G17.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any

import pytest

from risk.chain.keccak import keccak
from risk.errors import RpcError
from risk.exact.errors import ModelRevert
from risk.exact.governance import risk_governor as rg
from risk.exact.params.risk_params import RiskParams
from tests.governance.support import (
    CONFIG,
    DAY,
    GUARDIAN,
    HOUR,
    LISTER,
    MAX_DELAY,
    OWNER,
    PROPOSER,
    ROLES,
    STEWARD,
    STRANGER,
    TODAY,
    WAD,
    GovernedVault,
    address,
    base_params,
)

STEP = CONFIG.step_seconds


def with_u(base: RiskParams | None = None, u: int = 0, **changes: Any) -> RiskParams:
    base = base or base_params()
    us = list(base.underlyings)
    us[u] = replace(us[u], **changes)
    return replace(base, underlyings=tuple(us))


def with_c(base: RiskParams | None = None, j: int = 0, **changes: Any) -> RiskParams:
    base = base or base_params()
    cs = list(base.collaterals)
    cs[j] = replace(cs[j], **changes)
    return replace(base, collaterals=tuple(cs))


def params(g: GovernedVault) -> RiskParams:
    assert g.state.params is not None
    return g.state.params


def finish(g: GovernedVault, limit: int = 10_000) -> int:
    """Poke until the ramp is over; returns the number of steps."""
    n = 0
    while g.gov.store.target:
        g.warp(STEP)
        assert g.act(STRANGER, "poke") is None
        n += 1
        assert n <= limit
    return n


# ------------------------------------------------------------------------------------- roles

TIMELOCK_CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("submitParams", (b"",)),
    ("listUnderlying", (1, b"")),
    ("setSigners", ([1], 1)),
    ("setSequencerFeed", (1,)),
    ("startWindDown", ()),
    ("transferVault", (1,)),
]


def test_G1_roles_are_the_hashes_of_their_names(governed: GovernedVault) -> None:
    for name, value in ROLES.items():
        assert governed.view(name) == [value]
        if value:
            assert int.from_bytes(keccak(name.encode()), "big") == value


def test_G1_only_the_timelock_reaches_its_functions(governed: GovernedVault) -> None:
    for who in (GUARDIAN, STEWARD, LISTER, PROPOSER, STRANGER, OWNER):
        want = ModelRevert("AccessControlUnauthorizedAccount", (who, rg.TIMELOCK_ROLE))
        for name, args in TIMELOCK_CALLS:
            assert governed.act(who, name, *args) == want
        chain = (governed.weth, 0, 0, 0, 0)
        assert governed.act(who, "listCollateral", *chain, 18, chain=chain) == want
    for who, name in ((STEWARD, "tighten"), (GUARDIAN, "steer"), (LISTER, "tighten")):
        role = rg.GUARDIAN_ROLE if name == "tighten" else rg.STEWARD_ROLE
        assert governed.act(who, name, b"") == ModelRevert(
            "AccessControlUnauthorizedAccount", (who, role)
        )
    assert governed.act(GUARDIAN, "listExpiry", 0, TODAY + 8, []) == ModelRevert(
        "AccessControlUnauthorizedAccount", (GUARDIAN, rg.LISTER_ROLE)
    )


def test_G1_the_timelock_is_the_only_admin(governed: GovernedVault) -> None:
    for who in (GUARDIAN, STEWARD, LISTER, PROPOSER, OWNER):
        for role in ROLES.values():
            want = ModelRevert("AccessControlUnauthorizedAccount", (who, 0))
            assert governed.act(who, "grantRole", role, who) == want
            assert governed.act(who, "revokeRole", role, governed.timelock) == want
    assert governed.act(governed.timelock, "grantRole", rg.GUARDIAN_ROLE, STRANGER) is None
    assert governed.act(governed.timelock, "revokeRole", rg.GUARDIAN_ROLE, GUARDIAN) is None
    tighter = with_u(som_bps=600)
    assert governed.act(GUARDIAN, "tighten", tighter.blob) is not None
    assert governed.act(STRANGER, "tighten", tighter.blob) is None
    assert governed.act(STEWARD, "renounceRole", rg.STEWARD_ROLE, GUARDIAN) == ModelRevert(
        "AccessControlBadConfirmation", ()
    )
    assert governed.act(STEWARD, "renounceRole", rg.STEWARD_ROLE, STEWARD) is None
    assert governed.act(STEWARD, "steer", b"") is not None


def test_G1_the_deployer_has_nothing_left(governed: GovernedVault) -> None:
    for name, args in (
        ("setRiskParams", (base_params().blob,)),
        ("listUnderlying", (1,)),
        ("listCollateral", (1, 0, 0)),
        ("listExpiry", (0, TODAY + 8, [WAD])),
        ("setSigners", ([1], 1)),
    ):
        got = governed.user(OWNER, name, *args)
        assert got is not None and governed.error(got).startswith("Unauthorized")
    assert governed.call(OWNER, governed.world.vault, governed.transfer, OWNER) is not None


@pytest.mark.parametrize(
    ("place", "config"),
    [
        (0, replace(CONFIG, step_seconds=HOUR - 1)),
        (1, replace(CONFIG, min_steps=0)),
        (1, replace(CONFIG, min_steps=12)),  # 11 · 6 h < 3 days
        (2, replace(CONFIG, steward_bps=0)),
        (2, replace(CONFIG, steward_bps=2_001)),
        (3, replace(CONFIG, steward_period=DAY - 1)),
        (4, replace(CONFIG, strikes_per_day=0)),
    ],
)
def test_G10_configurations_out_of_range_are_refused(
    governed: GovernedVault, place: int, config: rg.Config
) -> None:
    want = ModelRevert("ConfigInvalid", (place, astuple(config)[place]))
    with pytest.raises(ModelRevert) as caught:
        rg.RiskGovernor(governed.model, 1, 2, MAX_DELAY, 3, 4, 5, config)
    assert caught.value == want
    code = governed.creation(
        "RiskGovernor", governed.world.vault, governed.timelock, 3, 4, 5, astuple(config)
    )
    call = {"from": address(OWNER), "data": "0x" + code.hex(), "gas": hex(30_000_000)}
    with pytest.raises(RpcError) as refused:
        governed.rpc.call("eth_call", call, "latest")
    assert refused.value.data == governed.errors.encode(want.name, want.args)  # type: ignore[attr-defined]


# -------------------------------------------------------------------------------- parameters


def test_G5_a_guardians_limits_are_in_force_at_once(governed: GovernedVault) -> None:
    """Caps of new risk: no waiting, no ramp."""
    tight = with_c(with_u(oi_cap_wad=WAD, position_cap_wad=WAD), cap=0, withdraw_cap=10**18)
    tight = replace(tight, cash_withdraw_cap_wad=1_000 * WAD)
    assert governed.act(GUARDIAN, "tighten", tight.blob) is None
    assert governed.blob() == tight.blob
    assert not governed.gov.store.target


def test_G5_loosening_waits_and_then_jumps_tightening_ramps(governed: GovernedVault) -> None:
    mixed = with_u(som_bps=300, liq_bps=1_500)
    for who, name in ((GUARDIAN, "tighten"), (STEWARD, "steer"), (STRANGER, "submitParams")):
        assert governed.act(who, name, mixed.blob) is not None
    assert governed.act(governed.timelock, "submitParams", mixed.blob) is None
    u = params(governed).underlyings[0]
    assert (u.som_bps, u.liq_bps) == (300, 1_000)
    assert finish(governed) == CONFIG.min_steps
    assert params(governed) == mixed


def test_G7_one_poke_is_one_step_and_steps_are_spaced(governed: GovernedVault) -> None:
    assert governed.act(STRANGER, "poke") == ModelRevert("RampInactive", (0, 0))
    assert governed.act(GUARDIAN, "tighten", with_u(som_bps=760).blob) is None
    governed.warp(365 * DAY)  # however late: one step
    assert governed.act(STRANGER, "poke") is None
    assert params(governed).underlyings[0].som_bps == 520
    at = governed.world.timestamp
    assert governed.act(STRANGER, "poke") == ModelRevert("StepTooEarly", (at, at - 1 + STEP))
    # another proposal does not restart the clock, neither does halting
    assert governed.act(GUARDIAN, "tighten", with_u(som_bps=800).blob) is None
    refused = governed.act(STRANGER, "poke")
    assert refused is not None and refused.name == "StepTooEarly"
    assert governed.act(STEWARD, "halt") is None
    assert governed.act(GUARDIAN, "tighten", with_u(som_bps=800).blob) is None
    refused = governed.act(STRANGER, "poke")
    assert refused is not None and refused.name == "StepTooEarly"
    governed.world.timestamp = at - 1 + STEP
    assert governed.act(STRANGER, "poke") is None


def test_G7_proposals_in_a_row_are_no_shortcut(governed: GovernedVault) -> None:
    """A guardian that proposes before every step gets no further than one cap a step."""
    for i in range(8):
        want = 500 + 50 * i + 2_000
        assert governed.act(GUARDIAN, "tighten", with_u(som_bps=want).blob) is None
        before = params(governed).underlyings[0].som_bps
        governed.warp(STEP)
        assert governed.act(STRANGER, "poke") is None
        assert 0 < params(governed).underlyings[0].som_bps - before <= 50


def test_G7_a_step_that_moves_nothing_opens_no_epoch(governed: GovernedVault) -> None:
    assert governed.act(GUARDIAN, "tighten", with_u(som_bps=501).blob) is None
    epoch = governed.state.underlyings[0].epoch
    assert finish(governed) == CONFIG.min_steps
    assert params(governed).underlyings[0].som_bps == 501
    assert governed.state.underlyings[0].epoch == epoch + 1


def test_G4_a_guardian_may_add_to_a_ramp_and_not_take_from_it(governed: GovernedVault) -> None:
    """Judged against where the ramp goes, not where it stands; what was on its way still ramps."""
    assert governed.act(governed.timelock, "submitParams", with_u(som_bps=900).blob) is None
    governed.warp(STEP)
    assert governed.act(STRANGER, "poke") is None
    less = governed.act(GUARDIAN, "tighten", with_u(som_bps=800).blob)
    assert less == ModelRevert("Loosens", (5, 104))
    assert governed.act(GUARDIAN, "tighten", with_u(som_bps=900).blob) == ModelRevert(
        "NothingChanges", ()
    )
    more = with_u(som_bps=900, liq_bps=1_100)
    assert governed.act(GUARDIAN, "tighten", more.blob) is None
    assert governed.gov.store.origin == rg.TIMELOCK
    finish(governed)
    assert params(governed) == more


def test_G10_a_fast_ramp_outlasts_the_timelock_and_can_be_stopped(
    governed: GovernedVault,
) -> None:
    started = governed.world.timestamp
    assert governed.act(GUARDIAN, "tighten", with_u(som_bps=510).blob) is None
    assert governed.act(GUARDIAN, "halt") == ModelRevert("HaltRefused", (GUARDIAN, rg.GUARDIAN))
    assert governed.act(STRANGER, "halt") == ModelRevert("HaltRefused", (STRANGER, rg.GUARDIAN))
    while governed.gov.store.target:
        at = governed.world.timestamp
        if governed.act(STRANGER, "poke") is not None:
            governed.world.timestamp = governed.gov.store.last_step + STEP
    assert at - started >= MAX_DELAY  # pokes as early as possible
    assert governed.act(STEWARD, "halt") == ModelRevert("RampInactive", (0, 0))
    # a guardian stops a steward, a steward a guardian, the timelock everybody
    slow = replace(base_params(), weights_bps=(9_500,) * 8)
    slow = replace(slow, underlyings=params(governed).underlyings)
    assert governed.act(STEWARD, "steer", slow.blob) is None
    assert governed.act(STEWARD, "halt") == ModelRevert("HaltRefused", (STEWARD, rg.STEWARD))
    assert governed.act(GUARDIAN, "halt") is None
    assert governed.act(GUARDIAN, "tighten", with_u(som_bps=600).blob) is None
    assert governed.act(STEWARD, "halt") is None
    assert governed.act(governed.timelock, "submitParams", with_u(som_bps=600).blob) is None
    for who in (GUARDIAN, STEWARD):
        assert governed.act(who, "halt") == ModelRevert("HaltRefused", (who, rg.TIMELOCK))
    assert governed.act(governed.timelock, "halt") is None


def test_G9_a_stewards_moves_ramp_and_add_up_over_the_period(governed: GovernedVault) -> None:
    at = governed.world.timestamp
    first = replace(base_params(), weights_bps=(9_400, *(10_000,) * 7))
    assert governed.act(STEWARD, "steer", first.blob) is None
    assert governed.blob() == base_params().blob  # also a loosening ramps
    refused = governed.act(STEWARD, "steer", base_params().blob)
    assert refused == ModelRevert("RampActive", (0, CONFIG.min_steps))
    finish(governed)
    assert params(governed) == first
    second = replace(base_params(), weights_bps=(8_900, *(10_000,) * 7))
    refused = governed.act(STEWARD, "steer", second.blob)
    assert refused == ModelRevert("StewardLimit", (1, 0, 8_900, 10_000, 1_000))
    governed.world.timestamp = at + CONFIG.steward_period
    assert governed.act(STEWARD, "steer", second.blob) is None
    assert governed.gov.store.anchor == first.blob


def test_G9_the_timelock_starts_the_stewards_period_anew(governed: GovernedVault) -> None:
    moved = replace(base_params(), weights_bps=(9_000,) * 8)
    assert governed.act(STEWARD, "steer", moved.blob) is None
    finish(governed)
    reset = replace(base_params(), weights_bps=(8_000,) * 8)
    assert governed.act(governed.timelock, "submitParams", reset.blob) is None
    assert governed.gov.store.anchor == b""
    assert governed.act(STEWARD, "steer", replace(reset, weights_bps=(7_200,) * 8).blob) is None


def test_G16_a_target_is_judged_when_it_is_proposed(governed: GovernedVault) -> None:
    """Also where only its end is invalid; a refusal leaves nothing behind."""
    bad = replace(with_u(som_bps=900), reward_max_bps=200, reward_base_bps=300)
    refused = governed.act(governed.timelock, "submitParams", bad.blob)
    assert refused is not None and refused.name == "RiskParamsInvalid"
    short = base_params().blob[:-32]
    assert governed.act(GUARDIAN, "tighten", short) == ModelRevert(
        "BlobLength", (len(short), len(short) + 32)
    )
    wrong = with_c(has_rate=True)
    refused = governed.act(governed.timelock, "submitParams", wrong.blob)
    assert refused is not None and refused.name == "RiskParamsInvalid"


def test_G16_the_trial_is_nobodys_else(governed: GovernedVault) -> None:
    for who in (governed.timelock, GUARDIAN, STRANGER):
        f = governed.own_functions["probe"]
        got = governed.call(who, governed.governor, f, base_params().blob)
        assert got == governed.errors.encode("OnlySelf", (who,))


# ----------------------------------------------------------------------------------- listing


def listed_words() -> bytes:
    """Eleven words of an underlying like the first."""
    blob = base_params().blob
    u = blob[5 * 32 : 15 * 32]
    tail = 5 + 20 + 2 + 4
    return u + blob[tail * 32 : tail * 32 + 32]


def test_F51_G11_new_collateral_starts_at_cap_zero_and_grows_by_a_ramp(
    governed: GovernedVault,
) -> None:
    token = governed.new_token(6)
    args = (token, 1, 0, 2_000, 10**12)
    assert governed.act(governed.timelock, "listCollateral", *args, 6, chain=args) is None
    new = params(governed).collaterals[2]
    assert (new.cap, new.haircut_bps, new.decimals) == (0, 2_000, 6)
    assert (new.underlying, new.has_rate, new.withdraw_cap) == (1, False, 10**12)
    cap = 10**13
    target = with_c(params(governed), 2, cap=cap)
    assert governed.act(governed.timelock, "submitParams", target.blob) is None
    assert params(governed).collaterals[2].cap == 0
    steps = governed.gov.store.steps
    assert steps == 29  # 3.5 % a step
    for step in range(1, steps + 1):
        governed.warp(STEP)
        assert governed.act(STRANGER, "poke") is None
        assert params(governed).collaterals[2].cap == cap * step // steps
    # a guardian takes it back to nothing at once
    assert governed.act(GUARDIAN, "tighten", with_c(target, 2, cap=0).blob) is None
    assert params(governed).collaterals[2].cap == 0


def test_G12_listing_leaves_a_ramp_running(governed: GovernedVault) -> None:
    slow = replace(base_params(), weights_bps=(9_000,) * 8)
    assert governed.act(STEWARD, "steer", slow.blob) is None
    for _ in range(3):
        governed.warp(STEP)
        assert governed.act(STRANGER, "poke") is None
    before = params(governed)
    feed = governed.new_feed(8, 100 * 10**8)
    got = governed.act(governed.timelock, "listUnderlying", feed, listed_words())
    assert got is None
    token = governed.new_token(18)
    rate = governed.new_feed(18, 10**18)
    args = (token, 2, rate, 500, 0)
    assert governed.act(governed.timelock, "listCollateral", *args, 18, chain=args) is None
    after = params(governed)
    assert after.weights_bps == before.weights_bps
    assert after.underlyings[:2] == before.underlyings
    assert after.underlyings[2] == before.underlyings[0]
    assert after.collaterals[2].has_rate
    finish(governed)
    assert params(governed).weights_bps == slow.weights_bps
    # the steward's period knows the new words too
    assert governed.act(STEWARD, "steer", replace(params(governed), weights_bps=(8_900,) * 8).blob)
    short = governed.act(governed.timelock, "listUnderlying", feed, listed_words()[32:])
    assert short == ModelRevert("BlobLength", (320, 352))


def test_G13_a_lister_lists_within_horizon_and_budget(governed: GovernedVault) -> None:
    def strikes(n: int, first: int = 1) -> Sequence[int]:
        return [x * WAD for x in range(first, first + n)]

    far = TODAY + 1_201 + 1
    refused = governed.act(LISTER, "listExpiry", 0, far, strikes(1))
    assert refused is not None and refused.name == "ExpiryTooFar"
    assert governed.act(LISTER, "listExpiry", 0, TODAY + 8, strikes(40)) is None
    assert governed.act(LISTER, "listExpiry", 0, TODAY + 15, strikes(25)) == ModelRevert(
        "StrikeBudget", (0, 65, 64)
    )
    assert governed.act(LISTER, "listExpiry", 0, TODAY + 15, strikes(24)) is None
    assert governed.act(LISTER, "listExpiry", 1, TODAY + 15, strikes(64)) is None
    governed.warp(DAY)
    assert governed.act(LISTER, "listExpiry", 0, TODAY + 15, strikes(64, 100)) is None
    bad = governed.act(LISTER, "listExpiry", 1, TODAY + 22, [2 * WAD, WAD])
    assert bad is not None and bad.name == "StrikesNotAscending"


# ---------------------------------------------------------------------------------- timelock

# stores the keccak of its calldata in slot 0: CALLDATACOPY, KECCAK256, SSTORE
RECORDER = "0x365f5f37365f205f5500"


def test_G17_owner_functions_reach_the_vault_unchanged(governed: GovernedVault) -> None:
    """On a stand-in that records the calldata: what arrives is the vault's own function."""
    vault = address(governed.world.vault)
    governed.rpc.call("anvil_setCode", vault, RECORDER)
    admin = {f.name: f for f in _admin(governed)}
    for name, args, arrives in (
        ("setSigners", ([3, 5], 2), "setSigners"),
        ("setSequencerFeed", (77,), "setSequencerFeed"),
        ("startWindDown", (), "startWindDown"),
        ("transferVault", (99,), "transferOwnership"),
    ):
        f = governed.own_functions[name]
        assert governed.call(STRANGER, governed.governor, f, *args) is not None
        assert governed.call(governed.timelock, governed.governor, f, *args) is None
        word = governed.rpc.call("eth_getStorageAt", vault, "0x0", "latest")
        assert int(word, 16) == int.from_bytes(keccak(admin[arrives].encode(*args)), "big")


def _admin(g: GovernedVault) -> list[Any]:
    from risk.chain.abi import functions

    return list(functions(g.artifacts["IVaultAdmin"].abi).values())


def test_G17_signers_and_ownership_on_the_real_vault(governed: GovernedVault) -> None:
    assert governed.act(governed.timelock, "setSigners", [3, 5], 2) is None
    assert governed.read("signers") == [[3, 5], 2]
    refused = governed.act(governed.timelock, "setSigners", [5, 3], 2)
    assert refused is not None and refused.name == "SignersNotAscending"
    zero = governed.act(governed.timelock, "transferVault", 0)
    assert zero == ModelRevert("NewOwnerIsZeroAddress", ())
    assert governed.act(governed.timelock, "transferVault", OWNER) is None
    assert governed.user(OWNER, "setSigners", [3], 1) is None
