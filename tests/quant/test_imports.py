"""The command line loads every module of the quant world for its help; that must stay cheap."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import risk.quant

HEAVY = ("scipy", "arch", "cvxpy", "sklearn", "polars", "pandas", "matplotlib", "statsmodels")


def test_importing_everything_loads_nothing_heavy() -> None:
    modules = [f"risk.quant.{module.name}" for module in pkgutil.iter_modules(risk.quant.__path__)]
    assert len(modules) >= 15
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
