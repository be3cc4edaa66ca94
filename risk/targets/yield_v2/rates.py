"""``AccumulatorMultiOracle.sol``: growing rates, and the spot prices of Surroundings.sol."""

from __future__ import annotations

from dataclasses import dataclass, field

from risk.diff.kit.adapter import Refused
from risk.targets.yield_v2.fixed import WAD, require, uint, wpow


@dataclass(frozen=True)
class Source:
    """One accumulator; both rates have 18 decimals."""

    per_second: int
    accumulated: int
    updated: int  # unix seconds


@dataclass
class Rates:
    """Accumulators by (base, kind); kind is ``RATE`` (borrowing) or ``CHI`` (saving)."""

    sources: dict[tuple[str, str], Source] = field(default_factory=dict)

    def get(self, base: str, kind: str, now: int) -> int:
        """The accumulator, brought to ``now``: accumulated · per_second^elapsed, down."""
        source = self.sources.get((base, kind))
        if not base:
            raise Refused()  # an unknown series has no oracle: a call to the zero address
        if source is None:
            raise Refused("Error", "Source not found")
        elapsed = uint(now - source.updated)
        if elapsed:
            grown = uint(source.accumulated * wpow(source.per_second, elapsed)) // WAD
            source = Source(source.per_second, grown, now)
            self.sources[base, kind] = source
        require(source.accumulated > 0, "Accumulated rate is zero")
        return source.accumulated

    def set_per_second(self, base: str, kind: str, per_second: int, now: int) -> None:
        """``updatePerSecondRate``: only where the accumulator is of this very second."""
        source = self.sources[base, kind]
        require(source.updated == now, "stale accumulator")
        self.sources[base, kind] = Source(per_second, source.accumulated, source.updated)


@dataclass
class Spot:
    """Spot prices by (asset, quote), 18 decimals."""

    prices: dict[tuple[str, str], int] = field(default_factory=dict)

    def get(self, asset: str, quote: str, amount: int) -> int:
        """Value of ``amount``, down."""
        return uint(amount * self.prices.get((asset, quote), 0)) // WAD
