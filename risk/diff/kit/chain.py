"""Contracts of a target on an engine: deploy, attach, call by name, read many views at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from risk.chain.abi import AbiError, Errors, Function, codec, function
from risk.chain.compile import Artifact
from risk.chain.keccak import keccak
from risk.chain.rpc import address_hex
from risk.diff.kit.engine import Call, Engine, Result
from risk.diff.kit.errors import AbiMismatch, ArtifactError, DeployFailed

DEPLOYER = "deployer"
ROLE_BALANCE_WEI = 10**24


@cache
def role_address(name: str) -> int:
    """Address of a role: the last 20 bytes of keccak("plumbline role <name>")."""
    return int.from_bytes(keccak(f"plumbline role {name}".encode())[12:], "big")


@dataclass(frozen=True)
class Contract:
    """A deployed contract: a name, an address and its functions by name and by signature."""

    name: str
    address: int
    functions: Mapping[str, Function]

    def function(self, name: str) -> Function:
        """By name (``supply``) or, for overloads, by signature (``supply(uint256,address)``)."""
        found = self.functions.get(name)
        if found is None:
            known = ", ".join(sorted(k for k in self.functions if "(" not in k))
            raise AbiMismatch(f"{self.name} has no function {name}; its ABI has: {known}")
        return found

    def encode(self, name: str, arguments: Sequence[Any]) -> bytes:
        """Calldata."""
        try:
            return self.function(name).encode(*arguments)
        except (AbiError, TypeError, ValueError, OverflowError, AttributeError) as error:
            signature = self.function(name).signature
            raise AbiMismatch(
                f"{self.name}.{signature} does not take {tuple(arguments)}: {error}"
            ) from error


class Chain:
    """Contracts by name on an engine."""

    def __init__(self, engine: Engine, artifacts: Mapping[str, Artifact]) -> None:
        self.engine = engine
        self.artifacts = artifacts
        self.contracts: dict[str, Contract] = {}
        self.errors = Errors(a.abi for a in artifacts.values())

    def __getitem__(self, name: str) -> Contract:
        if name not in self.contracts:
            raise AbiMismatch(f"the adapter deployed no contract {name!r}")
        return self.contracts[name]

    def role(self, name: str) -> int:
        """Address of a role."""
        return role_address(name)

    def fund(self, roles: Iterable[str]) -> None:
        """Give ether to roles, the deployer included."""
        for name in (DEPLOYER, *roles):
            self.engine.place(role_address(name), None, {}, ROLE_BALANCE_WEI)

    # ── deploying ────────────────────────────────────────────────────────────────────────────────

    def artifact(self, name: str) -> Artifact:
        """A compiled contract. Raises ``ArtifactError`` with the names that exist."""
        if name not in self.artifacts:
            known = ", ".join(sorted(self.artifacts)[:40])
            raise ArtifactError(f"no artifact {name!r}; the build output has: {known}")
        return self.artifacts[name]

    def deploy(
        self,
        artifact: str,
        *arguments: Any,
        name: str | None = None,
        sender: str = DEPLOYER,
        libraries: Mapping[str, str] | None = None,
    ) -> Contract:
        """Deploy an artifact under a name (its own if none is given).

        ``libraries`` maps library names to names of contracts deployed before; libraries that are
        not named there and were not deployed yet are deployed first.
        """
        built = self.artifact(artifact)
        if not built.bytecode:
            raise ArtifactError(f"{artifact} is abstract or an interface: it has no bytecode")
        links = {}
        for library in built.libraries:
            key = (libraries or {}).get(library, library)
            if key not in self.contracts:
                self.deploy(library, name=key)
            links[library] = address_hex(self.contracts[key].address)
        entry = next((e for e in built.abi if e["type"] == "constructor"), {})
        inputs = entry.get("inputs", [])
        if len(inputs) != len(arguments):
            wanted = ", ".join(f"{i['type']} {i['name']}" for i in inputs)
            raise AbiMismatch(f"constructor of {artifact} takes ({wanted}), not {arguments}")
        data = built.linked(links) + codec("tuple", inputs).encode(arguments)
        try:
            address = self.engine.deploy(data, role_address(sender))
        except DeployFailed as error:
            reason = bytes.fromhex(str(error).removeprefix("0x")) if str(error) else b""
            raise DeployFailed(
                f"constructor of {artifact} reverted: {self.errors.show(reason)}"
            ) from error
        return self.attach(artifact, address, name=name)

    def attach(self, artifact: str, address: int, *, name: str | None = None) -> Contract:
        """Know a contract that exists already (a fork, a factory's child) by an artifact's ABI."""
        table: dict[str, Function] = {}
        for entry in self.artifact(artifact).abi:
            if entry["type"] == "function":
                made = function(entry)
                table.setdefault(made.name, made)
                table[made.signature] = made
        contract = Contract(name or artifact, address, table)
        self.contracts[contract.name] = contract
        return contract

    # ── calling ──────────────────────────────────────────────────────────────────────────────────

    def send(
        self, to: Contract, name: str, *arguments: Any, sender: str = DEPLOYER, value: int = 0
    ) -> Result:
        """A transaction; the result may be a revert."""
        data = to.encode(name, arguments)
        return self.engine.transact(Call(to.address, data, role_address(sender), value))

    def must(
        self, to: Contract, name: str, *arguments: Any, sender: str = DEPLOYER, value: int = 0
    ) -> Any:
        """A set-up transaction that has to succeed; its decoded answer. Raises ``DeployFailed``."""
        result = self.send(to, name, *arguments, sender=sender, value=value)
        if not result.ok:
            why = result.halt or self.errors.show(result.data)
            raise DeployFailed(f"set-up call {to.name}.{name}{arguments} by {sender} failed: {why}")
        return _decoded(to, name, result.data)

    def view(self, to: Contract, name: str, *arguments: Any, sender: str = DEPLOYER) -> Any:
        """The decoded answer of one call; a list where the function returns several values."""
        return self.views([(to, name, arguments)], sender=sender)[0]

    def views(
        self, asked: Sequence[tuple[Contract, str, tuple[Any, ...]]], sender: str = DEPLOYER
    ) -> list[Any]:
        """Answers of many calls in one round; a call that reverts answers with ``Outcome``-like
        text ``"revert Name(...)"``, so that a view's revert is compared as well.
        """
        calls = [
            Call(to.address, to.encode(name, arguments), role_address(sender))
            for to, name, arguments in asked
        ]
        answers = []
        for (to, name, _), result in zip(asked, self.engine.call(calls), strict=True):
            if result.ok:
                answers.append(_decoded(to, name, result.data))
            else:
                answers.append(f"revert {result.halt or self.errors.show(result.data)}")
        return answers

    def error_name(self, data: bytes) -> str:
        """Name of a revert's error; for reason strings and panics with what they say."""
        name = self.errors.name(data)
        if name not in ("Error", "Panic"):
            return name
        try:
            (said,) = self.errors.by_name[name].arguments(data)
        except (AbiError, ValueError, IndexError):
            return name
        if isinstance(said, bytes):
            return f'Error("{said.decode(errors="replace")}")'
        return f"Panic({said:#x})"


def _decoded(to: Contract, name: str, data: bytes) -> Any:
    f = to.function(name)
    try:
        values = f.decode(data)
    except (AbiError, ValueError, IndexError) as error:
        raise AbiMismatch(
            f"{to.name}.{f.signature} answered {len(data)} bytes that do not fit its ABI "
            f"(wrong address, or an ABI of another version): 0x{data[:68].hex()}"
        ) from error
    return values[0] if len(values) == 1 else values
