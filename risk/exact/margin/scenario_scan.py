"""The scan: worst weighted loss of the scenarios.  Twin: ``contracts/margin/ScenarioScan.sol``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from risk.exact.margin.portfolio import Row

BPS: Final = 10**4
MAX_EXPOSURE: Final = 2**90  # Σ|s| stays below
NO_SCENARIO: Final = 2**256 - 1


def scan(rows: Sequence[Row], weights_bps: Sequence[int]) -> tuple[int, int]:
    """(Scan, binding scenario): the largest ⌈w_k·(−PnL_k)/1e4⌉ and the lowest k that has it; (0,
    2^256 − 1) if none > 0.
    """
    losses = scenario_losses(rows, len(weights_bps))
    worst, binding = 0, NO_SCENARIO
    for k, (loss, weight) in enumerate(zip(losses, weights_bps, strict=True)):
        weighted = -(-weight * loss // BPS)
        if weighted > worst:
            worst, binding = weighted, k
    return worst, binding


def scenario_losses(rows: Sequence[Row], scenarios: int) -> list[int]:
    """−PnL_k = Σ deductions − Σ s·ℓ_k of every scenario."""
    losses = [sum(row.deduction for row in rows)] * scenarios
    for row in rows:
        s = row.s
        losses = [loss - s * lane for loss, lane in zip(losses, row.lanes, strict=True)]
    return losses
