"""What the moves are made of: who acts, on which vault, with which token."""

from __future__ import annotations

from collections.abc import Callable

from risk.diff.kit.adapter import Argument, World
from risk.diff.kit.draw import Draw
from risk.targets.yield_v2.cauldron import Balances, Vault
from risk.targets.yield_v2.fixed import WAD
from risk.targets.yield_v2.model import Model
from risk.targets.yield_v2.names import ASSETS, PAIRS, ROLES, SERIES, USERS

Arguments = tuple[Argument, ...]
Proposal = tuple[str, Arguments]  # sender and arguments


class Choices:
    """A draw and the model it looks at."""

    def __init__(self, draw: Draw, model: Model, world: World) -> None:
        self.draw = draw
        self.model = model
        self.world = world
        self.now = model.now

    def user(self) -> str:
        return self.draw.choice(USERS)

    def governor(self) -> str:
        return self.user() if self.draw.chance(8) else "owner"

    def anyone(self) -> str:
        """A receiver: mostly a user, now and then a contract."""
        if self.draw.chance(88):
            return self.user()
        return self.draw.choice(("ladle", "witch", "join A0", "join A1", "owner"))

    def any_vault(self) -> str:
        if self.draw.chance(10):
            return self.draw.choice(("cache", "cache", "V99"))
        return f"V{self.draw.integer(0, len(self.model.built) - 1)}"

    def pick(self, wanted: Callable[[int], bool]) -> str:
        """A vault for which ``wanted`` holds, if there is one; mostly."""
        found = [f"V{n}" for n, v in enumerate(self.model.built) if wanted(v)]
        return self.draw.choice(found) if found and self.draw.chance(88) else self.any_vault()

    def look(self, name: str) -> tuple[Vault, Balances, str]:
        """Vault, balances and base of a named vault; an unknown one reads as zeros."""
        vault = self.model.vault(name) or self.model.ladle.cached
        entry = self.model.cauldron.vault(vault)
        base = self.model.cauldron.series_of(entry.series).base
        return entry, self.model.cauldron.balance(vault), base

    def owner_of(self, name: str) -> str:
        """The owner as a sender; now and then, or where that is a contract, anybody."""
        owner = self.look(name)[0].owner
        return owner if owner in ROLES and self.draw.chance(94) else self.user()

    def held(self, token: str, who: str) -> int:
        return self.model.token(token).balance(who)

    def sick(self, vault: int) -> bool:
        """Undercollateralised, roughly: without the interest since maturity."""
        entry, has = self.model.cauldron.vault(vault), self.model.cauldron.balance(vault)
        base = self.model.cauldron.series_of(entry.series).base
        price = self.model.spot.prices.get((entry.ilk, base), 0)
        ratio = self.model.cauldron.ratios.get((base, entry.ilk), 0)
        return has.ink * price // WAD < has.art * ratio // 10**6

    def mine(self, vault: int) -> bool:
        return self.model.cauldron.vault(vault).owner in USERS

    def owing(self, vault: int) -> bool:
        return self.mine(vault) and self.model.cauldron.balance(vault).art > 0

    def offered(self, vault: int) -> bool:
        return vault in self.model.witch.auctions

    def any_token(self) -> str:
        return self.draw.choice((*ASSETS, *SERIES, *SERIES))

    def ripe(self) -> str:
        ripe = [s for s, t in self.model.fy_tokens.items() if t.is_mature(self.now)]
        return self.draw.choice(ripe or tuple(SERIES))

    def a_series(self) -> str:
        return self.draw.choice(tuple(SERIES))

    def pair(self) -> tuple[str, str]:
        used = []
        for name in self.model.built:
            entry = self.model.cauldron.vault(name)
            if self.model.cauldron.balance(name).art:
                used.append((self.model.cauldron.series_of(entry.series).base, entry.ilk))
        return self.draw.choice(used) if used and self.draw.chance(85) else self.draw.choice(PAIRS)

    def is_of(self, vault: int, base: str, ilk: str) -> bool:
        entry = self.model.cauldron.vault(vault)
        return entry.ilk == ilk and self.model.cauldron.series_of(entry.series).base == base

    def proposal(self, kind: str) -> Proposal:
        """Sender and arguments of an action of this kind."""
        raise NotImplementedError
