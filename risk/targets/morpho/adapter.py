"""Morpho Blue on an engine: deployment, calls, observation. The model is in ``model.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from risk.chain.compile import Artifact
from risk.chain.node import project_root
from risk.diff.adapter import Observation, Value
from risk.diff.kit.adapter import Adapter, Step, World
from risk.diff.kit.artifacts import from_sources
from risk.diff.kit.chain import Chain, Contract, role_address
from risk.diff.kit.draw import Draw
from risk.targets.morpho import observation, proposals, signing
from risk.targets.morpho import world as worlds
from risk.targets.morpho.invariants import broken
from risk.targets.morpho.model import MORPHO, ROBOT, SIGNERS, ZERO, MarketParams, Morpho
from risk.targets.morpho.observation import DESERT, irm_label, oracle_label, token_label
from risk.targets.morpho.surroundings import (
    IRM_NAMES,
    NOWHERE,
    ODD_TOKEN,
    RATE_IRM,
    SPARE_IRM,
    UTILISATION_IRM,
    Token,
)

SOLC = "0.8.19"
EVM_VERSION = "paris"  # the newest that this compiler knows
PACKAGE = "node_modules/@morpho-org/morpho-blue/src"
REMAPPINGS = ("@morpho-org/=node_modules/@morpho-org/",)
SOURCES = (
    f"{PACKAGE}/Morpho.sol",
    f"{PACKAGE}/mocks/ERC20Mock.sol",
    f"{PACKAGE}/mocks/IrmMock.sol",
    f"{PACKAGE}/mocks/OracleMock.sol",
    "tests/targets/contracts/MorphoSurroundings.sol",
)


class MorphoAdapter(Adapter[Morpho]):
    """See ``risk.diff.kit.adapter.Adapter``. ``model_class`` is another one in tests of faults."""

    name = "morpho"
    roles = worlds.ROLES
    kinds = proposals.KINDS

    def __init__(self, model_class: type[Morpho] = Morpho) -> None:
        self.model_class = model_class

    # ── the chain's side ─────────────────────────────────────────────────────────────────────────

    def artifacts(self) -> Mapping[str, Artifact]:
        return from_sources(
            project_root(),
            SOURCES,
            solc=SOLC,
            evm_version=EVM_VERSION,
            remappings=REMAPPINGS,
        )

    def deploy(self, chain: Chain, world: World) -> None:
        morpho = chain.deploy("Morpho", role_address("owner"))
        robot = chain.deploy("Robot", morpho.address)
        chain.attach("Morpho", robot.address, name="Morpho by robot")
        for token in range(len(world["tokens"])):
            chain.deploy("ERC20Mock" if token else "OddToken", name=f"token {token}")
        for oracle in range(world["oracles"]):
            chain.deploy("OracleMock", name=f"oracle {oracle}")
        for irm, artifact in (
            (UTILISATION_IRM, "IrmMock"),
            (RATE_IRM, "RateIrm"),
            (SPARE_IRM, "IrmMock"),
        ):
            chain.deploy(artifact, name=f"irm {irm}")
        lens = chain.deploy("MorphoLens", morpho.address)
        chain.must(
            lens,
            "configure",
            [_parameter_words(chain, p) for p in worlds.markets_of(world)],
            [_address(chain, who) for who in worlds.HOLDERS],
            [chain[f"token {i}"].address for i in range(len(world["tokens"]))],
            [chain[f"oracle {i}"].address for i in range(world["oracles"])],
            chain[f"irm {RATE_IRM}"].address,
            [_address(chain, irm_label(irm)) for irm in range(len(IRM_NAMES))],
            list(worlds.LLTVS),
        )
        for step in worlds.setup(world):
            contract, name, arguments = self.call_of(chain, step)
            chain.must(contract, name, *arguments, sender=step.sender)

    def call_of(self, chain: Chain, step: Step) -> tuple[Contract, str, tuple[Any, ...]]:
        kind, arguments = step.kind, step.arguments
        if kind in ("setPrice", "setRate", "setMode", "setBalance", "approve"):
            return _surroundings_call(chain, kind, step.sender, arguments)
        contract = chain["Morpho by robot" if step.sender == ROBOT else "Morpho"]
        return contract, kind, _morpho_arguments(chain, kind, arguments)

    def observe_chain(self, chain: Chain) -> Observation:
        known = {_address(chain, who): who for who in worlds.HOLDERS}
        known |= {c.address: name for name, c in chain.contracts.items() if " " in name}
        known |= {_address(chain, DESERT): DESERT, _address(chain, MORPHO): MORPHO}
        known[_address(chain, ROBOT)] = ROBOT
        packed = chain.view(chain["MorphoLens"], "snapshot")
        return observation.from_words(packed, lambda word: known.get(word, f"0x{word:040x}"))

    # ── the model's side ─────────────────────────────────────────────────────────────────────────

    def world(self, draw: Draw) -> World:
        return worlds.random_world(draw)

    def model(self, chain: Chain, world: World) -> Morpho:
        tokens = {i: Token() for i in range(len(world["tokens"]))}
        made = self.model_class(
            worlds.markets_of(world),
            {**tokens, NOWHERE: Token(code=False)},
            [0] * world["oracles"],
            chain.engine.time(),
        )
        for step in worlds.setup(world):
            self.apply(chain, made, step, made.now)
        return made

    def apply(self, chain: Chain, model: Morpho, step: Step, time: int) -> tuple[Value, ...] | None:
        model.now = time
        model.notes, model.events = [], []
        returned: tuple[Value, ...] = getattr(model, step.kind)(
            step.sender, *_with_markets(step.kind, step.arguments)
        )
        return returned

    def propose(self, draw: Draw, model: Morpho, world: World) -> Step:
        return proposals.propose(draw, model, world)

    def observe_model(self, model: Morpho) -> Observation:
        return observation.from_model(model)

    def invariants(self, model: Morpho) -> Iterable[str]:
        return broken(model)

    def tick(self, model: Morpho, step: Step) -> Iterable[str]:
        return model.events

    # ── for reports ──────────────────────────────────────────────────────────────────────────────

    def explain(self, model: Morpho, step: Step) -> Sequence[str]:
        """The quantities of the last action; an action that was refused leaves none behind."""
        return model.notes

    def smaller_worlds(self, world: World) -> Iterable[World]:
        return worlds.smaller(world)

    def instruments(self, world: World, steps: Sequence[Step]) -> int:
        """Markets that the steps name, those of callbacks included."""
        return len({m for step in steps for m in _markets(step.kind, step.arguments)})


# ── from names and numbers to addresses and calldata ─────────────────────────────────────────────

SURROUNDINGS = ("setPrice", "setRate", "setMode", "setBalance", "approve")

# parts of the arguments by kind: m a market, w somebody, t a token, i an interest rate model,
# d the call in a callback, anything else as it stands
FORMS = {
    "setOwner": "w",
    "enableIrm": "i",
    "enableLltv": ".",
    "setFee": "m.",
    "setFeeRecipient": "w",
    "createMarket": "m",
    "accrueInterest": "m",
    "supply": "m..wd",
    "withdraw": "m..ww",
    "borrow": "m..ww",
    "repay": "m..wd",
    "supplyCollateral": "m.wd",
    "withdrawCollateral": "m.ww",
    "liquidate": "mw..d",
    "flashLoan": "t.d",
    "setAuthorization": "w.",
}


def _address(chain: Chain, name: str) -> int:
    """Address of a holder, or of a contract by its label."""
    if name == ZERO:
        return 0
    if name in SIGNERS:
        return signing.signer_address(name)
    if name == MORPHO:
        return chain["Morpho"].address
    if name == ROBOT:
        return chain["Robot"].address
    return chain[name].address if name in chain.contracts else chain.role(name)


def _parameter_words(chain: Chain, market: MarketParams) -> tuple[int, ...]:
    labels = (
        token_label(market.loan_token),
        token_label(market.collateral_token),
        oracle_label(market.oracle),
        irm_label(market.irm),
    )
    return (*(_address(chain, label) for label in labels), market.lltv)


def _morpho_arguments(chain: Chain, kind: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
    if kind == "setAuthorizationWithSig":
        return _signed(chain, arguments)
    encode: dict[str, Callable[[Any], Any]] = {
        "m": lambda market: _parameter_words(chain, MarketParams(*market)),
        "w": lambda name: _address(chain, name),
        "t": lambda token: _address(chain, token_label(token)),
        "i": lambda irm: _address(chain, irm_label(irm)),
        "d": lambda data: _callback_data(chain, data),
        ".": lambda value: value,
    }
    return tuple(encode[f](a) for f, a in zip(FORMS[kind], arguments, strict=True))


def _callback_data(chain: Chain, data: Sequence[Any]) -> bytes:
    """What the robot gets in its callback; one byte makes it do nothing."""
    if not data:
        return b""
    kind, *arguments = data
    if kind == "nothing":
        return b"\0"
    return chain["Morpho"].encode(kind, _morpho_arguments(chain, kind, arguments))


def _signed(chain: Chain, arguments: Sequence[Any]) -> tuple[Any, ...]:
    authorizer, authorized, value, nonce, deadline, way = arguments
    authorization = (
        _address(chain, authorizer),
        _address(chain, authorized),
        int(value),
        nonce,
        deadline,
    )
    signature = signing.sign(authorizer, authorization, chain["Morpho"].address, way)
    return authorization, signature


def _surroundings_call(
    chain: Chain, kind: str, sender: str, arguments: Sequence[Any]
) -> tuple[Contract, str, tuple[Any, ...]]:
    if kind == "setRate":
        return chain[irm_label(RATE_IRM)], kind, tuple(arguments)
    if kind == "setMode":
        return chain[token_label(ODD_TOKEN)], kind, tuple(arguments)
    first, *rest = arguments
    if kind == "setPrice":
        return chain[oracle_label(first)], kind, tuple(rest)
    if kind == "setBalance":
        who, amount = rest
        return chain[token_label(first)], kind, (_address(chain, who), amount)
    if sender == ROBOT:
        return chain["Robot"], kind, (_address(chain, token_label(first)), *rest)
    return chain[token_label(first)], kind, (_address(chain, MORPHO), *rest)


def _with_markets(kind: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments with tuples of market parameters as ``MarketParams``, also inside callbacks."""
    form = FORMS.get(kind, "." * len(arguments))
    out: list[Any] = []
    for part, argument in zip(form, arguments, strict=True):
        if part == "m":
            out.append(MarketParams(*argument))
        elif part == "d" and argument:
            out.append((argument[0], *_with_markets(argument[0], argument[1:])))
        else:
            out.append(argument)
    return tuple(out)


def _markets(kind: str, arguments: Sequence[Any]) -> Iterable[MarketParams]:
    """Markets that an action names, those of its callbacks included."""
    for part, argument in zip(FORMS.get(kind, ""), arguments, strict=False):
        if part == "m":
            yield MarketParams(*argument)
        elif part == "d" and argument:
            yield from _markets(argument[0], argument[1:])
