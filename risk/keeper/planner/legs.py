"""Which legs are worth taking: those that reduce MM most for what they cost.

One leg alone is measured by taking it off a copy of the account; sets grow in that order until the
account is on its target, the last leg in part. Conditions: docs/liquidation.md §7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from risk.exact.errors import ModelRevert
from risk.exact.liquidation import slice_math
from risk.exact.margin import instrument_id, margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.math.wad_math import WAD
from risk.exact.state import Account, Linear, Option
from risk.keeper.planner.trial import Ground, Offer, Seen, positions, take_legs

CONSIDERED: Final = 16  # positions, the largest notionals
_PARTS: Final = 4_096  # the last leg is taken in multiples of this part
_STEPS: Final = 12


@dataclass(frozen=True)
class Leg:
    """One position alone: what taking it does to MM, and what it costs (< 0: brings)."""

    instrument: int
    size_wad: int
    mm_wad: int
    payment_wad: int

    @property
    def order(self) -> tuple[int, Fraction]:
        """First those that cost nothing, by MM; then by MM per payment."""
        if self.payment_wad <= 0:
            return 0, Fraction(-self.mm_wad)
        return 1, Fraction(-self.mm_wad, self.payment_wad)


def offer(ground: Ground, seen: Seen, refused: list[ModelRevert]) -> Offer | None:
    """The largest set of legs that contract and own margin let through; None where there is none.
    What the model refuses it with is added to ``refused``.
    """
    if ground.terms.max_legs == 0 or seen.margin.mark_equity < 0:
        return None
    chosen = choose(ground, seen)
    while chosen:
        words = sorted((i, size) for i, size in chosen.items())
        try:
            return take_legs(ground, seen, [i << 96 | size % 2**96 for i, size in words])
        except ModelRevert as error:
            refused.append(error)
            chosen.popitem()  # the last one taken
    return None


def choose(ground: Ground, seen: Seen) -> dict[int, int]:
    """Instrument → size, in the order in which they are worth taking."""
    target = seen.case.p.target_bps * slice_math.BPS_WAD
    chosen: dict[int, int] = {}
    mm = seen.margin.mm
    for leg in ranked(seen):
        if len(chosen) == ground.terms.max_legs:
            break
        left = _left(seen, {**chosen, leg.instrument: leg.size_wad})
        if left is None or left.mm >= mm:
            continue  # it hedges what the account keeps
        if _health(seen, left) <= target:
            chosen[leg.instrument] = leg.size_wad
            mm = left.mm
            continue
        part = _part(seen, chosen, leg, target)
        if part:
            chosen[leg.instrument] = part
        break
    return chosen


def ranked(seen: Seen) -> list[Leg]:
    """The positions whose taking reduces MM, the best first."""
    prices = [u.price_wad for u in seen.state.underlyings]
    held = positions(seen.case.a)
    held.sort(key=lambda x: (-abs(x[1]) * prices[instrument_id.underlying(x[0])], x[0]))
    found = []
    for instrument, size in held[:CONSIDERED]:
        left = _left(seen, {instrument: size})
        if left is None or left.mm >= seen.margin.mm:
            continue
        fallen = seen.margin.mm - left.mm
        reward = seen.rho_wad * fallen // WAD
        payment = seen.margin.mark_equity - left.mark_equity - reward
        found.append(Leg(instrument, size, fallen, payment))
    return sorted(found, key=lambda leg: (leg.order, leg.instrument))


def _part(seen: Seen, chosen: Mapping[int, int], leg: Leg, target: int) -> int:
    """The largest part of ``leg`` that does not take the account beyond its target; 0: none."""
    low, high = 0, _PARTS
    for _ in range(_STEPS):
        middle = (low + high) // 2
        size = _scaled(leg.size_wad, middle)
        left = _left(seen, {**chosen, leg.instrument: size}) if size else None
        if size == 0 or (left is not None and _health(seen, left) <= target):
            low = middle
        else:
            high = middle
    return _scaled(leg.size_wad, low)


def _scaled(size: int, parts: int) -> int:
    moved = abs(size) * parts // _PARTS
    return moved if size >= 0 else -moved


def _left(seen: Seen, legs: Mapping[int, int]) -> Margin | None:
    """Margin of what stays, the payment not yet in it; None where the model refuses."""
    a = seen.case.a
    linear, options = [], []
    for x in a.linear:
        size = legs.get(x.instrument, 0)
        moved = abs(x.quote_wad) * abs(size) // abs(x.size_wad) if size else 0
        quote = x.quote_wad - (moved if x.quote_wad >= 0 else -moved)
        if x.size_wad != size or quote:
            linear.append(Linear(x.instrument, x.size_wad - size, quote))
    for y in a.options:
        if y.size_wad != legs.get(y.instrument, 0):
            options.append(Option(y.instrument, y.size_wad - legs.get(y.instrument, 0)))
    left: Account = replace(a, linear=linear, options=options)
    try:
        return margin_engine.compute(seen.state, seen.account, left)
    except ModelRevert:
        return None


def _health(seen: Seen, left: Margin) -> int:
    """HF after the payment, WAD, rounded down; 0 requirement: beyond every target."""
    fallen = seen.margin.mm - left.mm
    reward = min(seen.rho_wad * fallen // WAD, seen.margin.mark_equity)
    equity = left.equity + seen.margin.mark_equity - left.mark_equity - reward
    if left.mm == 0:
        return 2**255 if equity > 0 else 0
    return equity * WAD // left.mm
