"""Driving the reference model: calls become outcomes, a refusal becomes revert data by the ABI's
error fragments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from risk.chain.abi import Errors
from risk.diff.adapter import Outcome
from risk.exact.errors import ModelRevert
from risk.exact.margin import array_logic
from risk.exact.state import State


def attempt(errors: Errors, call: Callable[..., Any], *arguments: Any) -> tuple[Outcome, Any]:
    """Outcome (revert data encoded) and the returned value (None where refused)."""
    try:
        return Outcome(True), call(*arguments)
    except ModelRevert as refusal:
        return Outcome(False, errors.encode(refusal.name, refusal.args), refusal.name), None


def array_words(state: State, instrument: int) -> tuple[int, ...]:
    """The four scenario array words that the chain must cache in this epoch, computed by the model
    alone.
    """
    return array_logic.compute(state, instrument).words(state.underlyings[instrument >> 28].epoch)
