"""What one action may not do, whoever sends it: compares the state before it with the state after.

* Nobody above initial margin falls below it by an action of his own or of others, except through
  price, time, parameters, open interest, auto-deleveraging or a socialised loss.
* Nobody touches the money of an account without a right to it.
* What only moves forward does not move back.
* Nobody with obligations comes to hold underlyings of two groups, but who takes over such a book.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from risk.exact.accounts import account_lib, rights
from risk.exact.errors import ModelRevert
from risk.exact.margin import drift, margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.state import Account, State

if TYPE_CHECKING:
    from risk.diff.plumbline.action import VaultAction
    from risk.diff.plumbline.model_session import ModelSession

OWNERS_ONLY = frozenset({"deposit", "withdraw", "transfer", "raiseMinNonce", "setOperator"})
EXEMPT = frozenset({"autoDeleverage", "socialise", "settle", "liquidateFlash", "setRiskParams"})

TAKES_OVER = frozenset({"liquidate", "liquidateFlash", "liquidateLegs"})


def misconduct(session: ModelSession) -> Iterator[str]:
    """One readable line for each rule that the last action broke."""
    before, state, action = session.before, session.state, session.last
    if action is None or action.contract:
        return
    changed = [n for n, a in state.accounts.items() if before.accounts.get(n) is not a]
    if not session.last_ok:
        if changed:
            yield f"a refused action changed {len(changed)} accounts"
        return
    names = action.names()
    if names[0] in OWNERS_ONLY:
        yield from _strangers(before, state, action, changed)
    yield from _backwards(before, state)
    if state.supply_index_e15 < before.supply_index_e15 and "socialise" not in names:
        yield "the supply index fell"
    if not EXEMPT.intersection(names):
        for number in changed:
            yield from _fell_below(before, state, number)
    if not {"setRiskParams", "autoDeleverage"}.intersection(names):
        yield from _mixed(before, state, changed, bool(TAKES_OVER.intersection(names)))
    for number in changed:
        old, new = before.accounts.get(number), state.accounts[number]
        if old is not None and old.flagged_at and not new.flagged_at:
            yield from _unflagged(state, number)


def _strangers(
    before: State, state: State, action: VaultAction, changed: list[int]
) -> Iterator[str]:
    right = {"withdraw": rights.WITHDRAW, "transfer": rights.WITHDRAW}.get(action.function.name, 0)
    named = action.arguments[0]
    allowed = before.operators.get((named, action.sender), 0) & right
    for number in changed:
        if number >> 8 != action.sender and not (allowed and number >> 8 == named >> 8):
            yield f"{action.sender:#x} changed account {number:#x} of somebody else"


def _mixed(before: State, state: State, changed: list[int], takes_over: bool) -> Iterator[str]:
    """Underlyings of two groups in an account with obligations, beyond those that one such account
    of before held: it itself, or where somebody who held nothing takes over, any.
    """
    p = state.params
    if p is None or not p.has_groups:
        return

    def mask(of: State, number: int) -> set[int]:
        account = account_lib.load(of, number)
        held = drift.underlying_mask(p, account) if account_lib.has_obligations(account) else set()
        return held if len({p.underlyings[u].group for u in held}) > 1 else set()

    sources = [mask(before, n) for n in before.accounts] if takes_over else []
    for number in changed:
        held = mask(state, number)
        taken = [] if drift.underlying_mask(p, account_lib.load(before, number)) else sources
        if held and not any(held <= old for old in [mask(before, number), *taken]):
            yield f"account {number:#x} came to hold {sorted(held)}, which are of two groups"


def _backwards(before: State, state: State) -> Iterator[str]:
    """The borrow index, times, nonces, epochs, settlement prices."""
    if state.borrow_index_e15 < before.borrow_index_e15:
        yield "the borrow index fell"
    if state.interest_time < before.interest_time:
        yield "interest time moved back"
    for u, (old, new) in enumerate(zip(before.underlyings, state.underlyings, strict=False)):
        for name in (
            "epoch",
            "time",
            "report_nonce",
            "report_time",
            "feed_updated_at",
            "funding_time",
            "reduce_only_until",
        ):
            if getattr(new, name) < getattr(old, name):
                yield f"{name} of underlying {u} moved back"
    for key, settlement in before.settlements.items():
        if settlement.settled and state.settlements[key] != settlement:
            yield f"the settlement price of {key:#x} changed"
    for number, nonce in before.min_nonce.items():
        if state.min_nonce[number] < nonce:
            yield f"the lowest nonce of {number:#x} fell"
    if before.winding_down and not state.winding_down:
        yield "the wind-down was undone"


def _fell_below(before: State, state: State, number: int) -> Iterator[str]:
    """Below initial margin now, and at the same market before the action above it."""
    new = _margin(state, number, account_lib.load(state, number))
    if new is None or not new.has_obligations or new.equity >= new.im:
        return
    old = account_lib.load(before, number)
    if _only_more_collateral(old, account_lib.load(state, number)):
        return
    was = _margin(before, number, old)
    if was is None or was.equity < was.im:
        return
    there = _margin(state, number, _now(before, state, number))
    if there is None or there.equity < there.im:
        return  # price, time, open interest
    if _epochs(before) != _epochs(state):
        here = _margin(before, number, account_lib.load(state, number))
        if here is not None and here.equity >= here.im:
            return  # above it at the prices that the action was judged by
    yield (
        f"account {number:#x} fell below initial margin: E {there.equity} of {there.im} before, "
        f"E {new.equity} of {new.im} after"
    )


def _only_more_collateral(old: Account, new: Account) -> bool:
    """Collateral that came in (deposit, transfer) may carry more risk than equity: where haircut +
    φ·shock exceeds 1 a deposit lowers E − IM.  Nobody else can do that to an account.
    """
    return (
        old.linear == new.linear
        and old.options == new.options
        and new.cash_wad >= old.cash_wad
        and all(b >= a for a, b in zip(old.collateral, new.collateral, strict=True))
    )


def _now(before: State, state: State, number: int) -> Account:
    """The account as it was, with the interest until now."""
    after, state.accounts = state.accounts, before.accounts
    try:
        return account_lib.load(state, number)
    finally:
        state.accounts = after


def _epochs(state: State) -> list[int]:
    return [u.epoch for u in state.underlyings]


def _unflagged(state: State, number: int) -> Iterator[str]:
    margin = _margin(state, number, account_lib.load(state, number))
    if margin is not None and margin.has_obligations and margin.equity < margin.im:
        yield f"the flag of {number:#x} was cleared below initial margin"


def _margin(state: State, number: int, account: Account) -> Margin | None:
    try:
        return margin_engine.compute(state, number, account)
    except ModelRevert:
        return None
