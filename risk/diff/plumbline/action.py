"""One step of a sequence: a transaction to the vault, to a feed or to a token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from risk.chain.abi import Function
from risk.exact.vault import Vault


@dataclass(frozen=True)
class VaultAction:
    """One transaction.  ``contract`` 0 is the vault; anything else is a feed or token of the
    world.  ``given`` are the arguments, or a function that makes them, so that signatures are made
    only where a chain needs them.
    """

    kind: str
    text: str
    sender: int
    time: int
    function: Function
    given: tuple[Any, ...] | Callable[[], tuple[Any, ...]]
    on_model: Callable[[Vault], Any]
    contract: int = 0
    aims_at: str = ""  # name of the error that the proposal is after
    inner: tuple[VaultAction, ...] = ()  # of a batch

    def describe(self) -> str:
        """Kind and the interesting arguments."""
        aim = f" (aims at {self.aims_at})" if self.aims_at else ""
        return f"{self.kind}: {self.text}{aim}"

    @property
    def arguments(self) -> tuple[Any, ...]:
        """As the ABI takes them."""
        return self.given() if callable(self.given) else self.given

    def calldata(self) -> bytes:
        """What the transaction carries."""
        return self.function.encode(*self.arguments)

    def output(self, result: Any) -> bytes:
        """Return data that belongs to the model's ``result``; empty where none is compared."""
        if self.contract or not self.function.outputs:
            return b""
        values = result if isinstance(result, tuple) else (result,)
        return self.function.encode_outputs(*values)

    def names(self) -> list[str]:
        """Functions of the vault that it calls, inner ones too."""
        if self.contract:
            return []
        return [self.function.name, *(name for item in self.inner for name in item.names())]
