"""Views of the vault that a sequence reads after each action, besides margins and quotes: the
ledger's and the market's, of one account, one underlying, one expiry and one collateral that change
from action to action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from risk.chain import views
from risk.chain.abi import Function
from risk.diff.adapter import Outcome, Value
from risk.exact.market.report_hash import VolReport
from risk.exact.state import Account, Settlement, State
from risk.exact.trading.order_hash import Order

if TYPE_CHECKING:
    from risk.diff.plumbline.model_session import ModelSession

AT_ONCE = 10  # of about twenty-five
Sample = tuple[str, bytes, list[Any]]


def of(session: ModelSession) -> list[Sample]:
    """(name, calldata, the model's flattened answer), the same for the same state."""
    state, turn = session.state, session.now
    accounts = sorted(state.accounts)
    account = accounts[turn % len(accounts)] if accounts else 0
    calls: list[tuple[str, tuple[Any, ...], Any]] = [
        ("interestState", (), _interest(state)),
        ("vaultMode", (), (state.sequencer_feed, state.wind_down_time)),
        ("accountFlags", (account,), _flags(state, account)),
        ("minNonce", (account,), (state.min_nonce.get(account, 0),)),
        ("totals", (), session.vault.totals()),
        ("listedCounts", (), session.vault.listed_counts()),
    ]
    if state.underlyings:
        u = turn % len(state.underlyings)
        calls += [
            ("underlyingState", (u,), _underlying(state, u)),
            ("pnlPool", (u,), (session.vault.pnl_pool(u),)),
            ("reportStatus", (u,), session.vault.report_status(u)),
            ("snapshot", (u,), ([*vars(session.vault.snapshot(u)).values()],)),
        ]
    ids = session.instruments()
    if ids:
        item = ids[turn % len(ids)]
        calls.append(("instrumentInterest", (item,), (state.open_interest.get(item, 0),)))
    if state.buckets:
        key = sorted(state.buckets)[turn % len(state.buckets)]
        calls.append(("settlement", (key >> 16, key & 0xFFFF), _settlement(state, key)))
    if state.operators:
        pair = sorted(state.operators)[turn % len(state.operators)]
        calls.append(("operatorRights", pair, (state.operators[pair],)))
    calls += _configuration(session, turn)
    first = turn % len(calls)
    calls = (calls + calls)[first : first + AT_ONCE]
    f = session.chain.vault_functions
    return [(f"view.{name}", f[name].encode(*args), _flat(want)) for name, args, want in calls]


def _configuration(session: ModelSession, turn: int) -> list[tuple[str, tuple[Any, ...], Any]]:
    """Listings, parameters, slices, hashes."""
    state, vault = session.state, session.vault
    accounts = sorted(state.accounts)
    account = accounts[turn % len(accounts)] if accounts else 7
    a = vault.account_state(account)
    out: list[tuple[str, tuple[Any, ...], Any]] = [
        ("accountState", (account,), (a.cash_wad, a.collateral, a.linear, a.options)),
        ("cashToken", (), vault.cash_token()),
        ("signers", (), vault.signers()),
        ("riskParams", (), (vault.risk_params(),)),
    ]
    if state.collaterals:
        j = turn % len(state.collaterals)
        c = vault.collateral_info(j)
        values = (c.token, c.decimals, c.underlying, c.rate_feed, c.rate_wad, c.total_held)
        out.append(("collateralInfo", (j,), values))
    if state.filled_wad:
        key = sorted(state.filled_wad)[turn % len(state.filled_wad)]
        out.append(("orderStatus", (key,), vault.order_status(key)))
    if state.buckets:
        key2 = sorted(state.buckets)[turn % len(state.buckets)]
        place = key2 >> 16, key2 & 0xFFFF
        s, time = vault.slice(*place)
        out.append(("slice", place, (astuple(s), time)))
        at = turn % (len(state.buckets[key2].strikes_wad) + 1)
        out.append(("strike", (*place, at), (vault.strike(*place, at),)))
    order = Order(account, turn % 2**32, -turn, turn * 10**18, turn, turn, 3, turn, turn, 9)
    out.append(("hashOrder", (astuple(order),), (vault.hash_order(order),)))
    report = VolReport(1, turn, turn, 5, (), -turn % 2**20)
    out.append(
        ("hashReport", ((1, turn, turn, 5, [], report.premium_e9),), (vault.hash_report(report),))
    )
    return out


def decoded(f: Mapping[str, Function], name: str, data: bytes, answer: Outcome) -> dict[str, Value]:
    """The chain's answer in the same form."""
    function = f[name.removeprefix("view.")]
    assert function.selector == data[:4]
    given = function.decode(answer.data) if answer.ok else [-1]
    values = _flat(given[1:] if function.name == "riskParams" else given)  # its address aside
    return views.named(name, [str(i) for i in range(len(values))], values)


def _flat(values: Any) -> list[Any]:
    out: list[Any] = []
    for value in values:
        if isinstance(value, list | tuple):
            out += _flat(value)
        else:
            out.append(int.from_bytes(value, "big") if isinstance(value, bytes) else value)
    return out


def _interest(state: State) -> tuple[int, ...]:
    return (
        state.supply_index_e15,
        state.borrow_index_e15,
        state.interest_time,
        state.supply_wad,
        state.borrow_wad,
        state.interest_wad,
    )


def _flags(state: State, account: int) -> tuple[int, ...]:
    a = state.accounts.get(account, Account())
    return a.flagged_at, int(a.margin_call), a.interest_index


def _underlying(state: State, u: int) -> tuple[int, ...]:
    item = state.underlyings[u]
    return (
        item.funding_e12,
        item.funding_time,
        item.premium_e9,
        item.stable_price_wad,
        item.previous_price_wad,
        item.previous_time,
        item.reduce_only_until,
    )


def _settlement(state: State, key: int) -> tuple[int, ...]:
    item = state.settlements.get(key, Settlement())
    return item.price_wad, item.observations, item.last_time, item.mean_wad, int(item.settled)
