"""Ramps: docs/governance.md G5, G6."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from risk.errors import RevertError
from risk.exact.errors import ModelRevert
from risk.exact.governance import param_diff, param_ramp
from risk.exact.governance import param_layout as pl
from risk.exact.params import params_logic
from risk.exact.params.risk_params import RiskParams
from tests.governance.blobs import mutate, random_blob
from tests.governance.support import CONFIG, GovernedVault, base_params

MIN = CONFIG.min_steps


def test_G6_chain_plans_and_interpolates_random_ramps_alike(governed: GovernedVault) -> None:
    rng = Random("ramps on chain")
    refused = 0
    for _ in range(120):
        shape = rng.choice(((1, 1, 0), (8, 2, 2), (17, 1, 3), (64, 3, 2)))
        old = random_blob(rng, *shape)
        new = mutate(rng, old, rng.choice((1, 2, 6, 40)))
        jump = rng.random() < 0.5
        try:
            want = param_ramp.plan(old, new, jump, MIN)
        except ModelRevert as error:
            refused += 1
            with pytest.raises(RevertError) as caught:
                governed.view("plan", old, new, jump)
            assert caught.value.data == governed.errors.encode(error.name, error.args)
            continue
        assert tuple(governed.view("plan", old, new, jump)) == want
        start, steps = want
        if steps:
            for step in {0, 1, rng.randint(0, steps), steps - 1, steps}:
                got = governed.view("interpolate", start, new, step, steps)
                assert got == [param_ramp.interpolate(start, new, step, steps)]
    assert 0 < refused < 80


def test_G5_what_ramps_and_what_jumps() -> None:
    base = base_params()
    u, c = base.underlyings[0], base.collaterals[0]

    def start(jump: bool = True, **changes: object) -> tuple[RiskParams, int]:
        made = replace(base, **changes)  # type: ignore[arg-type]
        blob, steps = param_ramp.plan(base.encode(), made.encode(), jump, MIN)
        return RiskParams.decode(blob), steps

    def other(field: str, value: int) -> dict[str, object]:
        return {"underlyings": (replace(u, **{field: value}), base.underlyings[1])}

    # bears on health and tightens: stays where it is and ramps
    for field, value in (("som_bps", 700), ("liq_bps", 1_300), ("depth_wad", u.depth_wad // 2)):
        at, steps = start(**other(field, value))
        assert getattr(at.underlyings[0], field) == getattr(u, field) and steps >= MIN
    # loosens: jumps from the timelock, ramps otherwise
    at, steps = start(**other("som_bps", 100))
    assert at.underlyings[0].som_bps == 100 and steps == 0
    at, steps = start(False, **other("som_bps", 100))
    assert at.underlyings[0].som_bps == 500 and steps == MIN
    # limits of new risk jump in both directions
    for value in (1, 0):
        at, steps = start(**other("oi_cap_wad", value))
        assert at.underlyings[0].oi_cap_wad == value and steps == 0
    # a collateral cap grows by a ramp, and falls at once
    for cap, now, ramps in ((2 * c.cap, c.cap, True), (0, 0, False)):
        at, steps = start(collaterals=(replace(c, cap=cap), base.collaterals[1]))
        assert at.collaterals[0].cap == now and (steps >= MIN) == ramps
    # a lane ramps in both directions
    for lane in (-1_300, -1_100):
        lanes = (lane, *u.price_lanes[1:])
        at, steps = start(underlyings=(replace(u, price_lanes=lanes), base.underlyings[1]))
        assert at.underlyings[0].price_lanes[0] == -1_200 and steps >= MIN
    # a new scenario starts at 1 bps
    more = tuple(
        replace(x, price_lanes=(*x.price_lanes, -3_000), vol_lanes=(*x.vol_lanes, 0))
        for x in base.underlyings
    )
    at, steps = start(weights_bps=(*base.weights_bps, 5_000), underlyings=more)
    assert at.weights_bps == (*base.weights_bps, 1)
    assert at.underlyings[0].price_lanes[8] == -3_000
    assert steps == -(-4_999 // (10**8 // 300_000))


def test_G5_unit_and_lanes_do_not_change_together() -> None:
    base = base_params()
    u = base.underlyings[0]
    moved = replace(u, price_unit_e6=200, price_lanes=tuple(x // 2 for x in u.price_lanes))
    with pytest.raises(ModelRevert) as caught:
        target = replace(base, underlyings=(moved, base.underlyings[1])).encode()
        param_ramp.plan(base.encode(), target, True, MIN)
    assert caught.value == ModelRevert("UnitAndLanes", (0,))


def random_target(rng: Random, base: RiskParams) -> RiskParams:
    """A valid set near ``base``: header, charges, weights, lanes, haircuts and caps move."""
    im = rng.randint(11_500, 16_000)
    reward = rng.randint(100, 900)

    def near(value: int, share: float = 0.5, top: int = 6_000) -> int:
        """``value`` moved by up to ``share``, in [1, top]: ``top`` stops long random walks."""
        return max(1, min(round(value * (1 + rng.uniform(-share, share))), top))

    def scaled(lane: int) -> int:
        return max(-4_000, min(round(lane * rng.uniform(0.5, 1.5)), 4_000))

    us = []
    for u in base.underlyings:
        lanes = rng.random() < 0.5
        us.append(
            replace(
                u,
                depth_wad=near(u.depth_wad, top=2**100),
                som_bps=near(u.som_bps),
                liq_bps=near(u.liq_bps),
                basis_base_bps=near(u.basis_base_bps),
                basis_slope_bps=near(u.basis_slope_bps),
                tenor_cap_wad=near(u.tenor_cap_wad, top=2**62),
                deviation_band_bps=near(u.deviation_band_bps),
                price_unit_e6=u.price_unit_e6 if lanes else near(u.price_unit_e6),
                price_lanes=tuple(scaled(x) for x in u.price_lanes) if lanes else u.price_lanes,
                vol_lanes=tuple(scaled(x) for x in u.vol_lanes),
            )
        )
    return replace(
        base,
        im_factor_bps=im,
        target_bps=rng.randint(10_001, im),
        reward_base_bps=rng.randint(0, reward),
        reward_max_bps=reward,
        weights_bps=tuple(near(w, 0.9) for w in (min(w, 5_000) for w in base.weights_bps)),
        underlyings=tuple(us),
        collaterals=tuple(
            replace(c, haircut_bps=near(c.haircut_bps), cap=near(c.cap, top=2**120))
            for c in base.collaterals
        ),
    )


def test_G6_every_step_is_valid_and_within_the_caps(governed: GovernedVault) -> None:
    """From valid to valid: every blob on the way passes the vault, no field leaps, all arrive."""
    rng = Random("valid ramps")
    caps: dict[str, int] = {f.name: f.cap for t in pl.TABLES for f in t}
    for _ in range(25):
        base = random_target(rng, base_params())
        target = random_target(rng, base)
        start, steps = param_ramp.plan(base.encode(), target.encode(), False, MIN)
        assert steps >= MIN
        assert param_ramp.interpolate(start, target.encode(), 0, steps) == start
        assert param_ramp.interpolate(start, target.encode(), steps, steps) == target.encode()
        before = start
        some = sorted({1, 2, 3, steps // 2, steps // 2 + 1, steps - 1, steps})
        for step in range(1, steps + 1):
            if step not in some and step - 1 not in some:
                continue
            at = param_ramp.interpolate(start, target.encode(), step, steps)
            params_logic.validate(governed.state, at)
            if step - 1 in some or step == 1:
                check_step(before, at, caps)
            before = at


def check_step(old: bytes, new: bytes, caps: dict[str, int]) -> None:
    a, b = RiskParams.decode(old), RiskParams.decode(new)
    for name in ("im_factor_bps", "target_bps", "reward_base_bps", "reward_max_bps"):
        assert abs(getattr(a, name) - getattr(b, name)) <= caps[name]
    for x, y in zip(a.underlyings, b.underlyings, strict=True):
        for name in ("som_bps", "liq_bps", "basis_base_bps", "deviation_band_bps"):
            assert abs(getattr(x, name) - getattr(y, name)) <= caps[name]
        assert abs(x.depth_wad - y.depth_wad) * 20 <= 2 * max(x.depth_wad, y.depth_wad)
        for p, q in zip(x.price_lanes, y.price_lanes, strict=True):
            # a unit moves by 2, lanes by 1 % of price: never both
            assert abs(p * x.price_unit_e6 - q * y.price_unit_e6) <= 10_000
        for p, q in zip(x.vol_lanes, y.vol_lanes, strict=True):
            assert abs(p * x.vol_unit_e6 - q * y.vol_unit_e6) <= 50_000
    for k, (p, q) in enumerate(zip(a.weights_bps, b.weights_bps, strict=True)):
        shock = max(
            abs(x.price_lanes[k]) * x.price_unit_e6 for x in (*a.underlyings, *b.underlyings)
        )
        assert abs(p - q) * shock <= 10**8 + shock
    for v, w in zip(a.collaterals, b.collaterals, strict=True):
        assert abs(v.haircut_bps - w.haircut_bps) <= caps["haircut_bps"]
        assert abs(v.cap - w.cap) * 28 <= 2 * max(v.cap, w.cap)


def test_G6_unclassified_bits_never_ramp() -> None:
    """They come with the target; the vault refuses them there."""
    base = base_params().encode()
    words = pl.words_of(base)
    words[0] ^= 1 << 200
    target = pl.blob_of(words)
    assert param_ramp.plan(base, target, True, MIN) == (target, 0)
    assert param_diff.diff(base, target)[0] & 3 == 3
