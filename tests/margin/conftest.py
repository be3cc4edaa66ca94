"""A real vault on Anvil whose storage is overridden per call by that of a model state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from risk.chain.rpc import from_hex, to_hex
from risk.diff.plumbline.chain import ANYBODY, CALL_GAS, Chain, address
from risk.exact.errors import ModelRevert
from risk.exact.state import State
from tests.margin import layout

OWNER = 0x0123


class VaultCalls:
    """Calls of the deployed vault as if its state were a given model state."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.cash = chain.deploy("MockToken", 6, 0, 0)
        self.vault = chain.deploy("Vault", OWNER, self.cash)
        self.f = chain.vault_functions

    def _overrides(self, state: State, cached: Iterable[int], extra: dict[int, int]) -> Any:
        state.cash_token = self.cash
        slots = layout.state_slots(state) | layout.array_slots(state, list(cached)) | extra
        return layout.overrides(address(self.vault), state, slots)

    def call(
        self,
        state: State,
        name: str,
        *args: Any,
        cached: Iterable[int] = (),
        sender: int = ANYBODY,
        extra: dict[int, int] | None = None,
    ) -> list[Any] | bytes:
        """Return values, or the revert data as bytes."""
        request = {
            "from": address(sender),
            "to": address(self.vault),
            "data": to_hex(self.f[name].encode(*args)),
            "gas": hex(CALL_GAS),
        }
        params = [request, "latest", self._overrides(state, cached, extra or {})]
        result = self.chain.rpc.try_batch([("eth_call", params)])[0]
        if result.error is not None:
            data = getattr(result.error, "data", None)
            assert isinstance(data, bytes), result.error
            return data
        return self.f[name].decode(from_hex(result.value))

    def revert(self, error: ModelRevert) -> bytes:
        """Revert data of a model's refusal."""
        return self.chain.errors.encode(error.name, error.args)

    def gas(self, state: State, name: str, *args: Any, cached: Iterable[int] = ()) -> int:
        """Gas of the call frame: everything cold, without the intrinsic cost of a transaction."""
        data = self.f[name].encode(*args)
        request = {
            "from": address(ANYBODY),
            "to": address(self.vault),
            "data": to_hex(data),
            "gas": hex(CALL_GAS),
        }
        options = {"tracer": "callTracer", "stateOverrides": self._overrides(state, cached, {})}
        frame = self.chain.rpc.call("debug_traceCall", request, "latest", options)
        assert "error" not in frame
        return int(frame["gasUsed"], 16) - 21_000 - sum(16 if byte else 4 for byte in data)


@pytest.fixture(scope="session")
def vault() -> Iterator[VaultCalls]:
    chain = Chain()
    chain.open()
    try:
        yield VaultCalls(chain)
    finally:
        chain.close()
