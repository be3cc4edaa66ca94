"""Random initial situations, the contracts that they deploy, and the model of the same state."""

from __future__ import annotations

from typing import Any

from risk.diff.kit.adapter import World
from risk.diff.kit.chain import Chain, Contract
from risk.diff.kit.draw import Draw
from risk.diff.kit.engine import GENESIS_TIME
from risk.targets.yield_v2.cauldron import Cauldron, Debt, Series, Vault
from risk.targets.yield_v2.fixed import UINT32_MAX, UINT256_MAX, WAD
from risk.targets.yield_v2.ladle import Ladle
from risk.targets.yield_v2.model import Model
from risk.targets.yield_v2.names import (
    ASSETS,
    BASES,
    FY_NAMES,
    ILKS,
    JOINED,
    OTHERS,
    PAIRS,
    ROLES,
    SERIES,
    USERS,
    bytes6,
)
from risk.targets.yield_v2.rates import Rates, Source, Spot
from risk.targets.yield_v2.tokens import FYToken, Join, Token
from risk.targets.yield_v2.witch import Limits, Line, Witch

DAY = 86_400
FUNDS = 10**24  # of each asset for each user
#: vaults that exist at the start: owner, series, collateral
VAULTS = (
    ("alice", "S0", "A1"),
    ("bob", "S0", "A2"),
    ("bob", "S1", "A1"),
    ("carol", "S2", "A0"),
    ("alice", "S0", "A3"),
)
#: functions that governance and the contracts may call; an intruder may not
CORE = {
    "Cauldron": ("build", "destroy", "tweak", "give", "stir", "pour", "slurp", "roll"),
    "Join": ("join", "exit"),
    "FYToken": ("mint", "burn"),
}
GOVERNED = {
    "Cauldron": ("setSpotOracle", "setDebtLimits", "give", "roll"),
    "Witch": ("setLineAndLimit", "setProtected", "setAuctioneerReward"),
    "Ladle": ("setFee",),
    "rates": ("updatePerSecondRate",),
}


def draw_world(draw: Draw) -> World:
    """Parameters of a world. Strings name pairs (``A0/A1``: base and collateral)."""
    return {
        "maturity": [draw.choice((30 * DAY, draw.integer(DAY, 400 * DAY))) for _ in SERIES],
        "rates": {f"{b}/{k}": _rate(draw) for b in BASES for k in ("RATE", "CHI")},
        "pairs": {f"{base}/{ilk}": _pair(draw, ilk) for base, ilk in PAIRS},
        "fee": draw.choice((0, 0, 10**8, draw.integer(1, 10**12))),
        "reward": draw.choice((10**16, 0, WAD, draw.integer(0, WAD))),
        "late": draw.chance(6),  # a sequence that goes past 2106
    }


def _rate(draw: Draw) -> dict[str, int]:
    """Growth a second of up to about 3 % a day; now and then it shrinks to nothing or explodes."""
    usual = WAD + draw.integer(0, 4 * 10**11)
    return {
        "start": draw.choice((WAD, WAD, draw.integer(1, 10 * WAD))),
        "per_second": draw.choice((usual, usual, usual, usual, WAD, WAD - 10**12)),
    }


def _pair(draw: Draw, ilk: str) -> dict[str, Any]:
    """A pair's price, ratio, debt limits and auction line."""
    return {
        "price": draw.choice((WAD, 20 * WAD, draw.integer(WAD // 1000, 1000 * WAD))),
        "ratio": 0 if ilk == "A3" else draw.integer(10**6, 3 * 10**6, (1_500_000,)),
        "max": draw.choice((10**8, 10**8, 10**8, draw.integer(0, 10**6))),
        "min": draw.choice((0, 1, 100)),
        "dec": draw.choice((18, 18, 18, 18, 18, 18, 18, 15, 0)),
        "duration": draw.choice((3600, 1, draw.integer(0, UINT32_MAX), UINT32_MAX)),
        "part": draw.choice((WAD // 2, WAD, draw.integer(WAD // 100, WAD))),
        "start": draw.choice((WAD // 2, draw.integer(WAD // 100, WAD))),
        "limit": draw.choice((10**30, 10**30, 1, draw.integer(0, 10**24))),
    }


# ── contracts ────────────────────────────────────────────────────────────────────────────────────


def grant(chain: Chain, contract: Contract, names: tuple[str, ...], to: int) -> None:
    """Permissions of Yield's AccessControl are function selectors."""
    roles = [int.from_bytes(contract.function(n).selector, "big") for n in names]
    chain.must(contract, "grantRoles", roles, to)


def deploy(chain: Chain, world: World) -> None:
    """The whole protocol, funds and approvals, the first vaults."""
    me = chain.role("deployer")
    cauldron = chain.deploy("Cauldron")
    ladle = chain.deploy("Ladle", cauldron.address, 0)
    witch = chain.deploy("Witch", cauldron.address, ladle.address)
    rates = chain.deploy("AccumulatorMultiOracle", name="rates")
    spot = chain.deploy("SpotOracle", name="spot")
    grant(chain, cauldron, (*CORE["Cauldron"], *_SETUP["Cauldron"]), me)
    grant(chain, ladle, _SETUP["Ladle"], me)
    grant(chain, witch, GOVERNED["Witch"], me)
    grant(chain, rates, ("setSource",), me)
    grant(chain, cauldron, CORE["Cauldron"], ladle.address)
    grant(chain, cauldron, ("give", "slurp"), witch.address)
    for name, functions in GOVERNED.items():
        grant(chain, chain[name], functions, chain.role("owner"))
    _deploy_assets(chain, world)
    _deploy_series(chain, world)
    for base, ilk in PAIRS:
        _set_pair(chain, base, ilk, world["pairs"][f"{base}/{ilk}"])
    for series, ilk in ILKS:
        chain.must(cauldron, "addIlks", bytes6(series), [bytes6(ilk)])
    chain.must(ladle, "setFee", world["fee"])
    chain.must(witch, "setAuctioneerReward", world["reward"])
    _fund(chain)
    for number, (owner, series, ilk) in enumerate(VAULTS):
        built = chain.must(ladle, "build", bytes6(series), bytes6(ilk), number, sender=owner)
        remember_vault(chain, built[0])
    chain.deploy(
        "Lens",
        [c.address for c in (cauldron, ladle, witch, rates, spot)],
        [bytes6(a) for a in ASSETS],
        [bytes6(s) for s in SERIES],
        [chain.role(r) for r in ROLES],
        [chain[name].address for name in OTHERS_ON_CHAIN],
    )


_SETUP = {
    "Cauldron": (
        *("addAsset", "setDebtLimits", "setLendingOracle"),
        *("setSpotOracle", "addSeries", "addIlks"),
    ),
    "Ladle": ("addJoin", "addToken", "setFee"),
}
OTHERS_ON_CHAIN = ("Ladle", "Witch", *OTHERS[2:])


def remember_vault(chain: Chain, vault: int) -> None:
    """Give a vault's id the next name."""
    name = f"V{count_vaults(chain)}"
    chain.contracts[name] = Contract(name, vault, {})


def count_vaults(chain: Chain) -> int:
    """Number of vaults that were built."""
    return sum(1 for name in chain.contracts if name[0] == "V")


def _deploy_assets(chain: Chain, world: World) -> None:
    for asset in ASSETS:
        token = chain.deploy("Token", asset, name=asset)
        chain.must(chain["Cauldron"], "addAsset", bytes6(asset), token.address)
    for asset in JOINED:
        join = chain.deploy("Join", chain[asset].address, name=f"join {asset}")
        chain.must(chain["Ladle"], "addJoin", bytes6(asset), join.address)
        for user in ("Ladle", "Witch"):
            grant(chain, join, CORE["Join"], chain[user].address)
    for base in BASES:
        for kind in ("RATE", "CHI"):
            rate = world["rates"][f"{base}/{kind}"]
            ids = bytes6(base), bytes6(kind)
            chain.must(chain["rates"], "setSource", *ids, rate["start"], rate["per_second"])
        oracle = chain["rates"].address
        chain.must(chain["Cauldron"], "setLendingOracle", bytes6(base), oracle)


def _deploy_series(chain: Chain, world: World) -> None:
    for (series, base), wait in zip(SERIES.items(), world["maturity"], strict=True):
        join = chain[f"join {base}"]
        oracle, maturity = chain["rates"].address, GENESIS_TIME + wait
        arguments = bytes6(base), oracle, join.address, maturity, series, series
        token = chain.deploy("FYToken", *arguments, name=f"fy {series}")
        for user in ("Ladle", "Witch"):
            grant(chain, token, CORE["FYToken"], chain[user].address)
        grant(chain, join, CORE["Join"], token.address)
        chain.must(chain["Cauldron"], "addSeries", bytes6(series), bytes6(base), token.address)
        chain.must(chain["Ladle"], "addToken", token.address, True)


def _set_pair(chain: Chain, base: str, ilk: str, pair: dict[str, Any]) -> None:
    ids = bytes6(base), bytes6(ilk)
    spot, cauldron, witch = chain["spot"], chain["Cauldron"], chain["Witch"]
    word = [int(i) << 208 for i in ids]  # bytes6 as bytes32
    chain.must(spot, "set", word[1], word[0], pair["price"])
    chain.must(cauldron, "setSpotOracle", *ids, spot.address, pair["ratio"])
    chain.must(cauldron, "setDebtLimits", *ids, pair["max"], pair["min"], pair["dec"])
    line = pair["duration"], pair["part"], pair["start"], pair["limit"]
    chain.must(witch, "setLineAndLimit", ids[1], ids[0], *line)


def _fund(chain: Chain) -> None:
    for user in USERS:
        for asset in ASSETS:
            chain.must(chain[asset], "mint", chain.role(user), FUNDS)
        for asset in JOINED:
            for spender in ("Ladle", f"join {asset}"):
                to = chain[spender].address
                chain.must(chain[asset], "approve", to, UINT256_MAX, sender=user)
        for name in FY_NAMES:
            for spender in ("Ladle", "Witch"):
                to = chain[spender].address
                chain.must(chain[name], "approve", to, UINT256_MAX, sender=user)


# ── model ────────────────────────────────────────────────────────────────────────────────────────


def model_of(chain: Chain, world: World) -> Model:
    """The same state in Python; addresses and ids come from the chain, amounts do not."""
    ids = {"": 0, **{name: bytes6(name) for name in (*ASSETS, *SERIES)}}
    ids.update({role: chain.role(role) for role in ROLES})
    for name, known in zip(OTHERS, OTHERS_ON_CHAIN, strict=True):
        ids[name] = chain[known].address
    rates = Rates(
        {
            (base, kind): Source(rate["per_second"], rate["start"], GENESIS_TIME)
            for base in BASES
            for kind in ("RATE", "CHI")
            for rate in [world["rates"][f"{base}/{kind}"]]
        }
    )
    tokens = {asset: _token(asset) for asset in ASSETS}
    joins = {asset: Join(f"join {asset}", tokens[asset]) for asset in JOINED}
    fy_tokens = {
        series: FYToken(
            allowances={(u, s): UINT256_MAX for u in USERS for s in ("ladle", "witch")},
            name=f"fy {series}",
            base=base,
            maturity=GENESIS_TIME + wait,
        )
        for (series, base), wait in zip(SERIES.items(), world["maturity"], strict=True)
    }
    cauldron = _cauldron(rates, fy_tokens, world)
    ladle = Ladle(cauldron, rates, tokens, joins, fy_tokens, ids, world["fee"])
    witch = Witch(cauldron, joins, fy_tokens, ids, world["reward"])
    for base, ilk in PAIRS:
        pair = world["pairs"][f"{base}/{ilk}"]
        witch.lines[ilk, base] = Line(pair["duration"], pair["part"], pair["start"])
        witch.limits[ilk, base] = Limits(pair["limit"])
    model = Model(ids, rates, cauldron.spot, tokens, joins, fy_tokens, cauldron, ladle, witch)
    for number, (owner, series, ilk) in enumerate(VAULTS):
        vault = chain[f"V{number}"].address
        model.built.append(vault)
        cauldron.vaults[vault] = Vault(owner, series, ilk)
        ladle.cached = vault
    return model


def _token(asset: str) -> Token:
    spenders = ("ladle", f"join {asset}") if asset in JOINED else ()
    return Token(
        balances=dict.fromkeys(USERS, FUNDS),
        allowances={(u, s): UINT256_MAX for u in USERS for s in spenders},
        supply=FUNDS * len(USERS),
    )


def _cauldron(rates: Rates, fy_tokens: dict[str, FYToken], world: World) -> Cauldron:
    pairs = {pair: world["pairs"][f"{pair[0]}/{pair[1]}"] for pair in PAIRS}
    return Cauldron(
        rates=rates,
        spot=Spot({(ilk, base): p["price"] for (base, ilk), p in pairs.items()}),
        series={s: Series(t.base, t.maturity, t.name) for s, t in fy_tokens.items()},
        ilks=frozenset(ILKS),
        ratios={pair: p["ratio"] for pair, p in pairs.items()},
        debt={pair: Debt(p["max"], p["min"], p["dec"]) for pair, p in pairs.items()},
    )
