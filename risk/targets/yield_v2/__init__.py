"""Yield Protocol v2: fixed-rate borrowing against collateral, with Dutch auctions.

A reference model of Cauldron, Ladle, Witch, Join, FYToken and the rate accumulator, and the adapter
that compares it with the contracts of the npm package. See docs/targets/yield_v2.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from risk.diff.kit.engine import Engine
    from risk.diff.kit.target import AdapterTarget


def target(engine: Engine) -> AdapterTarget:
    """The target on an engine."""
    from risk.diff.kit.target import AdapterTarget
    from risk.targets.yield_v2.adapter import YieldAdapter

    return AdapterTarget(YieldAdapter(), engine)
