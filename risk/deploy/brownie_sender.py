"""The deployer's sender inside Brownie: contracts deploy through the project's containers.

So ``Vault[-1]`` and the linked libraries are there afterwards as a Brownie user expects, and
Brownie's own record of deployments is kept.  Brownie links a library by taking the one deployed
last; the deployer compares the creation code on chain with its own linking afterwards.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from risk.chain.compile import Artifact, link_references_of
from risk.chain.rpc import Rpc, to_hex
from risk.deploy.errors import PreflightError
from risk.errors import RpcError, TransportError

NOBODY = "0x" + "0" * 40
LOOKUP_PATIENCE_SECONDS = 10.0
LOOKUP_MIDDLEWARE = "patient_transaction_lookup"
LOOKUPS = ("eth_getTransactionByHash", "eth_getTransactionReceipt")


def look_up_patiently(web3: Any) -> None:
    """Asks again for a while before Brownie believes that a transaction it sent is gone.

    A busy Anvil raises the sender's nonce a moment before it finds the transaction by its hash, and
    that a moment before its receipt; Brownie, which looks once for each after the nonce rose, then
    reports "Tx dropped".
    """
    from web3.middleware import Web3Middleware

    class PatientLookup(Web3Middleware):  # type: ignore[misc, unused-ignore]
        """Repeats a question for a transaction or its receipt while the answer is null."""

        def wrap_make_request(self, make_request: Any) -> Any:
            def asked(method: Any, params: Any) -> Any:
                deadline = time.monotonic() + LOOKUP_PATIENCE_SECONDS
                answer = make_request(method, params)
                while (
                    method in LOOKUPS
                    and answer.get("result") is None
                    and time.monotonic() < deadline
                ):
                    time.sleep(0.05)
                    answer = make_request(method, params)
                return answer

            return asked

    if LOOKUP_MIDDLEWARE not in web3.middleware_onion:
        web3.middleware_onion.add(PatientLookup, LOOKUP_MIDDLEWARE)


class ProviderTransport:
    """JSON-RPC over the provider Brownie is connected with."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self.endpoint = str(getattr(provider, "endpoint_uri", provider))

    def exchange(self, payload: bytes) -> bytes:
        request = json.loads(payload)
        many = isinstance(request, list)
        answers = [self._one(entry) for entry in (request if many else [request])]
        return json.dumps(answers if many else answers[0]).encode()

    def _one(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            answer = self._provider.make_request(request["method"], request["params"])
        except Exception as error:  # requests and web3 raise families of their own
            raise TransportError(f"{self.endpoint}: {error}") from error
        return {**answer, "id": request["id"]}

    def close(self) -> None:
        """The connection belongs to Brownie."""


class BrownieSender:
    """Sends from a Brownie account in a loaded project; without an account it can only read."""

    def __init__(self, project: Any, account: Any, provider: Any) -> None:
        self._project = project
        self._account = account
        self._artifacts: dict[str, Artifact] = {}
        self.address = str(account.address) if account is not None else NOBODY
        self.rpc = Rpc(ProviderTransport(provider))

    def artifact(self, name: str) -> Artifact:
        if name not in self._artifacts:
            if name not in self._project:
                raise PreflightError(f"contract {name} is not in the Brownie project")
            self._artifacts[name] = artifact_of_build(name, self._project[name]._build)
        return self._artifacts[name]

    def deploy(
        self,
        name: str,
        arguments: Sequence[Any],
        libraries: Mapping[str, str],
        nonce: int | None = None,
    ) -> str:
        for library in self.artifact(name).libraries:
            latest, wanted = self._project[library][-1].address, libraries[library]
            if latest.lower() != wanted.lower():
                raise PreflightError(f"Brownie would link {library} at {latest}, not {wanted}")
        values = [to_hex(v) if isinstance(v, bytes) else v for v in arguments]
        container = self._project[name]
        return self._sent(
            "deploy", lambda: self._account.deploy(container, *values, nonce=nonce).tx
        )

    def send(self, to: str, data: bytes, nonce: int | None = None) -> str:
        return self._sent(
            "transfer",
            lambda: self._account.transfer(to, amount=0, data=to_hex(data), nonce=nonce),
        )

    def adopt(self, name: str, address: str) -> None:
        """Makes it the contract of this name that Brownie links, and that ``[-1]`` is."""
        container = self._project[name]
        if not len(container) or container[-1].address.lower() != address.lower():
            container.at(address)

    def _sent(self, what: str, send: Callable[[], Any]) -> str:
        if self._account is None:
            raise PreflightError("no account to send from")
        try:
            return str(send().txid)
        except Exception as error:  # Brownie, web3 and requests raise families of their own
            raise RpcError(what, 0, str(error)) from error


def artifact_of_build(name: str, build: Mapping[str, Any]) -> Artifact:
    """From Brownie's build file, which keeps solc's link references."""

    return Artifact(
        name=name,
        source_path=str(build.get("sourcePath", "")),
        abi=list(build["abi"]),
        bytecode=str(build["bytecode"]).removeprefix("0x"),
        deployed_bytecode=str(build.get("deployedBytecode", "")).removeprefix("0x"),
        link_references=link_references_of(build.get("linkReferences") or {}),
        deployed_link_references=link_references_of(build.get("deployedLinkReferences") or {}),
        metadata_hash="",
    )
