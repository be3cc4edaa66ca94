"""Random sequences of every action of governance, model and chain compared after each: G15."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from risk.exact.governance import risk_governor as rg
from risk.exact.params.risk_params import RiskParams
from tests.governance.support import (
    CONFIG,
    DAY,
    GUARDIAN,
    LISTER,
    STEWARD,
    STRANGER,
    WAD,
    GovernedVault,
)
from tests.governance.test_governor import finish, listed_words
from tests.governance.test_param_ramp import random_target

KINDS = {
    "submit": 10,
    "tighten": 12,
    "steer": 12,
    "poke": 40,
    "finish": 8,
    "halt": 6,
    "expiry": 14,
    "collateral": 3,
    "underlying": 1,
    "role": 3,
}


def goal(g: GovernedVault) -> RiskParams:
    """Where the parameters are going."""
    assert g.state.params is not None
    target = g.gov.store.target
    return RiskParams.decode(target) if target else g.state.params


def tighter(rng: Random, p: RiskParams) -> RiskParams:
    """One to three fields tighter."""
    for _ in range(rng.randint(1, 3)):
        u = rng.randrange(len(p.underlyings))
        j = rng.randrange(len(p.collaterals))
        us, cs = list(p.underlyings), list(p.collaterals)
        what = rng.randrange(6)
        if what == 0:
            us[u] = replace(us[u], som_bps=us[u].som_bps + rng.randint(1, 400))
        elif what == 1:
            us[u] = replace(us[u], depth_wad=max(1, us[u].depth_wad * rng.randint(30, 99) // 100))
        elif what == 2:
            us[u] = replace(us[u], oi_cap_wad=max(1, us[u].oi_cap_wad // 2 or WAD))
        elif what == 3:
            up = rng.randint(1, 600)
            cs[j] = replace(cs[j], haircut_bps=min(10_000, cs[j].haircut_bps + up))
        elif what == 4:
            cs[j] = replace(cs[j], cap=cs[j].cap // 2)
        else:
            up = rng.randint(1, 900)
            p = replace(p, weights_bps=tuple(min(10_000, w + up) for w in p.weights_bps))
        p = replace(p, underlyings=tuple(us), collaterals=tuple(cs))
    return p


def steered(rng: Random, p: RiskParams) -> RiskParams:
    """Weights and lanes near where they are, sometimes too far."""
    share = rng.choice((0.005, 0.02, 0.04, 0.12))

    def near(x: int) -> int:
        return int(x * (1 + rng.uniform(-share, share)))

    us = tuple(
        replace(u, price_lanes=tuple(map(near, u.price_lanes))) if rng.random() < 0.5 else u
        for u in p.underlyings
    )
    weights = tuple(min(10_000, near(w)) for w in p.weights_bps)
    return replace(p, weights_bps=weights, underlyings=us)


def act(g: GovernedVault, rng: Random) -> str:
    """One random action; returns its name and outcome."""
    kind = rng.choices(tuple(KINDS), tuple(KINDS.values()))[0]
    any_role = rng.choice((g.timelock, GUARDIAN, STEWARD, LISTER, STRANGER))

    def sender(right: int) -> int:
        return right if rng.random() < 0.85 else any_role

    if kind == "submit":
        blob = random_target(rng, goal(g)).blob
        got = g.act(sender(g.timelock), "submitParams", blob)
    elif kind == "tighten":
        p = goal(g)
        blob = (tighter(rng, p) if rng.random() < 0.8 else random_target(rng, p)).blob
        got = g.act(sender(GUARDIAN), "tighten", blob)
    elif kind == "steer":
        got = g.act(sender(STEWARD), "steer", steered(rng, goal(g)).blob)
    elif kind == "poke":
        got = g.act(STRANGER, "poke")
    elif kind == "finish":
        finish(g)
        got = None
    elif kind == "halt":
        got = g.act(rng.choice((g.timelock, GUARDIAN, STEWARD)), "halt")
    elif kind == "expiry":
        first = rng.randint(1, 10**6)
        strikes = [(first + x) * WAD for x in range(rng.choice((0, 5, 30, 65)))]
        day = g.world.timestamp // DAY + rng.choice((0, 8, 400, 1_190, 1_300))
        got = g.act(sender(LISTER), "listExpiry", rng.randrange(3), day, strikes)
    elif kind == "collateral":
        token = g.new_token(rng.choice((6, 18)))
        decimals = int(g.token_functions["decimals"].decode(_decimals(g, token))[0])
        rate = g.new_feed(18, 10**18) if rng.random() < 0.3 else 0
        args = (token, rng.randrange(3), rate, rng.choice((500, 10_001)), rng.randrange(2))
        got = g.act(sender(g.timelock), "listCollateral", *args, decimals, chain=args)
    elif kind == "underlying":
        feed = g.new_feed(8, 10**10)
        words = listed_words() if rng.random() < 0.7 else listed_words()[32:]
        got = g.act(sender(g.timelock), "listUnderlying", feed, words)
    else:
        role, who = rng.choice(list(rg_roles())), rng.choice((STRANGER, LISTER))
        name = rng.choice(("grantRole", "revokeRole"))
        got = g.act(sender(g.timelock), name, role, who)
    return f"{kind} {got.name if got else 'ok'}"


def rg_roles() -> tuple[int, ...]:
    return (rg.GUARDIAN_ROLE, rg.STEWARD_ROLE, rg.LISTER_ROLE)


def _decimals(g: GovernedVault, token: int) -> bytes:
    return g.rpc.eth_call(f"0x{token:040x}", g.token_functions["decimals"].encode())


def test_G15_model_and_chain_agree_after_every_action(governed: GovernedVault) -> None:
    rng = Random("governance")
    seen: dict[str, int] = {}
    for _ in range(500):
        governed.warp(rng.choice((0, 60, CONFIG.step_seconds, CONFIG.step_seconds, DAY)))
        outcome = act(governed, rng)
        seen[outcome] = seen.get(outcome, 0) + 1
    for kind in ("submit", "tighten", "steer", "poke", "halt", "expiry", "collateral"):
        assert seen.get(f"{kind} ok", 0) >= 3, seen
    missing = {
        "Loosens",
        "StewardLimit",
        "RampActive",
        "RampInactive",
        "StepTooEarly",
        "HaltRefused",
        "AccessControlUnauthorizedAccount",
        "StrikeBudget",
        "ExpiryTooFar",
        "RiskParamsInvalid",
    } - {x.split()[1] for x in seen}
    assert not missing, seen
