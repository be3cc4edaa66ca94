"""A market and its traders for load and soak: the sandbox's configuration, thousands of accounts.

Parameters are those of ``configs/local.toml``, quantised as a deployment would; depth and caps are
multiplied by ``DEPTH``, because tens of thousands of accounts would otherwise trade in a market
made for a handful, where the liquidity charge exceeds the positions. Two expiries of five strikes:
69 instruments, so that a liquidator's 128 entries are enough for whatever it takes over.

Σ of the sizes of every instrument is zero: ``MAKERS`` accounts with much equity hold the other
side. Cash, collateral and open interest add up to the vault's totals, so the identities of the
ledger hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Final

from risk.chain.node import project_root
from risk.deploy.config import DeployConfig, load_config
from risk.deploy.quantise import quantise
from risk.diff.plumbline.world import (
    CALL,
    DAY,
    FIRST_FEED,
    FIRST_TOKEN,
    FUTURE,
    PERP,
    PUT,
    instrument,
)
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, Bucket, Collateral, Feed, Linear, Option, State, Underlying
from risk.vector import exact
from risk.vector.accounts import AccountBatch
from risk.vector.market import MarketTable

WAD: Final = 10**18
INDEX_ONE: Final = 10**15
DEPTH: Final = 200
MAKERS: Final = 20
EXPIRY_DAYS: Final = (7, 30)
MONEYNESS: Final = tuple(Decimal(x) for x in ("0.8", "0.9", "1", "1.1", "1.2"))
PATH_ASSET: Final = {"BTC": 0, "ETH": 1, "LINK": 2}  # column of the path; SOL stands for LINK
INSURANCE_WAD: Final = 2_000_000 * WAD
TRADER, MAKER, KEEPER = 0x7A << 152, 0x3A << 152, 0x6B << 152
FEED_SCALE: Final = 10**8
FEED_AGE: Final = 120  # at the start; listing and the first snapshot came later


@dataclass
class Town:
    """State with everybody in it, the feeds of its underlyings, and who is who."""

    state: State
    feeds: dict[int, Feed]
    now: int
    names: list[str]
    traders: list[int]
    makers: list[int]

    def answer(self, u: int, ratios: Sequence[float]) -> int:
        """What the feed of ``u`` shows at these ratios of the path (8 decimals)."""
        ratio = ratios[PATH_ASSET[self.names[u]]]
        return max(1, round(self.feeds[FIRST_FEED + u].answer * ratio))


def build(seed: int, accounts: int, now: int, config: Path | None = None) -> Town:
    """The town of a seed. Traders have E/MM between 1.08 and 5, log-uniform."""
    settings = load_config(config or project_root() / "configs" / "local.toml")
    state, feeds = _market(settings, now)
    names = [u.name for u in settings.underlyings]
    rng = Random(f"town {seed}")
    traders = {TRADER + (i << 8): _trader(rng, state) for i in range(accounts)}
    makers = _makers(list(traders.values()))
    held = {**traders, **{MAKER + (i << 8): a for i, a in enumerate(makers)}}
    _fund(rng, state, held, set(traders))
    state.accounts = held
    totals(state)
    return Town(state, feeds, now, names, list(traders), [n for n in held if n not in traders])


def add_accounts(town: Town, cash: dict[int, int]) -> None:
    """Further accounts with nothing but cash (WAD): those of the keepers."""
    for number, amount in cash.items():
        town.state.accounts[number] = Account(amount, interest_index=INDEX_ONE)
    totals(town.state)


def totals(state: State) -> None:
    """What the vault keeps of sums over its accounts."""
    accounts = state.accounts.values()
    state.supply_wad = sum(a.cash_wad for a in accounts if a.cash_wad > 0)
    state.borrow_wad = -sum(a.cash_wad for a in accounts if a.cash_wad < 0)
    pools = sum(u.pnl_pool_wad for u in state.underlyings)
    state.cash_held_wad = (
        state.supply_wad - state.borrow_wad + state.insurance_wad + state.interest_wad + pools
    )
    for j, collateral in enumerate(state.collaterals):
        collateral.total_held = sum(a.collateral[j] for a in accounts)
    interest: dict[int, int] = {}
    for a in accounts:
        held = [(x.instrument, x.size_wad) for x in a.linear]
        for instrument_, size in held + [(y.instrument, y.size_wad) for y in a.options]:
            if size > 0:
                interest[instrument_] = interest.get(instrument_, 0) + size
    state.open_interest = {}
    for u, underlying in enumerate(state.underlyings):
        underlying.open_interest_wad = sum(n for i, n in interest.items() if i >> 28 == u)
    state.open_interest = interest


# ── market ───────────────────────────────────────────────────────────────────────────────────────


def _market(settings: DeployConfig, now: int) -> tuple[State, dict[int, Feed]]:
    params = _deepened(quantise(settings))
    state = State(owner=0xAD << 152, cash_token=0xC0 << 152, cash_decimals=settings.cash.decimals)
    state.params, state.insurance_wad, state.interest_time = params, INSURANCE_WAD, now
    feeds: dict[int, Feed] = {}
    for u, item in enumerate(settings.underlyings):
        assert item.feed.price is not None
        answer = int(item.feed.price * FEED_SCALE)
        price = answer * WAD // FEED_SCALE
        feeds[FIRST_FEED + u] = Feed(8, answer, now - FEED_AGE)
        state.underlyings.append(
            Underlying(
                FIRST_FEED + u, 8, price, 1, now,
                confidence_bps=10, report_nonce=1, feed_updated_at=now - FEED_AGE, report_time=now,
                stable_price_wad=price, funding_time=now, previous_price_wad=price,
                previous_time=now,
            )
        )  # fmt: skip
        for expiry in item.expiries:
            if expiry.in_days not in EXPIRY_DAYS or expiry.slice is None:
                continue
            s = expiry.slice
            state.buckets[u << 16 | now // DAY + expiry.in_days] = Bucket(
                int(s.forward_ratio * WAD),
                int(s.discount * WAD),
                now,
                True,
                [price * int(m * 100) // 100 for m in MONEYNESS],
                *(int(x * 10**9) for x in (s.a, s.b, s.rho, s.m, s.sigma)),
            )
    names = [u.name for u in settings.underlyings]
    for j, token in enumerate(settings.collaterals):
        state.collaterals.append(
            Collateral(FIRST_TOKEN + j, token.token.decimals, names.index(token.underlying))
        )
    return state, feeds


def _deepened(params: RiskParams) -> RiskParams:
    """Depth and caps of every underlying and collateral ``DEPTH`` times as large."""
    return replace(
        params,
        underlyings=tuple(
            replace(
                u,
                depth_wad=u.depth_wad * DEPTH,
                oi_cap_wad=u.oi_cap_wad * DEPTH,
                position_cap_wad=u.position_cap_wad * DEPTH,
            )
            for u in params.underlyings
        ),
        collaterals=tuple(replace(c, cap=c.cap * DEPTH) for c in params.collaterals),
    )


# ── traders ──────────────────────────────────────────────────────────────────────────────────────


def _trader(rng: Random, state: State) -> Account:
    """One to three positions in each of one or two underlyings; more long than short."""
    out = Account(collateral=[0] * 16)
    for u in rng.sample(range(len(state.underlyings)), rng.choice((1, 1, 2))):
        price = state.underlyings[u].price_wad
        days = [key & 0xFFFF for key in state.buckets if key >> 16 == u]
        notional = math.exp(rng.uniform(math.log(5e3), math.log(5e5)))
        seen: set[int] = set()
        for _ in range(rng.randint(1, 3)):
            kind = rng.choices((PERP, FUTURE, CALL, PUT), (55, 15, 15, 15))[0]
            day = rng.choice(days)
            strike = rng.randrange(len(MONEYNESS)) if kind >= CALL else 0
            number = instrument(u, kind, 0 if kind == PERP else day, strike)
            if number in seen:
                continue
            seen.add(number)
            size = int(notional * rng.uniform(0.3, 1) * 1e9) * 10**27 // price
            size += rng.randrange(10**9)
            bearish = rng.random() < (0.5 if kind == CALL else 0.6 if kind == PUT else 0.28)
            size = -size if bearish else size
            if kind >= CALL:
                out.options.append(Option(number, size))
            else:
                entry = price * rng.randint(970, 1030) // 1000
                out.linear.append(Linear(number, size, -size * entry // WAD))
        if rng.random() < 0.3:
            j = next(j for j, c in enumerate(state.collaterals) if c.underlying == u)
            worth = int(notional * rng.uniform(0.05, 0.3) * 1e9) * 10**9
            out.collateral[j] += worth * 10 ** state.collaterals[j].decimals // price
    return out


def _makers(traders: Sequence[Account]) -> list[Account]:
    """The other side of everything, in equal shares; what does not divide goes to the first."""
    sizes: dict[int, int] = {}
    quotes: dict[int, int] = {}
    for a in traders:
        for linear in a.linear:
            sizes[linear.instrument] = sizes.get(linear.instrument, 0) - linear.size_wad
            quotes[linear.instrument] = quotes.get(linear.instrument, 0) - linear.quote_wad
        for option in a.options:
            sizes[option.instrument] = sizes.get(option.instrument, 0) - option.size_wad
    out = [Account(collateral=[0] * 16) for _ in range(MAKERS)]
    for number, size in sorted(sizes.items()):
        quote = quotes.get(number, 0)
        for i, a in enumerate(out):
            part = size // MAKERS + (size % MAKERS if i == 0 else 0)
            share = quote // MAKERS + (quote % MAKERS if i == 0 else 0)
            if not part:
                continue
            if number >> 26 & 3 >= CALL:
                a.options.append(Option(number, part))
            else:
                a.linear.append(Linear(number, part, share))
    return out


def _fund(rng: Random, state: State, accounts: dict[int, Account], traders: set[int]) -> None:
    """Cash such that E/MM is what was drawn; the makers get 8."""
    totals_of = State(**vars(state))
    totals_of.accounts = accounts
    totals(totals_of)  # the liquidity charge of IM reads the open interest
    table = MarketTable.from_state(state)
    for a in accounts.values():
        a.cash_wad = -1  # who owes nothing has no requirement; nearly all will owe
    batch = AccountBatch.from_accounts(table, list(accounts), list(accounts.values()))
    m = exact.margins(table, batch, state)
    if m.errors:
        raise next(iter(m.errors.values()))
    for (number, a), equity, mm in zip(
        accounts.items(), m.values("equity"), m.values("mm"), strict=True
    ):
        ratio = math.exp(rng.uniform(math.log(1.08), math.log(5))) if number in traders else 8.0
        a.cash_wad += mm * int(ratio * 10**6) // 10**6 - equity
        a.interest_index = INDEX_ONE if a.cash_wad else 0
