"""``Witch.sol``: the liquidation engine. An auction sells collateral for debt; the share of the
collateral on offer grows from ``collateral_proportion`` to all of it over ``duration``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from risk.diff.kit.adapter import Refused
from risk.targets.yield_v2.cauldron import Cauldron, Debt, Series, Vault
from risk.targets.yield_v2.fixed import (
    UINT32_MAX,
    WAD,
    require,
    u128,
    uint,
    wdiv,
    wdivup,
    wmul,
)
from risk.targets.yield_v2.tokens import FYToken, Join

ONE_PERCENT = WAD // 100


class Auction(NamedTuple):
    """Names; the zero value is what an unknown id reads as."""

    owner: str = ""
    start: int = 0  # unix seconds
    base: str = ""
    ink: int = 0
    art: int = 0
    auctioneer: str = ""
    ilk: str = ""
    series: str = ""


class Line(NamedTuple):
    """How an auction runs; proportions have 18 decimals."""

    duration: int = 0  # seconds; the largest uint32: for ever at the first price
    vault_proportion: int = 0
    collateral_proportion: int = 0


class Limits(NamedTuple):
    """Most and present collateral under auction."""

    max: int = 0
    sum: int = 0


def least_debt(debt: Debt) -> int:
    """As the Witch computes it, in uint256."""
    return uint(debt.min * uint(10**debt.dec))


@dataclass
class Witch:
    """Auctions by vault id; lines and limits by (ilk, base)."""

    cauldron: Cauldron
    joins: dict[str, Join]
    fy_tokens: dict[str, FYToken]
    ids: dict[str, int]  # ids and addresses by name, for the arguments of errors
    reward: int = ONE_PERCENT  # share of the bought collateral for who started the auction
    auctions: dict[int, Auction] = field(default_factory=dict)
    lines: dict[tuple[str, str], Line] = field(default_factory=dict)
    limits: dict[tuple[str, str], Limits] = field(default_factory=dict)
    protected: frozenset[str] = frozenset()

    def copy(
        self, cauldron: Cauldron, joins: dict[str, Join], fy_tokens: dict[str, FYToken]
    ) -> Witch:
        """With tables of its own, on other contracts."""
        return replace(
            self,
            cauldron=cauldron,
            joins=joins,
            fy_tokens=fy_tokens,
            auctions=dict(self.auctions),
            lines=dict(self.lines),
            limits=dict(self.limits),
        )

    # ── governance ───────────────────────────────────────────────────────────────────────────────

    def set_line_and_limit(self, ilk: str, base: str, line: Line, most: int) -> None:
        require(line.collateral_proportion <= WAD, "Collateral Proportion above 100%")
        require(line.vault_proportion <= WAD, "Vault Proportion above 100%")
        require(line.collateral_proportion >= ONE_PERCENT, "Collateral Proportion below 1%")
        require(line.vault_proportion >= ONE_PERCENT, "Vault Proportion below 1%")
        self.lines[ilk, base] = line
        self.limits[ilk, base] = Limits(most, self._limits(ilk, base).sum)

    def set_reward(self, reward: int) -> None:
        if reward > WAD:
            raise Refused("AuctioneerRewardTooHigh", WAD, reward)
        self.reward = reward

    # ── auctions ─────────────────────────────────────────────────────────────────────────────────

    def auction(self, vault: int, to: str, now: int) -> tuple[Auction, Vault, Series]:
        """Take an undercollateralised vault and offer a part of it."""
        if now > UINT32_MAX:
            raise Refused("WitchIsDead")
        entry = self.cauldron.vault(vault)
        if vault in self.auctions or entry.owner in self.protected:
            raise Refused("VaultAlreadyUnderAuction", vault, self.ids[entry.owner])
        series = self.cauldron.series_of(entry.series)
        limits = self._limits(entry.ilk, series.base)
        if limits.max == 0:
            raise Refused("VaultNotLiquidatable", self.ids[entry.ilk], self.ids[series.base])
        if limits.sum > limits.max:
            raise Refused("CollateralLimitExceeded", limits.sum, limits.max)
        if self.cauldron.level(vault, now) >= 0:
            raise Refused("NotUnderCollateralised", vault)
        auction = self._offer(vault, entry, series, to, now)
        limits = limits._replace(sum=uint(limits.sum + auction.ink, 128))
        self.limits[entry.ilk, series.base] = limits
        self.auctions[vault] = auction
        return auction, self.cauldron.give(vault, "witch"), series

    def _offer(self, vault: int, entry: Vault, series: Series, to: str, now: int) -> Auction:
        """``_calcAuction``: the share of the vault that the line says, but neither the part sold
        nor the part left may be a debt below the least one.
        """
        has = self.cauldron.balance(vault)
        share = self._line(entry.ilk, series.base).vault_proportion
        least = least_debt(self.cauldron.debts(series.base, entry.ilk))
        art, ink = has.art, has.ink
        if has.art > least:
            art = wmul(has.art, share)
            if art < least:
                art = least
                share = wdivup(art, has.art)
            if has.art - art < least:
                art = has.art
                share = WAD
            ink = wmul(has.ink, share)
        return Auction(
            entry.owner, now % 2**32, series.base, u128(ink), u128(art), to, entry.ilk, entry.series
        )

    def cancel(self, vault: int, now: int) -> None:
        """End the auction of a vault that is well again."""
        auction = self._auction(vault)
        if self.cauldron.level(vault, now) < 0:
            raise Refused("UnderCollateralised", vault)
        self._withdraw(auction, auction.ink)
        self._end(vault, auction)

    def clear(self, vault: int) -> None:
        """Forget the auction of a vault that somebody else took."""
        auction = self._auction(vault)
        if self.cauldron.vault(vault).owner == "witch":
            raise Refused("AuctionIsCorrect", vault)
        self._withdraw(auction, auction.ink)
        del self.auctions[vault]

    def _end(self, vault: int, auction: Auction) -> None:
        self.cauldron.give(vault, auction.owner)
        del self.auctions[vault]

    def _withdraw(self, auction: Auction, ink: int) -> None:
        limits = self._limits(auction.ilk, auction.base)
        limits = limits._replace(sum=uint(limits.sum - ink, 128))
        self.limits[auction.ilk, auction.base] = limits

    # ── bids ─────────────────────────────────────────────────────────────────────────────────────

    def pay_base(
        self, sender: str, vault: int, to: str, least: int, most: int, now: int
    ) -> tuple[int, int, int]:
        """Pay up to ``most`` base. The debt bought is rounded up, its price in base down.
        Returns what the bidder and the auctioneer get, and the base paid.
        """
        auction = self._auction(vault)
        art = min(self.cauldron.debt_from_base(auction.series, most, now), auction.art)
        base = self.cauldron.debt_to_base(auction.series, art, now)
        cut, reward = self._sell(vault, auction, to, least, art, now)
        if base:
            self.joins[auction.base].join(sender, base)
        return cut, reward, base

    def pay_fy_token(
        self, sender: str, vault: int, to: str, least: int, most: int, now: int
    ) -> tuple[int, int, int]:
        """Pay up to ``most`` fyToken; the third value is what was taken."""
        auction = self._auction(vault)
        art = min(most, auction.art)
        cut, reward = self._sell(vault, auction, to, least, art, now)
        if art:
            self.fy_tokens[auction.series].burn("witch", sender, art)
        return cut, reward, art

    def payout(self, vault: int, to: str, most: int, now: int) -> tuple[int, int, int]:
        """``calcPayout``: what a bid would get; of a vault that is not offered, as if it was."""
        auction = self.auctions.get(vault)
        if auction is None:
            entry = self.cauldron.vault(vault)
            series = self.cauldron.series_of(entry.series)
            auction = self._offer(vault, entry, series, to, now)
        art = min(most, auction.art)
        return (*self._payout(auction, to, art, now), art)

    def _sell(
        self, vault: int, auction: Auction, to: str, least: int, art: int, now: int
    ) -> tuple[int, int]:
        cut, reward = self._payout(auction, to, art, now)
        if cut < least:
            raise Refused("NotEnoughBought", least, cut)
        self._account(vault, auction, u128(uint(cut + reward)), u128(art))
        if auction.ilk not in self.joins:
            raise Refused("JoinNotFound", self.ids[auction.ilk])
        join = self.joins[auction.ilk]
        if reward and not join.pays(auction.auctioneer, reward):
            cut, reward = cut + reward, 0
        if cut:
            join.exit(to, cut)
        return cut, reward

    def _payout(self, auction: Auction, to: str, art: int, now: int) -> tuple[int, int]:
        line = self._line(auction.ilk, auction.base)
        elapsed = uint(now - auction.start)
        share = line.collateral_proportion
        if line.duration != UINT32_MAX:
            if elapsed >= line.duration:
                share = WAD
            else:
                share += uint((WAD - share) * elapsed) // line.duration
        cut = wmul(wmul(wdiv(art, auction.art), auction.ink), share)
        if auction.auctioneer == to:
            return cut, 0
        reward = wmul(cut, self.reward)
        return cut - reward, reward

    def _account(self, vault: int, auction: Auction, ink: int, art: int) -> None:
        """``_updateAccounting``."""
        if auction.art == art:
            self._end(vault, auction)
            self._withdraw(auction, auction.ink)
        else:
            left = auction.art - art
            least = least_debt(self.cauldron.debts(auction.base, auction.ilk))
            if left < least:
                raise Refused("LeavesDust", left, least)
            self.auctions[vault] = auction._replace(ink=uint(auction.ink - ink, 128), art=left)
            self._withdraw(auction, ink)
        self.cauldron.slurp(vault, ink, art)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def _auction(self, vault: int) -> Auction:
        if vault not in self.auctions:
            raise Refused("VaultNotUnderAuction", vault)
        return self.auctions[vault]

    def _line(self, ilk: str, base: str) -> Line:
        return self.lines.get((ilk, base), Line())

    def _limits(self, ilk: str, base: str) -> Limits:
        return self.limits.get((ilk, base), Limits())
