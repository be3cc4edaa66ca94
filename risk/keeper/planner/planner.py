"""Which transactions to send at a head: the best way for every unhealthy account, the most
profitable first, as far as the liquidator's own margin goes (docs/keeper-planner.md).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from risk.chain.abi import functions
from risk.exact.errors import ModelRevert
from risk.exact.liquidation import flag_logic, slice_math
from risk.exact.market import feed_reader
from risk.exact.math.wad_math import WAD
from risk.exact.state import State
from risk.keeper.book import Prices
from risk.keeper.health import adopt, scratch, underlyings_of
from risk.keeper.planner import draw, legs, trial
from risk.keeper.planner.terms import Terms
from risk.keeper.planner.trial import ANY_PAYMENT, Ground, Offer, Seen
from risk.keeper.ports import Bucket, Costs, Passed, Plan, Sweep
from risk.keeper.types import Head, Intent, Reading, Way

log = logging.getLogger("plumbline.keeper.planner")

_TRIES: Final = 4  # at the smallest slice that restores health, each a little larger
_HALVINGS: Final = 8
_FUTILE: Final = 8  # accounts in a row that own margin does not reach for, before a head gives up
_OWN: Final = frozenset(
    {
        "InsufficientMargin",
        "TooManyPositions",
        "CashOutOfRange",
        "AccountTooHeavy",
        "SizeOutOfRange",
    }
)
_WAITS: Final = frozenset({"GracePeriod", "SequencerDown", "SequencerGrace"})


@dataclass(frozen=True)
class _Refused(Exception):
    """Why nothing is sent for an account."""

    passed: Passed


class Planner:
    """``ports.Planning``. ``vault`` is its address, ``abi`` that of vault and extension."""

    def __init__(self, vault: str | int, abi: Iterable[Mapping[str, Any]], terms: Terms) -> None:
        self.terms = terms
        self._vault = vault if isinstance(vault, int) else int(vault, 16)
        self._functions = functions(abi)
        self._planned: dict[str, Offer] = {}  # what may be open, by key
        self._looked: dict[int, int] = {}  # unhealthy accounts: head at which last looked at

    def plan(
        self, state: State, prices: Prices, sweep: Sweep, costs: Costs, open_keys: frozenset[str]
    ) -> Plan:
        """Intents in the order in which they should be sent; everybody else with a bucket.

        The state is only read. What the model refuses, or fails at, is that account's matter alone.
        """
        head = sweep.head
        passed = [Passed(r.account, Bucket.UNKNOWN, r.reason) for r in sweep.unknown.values()]
        if not sweep.unhealthy:
            return Plan(head, (), tuple(passed))
        ground = self._ground(state, prices, head, costs, open_keys)
        why = self._blind(ground, prices)
        if why:
            passed += [Passed(a, Bucket.UNKNOWN, why) for a in sweep.unhealthy]
            return Plan(head, (), tuple(passed))
        offers, rest = self._offers(ground, sweep, open_keys)
        intents, more = self._accept(ground, offers, head)
        self._planned.update({i.key: o for i, o in intents})
        return Plan(head, tuple(i for i, _ in intents), (*passed, *rest, *more))

    def _ground(
        self, state: State, prices: Prices, head: Head, costs: Costs, open_keys: frozenset[str]
    ) -> Ground:
        """The book as the next block finds it: our open transactions have happened."""
        time = head.timestamp + self.terms.block_seconds
        ground = Ground(scratch(state), replace(prices.world, timestamp=time), self.terms, costs)
        self._planned = {k: o for k, o in self._planned.items() if k in open_keys}
        for offer in self._planned.values():
            try:
                self._again(ground, offer)
            except ModelRevert:
                continue  # it has happened already, or will fail
        return ground

    def _again(self, ground: Ground, offer: Offer) -> None:
        """Do to ``ground`` what ``offer`` does."""
        copy = ground.copy()
        if offer.way is Way.FLAG:
            flag_logic.flag(copy.state, copy.world, offer.account)
        else:
            seen = trial.examine(ground, offer.account)
            if offer.way is Way.SLICE:
                copy = replace(copy, state=trial.take_slice(ground, seen, offer.fraction_wad).after)
            else:
                copy = replace(copy, state=trial.take_legs(ground, seen, offer.legs).after)
        adopt(ground.state, copy.state)

    def _blind(self, ground: Ground, prices: Prices) -> str:
        """Why nothing can be said of the liquidator's own margin; empty where it can."""
        if not prices.unknown:
            return ""
        held = underlyings_of(ground.state, self.terms.liquidator) & prices.unknown
        return f"the liquidator depends on underlying {min(held)}: {prices.reason}" if held else ""

    # ── offers ───────────────────────────────────────────────────────────────────────────────────

    def _offers(
        self, ground: Ground, sweep: Sweep, open_keys: frozenset[str]
    ) -> tuple[list[Offer], list[Passed]]:
        """The best of every account by itself; the accounts that promise most are looked at."""
        busy = {int(key.split(":")[0], 16) for key in open_keys}
        passed = [Passed(a, Bucket.OPEN) for a in sweep.unhealthy if a in busy]
        waiting = [r for a, r in sweep.unhealthy.items() if a not in busy]
        promised = {r.account: self._promise(ground, r) for r in waiting}
        order = self._order(promised, sweep.head, "look")
        waiting.sort(key=lambda r: (*order[r.account], r.timestamp, r.account))
        waiting = self._chosen(waiting, sweep.head)
        offers = []
        for item in waiting[: self.terms.max_examined]:
            try:
                offers.append(self._decide(ground, item.account))
            except _Refused as refused:
                passed.append(refused.passed)
        passed += [Passed(r.account, Bucket.LATER) for r in waiting[self.terms.max_examined :]]
        age = {r.account: r.timestamp for r in waiting}
        order = self._order({o.account: o.profit_wad for o in offers}, sweep.head, "send")
        offers.sort(key=lambda o: (*order[o.account], age[o.account], o.account))
        return offers, passed

    def _order(self, weights: dict[int, int], head: Head, what: str) -> dict[int, tuple[int, int]]:
        """Sort keys: by weight, or as the signer draws them at this head (``Terms.spread_bps``)."""
        spread, signer = self.terms.spread_bps, self.terms.signer
        if not spread:
            return {a: (-w, 0) for a, w in weights.items()}
        seeds = {a: draw.seed(signer, a, head.hash, what) for a in weights}
        return {a: (-draw.score(w, spread, seeds[a]), -w) for a, w in weights.items()}

    def _chosen(self, waiting: list[Reading], head: Head) -> list[Reading]:
        """``waiting``, the best promise first, with those to be looked at now in front.

        Half of them by promise; the others are those that nobody has looked at for longest. Else
        accounts that promise much and can never be taken (too large, in grace, a loss) would keep
        everybody behind them out of sight.
        """
        most = self.terms.max_examined
        known = {r.account for r in waiting}
        self._looked = {a: n for a, n in self._looked.items() if a in known}
        if len(waiting) > most:
            best, rest = waiting[: most // 2], waiting[most // 2 :]
            rest.sort(key=lambda r: self._looked.get(r.account, -1))  # stable: then by promise
            waiting = best + rest
        self._looked.update({r.account: head.number for r in waiting[:most]})
        return waiting

    def _promise(self, ground: Ground, item: Reading) -> int:
        """ρ·MM at the reading, without growth: an order, not a figure."""
        p = feed_reader.load_params(ground.state)
        health = item.equity_wad * WAD // item.mm_wad if item.mm_wad else 0
        bps = p.reward_base_bps, p.reward_slope_bps, p.reward_max_bps
        return slice_math.reward_wad(*bps, health, 0) * item.mm_wad

    def _decide(self, ground: Ground, account: int) -> Offer:
        """The offer to make now. ``_Refused`` with the bucket otherwise."""
        try:
            if account == self.terms.liquidator:
                raise ModelRevert("SelfLiquidation", (account,))
            seen = trial.examine(ground, account)
            try:
                trial.require_grace(ground, seen)
            except ModelRevert as error:
                if error.name != "NotFlagged":
                    raise
                return self._worth(self._flag(ground, seen))
            offer = self._worth(self._best(ground, seen))
            self._wait(ground, seen, offer)
            return offer
        except ModelRevert as error:
            raise _Refused(self._bucket(account, error)) from None
        except (ArithmeticError, LookupError, ValueError) as error:
            log.exception("an account cannot be planned", extra={"account": hex(account)})
            note = f"{type(error).__name__}: {error}"
            raise _Refused(Passed(account, Bucket.UNKNOWN, note)) from None

    def _best(self, ground: Ground, seen: Seen) -> Offer:
        """The most profitable way; the refusal of the slice where none works."""
        refused: list[ModelRevert] = []
        found = [self._slice(ground, seen, refused), legs.offer(ground, seen, refused)]
        offers = [o for o in found if o is not None]
        if not offers:
            raise refused[0]
        return max(offers, key=lambda o: o.profit_wad)

    def _slice(self, ground: Ground, seen: Seen, refused: list[ModelRevert]) -> Offer | None:
        """As much as there is; where own margin does not reach, the most that it carries."""

        def attempt(fraction: int) -> Offer | None:
            try:
                return trial.take_slice(ground, seen, fraction)
            except ModelRevert as error:
                refused.append(error)
                return None

        offer = attempt(WAD)
        if offer is not None or refused[-1].name not in _OWN:
            return offer
        least = self._restoring(ground, seen)
        low = least.fraction_wad if least else 0
        target = seen.case.p.target_bps * slice_math.BPS_WAD
        high = trial.fraction_to(seen, target) or WAD
        return trial.largest(attempt, low, high, _HALVINGS) or least

    def _restoring(self, ground: Ground, seen: Seen) -> Offer | None:
        """The smallest slice after which the account is healthy."""
        fraction = trial.fraction_to(seen, WAD)
        if fraction is None:
            return None
        fraction += fraction // 10**9 + 10**6  # what rounding may take
        for _ in range(_TRIES):
            try:
                offer = trial.take_slice(ground, seen, min(WAD, fraction))
                trial.examine(replace(ground, state=offer.after), seen.account)
            except ModelRevert as error:
                return offer if error.name == "AccountHealthy" else None
            fraction += fraction // 10**5
        return None

    def _flag(self, ground: Ground, seen: Seen) -> Offer:
        """A flag, where the liquidation after the grace is worth both."""
        future = trial.flagged(ground, seen)
        after = self._best(future, trial.examine(future, seen.account))
        return trial.raise_flag(ground, seen, after.profit_wad)

    def _worth(self, offer: Offer) -> Offer:
        if offer.profit_wad < self.terms.min_profit_wad:
            note = f"{offer.way.value}: reward {offer.reward_wad}, gas {offer.gas_cost_wad}"
            raise _Refused(Passed(offer.account, Bucket.UNPROFITABLE, note, offer.profit_wad))
        return offer

    def _wait(self, ground: Ground, seen: Seen, offer: Offer) -> None:
        """``WAIT`` where that is configured, and a block later brings more."""
        since = ground.state.accounts[seen.account].flagged_at
        ready = since + seen.case.p.grace_seconds
        patience = self.terms.patience_seconds
        if not patience or not since or seen.margin.equity <= 0:
            return
        if ground.world.timestamp >= ready + patience:
            return
        later = ground.later(self.terms.block_seconds)
        try:
            gain = self._best(later, trial.examine(later, seen.account)).profit_wad
        except ModelRevert:
            return
        if gain > offer.profit_wad:
            note = f"a block later {gain - offer.profit_wad} more"
            raise _Refused(Passed(seen.account, Bucket.WAIT, note, offer.profit_wad))

    def _bucket(self, account: int, error: ModelRevert) -> Passed:
        note = f"{error.name}{tuple(error.args)}"
        mine = bool(error.args) and error.args[0] == self.terms.liquidator
        if error.name == "AccountHealthy":
            return Passed(account, Bucket.HEALTHY_LIVE, note)
        if error.name in _WAITS:
            return Passed(account, Bucket.IN_GRACE, note)
        if mine and error.name in _OWN:
            return Passed(account, Bucket.LIQUIDATOR_TOO_SMALL, note)
        return Passed(account, Bucket.SIMULATION, note)

    # ── acceptance ───────────────────────────────────────────────────────────────────────────────

    def _accept(
        self, ground: Ground, offers: list[Offer], head: Head
    ) -> tuple[list[tuple[Intent, Offer]], list[Passed]]:
        """One after the other, each on what the ones before it leave of the liquidator's margin."""
        taken: list[tuple[Intent, Offer]] = []
        passed: list[Passed] = []
        futile = 0
        for offer in offers:
            if len(taken) == self.terms.max_intents or futile == _FUTILE:
                passed.append(Passed(offer.account, Bucket.LATER, "", offer.profit_wad))
                continue
            if taken:
                try:
                    offer = self._decide(ground, offer.account)
                except _Refused as refused:
                    passed.append(refused.passed)
                    short = refused.passed.bucket is Bucket.LIQUIDATOR_TOO_SMALL
                    futile = futile + 1 if short else futile
                    continue
            futile = 0
            adopt(ground.state, offer.after)
            taken.append((self._intent(offer, head), offer))
        return taken, passed

    def _intent(self, offer: Offer, head: Head) -> Intent:
        return Intent(
            account=offer.account,
            way=offer.way,
            to=self._vault,
            data=self._data(offer),
            gas_limit=self.terms.gas.limit(offer.gas),
            max_payment_wad=offer.bound_wad,
            reward_wad=offer.reward_wad,
            gas_cost_wad=offer.gas_cost_wad,
            profit_wad=offer.profit_wad,
            block=head.number,
        )

    def _data(self, offer: Offer) -> bytes:
        f, t = self._functions, self.terms
        bound = min(offer.bound_wad, ANY_PAYMENT)
        if offer.way is Way.FLAG:
            return f["flag"].encode(offer.account)
        if offer.way is Way.LEGS:
            data = offer.account, t.liquidator, list(offer.legs), bound, b""
            return f["liquidateLegs"].encode(*data)
        return f["liquidate"].encode(offer.account, t.liquidator, offer.fraction_wad, bound)
