"""The protocol as a whole: every action of the adapter as a method of the same name.

The first argument is the sender's role. Vaults are named ``V0``, ``V1``, … in the order in which
they were built; ``cache`` is the zero id. A method returns what the contract returns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from risk.diff.kit.adapter import Refused
from risk.targets.yield_v2.cauldron import Cauldron, Series, Vault
from risk.targets.yield_v2.fixed import error, require
from risk.targets.yield_v2.ladle import Ladle
from risk.targets.yield_v2.names import BASES, JOINED, NOWHERE, SERIES
from risk.targets.yield_v2.rates import Rates, Spot
from risk.targets.yield_v2.tokens import FYToken, Join, Token
from risk.targets.yield_v2.witch import Auction, Line, Witch

Words = tuple[Any, ...]  # return values, as the ABI codec takes them
SILENT = "Transaction reverted silently"


@dataclass
class Model:
    """State of all contracts; ``now`` is the block time of the action."""

    ids: dict[str, int]
    rates: Rates
    spot: Spot
    tokens: dict[str, Token]
    joins: dict[str, Join]
    fy_tokens: dict[str, FYToken]
    cauldron: Cauldron
    ladle: Ladle
    witch: Witch
    built: list[int] = field(default_factory=list)  # vault ids in the order of their names
    now: int = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        """Fresh tables; what is in them does not change. The kit copies before each action."""
        rates, spot = Rates(dict(self.rates.sources)), Spot(dict(self.spot.prices))
        tokens = {name: token.copy() for name, token in self.tokens.items()}
        joins = {a: Join(j.name, tokens[a], j.stored) for a, j in self.joins.items()}
        fy_tokens = {name: token.copy() for name, token in self.fy_tokens.items()}
        cauldron = self.cauldron.copy(rates, spot)
        old = self.ladle
        ladle = Ladle(cauldron, rates, tokens, joins, fy_tokens, self.ids, old.fee, old.cached)
        witch = self.witch.copy(cauldron, joins, fy_tokens)
        built = list(self.built)
        return Model(
            self.ids, rates, spot, tokens, joins, fy_tokens, cauldron, ladle, witch, built, self.now
        )

    # ── names ────────────────────────────────────────────────────────────────────────────────────

    def vault(self, name: str) -> int:
        """Id of a vault's name."""
        if name == "cache":
            return 0
        number = int(name[1:])
        return self.built[number] if number < len(self.built) else NOWHERE

    def token(self, name: str) -> Token:
        """An asset's token or a series' fyToken."""
        return self.fy_tokens[name] if name in self.fy_tokens else self.tokens[name]

    def _vault_words(self, vault: Vault) -> Words:
        return self.ids[vault.owner], self.ids[vault.series], self.ids[vault.ilk]

    def _series_words(self, series: Series) -> Words:
        return self.ids[series.fy_token], self.ids[series.base], series.maturity

    def auction_words(self, a: Auction) -> Words:
        """The struct, in its order."""
        ids = self.ids
        return (
            ids[a.owner],
            a.start,
            ids[a.base],
            a.ink,
            a.art,
            ids[a.auctioneer],
            ids[a.ilk],
            ids[a.series],
        )

    # ── Ladle ────────────────────────────────────────────────────────────────────────────────────

    def build(self, sender: str, series: str, ilk: str, salt: int) -> Words:
        vault, entry = self.ladle.build(sender, series, ilk, salt, self.now)
        self.built.append(vault)
        return vault, self._vault_words(entry)

    def tweak(self, sender: str, vault: str, series: str, ilk: str) -> Words:
        mine, _ = self.ladle.own(sender, self.vault(vault))
        return (self._vault_words(self.cauldron.tweak(mine, series, ilk)),)

    def give(self, sender: str, vault: str, receiver: str) -> Words:
        mine, _ = self.ladle.own(sender, self.vault(vault))
        return (self._vault_words(self.cauldron.give(mine, receiver)),)

    def destroy(self, sender: str, vault: str) -> Words:
        mine, _ = self.ladle.own(sender, self.vault(vault))
        self.cauldron.destroy(mine)
        return ()

    def stir(self, sender: str, source: str, to: str, ink: int, art: int) -> Words:
        self.ladle.stir(sender, self.vault(source), self.vault(to), ink, art, self.now)
        return ()

    def pour(self, sender: str, vault: str, to: str, ink: int, art: int) -> Words:
        self.ladle.pour(sender, self.vault(vault), to, ink, art, self.now)
        return ()

    def close(self, sender: str, vault: str, to: str, ink: int, art: int) -> int:
        return self.ladle.close(sender, self.vault(vault), to, ink, art, self.now)

    def repay_from_ladle(self, sender: str, vault: str, to: str) -> int:
        return self.ladle.repay_from_ladle(sender, self.vault(vault), to, self.now)

    def close_from_ladle(self, sender: str, vault: str, to: str) -> int:
        return self.ladle.close_from_ladle(sender, self.vault(vault), to, self.now)

    def ladle_redeem(self, sender: str, series: str, to: str, amount: int) -> int:
        return self.ladle.redeem(series, to, amount, self.now)

    def ladle_transfer(self, sender: str, token: str, to: str, amount: int) -> Words:
        self.ladle.transfer(sender, token, to, amount)
        return ()

    def retrieve(self, sender: str, token: str, to: str) -> int:
        return self.ladle.retrieve(token, to)

    def batch(self, sender: str, *calls: tuple[Any, ...]) -> list[Words]:
        """Return values of each call. A refusal with a reason keeps it, another loses its data."""
        results: list[Words] = []
        for kind, *arguments in calls:
            try:
                result = getattr(self, kind)(sender, *arguments)
            except Refused as refused:
                raise refused if refused.name == "Error" else error(SILENT) from refused
            results.append(result if isinstance(result, tuple) else (result,))
        self.ladle.cached = 0
        return results

    # ── Cauldron ─────────────────────────────────────────────────────────────────────────────────

    def level(self, sender: str, vault: str) -> int:
        return self.cauldron.level(self.vault(vault), self.now)

    def mature(self, sender: str, series: str) -> Words:
        self.cauldron.mature(series, self.now)
        return ()

    def accrual(self, sender: str, series: str) -> int:
        return self.cauldron.accrual(series, self.now)

    def debt_from_base(self, sender: str, series: str, base: int) -> int:
        return self.cauldron.debt_from_base(series, base, self.now)

    def debt_to_base(self, sender: str, series: str, art: int) -> int:
        return self.cauldron.debt_to_base(series, art, self.now)

    # ── fyToken ──────────────────────────────────────────────────────────────────────────────────

    def fy_mature(self, sender: str, series: str) -> Words:
        self.fy_tokens[series].mature(self.rates, self.now)
        return ()

    def fy_accrual(self, sender: str, series: str) -> int:
        self.fy_tokens[series].after_maturity(self.now)
        return self.fy_tokens[series].accrual(self.rates, self.now)

    def to_underlying(self, sender: str, series: str, principal: int) -> int:
        return self.fy_tokens[series].to_underlying(self.rates, self.now, principal)

    def to_principal(self, sender: str, series: str, underlying: int) -> int:
        return self.fy_tokens[series].to_principal(self.rates, self.now, underlying)

    def redeem(self, sender: str, series: str, receiver: str, principal: int) -> int:
        join = self.joins[SERIES[series]]
        token = self.fy_tokens[series]
        return token.redeem(self.rates, self.now, join, sender, receiver, principal)

    def redeem_for(self, sender: str, series: str, principal: int, to: str, holder: str) -> int:
        join = self.joins[SERIES[series]]
        token = self.fy_tokens[series]
        return token.redeem_for(self.rates, self.now, join, sender, principal, to, holder)

    def withdraw(self, sender: str, series: str, underlying: int, to: str, holder: str) -> int:
        join = self.joins[SERIES[series]]
        token = self.fy_tokens[series]
        return token.withdraw(self.rates, self.now, join, sender, underlying, to, holder)

    def mint_with_underlying(self, sender: str, series: str, to: str, amount: int) -> Words:
        join = self.joins[SERIES[series]]
        self.fy_tokens[series].mint_with_underlying(self.now, join, sender, to, amount)
        return ()

    # ── Witch ────────────────────────────────────────────────────────────────────────────────────

    def auction(self, sender: str, vault: str, to: str) -> Words:
        auction, entry, series = self.witch.auction(self.vault(vault), to, self.now)
        return self.auction_words(auction), self._vault_words(entry), self._series_words(series)

    def pay_base(self, sender: str, vault: str, to: str, least: int, most: int) -> Words:
        return self.witch.pay_base(sender, self.vault(vault), to, least, most, self.now)

    def pay_fy_token(self, sender: str, vault: str, to: str, least: int, most: int) -> Words:
        return self.witch.pay_fy_token(sender, self.vault(vault), to, least, most, self.now)

    def cancel(self, sender: str, vault: str) -> Words:
        self.witch.cancel(self.vault(vault), self.now)
        return ()

    def clear(self, sender: str, vault: str) -> Words:
        self.witch.clear(self.vault(vault))
        return ()

    def payout(self, sender: str, vault: str, to: str, most: int) -> Words:
        return self.witch.payout(self.vault(vault), to, most, self.now)

    # ── tokens and rates ─────────────────────────────────────────────────────────────────────────

    def transfer(self, sender: str, token: str, to: str, amount: int) -> bool:
        self.token(token).transfer(sender, to, amount)
        return True

    def approve(self, sender: str, token: str, spender: str, amount: int) -> bool:
        self.token(token).allowances[sender, spender] = amount
        return True

    def poke(self, sender: str, base: str, kind: str) -> Words:
        return self.rates.get(base, kind, self.now), self.now

    def stop(self, sender: str, asset: str, who: str, on: bool) -> Words:
        token = self.tokens[asset]
        token.stopped = token.stopped | {who} if on else token.stopped - {who}
        return ()

    def set_price(self, sender: str, base: str, ilk: str, price: int) -> Words:
        self.spot.prices[ilk, base] = price
        return ()

    # ── governance ───────────────────────────────────────────────────────────────────────────────

    def set_rate(self, sender: str, base: str, kind: str, per_second: int) -> Words:
        self._auth(sender)
        self.rates.set_per_second(base, kind, per_second, self.now)
        return ()

    def set_ratio(self, sender: str, base: str, ilk: str, ratio: int) -> Words:
        self._auth(sender)
        self.cauldron.ratios[base, ilk] = ratio
        return ()

    def set_debt_limits(
        self, sender: str, base: str, ilk: str, most: int, least: int, dec: int
    ) -> Words:
        self._auth(sender)
        debt = self.cauldron.debts(base, ilk)
        self.cauldron.debt[base, ilk] = debt._replace(max=most, min=least, dec=dec)
        return ()

    def set_line(
        self, sender: str, base: str, ilk: str, duration: int, part: int, start: int, most: int
    ) -> Words:
        self._auth(sender)
        self.witch.set_line_and_limit(ilk, base, Line(duration, part, start), most)
        return ()

    def set_reward(self, sender: str, reward: int) -> Words:
        self._auth(sender)
        self.witch.set_reward(reward)
        return ()

    def set_protected(self, sender: str, who: str, on: bool) -> Words:
        self._auth(sender)
        protected = self.witch.protected
        self.witch.protected = protected | {who} if on else protected - {who}
        return ()

    def set_fee(self, sender: str, fee: int) -> Words:
        self._auth(sender)
        self.ladle.fee = fee
        return ()

    def seize(self, sender: str, vault: str, receiver: str) -> Words:
        """``Cauldron.give`` by another engine: what ``Witch.clear`` is for."""
        self._auth(sender)
        return (self._vault_words(self.cauldron.give(self.vault(vault), receiver)),)

    def roll(self, sender: str, vault: str, series: str, art: int) -> Words:
        """``Cauldron.roll`` by a module (the Ladle's needs a pool)."""
        self._auth(sender)
        entry, has = self.cauldron.roll(self.vault(vault), series, art, self.now)
        return self._vault_words(entry), tuple(has)

    def intrude(self, sender: str, which: str) -> Words:
        """One of the functions that only the contracts themselves may call."""
        if which == "fy S0.mint":  # looks at the time first
            self.fy_tokens["S0"].before_maturity(self.now)
        raise error("Access denied")

    @staticmethod
    def _auth(sender: str) -> None:
        require(sender == "owner", "Access denied")

    # ── what has to hold ─────────────────────────────────────────────────────────────────────────

    def broken(self) -> list[str]:
        """Invariants that fail, as readable lines."""
        lines = []
        for asset in JOINED:
            join = self.joins[asset]
            if join.stored > join.token.balance(join.name):
                lines.append(f"{join.name} records more than it holds")
        for base in BASES:
            # only across collaterals: stir and tweak move a debt, but not its share of the sums
            owed = sum(self._art_of(base))
            total = sum(debt.sum for (b, _), debt in self.cauldron.debt.items() if b == base)
            if total != owed:
                lines.append(f"debts of {base} are {total}, vaults owe {owed}")
        for name, token in [*self.tokens.items(), *self.fy_tokens.items()]:
            if sum(token.balances.values()) != token.supply:
                lines.append(f"balances of {name} do not add up to its supply")
        return lines

    def _art_of(self, base: str) -> list[int]:
        return [
            self.cauldron.balance(vault).art
            for vault, entry in self.cauldron.vaults.items()
            if SERIES[entry.series] == base
        ]
