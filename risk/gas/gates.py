"""Gates and stretch targets of the gas table, and how a run is judged."""

from __future__ import annotations

from dataclasses import dataclass

EIP170 = 24_576
EIP7825 = 16_777_216  # largest gas limit of a transaction

# key -> (gate, stretch); a key without an entry is reported only
GATES: dict[str, tuple[int, int | None]] = {
    "margin_cached_0": (8_000, None),
    "margin_cached_perp": (25_000, None),
    "margin_cached_16": (140_000, 125_000),
    "margin_cached_32": (250_000, 224_000),
    "margin_cached_64": (475_000, 442_000),
    "margin_cached_128": (920_000, None),
    "margin_first_16": (1_500_000, None),
    "margin_first_64": (5_600_000, None),
    "trade_mirror_16": (500_000, None),
    "deposit_16": (90_000, None),
    "liquidate_16": (600_000, None),
    "liquidate_64": (2_000_000, None),
    "liquidate_128": (4_000_000, None),
    "liquidate_uncached_128_k64": (EIP7825 - 1, None),
    "liquidate_uncached_wide_k64": (EIP7825 - 1, None),
}


@dataclass(frozen=True)
class Verdict:
    """One row of the table."""

    key: str
    value: int
    gate: int | None
    stretch: int | None

    @property
    def passed(self) -> bool:
        """Within the gate, or without one."""
        return self.gate is None or self.value <= self.gate

    @property
    def word(self) -> str:
        """What the table says."""
        if self.gate is None:
            return ""
        if not self.passed:
            return "FAIL"
        return (
            "pass"
            if self.stretch is None
            else ("stretch" if self.value <= self.stretch else "pass")
        )


def judge(figures: dict[str, int]) -> list[Verdict]:
    """Every figure against its gate; code sizes against EIP-170."""
    rows = []
    for key, value in figures.items():
        gate, stretch = (
            (EIP170, None) if key.startswith("bytecode_") else GATES.get(key, (None, None))
        )
        rows.append(Verdict(key, value, gate, stretch))
    return rows
