"""Local nodes of our own: `Anvil` and `Ganache`, started for a `with` block and gone after it.

The native Anvil binary is started directly, without the Node wrapper of its npm package. A node
does not outlive its parent: on Linux the kernel kills it (PDEATHSIG), elsewhere `atexit` does.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

from risk.chain.rpc import Rpc
from risk.errors import NodeError, PortInUseError, ToolchainError, TransportError

HOST = "127.0.0.1"
MNEMONIC = "test test test test test test test test test test test junk"
DEFAULT_CHAIN_ID = 31337
DEFAULT_GAS_LIMIT = 60_000_000
_PR_SET_PDEATHSIG = 1


def project_root() -> Path:
    """The checkout: the folder that holds `package.json` and `risk/`."""
    return Path(__file__).resolve().parents[2]


def anvil_binary(root: Path | None = None) -> Path:
    """The native Anvil of `node_modules`. Raises `ToolchainError` if it is not installed."""
    modules = (root or project_root()) / "node_modules"
    system = {"linux": "linux", "darwin": "darwin", "win32": "win32"}.get(sys.platform, "")
    arm = platform.machine().lower() in ("arm64", "aarch64")
    name = "anvil.exe" if system == "win32" else "anvil"
    package = f"anvil-{system}-{'arm64' if arm else 'amd64'}"
    binary = modules / "@foundry-rs" / package / "bin" / name
    if binary.exists():
        return binary
    wrapper = modules / ".bin" / "anvil"
    if wrapper.exists():
        return wrapper
    raise ToolchainError(f"Anvil is not installed ({binary} is missing); run `make setup`")


def ganache_script(root: Path | None = None) -> Path:
    """Ganache's script in `node_modules`. Raises `ToolchainError` if it is not installed."""
    script = (root or project_root()) / "node_modules" / "ganache" / "dist" / "node" / "cli.js"
    if not script.exists():
        raise ToolchainError(f"Ganache is not installed ({script} is missing); run `make setup`")
    return script


def free_port(host: str = HOST) -> int:
    """A port that is free at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def port_in_use(port: int, host: str = HOST) -> bool:
    """True if somebody listens at the port, or it cannot be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def _death_signal() -> Callable[[], None] | None:
    """Hook for the child: ask Linux to kill it when its parent dies. None elsewhere.

    The kernel means the parent *thread*, so a node started from a worker thread, which may end
    long before the program does, is left to `atexit`.
    """
    if not sys.platform.startswith("linux"):
        return None
    if threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # loaded before the fork

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    return ask


class Node(ABC):
    """A node process. Use it as a context manager, or call `start()` and `stop()`.

    Args:
        port: TCP port; 0 takes a free one. A port given that is taken: `PortInUseError`.
        chain_id: chain id to serve; checked after the start (`ChainIdMismatchError`).
        accounts: number of funded, unlocked accounts of `MNEMONIC`.
        balance_eth: balance of each, in whole ether.
        gas_limit: block gas limit.
        hardfork: name of the fork, or None for the program's default.
        timestamp: Unix time of the genesis block, or None for now.
        extra: further command-line arguments.
        start_timeout: seconds to wait until the node answers (`NodeError` after that).
    """

    program = "node"

    def __init__(
        self,
        *,
        port: int = 0,
        chain_id: int = DEFAULT_CHAIN_ID,
        accounts: int = 10,
        balance_eth: int = 1_000_000,
        gas_limit: int = DEFAULT_GAS_LIMIT,
        hardfork: str | None = None,
        timestamp: int | None = None,
        extra: tuple[str, ...] = (),
        start_timeout: float = 30.0,
        root: Path | None = None,
    ) -> None:
        self.host = HOST
        self.wanted_port = port
        self.port = port
        self.chain_id = chain_id
        self.accounts = accounts
        self.balance_eth = balance_eth
        self.gas_limit = gas_limit
        self.hardfork = hardfork
        self.timestamp = timestamp
        self.extra = extra
        self.start_timeout = start_timeout
        self.root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._log: IO[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Command line for the current settings; `self.port` is set."""

    @property
    def url(self) -> str:
        """HTTP endpoint."""
        return f"http://{self.host}:{self.port}"

    @property
    def endpoint(self) -> str:
        """The fastest endpoint this node offers."""
        return self.url

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def rpc(self, timeout: float = 120.0) -> Rpc:
        """A new client on the fastest endpoint; the caller closes it."""
        return Rpc.connect(self.endpoint, timeout)

    # -------------------------------------------------------------- lifetime

    def start(self) -> Node:
        """Starts the node and waits until it answers with the right chain id."""
        if self._process is not None:
            raise NodeError(f"{self.program} is started already")
        attempts = 1 if self.wanted_port else 3  # a free port can be lost to a race
        for attempt in range(1, attempts + 1):
            try:
                self._start_once()
                return self
            except PortInUseError:
                if attempt == attempts:
                    raise
        raise AssertionError("unreachable")

    def _start_once(self) -> None:
        if self.wanted_port and port_in_use(self.wanted_port, self.host):
            raise PortInUseError(self.host, self.wanted_port, self.program)
        self.port = self.wanted_port or free_port(self.host)
        self._folder = Path(tempfile.mkdtemp(prefix="plumbline-"))
        self._log = (self._folder / "node.log").open("wb")
        try:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                preexec_fn=_death_signal(),
            )
            atexit.register(self.stop)
            self._wait_ready()
        except OSError as error:
            self.stop()
            raise NodeError(f"cannot start {self.program}: {error}") from error
        except BaseException:
            self.stop()
            raise

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self.start_timeout
        while True:
            assert self._process is not None
            status = self._process.poll()
            if status is not None:
                self._raise_dead(status)
            try:
                with self.rpc(timeout=self.start_timeout) as client:
                    client.require_chain_id(self.chain_id)
            except TransportError as error:
                if time.monotonic() > deadline:
                    raise NodeError(
                        f"{self.program} did not answer within {self.start_timeout:g} s: "
                        f"{error}\n{self.log_tail()}"
                    ) from error
                time.sleep(0.01)
                continue
            if self._process.poll() is not None:  # somebody else answered on our port
                self._raise_dead(self._process.returncode)
            return

    def _raise_dead(self, status: int) -> None:
        tail = self.log_tail()
        if "in use" in tail or "EADDRINUSE" in tail:
            raise PortInUseError(self.host, self.port, self.program)
        raise NodeError(f"{self.program} ended with exit code {status}:\n{tail}")

    def log_tail(self, limit: int = 2000) -> str:
        """The last `limit` bytes the node wrote."""
        if self._folder is None or not (self._folder / "node.log").exists():
            return ""
        return (self._folder / "node.log").read_bytes()[-limit:].decode("utf-8", "replace")

    def stop(self) -> None:
        """Kills the node and removes its temporary files; harmless when it is stopped."""
        atexit.unregister(self.stop)
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Node:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Anvil(Node):
    """Anvil; by default it also listens on a Unix socket, which `rpc()` then uses.

    Args (besides those of `Node`):
        ipc: open a Unix socket in the node's temporary folder.
        tx_gas_limit: enforce the protocol's cap of 16,777,216 gas per transaction.
        base_fee: base fee of the genesis block in wei, or None for the default.
        steps_tracing: keep what `debug_traceTransaction` needs of old transactions.
        automine: False mines only on `evm_mine`.
    """

    program = "anvil"

    def __init__(
        self,
        *,
        port: int = 0,
        chain_id: int = DEFAULT_CHAIN_ID,
        accounts: int = 10,
        balance_eth: int = 1_000_000,
        gas_limit: int = DEFAULT_GAS_LIMIT,
        hardfork: str | None = None,
        timestamp: int | None = None,
        extra: tuple[str, ...] = (),
        start_timeout: float = 30.0,
        root: Path | None = None,
        ipc: bool = True,
        tx_gas_limit: bool = False,
        base_fee: int | None = None,
        steps_tracing: bool = False,
        automine: bool = True,
    ) -> None:
        super().__init__(
            port=port,
            chain_id=chain_id,
            accounts=accounts,
            balance_eth=balance_eth,
            gas_limit=gas_limit,
            hardfork=hardfork,
            timestamp=timestamp,
            extra=extra,
            start_timeout=start_timeout,
            root=root,
        )
        self.ipc = ipc and sys.platform != "win32"
        self.tx_gas_limit = tx_gas_limit
        self.base_fee = base_fee
        self.steps_tracing = steps_tracing
        self.automine = automine

    @property
    def ipc_path(self) -> Path | None:
        """Path of the Unix socket while the node runs."""
        return self._folder / "node.ipc" if self.ipc and self._folder else None

    @property
    def endpoint(self) -> str:
        path = self.ipc_path
        return str(path) if path is not None else self.url

    def command(self) -> list[str]:
        line = [str(anvil_binary(self.root)), "--silent", "--host", self.host]
        line += ["--port", str(self.port), "--chain-id", str(self.chain_id)]
        line += ["--accounts", str(self.accounts), "--balance", str(self.balance_eth)]
        line += ["--mnemonic", MNEMONIC, "--gas-limit", str(self.gas_limit)]
        # its own default, in the home folder, keeps gigabytes of a node that was killed
        line += ["--cache-path", str(self._folder / "states")] if self._folder else []
        if self.ipc:
            line += ["--ipc", str(self.ipc_path)]
        if self.hardfork is not None:
            line += ["--hardfork", self.hardfork]
        if self.timestamp is not None:
            line += ["--timestamp", str(self.timestamp)]
        if self.base_fee is not None:
            line += ["--block-base-fee-per-gas", str(self.base_fee)]
        if self.tx_gas_limit:
            line.append("--enable-tx-gas-limit")
        if self.steps_tracing:
            line.append("--steps-tracing")
        if not self.automine:
            line.append("--no-mining")
        return line + list(self.extra)

    def __enter__(self) -> Anvil:
        self.start()
        return self


class Ganache(Node):
    """Ganache 7.9. Knows forks up to `shanghai`, which is the default here."""

    program = "ganache"

    def command(self) -> list[str]:
        node = shutil.which("node")
        if node is None:
            raise ToolchainError("Ganache needs Node.js >= 20 on the PATH")
        line = [node, str(ganache_script(self.root)), "--logging.quiet", "true"]
        line += ["--server.host", self.host, "--server.port", str(self.port)]
        line += ["--chain.chainId", str(self.chain_id), "--chain.networkId", str(self.chain_id)]
        line += ["--chain.hardfork", self.hardfork or "shanghai"]
        line += ["--chain.vmErrorsOnRPCResponse", "true"]
        line += ["--wallet.totalAccounts", str(self.accounts), "--wallet.mnemonic", MNEMONIC]
        line += ["--wallet.defaultBalance", str(self.balance_eth)]
        line += ["--miner.blockGasLimit", str(self.gas_limit)]
        if self.timestamp is not None:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.timestamp))
            line += ["--chain.time", stamp]
        return line + list(self.extra)

    def __enter__(self) -> Ganache:
        self.start()
        return self
