"""tools/setup.sh: nothing to do costs nothing; a machine that lacks something is told what."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("bash", "cat", "cmp", "dirname", "flock", "grep", "head", "mkdir", "sed", "tr", "uname")


def test_finished_setup_does_nothing() -> None:
    start = time.monotonic()
    run = subprocess.run(
        [str(ROOT / "tools" / "setup.sh")], capture_output=True, text=True, check=True
    )
    assert run.stdout == run.stderr == ""
    assert time.monotonic() - start < 5


def bare_machine(folder: Path, programs: dict[str, str]) -> dict[str, str]:
    """An environment whose PATH holds a shell, a few tools and `programs` (name -> output)."""
    binaries = folder / "bin"
    binaries.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        if found:
            (binaries / name).symlink_to(found)
    for name, script in programs.items():
        path = binaries / name
        path.write_text(f"#!{shutil.which('bash')}\n{script}\n")
        path.chmod(0o755)
    return {"PATH": str(binaries), "HOME": str(folder)}


def run_setup_in(folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    tools = folder / "checkout" / "tools"
    tools.mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "setup.sh", tools)
    command = [shutil.which("bash") or "bash", str(tools / "setup.sh")]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_everything_missing_is_named_at_once(tmp_path: Path) -> None:
    run = run_setup_in(tmp_path, bare_machine(tmp_path, {}))
    assert run.returncode == 1
    assert "Python >= 3.10 (found: none)" in run.stderr
    assert "Node.js >= 20 (found: none)" in run.stderr
    assert "npm" in run.stderr
    assert not (tmp_path / "checkout" / ".venv").exists()


def test_versions_that_are_too_old_are_named(tmp_path: Path) -> None:
    old = {
        "python3": '[ "$1" = --version ] && echo "Python 3.8.18" || exit 1',
        "node": '[ "$1" = --version ] && echo v16.20.0 || exit 1',
        "npm": "exit 0",
    }
    run = run_setup_in(tmp_path, bare_machine(tmp_path, old))
    assert run.returncode == 1
    assert "Python >= 3.10 (found: Python 3.8.18)" in run.stderr
    assert "Node.js >= 20 (found: v16.20.0)" in run.stderr
    assert "npm (" not in run.stderr
