"""Aave v3.6 as a target: the glue between model, contracts and the runner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from risk.chain.compile import Artifact
from risk.diff.adapter import Observation, Value
from risk.diff.kit.adapter import Adapter, Step, World
from risk.diff.kit.chain import Chain, Contract
from risk.diff.kit.draw import Draw
from risk.targets.aave import deploy, observe, world
from risk.targets.aave.admin import Market
from risk.targets.aave.propose import propose

KINDS = (
    "supply",
    "withdraw",
    "borrow",
    "repay",
    "repayWithATokens",
    "setUserUseReserveAsCollateral",
    "liquidationCall",
    "transfer",
    "approveDelegation",
    "approve",
    "donate",
    "mintToTreasury",
    "eliminateReserveDeficit",
    "setPrice",
    "configureReserveAsCollateral",
    "setReserveBorrowing",
    "setReserveActive",
    "setReservePause",
    "setReserveFreeze",
    "setReserveLtvzero",
    "setReserveFactor",
    "setReserveInterestRateData",
    "setBorrowCap",
    "setSupplyCap",
    "setLiquidationProtocolFee",
)


class AaveAdapter(Adapter[Market]):
    """See docs/targets/aave.md."""

    name = "aave"
    roles = world.ROLES
    kinds = KINDS
    hardfork = deploy.EVM_VERSION

    def artifacts(self) -> Mapping[str, Artifact]:
        return deploy.compiled()

    def world(self, draw: Draw) -> World:
        return world.draw_world(draw)

    def smaller_worlds(self, world_: World) -> Iterable[World]:
        return world.smaller(world_)

    def deploy(self, chain: Chain, world_: World) -> None:
        deploy.deploy_market(chain, world_)

    def call_of(self, chain: Chain, step: Step) -> tuple[Contract, str, tuple[Any, ...]]:
        return deploy.call_of(chain, step)

    def model(self, chain: Chain, world_: World) -> Market:
        return world.build(world_, chain.engine.time())

    def apply(self, chain: Chain, model: Market, step: Step, time: int) -> tuple[Value, ...] | None:
        model.clock.now = time
        returned: tuple[int, ...] = getattr(model, step.kind)(step.sender, *step.arguments)
        return returned

    def propose(self, draw: Draw, model: Market, world_: World) -> Step:
        return propose(draw, model)

    def observe_model(self, model: Market) -> Observation:
        return observe.observation(tuple(model.reserves), list(observe.words(model)))

    def observe_chain(self, chain: Chain) -> Observation:
        return observe.observation(tuple(world.ASSETS), deploy.read(chain))

    def tick(self, model: Market, step: Step) -> Iterable[str]:
        yield f"call:{step.kind}"
        if step.kind == "liquidationCall":
            yield "liquidation"
            yield "liquidation:aToken" if step.arguments[4] else "liquidation:underlying"
            if step.arguments[0] == step.arguments[1]:
                yield "liquidation:same asset"
            borrower = str(step.arguments[2])
            if not model.flags.get(borrower, 0):
                yield "liquidation:position closed"
        if any(reserve.deficit for reserve in model.reserves.values()):
            yield "action with a deficit"

    def explain(self, model: Market, step: Step) -> Sequence[str]:
        return [f"{user}: {model.account(user)}" for user in world.TRADERS]

    def instruments(self, world_: World, steps: Sequence[Step]) -> int:
        named = {a for s in steps for a in s.arguments if a in world.ASSETS}
        return max(len(named), 1)
