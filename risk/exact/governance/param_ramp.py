"""From one blob to another in bounded steps.  Twin: ``contracts/governance/ParamRamp.sol``.

A ramp has a number of equal steps such that no field moves in one step by more than its cap
(docs/governance.md §3).  At step i of n every field stands at ``old + ⌊(new − old)·i/n⌋``: one
rounding (down) for all fields, so every inequality between two fields that holds at both ends holds
at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from risk.exact.errors import ModelRevert
from risk.exact.governance import param_diff
from risk.exact.governance import param_layout as pl

BPS: Final = 10_000
WEIGHT_STEP: Final = 10**8  # bps · 1e-6: a weight may move a loss by 1 % of the notional a step
VOL_SHARE: Final = 5  # a vol shock counts as a fifth of a price shock


def plan(current: bytes, target: bytes, jump_looser: bool, min_steps: int) -> tuple[bytes, int]:
    """Where the ramp from ``current`` to ``target`` starts, and its number of steps (0: ``target``
    is taken at once).

    What need not ramp takes its new value at the start.  A scenario that is new starts with weight
    1 bps.  With ``jump_looser`` the fields that only loosen jump (they have waited in the
    timelock), without it every loosening ramps.  ``UnitAndLanes(underlying)`` where a unit and
    lanes in it change together: their product would overshoot on the way.
    """
    a, b = pl.words_of(current), pl.words_of(target)
    k_old, u, c = pl.counts(a)
    common = min(k_old, pl.counts(b)[0])
    start, steps = list(b), 0
    for index, (x, y) in enumerate(zip(a, b, strict=True)):
        if x == y:
            continue
        kind, number, first = pl.locate(index, u, c)
        for place, field in pl.fields(kind):
            old, new = field.get(x), field.get(y)
            if old == new or (pl.is_lane(kind) and first + place >= common):
                continue
            if pl.is_lane(kind) and pl.unit_of(a, kind, number) != pl.unit_of(b, kind, number):
                raise ModelRevert("UnitAndLanes", (number,))
            found = param_diff.classify(field.rule, old, new)
            ramps = (found & param_diff.TIGHTENS and field.flags & pl.RAMP_TIGHTER) or (
                found & param_diff.LOOSENS
                and (field.flags & pl.RAMP_LOOSER or (not jump_looser and has_cap(field)))
            )
            if not ramps:
                continue
            if field.flags & pl.WEIGHT and first + place >= k_old:
                old = min(1, new)
            start[index] = field.put(start[index], old)
            cap = _step_cap(a, b, field, kind, number, first + place, old, new)
            steps = max(steps, -(-abs(new - old) // cap))
    return pl.blob_of(start), max(steps, min_steps) if steps else 0


def interpolate(start: bytes, target: bytes, step: int, steps: int) -> bytes:
    """The blob at ``step`` of ``steps``, 0 ≤ step ≤ steps, steps > 0; fields rounded down."""
    a, b = pl.words_of(start), pl.words_of(target)
    _, u, c = pl.counts(a)
    out = list(b)
    for index, (x, y) in enumerate(zip(a, b, strict=True)):
        if x == y:
            continue
        for _, field in pl.fields(pl.locate(index, u, c)[0]):
            old, new = field.get(x), field.get(y)
            out[index] = field.put(out[index], old + (new - old) * step // steps)
    return pl.blob_of(out)


def has_cap(field: pl.Field) -> bool:
    """Whether the field knows how to ramp."""
    return field.cap != 0 or field.flags & pl.WEIGHT != 0


def _step_cap(
    a: Sequence[int],
    b: Sequence[int],
    field: pl.Field,
    kind: int,
    number: int,
    k: int,
    old: int,
    new: int,
) -> int:
    """Largest move of the field in one step, at least 1; rounded down."""
    cap = field.cap
    if field.flags & pl.RELATIVE:
        cap = max(old, new) * cap // BPS
    elif field.flags & pl.LANE:
        cap //= pl.unit_of(b, kind, number) or 1  # the vault refuses a unit of 0 later
    elif field.flags & pl.WEIGHT:
        shock = max(_shock_e6(a, k), _shock_e6(b, k))
        cap = WEIGHT_STEP // shock if shock else BPS
    return max(1, cap)


def _shock_e6(words: Sequence[int], k: int) -> int:
    """The largest shock of scenario k over the underlyings, price plus a fifth of vol, 1e-6."""
    largest = 0
    for u in range(pl.counts(words)[1]):
        price, vol = (
            abs(pl.lane_of(words, kind, u, k)) * pl.unit_of(words, kind, u)
            for kind in (pl.PRICE_LANES, pl.VOL_LANES)
        )
        largest = max(largest, price + vol // VOL_SHARE)
    return largest
