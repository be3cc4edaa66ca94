"""Every listed attack passes with its defence and fails without it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.attacks.defence import Defence
from tests.attacks.scene import model_market

HERE = Path(__file__).parent
MODULES = sorted(p.stem for p in HERE.glob("test_[a-g]_*.py"))
DEFENCES: list[Defence] = [
    defence
    for name in MODULES
    for defence in importlib.import_module(f"tests.attacks.{name}").DEFENCES
]


def test_there_are_enough() -> None:
    assert len({d.attack.__name__ for d in DEFENCES}) >= 25


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda d: f"{d.number}: {d.removed}")
def test_the_attack_succeeds_without_its_defence(defence: Defence) -> None:
    defence.attack(model_market())
    with defence.gone(), pytest.raises(AssertionError):
        defence.attack(model_market())
