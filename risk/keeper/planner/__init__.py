"""What to send for whom: docs/keeper-planner.md."""

from __future__ import annotations

from risk.keeper.planner.gas import GasTable
from risk.keeper.planner.planner import Planner
from risk.keeper.planner.terms import Terms

__all__ = ["GasTable", "Planner", "Terms"]
