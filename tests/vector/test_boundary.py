"""The two worlds: the exact one knows nothing of numpy, the bridge does no I/O."""

from __future__ import annotations

import ast
import subprocess
import sys

from risk.chain.node import project_root

ROOT = project_root()
FORBIDDEN_HERE = {"open", "socket", "requests", "web3", "subprocess", "risk.chain", "risk.deploy"}


def imports(folder: str) -> dict[str, set[str]]:
    out: dict[str, set[str]] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
        out[path.name] = names
    return out


def test_the_exact_world_imports_neither_numpy_nor_the_bridge() -> None:
    modules = imports("risk/exact")
    assert len(modules) > 50
    for name, found in modules.items():
        tops = {x.split(".")[0] for x in found}
        assert not tops & {"numpy", "scipy"}, name
        assert not any(x.startswith(("risk.vector", "risk.quant")) for x in found), name


def test_the_bridge_does_no_input_or_output() -> None:
    for name, found in imports("risk/vector").items():
        assert not {x for x in found if x in FORBIDDEN_HERE or x.startswith("risk.chain")}, name
    calls = [
        node.func.id
        for path in (ROOT / "risk/vector").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert "open" not in calls and "print" not in calls


def test_the_model_alone_never_loads_numpy() -> None:
    code = (
        "import sys, risk.exact.vault, risk.exact.margin.margin_engine\n"
        "print(sorted({'numpy', 'scipy', 'risk.vector'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
