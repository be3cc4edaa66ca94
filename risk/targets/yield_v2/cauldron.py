"""``Cauldron.sol``: vaults, their collateral (ink) and debt (art), the collateralisation check.

Amounts have 18 decimals. A debt is in fyToken; after maturity it is worth ``accrual`` of the base.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from risk.diff.kit.adapter import Refused
from risk.targets.yield_v2.fixed import (
    INT128_MIN,
    OVERFLOW,
    WAD,
    i128,
    require,
    sint,
    u128,
    uint,
    wdiv,
    wdivup,
    wmul,
)
from risk.targets.yield_v2.rates import Rates, Spot


class Series(NamedTuple):
    """A maturity of a base; the zero value is what an unknown id reads as."""

    base: str = ""
    maturity: int = 0  # unix seconds
    fy_token: str = ""


class Vault(NamedTuple):
    """Names; the zero value is what an unknown id reads as."""

    owner: str = ""
    series: str = ""
    ilk: str = ""


class Balances(NamedTuple):
    """Debt and collateral of a vault."""

    art: int = 0
    ink: int = 0


class Debt(NamedTuple):
    """Limits, in units of 10^dec, and the sum of the debts of a base and a collateral."""

    max: int = 0
    min: int = 0
    dec: int = 0
    sum: int = 0

    def least(self) -> int:
        """Smallest debt of a vault but 0, as the Cauldron computes it, in uint128."""
        return uint(self.min * self._unit(), 128)

    def most(self) -> int:
        """Largest sum, in uint128."""
        return uint(self.max * self._unit(), 128)

    def _unit(self) -> int:
        return uint(10**self.dec, 128)


def moved(value: int, change: int) -> int:
    """``CauldronMath.add``: uint128 + int128. ``change`` is not 0."""
    if change == INT128_MIN:
        raise Refused("Panic", OVERFLOW)  # its negation
    require(change > 0 or value >= -change, "Result below zero")
    return uint(value + change, 128)


@dataclass
class Cauldron:
    """The book. Vaults are keyed by id (96 bits), everything else by name."""

    rates: Rates
    spot: Spot
    series: dict[str, Series]
    ilks: frozenset[tuple[str, str]]  # (series, ilk)
    ratios: dict[tuple[str, str], int]  # (base, ilk) -> 6 decimals
    debt: dict[tuple[str, str], Debt]  # (base, ilk)
    rates_at_maturity: dict[str, int] = field(default_factory=dict)
    vaults: dict[int, Vault] = field(default_factory=dict)
    balances: dict[int, Balances] = field(default_factory=dict)

    def copy(self, rates: Rates, spot: Spot) -> Cauldron:
        """With tables of its own, on other oracles."""
        return replace(
            self,
            rates=rates,
            spot=spot,
            ratios=dict(self.ratios),
            debt=dict(self.debt),
            rates_at_maturity=dict(self.rates_at_maturity),
            vaults=dict(self.vaults),
            balances=dict(self.balances),
        )

    # ── vaults ───────────────────────────────────────────────────────────────────────────────────

    def vault(self, vault: int) -> Vault:
        return self.vaults.get(vault, Vault())

    def balance(self, vault: int) -> Balances:
        return self.balances.get(vault, Balances())

    def series_of(self, series: str) -> Series:
        return self.series.get(series, Series())

    def debts(self, base: str, ilk: str) -> Debt:
        return self.debt.get((base, ilk), Debt())

    def build(self, owner: str, vault: int, series: str, ilk: str) -> Vault:
        require(vault != 0, "Vault id is zero")
        require(series != "", "Series id is zero")
        require(ilk != "", "Ilk id is zero")
        require(self.vault(vault).series == "", "Vault already exists")
        require((series, ilk) in self.ilks, "Ilk not added to series")
        self.vaults[vault] = Vault(owner, series, ilk)
        return self.vaults[vault]

    def destroy(self, vault: int) -> None:
        require(self.vault(vault).series != "", "Vault doesn't exist")
        require(self.balance(vault) == Balances(), "Only empty vaults")
        del self.vaults[vault]

    def tweak(self, vault: int, series: str, ilk: str) -> Vault:
        require(series != "", "Series id is zero")
        require(ilk != "", "Ilk id is zero")
        require((series, ilk) in self.ilks, "Ilk not added to series")
        old, has = self.vault(vault), self.balance(vault)
        require(old.series != "", "Vault doesn't exist")
        require(series == old.series or has.art == 0, "Only with no debt")
        require(ilk == old.ilk or has.ink == 0, "Only with no collateral")
        self.vaults[vault] = Vault(old.owner, series, ilk)
        return self.vaults[vault]

    def give(self, vault: int, receiver: str) -> Vault:
        require(vault != 0, "Vault id is zero")
        require(self.vault(vault).series != "", "Vault doesn't exist")
        self.vaults[vault] = self.vault(vault)._replace(owner=receiver)
        return self.vaults[vault]

    # ── debt and collateral ──────────────────────────────────────────────────────────────────────

    def stir(self, source: int, to: int, ink: int, art: int, now: int) -> None:
        """Move collateral and debt between vaults; the side that becomes less safe is checked."""
        require(source != to, "Identical vaults")
        one, has = self._existing(source)
        two, gets = self._existing(to)
        if ink:
            require(one.ilk == two.ilk, "Different collateral")
            has = has._replace(ink=uint(has.ink - ink, 128))
            gets = gets._replace(ink=uint(gets.ink + ink, 128))
        if art:
            require(one.series == two.series, "Different series")
            has = has._replace(art=uint(has.art - art, 128))
            gets = gets._replace(art=uint(gets.art + art, 128))
        self.balances[source], self.balances[to] = has, gets
        if ink:
            level = self._level(one, has, self.series[one.series], now)
            require(level >= 0, "Undercollateralized at origin")
        if art:
            level = self._level(two, gets, self.series[two.series], now)
            require(level >= 0, "Undercollateralized at destination")

    def pour(self, vault: int, ink: int, art: int, now: int) -> Balances:
        """Add (or, negative, take) collateral and debt; checked where that makes it less safe."""
        entry, has = self._existing(vault)
        series = self.series[entry.series]
        has = self._pour(vault, entry, has, series, ink, art)
        if has.art > 0 and (ink < 0 or art > 0):
            require(self._level(entry, has, series, now) >= 0, "Undercollateralized")
        return has

    def slurp(self, vault: int, ink: int, art: int) -> None:
        """Take collateral and debt without a check of the level: a liquidation."""
        entry, has = self._existing(vault)
        self._pour(vault, entry, has, self.series[entry.series], -i128(ink), -i128(art))

    def roll(self, vault: int, series: str, art: int, now: int) -> tuple[Vault, Balances]:
        """Change the series, and the debt by ``art``.

        The level is taken with the accrual of the *old* series' id: the Solidity keeps the vault as
        it was before the tweak, and returns that.
        """
        entry, has = self._existing(vault)
        old, new = self.series[entry.series], self.series_of(series)
        require(old.base == new.base, "Mismatched bases in series")
        debt = i128(has.art)
        has = self._pour(vault, entry, has, old, 0, -debt)
        self.tweak(vault, series, entry.ilk)
        has = self._pour(vault, entry, has, new, 0, sint(debt + art, 128))
        require(self._level(entry, has, new, now) >= 0, "Undercollateralized")
        return entry, has

    def _existing(self, vault: int) -> tuple[Vault, Balances]:
        require(self.vault(vault).series != "", "Vault not found")
        return self.vault(vault), self.balance(vault)

    def _pour(
        self, vault: int, entry: Vault, has: Balances, series: Series, ink: int, art: int
    ) -> Balances:
        if ink:
            has = has._replace(ink=moved(has.ink, ink))
        if art:
            debt = self.debts(series.base, entry.ilk)
            has = has._replace(art=moved(has.art, art))
            debt = debt._replace(sum=moved(debt.sum, art))
            least, most = debt.least(), debt.most()
            require(has.art == 0 or has.art >= least, "Min debt not reached")
            require(art < 0 or debt.sum <= most, "Max debt exceeded")
            self.debt[series.base, entry.ilk] = debt
        self.balances[vault] = has
        return has

    # ── valuation ────────────────────────────────────────────────────────────────────────────────

    def level(self, vault: int, now: int) -> int:
        """Value of the collateral less the debt times the ratio; negative: to be liquidated."""
        entry, has = self._existing(vault)
        return self._level(entry, has, self.series[entry.series], now)

    def _level(self, entry: Vault, has: Balances, series: Series, now: int) -> int:
        ratio = self.ratios.get((series.base, entry.ilk), 0) * 10**12
        value = self.spot.get(entry.ilk, series.base, has.ink)
        debt = has.art
        if self.is_mature(series, now):
            debt = wmul(debt, self.accrual(entry.series, now, series))
        return value - wmul(debt, ratio)  # both are words / 1e18: the casts to int256 cannot fail

    @staticmethod
    def is_mature(series: Series, now: int) -> bool:
        """The contract compares the low 32 bits of the time."""
        return now % 2**32 >= series.maturity

    def mature(self, series: str, now: int) -> None:
        """Record the borrowing rate at maturity, once."""
        require(self.rates_at_maturity.get(series, 0) == 0, "Already matured")
        self._mature(series, self.series_of(series), now)

    def _mature(self, name: str, series: Series, now: int) -> None:
        require(self.is_mature(series, now), "Only after maturity")
        self.rates_at_maturity[name] = self.rates.get(series.base, "RATE", now)

    def accrual(self, name: str, now: int, series: Series | None = None) -> int:
        """Borrowing rate now / at maturity, 18 decimals, down, at least 1; records the rate of the
        series called ``name`` the first time.
        """
        series = self.series_of(name) if series is None else series
        if self.rates_at_maturity.get(name, 0) == 0:
            self._mature(name, series, now)
            return WAD
        rate = self.rates.get(series.base, "RATE", now)
        return max(wdiv(rate, self.rates_at_maturity[name]), WAD)

    def debt_to_base(self, series: str, art: int, now: int) -> int:
        """Down."""
        if self.is_mature(self.series_of(series), now):
            return u128(wmul(art, self.accrual(series, now)))
        return art

    def debt_from_base(self, series: str, base: int, now: int) -> int:
        """Up."""
        if self.is_mature(self.series_of(series), now):
            return u128(wdivup(base, self.accrual(series, now)))
        return base
