"""The example of docs/auditing.md, as it is and without its fault."""

from __future__ import annotations

import shutil
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "share_pool"
FAULT = "(shares * totalAssets + totalShares - 1) / totalShares"
MENDED = "(shares * totalAssets) / totalShares"


def mended_copy(folder: Path) -> Path:
    """The adapter of a copy of the example below ``folder``, its fault mended."""
    copy = folder / "share_pool"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    source = copy / "src" / "SharePool.sol"
    text = source.read_text()
    assert text.count(FAULT) == 1
    source.write_text(text.replace(FAULT, MENDED))
    return copy / "adapter.py"
