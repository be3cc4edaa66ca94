"""Moves of borrowers: collateral, debt, vaults."""

from __future__ import annotations

from risk.diff.kit.adapter import Argument
from risk.targets.yield_v2.cauldron import Balances, Vault
from risk.targets.yield_v2.choices import Choices, Proposal
from risk.targets.yield_v2.fixed import INT128_MAX, INT128_MIN, WAD
from risk.targets.yield_v2.names import ILKS, JOINED

MOST_VAULTS = 9


class VaultMoves(Choices):
    """Actions on vaults."""

    def pour(self) -> Proposal:
        kind = self.draw.choice(range(20))
        name = self.pick(self._borrower if kind <= 10 else self.mine)
        entry, has, base = self.look(name)
        sender = self.owner_of(name)
        if kind <= 10:  # collateral in, debt up to the border
            ink = self.draw.choice((0, 10**20, 10**21, self.draw.integer(0, 10**22, (10**20,))))
            if entry.ilk not in JOINED and self.draw.chance(75):
                ink = 0
            art = self._new_debt(entry, has, base, ink)
        elif kind <= 13:
            ink = -self.draw.integer(0, has.ink + self.draw.chance(15), (has.ink,))
            repaid = (has.art, *self._repayments(entry))
            art = -self.draw.integer(0, has.art + self.draw.chance(15), repaid)
        elif kind <= 16:
            ink, art = self.draw.choice((0, -has.ink, -has.ink // 2, 10**18)), 0
        elif kind <= 18:
            least = -has.art - self.draw.chance(15)
            ink, art = 0, self.draw.integer(least, 10**20, (-has.art, -has.art // 2))
        else:
            ink = self.draw.integer(INT128_MIN, INT128_MAX, (0,))
            art = self.draw.integer(INT128_MIN, INT128_MAX, (0,))
        return sender, (name, self.anyone(), ink, art)

    def _borrower(self, vault: int) -> bool:
        """A user's vault of a series that is not mature."""
        series = self.model.cauldron.vault(vault).series
        return self.mine(vault) and not self.model.fy_tokens[series].is_mature(self.now)

    def _new_debt(self, entry: Vault, has: Balances, base: str, ink: int) -> int:
        """Mostly within the level, the dust and the ceiling, often on the border of one."""
        room = self._debt_room(entry, has, base, ink)
        if self.draw.chance(30):
            return max(self.draw.integer(0, 10**22, room), 0)
        least, ceiling, _, *levels = room
        most = min([ceiling, 10**22, *levels[:1]])
        if most <= max(least, 0):
            return 0
        return self.draw.choice((most, most * 9 // 10, self.draw.integer(max(least, 0), most)))

    def _debt_room(self, entry: Vault, has: Balances, base: str, ink: int) -> list[int]:
        """Changes of the debt at which a check turns over."""
        price = self.model.spot.prices.get((entry.ilk, base), 0)
        ratio = self.model.cauldron.ratios.get((base, entry.ilk), 0)
        debt = self.model.cauldron.debts(base, entry.ilk)
        unit = 10**debt.dec
        edges = [debt.min * unit - has.art, debt.max * unit - debt.sum, -has.art]
        if ratio:
            most = max(has.ink + ink, 0) * price // WAD * 10**6 // ratio
            edges += [most - has.art] * 5
        return edges

    def _repayments(self, entry: Vault) -> list[int]:
        return [self.held(entry.series, entry.owner)] if entry.series else []

    def close(self) -> Proposal:
        name = self.pick(self.owing)
        _, has, _ = self.look(name)
        ink = self.draw.choice((0, -self.draw.integer(0, max(has.ink, 1), (has.ink,)), 10**18))
        art = -self.draw.integer(-1, max(has.art, 1), (has.art, has.art, has.art // 2))
        if self.draw.chance(2):
            art = self.draw.choice((INT128_MIN, -INT128_MAX))
        return self.owner_of(name), (name, self.anyone(), ink, art)

    def build(self) -> Proposal:
        series, ilk = self.draw.choice(ILKS)
        if self.draw.chance(12) or len(self.model.built) >= MOST_VAULTS:
            series, ilk = self.draw.choice((("S1", "A0"), ("S9", "A1"), ("", "A1"), ("S0", "")))
        salt = self.draw.choice((255, 255, 0, self.draw.integer(0, 255)))
        return self.user(), (series, ilk, salt)

    def batch(self) -> Proposal:
        if len(self.model.built) < MOST_VAULTS and self.draw.chance(60):
            sender, build = self.build()
            amount = self.draw.integer(0, 10**22, (10**20,))
            pour = ("pour", "cache", sender, amount, self.draw.integer(0, amount))
            return sender, (("build", *build), pour)
        sender = self.user()
        kinds = ("pour", "stir", "ladle_transfer", "repay_from_ladle", "close_from_ladle")
        calls: list[Argument] = []
        for _ in range(self.draw.integer(1, 3)):
            kind = self.draw.choice(kinds)
            proposed, arguments = self.proposal(kind)
            sender = proposed if not calls else sender
            calls.append((kind, *arguments))
        return sender, tuple(calls)

    def tweak(self) -> Proposal:
        name = self.pick(self.mine)
        series, ilk = self.draw.choice(ILKS)
        if self.draw.chance(12):
            series, ilk = self.draw.choice((("S1", "A0"), ("", "A1"), ("S0", "")))
        return self.owner_of(name), (name, series, ilk)

    def give(self) -> Proposal:
        name = self.pick(self.mine)
        return self.owner_of(name), (name, self.user())

    def destroy(self) -> Proposal:
        empty = self.draw.chance(60)
        name = self.pick(lambda v: empty == (self.model.cauldron.balance(v) == Balances()))
        return self.owner_of(name), (name,)

    def stir(self) -> Proposal:
        source, to = self.pick(self.owing), self.any_vault()
        entry, has, _ = self.look(source)
        if self.draw.chance(75):
            one = self.model.vault(source)
            to = self.pick(lambda v: v != one and self._alike(entry, v))
        ink = self.draw.integer(0, has.ink + 1, (has.ink, has.ink // 2, 0))
        art = self.draw.integer(0, has.art + 1, (has.art, has.art // 2, 0))
        which = self.draw.choice(("ink", "ink", "art", "both"))
        ink, art = (0 if which == "art" else ink), (0 if which == "ink" else art)
        return self.owner_of(to if art else source), (source, to, ink, art)

    def _alike(self, entry: Vault, vault: int) -> bool:
        """Of the same collateral or the same series."""
        other = self.model.cauldron.vault(vault)
        return other.ilk == entry.ilk or other.series == entry.series

    def from_ladle(self) -> Proposal:
        name = self.pick(self.owing)
        return self.owner_of(name), (name, self.anyone())

    def roll(self) -> Proposal:
        name = self.pick(lambda v: self.model.cauldron.balance(v).art > 0)
        _, has, _ = self.look(name)
        series = self.draw.choice(("S0", "S1", "S0", "S1", "S2", "S9"))
        art = self.draw.integer(-has.art - 1, 10**20, (0, -has.art))
        if self.draw.chance(4):
            art = self.draw.choice((INT128_MAX, INT128_MIN))
        return self.governor(), (name, series, art)
