"""What the incidents share: who is who, the defended parameters, a keeper, and the loss.

An *attack* is a function of a market (model and chain side by side, or the model alone) that
returns a ``Loss``.  Each incident runs it twice: with the defence on both sides, without it on the
model alone.  ``stated`` compares both figures with the table in ``docs/incidents.md``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from eth_account.signers.local import LocalAccount

from risk.chain.node import project_root
from risk.exact.custody import custody_logic
from risk.exact.errors import ModelRevert
from risk.exact.margin import initial_margin
from risk.exact.margin import instrument_id as iid
from risk.exact.params.risk_params import RiskParams
from risk.exact.trading.order_hash import Order
from risk.exact.waterfall import insurance_lib
from tests.market.market_twin import key_address
from tests.support.vault_fixtures import PRICES, Market, params
from tests.support.vault_twin import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    DAY,
    OWNER,
    USD,
    WAD,
    account,
    underlying_params,
)
from tests.waterfall.support import adl, plan

PERP = iid.encode(0, iid.PERP, 0, 0)
KEEPER = account(CAROL)
PRICE = PRICES[0]
UNIT = 10**12  # WAD in one native unit of cash
NO_LIMIT = 2**127
HOUR = 3_600


@dataclass
class Loss:
    """What others than the attacker lost, WAD: the insurance fund, honest counterparties by
    haircuts, lenders by the index, a backstop by selling below what it paid, owners by a
    liquidation at a price that was none, and what nobody has paid yet.
    """

    insurance: int = 0
    haircuts: int = 0
    lenders: int = 0
    backstop: int = 0
    owners: int = 0
    unpaid: int = 0

    @property
    def total(self) -> int:
        """WAD."""
        return sum(astuple(self))

    def __add__(self, other: Loss) -> Loss:
        return Loss(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def usd(self) -> int:
        """Whole USD, rounded up."""
        return -(-self.total // WAD)


# ------------------------------------------------------------------------------------ parameters

GUARD_U = {
    "stable_rate_bps_per_day": 500,
    "stable_band_bps": 200,
    "jump_bps": 1_000,
    "oi_cap_wad": 1_000 * WAD,
    "position_cap_wad": 500 * WAD,
}
GUARD = {
    "breaker_seconds": HOUR,
    "insurance_event_cap_wad": 20_000 * WAD,
    "insurance_period_cap_wad": 40_000 * WAD,
    "insurance_period_seconds": 86_400,
    "unrealised_cap_usd": 1_000,
    "cash_withdraw_cap_wad": 100_000 * WAD,
    "withdraw_period_seconds": 86_400,
}


def without_limits(**underlying: Any) -> RiskParams:
    """Every limit of the tail is off."""
    item = underlying_params(**underlying)
    return replace(params(), underlyings=(item, item))


def guarded(tail: dict[str, Any] | None = None, **underlying: Any) -> RiskParams:
    """The limits that the incidents are run against."""
    item = underlying_params(**{**GUARD_U, **underlying})
    return replace(params(**{**GUARD, **(tail or {})}), underlyings=(item, item))


# --------------------------------------------------------------------------------------- actions


def name(outcome: Any) -> str:
    """Of the error; empty where the action succeeded."""
    return outcome.name if isinstance(outcome, ModelRevert) else ""


def deposit(m: Market, key: LocalAccount, usd: int, sub: int = 0) -> int:
    """Cash of the trader; returns the account."""
    assert m.do(key, "deposit", account(key, sub), m.cash, usd * USD) is None
    return account(key, sub)


def insure(m: Market, usd: int) -> None:
    """Dave pays into the insurance fund."""
    assert m.do(DAVE, "fundInsurance", usd * USD) is None


def move(m: Market, ether: float, bitcoin: float = PRICES[1]) -> None:
    """The feeds go there, and whoever cares takes the snapshots that are due."""
    for u, price in enumerate((ether, bitcoin)):
        m.set_price(u, price)
        if name(m.do(OWNER, "refresh", [u])) == "RefreshNotNeeded":
            m.set_price(u, price)


def trade(
    m: Market, buyer: Sequence[Any], seller: Sequence[Any], size: int, price: int, perp: int = PERP
) -> Any:
    """Perp between (key, sub-account) and (key, sub-account) at ``price`` (WAD)."""
    buy: Order = m.order(buyer[0], perp, size, price, sub=buyer[1])
    sell: Order = m.order(seller[0], perp, -size, price, sub=seller[1])
    return m.fill(buy, sell, size, price)


def most(m: Market, account_id: int) -> int:
    """Native units of cash that margin and liquidity let go, at the snapshots; rounded down."""
    margin, p = m.model.margin(account_id), m.state.params
    assert p is not None
    spare = margin.equity - max(margin.im, p.min_margin_wad)
    if p.unrealised_cap_usd:
        profit = initial_margin.unrealised_profit(m.state, m.state.accounts[account_id])
        spare -= max(0, profit - p.unrealised_cap_usd * WAD)
    return max(0, min(spare, custody_logic.liquidity(m.state))) // UNIT


def take_out(m: Market, key: LocalAccount, sub: int = 0) -> int:
    """Withdraw as much cash as goes: all that margin lets go, by halving where a limit of the
    period is in the way.  Returns native units.  One unit of cash more is refused.
    """
    owned, me, taken = account(key, sub), key_address(key), 0
    step = most(m, owned)
    while step >= USD:
        got = m.do(key, "withdraw", owned, m.cash, step, me)
        if isinstance(got, ModelRevert):
            assert got.name in ("WithdrawLimitExceeded", "OracleNotUsable"), got
            if got.name == "OracleNotUsable":
                break
            step = min(step // 2, got.args[1] // UNIT)
            continue
        taken += got
        step = min(step, most(m, owned))
    refused = name(m.do(key, "withdraw", owned, m.cash, 2 * USD, me))
    assert refused in (
        "InsufficientMargin",
        "InsufficientLiquidity",
        "WithdrawLimitExceeded",
        "OracleNotUsable",
    )
    return taken


# ---------------------------------------------------------------------------------------- keeper


def holders(m: Market, account_id: int, instrument: int) -> list[int]:
    """Everybody on the other side, ascending."""
    sizes = {i: size_of(m, i, instrument) for i in sorted(m.state.accounts)}
    own = sizes[account_id]
    return [i for i, size in sizes.items() if size * own < 0]


def size_of(m: Market, account_id: int, instrument: int = PERP) -> int:
    """Signed size of a perp or future."""
    a = m.state.accounts.get(account_id)
    held = [] if a is None else a.linear
    return sum(x.size_wad for x in held if x.instrument == instrument)


def clean_up(m: Market, ids: Collection[int], attackers: Collection[int]) -> Loss:
    """What keepers do about ``ids``: liquidate where somebody is paid for it, else deleverage, else
    socialise.  Haircuts of attackers are nobody's loss.
    """
    loss, fund = Loss(), m.state.insurance_wad
    for i in ids:
        if liquidate(m, i) != "AccountHealthy":
            loss.haircuts += _deleverage(m, i, attackers)
            loss.lenders += _socialise(m, i)
        loss.unpaid += max(0, -m.model.margin(i).mark_equity)
    loss.insurance = fund - m.state.insurance_wad
    return loss


def liquidate(m: Market, account_id: int, fraction: int = WAD) -> str:
    """A slice, where the account or the fund pays for it; the error's name."""
    quote, p = m.model.liquidation_quote(account_id), m.state.params
    assert p is not None
    if -quote.full_price_wad > insurance_lib.available(m.state, m.world, p):
        return "NotWorthIt"
    return name(m.do(CAROL, "liquidate", account_id, KEEPER, fraction, NO_LIMIT))


def _deleverage(m: Market, account_id: int, attackers: Collection[int]) -> int:
    """Close every position of a bankrupt account; returns the haircuts of the others."""
    honest = 0
    for x in list(m.state.accounts[account_id].linear):
        if m.model.margin(account_id).mark_equity >= 0:
            break
        ids = holders(m, account_id, x.instrument)
        todo = plan(m, x.instrument, ids, account_id)
        paid = adl(m, x.instrument, ids, todo.theta, account_id)
        if name(paid) == "InsuranceNotExhausted":
            break
        assert paid == sum(todo.haircuts), paid
        honest += sum(h for i, h in zip(ids, todo.haircuts, strict=True) if i not in attackers)
    return honest


def _socialise(m: Market, account_id: int) -> int:
    """Lenders pay a bare debt."""
    a = m.state.accounts[account_id]
    if any(x.size_wad for x in a.linear) or m.model.margin(account_id).mark_equity >= 0:
        return 0
    out = m.do(CAROL, "socialise", account_id)
    assert isinstance(out, int), out
    return out


def wealth(m: Market, ids: Collection[int]) -> int:
    """Σ mark equity of these accounts, and the fund; WAD."""
    return sum(m.model.margin(i).mark_equity for i in ids) + m.state.insurance_wad


# ----------------------------------------------------------------------------------------- table


def stated(incident: str, without: int, with_: int) -> None:
    """The row of ``docs/incidents.md`` says what was computed: whole USD, (without, with)."""
    text = (project_root() / "docs" / "incidents.md").read_text()
    row = re.search(rf"^\| `{incident}` \|(.*)\|$", text, re.M)
    assert row, f"docs/incidents.md has no row `{incident}`: without {without:,}, with {with_:,}"
    cells = [re.sub(r"\D", "", cell) for cell in row[1].split("|")]
    want = [str(without), str(with_)]
    assert want == cells[:2], (
        f"`{incident}`: computed {without:,} and {with_:,}, stated {cells[:2]}"
    )


__all__ = [
    "ALICE",
    "BOB",
    "CAROL",
    "DAVE",
    "DAY",
    "GUARD",
    "GUARD_U",
    "HOUR",
    "KEEPER",
    "NO_LIMIT",
    "OWNER",
    "PERP",
    "PRICE",
    "UNIT",
    "USD",
    "WAD",
    "Loss",
    "account",
    "clean_up",
    "deposit",
    "guarded",
    "insure",
    "key_address",
    "liquidate",
    "move",
    "name",
    "size_of",
    "stated",
    "take_out",
    "trade",
    "wealth",
    "without_limits",
]
