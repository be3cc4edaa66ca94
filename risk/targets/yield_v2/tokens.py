"""Tokens and joins: ERC-20 of utils-v2, fyTokens (``FYToken.sol``), ``Join.sol``.

Accounts are names: a role, ``ladle``, ``witch``, ``join A0``, ``fy S0``. Amounts are in units of
10^-18 token.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

from risk.diff.kit.adapter import Refused
from risk.targets.yield_v2.fixed import UINT256_MAX, WAD, require, u128, uint, wdiv, wdivup, wmul
from risk.targets.yield_v2.rates import Rates

T = TypeVar("T", bound="Token")


@dataclass
class Token:
    """ERC20.sol; a transfer to a ``stopped`` account reverts (Surroundings.sol)."""

    balances: dict[str, int] = field(default_factory=dict)
    allowances: dict[tuple[str, str], int] = field(default_factory=dict)  # (holder, spender)
    supply: int = 0
    stopped: frozenset[str] = frozenset()

    def copy(self: T) -> T:
        """With tables of its own."""
        return replace(self, balances=dict(self.balances), allowances=dict(self.allowances))

    def balance(self, who: str) -> int:
        return self.balances.get(who, 0)

    def allowance(self, holder: str, spender: str) -> int:
        return self.allowances.get((holder, spender), 0)

    def transfer(self, source: str, to: str, amount: int) -> None:
        require(to not in self.stopped, "Token: stopped")
        require(self.balance(source) >= amount, "ERC20: Insufficient balance")
        self.balances[source] = self.balance(source) - amount
        self.balances[to] = uint(self.balance(to) + amount)

    def transfer_from(self, spender: str, source: str, to: str, amount: int) -> None:
        self.spend(source, spender, amount)
        self.transfer(source, to, amount)

    def spend(self, holder: str, spender: str, amount: int) -> None:
        """``_decreaseAllowance``; an allowance of the largest word is never used up."""
        allowed = self.allowance(holder, spender)
        if holder != spender and allowed != UINT256_MAX:
            require(allowed >= amount, "ERC20: Insufficient approval")
            self.allowances[holder, spender] = allowed - amount

    def mint(self, to: str, amount: int) -> None:
        self.balances[to] = uint(self.balance(to) + amount)
        self.supply = uint(self.supply + amount)

    def destroy(self, holder: str, amount: int) -> None:
        """``ERC20._burn``."""
        require(self.balance(holder) >= amount, "ERC20: Insufficient balance")
        self.balances[holder] = self.balance(holder) - amount
        self.supply -= amount


@dataclass
class Join:
    """Custody of one asset: what it recorded, beside what it holds."""

    name: str
    token: Token
    stored: int = 0

    def join(self, user: str, amount: int) -> None:
        """Take ``amount``, first from what was sent here unrecorded, the rest from ``user``."""
        available = uint(self.token.balance(self.name) - self.stored)
        self.stored += amount
        if available < amount:
            self.token.transfer_from(self.name, user, self.name, amount - available)

    def exit(self, user: str, amount: int) -> None:
        self.stored = uint(self.stored - amount)
        self.token.transfer(self.name, user, amount)

    def pays(self, user: str, amount: int) -> bool:
        """``try join.exit(...)``: a refusal leaves no trace."""
        stored = self.stored
        try:
            self.exit(user, amount)
        except Refused:
            self.stored = stored
            return False
        return True


@dataclass
class FYToken(Token):
    """A zero-coupon token: redeems 1:1 at maturity, with savings interest (chi) afterwards."""

    name: str = ""
    base: str = ""
    maturity: int = 0  # unix seconds
    chi_at_maturity: int = UINT256_MAX  # 18 decimals; the largest word: not set

    def is_mature(self, now: int) -> bool:
        """The contract compares the low 32 bits of the time."""
        return now % 2**32 >= self.maturity

    def after_maturity(self, now: int) -> None:
        require(self.is_mature(now), "Only after maturity")

    def before_maturity(self, now: int) -> None:
        require(not self.is_mature(now), "Only before maturity")

    def issue(self, now: int, to: str, amount: int) -> None:
        """``mint`` by the Ladle."""
        self.before_maturity(now)
        self.mint(to, amount)

    def burn(self, spender: str, holder: str, amount: int) -> None:
        """``_burn``: first what lies in the contract itself, then from ``holder``, which must have
        approved ``spender``.
        """
        available = self.balance(self.name)
        own = min(available, amount)
        self.destroy(self.name, own)
        if own < amount:
            self.spend(holder, spender, amount - own)
            self.destroy(holder, amount - own)

    # ── savings rate ─────────────────────────────────────────────────────────────────────────────

    def mature(self, rates: Rates, now: int) -> None:
        self.after_maturity(now)
        require(self.chi_at_maturity == UINT256_MAX, "Already matured")
        self.chi_at_maturity = rates.get(self.base, "CHI", now)

    def accrual(self, rates: Rates, now: int) -> int:
        """chi now / chi at maturity, 18 decimals, down, at least 1; records chi the first time."""
        if self.chi_at_maturity == UINT256_MAX:
            self.chi_at_maturity = rates.get(self.base, "CHI", now)
            return WAD
        return max(wdiv(rates.get(self.base, "CHI", now), self.chi_at_maturity), WAD)

    def to_underlying(self, rates: Rates, now: int, principal: int) -> int:
        """Down. 1:1 for as long as chi was not recorded, even after maturity."""
        if self.chi_at_maturity == UINT256_MAX:
            return principal
        return wmul(principal, self.accrual(rates, now))

    def to_principal(self, rates: Rates, now: int, underlying: int) -> int:
        """Up. 1:1 for as long as chi was not recorded, even after maturity."""
        if self.chi_at_maturity == UINT256_MAX:
            return underlying
        return wdivup(underlying, self.accrual(rates, now))

    # ── redemption ───────────────────────────────────────────────────────────────────────────────

    def redeem(
        self, rates: Rates, now: int, join: Join, sender: str, receiver: str, principal: int
    ) -> int:
        """``redeem(address,uint256)``: burns the sender's. 0 stands for what the contract holds."""
        self.after_maturity(now)
        principal = principal or self.balance(self.name)
        self.burn(sender, sender, principal)
        underlying = wmul(principal, self.accrual(rates, now))
        join.exit(receiver, u128(underlying))
        return underlying

    def redeem_for(
        self,
        rates: Rates,
        now: int,
        join: Join,
        sender: str,
        principal: int,
        receiver: str,
        holder: str,
    ) -> int:
        """``redeem(uint256,address,address)`` of ERC-5095: never records chi."""
        self.after_maturity(now)
        principal = principal or self.balance(self.name)
        self.burn(sender, holder, principal)
        underlying = self.to_underlying(rates, now, principal)
        join.exit(receiver, u128(underlying))
        return underlying

    def withdraw(
        self,
        rates: Rates,
        now: int,
        join: Join,
        sender: str,
        underlying: int,
        receiver: str,
        holder: str,
    ) -> int:
        """ERC-5095; pays the value of the principal, which is rounded up, again rounded down."""
        self.after_maturity(now)
        principal = (
            self.to_principal(rates, now, underlying) if underlying else self.balance(self.name)
        )
        self.burn(sender, holder, principal)
        paid = self.to_underlying(rates, now, principal)
        join.exit(receiver, u128(paid))
        return principal

    def mint_with_underlying(
        self, now: int, join: Join, sender: str, receiver: str, amount: int
    ) -> None:
        self.before_maturity(now)
        self.mint(receiver, amount)
        join.join(sender, u128(amount))
