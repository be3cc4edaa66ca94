"""One process for each (chain, signer).

Two processes with one key would sign different transactions with the same nonce. The lock is the
kernel's (`flock`), so it ends with its holder, however he dies; the file's text only says who that
is. The file stays where it is: removing it would let a third process lock a new one beside the
old. It must lie on a local disk, and in the same folder for every keeper of the machine:
`default_folder`. Machines do not see each other's locks.
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType

from risk.keeper.errors import ConfigError, LockHeld

try:
    import fcntl
except ImportError:  # Windows has no flock, and keepers run elsewhere
    fcntl = None  # type: ignore[assignment]


def default_folder() -> Path:
    """`$XDG_STATE_HOME/plumbline/locks`, else `~/.local/state/plumbline/locks`."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "plumbline" / "locks"


class Lock:
    """Held from `acquire` (or `with`) to `release`, or to the end of the process.

    Args:
        folder: the same for all processes; made if it is missing.
        chain_id, signer: what is locked; the address in hex.
    """

    def __init__(self, folder: Path, chain_id: int, signer: str) -> None:
        self.path = folder / f"keeper-{chain_id}-{signer.lower()}.lock"
        self._descriptor = -1

    @property
    def held(self) -> bool:
        """This object holds the lock."""
        return self._descriptor >= 0

    def acquire(self) -> Lock:
        """Raises `LockHeld` with the holder's process id, `ConfigError` without a file."""
        if self.held:
            return self
        if fcntl is None:
            raise ConfigError("this system has no flock: a keeper cannot run here")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 4096)
            os.close(descriptor)
            raise LockHeld(f"{self.path}: held by {_describe(holder)}") from None
        self._descriptor = descriptor
        text = {"pid": os.getpid(), "host": socket.gethostname(), "since": int(time.time())}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(text).encode() + b"\n", 0)
        return self

    def release(self) -> None:
        """Harmless when it is not held."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def __enter__(self) -> Lock:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _describe(text: bytes) -> str:
    """Who wrote the text. He may be about to write it."""
    try:
        found = json.loads(text)
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(found["since"])))
        return f"process {int(found['pid'])} on {found['host']} since {since}"
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return "another process"
