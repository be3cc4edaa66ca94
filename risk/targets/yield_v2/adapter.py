"""Yield Protocol v2 (npm ``@yield-protocol/vault-v2``) as a target of the auditor's kit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from risk.chain.compile import Artifact
from risk.chain.node import project_root
from risk.diff.adapter import Observation, Outcome, Value
from risk.diff.kit.adapter import Adapter, Step, World
from risk.diff.kit.artifacts import from_sources
from risk.diff.kit.chain import Chain, Contract
from risk.diff.kit.draw import Draw
from risk.diff.kit.engine import GENESIS_TIME, Result
from risk.targets.yield_v2 import look
from risk.targets.yield_v2.calls import KINDS, TABLE, call_of, vault_id
from risk.targets.yield_v2.model import Model
from risk.targets.yield_v2.moves import Moves
from risk.targets.yield_v2.names import ROLES
from risk.targets.yield_v2.worlds import (
    count_vaults,
    deploy,
    draw_world,
    model_of,
    remember_vault,
)

SOLC = "0.8.37"
SOURCES = (
    *(f"node_modules/@yield-protocol/vault-v2/contracts/{name}.sol" for name in ("Join",)),
    "risk/targets/yield_v2/Surroundings.sol",
)
REMAPPINGS = (
    "@yield-protocol/=node_modules/@yield-protocol/",
    "erc3156/=node_modules/erc3156/",
    "dss-interfaces/=node_modules/dss-interfaces/",
)


class YieldAdapter(Adapter[Model]):
    """Cauldron, Ladle, Witch, Join, FYToken and AccumulatorMultiOracle, as they stand."""

    name = "yield_v2"
    roles = ROLES
    kinds = KINDS

    def artifacts(self) -> Mapping[str, Artifact]:
        return from_sources(project_root(), SOURCES, solc=SOLC, remappings=REMAPPINGS)

    # ── the chain's side ─────────────────────────────────────────────────────────────────────────

    def deploy(self, chain: Chain, world: World) -> None:
        deploy(chain, world)

    def call_of(self, chain: Chain, step: Step) -> tuple[Contract, str, tuple[Any, ...]]:
        return call_of(chain, step)

    def outcome_of(self, chain: Chain, step: Step, result: Result) -> Outcome:
        """As it stands; the ids of vaults that were built get names, for later actions."""
        if result.ok and step.kind in ("build", "batch"):
            self._name_vaults(chain, step, result.data)
        return super().outcome_of(chain, step, result)

    @staticmethod
    def _name_vaults(chain: Chain, step: Step, data: bytes) -> None:
        ladle = chain["Ladle"]
        if step.kind == "build":
            remember_vault(chain, ladle.function("build").decode(data)[0])
            return
        results = ladle.function("batch").decode(data)[0]
        for call, result in zip(step.arguments, results, strict=True):
            if isinstance(call, tuple) and call[0] == "build":
                remember_vault(chain, ladle.function("build").decode(result)[0])

    def observe_chain(self, chain: Chain) -> Observation:
        count = count_vaults(chain)
        ids = [vault_id(chain, f"V{n}") for n in range(count)]
        words = chain.view(chain["Lens"], "read", ids)
        if isinstance(words, str):
            return {"lens": words}
        return dict(zip(look.names(count), words, strict=True))

    # ── the model's side ─────────────────────────────────────────────────────────────────────────

    def world(self, draw: Draw) -> World:
        return draw_world(draw)

    def model(self, chain: Chain, world: World) -> Model:
        made = model_of(chain, world)
        made.now = GENESIS_TIME
        return made

    def propose(self, draw: Draw, model: Model, world: World) -> Step:
        return Moves(draw, model, world).step()

    def apply(self, chain: Chain, model: Model, step: Step, time: int) -> tuple[Value, ...] | None:
        if step.kind != "batch":
            return super().apply(chain, model, step, time)
        model.now = time
        ladle = chain["Ladle"]
        results = model.batch(step.sender, *step.arguments)  # type: ignore[arg-type]
        encoded: list[bytes] = []
        for call, result in zip(step.arguments, results, strict=True):
            assert isinstance(call, tuple)
            function = ladle.function(TABLE[str(call[0])][1])
            encoded.append(function.encode_outputs(*result))
        return (encoded,)  # type: ignore[return-value]  # one value of type bytes[]

    def observe_model(self, model: Model) -> Observation:
        return dict(zip(look.names(len(model.built)), look.words(model), strict=True))

    def invariants(self, model: Model) -> Iterable[str]:
        return model.broken()

    def tick(self, model: Model, step: Step) -> Iterable[str]:
        if step.kind in ("auction", "pay_base", "pay_fy_token", "cancel", "clear"):
            yield "liquidation"

    # ── for reports ──────────────────────────────────────────────────────────────────────────────

    def explain(self, model: Model, step: Step) -> Sequence[str]:
        """Debt, collateral and auction of the vaults that the action names."""
        lines = []
        for name in dict.fromkeys(str(a) for a in step.arguments):
            if name[:1] != "V" or not name[1:].isdigit():
                continue
            vault = model.vault(name)
            lines.append(f"{name}: {model.cauldron.vault(vault)} {model.cauldron.balance(vault)}")
            if vault in model.witch.auctions:
                lines.append(f"{name}: {model.witch.auctions[vault]}")
        return lines

    def smaller_worlds(self, world: World) -> Iterable[World]:
        """No fee, no reward, one price, no growth: one change at a time."""
        plain = {"start": 10**18, "per_second": 10**18}
        yield {**world, "fee": 0, "reward": 0, "rates": dict.fromkeys(world["rates"], plain)}
        yield {**world, "fee": 0}
        yield {**world, "reward": 0}
        yield {**world, "rates": dict.fromkeys(world["rates"], plain)}
        yield {**world, "pairs": {k: {**v, "price": 10**18} for k, v in world["pairs"].items()}}

    def instruments(self, world: World, steps: Sequence[Step]) -> int:
        """Vaults that the steps name."""
        named = {str(a) for step in steps for a in step.arguments}
        return max(1, sum(1 for name in named if name[:1] == "V"))
