"""Multicall3 (github.com/mds1/multicall3, MIT): its published bytecode as npm's viem carries it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from risk.chain.node import project_root
from risk.errors import ToolchainError

CONSTANTS: Final = Path("node_modules/viem/_cjs/constants/contracts.js")
_BYTECODE = re.compile(r"multicall3Bytecode = '(0x[0-9a-f]{1000,})'")
ABI: Final[list[dict[str, Any]]] = [
    {
        "type": "function",
        "name": "aggregate3",
        "stateMutability": "payable",
        "inputs": [
            {
                "name": "calls",
                "type": "tuple[]",
                "components": [
                    {"name": "target", "type": "address"},
                    {"name": "allowFailure", "type": "bool"},
                    {"name": "callData", "type": "bytes"},
                ],
            }
        ],
        "outputs": [
            {
                "name": "returnData",
                "type": "tuple[]",
                "components": [
                    {"name": "success", "type": "bool"},
                    {"name": "returnData", "type": "bytes"},
                ],
            }
        ],
    }
]


def creation_code(root: Path | None = None) -> str:
    """``0x`` hex. Raises ``ToolchainError`` where viem is not installed or has no such constant."""
    path = (root or project_root()) / CONSTANTS
    try:
        found = _BYTECODE.search(path.read_text(encoding="utf-8"))
    except OSError:
        found = None
    if found is None:
        raise ToolchainError(f"no bytecode of Multicall3 in {CONSTANTS}; run `make setup`")
    return found[1]
