"""Writing files so that a reader sees the whole new file or the old one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes to a temporary file in the same folder and renames it; folders are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o666 & ~_umask()
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(text)
    os.chmod(file.name, mode)
    os.replace(file.name, path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
