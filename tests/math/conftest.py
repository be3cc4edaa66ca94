"""MathHarness on Anvil, and the comparison of Solidity with Python case by case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from risk.chain.abi import Errors, Function, functions
from risk.chain.compile import Artifact, compile_contracts
from risk.chain.node import Anvil, project_root
from risk.chain.rpc import Rpc, to_hex
from risk.exact.errors import ModelRevert

ADDRESS = "0x00000000000000000000000000000000000ca1c0"
GAS = 10**10
BATCH = 1500


class Harness:
    """The contract MathHarness at ADDRESS.

    Structs count as their members: arguments are flat words.
    """

    def __init__(self, rpc: Rpc, artifacts: Mapping[str, Artifact]) -> None:
        harness = artifacts["MathHarness"]
        self.rpc = rpc
        self.functions: dict[str, Function] = functions(harness.abi)
        self.errors = Errors(a.abi for a in artifacts.values())
        rpc.call("anvil_setCode", ADDRESS, "0x" + harness.deployed_bytecode)

    def call(self, name: str, *args: Any) -> list[Any]:
        """Return values of one call."""
        f = self.functions[name]
        return f.decode(self.rpc.eth_call(ADDRESS, f.encode(*args), gas=GAS))

    def outcomes(self, name: str, cases: Sequence[Sequence[int]]) -> list[tuple[bool, bytes]]:
        """(succeeded, raw data) of every case of a function of static types."""
        selector = self.functions[name].selector
        many = self.functions["many"]
        out: list[tuple[bool, bytes]] = []
        for start in range(0, len(cases), BATCH):
            data = [
                selector + b"".join((x % 2**256).to_bytes(32, "big") for x in case)
                for case in cases[start : start + BATCH]
            ]
            raw = self.rpc.call(
                "eth_call",
                {"to": ADDRESS, "data": to_hex(many.encode(data)), "gas": hex(GAS)},
                "latest",
            )
            ok, results = many.decode(bytes.fromhex(raw[2:]))
            out += [(bool(o), r) for o, r in zip(ok, results, strict=True)]
        return out

    def expected(self, twin: Callable[..., Any], case: Sequence[int]) -> tuple[bool, bytes]:
        """What the Python twin says the chain must return."""
        try:
            result = twin(*case)
        except ModelRevert as revert:
            return False, self.errors.encode(revert.name, revert.args)
        if result is None:
            return True, b""
        values = result if isinstance(result, tuple) else (result,)
        return True, b"".join((x % 2**256).to_bytes(32, "big") for x in values)

    def compare(
        self, name: str, twin: Callable[..., Any], cases: Iterable[Sequence[int]]
    ) -> tuple[int, int]:
        """Assert equality bit for bit, reverts included; (cases, reverts among them)."""
        todo = list(cases)
        reverts = 0
        for case, got in zip(todo, self.outcomes(name, todo), strict=True):
            want = self.expected(twin, case)
            assert got == want, f"{name}{tuple(case)}: chain {got}, model {want}"
            reverts += not got[0]
        return len(todo), reverts


@pytest.fixture(scope="session")
def harness() -> Iterator[Harness]:
    artifacts = compile_contracts(project_root())
    with Anvil(gas_limit=GAS) as node, node.rpc() as rpc:
        yield Harness(rpc, artifacts)
