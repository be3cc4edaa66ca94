"""Comparison of two observations: exact, both key sets, no tolerance unless one is stated."""

from __future__ import annotations

from collections.abc import Mapping

from risk.diff.adapter import Mismatch, Observation, Value

ABSENT = "(absent)"


NO_TOLERANCE: Mapping[str, int] = {}


def compare(
    model: Observation,
    chain: Observation,
    where: str = "",
    tolerance: Mapping[str, int] = NO_TOLERANCE,
) -> tuple[int, list[Mismatch]]:
    """Number of values compared and every disagreement, in the model's order, then what only the
    chain has. ``tolerance`` maps a name, or a prefix that ends in ``*``, to the largest absolute
    difference of integers that is no disagreement.
    """
    mismatches: list[Mismatch] = []
    count = 0
    for name, value in model.items():
        count += 1
        other = chain.get(name, ABSENT)
        if not same(value, other) and not (tolerance and _near(name, value, other, tolerance)):
            mismatches.append(Mismatch(where + name, value, other))
    for name, other in chain.items():
        if name not in model:
            count += 1
            mismatches.append(Mismatch(where + name, ABSENT, other))
    return count, mismatches


def _near(name: str, a: Value, b: Value, tolerance: Mapping[str, int]) -> bool:
    if type(a) is not int or type(b) is not int:
        return False
    allowed = [
        limit
        for pattern, limit in tolerance.items()
        if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))
    ]
    return bool(allowed) and abs(a - b) <= max(allowed)


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
