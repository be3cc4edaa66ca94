"""What a drill is asked for, and what came out of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from risk.deploy.liquidation import account_text, decimal
from risk.keeper.types import Way

WAD = 10**18
_SHOCK = re.compile(r"([A-Za-z0-9._-]+)=([+-]?\d+(?:\.\d+)?)%")


@dataclass(frozen=True)
class Shock:
    """``underlying`` by index or name; ``factor_wad`` times its price."""

    underlying: str
    factor_wad: int


def parse_shock(text: str) -> Shock:
    """``ETH=-20%`` or ``0=+5.5%``. ``ValueError`` where it is none, or leaves no price."""
    found = _SHOCK.fullmatch(text.strip())
    if not found:
        raise ValueError(f"expected UNDERLYING=-20%, got {text[:60]!r}")
    try:
        factor = int((1 + Decimal(found.group(2)) / 100) * WAD)
    except InvalidOperation:
        raise ValueError(f"not a percentage: {text[:60]!r}") from None
    if not 0 < factor <= 100 * WAD:
        raise ValueError(f"{text[:60]!r} leaves no price, or more than 100 times it")
    return Shock(found.group(1), factor)


@dataclass(frozen=True)
class Done:
    """A transaction of the drill; amounts WAD of cash. ``below_terms``: the configured minimum
    profit would have kept the keeper from it.
    """

    account: int
    way: Way
    payment_wad: int
    profit_wad: int
    gas_used: int
    below_terms: bool


@dataclass(frozen=True)
class Left:
    """An account that is not healthy in the end, and why."""

    account: int
    health: str
    equity_wad: int
    mm_wad: int
    why: str


@dataclass
class Report:
    """``liquidatable``: who was unhealthy at the beginning, after the shocks."""

    block: int
    accounts: int
    shocks: tuple[Shock, ...]
    liquidatable: tuple[int, ...] = ()
    unknown: int = 0
    done: list[Done] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    rounds: int = 0
    waited_seconds: int = 0
    balance_wei: int = 0  # of the signer on the real chain

    @property
    def clean(self) -> bool:
        """Nobody unhealthy or of unknown health remained."""
        return not self.left

    @property
    def profit_wad(self) -> int:
        """Σ expected profits after gas."""
        return sum(d.profit_wad for d in self.done)

    def lines(self) -> list[str]:
        """For people."""
        gas = sum(d.gas_used for d in self.done)
        saved = {d.account for d in self.done} - {x.account for x in self.left}
        out = [
            f"fork of block {self.block}: {self.accounts} accounts, "
            f"{len(self.liquidatable)} liquidatable, {self.unknown} unknown",
            *(f"shock           {s.underlying} × {decimal(s.factor_wad, 4)}" for s in self.shocks),
            f"transactions    {len(self.done)} in {self.rounds} rounds, {gas:,} gas, "
            f"{len(self.failed)} failed",
            f"made healthy    {len(saved)}",
            f"profit          {decimal(self.profit_wad)} cash after gas "
            f"({sum(d.below_terms for d in self.done)} transactions below the configured minimum)",
        ]
        out.append(f"signer holds    {decimal(self.balance_wei)} native (the fork lends it more)")
        if self.waited_seconds:
            out.append(f"waited          {self.waited_seconds} s of grace")
        for d in self.done:
            out.append(
                f"  {account_text(d.account)} {d.way.value:<5} payment {decimal(d.payment_wad)} "
                f"profit {decimal(d.profit_wad)} gas {d.gas_used:,}"
            )
        out += [f"  failed: {text}" for text in self.failed]
        out.append(f"remaining       {len(self.left)}")
        for x in self.left:
            out.append(
                f"  {account_text(x.account)} {x.health} E {decimal(x.equity_wad)} "
                f"MM {decimal(x.mm_wad)}: {x.why}"
            )
        return out

    def to_json(self) -> dict[str, Any]:
        """Amounts as decimal strings."""
        return {
            "block": self.block,
            "accounts": self.accounts,
            "shocks": {s.underlying: str(s.factor_wad) for s in self.shocks},
            "liquidatable": [f"{a:#044x}" for a in self.liquidatable],
            "unknown": self.unknown,
            "clean": self.clean,
            "rounds": self.rounds,
            "waited_seconds": self.waited_seconds,
            "gas_used": sum(d.gas_used for d in self.done),
            "profit_wad": str(self.profit_wad),
            "transactions": [
                {
                    "account": f"{d.account:#044x}",
                    "way": d.way.value,
                    "payment_wad": str(d.payment_wad),
                    "profit_wad": str(d.profit_wad),
                    "gas_used": d.gas_used,
                    "below_terms": d.below_terms,
                }
                for d in self.done
            ],
            "failed": self.failed,
            "left": [
                {
                    "account": f"{x.account:#044x}",
                    "health": x.health,
                    "equity_wad": str(x.equity_wad),
                    "mm_wad": str(x.mm_wad),
                    "why": x.why,
                }
                for x in self.left
            ],
        }
