"""``Ladle.sol`` without pools, permits and ether: the entrance of the users."""

from __future__ import annotations

from dataclasses import dataclass

from risk.chain.keccak import keccak
from risk.targets.yield_v2.cauldron import Cauldron, Series, Vault
from risk.targets.yield_v2.fixed import i128, require, sint, u128, uint, wmul
from risk.targets.yield_v2.rates import Rates
from risk.targets.yield_v2.tokens import FYToken, Join, Token

ME = "ladle"
CACHED = 0  # the vault id that stands for the last vault built


@dataclass
class Ladle:
    """Assets, joins and fyTokens by asset or series name."""

    cauldron: Cauldron
    rates: Rates
    tokens: dict[str, Token]
    joins: dict[str, Join]
    fy_tokens: dict[str, FYToken]
    ids: dict[str, int]
    fee: int = 0  # a second and fyToken borrowed, 18 decimals
    cached: int = CACHED

    # ── vaults ───────────────────────────────────────────────────────────────────────────────────

    def build(self, sender: str, series: str, ilk: str, salt: int, now: int) -> tuple[int, Vault]:
        vault = self.vault_id(sender, now, salt)
        while self.cauldron.vault(vault).series:
            salt = uint(salt + 1, 8)
            vault = self.vault_id(sender, now, salt)
        built = self.cauldron.build(sender, vault, series, ilk)
        self.cached = vault
        return vault, built

    def vault_id(self, sender: str, now: int, salt: int) -> int:
        """First 12 bytes of keccak(sender ‖ time ‖ salt)."""
        packed = self.ids[sender].to_bytes(20, "big") + now.to_bytes(32, "big") + bytes([salt])
        return int.from_bytes(keccak(packed)[:12], "big")

    def own(self, sender: str, vault: int) -> tuple[int, Vault]:
        """``getVault``: the vault, which must be the sender's; 0 is the last one built."""
        if vault == CACHED:
            require(self.cached != CACHED, "Vault not cached")
            vault = self.cached
        entry = self.cauldron.vault(vault)
        require(entry.owner == sender, "Only vault owner")
        return vault, entry

    def series(self, series: str) -> Series:
        found = self.cauldron.series_of(series)
        require(found.fy_token != "", "Series not found")
        return found

    def join(self, asset: str) -> Join:
        require(asset in self.joins, "Join not found")
        return self.joins[asset]

    # ── collateral and debt ──────────────────────────────────────────────────────────────────────

    def stir(self, sender: str, source: int, to: int, ink: int, art: int, now: int) -> None:
        """Who loses collateral and who gains debt must agree."""
        if ink:
            require(self.cauldron.vault(source).owner == sender, "Only origin vault owner")
        if art:
            require(self.cauldron.vault(to).owner == sender, "Only destination vault owner")
        self.cauldron.stir(source, to, ink, art, now)

    def pour(self, sender: str, vault: int, to: str, ink: int, art: int, now: int) -> None:
        """Collateral in (out) and fyToken out (in). New debt bears a fee until maturity, except
        where the collateral is the base.
        """
        vault, entry = self.own(sender, vault)
        series = self.series(entry.series) if art else Series()
        fee = 0
        if art > 0 and entry.ilk != series.base and self.fee:
            seconds = uint(series.maturity - now)
            fee = i128(uint(seconds * wmul(art, self.fee)))
        self.cauldron.pour(vault, ink, sint(art + fee, 128), now)
        self._collateral(entry, to, ink)
        token = self.fy_tokens[entry.series]
        if art > 0:
            token.issue(now, to, art)
        elif art < 0:
            token.burn(ME, sender, -art)

    def close(self, sender: str, vault: int, to: str, ink: int, art: int, now: int) -> int:
        """Repay with the base; ``art`` is negative. The price in base is rounded down."""
        require(art < 0, "Only repay debt")
        vault, entry = self.own(sender, vault)
        series = self.series(entry.series)
        base = self.cauldron.debt_to_base(entry.series, sint(-art, 128), now)
        self.cauldron.pour(vault, ink, art, now)
        self._collateral(entry, to, ink)
        self.join(series.base).join(sender, base)
        return base

    def _collateral(self, entry: Vault, to: str, ink: int) -> None:
        if ink:
            join = self.join(entry.ilk)
            if ink > 0:
                join.join(entry.owner, ink)
            else:
                join.exit(to, -ink)

    # ── the Ladle as a holder of tokens ──────────────────────────────────────────────────────────

    def repay_from_ladle(self, sender: str, vault: int, to: str, now: int) -> int:
        """Repay with the Ladle's fyToken and release as much collateral; the rest to ``to``."""
        vault, entry = self.own(sender, vault)
        self.series(entry.series)
        token = self.fy_tokens[entry.series]
        amount = token.balance(ME)
        repaid = min(amount, self.cauldron.balance(vault).art)
        if repaid:
            self.cauldron.pour(vault, -i128(repaid), -i128(repaid), now)
            token.burn(ME, ME, repaid)
            self.join(entry.ilk).exit(to, u128(repaid))
        if amount > repaid:
            token.transfer(ME, to, amount - repaid)
        return repaid

    def close_from_ladle(self, sender: str, vault: int, to: str, now: int) -> int:
        """Repay with the Ladle's base and release as much collateral as fyToken was repaid (the
        debt bought is rounded up); the rest goes to ``to``.
        """
        vault, entry = self.own(sender, vault)
        series = self.series(entry.series)
        art = self.cauldron.balance(vault).art
        base = self.tokens[series.base]
        amount = base.balance(ME)
        owed = self.cauldron.debt_to_base(entry.series, art, now)
        paid = u128(min(amount, owed))
        repaid = art if paid == owed else self.cauldron.debt_from_base(entry.series, paid, now)
        if paid:
            self.cauldron.pour(vault, -i128(repaid), -i128(repaid), now)
            join = self.join(series.base)
            base.transfer(ME, join.name, paid)
            join.join(ME, paid)
            self.join(entry.ilk).exit(to, u128(repaid))
        if amount > paid:
            base.transfer(ME, to, amount - paid)
        return repaid

    def redeem(self, series: str, to: str, amount: int, now: int) -> int:
        """Redeem the Ladle's fyToken; 0 stands for all that it has."""
        found = self.series(series)
        token = self.fy_tokens[series]
        principal = amount or token.balance(ME)
        return token.redeem(self.rates, now, self.joins[found.base], ME, to, principal)

    def token(self, name: str) -> Token:
        """A token that the Ladle was told of: assets with a join, and the fyTokens."""
        require(name in self.joins or name in self.fy_tokens, "Unknown token")
        return self.fy_tokens[name] if name in self.fy_tokens else self.tokens[name]

    def transfer(self, sender: str, token: str, to: str, amount: int) -> None:
        self.token(token).transfer_from(ME, sender, to, amount)

    def retrieve(self, token: str, to: str) -> int:
        held = self.token(token)
        amount = held.balance(ME)
        held.transfer(ME, to, amount)
        return amount
