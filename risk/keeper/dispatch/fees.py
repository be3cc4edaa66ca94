"""EIP-1559 fees of one transaction: what to offer first, and by how much to raise it.

All in wei per gas. A worst case is gas_limit · max_fee: what the signer loses if the transaction
burns all its gas at its highest price. Rounding: raises up, caps down.
"""

from __future__ import annotations

from dataclasses import dataclass

BPS = 10_000
SMALLEST_BUMP_BPS = 1_000  # geth, reth, Erigon and Nethermind ask for 10 % on both fields
NEXT_BASE_BPS = 11_250  # EIP-1559: a base fee rises by at most one eighth a block


@dataclass(frozen=True)
class FeePolicy:
    """Limits of the operator.

    Args:
        max_fee_cap_wei: no transaction offers more per gas.
        tip_wei: priority fee offered first; None asks the node (`eth_maxPriorityFeePerGas`).
        min_tip_wei, max_tip_wei: bounds of the priority fee. Replacements obey the upper one too.
        base_fee_bps: first max_fee = base fee · base_fee_bps/10000 + tip.
        bump_bps: raise of both fields in a replacement; at least 1000 (the nodes' rule).
        budget_wei: worst case of one nonce, replacements included; an intent may ask for less.

    Raises `ValueError` where the numbers contradict each other.
    """

    max_fee_cap_wei: int
    budget_wei: int
    tip_wei: int | None = None
    min_tip_wei: int = 1
    max_tip_wei: int = 50 * 10**9
    base_fee_bps: int = 20_000
    bump_bps: int = 1_250

    def __post_init__(self) -> None:
        if self.bump_bps < SMALLEST_BUMP_BPS:
            raise ValueError(f"bump_bps is {self.bump_bps}, nodes want {SMALLEST_BUMP_BPS}")
        if not 0 <= self.min_tip_wei <= self.max_tip_wei <= self.max_fee_cap_wei:
            raise ValueError("0 <= min_tip_wei <= max_tip_wei <= max_fee_cap_wei does not hold")
        if self.base_fee_bps < BPS or self.budget_wei <= 0:
            raise ValueError("base_fee_bps must be at least 10000 and budget_wei positive")

    def tip(self, suggested_wei: int) -> int:
        """Priority fee to offer first, within the bounds."""
        wanted = suggested_wei if self.tip_wei is None else self.tip_wei
        return max(self.min_tip_wei, min(self.max_tip_wei, wanted))

    def budget(self, asked_wei: int) -> int:
        """Budget of an intent that asks for `asked_wei` (0: the policy's)."""
        return min(asked_wei, self.budget_wei) if asked_wei > 0 else self.budget_wei


@dataclass(frozen=True)
class Fees:
    """The two fields of a transaction, wei per gas; tip_wei <= max_fee_wei."""

    max_fee_wei: int
    tip_wei: int

    def worst(self, gas_limit: int) -> int:
        """Most that the transaction can cost, wei."""
        return gas_limit * self.max_fee_wei

    def includable(self, base_fee_wei: int) -> bool:
        """A block of this base fee may hold it, with the whole tip."""
        return self.max_fee_wei >= base_fee_wei + self.tip_wei


def first_fees(
    policy: FeePolicy, base_fee_wei: int, suggested_tip_wei: int, gas_limit: int, budget_wei: int
) -> Fees | None:
    """Fees of a new transaction, or None where the caps leave it no chance in the next block.

    The head room above the base fee shrinks to what cap and budget allow, but not below one
    eighth, the most by which the next block's base fee can exceed this one's.
    """
    tip = policy.tip(suggested_tip_wei)
    wanted = base_fee_wei * policy.base_fee_bps // BPS + tip
    limit = min(policy.max_fee_cap_wei, budget_wei // gas_limit)
    needed = least_fee(policy, base_fee_wei, suggested_tip_wei)
    if limit < needed:
        return None
    return Fees(max(needed, min(wanted, limit)), tip)


def least_fee(policy: FeePolicy, base_fee_wei: int, suggested_tip_wei: int) -> int:
    """Smallest max_fee that the next block may hold, whatever its base fee: wei per gas."""
    return -(-base_fee_wei * NEXT_BASE_BPS // BPS) + policy.tip(suggested_tip_wei)


def bumped(policy: FeePolicy, old: Fees) -> Fees:
    """The least that replaces `old` under the policy's rule: both fields raised, rounded up."""
    return Fees(_raised(old.max_fee_wei, policy.bump_bps), _raised(old.tip_wei, policy.bump_bps))


def replacement_fees(
    policy: FeePolicy,
    old: Fees,
    base_fee_wei: int,
    suggested_tip_wei: int,
    gas_limit: int,
    budget_wei: int,
) -> Fees | None:
    """Fees that replace `old` and suit the head, or None where a cap or the budget forbids it."""
    least = bumped(policy, old)
    tip = max(least.tip_wei, policy.tip(suggested_tip_wei))
    limit = min(policy.max_fee_cap_wei, budget_wei // gas_limit)
    needed = max(least.max_fee_wei, tip)
    if needed > limit or tip > policy.max_tip_wei:
        return None
    wanted = base_fee_wei * policy.base_fee_bps // BPS + tip
    return Fees(max(needed, min(wanted, limit)), tip)


def _raised(value: int, bps: int) -> int:
    return max(value + 1, -(-value * (BPS + bps) // BPS))
