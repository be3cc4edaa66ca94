"""A toy target for the tests of the shrinker and of the findings: contract in ``contracts/``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from risk.diff.kit.adapter import Adapter, Refused, Step, World
from risk.diff.kit.artifacts import from_sources
from risk.diff.kit.chain import Chain, Contract
from risk.diff.kit.draw import Draw
from risk.diff.kit.revm import RevmEngine
from risk.diff.kit.target import AdapterTarget

CONTRACTS = Path(__file__).parent / "contracts"
SOLC = "0.8.37"


@dataclass
class Asset:
    """As in the contract."""

    rate_e9: int
    updated_at: int
    total: int = 0
    fees: int = 0
    owed: int = 0


@dataclass
class Model:
    """The ledger; amounts are bounded so that nothing overflows."""

    fee_bps: int
    assets: list[Asset]
    balance: dict[tuple[int, str], int] = field(default_factory=dict)
    now: int = 0
    fee: int = 0  # of the last transfer

    def grow(self, _who: str, asset: int) -> tuple[()]:
        if asset >= len(self.assets):
            raise Refused("NotOpen", asset)
        a = self.assets[asset]
        a.owed += a.total * a.rate_e9 * (self.now - a.updated_at) // 10**9
        a.updated_at = self.now
        return ()

    def put(self, who: str, asset: int, amount: int) -> int:
        self.grow(who, asset)
        self.assets[asset].total += amount
        self.balance[asset, who] = self.balance.get((asset, who), 0) + amount
        return self.balance[asset, who]

    def take(self, who: str, asset: int, amount: int) -> tuple[()]:
        self.grow(who, asset)
        self._subtract(who, asset, amount)
        self.assets[asset].total -= amount
        return ()

    def send(self, who: str, asset: int, to: str, amount: int) -> int:
        self.grow(who, asset)
        self._subtract(who, asset, amount)
        self.fee = -(-amount * self.fee_bps // 10_000)
        self.assets[asset].fees += self.fee
        self.balance[asset, to] = self.balance.get((asset, to), 0) + amount - self.fee
        return self.fee

    def _subtract(self, who: str, asset: int, amount: int) -> None:
        have = self.balance.get((asset, who), 0)
        if have < amount:
            raise Refused("Insufficient", asset, have, amount)
        self.balance[asset, who] = have - amount


class Bank(Adapter[Model]):
    """``returns`` False compares only the state, not what ``send`` returns."""

    name = "bank"
    roles = ("alice", "bob", "carol")
    kinds = ("put", "take", "send", "grow")

    def __init__(self, returns: bool = True) -> None:
        self.returns = returns

    def world(self, draw: Draw) -> World:
        rates = [draw.integer(0, 50) for _ in range(draw.integer(2, 5))]
        return {"fee_bps": draw.integer(1, 300), "rates": rates}

    def smaller_worlds(self, world: World) -> Iterable[World]:
        for i in reversed(range(len(world["rates"]))):
            yield {**world, "rates": world["rates"][:i]}
        if any(world["rates"]):
            yield {**world, "rates": [0] * len(world["rates"])}

    def deploy(self, chain: Chain, world: World) -> None:
        bank = chain.deploy("Bank", world["fee_bps"])
        for asset, rate in enumerate(world["rates"]):
            chain.must(bank, "open", asset, rate)

    def call_of(self, chain: Chain, step: Step) -> tuple[Contract, str, tuple[Any, ...]]:
        arguments = tuple(chain.role(a) if isinstance(a, str) else a for a in step.arguments)
        return chain["Bank"], step.kind, arguments

    def model(self, chain: Chain, world: World) -> Model:
        now = chain.engine.time()
        return Model(world["fee_bps"], [Asset(rate, now) for rate in world["rates"]])

    def apply(self, chain: Chain, model: Model, step: Step, time: int) -> tuple[Any, ...] | None:
        returned = super().apply(chain, model, step, time)
        return returned if self.returns or step.kind != "send" else None

    def propose(self, draw: Draw, model: Model, world: World) -> Step:
        kind, who = draw.choice(self.kinds), draw.choice(self.roles)
        asset = draw.integer(0, len(world["rates"]) - 1)
        have = model.balance.get((asset, who), 0)
        # multiples of 10,000 have a whole fee: the fault shows late in a sequence
        amount = draw.integer(0, 10**24) if kind == "put" else draw.integer(0, have + 1, [have])
        if not draw.chance(12):
            amount -= amount % 10_000
        given: dict[str, tuple[int | str, ...]] = {
            "put": (asset, amount),
            "take": (asset, amount),
            "send": (asset, draw.choice(self.roles), amount),
            "grow": (asset,),
        }
        return Step(kind, who, given[kind], draw.integer(0, 3600))

    def observe_model(self, model: Model) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for i, a in enumerate(model.assets):
            out |= {f"fees[{i}]": a.fees, f"total[{i}]": a.total, f"owed[{i}]": a.owed}
            out |= {f"balance[{i}][{r}]": model.balance.get((i, r), 0) for r in self.roles}
        return out

    def observe_chain(self, chain: Chain) -> dict[str, Any]:
        bank, out, i = chain["Bank"], {}, 0
        while (asset := chain.view(bank, "assets", i))[3]:
            out |= {f"fees[{i}]": asset[1], f"total[{i}]": asset[0], f"owed[{i}]": asset[4]}
            held = chain.views([(bank, "balanceOf", (i, chain.role(r))) for r in self.roles])
            out |= {f"balance[{i}][{r}]": x for r, x in zip(self.roles, held, strict=True)}
            i += 1
        return out

    def explain(self, model: Model, step: Step) -> Sequence[str]:
        if step.kind != "send":
            return ()
        return [f"fee = ceil({step.arguments[2]} x {model.fee_bps} / 10000) = {model.fee}"]

    def instruments(self, world: World, steps: Sequence[Step]) -> int:
        return len({step.arguments[0] for step in steps})


def bank_target(which: str, *, returns: bool = True) -> AdapterTarget:
    """``which`` is ``faulty`` or ``mended``."""
    folder = CONTRACTS / which
    return AdapterTarget(
        Bank(returns), RevmEngine(), lambda: from_sources(folder, ["Bank.sol"], solc=SOLC)
    )
