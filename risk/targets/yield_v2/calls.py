"""How an action becomes a call: contract, function and ABI arguments by kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from risk.diff.kit.adapter import Step
from risk.diff.kit.chain import Chain, Contract
from risk.targets.yield_v2.names import NOWHERE, SERIES, bytes6, bytes32

Call = tuple[Contract, str, tuple[Any, ...]]

#: kind -> contract, function, how each argument is read. ``who`` an account, ``v`` a vault, ``id``
#: an asset or series, ``id32`` the same in 32 bytes, ``t`` a token's address, ``n`` as it is.
#: A contract in braces is one that the first argument names.
TABLE: dict[str, tuple[str, str, str]] = {
    "build": ("Ladle", "build", "id id n"),
    "tweak": ("Ladle", "tweak", "v id id"),
    "give": ("Ladle", "give", "v who"),
    "destroy": ("Ladle", "destroy", "v"),
    "stir": ("Ladle", "stir", "v v n n"),
    "pour": ("Ladle", "pour", "v who n n"),
    "close": ("Ladle", "close", "v who n n"),
    "repay_from_ladle": ("Ladle", "repayFromLadle", "v who"),
    "close_from_ladle": ("Ladle", "closeFromLadle", "v who"),
    "ladle_redeem": ("Ladle", "redeem", "id who n"),
    "ladle_transfer": ("Ladle", "transfer", "t who n"),
    "retrieve": ("Ladle", "retrieve", "t who"),
    "level": ("Cauldron", "level", "v"),
    "mature": ("Cauldron", "mature", "id"),
    "accrual": ("Cauldron", "accrual", "id"),
    "debt_from_base": ("Cauldron", "debtFromBase", "id n"),
    "debt_to_base": ("Cauldron", "debtToBase", "id n"),
    "fy_mature": ("{}", "mature", ""),
    "fy_accrual": ("{}", "accrual", ""),
    "to_underlying": ("{}", "convertToUnderlying", "n"),
    "to_principal": ("{}", "convertToPrincipal", "n"),
    "redeem": ("{}", "redeem(address,uint256)", "who n"),
    "redeem_for": ("{}", "redeem(uint256,address,address)", "n who who"),
    "withdraw": ("{}", "withdraw", "n who who"),
    "mint_with_underlying": ("{}", "mintWithUnderlying", "who n"),
    "auction": ("Witch", "auction", "v who"),
    "pay_base": ("Witch", "payBase", "v who n n"),
    "pay_fy_token": ("Witch", "payFYToken", "v who n n"),
    "cancel": ("Witch", "cancel", "v"),
    "clear": ("Witch", "clear", "v"),
    "payout": ("Witch", "calcPayout", "v who n"),
    "transfer": ("{}", "transfer", "who n"),
    "approve": ("{}", "approve", "who n"),
    "poke": ("rates", "get", "id32 id32"),
    "stop": ("{}", "stop", "who n"),
    "set_rate": ("rates", "updatePerSecondRate", "id id n"),
    "set_debt_limits": ("Cauldron", "setDebtLimits", "id id n n n"),
    "set_reward": ("Witch", "setAuctioneerReward", "n"),
    "set_protected": ("Witch", "setProtected", "who n"),
    "set_fee": ("Ladle", "setFee", "n"),
    "seize": ("Cauldron", "give", "v who"),
    "roll": ("Cauldron", "roll", "v id n"),
}
#: actions that a batch may hold
BATCHED = tuple(kind for kind, entry in TABLE.items() if entry[0] == "Ladle" and kind != "set_fee")
KINDS = (*TABLE, "batch", "set_price", "set_ratio", "set_line", "intrude")

_INTRUSIONS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "Cauldron.build": ("Cauldron", "build", (1, 1, 1, 1)),
    "Cauldron.destroy": ("Cauldron", "destroy", (1,)),
    "Cauldron.tweak": ("Cauldron", "tweak", (1, 1, 1)),
    "Cauldron.stir": ("Cauldron", "stir", (1, 2, 0, 0)),
    "Cauldron.pour": ("Cauldron", "pour", (1, 0, 0)),
    "Cauldron.slurp": ("Cauldron", "slurp", (1, 0, 0)),
    "join A0.join": ("join A0", "join", (1, 0)),
    "join A0.exit": ("join A0", "exit", (1, 0)),
    "fy S0.mint": ("fy S0", "mint", (1, 0)),
    "fy S0.burn": ("fy S0", "burn", (1, 0)),
}
INTRUSIONS = tuple(_INTRUSIONS)


def call_of(chain: Chain, step: Step) -> Call:
    """The call of an action."""
    arguments: tuple[Any, ...] = step.arguments
    special = _SPECIAL.get(step.kind)
    if special is not None:
        return special(chain, arguments)
    return _from_table(chain, step.kind, arguments)


def _from_table(chain: Chain, kind: str, arguments: tuple[Any, ...]) -> Call:
    contract, function, shapes = TABLE[kind]
    if contract == "{}":
        contract, *rest = arguments
        contract = f"fy {contract}" if contract in SERIES else contract
        arguments = tuple(rest)
    read = tuple(
        _READ[shape](chain, value) for shape, value in zip(shapes.split(), arguments, strict=True)
    )
    if kind == "poke":
        read = (*read, 0)
    return chain[contract], function, read


def address(chain: Chain, who: str) -> int:
    """Address of a role, of a contract by its name in the model, of a token."""
    name = {"ladle": "Ladle", "witch": "Witch"}.get(who, who)
    if name in chain.contracts:
        return chain[name].address
    return chain.role(name)


def _token(chain: Chain, name: str) -> int:
    return chain[f"fy {name}" if name in SERIES else name].address


def vault_id(chain: Chain, name: str) -> int:
    """Id of a vault's name, as the contracts gave it."""
    if name == "cache":
        return 0
    known = chain.contracts.get(name)
    return known.address if known is not None else NOWHERE


_READ: dict[str, Callable[[Chain, Any], Any]] = {
    "n": lambda chain, value: value,
    "v": vault_id,
    "id": lambda chain, value: bytes6(value),
    "id32": lambda chain, value: bytes32(value),
    "who": address,
    "t": _token,
}


def _batch(chain: Chain, calls: tuple[Any, ...]) -> Call:
    encoded = []
    for kind, *arguments in calls:
        contract, function, read = _from_table(chain, kind, tuple(arguments))
        encoded.append(contract.encode(function, read))
    return chain["Ladle"], "batch", (encoded,)


def _set_price(chain: Chain, arguments: tuple[Any, ...]) -> Call:
    base, ilk, price = arguments
    return chain["spot"], "set", (bytes32(ilk), bytes32(base), price)


def _set_ratio(chain: Chain, arguments: tuple[Any, ...]) -> Call:
    base, ilk, ratio = arguments
    oracle = chain["spot"].address
    return chain["Cauldron"], "setSpotOracle", (bytes6(base), bytes6(ilk), oracle, ratio)


def _set_line(chain: Chain, arguments: tuple[Any, ...]) -> Call:
    base, ilk, *rest = arguments
    return chain["Witch"], "setLineAndLimit", (bytes6(ilk), bytes6(base), *rest)


def _intrude(chain: Chain, arguments: tuple[Any, ...]) -> Call:
    contract, function, values = _INTRUSIONS[arguments[0]]
    return chain[contract], function, values


_SPECIAL: dict[str, Callable[[Chain, tuple[Any, ...]], Call]] = {
    "batch": _batch,
    "set_price": _set_price,
    "set_ratio": _set_ratio,
    "set_line": _set_line,
    "intrude": _intrude,
}
