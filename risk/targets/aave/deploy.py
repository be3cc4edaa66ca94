"""The real contracts on a chain: sources, deployment, and the calls of actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from risk.chain.compile import Artifact
from risk.chain.node import project_root
from risk.diff.kit.adapter import Step, World
from risk.diff.kit.artifacts import from_sources
from risk.diff.kit.chain import Chain, Contract, role_address
from risk.targets.aave.admin import ADMIN
from risk.targets.aave.liquidation import TREASURY
from risk.targets.aave.math import MAX
from risk.targets.aave.pool import COVERAGE
from risk.targets.aave.world import HOLDERS, TRADERS, UNLISTED, wealth_of

SOLC = "0.8.37"
EVM_VERSION = "shanghai"
PACKAGE = "node_modules/@aave-dao/aave-v3-origin/src/contracts"
SOURCES = (
    f"{PACKAGE}/instances/PoolInstance.sol",
    f"{PACKAGE}/instances/ATokenInstance.sol",
    f"{PACKAGE}/instances/VariableDebtTokenInstance.sol",
    f"{PACKAGE}/instances/PoolConfiguratorInstance.sol",
    f"{PACKAGE}/misc/AaveOracle.sol",
    f"{PACKAGE}/misc/DefaultReserveInterestRateStrategyV2.sol",
    f"{PACKAGE}/protocol/configuration/PoolAddressesProvider.sol",
    f"{PACKAGE}/protocol/configuration/ACLManager.sol",
    f"{PACKAGE}/helpers/AaveProtocolDataProvider.sol",
    f"{PACKAGE}/mocks/testnet-helpers/TestnetERC20.sol",
    "tests/targets/contracts/aave/PriceFeed.sol",
    "tests/targets/contracts/aave/AaveLens.sol",
)
REMAPPINGS = ("openzeppelin-contracts/=node_modules/@openzeppelin/",)
NO_FALLBACK = NO_REWARDS = BASE_CURRENCY = 0
BASE_UNIT = 10**8

_HOLDERS = [role_address(name) for name in HOLDERS]

#: action -> (contract, function) where that is not the pool's function of the same name
_CONFIGURATOR = {
    "configureReserveAsCollateral": "configureReserveAsCollateral",
    "setReserveBorrowing": "setReserveBorrowing",
    "setReserveActive": "setReserveActive",
    "setReservePause": "setReservePause(address,bool,uint40)",
    "setReserveFreeze": "setReserveFreeze",
    "setReserveLtvzero": "setReserveLtvzero",
    "setReserveFactor": "setReserveFactor",
    "setBorrowCap": "setBorrowCap",
    "setSupplyCap": "setSupplyCap",
    "setLiquidationProtocolFee": "setLiquidationProtocolFee",
}


def compiled() -> dict[str, Artifact]:
    """Artifacts of the package's contracts, compiled once (some 20 s) and then cached."""
    return from_sources(
        project_root(), SOURCES, solc=SOLC, evm_version=EVM_VERSION, remappings=REMAPPINGS
    )


def deploy_market(chain: Chain, world: World) -> None:
    """A whole market: provider, access control, pool and configurator behind their proxies, oracle
    with one feed an asset, and each reserve with its tokens.
    """
    provider = chain.deploy("PoolAddressesProvider", "Plumbline", role_address("deployer"))
    chain.must(provider, "setACLAdmin", role_address("deployer"))
    acl = chain.deploy("ACLManager", provider.address)
    chain.must(provider, "setACLManager", acl.address)
    for admin in ("deployer", ADMIN):
        chain.must(acl, "addPoolAdmin", role_address(admin))
    strategy = chain.deploy("DefaultReserveInterestRateStrategyV2", provider.address)
    implementation = chain.deploy("PoolInstance", provider.address, strategy.address)
    chain.must(provider, "setPoolImpl", implementation.address)
    pool = chain.attach("PoolInstance", chain.view(provider, "getPool"), name="pool")
    implementation = chain.deploy("PoolConfiguratorInstance")
    chain.must(provider, "setPoolConfiguratorImpl", implementation.address)
    configurator = chain.attach(
        "PoolConfiguratorInstance",
        chain.view(provider, "getPoolConfigurator"),
        name="configurator",
    )
    data = chain.deploy("AaveProtocolDataProvider", provider.address)
    chain.must(provider, "setPoolDataProvider", data.address)
    chain.must(provider, "setAddress", b"UMBRELLA".ljust(32, b"\0"), role_address(COVERAGE))
    _list_reserves(chain, world, provider, pool, configurator)
    oracle = chain["AaveOracle"]
    chain.deploy("AaveLens", pool.address, configurator.address, oracle.address)


def _list_reserves(
    chain: Chain, world: World, provider: Contract, pool: Contract, configurator: Contract
) -> None:
    a_token = chain.deploy(
        "ATokenInstance", pool.address, NO_REWARDS, role_address(TREASURY)
    ).address
    debt_token = chain.deploy("VariableDebtTokenInstance", pool.address, NO_REWARDS).address
    tokens, feeds, inputs = [], [], []
    for raw in world["reserves"]:
        asset = raw["asset"]
        token = chain.deploy(
            "TestnetERC20", asset, asset, raw["decimals"], role_address("deployer"), name=asset
        )
        tokens.append(token.address)
        feeds.append(chain.deploy("PriceFeed", raw["price"], name=f"feed {asset}").address)
        names = (f"a{asset}", f"a{asset}", f"d{asset}", f"d{asset}")
        curve = encode_curve(*raw["curve"])
        inputs.append((a_token, debt_token, token.address, *names, b"", curve))
    oracle = chain.deploy(
        "AaveOracle", provider.address, tokens, feeds, NO_FALLBACK, BASE_CURRENCY, BASE_UNIT
    )
    chain.must(provider, "setPriceOracle", oracle.address)
    chain.must(configurator, "initReserves", inputs)
    for raw in world["reserves"]:
        _configure(chain, raw, pool, configurator)
        for n, holder in enumerate(HOLDERS[:-1]):
            token = chain[raw["asset"]]
            amount = wealth_of(world, n, raw)
            chain.must(token, "mint(address,uint256)", role_address(holder), amount)
            chain.must(token, "approve", pool.address, MAX, sender=holder)


def _configure(
    chain: Chain, raw: Mapping[str, Any], pool: Contract, configurator: Contract
) -> None:
    asset = raw["asset"]
    token = chain[asset].address
    chain.attach("ATokenInstance", chain.view(pool, "getReserveAToken", token), name=f"a{asset}")
    debt_token = chain.view(pool, "getReserveVariableDebtToken", token)
    chain.attach("VariableDebtTokenInstance", debt_token, name=f"d{asset}")
    chain.must(configurator, "configureReserveAsCollateral", token, *raw["collateral"])
    chain.must(configurator, "setReserveBorrowing", token, raw["borrowing"])
    chain.must(configurator, "setBorrowCap", token, raw["borrow_cap"])
    chain.must(configurator, "setSupplyCap", token, raw["supply_cap"])
    chain.must(configurator, "setLiquidationProtocolFee", token, raw["fee"])
    if raw["siloed"]:
        chain.must(configurator, "setSiloedBorrowing", token, True)
    chain.must(configurator, "setReserveFactor", token, raw["factor"])
    if not raw["active"]:
        chain.must(configurator, "setReserveActive", token, False)


def encode_curve(*bps: int) -> bytes:
    """abi.encode of the strategy's four rate parameters."""
    return b"".join(value.to_bytes(32, "big") for value in bps)


def call_of(chain: Chain, step: Step) -> tuple[Contract, str, tuple[Any, ...]]:
    """Contract, function and arguments of an action."""
    kind, arguments = step.kind, step.arguments
    if kind == "mintToTreasury":
        mask = int(arguments[0])  # type: ignore[arg-type]
        assets = [raw for i, raw in enumerate(_assets(chain)) if mask >> i & 1]
        return chain["pool"], kind, (assets,)
    asset, rest = str(arguments[0]), arguments[1:]
    if kind in ("approve", "donate"):
        to = chain["pool" if kind == "approve" else f"a{asset}"].address
        return chain[asset], "approve" if kind == "approve" else "transfer", (to, *rest)
    if kind == "setPrice":
        return chain[f"feed {asset}"], "set", rest
    where = tuple(_address(chain, a) if isinstance(a, str) else a for a in rest)
    if kind in ("transfer", "approveDelegation"):
        return chain[("a" if kind == "transfer" else "d") + asset], kind, where
    all_arguments = (_address(chain, asset), *where)
    if kind == "supply":
        return chain["pool"], kind, (*all_arguments, 0)
    if kind == "borrow":
        token, amount, mode, holder = all_arguments
        return chain["pool"], kind, (token, amount, mode, 0, holder)
    if kind == "setReserveInterestRateData":
        curve = encode_curve(*rest)  # type: ignore[arg-type]
        return chain["configurator"], kind, (all_arguments[0], curve)
    if kind in _CONFIGURATOR:
        return chain["configurator"], _CONFIGURATOR[kind], all_arguments
    return chain["pool"], kind, all_arguments


def _assets(chain: Chain) -> list[int]:
    """Underlying tokens in the order of their ids, which is that of the deployment."""
    return [c.address for n, c in chain.contracts.items() if f"feed {n}" in chain.contracts]


def _address(chain: Chain, name: str) -> int:
    """Of a contract or a role; an asset that is not listed has an address without code."""
    if name in chain.contracts:
        return chain[name].address
    return role_address("not listed" if name == UNLISTED else name)


def read(chain: Chain) -> list[int | str]:
    """The lens's words, or one text if it reverted."""
    words = chain.view(chain["AaveLens"], "read", _assets(chain), _HOLDERS, len(TRADERS))
    return [words] if isinstance(words, str) else list(words)
