"""Balances: the underlying (an ERC-20 of OpenZeppelin 3) and the scaled aToken and debt token.

Source: ERC20, IncentivizedERC20, ScaledBalanceTokenBase, AToken, VariableDebtToken of
@aave-dao/aave-v3-origin 3.6.0. Holders are names; the aToken contract of asset X is ``aX``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from risk.diff.kit.adapter import Refused
from risk.targets.aave.math import add, cast, ray_mul_ceil, ray_mul_floor, sub

Balance = Callable[[int, int], int]  # (scaled, index) -> balance


@dataclass
class Erc20:
    """Balances, and what each holder allows the pool to take."""

    balances: dict[str, int] = field(default_factory=dict)
    allowances: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Erc20:
        """An independent copy."""
        return Erc20(dict(self.balances), dict(self.allowances))

    def of(self, holder: str) -> int:
        """Balance."""
        return self.balances.get(holder, 0)

    def transfer(self, sender: str, receiver: str, amount: int) -> None:
        """Raises ``Refused`` with the reason string of the library."""
        if self.of(sender) < amount:
            raise Refused("Error", "ERC20: transfer amount exceeds balance")
        self.balances[sender] = self.of(sender) - amount
        self.balances[receiver] = self.of(receiver) + amount

    def transfer_from(self, sender: str, receiver: str, amount: int) -> None:
        """By the pool. The balance is checked before the allowance, which has no infinite value."""
        self.transfer(sender, receiver, amount)
        allowed = self.allowances.get(sender, 0)
        if allowed < amount:
            raise Refused("Error", "ERC20: transfer amount exceeds allowance")
        self.allowances[sender] = allowed - amount


@dataclass
class ScaledToken:
    """Scaled balances, and the index at which each was last touched.

    ``up`` says how a balance is rounded: debt tokens up, aTokens down.
    """

    up: bool
    balances: dict[str, int] = field(default_factory=dict)
    indices: dict[str, int] = field(default_factory=dict)
    allowances: dict[tuple[str, str], int] = field(default_factory=dict)  # credit delegation
    total: int = 0

    def copy(self) -> ScaledToken:
        """An independent copy."""
        return ScaledToken(
            self.up,
            dict(self.balances),
            dict(self.indices),
            dict(self.allowances),
            self.total,
        )

    def of(self, holder: str) -> int:
        """Scaled balance."""
        return self.balances.get(holder, 0)

    def balance(self, scaled: int, index: int) -> int:
        """The balance that a scaled amount is worth."""
        return ray_mul_ceil(scaled, index) if self.up else ray_mul_floor(scaled, index)

    def mint(self, holder: str, scaled: int, index: int) -> bool:
        """True if the holder had none before."""
        if scaled == 0:
            raise Refused("InvalidMintAmount")
        before = self.of(holder)
        after = self.balance(add(scaled, before), index)
        previous = self._touch(holder, index)
        self.total = add(self.total, cast(scaled, 120))
        self.balances[holder] = add(before, scaled, 120)
        sub(after, previous)
        return before == 0

    def burn(self, holder: str, scaled: int, index: int) -> bool:
        """True if the holder has none afterwards."""
        if scaled == 0:
            raise Refused("InvalidBurnAmount")
        before = self.of(holder)
        self.balance(sub(before, scaled), index)
        self._touch(holder, index)
        self.total = sub(self.total, cast(scaled, 120))
        self.balances[holder] = before - scaled
        return before == scaled

    def move(self, sender: str, receiver: str, scaled: int, index: int) -> None:
        """Transfer of a scaled amount."""
        cast(scaled, 120)
        self._touch(sender, index)
        self._touch(receiver, index)
        self.balances[sender] = sub(self.of(sender), scaled)
        self.balances[receiver] = add(self.of(receiver), scaled, 120)

    def _touch(self, holder: str, index: int) -> int:
        """Remember the index; the balance at the one before. The interest since then, which the
        contract logs, must not be negative.
        """
        scaled = self.of(holder)
        previous = self.balance(scaled, self.indices.get(holder, 0))
        sub(self.balance(scaled, index), previous)
        self.indices[holder] = cast(index, 128)
        return previous

    def spend_delegation(self, owner: str, spender: str, amount: int, scaled: int, i: int) -> None:
        """Use up a borrow allowance by the growth of the owner's debt, which rounding may make
        larger than ``amount``; never by more than there is.
        """
        before = self.of(owner)
        grown = sub(self.balance(add(before, scaled), i), self.balance(before, i))
        allowed = self.allowances.get((owner, spender), 0)
        if allowed < amount:
            raise Refused("InsufficientBorrowAllowance", spender, allowed, amount)
        self.allowances[owner, spender] = allowed - min(allowed, grown)
