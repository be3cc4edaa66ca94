"""Account-level cases: one random world, one account, one attempt to liquidate it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from random import Random

from risk.diff.plumbline import ledger
from risk.diff.plumbline.chain import ADMIN
from risk.diff.plumbline.draw import chance, log_int, weighted
from risk.diff.plumbline.portfolio import (
    instruments_of,
    make_account,
    move_to_boundary,
    open_interest,
    option_ids,
    position_count,
    set_health,
    underlyings_of,
)
from risk.diff.plumbline.tails import draw_tails
from risk.diff.plumbline.world import WorldSpec, make_world, to_state
from risk.exact.state import Account, State, World

WAD = 10**18
INT256_MAX = 2**255 - 1
ACCOUNT_OWNER = 0xA11CE
LIQUIDATOR_OWNER = 0xB0B


@dataclass(frozen=True)
class MarginCase:
    """State of the world before, and the call of ``liquidate``.  Treat ``state`` and ``world`` as
    read-only.
    """

    seed: int
    index: int
    tags: frozenset[str]
    spec: WorldSpec
    state: State
    world: World
    account: int
    liquidator: int
    sender: int
    fraction: int
    max_payment: int
    boundary: str

    @cached_property
    def options(self) -> list[int]:
        """Ids of the account's options."""
        return option_ids(self.state.accounts[self.account])

    def describe(self) -> list[str]:
        """World, account and call in a few lines."""
        held = self.state.accounts[self.account]
        lines = [
            f"K = {self.spec.params.scenarios}, {len(self.spec.underlyings)} underlyings, "
            f"boundary {self.boundary or '-'}",
            f"account cash {held.cash_wad}, collateral {[a for a in held.collateral if a]}",
            f"{len(held.linear)} perps and futures, {len(held.options)} options",
        ]
        lines += [
            f"  linear {p.instrument:#010x} size {p.size_wad} quote {p.quote_wad}"
            for p in held.linear[:4]
        ]
        lines += [f"  option {p.instrument:#010x} size {p.size_wad}" for p in held.options[:8]]
        lines.append(
            f"liquidate(fraction {self.fraction}, at most {self.max_payment}) by {self.sender:#x}"
        )
        return lines


def make_case(seed: int, index: int) -> MarginCase:
    """The case of (seed, index); the same on every machine."""
    rng = Random(f"case {seed} {index}")
    count = position_count(rng)
    spec = make_world(rng, capacity=count)
    draw_tails(rng, spec)
    state, world = to_state(spec, rng, ADMIN)
    ledger.before_accounts(rng, spec, state)
    account, liquidator = ACCOUNT_OWNER << 8 | rng.randrange(3), LIQUIDATOR_OWNER << 8
    state.accounts[account] = make_account(rng, spec, count)
    state.accounts[liquidator] = _liquidator(rng, spec, state, account)
    _surroundings(rng, state)
    boundary = ""
    if chance(rng, 62):
        boundary = move_to_boundary(rng, state, account)
    elif chance(rng, 75):
        set_health(rng, state, account)
    ledger.after_accounts(rng, spec, state, world, bool(boundary) or chance(rng, 30))
    state.cash_held_wad = _held(state)
    _live_market(rng, spec, state, world)
    sender, fraction, limit = _call(rng, liquidator)
    target = account if chance(rng, 1) else liquidator
    tags = _tags(spec, state, account, boundary)
    tags |= {f"tail: {name}" for name, value in vars(spec.params.tail).items() if value}
    if state.params is not None and state.params.has_groups:
        tags |= {"groups"}
    return MarginCase(
        seed, index, tags, spec, state, world, account, target, sender, fraction, limit, boundary
    )


def _liquidator(rng: Random, spec: WorldSpec, state: State, account: int) -> Account:
    """Mostly rich and empty; sometimes poor, sometimes with many positions of its own."""
    own = weighted(rng, [(0, 60), (rng.randint(1, 12), 32), (rng.randint(100, 128), 4)])
    item = make_account(rng, spec, own, wild=False)
    if chance(rng, 30):  # opposite positions, which the slice nets
        theirs = state.accounts[account]
        held = {p.instrument for p in item.options}
        for p in theirs.options[: max(0, 128 - own) // 2]:
            if p.instrument not in held and chance(rng, 50):
                item.options.append(type(p)(p.instrument, -p.size_wad))
    if chance(rng, 85):
        item.cash_wad = 10**15 * WAD
    return item


def _surroundings(rng: Random, state: State) -> None:
    """Open interest, pools, insurance."""
    for u, units in open_interest(list(state.accounts.values())).items():
        state.underlyings[u].open_interest_wad = units + weighted(
            rng, [(0, 2), (log_int(rng, 1, 2**90), 3)]
        )
        state.underlyings[u].open_interest_wad = min(state.underlyings[u].open_interest_wad, 2**103)
    for underlying in state.underlyings:
        underlying.pnl_pool_wad = weighted(rng, [(0, 3), (log_int(rng, 1, 10**26), 5)])
        underlying.confidence_bps = weighted(rng, [(10, 9), (501, 1)])
    state.insurance_wad = weighted(rng, [(0, 2), (log_int(rng, 1, 10**23), 4), (10**30, 2)])
    for j, collateral in enumerate(state.collaterals):
        collateral.total_held = sum(a.collateral[j] for a in state.accounts.values())


def _held(state: State) -> int:
    """Cash tokens: all claims, plus those of accounts that are not part of the case."""
    claims = sum(a.cash_wad for a in state.accounts.values())
    claims += state.insurance_wad + sum(u.pnl_pool_wad for u in state.underlyings)
    return max(0, claims) + 10**27


def _live_market(rng: Random, spec: WorldSpec, state: State, world: World) -> None:
    """Where the feeds stand now: mostly at the snapshot, else moved, late or broken."""
    for underlying in state.underlyings:
        feed = world.feeds[underlying.feed]
        feed.updated_at = spec.now - rng.randrange(60)
        kind = weighted(
            rng, [("same", 80), ("moved", 12), ("late", 4), ("broken", 2), ("absurd", 2)]
        )
        if kind == "moved":
            feed.answer = max(
                1, feed.answer * rng.choice([500, 900, 990, 999, 1001, 1010, 1100, 2000]) // 1000
            )
        elif kind == "late":
            feed.updated_at = rng.choice(
                [spec.now - 10**6, underlying.feed_updated_at - 1, spec.now + 5, 0]
            )
        elif kind == "broken":
            feed.reverts = True
        elif kind == "absurd":
            feed.answer = rng.choice([0, -1, -(2**255), 2**255 - 1])
    for collateral in state.collaterals:
        if collateral.rate_feed:
            feed = world.feeds[collateral.rate_feed]
            if chance(rng, 15):
                feed.answer = feed.answer * rng.choice([990, 1010]) // 1000
            elif chance(rng, 5):
                feed.answer = 0


def _call(rng: Random, liquidator: int) -> tuple[int, int, int]:
    """Sender, fraction and limit of the liquidation."""
    sender = liquidator >> 8 if chance(rng, 97) else ACCOUNT_OWNER
    fraction = weighted(
        rng, [(WAD, 60), (rng.randint(1, WAD), 30), (1, 3), (0, 1), (WAD + 1, 1), (2**256 - 1, 1)]
    )
    limit = weighted(
        rng, [(INT256_MAX, 90), (0, 3), (-1, 2), (log_int(rng, 1, 10**24), 4), (-(2**255), 1)]
    )
    return sender, fraction, limit


def _tags(spec: WorldSpec, state: State, account: int, boundary: str) -> frozenset[str]:
    held = state.accounts[account]
    count = len(instruments_of(held))
    tags = {f"K = {spec.params.scenarios}", "positions: " + _size_class(count)}
    if count >= 16:
        tags.add(">= 16 instruments")
    if count >= 64:
        tags.add(">= 64 instruments")
    if len(underlyings_of(held, spec)) >= 3:
        tags.add(">= 3 underlyings held")
    if boundary:
        tags |= {"within 1e-6 of a boundary", f"boundary {boundary}"}
    if any(
        p.instrument >> 26 & 3 and (p.instrument >> 10 & 0xFFFF) * 86_400 + 28_800 <= spec.now
        for p in held.options
    ):
        tags.add("expired option held")
    return frozenset(tags)


def _size_class(count: int) -> str:
    for low, high in ((0, 0), (1, 3), (4, 15), (16, 63), (64, 127)):
        if low <= count <= high:
            return f"{low}-{high}" if high else "none"
    return "128"
