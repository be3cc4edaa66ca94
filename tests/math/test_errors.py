"""ModelRevert: carries name and arguments, compares, prints, pickles."""

from __future__ import annotations

import copy
import pickle

from risk.exact.errors import PANIC_ARITHMETIC, ModelRevert, panic


def test_model_revert() -> None:
    revert = ModelRevert("SviWingTooSteep", (3, -2))
    assert (revert.name, revert.args) == ("SviWingTooSteep", (3, -2))
    assert str(revert) == "SviWingTooSteep(3, -2)"
    assert revert == ModelRevert("SviWingTooSteep", (3, -2))
    assert len({revert, ModelRevert("SviWingTooSteep", (3, -2))}) == 1
    for other in (ModelRevert("SviWingTooSteep", (3, 2)), ModelRevert("Other", (3, -2)), 1):
        assert revert != other
    for twin in (pickle.loads(pickle.dumps(revert)), copy.copy(revert)):
        assert twin == revert
    assert ModelRevert("MulDivOverflow").args == ()
    assert panic(PANIC_ARITHMETIC) == ModelRevert("Panic", (0x11,))
