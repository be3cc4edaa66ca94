"""Random state around the accounts of a case: interest, funding, stable prices, flags, open
interest of instruments, settlement prices, a sequencer feed.
"""

from __future__ import annotations

from random import Random

from risk.diff.plumbline.base import positions
from risk.diff.plumbline.draw import chance, log_int, near, sign, weighted
from risk.diff.plumbline.world import DAY, WorldSpec
from risk.exact.custody import interest_lib
from risk.exact.state import Account, Feed, Settlement, State, World

INDEX_ONE = 10**15
SEQUENCER_FEED = 0xFB << 152


def before_accounts(rng: Random, spec: WorldSpec, state: State) -> None:
    """What the margin reads: indices, funding, stable prices."""
    if chance(rng, 60):
        state.borrow_index_e15 = INDEX_ONE + log_int(rng, 1, INDEX_ONE // 2)
        state.supply_index_e15 = INDEX_ONE + rng.randint(0, state.borrow_index_e15 - INDEX_ONE)
    state.interest_time = spec.now - rng.choice([0, 0, 60, 86_400, 400 * DAY])
    for underlying in state.underlyings:
        underlying.funding_time = spec.now - rng.choice([0, 60, 3_600, DAY])
        if chance(rng, 60):
            most = max(1, underlying.price_wad // 10**6)
            underlying.funding_e12 = sign(rng) * most * rng.randint(0, 300) // 1000
            underlying.premium_e9 = sign(rng) * log_int(rng, 1, 2**31 - 1)
        underlying.stable_price_wad = underlying.price_wad
        if chance(rng, 40):
            underlying.stable_price_wad = max(1, near(rng, underlying.price_wad, 300_000))
            underlying.stable_apart = chance(rng, 70)
        underlying.previous_price_wad = max(1, near(rng, underlying.price_wad, 50_000))
        underlying.previous_time = underlying.time - rng.choice([0, 30, 3_600])
        if chance(rng, 20):
            underlying.reduce_only_until = spec.now + rng.choice([-5, 0, 5, 600])


def after_accounts(rng: Random, spec: WorldSpec, state: State, world: World, exact: bool) -> None:
    """What follows from the accounts, and what liquidations read.  ``exact``: recorded cash counts
    as of now, so that a boundary stays one.
    """
    for account in state.accounts.values():
        _index(rng, state, account, exact)
        if chance(rng, 20):
            account.margin_call = True
        grace = spec.params.tail.grace_seconds
        if chance(rng, 75):
            account.flagged_at = spec.now - grace - rng.choice([0, 1, 600, 100_000, -1])
            account.flagged_at = max(1, min(account.flagged_at, spec.now))
    _totals(rng, state)
    _interest_of_instruments(rng, state)
    if chance(rng, 50):
        state.insurance_paid_wad = log_int(rng, 1, 10**23)
        state.insurance_paid_time = spec.now - rng.choice([0, 60, DAY])
    for key in list(state.buckets):
        expiry = (key & 0xFFFF) * DAY + 28_800
        if expiry <= spec.now and chance(rng, 40):
            price = max(1, near(rng, state.underlyings[key >> 16].price_wad, 100_000))
            state.settlements[key] = Settlement(
                price, rng.randint(1, 9), spec.now, 60, price, settled=True
            )
    if chance(rng, 12):
        state.sequencer_feed = SEQUENCER_FEED
        since = spec.now - rng.choice([0, 10, 4_000, 10**6])
        up = weighted(rng, [(0, 8), (1, 2)])
        world.feeds[SEQUENCER_FEED] = Feed(0, up, since, reverts=chance(rng, 10))


def _index(rng: Random, state: State, account: Account, exact: bool) -> None:
    if account.cash_wad == 0:
        account.interest_index = 0
        return
    now = state.supply_index_e15 if account.cash_wad > 0 else state.borrow_index_e15
    account.interest_index = now if exact or chance(rng, 30) else rng.randint(INDEX_ONE, now)


def _totals(rng: Random, state: State) -> None:
    """At least what the accounts add up to; others lend and borrow too."""
    cash = [
        interest_lib.touched(state, a.cash_wad, a.interest_index) for a in state.accounts.values()
    ]
    others = log_int(rng, 1, 10**26)
    state.supply_wad = sum(c for c in cash if c > 0) + others
    state.borrow_wad = -sum(c for c in cash if c < 0) + rng.choice([0, others // 2, others * 2])
    state.interest_wad = sign(rng) * log_int(rng, 1, 10**20)


def _interest_of_instruments(rng: Random, state: State) -> None:
    sizes: dict[int, int] = {}
    for account in state.accounts.values():
        for p in positions(account):
            sizes[p.instrument] = sizes.get(p.instrument, 0) + abs(p.size_wad)
    for instrument, size in sizes.items():
        extra = rng.choice([0, size, log_int(rng, 1, 2**90)])
        state.open_interest[instrument] = min(size + extra, 2**103)
