"""Aave v3.6: an exact model of its accounting and liquidation, and the real contracts beside it.

See docs/targets/aave.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from risk.diff.kit.engine import Engine
    from risk.diff.kit.target import AdapterTarget


def target(engine: Engine) -> AdapterTarget:
    """The target on an engine."""
    from risk.diff.kit.target import AdapterTarget
    from risk.targets.aave.adapter import AaveAdapter

    return AdapterTarget(AaveAdapter(), engine)
