"""Worlds of recorded sequences, and smaller ones: fewer underlyings, expiries, strikes,
collaterals, scenarios, users. What is named by number is renumbered; steps that name what is gone
are dropped.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from risk.diff.plumbline.params_blob import Tail
from risk.diff.plumbline.replay_steps import Place, Signed, VaultStep, flat, mapped
from risk.diff.plumbline.signing import Actor
from risk.diff.plumbline.world import WorldSpec
from risk.exact.params.risk_params import RiskParams


@dataclass(frozen=True)
class VaultWorld:
    """What a deployment and its set-up are made from. ``set_up`` counts the set-up actions before
    the sequence begins, None for all of them (then funding follows as steps).
    """

    spec: WorldSpec
    signers: int
    threshold: int
    sequencer_age: int = 10
    set_up: int | None = None

    def describe(self) -> str:
        """A few lines."""
        spec, lines = self.spec, []
        lines.append(
            f"{len(spec.instruments())} instruments, {spec.params.scenarios} scenarios, "
            f"cash of {spec.cash_decimals} decimals, begins at {spec.now}"
        )
        for u, item in enumerate(spec.underlyings):
            days = ", ".join(f"{b.expiry_day}: {len(b.strikes_wad)} strikes" for b in item.buckets)
            lines.append(f"underlying {u} at {item.price_wad} WAD; expiries {days or 'none'}")
        for j, c in enumerate(spec.collaterals):
            lines.append(f"collateral {j} of underlying {c.underlying}, {c.decimals} decimals")
        tail = {name: v for name, v in vars(spec.params.tail).items() if v}
        lines.append(
            "switched on: " + (", ".join(f"{k} {v}" for k, v in tail.items()) or "nothing")
        )
        return "\n".join(lines)


Candidate = tuple[VaultWorld, list[VaultStep]]


def smaller(
    world: VaultWorld, steps: Sequence[VaultStep], users: Sequence[Actor]
) -> Iterator[Candidate]:
    """The boldest first."""
    if world.set_up is None:
        yield from _structure(world, list(steps))
        yield from _parameters(world, list(steps))
    yield from _users(world, list(steps), users)


# ── what exists ──────────────────────────────────────────────────────────────────────────────────


def _structure(world: VaultWorld, steps: list[VaultStep]) -> Iterator[Candidate]:
    used = set(instruments_of(steps))
    spec = world.spec
    for simpler in (_perp, _future):  # then expiries, or strikes, can go
        if any(simpler(i) != i for i in used):
            yield world, _all(steps, partial(_with_instruments, change=simpler))
    if len(spec.underlyings) > 1:
        mentioned = {i >> 28 for i in used} | underlyings_of(steps)
        for kept in ({i >> 28 for i in used}, mentioned):
            gone = set(range(len(spec.underlyings))) - (kept or {0})
            if gone:
                yield without_underlyings(world, steps, gone)
        for u in reversed(range(len(spec.underlyings))):
            yield without_underlyings(world, steps, {u})
    if spec.collaterals:
        yield without_collaterals(world, steps, set(range(len(spec.collaterals))))
        for j in reversed(range(len(spec.collaterals))):
            yield without_collaterals(world, steps, {j})
    if any(u.buckets for u in spec.underlyings):
        yield _only_listed(world, steps, lambda u, day, i: False)
        expiries = {i >> 28 << 16 | i >> 10 & 0xFFFF for i in used}
        yield _only_listed(world, steps, lambda u, day, i: _id(u, day, i) & {*used} != set())
        yield _only_listed(world, steps, lambda u, day, i: u << 16 | day in expiries and i == -1)
        yield _only_listed(world, steps, lambda u, day, i: u << 16 | day in expiries)


def _perp(instrument: int) -> int:
    """Of the same underlying."""
    return instrument >> 28 << 28


def _future(instrument: int) -> int:
    """Of the same expiry; perps stay."""
    if not instrument >> 26 & 3:
        return instrument
    return instrument & ~(3 << 26 | 0x3FF) | 1 << 26


def _id(u: int, day: int, strike: int) -> set[int]:
    base = u << 28 | day << 10
    if strike < 0:  # the expiry itself: its future, or any option of it
        return {base | 1 << 26, *(base | k << 26 | s for k in (2, 3) for s in range(1024))}
    return {base | 2 << 26 | strike, base | 3 << 26 | strike}


def instruments_of(steps: Sequence[VaultStep]) -> Iterator[int]:
    """Every instrument that a step names."""
    for step in flat(list(steps)):
        found: list[int] = []

        def note(instrument: int, found: list[int] = found) -> int:
            found.append(instrument)
            return instrument

        _with_instruments(step, note)
        yield from found


def underlyings_of(steps: Sequence[VaultStep]) -> set[int]:
    """Underlyings that feeds and reports of actions name."""
    out = set()
    for step in flat(list(steps)):
        if step.contract.startswith("feed "):
            out.add(int(step.contract.split()[1]))
        if step.name == "submitReport":
            out.add(step.arguments[0][0])
    return out


def _with_instruments(step: VaultStep, change: Callable[[int], int]) -> VaultStep:
    a = step.arguments
    if step.name == "fill":
        orders = [(o[0], change(o[1]), *o[2:]) for o in (a[0], a[2])]
        return replace(step, arguments=(orders[0], a[1], orders[1], *a[3:]))
    if step.name == "cancel":
        return replace(step, arguments=((a[0][0], change(a[0][1]), *a[0][2:]),))
    if step.name == "computeArrays":
        return replace(step, arguments=(tuple(change(i) for i in a[0]),))
    if step.name == "autoDeleverage":
        return replace(step, arguments=(a[0], change(a[1]), *a[2:]))
    if step.name == "liquidateLegs":
        legs = tuple(change(leg >> 96) << 96 | leg & 2**96 - 1 for leg in a[2])
        return replace(step, arguments=(*a[:2], legs, *a[3:]))
    return step


class _Gone(Exception):
    """The step names something that the smaller world lacks."""


def _all(steps: list[VaultStep], change: Callable[[VaultStep], VaultStep]) -> list[VaultStep]:
    def attempt(step: VaultStep) -> VaultStep | None:
        try:
            return change(step)
        except _Gone:
            return None

    return [made for step in steps if (made := mapped(step, attempt)) is not None]


def without_underlyings(world: VaultWorld, steps: list[VaultStep], gone: set[int]) -> Candidate:
    """Their collaterals go too."""
    lost = {j for j, c in enumerate(world.spec.collaterals) if c.underlying in gone}
    if lost:
        world, steps = without_collaterals(world, steps, lost)
    spec = world.spec
    kept = [u for u in range(len(spec.underlyings)) if u not in gone]
    new = {u: i for i, u in enumerate(kept)}

    def number(u: int) -> int:
        if u in gone:
            raise _Gone
        return new.get(u, u)

    def instrument(i: int) -> int:
        return number(i >> 28) << 28 | i & 2**28 - 1

    def change(step: VaultStep) -> VaultStep:
        step = _with_instruments(_renamed(step, "feed", number), instrument)
        a = step.arguments
        if step.name == "submitReport":
            a = ((number(a[0][0]), *a[0][1:]), *a[1:])
        elif step.name == "refresh":
            a = (tuple(number(u) for u in a[0]),)
        elif step.name in ("observe", "listExpiry"):
            a = (number(a[0]), *a[1:])
        elif step.name == "listCollateral":
            a = (a[0], number(a[1]), a[2])
        elif step.name == "setRiskParams":
            a = (_blob(a[0], kept, None, number),)
        return replace(step, arguments=a)

    params = copy.deepcopy(spec.params)
    params.underlyings = [params.underlyings[u] for u in kept]
    for c in params.collaterals:
        c.underlying = new[c.underlying]
    spec = replace(
        spec,
        underlyings=tuple(spec.underlyings[u] for u in kept),
        collaterals=tuple(replace(c, underlying=new[c.underlying]) for c in spec.collaterals),
        params=params,
    )
    return replace(world, spec=spec), _all(steps, change)


def without_collaterals(world: VaultWorld, steps: list[VaultStep], gone: set[int]) -> Candidate:
    """Their rate feeds go too."""
    spec = world.spec
    kept = [j for j in range(len(spec.collaterals)) if j not in gone]
    new = {j: i for i, j in enumerate(kept)}

    def number(j: int) -> int:
        if j in gone:
            raise _Gone
        return new.get(j, j)

    def change(step: VaultStep) -> VaultStep:
        step = _renamed(_renamed(step, "token", number), "rate", number)
        if step.name == "setRiskParams":
            return replace(step, arguments=(_blob(step.arguments[0], None, kept, None),))
        return step

    params = copy.deepcopy(spec.params)
    params.collaterals = [params.collaterals[j] for j in kept]
    spec = replace(spec, collaterals=tuple(spec.collaterals[j] for j in kept), params=params)
    return replace(world, spec=spec), _all(steps, change)


def _blob(
    blob: bytes, underlyings: list[int] | None, collaterals: list[int] | None, number: Any
) -> bytes:
    """Parameters with some parts only. A blob that does not decode (refused on purpose) stays."""
    try:
        p = RiskParams.decode(blob)
        if underlyings is not None:
            last = len(p.underlyings)
            keep = [p.underlyings[u] for u in underlyings if u < last]
            moved = [replace(c, underlying=number(c.underlying)) for c in p.collaterals]
            return replace(
                p, underlyings=type(p.underlyings)(keep), collaterals=type(p.collaterals)(moved)
            ).encode()
        assert collaterals is not None
        kept = [p.collaterals[j] for j in collaterals if j < len(p.collaterals)]
        return replace(p, collaterals=type(p.collaterals)(kept)).encode()
    except _Gone:
        raise
    except Exception:
        return blob


def _renamed(step: VaultStep, group: str, number: Callable[[int], int]) -> VaultStep:
    """Places ``group n`` renumbered."""

    def name(text: str) -> str:
        head, _, tail = text.rpartition(" ")
        return f"{group} {number(int(tail))}" if head == group else text

    def walk(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(walk(item) for item in value)
        return replace(value, name=name(value.name)) if isinstance(value, Place) else value

    return replace(step, contract=name(step.contract), arguments=walk(step.arguments))


def _only_listed(
    world: VaultWorld, steps: list[VaultStep], keep: Callable[[int, int, int], bool]
) -> Candidate:
    """Expiries (strike −1) and strikes for which ``keep(underlying, day, strike)`` holds."""
    strikes: dict[tuple[int, int], dict[int, int]] = {}
    underlyings = []
    for u, item in enumerate(world.spec.underlyings):
        buckets = []
        for b in item.buckets:
            if not keep(u, b.expiry_day, -1):
                strikes[u, b.expiry_day] = {}
                continue
            kept = [i for i in range(len(b.strikes_wad)) if keep(u, b.expiry_day, i)]
            strikes[u, b.expiry_day] = {i: new for new, i in enumerate(kept)}
            buckets.append(replace(b, strikes_wad=tuple(b.strikes_wad[i] for i in kept)))
        underlyings.append(replace(item, buckets=tuple(buckets)))
    days = {(u, b.expiry_day) for u, item in enumerate(underlyings) for b in item.buckets}

    def instrument(i: int) -> int:
        key = (i >> 28, i >> 10 & 0xFFFF)
        if not i >> 26 & 3 or key not in strikes:
            return i
        if key not in days:
            raise _Gone
        if i >> 26 & 3 == 1:
            return i
        if i & 0x3FF not in strikes[key]:
            raise _Gone
        return i & ~0x3FF | strikes[key][i & 0x3FF]

    def change(step: VaultStep) -> VaultStep:
        step = _with_instruments(step, instrument)
        a = step.arguments
        if step.name == "submitReport":
            u = a[0][0]
            rows = tuple(r for r in a[0][4] if (u, r[0]) in days or (u, r[0]) not in strikes)
            a = ((*a[0][:4], rows, *a[0][5:]), *a[1:])
        elif step.name == "observe" and (a[0], a[1]) in strikes and (a[0], a[1]) not in days:
            raise _Gone
        return replace(step, arguments=a)

    spec = replace(world.spec, underlyings=tuple(underlyings))
    return replace(world, spec=spec), _all(steps, change)


# ── parameters and users ─────────────────────────────────────────────────────────────────────────


def _parameters(world: VaultWorld, steps: list[VaultStep]) -> Iterator[Candidate]:
    """Everything optional off, then one thing at a time; one scenario; one signer."""
    spec = world.spec

    def changed(edit: Callable[[Any], None]) -> Candidate:
        params = copy.deepcopy(spec.params)
        edit(params)
        return replace(world, spec=replace(spec, params=params)), steps

    on = [name for name, value in vars(spec.params.tail).items() if value]
    if on:
        yield changed(lambda p: setattr(p, "tail", Tail()))
        for name in on:
            yield changed(partial(_off, name=name))
    tails = ("oi_cap_wad", "max_funding_bps", "stable_rate_bps_per_day", "stable_band_bps")
    for name in (*tails, "jump_bps", "position_cap_wad"):
        if any(getattr(u, name) for u in spec.params.underlyings):
            yield changed(partial(_off_everywhere, name=name))
    if spec.params.scenarios > 1:
        yield changed(_one_scenario)
    if world.signers > 1:
        names = {f"signer {i}" for i in range(1, world.signers)}
        if not any(isinstance(s, Signed) and s.actor in names for s in _signatures(steps)):
            yield replace(world, signers=1, threshold=1), steps


def _off(params: Any, name: str) -> None:
    setattr(params.tail, name, 0)


def _off_everywhere(params: Any, name: str) -> None:
    for u in params.underlyings:
        setattr(u, name, 0)


def _one_scenario(params: Any) -> None:
    params.weights = params.weights[:1]
    for u in params.underlyings:
        u.price_lanes, u.vol_lanes = u.price_lanes[:1], u.vol_lanes[:1]


def _signatures(steps: Sequence[VaultStep]) -> Iterator[Any]:
    def walk(value: Any) -> Iterator[Any]:
        if isinstance(value, tuple):
            for item in value:
                yield from walk(item)
        else:
            yield value

    for step in flat(list(steps)):
        yield from walk(step.arguments)


def _users(
    world: VaultWorld, steps: list[VaultStep], users: Sequence[Actor]
) -> Iterator[Candidate]:
    """Each user replaced by an earlier one; second sub-accounts by first ones."""
    seen = {v >> 8 if v >> 8 in {u.address for u in users} else v for v in _owners(steps)}
    present = [u for u in users if u.address in seen]
    for later in reversed(present):
        for earlier in users[: list(users).index(later)]:
            yield world, [_as_user(step, later, earlier) for step in steps]
    for user in present:
        account = user.address << 8 | 1
        if account in _owners(steps):
            yield world, [_replaced(step, {account: account - 1}) for step in steps]


def _owners(steps: Sequence[VaultStep]) -> set[int]:
    senders = {s.sender for s in flat(list(steps)) if isinstance(s.sender, int)}
    return senders | {v for v in _signatures(steps) if isinstance(v, int) and v >= 2**100}


def _as_user(step: VaultStep, later: Actor, earlier: Actor) -> VaultStep:
    table: dict[Any, Any] = {later.address: earlier.address}
    table |= {later.address << 8 | i: earlier.address << 8 | i for i in range(8)}
    table |= {Signed(later.name, c): Signed(earlier.name, c) for c in (False, True)}
    return _replaced(step, table)


def _replaced(step: VaultStep, table: dict[Any, Any]) -> VaultStep:
    def walk(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(walk(item) for item in value)
        return table.get(value, value)

    return replace(
        step,
        sender=walk(step.sender),
        arguments=walk(step.arguments),
        inner=tuple(_replaced(i, table) for i in step.inner),
    )
