"""Comparison of two observations: exact, both key sets, no tolerance."""

from __future__ import annotations

from risk.diff.adapter import Mismatch, Observation, Value

ABSENT = "(absent)"


def compare(model: Observation, chain: Observation, where: str = "") -> tuple[int, list[Mismatch]]:
    """Number of values compared and every disagreement, in the model's order, then what only the
    chain has.
    """
    mismatches: list[Mismatch] = []
    count = 0
    for name, value in model.items():
        count += 1
        other = chain.get(name, ABSENT)
        if not same(value, other):
            mismatches.append(Mismatch(where + name, value, other))
    for name, other in chain.items():
        if name not in model:
            count += 1
            mismatches.append(Mismatch(where + name, ABSENT, other))
    return count, mismatches


def same(a: Value, b: Value) -> bool:
    """Equal, and of the same kind (True is not 1)."""
    return type(a) is type(b) and a == b


def show(value: Value) -> str:
    """Decimal and hexadecimal for numbers, hexadecimal for bytes."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value} ({'-' if value < 0 else ''}0x{abs(value):x})"
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return value
