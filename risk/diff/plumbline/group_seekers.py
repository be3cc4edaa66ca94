"""Proposals where the underlyings are of more than one group: what would bring an account a second
one, what a book of two groups may still do, and new groups over old books.

Only such worlds come here, so the draws of all others stay what they are.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.base import UINT256_MAX, WAD
from risk.diff.plumbline.chain import ADMIN
from risk.diff.plumbline.seekers import Recipe, _fill, _perp, _ruined, _slice
from risk.exact.accounts import account_lib
from risk.exact.margin import drift

if TYPE_CHECKING:
    from risk.diff.plumbline.proposals import Proposer

AIM = "MixedGroups"
TRIES = 4


def seek(p: Proposer, rng: Random) -> VaultAction | None:
    """An action that groups bear on; None where no recipe has anything."""
    for _ in range(TRIES):
        saved = list(p.next)
        action = rng.choice(RECIPES)(p, rng)
        if action is None:
            continue
        aims = p.next != saved or p.session.outcome_of(action) == AIM
        return replace(action, aims_at=AIM) if aims else action
    return None


# ── what an account holds ────────────────────────────────────────────────────────────────────────


def _masks(p: Proposer) -> dict[int, set[int]]:
    """Underlyings of the accounts with obligations that hold any."""
    params, state = p.session.state.params, p.session.state
    if params is None:
        return {}
    out = {}
    for number in state.accounts:
        account = account_lib.load(state, number)
        if account_lib.has_obligations(account):
            out[number] = drift.underlying_mask(params, account)
    return {n: mask for n, mask in out.items() if mask}


def _groups(p: Proposer, mask: set[int]) -> set[int]:
    params = p.session.state.params
    assert params is not None
    return {params.underlyings[u].group for u in mask}


def _mixed(p: Proposer) -> list[int]:
    return [n for n, mask in _masks(p).items() if len(_groups(p, mask)) > 1]


def _foreign(p: Proposer, rng: Random) -> tuple[int, int] | None:
    """An account of one group, and a collateral of another one."""
    params = p.session.state.params
    pairs = [
        (number, j)
        for number, mask in _masks(p).items()
        for j, c in enumerate(params.collaterals if params is not None else ())
        if j < len(p.session.deployment.tokens) and len(_groups(p, mask | {c.underlying})) > 1
    ]
    return rng.choice(pairs) if pairs else None


# ── recipes ──────────────────────────────────────────────────────────────────────────────────────


def _deposit(p: Proposer, rng: Random) -> VaultAction | None:
    found = _foreign(p, rng)
    if found is None:
        return None
    account, j = found
    return p.make.deposit(account, p.session.deployment.tokens[j], rng.choice([1, 10**6]))


def _transfer(p: Proposer, rng: Random) -> VaultAction | None:
    """To an account with obligations, from a sub-account that was given the collateral before."""
    found = _foreign(p, rng)
    if found is None:
        return None
    account, j = found
    source, token = account ^ 4, p.session.deployment.tokens[j]
    args = (source, account, token, UINT256_MAX)
    move = p.make.vault(
        "transfer",
        f"collateral {j} from {source:#x} to {account:#x}",
        account >> 8,
        "transfer",
        args,
        lambda v: v.transfer(account >> 8, *args),
    )
    if p._held(source).collateral[j]:
        return move
    p.then(lambda r: replace(move, time=p.session.now + 1))
    return p.make.deposit(source, token, 10)


def _trade(p: Proposer, rng: Random) -> VaultAction | None:
    """A perp of another group for somebody with obligations."""
    masks, params = _masks(p), p.session.state.params
    users = {user.address for user in p.session.deployment.users}
    owing = [n for n in masks if n >> 8 in users]
    if not owing or params is None:
        return None
    account = rng.choice(sorted(owing))
    groups = _groups(p, masks[account])
    others = [u for u, x in enumerate(params.underlyings) if {x.group} != groups]
    if not others:
        return None
    pair = _perp(p, rng, 10**9, rng.choice(others))
    side = "buy" if pair.sell.account != account else "sell"
    order = replace(getattr(pair, side), account=account)
    return _fill(p, replace(pair, buy=order) if side == "buy" else replace(pair, sell=order))


def _take_over(p: Proposer, rng: Random) -> VaultAction | None:
    """By anybody who has obligations himself, often of another group."""
    failing, owing = p._failing(), _masks(p)
    takers = sorted(n for n in owing if n not in failing and n in p.session.deployment.accounts)
    if not failing or not takers:
        return None
    liquidator, account = rng.choice(takers), rng.choice(failing)
    args = ("liquidate", liquidator >> 8, account, liquidator, rng.choice([WAD, WAD // 9]))
    return p.slice_of(*args, 2**255 - 1)


def _mixed_book(p: Proposer, rng: Random) -> VaultAction | None:
    """A slice of a book of two groups, for whoever has the most cash or anybody."""
    failing = set(p._failing()) & set(_mixed(p))
    return _slice(p, rng, rng.choice(sorted(failing))) if failing else None


def _regroup(p: Proposer, rng: Random) -> VaultAction | None:
    """Groups that divide what somebody with obligations holds; then his trouble begins."""
    wide = [mask for n, mask in sorted(_masks(p).items()) if len(mask) > 1]
    if not wide or _mixed(p):
        return None
    p.adopt(rng)
    params, mask = p.session.deployment.spec.params, rng.choice(wide)
    first = min(mask)
    for u in mask:
        params.underlyings[u].group = int(u != first)
    p.then(lambda r: _ruined(_mixed_book)(p, r), lambda r: _mixed_book(p, r))
    return p.params_of(ADMIN, params.blob())


RECIPES: tuple[Recipe, ...] = (
    _deposit,
    _transfer,
    _trade,
    _ruined(_take_over),
    _ruined(_mixed_book),
    _regroup,
)
