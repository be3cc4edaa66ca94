"""The state of both sides as the same names in the same order, which is that of ``Lens.read``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from risk.targets.yield_v2.cauldron import Vault
from risk.targets.yield_v2.model import Model
from risk.targets.yield_v2.names import ASSETS, OTHERS, ROLES, SERIES
from risk.targets.yield_v2.rates import Source
from risk.targets.yield_v2.tokens import Token
from risk.targets.yield_v2.witch import Auction, Limits, Line

_VAULT = ("owner", "series", "ilk", "art", "ink")
_AUCTION = ("owner", "start", "base", "ink", "art", "auctioneer", "ilk", "series")
_PAIR = (
    *("debt.max", "debt.min", "debt.dec", "debt.sum", "ratio", "price"),
    *("line.duration", "line.vault", "line.collateral", "limit.max", "limit.sum"),
)
_PAIRS = [(b, i) for b in ASSETS for i in ASSETS if b != i or b == ASSETS[0]]


@lru_cache(maxsize=64)
def names(vaults: int) -> tuple[str, ...]:
    """Names of the words for a number of vaults."""
    return tuple(_names(vaults))


def _names(vaults: int) -> Iterator[str]:
    yield from ("fee", "reward")
    yield from (f"protected[{r}]" for r in ROLES)
    for asset in ASSETS:
        yield from (f"{asset}.supply", f"{asset}.stored")
        yield from (f"{asset}.balance[{who}]" for who in (*ROLES, *OTHERS))
        for role in ROLES:
            yield f"{asset}.stopped[{role}]"
            yield from (f"{asset}.allowance[{role}, {to}]" for to in ("ladle", "join"))
        for kind in ("RATE", "CHI"):
            yield from (f"{asset}.{kind}.{part}" for part in ("per_second", "value", "updated"))
    for series in SERIES:
        yield from (f"{series}.{part}" for part in ("maturity", "rate", "chi", "supply"))
        yield from (f"{series}.balance[{who}]" for who in (*ROLES, *OTHERS))
        for role in ROLES:
            yield from (f"{series}.allowance[{role}, {to}]" for to in ("ladle", "witch", *ROLES))
    for base, ilk in _PAIRS:
        yield from (f"{base}/{ilk}.{part}" for part in _PAIR)
    for number in range(vaults):
        yield from (f"V{number}.{part}" for part in _VAULT)
        yield from (f"V{number}.auction.{part}" for part in _AUCTION)


def words(model: Model) -> list[int]:
    """The model's words."""
    out = [model.ladle.fee, model.witch.reward]
    out += [int(role in model.witch.protected) for role in ROLES]
    for asset in ASSETS:
        out += _asset(model, asset)
    for series in SERIES:
        out += _series(model, series)
    for base, ilk in _PAIRS:
        out += _pair(model, base, ilk)
    for vault in model.built:
        out += _vault(model, vault)
    return out


def _balances(token: Token) -> list[int]:
    return [token.balance(who) for who in (*ROLES, *OTHERS)]


def _asset(model: Model, asset: str) -> list[int]:
    token, join = model.tokens[asset], model.joins.get(asset)
    out = [token.supply, join.stored if join else 0, *_balances(token)]
    for role in ROLES:
        out += [int(role in token.stopped), token.allowance(role, "ladle")]
        out.append(token.allowance(role, join.name if join else "nobody"))
    for kind in ("RATE", "CHI"):
        source = model.rates.sources.get((asset, kind), Source(0, 0, 0))
        out += [source.per_second, source.accumulated, source.updated]
    return out


def _series(model: Model, series: str) -> list[int]:
    token = model.fy_tokens[series]
    rate = model.cauldron.rates_at_maturity.get(series, 0)
    out = [token.maturity, rate, token.chi_at_maturity, token.supply, *_balances(token)]
    for role in ROLES:
        out += [token.allowance(role, spender) for spender in ("ladle", "witch", *ROLES)]
    return out


def _pair(model: Model, base: str, ilk: str) -> list[int]:
    return [
        *model.cauldron.debts(base, ilk),
        model.cauldron.ratios.get((base, ilk), 0),
        model.spot.prices.get((ilk, base), 0),
        *model.witch.lines.get((ilk, base), Line()),
        *model.witch.limits.get((ilk, base), Limits()),
    ]


def _vault(model: Model, vault: int) -> list[int]:
    ids, entry = model.ids, model.cauldron.vaults.get(vault, Vault())
    return [
        ids[entry.owner],
        ids[entry.series],
        ids[entry.ilk],
        *model.cauldron.balance(vault),
        *model.auction_words(model.witch.auctions.get(vault, Auction())),
    ]
