"""The error hierarchy. Everything Plumbline raises on purpose is a `PlumblineError`.

::

    PlumblineError                      root; the CLI prints its text and exits non-zero
    ├── ToolchainError                  a program or file of the set-up is missing or fails
    │   └── CompileError                solc refuses the sources
    └── ChainError                      something between us and a node
        ├── NodeError                   a local node cannot be started or has died
        │   └── PortInUseError          the port belongs to somebody else
        ├── ChainIdMismatchError        the node answers with another chain id
        ├── TransportError              connection lost, time-out, no JSON
        └── RpcError                    the node answered with a JSON-RPC error
            └── RevertError             ... because the EVM reverted; carries the revert data
"""

from __future__ import annotations

from collections.abc import Sequence


class PlumblineError(Exception):
    """Root of all errors raised on purpose. `str(error)` is one readable message."""


class ToolchainError(PlumblineError):
    """A program or a file of the set-up is missing or does not work."""


class CompileError(ToolchainError):
    """solc refuses the sources. `messages` holds solc's own formatted messages."""

    def __init__(self, messages: Sequence[str]) -> None:
        self.messages = tuple(messages)
        count = len(self.messages)
        head = f"solc reports {count} error{'s' if count != 1 else ''}:\n"
        super().__init__(head + "\n".join(m.rstrip() for m in self.messages))


class ChainError(PlumblineError):
    """Something between us and a node."""


class NodeError(ChainError):
    """A local node cannot be started, or it has died."""


class PortInUseError(NodeError):
    """The wanted port belongs to another process."""

    def __init__(self, host: str, port: int, program: str) -> None:
        self.host = host
        self.port = port
        super().__init__(
            f"port {port} on {host} is in use, so {program} cannot listen there; "
            "choose another port, or 0 for a free one"
        )


class ChainIdMismatchError(ChainError):
    """The node behind an endpoint serves another chain than expected."""

    def __init__(self, expected: int, actual: int, endpoint: str) -> None:
        self.expected = expected
        self.actual = actual
        self.endpoint = endpoint
        super().__init__(f"chain id mismatch at {endpoint}: expected {expected}, got {actual}")


class TransportError(ChainError):
    """The connection failed: refused, lost, timed out, or the answer is not JSON-RPC."""


class RpcError(ChainError):
    """The node answered with a JSON-RPC error.

    `code` and `message` are the node's own; `method` is the call that failed.
    """

    def __init__(self, method: str, code: int, message: str) -> None:
        self.method = method
        self.code = code
        self.message = message
        super().__init__(f"{method}: {message} (code {code})")


class RevertError(RpcError):
    """The EVM reverted. `data` is the raw revert data: selector and ABI-encoded arguments."""

    def __init__(self, method: str, code: int, message: str, data: bytes) -> None:
        super().__init__(method, code, message)
        self.data = data

    @property
    def selector(self) -> bytes:
        """First four bytes of the revert data, or fewer if there are fewer."""
        return self.data[:4]
