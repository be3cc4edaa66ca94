"""A sequence without a chain: the model alone, its invariants after each action.  Only the ABI is
needed of the contracts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from risk.chain.abi import Errors, Function, functions
from risk.chain.node import project_root
from risk.chain.vault_abi import vault_abi
from risk.diff.adapter import Mismatch, Observation, Outcome
from risk.diff.plumbline.chain import load_artifacts
from risk.diff.plumbline.model_session import ModelSession
from risk.diff.plumbline.setup import deploy_world

FIRST_ADDRESS = 0xC0DE << 140


class _NoRpc:
    def call(self, *_: Any) -> None:
        """Nothing to call."""


class Nowhere:
    """Addresses without contracts: what ``deploy_world`` needs of a node."""

    def __init__(self, root: Path | None = None) -> None:
        self.artifacts: Mapping[str, Any] = load_artifacts(root or project_root())
        self.errors = Errors(a.abi for a in self.artifacts.values())
        self.vault_functions: dict[str, Function] = functions(vault_abi(self.artifacts, "IVault"))
        self.rpc = _NoRpc()
        self.count = 0

    def reset(self) -> None:
        """The next world has the same addresses again."""
        self.count = 0

    def deploy(self, name: str, *arguments: Any) -> int:
        """The next address."""
        del name, arguments
        self.count += 1
        return FIRST_ADDRESS + (self.count << 8)

    def transact(self, sender: int, to: int, data: bytes, *, output: bool = True) -> None:
        """Nothing happens."""

    def read_words(self, contract: int, slots: Sequence[int]) -> dict[int, int]:
        """Empty storage."""
        del contract
        return dict.fromkeys(slots, 0)


class LoneSession(ModelSession):
    """The model's half on its own."""

    def __init__(self, nowhere: Nowhere, seed: int, index: int) -> None:
        nowhere.reset()
        rng = Random(f"world {seed} {index}")
        deployment = deploy_world(nowhere, rng)
        deployment.state.interest_time = deployment.spec.now
        super().__init__(nowhere, deployment, rng)
        self.start(rng)

    # the chain's side of ``adapter.Session``, which nobody may ask for

    def on_chain(self, action: Any) -> Outcome:
        """There is none."""
        raise NotImplementedError

    def observe_model(self) -> Observation:
        """Only needed to compare with a chain."""
        raise NotImplementedError

    def observe_chain(self) -> Observation:
        """There is none."""
        raise NotImplementedError

    def finish(self) -> list[Mismatch]:
        """Nothing to compare."""
        return []
