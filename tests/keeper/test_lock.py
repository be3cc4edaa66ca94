"""One process for each (chain, signer); the dead hold nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from risk.keeper.errors import ConfigError, LockHeld
from risk.keeper.lock import Lock, default_folder
from tests.keeper.dispatch_support import ROOT

A, B = "0x" + "aB" * 20, "0x" + "cd" * 20
HOLDER = """
import sys, time
from pathlib import Path
from risk.keeper.lock import Lock
Lock(Path(sys.argv[1]), 1, sys.argv[2]).acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_it_excludes_and_names_the_holder(tmp_path: Path) -> None:
    with Lock(tmp_path, 1, A) as lock:
        assert lock.held and lock.acquire() is lock
        with pytest.raises(LockHeld, match=f"process {os.getpid()} on ") as caught:
            Lock(tmp_path, 1, A.lower()).acquire()
        since = json.loads(lock.path.read_text())["since"]
        when = datetime.fromtimestamp(since, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert str(caught.value).endswith(f" since {when}") and str(since) not in str(caught.value)
        assert caught.value.exit_code == 5
        with Lock(tmp_path, 2, A), Lock(tmp_path, 1, B):
            pass  # another chain, another signer
    assert not lock.held
    lock.release()
    with Lock(tmp_path, 1, A):
        pass


def test_a_refused_process_leaves_the_holders_text(tmp_path: Path) -> None:
    with Lock(tmp_path, 1, A) as lock:
        text = lock.path.read_bytes()
        with pytest.raises(LockHeld):
            Lock(tmp_path, 1, A).acquire()
        assert lock.path.read_bytes() == text != b""


def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path), A]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(LockHeld, match=f"process {process.pid} on "):
            Lock(tmp_path, 1, A).acquire()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with Lock(tmp_path, 1, A) as lock:  # although the dead one's text is still there
        assert str(os.getpid()) in lock.path.read_text()


@pytest.mark.parametrize("text", ["[1, 2", f'{{"pid": 1, "host": "a", "since": {10**18}}}'])
def test_a_foreign_text_does_not_confuse_it(tmp_path: Path, text: str) -> None:
    with Lock(tmp_path, 1, A) as lock:
        lock.path.write_text(text)
        with pytest.raises(LockHeld, match="another process"):
            Lock(tmp_path, 1, A).acquire()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError):
        Lock(tmp_path / "file" / "locks", 1, A).acquire()


def test_the_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "plumbline" / "locks"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_folder() == Path.home() / ".local" / "state" / "plumbline" / "locks"
