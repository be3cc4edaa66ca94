"""A vault on an engine, put into the state of one market after another.

The market is written once; the scenario arrays are computed by the contract itself, as in
production. A case is then a probe: ``margin(account)`` with the words of one account laid over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from risk.chain import layout
from risk.chain.abi import functions
from risk.chain.compile import Artifact, compile_contracts
from risk.chain.node import project_root
from risk.chain.vault_abi import vault_abi
from risk.diff.kit.chain import Chain
from risk.diff.kit.engine import Call, Engine, Probe, Result
from risk.diff.kit.errors import DiffError
from risk.diff.margin_cases.accounts import MarginCase
from risk.diff.margin_cases.market import Market
from risk.diff.margin_cases.words import account_words
from risk.diff.plumbline.chain import ADMIN, ANYBODY

ARRAYS_A_CALL = 64  # 64 arrays of 64 scenarios are about 12 million gas
FIRST_PARAMS = 0xBB << 152


class Stand:
    """One engine with one vault. ``artifacts`` replace those of the checkout (planted faults)."""

    def __init__(self, engine: Engine, artifacts: Mapping[str, Artifact] | None = None) -> None:
        self.engine = engine
        self._given = artifacts
        self.market: Market | None = None

    def open(self) -> None:
        """Start the engine, deploy libraries and vault."""
        artifacts = self.artifacts = self._given or compile_contracts(project_root())
        self.engine.open()
        chain = Chain(self.engine, artifacts)
        cash = chain.deploy("MockToken", 6, 0, 0)
        self.vault = chain.deploy("Vault", ADMIN, cash.address).address
        self.errors = chain.errors
        self.functions = functions(vault_abi(artifacts, "IVault"))
        self._margin = self.functions["margin"].selector
        self._empty = self.engine.snapshot()

    def close(self) -> None:
        """Stop the engine."""
        self.engine.close()

    def enter(self, market: Market) -> None:
        """Put the vault into this market: storage words, parameters, arrays of the options."""
        self.engine.revert(self._empty)
        state = market.state
        assert state.params is not None
        pointer = FIRST_PARAMS + market.number  # code of an address never changes
        self.engine.place(pointer, b"\0" + state.params.blob, {}, None)
        words = layout.to_words(layout.state_fields(state))
        words[layout.STATE_SLOT] |= pointer
        self.engine.place(self.vault, None, words, None)
        self.engine.warp(market.spec.now - self.engine.time())
        encode = self.functions["computeArrays"].encode
        for i in range(0, len(market.cached), ARRAYS_A_CALL):
            data = encode(market.cached[i : i + ARRAYS_A_CALL])
            done = self.engine.transact(Call(self.vault, data, ANYBODY))
            if not done.ok:
                why = done.halt or self.errors.show(done.data)
                raise DiffError(f"computeArrays refused in market {market.number}: {why}")
        self.market = market

    def probes(self, cases: Sequence[MarginCase]) -> list[Probe]:
        """The cases as the engine takes them."""
        return [
            Probe(self.call(case), {self.vault: account_words(case.account_id, case.account)})
            for case in cases
        ]

    def call(self, case: MarginCase) -> Call:
        """``margin(account)`` by anybody."""
        return Call(self.vault, self._margin + case.account_id.to_bytes(32, "big"), ANYBODY)

    def answers(self, cases: Sequence[MarginCase]) -> list[Result]:
        """The contract's answer to every case of the market that was entered last."""
        return self.engine.probe(self.probes(cases))
