"""Our vault as something to kill mutants with: one Anvil for many versions of the contracts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from risk.chain.abi import Errors, functions
from risk.chain.compile import Artifact
from risk.chain.vault_abi import vault_abi
from risk.diff.adapter import Observation
from risk.diff.plumbline import chain as chain_module
from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.cases import MarginCase
from risk.diff.plumbline.chain import Chain, address, link_order
from risk.diff.plumbline.session import VaultSession
from risk.diff.plumbline.target import PlumblineTarget
from risk.errors import ChainError
from risk.mutate.errors import Disagreement

NO_SIZE_LIMIT = "--disable-code-size-limit"  # code without the optimiser is larger


class VersionedChain(Chain):
    """A chain on which ``open`` may be called again, with other artifacts: the node goes back to
    its genesis, so that every version has the same addresses.
    """

    def __init__(self, artifacts: Mapping[str, Artifact]) -> None:
        super().__init__()
        self.node.extra = (*self.node.extra, NO_SIZE_LIMIT)
        self.artifacts = dict(artifacts)
        self._genesis = ""

    def open(self) -> None:
        """Deploys the libraries of ``self.artifacts``.  Raises ``ChainError`` where one of them
        cannot be deployed.
        """
        if not self._genesis:
            self.errors = Errors(a.abi for a in self.artifacts.values())
            self.vault_functions = functions(vault_abi(self.artifacts, "IVault"))
            self.reader = functions(self.artifacts["BatchReader"].abi)["read"]
            self.node.start()
            self.rpc = self.node.rpc()
            self.rpc.call("anvil_autoImpersonateAccount", True)
            # a block without a time of its own gets that of the last: on a busy machine the clock
            # of a node that deploys a world runs ahead of the actions that follow
            self.rpc.call("anvil_setBlockTimestampInterval", 0)
        elif not self.rpc.call("evm_revert", self._genesis):
            raise ChainError("the node lost its genesis")
        self._genesis = self.rpc.call("evm_snapshot")
        self.libraries = {}
        for name in link_order(self.artifacts, "Vault")[:-1]:
            self.libraries[name] = address(self.deploy(name))
        self.libraries["BatchReader"] = address(self.deploy("BatchReader"))
        self._snapshot = self.rpc.call("evm_snapshot")


class _Session(VaultSession):
    def set_up(self, action: VaultAction) -> None:
        """A disagreement in the set-up is one of the contracts, not a crash."""
        on_model, on_chain = self.on_model(action), self.on_chain(action)
        if not on_model.ok:
            raise RuntimeError(f"set-up step {action.describe()}: model {on_model}")
        if not on_chain.ok or on_model.data != on_chain.data:
            what = on_chain.error or "another answer"
            raise Disagreement(f"set-up step {action.describe()}: chain {what}")


class VersionedTarget(PlumblineTarget):
    """The differential target with contracts that change.  What the model says of a case is kept:
    it does not depend on the contracts.
    """

    def __init__(self, artifacts: Mapping[str, Artifact]) -> None:
        super().__init__()
        self.chain = VersionedChain(artifacts)
        self._cases: dict[tuple[int, int], MarginCase] = {}
        self._known: dict[tuple[int, int, int], Observation] = {}

    def install(self, artifacts: Mapping[str, Artifact]) -> None:
        """The next ``open`` deploys these."""
        self.chain.artifacts = dict(artifacts)

    def make_case(self, seed: int, index: int) -> MarginCase:
        """From memory where it was made before."""
        if (seed, index) not in self._cases:
            self._cases[seed, index] = super().make_case(seed, index)
        return self._cases[seed, index]

    def case_on_model(self, case: Any) -> Observation:
        """From memory where it was asked before."""
        key = (case.seed, case.index, self.vault)
        if key not in self._known:
            self._known[key] = super().case_on_model(case)
        return self._known[key]

    def start(self, seed: int, index: int) -> VaultSession:
        """As the runner's, but a disagreement in the set-up is said to be one."""
        self.chain.reset()
        return _Session(self.chain, seed, index)


def install_for_tests(artifacts: Mapping[str, Artifact]) -> None:
    """Everything in this process that compiles our contracts gets ``artifacts`` instead, and nodes
    take code of any size.  For a process that runs tests and then ends.
    """
    from risk.chain import compile as compile_module
    from risk.chain.node import Anvil

    original = compile_module.compile_contracts
    given = dict(artifacts)

    def compiled(*_: Any, **__: Any) -> dict[str, Artifact]:
        return {name: replace(item) for name, item in given.items()}

    for module in list(sys.modules.values()):
        if getattr(module, "compile_contracts", None) is original:
            vars(module)["compile_contracts"] = compiled
    chain_module.load_artifacts.cache_clear()
    plain = Anvil.command

    def command(self: Anvil) -> list[str]:
        return [*plain(self), NO_SIZE_LIMIT]

    Anvil.command = command  # type: ignore[method-assign]
