"""One Anvil and one compilation for the deployment tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from risk.chain.compile import Artifact, compile_contracts
from risk.chain.node import Anvil, Node
from risk.chain.rpc import Rpc
from tests.deploy.support import ROOT


@pytest.fixture(scope="session")
def artifacts() -> Mapping[str, Artifact]:
    """Everything compiled."""
    return compile_contracts(ROOT)


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A node that enforces the protocol's gas limit per transaction."""
    with Anvil(tx_gas_limit=True) as running:
        yield running


@pytest.fixture
def rpc(node: Node) -> Iterator[Rpc]:
    """A connection; what a test does to the chain is undone."""
    with node.rpc() as client:
        snapshot = client.call("evm_snapshot")
        yield client
        client.call("evm_revert", snapshot)
