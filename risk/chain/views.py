"""Names and order of the values that the vault's views return, for both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MARGIN = (
    "mark_equity",
    "equity",
    "scan",
    "floor_charge",
    "basis",
    "liq",
    "liq_im",
    "mm",
    "im",
    "health_factor",
    "has_obligations",
    "binding_scenario",
)
ROW = ("kind", "id", "value", "scan_contribution")
DISTANCES = ("distance_to_im", "distance_to_mm", "distance_to_target")
QUOTE = ("max_fraction_wad", "reward_wad", "full_price_wad")


def from_model(names: Sequence[str], item: object) -> list[int]:
    """Attributes of a dataclass as integers."""
    return [int(getattr(item, name)) for name in names]


def named(prefix: str, names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """``prefix.name`` -> integer."""
    return {f"{prefix}.{name}": int(value) for name, value in zip(names, values, strict=True)}


def margin(prefix: str, values: Sequence[Any]) -> dict[str, Any]:
    """The twelve fields of ``IMargin.Margin``."""
    return named(prefix, MARGIN, values)


def explanation(prefix: str, values: Sequence[Any]) -> dict[str, Any]:
    """``IMargin.Explanation``: margin, rows, distances."""
    out = margin(f"{prefix}.margin", values[0])
    out[f"{prefix}.rows"] = len(values[1])
    for i, row in enumerate(values[1]):
        out |= named(f"{prefix}.row[{i}]", ROW, row)
    return out | named(prefix, DISTANCES, values[2:])


def explanation_from_model(item: Any) -> list[Any]:
    """The same nesting as the ABI's."""
    rows = [from_model(ROW, row) for row in item.rows]
    return [from_model(MARGIN, item.margin), rows, *from_model(DISTANCES, item)]


def quote(prefix: str, values: Sequence[Any]) -> dict[str, Any]:
    """``ILiquidation.LiquidationQuote``."""
    return named(prefix, QUOTE, values)
