"""Proposals about accounts in trouble: ruin, flags, slices, legs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.base import INT256_MAX, STRANGER, UINT256_MAX, WAD, Step
from risk.diff.plumbline.chain import ADMIN
from risk.diff.plumbline.draw import chance, weighted
from risk.diff.plumbline.market_proposals import MarketProposals
from risk.exact.accounts import rights

SLICES = ("liquidate", "liquidateFlash")


class LiquidationProposals(MarketProposals):
    """What keepers and attackers try on accounts that fail, and on those that do not."""

    def flag(self, rng: Random, bad: bool) -> VaultAction:
        """Of somebody who fails if there is one; bad: healthy, or flagged already."""
        failing = self._failing()
        if not failing and not bad and chance(rng, 80):
            return self.ruin(rng, bad)
        account = self._account(rng) if bad or not failing else rng.choice(failing)
        return self._on_account("flag", account)

    def unflag(self, rng: Random, bad: bool) -> VaultAction:
        """Of somebody flagged if there is one; bad: anybody."""
        flagged = [n for n, a in self._state.accounts.items() if a.flagged_at]
        account = self._account(rng) if bad or not flagged else rng.choice(flagged)
        return self._on_account("unflag", account)

    def call_margin(self, rng: Random, bad: bool) -> VaultAction:
        """Of anybody, also of who does not exist."""
        exposed = self._exposed()
        account = rng.choice(exposed) if exposed else self._account(rng)
        return self._on_account("callMargin", STRANGER << 8 if bad else account)

    def flag_of(self, account: int, rng: Random) -> VaultAction:
        """The call itself."""
        del rng
        return self._on_account("flag", account)

    def _on_account(self, name: str, account: int) -> VaultAction:
        methods: dict[str, Callable[[Any], Any]] = {
            "flag": lambda v: v.flag(STRANGER, account),
            "unflag": lambda v: v.unflag(STRANGER, account),
            "callMargin": lambda v: v.call_margin(STRANGER, account),
        }
        return self.make.vault(name, f"{account:#x}", STRANGER, name, (account,), methods[name])

    # ── trouble ──────────────────────────────────────────────────────────────────────────────────

    def crash(self, rng: Random, bad: bool) -> VaultAction:
        """A violent move, a refresh, and liquidations while somebody fails."""
        del bad
        d = self._d
        u = rng.randrange(len(d.feeds))
        answer = (
            d.spec.underlyings[u].answer * rng.choice([200, 400, 600, 1700, 2500, 4000]) // 1000
        )
        self.then(lambda r: self.refresh_of([u]), *[self._liquidate_failing] * 3)
        return self.make.feed(u, max(1, answer))

    def ruin(self, rng: Random, bad: bool, *, deep: bool = False) -> VaultAction:
        """A price at which one account with a perp or future fails, or owes more than it has."""
        targets = [
            (n, x)
            for n, a in self._state.accounts.items()
            for x in a.linear
            if x.size_wad and x.instrument >> 28 < min(len(self._d.feeds), self._listed())
        ]
        if not targets:
            return self.crash(rng, bad)
        account, position = rng.choice(sorted(targets, key=lambda t: (t[0], t[1].instrument)))
        margin = self._margin(account)
        if margin is None:
            return self.crash(rng, bad)
        u = position.instrument >> 28
        price = self._state.underlyings[u].price_wad
        deep = deep or chance(rng, 50)  # bankrupt, or only below maintenance
        lost = margin.mark_equity if deep else margin.equity - margin.mm
        lost = lost + max(margin.mm, WAD) * rng.randint(1, 400) // 1000
        target = price - lost * WAD // position.size_wad
        if not price // 20 < target < price * 8:
            return self.crash(rng, bad)
        decimals = self._d.spec.underlyings[u].feed_decimals
        after = [self._liquidate_failing] * 2
        if deep:
            after = [partial(self.after_ruin, account)]
        self.then(lambda r: self.refresh_of([u]), *after)
        return self.make.feed(u, max(1, target * 10**decimals // WAD))

    def _liquidate_failing(self, rng: Random) -> VaultAction | None:
        return self.liquidate(rng, False) if self._failing() else None

    # ── slices ───────────────────────────────────────────────────────────────────────────────────

    def liquidate(self, rng: Random, bad: bool) -> VaultAction:
        """Somebody who fails if there is one (flagged first where that is needed); bad: healthy,
        own account, stranger, no fraction, too dear.
        """
        failing = self._failing()
        if not failing and not bad and chance(rng, 80):
            return self.ruin(rng, bad)
        account = rng.choice(failing) if failing else self._account(rng)
        if not bad and failing and self._wants_flag(account) and chance(rng, 80):
            return self._prepare(rng, account)
        if failing and chance(rng, 25):
            return self.legs(rng, bad)
        liquidator = self._liquidator(rng, account)
        fraction = weighted(rng, [(WAD, 6), (rng.randint(1, WAD), 4), (1, 1)])
        limit, sender = INT256_MAX, self._sender(rng, liquidator, rights.TRADE)
        if bad:
            kind = rng.randrange(5)
            if kind == 0:
                liquidator, sender = account, account >> 8
            elif kind == 1:
                sender = self._intruder(rng, liquidator)
            elif kind == 2:
                fraction = rng.choice([0, WAD + 1, UINT256_MAX])
            elif kind == 3:
                limit = -(2**255)
            else:
                account = self._account(rng)
        return self.slice_of(rng.choice(SLICES), sender, account, liquidator, fraction, limit)

    def slice_of(
        self, name: str, sender: int, account: int, liquidator: int, fraction: int, limit: int
    ) -> VaultAction:
        """The call itself; ``liquidateFlash`` without data."""
        args = (account, liquidator, fraction, limit)

        def on_model(vault: Any) -> Any:
            if name == "liquidate":
                return vault.liquidate(sender, *args)
            return vault.liquidate_flash(sender, *args, None)

        text = f"{account:#x} by {liquidator:#x} fraction {fraction}"
        given = args if name == "liquidate" else (*args, b"")
        return self.make.vault(name, text, sender, name, given, on_model)

    def _wants_flag(self, account: int) -> bool:
        p = self._params
        if p is None or p.grace_seconds == 0:
            return False
        margin, since = self._margin(account), self._held(account).flagged_at
        if margin is None or margin.equity * 10_000 < margin.mm * p.emergency_bps:
            return False
        return since == 0 or self.session.now + 1 < since + p.grace_seconds

    def _prepare(self, rng: Random, account: int) -> VaultAction:
        """Flag it, let the grace pass (a second less, now and then), and come back."""
        p, since = self._params, self._held(account).flagged_at
        assert p is not None
        again = [self._liquidate_failing]
        if since == 0:
            wait = p.grace_seconds - rng.choice([0, 0, 0, 1])
            later: list[Step] = []
            if chance(rng, 25):
                later.append(partial(self.flag_of, account))
            if chance(rng, 25):
                later.append(lambda r: self._on_account("unflag", account))
            if chance(rng, 25):
                later += self._recovery(account)
            elif chance(rng, 20):
                later.append(self._liquidate_failing)
            if wait == p.grace_seconds:
                fresh = self.fresh_steps(rng)
            else:  # the very second at which the grace is over, or the one before
                wait, fresh = wait - 1 - len(later), []
            self.then(*later, lambda r: self.accrual(max(1, wait)), *fresh, *again)
            return self._on_account("flag", account)
        self.then(*again)
        return self.accrual(max(1, since + p.grace_seconds - self.session.now - 1))

    def _recovery(self, account: int) -> list[Step]:
        """The owner deposits enough, and the flag is cleared."""
        unit = 10**self._d.spec.cash_decimals

        def deposit(r: Random) -> VaultAction:
            margin = self._margin(account)
            lacking = 10**18 if margin is None else max(0, margin.im - margin.equity)
            amount = (lacking * 11 // 10 + WAD) * unit // WAD
            return self.make.deposit(account, self._d.cash, max(1, amount))

        return [deposit, lambda r: self._on_account("unflag", account)]

    def _liquidator(self, rng: Random, account: int) -> int:
        """Rich and empty more often than not."""
        others = [a for a in self._d.accounts if a != account]
        if chance(rng, 60):
            return max(others, key=lambda n: self._held(n).cash_wad)
        return rng.choice(others)

    # ── with a callback ──────────────────────────────────────────────────────────────────────────

    def flash(self, rng: Random, bad: bool) -> VaultAction:
        """The liquidator is a contract without cash that deposits in the callback: enough, next to
        nothing, or what it does not have.
        """
        failing = self._failing()
        if not failing:
            return self.ruin(rng, bad)
        account, me = rng.choice(failing), self._d.callback
        unit = 10**self._d.spec.cash_decimals
        margin = self._margin(account)
        need = 10**18 if margin is None else abs(margin.mark_equity) + margin.im
        amount = max(1, 3 * need * unit // WAD)
        if bad:
            amount = rng.choice([1, 2**127, 0])
        inner = [self.make.deposit(me << 8, self._d.cash, amount)]
        if chance(rng, 25):
            inner.append(self.batch_of(me, [self.accrual(1), self.flag_of(account, rng)]))
        if chance(rng, 15):
            inner.append(self.socialisation(account))
        if chance(rng, 20):
            inner.append(self.slice_of("liquidate", me, account, me << 8, WAD, INT256_MAX))
        legs = chance(rng, 35)
        self.then(lambda r: self._called_back(r, account, legs))
        return self._arm(inner)

    def _arm(self, inner: list[VaultAction]) -> VaultAction:
        """What the callback will do."""
        d = self._d

        def on_model(vault: Any) -> None:
            if vault is self.session.vault:
                self.armed = list(inner)

        return VaultAction(
            "arm",
            "; ".join(item.describe() for item in inner),
            ADMIN,
            self.session.now + 1,
            d.callback_functions["arm"],
            lambda: ([d.vault] * len(inner), [item.calldata() for item in inner]),
            on_model,
            d.callback,
        )

    def _called_back(self, rng: Random, account: int, legs: bool) -> VaultAction:
        me, fraction = self._d.callback, rng.choice([WAD, WAD // 3])
        target, data = me << 8, b"\x01"
        ids: list[int] = []
        if legs:
            held = self._held(account)
            ids = sorted(leg_of(x.instrument, x.size_wad) for x in held.linear if x.size_wad)[:1]

        def on_model(vault: Any) -> Any:
            todo = list(self.armed)

            def callback() -> None:
                calls = list(todo)
                todo.clear()
                for item in calls:
                    item.on_model(vault)

            if legs:
                out = vault.liquidate_legs(me, account, target, ids, INT256_MAX, callback)
            else:
                out = vault.liquidate_flash(me, account, target, fraction, INT256_MAX, callback)
            if vault is self.session.vault:
                self.armed = []
            return out

        if legs:
            args: tuple[Any, ...] = (account, target, ids, INT256_MAX, data)
        else:
            args = (account, target, fraction, INT256_MAX, data)
        name = "liquidateLegs" if legs else "liquidateFlash"
        inner = tuple(self.armed)
        made = self.make.vault(name, f"{account:#x} with callback", me, name, args, on_model)
        return VaultAction(**{**vars(made), "inner": inner})

    # ── legs ─────────────────────────────────────────────────────────────────────────────────────

    def legs(self, rng: Random, bad: bool) -> VaultAction:
        """Some positions of somebody who fails, whole or in part; bad: not held, zero, twice, of
        the wrong sign, too dear.
        """
        failing = self._failing()
        if not failing and not bad and chance(rng, 80):
            return self.ruin(rng, bad)
        account = rng.choice(failing) if failing else self._account(rng)
        held = self._held(account)
        positions = {x.instrument: x.size_wad for x in held.linear if x.size_wad}
        positions |= {x.instrument: x.size_wad for x in held.options}
        chosen = sorted(rng.sample(sorted(positions), min(len(positions), rng.randint(1, 2))))
        sizes = {
            i: abs(positions[i]) * rng.choice([1, 100, 300, 700, 1000, 1000]) // 1000
            for i in chosen
        }
        legs = [leg_of(i, sizes[i] if positions[i] > 0 else -sizes[i]) for i in chosen if sizes[i]]
        liquidator, limit = self._liquidator(rng, account), INT256_MAX
        sender = self._sender(rng, liquidator, rights.TRADE)
        if bad:
            kind = rng.randrange(4)
            if kind == 0 or not legs:
                legs = [*legs, rng.choice([0, leg_of(0xFFFFFFFF, 1)])]
            elif kind == 1:
                legs = [*legs, legs[0]]
            elif kind == 2:
                legs = [leg_of(chosen[0], -positions[chosen[0]])]
            else:
                limit = -(2**255)
        return self.legs_of(sender, account, liquidator, legs, limit)

    def legs_of(
        self, sender: int, account: int, liquidator: int, legs: list[int], limit: int
    ) -> VaultAction:
        """The call itself, without data."""
        return self.make.vault(
            "liquidateLegs",
            f"{account:#x} by {liquidator:#x} {len(legs)} legs",
            sender,
            "liquidateLegs",
            (account, liquidator, legs, limit, b""),
            lambda v: v.liquidate_legs(sender, account, liquidator, legs, limit, None),
        )


def leg_of(instrument: int, size: int) -> int:
    """instrument(32) << 96 | size(96, two's complement)"""
    return instrument << 96 | size % 2**96
