"""From a calibration to a proposal that the governor accepts, with its effect and calldata.

Two routes (docs/governance.md). The *steward* keeps the shapes and weights in force and moves lanes
by the change of the scales, each within the limit of the period; what the limit cuts off is
counted and waits for the next period. The *timelock* replaces shapes, weights and lanes by a new
fit. Either way the scales are those of `factors.price_scale` (stress weight and floor) and go no
further in one proposal than `factors.step` allows; charges, limits and policy stay as they are.

The exact world starts at `RiskParams`: shocks become decimals once, then lanes away from zero at
the unit in force. Effects on the book are whole wei of `risk.vector.exact`, bit-identical to the
model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import numpy as np

from risk.chain.abi import function
from risk.chain.keccak import keccak
from risk.exact.errors import ModelRevert
from risk.exact.governance import param_diff, param_ramp, steward_check
from risk.exact.governance import param_layout as pl
from risk.exact.params.risk_params import RiskParams, UnderlyingParams
from risk.quant.book_market import RiskBook
from risk.quant.errors import QuantError
from risk.quant.recommend_effect import BookSize, drawn, effect, evidence
from risk.quant.restrict import subset
from risk.quant.scenarios import exact, factors
from risk.quant.scenarios.book import make_book
from risk.quant.scenarios.calibrate import Settings, calibrate
from risk.quant.scenarios.factors import Factors, Floats, Scale
from risk.quant.scenarios.fit import ScenarioSet

Tell = Callable[[str], None]

STEWARD: Final = "steward"
TIMELOCK: Final = "timelock"
BPS: Final = 10_000
MAX_LANE: Final = 4095
CLASSES: Final = {1: "tightens", 2: "loosens", 3: "tightens or loosens"}
HEADROOM: Final = 140  # percent of the smallest unit that fits


@dataclass(frozen=True)
class Governor:
    """Its limits (`IRiskGovernor.Config`) and where it is; `anchor` is the blob at the start of
    the steward's period, None where the next steering starts one."""

    steward_bps: int = 1_000
    min_steps: int = 13
    step_seconds: int = 21_600
    delay_seconds: int = 172_800
    governor: int = 0
    timelock: int = 0
    anchor: bytes | None = None


@dataclass(frozen=True, eq=False)
class InForce:
    """The parameters now, and the scales that their lanes stand for.

    `columns`: which underlying of the parameters each scale, and each asset of the prices, belongs
    to, ascending; None: all of them in order. The lanes of the others stay as they are.
    """

    params: RiskParams
    scale: Scale
    columns: tuple[int, ...] | None = None

    @property
    def owners(self) -> tuple[int, ...]:
        """`columns`, written out."""
        return tuple(range(self.params.underlying_count)) if self.columns is None else self.columns

    @property
    def part(self) -> RiskParams:
        """The parameters of the underlyings that have prices."""
        return subset(self.params, self.owners)


# --------------------------------------------------------------------------------------- proposals


def start(f: Factors, at: int, settings: Settings) -> InForce:
    """A freshly calibrated set as the one in force, for a venue that has none. Its units leave
    `HEADROOM`: at the smallest unit the largest shock has lane 4095 and could never grow."""
    found = calibrate(f, at, settings)
    tight = exact.quantised(found.scenarios, found.scale, settings.policy)
    roomy = replace(
        tight,
        underlyings=tuple(
            replace(
                u,
                price_unit_e6=-(-u.price_unit_e6 * HEADROOM // 100),
                vol_unit_e6=-(-u.vol_unit_e6 * HEADROOM // 100),
            )
            for u in tight.underlyings
        ),
    )
    now = InForce(roomy, found.scale)
    return InForce(renewed(now, found.scenarios, found.scale, settings), found.scale)


def steered(now: InForce, goal: Scale, governor: Governor) -> tuple[RiskParams, int]:
    """(the set with every lane moved from the scales in force to `goal`, lanes cut by the limit).

    A price shock x becomes (1 + x)^(σ'/σ) − 1, a volatility shock the same with τ: the shape keeps
    its place in standard deviations. Rounded away from zero, then cut to the steward's allowance,
    which is rounded down; a lane of 0 stays.
    """
    anchor = now.params if governor.anchor is None else RiskParams.decode(governor.anchor)
    cut, underlyings = 0, list(now.params.underlyings)
    for j, i in enumerate(now.owners):
        u, then = underlyings[i], anchor.underlyings[i]
        ratios = (goal.price[j] / now.scale.price[j], goal.vol[j] / now.scale.vol[j])
        moved: list[tuple[int, ...]] = []
        for lanes, old, unit, ratio in (
            (u.price_lanes, then.price_lanes, u.price_unit_e6, ratios[0]),
            (u.vol_lanes, then.vol_lanes, u.vol_unit_e6, ratios[1]),
        ):
            row = []
            for lane, anchored in zip(lanes, old, strict=True):
                wanted = _moved(lane, unit, float(ratio))
                got = _allowed(wanted, lane, anchored, governor.steward_bps)
                cut += got != wanted
                row.append(got)
            moved.append(tuple(row))
        underlyings[i] = replace(u, price_lanes=moved[0], vol_lanes=moved[1])
    return replace(now.params, underlyings=tuple(underlyings)), cut


def _moved(lane: int, unit_e6: int, ratio: float) -> int:
    """One lane at another scale."""
    shock = lane * unit_e6 * 1e-6
    if lane == 0 or shock <= -1.0 or ratio == 1.0:
        return lane
    target = Decimal(f"{np.expm1(ratio * np.log1p(shock)):.{exact.PLACES}f}")
    whole = -(-int(abs(target) * 10**6) // unit_e6)
    return whole * (1 if lane > 0 else -1)


def _allowed(wanted: int, lane: int, anchor: int, limit_bps: int) -> int:
    """The value nearest to `wanted` that `StewardCheck` lets pass; `lane` where there is none."""
    low, high = -MAX_LANE, MAX_LANE
    for old in (anchor, lane):
        reach = abs(old) * limit_bps // BPS
        low, high = max(low, old - reach), min(high, old + reach)
    return lane if low > high else min(max(wanted, low), high)


def renewed(now: InForce, scenarios: ScenarioSet, goal: Scale, settings: Settings) -> RiskParams:
    """The set in force with the shapes and weights of a new fit at `goal`.

    Units stay, because a unit and lanes in it cannot change together (`UnitAndLanes`); `QuantError`
    where a shock does not fit 4095 of them, and where an underlying has no prices: shapes are
    joint, so they are fitted to all underlyings or to none.
    """
    from risk.deploy.quantise import shock_lanes

    lacking = now.params.underlying_count - len(now.owners)
    if lacking:
        raise QuantError(f"a new fit needs prices of every underlying; {lacking} of them lack some")
    fresh = exact.quantised(scenarios, goal, settings.policy)
    x, v, _ = exact.quantised_shocks(fresh)
    underlyings = []
    for i, old in enumerate(now.params.underlyings):
        lanes = {}
        for label, shocks, unit in (
            ("price", x[:, i], old.price_unit_e6),
            ("vol", v[:, i], old.vol_unit_e6),
        ):
            largest = float(np.abs(shocks).max())
            if largest > MAX_LANE * unit * 1e-6:
                raise QuantError(
                    f"underlying {i}: a {label} shock of {largest:.6f} does not fit 4095 lanes of "
                    f"{unit} millionths; propose {label}_unit_e6 = "
                    f"{getattr(fresh.underlyings[i], f'{label}_unit_e6')} alone first"
                )
            lanes[label] = shock_lanes(f"{label}_shocks[{i}]", exact.rounded(shocks), unit)
        underlyings.append(_with_lanes(old, lanes["price"], lanes["vol"]))
    return replace(now.params, weights_bps=fresh.weights_bps, underlyings=tuple(underlyings))


def _with_lanes(
    u: UnderlyingParams, price: tuple[int, ...], vol: tuple[int, ...]
) -> UnderlyingParams:
    return replace(u, price_lanes=price, vol_lanes=vol)


# ------------------------------------------------------------------------------------------- goals


def goal_scale(f: Factors, at: int, now: InForce) -> tuple[Scale, dict[str, Any]]:
    """(the scales to propose, how they came about): forecast → stress weight → floor → step."""
    wanted = Scale(
        factors.price_scale(f, at), factors.vol_scale(f, f.first, at - factors.PERIOD + 1)
    )
    goal = factors.step(now.scale, wanted)
    done = f.move[max(0, at - factors.LOOK_BACK) : at + 1 - factors.PERIOD]
    floor = np.sqrt(np.mean(done**2, axis=0))
    return goal, {
        "price_scale_now": _listed(now.scale.price),
        "price_forecast": _listed(f.sigma[at]),
        "price_floor": _listed(floor),
        "floor_binds": [bool(b) for b in wanted.price <= floor],
        "price_scale_by_rule": _listed(wanted.price),
        "price_scale_proposed": _listed(goal.price),
        "step_limit_binds": [bool(a != b) for a, b in zip(wanted.price, goal.price, strict=True)],
        "vol_scale_now": _listed(now.scale.vol),
        "vol_scale_by_rule": _listed(wanted.vol),
        "vol_scale_proposed": _listed(goal.vol),
        "step_limits": [factors.MAX_STEP_DOWN, factors.MAX_STEP_UP],
    }


def reached(now: InForce, proposed: RiskParams) -> Scale:
    """The scales that the lanes of `proposed`, which has the shapes in force, stand for: what a
    later recommendation starts from. By the median over the scenarios, since limits cut some."""
    out = []
    for i in now.owners:
        old, new = now.params.underlyings[i], proposed.underlyings[i]
        for a, b, unit in (
            (old.price_lanes, new.price_lanes, old.price_unit_e6),
            (old.vol_lanes, new.vol_lanes, old.vol_unit_e6),
        ):
            before, after = (np.array(lanes) * unit * 1e-6 for lanes in (a, b))
            some = (before != 0.0) & (before > -1.0) & (after > -1.0)
            ratios = np.log1p(after[some]) / np.log1p(before[some])
            out.append(float(np.median(ratios)) if some.any() else 1.0)
    return Scale(now.scale.price * np.array(out[0::2]), now.scale.vol * np.array(out[1::2]))


def _listed(values: Floats) -> list[float]:
    return [float(f"{v:.9g}") for v in values]


# ------------------------------------------------------------------------------------ the proposal


def recommend(
    f: Factors,
    at: int,
    now: InForce,
    route: str,
    governor: Governor,
    settings: Settings,
    size: BookSize | RiskBook,
    tell: Tell = lambda _: None,
) -> dict[str, Any]:
    """The outcome as a JSON value: diff, effect, evidence, integers, calldata. Deterministic.

    `size`: the book that the effect is measured on, a generated one of the underlyings that have
    prices, or one that was read; the latter's parameters must be those in force.
    """
    if len(now.owners) != len(f.assets):
        raise QuantError(
            f"the parameters have {len(now.owners)} underlyings, the prices "
            f"{len(f.assets)}: {', '.join(f.assets)}"
        )
    goal, scales = goal_scale(f, at, now)
    cut, after = 0, goal
    if route == STEWARD:
        proposed, cut = steered(now, goal, governor)
        after = reached(now, proposed)
    elif route == TIMELOCK:
        tell("fitting shapes")
        proposed = renewed(now, calibrate(f, at, settings).scenarios, goal, settings)
    else:
        raise QuantError(f"no route {route!r}; there are {STEWARD} and {TIMELOCK}")
    old, new = now.params.blob, proposed.blob
    part = subset(proposed, now.owners)
    book = make_book(f.implied[at])
    changes = changed_fields(old, new)
    tell("effect on the book")
    if not isinstance(size, RiskBook):
        done = effect(drawn(f, at, book, now.part, size), replace(part, collaterals=()))
    elif size.state.params != now.params:
        raise QuantError("the book has other parameters than those that are called in force")
    else:
        done = effect(size.state, proposed)
    return {
        "route": route,
        "nothing_changes": old == new,
        "scales": scales,
        # exact floats: a later recommendation starts from them
        "scales_reached": {
            "price": [float(v) for v in after.price],
            "vol": [float(v) for v in after.vol],
        },
        "underlyings_left_as_they_are": [
            i for i in range(now.params.underlying_count) if i not in now.owners
        ],
        "lanes_cut_by_the_steward_limit": cut,
        "changes": changes,
        "ramp": ramp(now.params, proposed, route, governor) if changes else None,
        "effect": done,
        "coverage": evidence(f, at, book, goal, now.part, part, settings),
        "blob": "0x" + new.hex(),
        "blob_keccak": "0x" + keccak(new).hex(),
        "calldata": calldata(new, route, governor) if changes else [],
    }


def changed_fields(old: bytes, new: bytes) -> list[dict[str, Any]]:
    """The diff now → proposed by name, with the raw integers and, for lanes, the shock."""
    a, b = pl.words_of(old), pl.words_of(new)
    _, u, c = pl.counts(a)
    out = []
    for change in param_diff.diff(old, new):
        index, shift = change >> 16, change >> 8 & 0xFF
        kind, number, first = pl.locate(index, u, c)
        place, field = next((p, t) for p, t in pl.fields(kind) if t.shift == shift)
        row: dict[str, Any] = {"word": index, "shift": shift, "class": CLASSES[change & 0xFF]}
        before, after = field.get(a[index]), field.get(b[index])
        if pl.is_lane(kind):
            before, after = before - pl.LANE_BIAS, after - pl.LANE_BIAS
            label = "price_lane" if kind == pl.PRICE_LANES else "vol_lane"
            unit = pl.unit_of(b, kind, number)
            row |= {"field": label, "underlying": number, "scenario": first + place}
            row |= {"shock_now": _e6(before * unit), "shock_proposed": _e6(after * unit)}
        elif kind == pl.WEIGHTS:
            row |= {"field": "weight_bps", "scenario": first + place}
        else:
            row |= {"field": field.name, "of": number}
        out.append(row | {"now": str(before), "proposed": str(after)})
    return out


def _e6(millionths: int) -> str:
    return f"{Decimal(millionths) / 10**6:f}"


def ramp(now: RiskParams, proposed: RiskParams, route: str, governor: Governor) -> dict[str, Any]:
    """What the governor makes of it; `QuantError` with the governor's error where it refuses."""
    old, new = now.blob, proposed.blob
    try:
        pl.require_shape(old, new)
        if route == STEWARD:
            anchor = governor.anchor or old
            steward_check.require_within(anchor, old, new, governor.steward_bps)
        first, steps = param_ramp.plan(old, new, route == TIMELOCK, governor.min_steps)
    except ModelRevert as error:
        raise QuantError(f"the governor would refuse this proposal: {error}") from error
    return {
        "steps": steps,
        "step_seconds": governor.step_seconds,
        "shortest_seconds": steps * governor.step_seconds,
        "jumps_at_once": first != old,
    }


# ---------------------------------------------------------------------------------------- calldata


def _call(name: str, *types: str) -> Any:
    return function({"name": name, "inputs": [{"type": t} for t in types]})


def calldata(blob: bytes, route: str, governor: Governor) -> list[dict[str, Any]]:
    """Transactions in order: who sends, to whom (null where its address is not known), what. The
    salt is the hash of the blob. Through the timelock: none where the governor is not known, since
    its address is in the call."""
    if route == TIMELOCK and not governor.governor:
        return []

    def row(sender: str, to: int, call: Any, *arguments: Any, after: int = 0) -> dict[str, Any]:
        data = call.encode(*arguments)
        return {
            "sender": sender,
            "to": f"0x{to:040x}" if to else None,
            "function": call.signature,
            "not_before_seconds": after,
            "data": "0x" + data.hex(),
        }

    if route == STEWARD:
        return [row("steward", governor.governor, _call("steer", "bytes"), blob)]
    inner = _call("submitParams", "bytes").encode(blob)
    salt = int.from_bytes(keccak(blob), "big")
    words = ("address", "uint256", "bytes", "bytes32", "bytes32")
    operation = (governor.governor, 0, inner, 0, salt)
    delay = governor.delay_seconds
    return [
        row("proposer", governor.timelock, _call("schedule", *words, "uint256"), *operation, delay),
        row("executor", governor.timelock, _call("execute", *words), *operation, after=delay),
    ]
