"""Planted faults that only actions show: trading rules, funding, interest, settlement, liquidation
with grace, waterfall, accounts.

The tests plant them one at a time and demand that the runner's sequences find each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from risk.diff.plumbline.faults import Fault, _instead, _with_original
from risk.exact.accounts import account_logic, rights
from risk.exact.custody import (
    interest_lib,
    interest_logic,
    position_lib,
    withdraw_limits,
)
from risk.exact.errors import ModelRevert
from risk.exact.liquidation import health_test
from risk.exact.margin import groups, margin_logic, stable_charge
from risk.exact.market import breaker, follow, funding, sequencer
from risk.exact.math import wad_math
from risk.exact.settlement import settlement_lib, settlement_logic
from risk.exact.trading import order_checks, reduce_lib, trade_logic
from risk.exact.waterfall import deleverage, insurance_lib, waterfall_logic


def _other_sign(state: Any, p: Any, u: int, original: Any) -> tuple[int, int]:
    rate, period = original(state, p, u)
    return -rate, period


def _touched_up(state: Any, cash: int, recorded: int) -> int:
    if cash == 0 or recorded == 0:
        return cash
    index = state.supply_index_e15 if cash > 0 else state.borrow_index_e15
    return -int(-cash * index // recorded)


def _fee_lost(state: Any, p: Any, f: Any, buyer: Any, seller: Any, original: Any) -> int:
    fee = trade_logic._fee(state, p, f)
    d_long: int = original(state, p, f, buyer, seller)
    state.insurance_wad -= fee
    return d_long


def _one_wei_more(state: Any, source: int, a: Any, b: Any, amount: int, original: Any) -> int:
    moved: int = original(state, source, a, b, amount)
    b.cash_wad += 1
    return moved


def _haircut_down(theta_wad: int, closed: int, cap: int) -> int:
    return min(min(theta_wad, deleverage.MAX_THETA) * closed // 10**18, cap)


def _nonce_one_less(*args: Any, original: Any) -> None:
    state, world, buy, buy_hash, sell, sell_hash, size, price = args
    buy, sell = (replace(o, nonce=max(0, o.nonce - 1)) for o in (buy, sell))
    original(state, world, buy, buy_hash, sell, sell_hash, size, price)


def _grace_one_longer(state: Any, world: Any, c: Any, m: Any, original: Any) -> None:
    longer = c.p.grace_seconds + 1 if c.p.grace_seconds else 0
    original(state, world, replace(c, p=replace(c.p, grace_seconds=longer)), m)


def _never_checked(state: Any, world: Any) -> None:
    state.deferred = []


def _any_right(state: Any, account_id: int, sender: int, right: int) -> None:
    if sender != account_id >> 8 and not state.operators.get((account_id, sender), 0):
        raise ModelRevert("NotAccountOwner", (account_id, sender))


def _flips_too(size: int, change: int) -> bool:
    return (size > 0 > change) or (size < 0 < change)


def _bucket_of_the_cap(withdrawn: int, elapsed: int, cap: int, period: int) -> int:
    return min(withdrawn, cap)


def _leftover_to_the_last(sizes: Any, covered: int, total: int) -> list[int]:
    closed = [wad_math.mul_div_down(total, size, covered) for size in sizes]
    for i in range(total - sum(closed)):
        closed[-1 - i] += 1
    return closed


def _trips_shorter(state: Any, world: Any, u: int, seconds: int, original: Any) -> None:
    original(state, world, u, max(0, seconds - 1))


def _without_grace(state: Any, world: Any, p: Any, original: Any) -> None:
    original(state, world, replace(p, sequencer_grace_seconds=0))


def _nothing_allowed(
    p: Any, account_id: int, mask: Any, allowed: Any = (), original: Any = None
) -> None:
    original(p, account_id, mask)


def _stable_at_once(data: Any, world: Any, item: Any, price: int, original: Any) -> None:
    original(data, world, replace(item, stable_rate_bps_per_day=65_535), price)


def _nothing(*args: Any) -> None:
    return None


def _zero(*args: Any) -> int:
    return 0


def _plus(change: int) -> Callable[[Any], Callable[..., Any]]:
    """The result is off by ``change``."""
    return lambda original: lambda *args: original(*args) + change


SEQUENCE_FAULTS: tuple[Fault, ...] = (
    Fault("funding with the other sign", "funding", funding, "_rate", _with_original(_other_sign)),
    Fault("interest rounded up", "interest", interest_lib, "touched", _instead(_touched_up)),
    Fault(
        "debt rounded down",
        "interest",
        interest_logic,
        "mul_div_up",
        lambda _: wad_math.mul_div_down,
    ),
    Fault("stable charge ignored", "stable price", stable_charge, "total", _instead(_zero)),
    Fault(
        "stable price unlimited",
        "stable price",
        follow,
        "_move_stable",
        _with_original(_stable_at_once),
    ),
    Fault("groups ignored", "groups", groups, "require_one", _instead(_nothing)),
    Fault("any collateral let in", "groups", groups, "require_collateral", _instead(_nothing)),
    Fault(
        "a mixed book is for nobody",
        "groups",
        groups,
        "require_one",
        _with_original(_nothing_allowed),
    ),
    Fault("fee not credited", "fee", trade_logic, "_exchange", _with_original(_fee_lost)),
    Fault("fee rounded down", "fee", trade_logic, "mul_div_up", lambda _: wad_math.mul_div_down),
    Fault(
        "transfer mints a wei",
        "transfer",
        account_logic,
        "_move_cash",
        _with_original(_one_wei_more),
    ),
    Fault("any right will do", "operators", rights, "require_right", _instead(_any_right)),
    Fault(
        "lowest nonce off by one",
        "orders",
        order_checks,
        "require_match",
        _with_original(_nonce_one_less),
    ),
    Fault("a flip reduces", "orders", reduce_lib, "reduces", _instead(_flips_too)),
    Fault(
        "deferred checks dropped",
        "batch",
        margin_logic,
        "require_deferred",
        _instead(_never_checked),
    ),
    Fault(
        "instrument interest forgotten",
        "open interest",
        position_lib,
        "add_instrument_interest",
        _instead(_nothing),
    ),
    Fault(
        "withdrawal bucket never empties",
        "limits",
        withdraw_limits,
        "_used",
        _instead(_bucket_of_the_cap),
    ),
    Fault("payoff one wei more", "settlement", settlement_lib, "payoff", _plus(1)),
    Fault("spacing one second more", "settlement", settlement_logic, "_spacing", _plus(1)),
    Fault(
        "grace one second longer",
        "grace",
        health_test,
        "require_grace",
        _with_original(_grace_one_longer),
    ),
    Fault("breaker one second short", "breaker", breaker, "trip", _with_original(_trips_shorter)),
    Fault(
        "no grace after the sequencer",
        "sequencer",
        sequencer,
        "require_live",
        _with_original(_without_grace),
    ),
    Fault("insurance bucket ignored", "waterfall", insurance_lib, "counts", _instead(_zero)),
    Fault(
        "haircut rounded down in ADL", "waterfall", deleverage, "haircut", _instead(_haircut_down)
    ),
    Fault(
        "left-over to the last", "waterfall", deleverage, "shares", _instead(_leftover_to_the_last)
    ),
    Fault(
        "abandoned at once", "waterfall", waterfall_logic, "_abandoned", _instead(lambda *a: True)
    ),
)
