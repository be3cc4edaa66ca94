"""Morpho Blue 1.0.0 as a target: ``target(engine)``. See docs/targets/morpho.md."""

from __future__ import annotations

from risk.diff.kit.engine import Engine
from risk.diff.kit.target import AdapterTarget


def target(engine: Engine) -> AdapterTarget:
    """The target on an engine, not opened."""
    from risk.targets.morpho.adapter import MorphoAdapter

    return AdapterTarget(MorphoAdapter(), engine)
