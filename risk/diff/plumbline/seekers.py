"""Proposals that aim at one error: each error has a few recipes, and what they make is tried on a
copy of the model until it is refused with that error.

A recipe may also push steps in front (time, a price, a flag) and return the first of them; then the
aim is taken a few steps later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.base import STRANGER, UINT256_MAX, WAD, positions
from risk.diff.plumbline.chain import ADMIN
from risk.diff.plumbline.draw import chance
from risk.diff.plumbline.setup import slice_of
from risk.diff.plumbline.trades import ABOVE, BELOW, REDUCE_ONLY, Pair, expiry_of
from risk.exact.accounts import rights
from risk.exact.custody import custody_logic

if TYPE_CHECKING:
    from risk.diff.plumbline.proposals import Proposer

Recipe = Callable[["Proposer", Random], VaultAction | None]
TRIES = 8
HUGE = 2**95 - 1


def seek(p: Proposer, rng: Random) -> VaultAction | None:
    """An action that aims at an error, drawn evenly; None where no recipe has anything."""
    targets = sorted(RECIPES)
    target = rng.choice(HARD if chance(rng, 40) else targets)
    found = None
    for _ in range(TRIES):
        saved = list(p.next)
        action = rng.choice(RECIPES[target])(p, rng)
        if action is None:
            continue
        found = action
        if p.next != saved:  # the aim comes later
            return replace(action, aims_at=target)
        if not action.contract and p.session.outcome_of(action) == target:
            return replace(action, aims_at=target)
    return found


def probe(p: Proposer, rng: Random) -> VaultAction | None:
    """Something that needs what the set-up has not done yet."""
    return rng.choice(PROBES)(p, rng)


# ── recipes ──────────────────────────────────────────────────────────────────────────────────────


def _bad(name: str) -> Recipe:
    """The proposal of this name with something wrong."""

    def make(p: Proposer, rng: Random) -> VaultAction | None:
        action: VaultAction | None = getattr(p, name)(rng, True)
        return action

    return make


def _good(name: str) -> Recipe:
    def make(p: Proposer, rng: Random) -> VaultAction | None:
        action: VaultAction | None = getattr(p, name)(rng, False)
        return action

    return make


def _sized_fill(scale: int) -> Recipe:
    """A perp fill of a size far beyond anything, or beyond a cap."""

    def make(p: Proposer, rng: Random) -> VaultAction:
        pair = _perp(p, rng, min(HUGE, scale))
        return _fill(p, pair)

    return make


def _perp(p: Proposer, rng: Random, size: int, u: int | None = None) -> Pair:
    d = p.session.deployment
    buyer, seller = rng.sample(d.accounts, 2)
    if u is None:
        u = rng.randrange(max(1, len(p.session.state.underlyings)))
    price = max(1, p.session.state.underlyings[u].price_wad) if p.session.state.underlyings else 1
    p.trades.nonce += 1
    from risk.exact.trading.order_hash import Order

    buy = Order(buyer, u << 28, size, price, p.trades.nonce, p.session.now + 1000)
    return Pair(buy, replace(buy, account=seller, size_wad=-size), price)


def _fill(p: Proposer, pair: Pair, size: int = 0) -> VaultAction:
    buy, sell = pair.buy, pair.sell
    keys = p._key_of(buy.account >> 8), p._key_of(sell.account >> 8)
    return p.trades.filling(buy, keys[0], sell, keys[1], size or buy.size_wad, pair.price_wad)


def _over_cap(name: str) -> Recipe:
    def make(p: Proposer, rng: Random) -> VaultAction | None:
        params = p.session.state.params
        if params is None:
            return None
        capped = [u for u, x in enumerate(params.underlyings) if getattr(x, name)]
        if not capped:
            return _set_cap(p, rng, name)
        u = rng.choice(capped)
        other = "oi_cap_wad" if name == "position_cap_wad" else "position_cap_wad"
        cap, lower = getattr(params.underlyings[u], name), getattr(params.underlyings[u], other)
        if name == "oi_cap_wad" and lower and lower < cap:
            return _set_cap(p, rng, name)
        return _fill(p, _perp(p, rng, min(HUGE, cap + 1), u))

    return make


def _set_cap(p: Proposer, rng: Random, name: str) -> VaultAction:
    params = p.session.deployment.spec.params
    p.adopt(rng)
    u = rng.randrange(len(params.underlyings))
    params.underlyings[u].oi_cap_wad = params.underlyings[u].position_cap_wad = 0
    setattr(params.underlyings[u], name, 10**22)
    p.then(lambda r: _over_cap(name)(p, r))
    return p.params_of(ADMIN, params.blob())


def _with(**changes: int) -> Recipe:
    """A fill of two fresh perp orders, one of them changed."""

    def make(p: Proposer, rng: Random) -> VaultAction:
        pair = _perp(p, rng, 10**12)
        if chance(rng, 50):
            pair = replace(pair, buy=replace(pair.buy, **changes))
        else:
            pair = replace(pair, sell=replace(pair.sell, **changes))
        return _fill(p, pair)

    return make


def _not_yet(p: Proposer, rng: Random) -> VaultAction | None:
    return _with(created_at=p.session.now + rng.choice([2, 10**6]))(p, rng)


def _far_from_mark(p: Proposer, rng: Random) -> VaultAction:
    pair = _perp(p, rng, 10**12)
    price = pair.price_wad * rng.choice([101, 150, 90]) // 100 + 1
    flags = rng.choice([ABOVE, BELOW])
    trigger = 0 if flags == ABOVE else 2**127
    buy = replace(pair.buy, limit_price_wad=2 * price)
    sell = replace(pair.sell, limit_price_wad=0, flags=flags, trigger_price_wad=trigger)
    return _fill(p, Pair(buy, sell, price))


def _dead_nonce(p: Proposer, rng: Random) -> VaultAction:
    pair = _perp(p, rng, 10**12)
    account = rng.choice([pair.buy.account, pair.sell.account])
    p.then(lambda r: _fill(p, replace(pair)))
    dead = rng.choice([1, 1, 0])  # at the lowest nonce an order still lives
    return p.raise_nonce(account >> 8, account, pair.buy.nonce + dead)


def _cancelled(p: Proposer, rng: Random) -> VaultAction:
    pair = _perp(p, rng, 10**12)
    order = rng.choice([pair.buy, pair.sell])
    p.then(lambda r: _fill(p, pair))
    return p.trades.cancellation(order.account >> 8, order)


def _overfilled(p: Proposer, rng: Random) -> VaultAction:
    pair = _perp(p, rng, 10**12)
    return _fill(p, pair, pair.buy.size_wad + 1)


def _expired_instrument(p: Proposer, rng: Random) -> VaultAction | None:
    dead = [i for i in p.session.instruments() if i >> 26 & 3 and expiry_of(i) <= p.session.now + 1]
    if not dead:
        return None
    pair = _perp(p, rng, 10**12)
    item = rng.choice(dead)
    return _fill(
        p,
        Pair(
            replace(pair.buy, instrument=item), replace(pair.sell, instrument=item), pair.price_wad
        ),
    )


def _deferred_too_many(p: Proposer, rng: Random) -> VaultAction:
    users = [u.address for u in p.session.deployment.users]
    pairs = [(users[i % 4] << 8 | 20 + i, users[(i + 1) % 4] << 8 | 60 + i) for i in range(9)]
    return p.batch_of(users[0], p.trades.tiny(rng, pairs))


def _size_out_of_range(p: Proposer, rng: Random) -> VaultAction:
    pair = _perp(p, rng, HUGE)
    again = Pair(
        replace(pair.buy, nonce=pair.buy.nonce + 10**9),
        replace(pair.sell, nonce=pair.sell.nonce + 10**9),
        pair.price_wad,
    )
    return p.batch_of(pair.buy.account >> 8, [_fill(p, pair), _fill(p, again)])


def _waterfall_in_batch(p: Proposer, rng: Random) -> VaultAction:
    account = p._account(rng)
    inner = rng.choice([p.socialisation(account), p.deleveraging(account, 0, [], 0)])
    return p.batch_of(rng.choice(p.session.deployment.users).address, [p.accrual(1), inner])


def _too_many_underlyings(p: Proposer, rng: Random) -> VaultAction:
    feed = p.session.deployment.spare_feeds[0]
    return p.batch_of(ADMIN, [p.underlying(feed)] * 17)


def _above_withdraw_cap(p: Proposer, rng: Random) -> VaultAction | None:
    """More than the bucket holds, of somebody who has it (after lowering the cap to that)."""
    state, d = p.session.state, p.session.deployment
    params = state.params
    scale = 10 ** (18 - d.spec.cash_decimals)
    rich = max(d.accounts, key=lambda n: p._held(n).cash_wad)
    cash = min(p._held(rich).cash_wad, custody_logic.liquidity(state))
    if params is None or cash <= 4 * scale:
        return None
    cap = params.cash_withdraw_cap_wad
    if not cap or not params.withdraw_period_seconds or cash <= cap:
        blob = d.spec.params
        p.adopt(rng)
        blob.tail.cash_withdraw_cap_wad = cash // 2
        blob.tail.withdraw_period_seconds = 3_600
        p.then(lambda r: p.withdrawal(rich >> 8, rich, d.cash, cash // scale, rich >> 8))
        return p.params_of(ADMIN, blob.blob())
    return p.withdrawal(rich >> 8, rich, d.cash, cash // scale, rich >> 8)


def _illiquid(p: Proposer, rng: Random) -> VaultAction:
    account = rng.choice(p.session.deployment.accounts)
    available = custody_logic.liquidity(p.session.state)
    scale = 10 ** (18 - p.session.deployment.spec.cash_decimals)
    amount = available // scale + rng.choice([1, 10**9])
    return p.withdrawal(account >> 8, account, p.session.deployment.cash, amount, account >> 8)


def _after(wait: int, recipe: Recipe) -> Recipe:
    """Let time pass first."""

    def make(p: Proposer, rng: Random) -> VaultAction:
        p.then(lambda r: recipe(p, r))
        return p.accrual(wait)

    return make


def _old_report(p: Proposer, rng: Random) -> VaultAction | None:
    params = p.session.state.params
    if params is None:
        return None
    u = rng.randrange(min(len(params.underlyings), len(p.session.deployment.feeds)))
    wait = params.underlyings[u].max_age_seconds + 50
    stamp = p.session.state.underlyings[u].report_time + 1

    def report(r: Random) -> VaultAction:
        return p.full_report(r, u, time=stamp)

    p.then(lambda r: p._same_price(u), report)
    return p.accrual(wait)


def _skewed_report(p: Proposer, rng: Random) -> VaultAction | None:
    params = p.session.state.params
    if params is None:
        return None
    chosen = [
        u
        for u, x in enumerate(params.underlyings)
        if x.max_skew_seconds + 5 < x.max_age_seconds and u < len(p.session.deployment.feeds)
    ]
    if not chosen:
        return None
    u = rng.choice(chosen)
    feed = p.session.vault.world.feeds[p.session.deployment.feeds[u]]
    gap = p.session.now - feed.updated_at
    wait = max(1, params.underlyings[u].max_skew_seconds + 2 - gap)
    p.then(lambda r: p.full_report(r, u))
    return p.accrual(wait)


def _tripped(p: Proposer, rng: Random) -> VaultAction | None:
    """A jump, and somebody who wants to increase."""
    params = p.session.state.params
    if params is None:
        return None
    now = p.session.now
    active = [u for u, x in enumerate(p.session.state.underlyings) if x.reduce_only_until > now + 1]
    if active:
        return _fill(p, _perp(p, rng, 10**9, rng.choice(active)))
    able = [u for u, x in enumerate(params.underlyings) if x.jump_bps and params.breaker_seconds]
    able = [u for u in able if u < len(p.session.deployment.feeds)]
    if not able:
        return None
    u = rng.choice(able)
    feed = p.session.vault.world.feeds[p.session.deployment.feeds[u]]
    move = params.underlyings[u].jump_bps + 50
    answer = max(1, feed.answer * (10_000 + rng.choice([-1, 1]) * min(move, 7_000)) // 10_000)
    p.then(lambda r: p.refresh_of([u]), lambda r: _fill(p, _perp(p, r, 10**9, u)))
    return p.make.feed(u, answer)


def _sequencer(up: int, age: int) -> Recipe:
    """The uptime feed says so, then something that needs it."""

    def make(p: Proposer, rng: Random) -> VaultAction:
        d = p.session.deployment
        steps: list[Callable[[Random], VaultAction | None]] = [
            lambda r: _fill(p, _perp(p, r, 10**9)),
            lambda r: p.make.any_feed("sequencer", "up", d.sequencer, 0, age=10**6),
        ]
        first = p.make.any_feed("sequencer", f"{up}", d.sequencer, up, age=age)
        if p.session.state.sequencer_feed == d.sequencer:
            p.then(*steps)
            return first
        p.then(lambda r: p.make.any_feed("sequencer", f"{up}", d.sequencer, up, age=age), *steps)
        return p.use_sequencer(d.sequencer)

    return make


def _missing_slice(p: Proposer, rng: Random) -> VaultAction | None:
    """An expiry that was never reported."""
    u = rng.randrange(len(p.session.deployment.feeds))
    fresh = [
        key
        for key, b in p.session.state.buckets.items()
        if b.forward_ratio_wad == 0 and (key & 0xFFFF) * 86_400 + 28_800 > p.session.now + 1
    ]
    if not fresh:
        day = p.session.now // 86_400 + rng.randint(2, 60)
        return p.expiry_of(u, day, [max(1, p.session.state.underlyings[u].price_wad)])
    key = rng.choice(fresh)
    item = key >> 16 << 28 | 1 << 26 | (key & 0xFFFF) << 10
    pair = _perp(p, rng, 10**12, key >> 16)
    return _fill(
        p,
        Pair(
            replace(pair.buy, instrument=item), replace(pair.sell, instrument=item), pair.price_wad
        ),
    )


def _no_snapshot(p: Proposer, rng: Random) -> VaultAction | None:
    """An option of an underlying without a snapshot: list it, give it parameters, an expiry."""
    state = p.session.state
    bare = [u for u, x in enumerate(state.underlyings) if not x.epoch]
    if not bare:
        if len(state.underlyings) > 9:
            return None
        p.then(
            lambda r: p.params_of(ADMIN, _adopted(p, r)),
            lambda r: _no_snapshot(p, r),
            lambda r: _no_snapshot(p, r),
        )
        return p.underlying(p.session.deployment.spare_feeds[0])
    keys = [k for k, b in state.buckets.items() if k >> 16 in bare and b.strikes_wad]
    if not keys:
        return p.expiry_of(bare[0], p.session.now // 86_400 + 9, [10**18])
    ids = [keys[0] >> 16 << 28 | 2 << 26 | (keys[0] & 0xFFFF) << 10]
    return p.make.vault(
        "computeArrays",
        "no snapshot",
        STRANGER,
        "computeArrays",
        (ids,),
        lambda v: v.compute_arrays(STRANGER, ids),
    )


def _adopted(p: Proposer, rng: Random) -> bytes:
    p.adopt(rng)
    return p.session.deployment.spec.params.blob()


def _stale_slice(p: Proposer, rng: Random) -> VaultAction | None:
    """Feeds follow, reports do not, and a holder of a future or option trades."""
    params, state = p.session.state.params, p.session.state
    if params is None:
        return None
    held = sorted(
        {
            x.instrument
            for a in state.accounts.values()
            for x in positions(a)
            if x.instrument >> 26 & 3 and expiry_of(x.instrument) > p.session.now + 100_000
        }
    )
    if not held:
        return None
    item = rng.choice(held)
    u = item >> 28
    if u >= len(params.underlyings):
        return None

    def trade(r: Random) -> VaultAction:
        pair = _perp(p, r, 10**9, u)
        buy = replace(pair.buy, instrument=item)
        return _fill(p, Pair(buy, replace(pair.sell, instrument=item), pair.price_wad))

    feeds = range(len(p.session.deployment.feeds))
    p.then(*(lambda r, u=u: p._same_price(u) for u in feeds), trade)
    return p.accrual(params.underlyings[u].max_age_seconds + 10)


def _bad_slice(**changes: int) -> Recipe:
    """A report with one slice out of range."""

    def make(p: Proposer, rng: Random) -> VaultAction | None:
        d, now = p.session.deployment, p.session.now
        u = rng.randrange(len(d.feeds))
        alive = [b for b in d.spec.underlyings[u].buckets if b.expiry > now + 1]
        if not alive:
            return None
        item = replace(slice_of(alive[0]), **changes)
        last = p.session.state.underlyings[u]
        stamp = max(now, last.report_time + 1)
        return p.make.report(u, last.report_nonce + 1, [item], d.signers[: d.threshold], time=stamp)

    return make


def _listed_again(p: Proposer, rng: Random) -> VaultAction | None:
    today = p.session.now // 86_400
    state = p.session.state
    keys = [k for k, b in state.buckets.items() if b.strikes_wad and k & 0xFFFF > today]
    if not keys:
        return None
    key = rng.choice(sorted(keys))
    return p.expiry_of(key >> 16, key & 0xFFFF, [rng.choice(state.buckets[key].strikes_wad)])


def _wrong_level(p: Proposer, rng: Random) -> VaultAction | None:
    bankrupt = p._bankrupt()
    if not bankrupt:
        return p.ruin(rng, False, deep=True)
    return p._wrong_level(rng, rng.choice(bankrupt))


def _wrong_right(p: Proposer, rng: Random) -> VaultAction:
    """An operator with some right uses another one."""
    given = [(n, who, bits) for (n, who), bits in p.session.state.operators.items() if 0 < bits < 7]
    given = [item for item in given if item[0] >> 8 != item[1]]
    if not given:
        account, who = p._account(rng), rng.choice(p.session.deployment.operators).address
        p.then(lambda r: _wrong_right(p, r))
        return p.rights_of(account >> 8, account, who, rng.choice([1, 2, 4]))
    account, who, bits = rng.choice(sorted(given))
    if not bits & rights.WITHDRAW:
        return p.withdrawal(who, account, p.session.deployment.cash, 1, who)
    if not bits & rights.MANAGE:
        current = p.session.state.min_nonce.get(account, 0)
        return p.raise_nonce(who, account, current + 1)
    pair = _perp(p, rng, 10**12)
    return p.trades.cancellation(who, replace(pair.buy, account=account))


def _too_few_signatures(p: Proposer, rng: Random) -> VaultAction | None:
    u = rng.randrange(len(p.session.deployment.feeds))
    last = p.session.state.underlyings[u]
    stamp = max(p.session.now, last.report_time + 1)
    signers = p.session.deployment.signers[: max(0, p.session.state.signer_threshold - 1)]
    return p.make.report(u, last.report_nonce + 1, [], signers, time=stamp)


def _observe_too_soon(p: Proposer, rng: Random) -> VaultAction | None:
    """The second observation a second after the first."""
    params, state = p.session.state.params, p.session.state
    if (
        params is None
        or params.settle_min_spacing_seconds < 5
        or params.settle_min_observations < 2
    ):
        p.adopt(rng)
        spec = p.session.deployment.spec.params
        spec.tail.settle_min_spacing_seconds, spec.tail.settle_min_observations = 60, 3
        spec.tail.settle_window_seconds = 3_600
        p.then(lambda r: _observe_too_soon(p, r))
        return p.params_of(ADMIN, spec.blob())
    now = p.session.now
    begun = [k for k, s in state.settlements.items() if k < 1 << 32 and s.observations]
    begun = [k for k in begun if not state.settlements[k].settled]
    fresh = [k for k in begun if now < state.settlements[k].last_time + 50]
    if fresh:
        return p.observation(fresh[0] >> 16, fresh[0] & 0xFFFF)
    today = now // 86_400
    ahead = sorted(
        k for k in state.buckets if 0 < (k & 0xFFFF) * 86_400 + 28_800 - now < 90 * 86_400
    )
    ahead = [k for k in ahead if k >> 16 < p._listed() and k & 0xFFFF >= today]
    if not ahead:
        return None
    key = min(ahead, key=lambda k: k & 0xFFFF)
    u, day = key >> 16, key & 0xFFFF
    p.then(lambda r: p.observation(u, day), lambda r: p.observation(u, day))
    return p._same_price(u, max(1, day * 86_400 + 28_800 - 600 - now))


def _bad_rate(p: Proposer, rng: Random) -> VaultAction:
    return p.collateral(rng, True)


def _settled_first(p: Proposer, rng: Random) -> VaultAction | None:
    """Somebody who holds what has its price wants to trade."""
    from risk.exact.settlement import settlement_lib

    state, world = p.session.state, p.session.vault.world
    holders = [
        n
        for n, a in state.accounts.items()
        if settlement_lib.holds_settled(state, world, a) is not None
    ]
    if not holders:
        return p.expire(rng, False)
    pair = _perp(p, rng, 10**9)
    account = rng.choice(holders)
    if account in (pair.buy.account, pair.sell.account):
        return _fill(p, pair)
    return _fill(p, replace(pair, buy=replace(pair.buy, account=account)))


def _observe_twice(p: Proposer, rng: Random) -> VaultAction | None:
    state = p.session.state
    begun = [k for k, s in state.settlements.items() if k < 1 << 32 and s.observations]
    if not begun:
        return p.expire(rng, False)
    key = rng.choice(begun)
    return p.observation(key >> 16, key & 0xFFFF)


def _wind_down_twice(p: Proposer, rng: Random) -> VaultAction | None:
    if p.session.state.winding_down:
        sender = rng.choice([ADMIN, ADMIN, STRANGER])
        return rng.choice([p.wind_down(rng, True), _fill(p, _perp(p, rng, 10**9))]) or p.make.vault(
            "startWindDown", "", sender, "startWindDown", (), lambda v: v.start_wind_down(sender)
        )
    return p.wind_down(rng, False) if p.count >= 45 else None


def _ruined(then: Recipe) -> Recipe:
    """Ruin somebody, then take the aim."""

    def make(p: Proposer, rng: Random) -> VaultAction | None:
        if p._bankrupt() or p._failing():
            return then(p, rng)
        first = p.ruin(rng, False)
        if p.next:
            p.next[1:] = [lambda r: then(p, r)]
        return first

    return make


def _exhausted(p: Proposer, rng: Random) -> VaultAction | None:
    """The fund could pay: a deleveraging comes too early."""
    user = rng.choice(p.session.deployment.users).address
    amount = 10**7 * 10**p.session.deployment.spec.cash_decimals
    if p.session.state.insurance_wad < 10**24 and not p._bankrupt():
        p.then(lambda r: _ruined(_good("deleverage"))(p, r))
        return p.make.vault(
            "fundInsurance",
            str(amount),
            user,
            "fundInsurance",
            (amount,),
            lambda v: v.fund_insurance(user, amount),
        )
    return _ruined(_good("deleverage"))(p, rng)


def _grace(p: Proposer, rng: Random) -> VaultAction | None:
    """An account that fails but is not beyond the emergency level, not flagged or just so."""
    params, failing = p.session.state.params, p._failing()
    if params is None or not params.grace_seconds or params.emergency_bps:
        p.adopt(rng)
        spec = p.session.deployment.spec.params
        spec.tail.grace_seconds, spec.tail.emergency_bps = 600, 0
        p.then(lambda r: _grace(p, r))
        return p.params_of(ADMIN, spec.blob())
    if not failing:
        first = p.ruin(rng, False)
        p.next[1:] = [lambda r: _grace(p, r) if p._failing() else None]
        return first
    account = rng.choice(failing)
    flagged = p._held(account).flagged_at
    if not flagged and chance(rng, 60):
        p.then(lambda r: _slice(p, r, account))
        return p.flag_of(account, rng)
    return _slice(p, rng, account)


def _slice(p: Proposer, rng: Random, account: int) -> VaultAction:
    liquidator = p._liquidator(rng, account)
    return p.slice_of("liquidate", liquidator >> 8, account, liquidator, WAD, 2**255 - 1)


def _flag_twice(p: Proposer, rng: Random) -> VaultAction | None:
    flagged = [n for n, a in p.session.state.accounts.items() if a.flagged_at]
    if not flagged:
        return _grace(p, rng)
    return p.flag_of(rng.choice(sorted(flagged)), rng)


def _owed_in_batch(p: Proposer, rng: Random) -> VaultAction:
    """An account whose check still waits is liquidated or flagged in the same batch."""
    users = [u.address for u in p.session.deployment.users]
    victim, other = users[0] << 8 | 20, users[1] << 8 | 21
    fill = p.trades.tiny(rng, [(victim, other)])
    target = rng.choice(p.session.deployment.accounts)
    inner = rng.choice(
        [
            p.flag_of(victim, rng),
            p.slice_of("liquidate", target >> 8, victim, target, WAD, 2**255 - 1),
        ]
    )
    return p.batch_of(target >> 8, [*fill, inner])


def _withdraw_into_margin(p: Proposer, rng: Random) -> VaultAction | None:
    owing = [n for n in p._exposed() if p._held(n).cash_wad > 0]
    if not owing:
        return None
    account = rng.choice(sorted(owing))
    return p.withdrawal(account >> 8, account, p.session.deployment.cash, UINT256_MAX, account >> 8)


RECIPES: dict[str, list[Recipe]] = {
    "AccountHealthy": [_bad("flag"), _good("liquidate")],
    "AdlHaircutMismatch": [_ruined(_wrong_level), _wrong_level],
    "AdlShareTooSmall": [_bad("deleverage"), _bad("deleverage")],
    "AlreadyFlagged": [_flag_twice],
    "AlreadySettled": [_observe_twice],
    "BatchEmpty": [lambda p, r: p.batch_of(p.session.deployment.users[0].address, [])],
    "CapExceeded": [_bad("deposit")],
    "CashOutOfRange": [_bad("deposit"), _bad("insure")],
    "CounterpartiesNotAscending": [_bad("deleverage")],
    "CounterpartyOnWrongSide": [_bad("deleverage")],
    "DecimalsOutOfRange": [_bad("listing"), _bad("collateral")],
    "DiscountOutOfRange": [_bad_slice(discount_wad=0), _bad_slice(discount_wad=2 * WAD)],
    "ExposureOverflow": [_sized_fill(2**90), _sized_fill(2**94)],
    "FeedInvalid": [_bad("listing"), _bad("collateral")],
    "FillSizeInvalid": [_bad("trade")],
    "FlagsInvalid": [_with(flags=6), _with(flags=8), _with(flags=255)],
    "ForwardRatioOutOfRange": [
        _bad_slice(forward_ratio_wad=WAD // 5),
        _bad_slice(forward_ratio_wad=3 * WAD),
    ],
    "FractionInvalid": [_bad("liquidate")],
    "GracePeriod": [_grace],
    "InitialMarginOwed": [_owed_in_batch],
    "InstrumentExpired": [_expired_instrument, _bad("expiry")],
    "InstrumentMismatch": [_bad("trade")],
    "InsufficientCollateral": [_bad("withdraw"), _bad("transfer")],
    "InsufficientLiquidity": [_illiquid],
    "InsufficientMargin": [_withdraw_into_margin, _sized_fill(10**24)],
    "InsuranceNotExhausted": [_exhausted],
    "InvalidRecipient": [_bad("withdraw")],
    "InvalidSignature": [_bad("trade")],
    "LegInvalid": [_ruined(_bad("legs"))],
    "LegsAboveTarget": [_ruined(_good("legs"))],
    "LegsKeepHealth": [_ruined(_good("legs"))],
    "LegsKeepRequirement": [_ruined(_good("legs")), _ruined(lambda p, r: _no_legs(p, r))],
    "LegsKeepShortfall": [_ruined(_good("legs"))],
    "NoLenders": [_bad("socialise")],
    "NonceNotHigher": [_bad("min_nonce")],
    "NonceTooLow": [_dead_nonce],
    "NotAccountOwner": [
        _wrong_right,
        _wrong_right,
        _bad("deposit"),
        _bad("withdraw"),
        _bad("operator"),
        _bad("transfer"),
    ],
    "NotBankrupt": [_bad("deleverage"), _bad("socialise")],
    "NotEnoughSignatures": [_too_few_signatures],
    "NotFlagged": [_bad("unflag"), _grace],
    "NotRecovered": [lambda p, r: p.unflag(r, False) if _flagged(p) else _grace(p, r)],
    "ObservationOutsideWindow": [_bad("observe")],
    "ObservationTooSoon": [_observe_too_soon],
    "OpenInterestCapExceeded": [_over_cap("oi_cap_wad")],
    "OracleNotUsable": [_bad("price"), _bad("observe")],
    "OrderExpired": [_with(expiry=0)],
    "OrderIsCancelled": [_cancelled],
    "OrderNotYetValid": [_not_yet],
    "OrderOverfilled": [_overfilled],
    "OrderSideInvalid": [_bad("trade")],
    "OwnersDiffer": [_bad("transfer")],
    "PaymentAboveLimit": [_ruined(_bad("liquidate")), _ruined(_bad("legs"))],
    "PositionCapExceeded": [_over_cap("position_cap_wad")],
    "PositionsOpen": [_bad("socialise"), _ruined(_bad("socialise"))],
    "PriceOutOfBounds": [_bad("trade"), _with(limit_price_wad=0)],
    "RateInvalid": [_bad_rate],
    "ReduceOnly": [_tripped],
    "Reentrancy": [_waterfall_in_batch],
    "RefreshNotNeeded": [_good("refresh"), _bad("refresh")],
    "ReportNonceNotNewer": [_bad("report")],
    "ReportSkewed": [_skewed_report],
    "ReportTimeInvalid": [_bad("report")],
    "ReportTooOld": [_old_report],
    "RightsInvalid": [_bad("operator")],
    "RiskParamsInvalid": [_bad("admin")],
    "SameAccount": [_bad("transfer")],
    "SelfLiquidation": [_bad("liquidate")],
    "SelfTrade": [_bad("trade")],
    "SequencerDown": [_sequencer(1, 10)],
    "SequencerGrace": [_sequencer(0, 0)],
    "SettleFirst": [_settled_first],
    "SignerThresholdInvalid": [_bad("signers")],
    "SignersNotAscending": [_bad("signers"), _bad("report")],
    "SizeOutOfRange": [_size_out_of_range],
    "SliceMissing": [_missing_slice],
    "SliceStale": [_stale_slice],
    "SlicesNotAscending": [_bad("report")],
    "SlippageExceeded": [_far_from_mark],
    "SnapshotMissing": [_no_snapshot],
    "StrikeAlreadyListed": [_listed_again],
    "StrikeOutOfRange": [_bad("expiry")],
    "StrikesNotAscending": [_bad("expiry")],
    "TokenAlreadyListed": [_bad("collateral")],
    "TokenInvalid": [_bad("collateral")],
    "TooManyCounterparties": [_bad("deleverage")],
    "TooManyDeferred": [_deferred_too_many],
    "TooManySigners": [_bad("signers")],
    "TooManyStrikes": [_bad("expiry")],
    "TooManyUnderlyings": [_too_many_underlyings],
    "TriggerNotHit": [_with(flags=ABOVE, trigger_price_wad=2**127)],
    "UnknownInstrument": [_bad("arrays"), _bad("trade")],
    "UnknownSigner": [_bad("report")],
    "UnknownToken": [_bad("deposit"), _bad("withdraw"), _bad("transfer")],
    "UnknownUnderlying": [_bad("refresh"), _bad("observe"), _bad("report")],
    "WindingDown": [_wind_down_twice],
    "WithdrawLimitExceeded": [_above_withdraw_cap],
    "WouldNotReduce": [_with(flags=REDUCE_ONLY)],
    "ZeroAmount": [_bad("deposit"), _bad("withdraw"), _bad("transfer"), _bad("insure")],
}


# what a try seldom leads to is tried more often
HARD = (
    "AdlHaircutMismatch",
    "AdlShareTooSmall",
    "AlreadyFlagged",
    "AlreadySettled",
    "CounterpartiesNotAscending",
    "GracePeriod",
    "InitialMarginOwed",
    "LegInvalid",
    "LegsAboveTarget",
    "LegsKeepHealth",
    "LegsKeepRequirement",
    "LegsKeepShortfall",
    "NonceTooLow",
    "NotAccountOwner",
    "NotRecovered",
    "ObservationTooSoon",
    "PaymentAboveLimit",
    "Reentrancy",
    "ReportTooOld",
    "SizeOutOfRange",
    "SnapshotMissing",
    "TooManyCounterparties",
    "TooManyDeferred",
    "WindingDown",
)


def _flagged(p: Proposer) -> bool:
    return any(a.flagged_at for a in p.session.state.accounts.values())


def _no_legs(p: Proposer, rng: Random) -> VaultAction | None:
    failing = p._failing()
    if not failing:
        return None
    account = rng.choice(failing)
    liquidator = p._liquidator(rng, account)
    return p.legs_of(liquidator >> 8, account, liquidator, [], 2**255 - 1)


PROBES: list[Recipe] = [
    _good("refresh"),
    _bad("report"),
    _good("report"),
    lambda p, r: _fill(p, _perp(p, r, 10**9)),
    lambda p, r: p.flag_of(p._account(r), r),
    lambda p, r: p.observation(0, p.session.now // 86_400 + 1),
    lambda p, r: p.socialisation(p._account(r)),
    _good("arrays"),
    _good("deposit"),
]
