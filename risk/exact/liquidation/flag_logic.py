"""Flags and margin calls.  Twin: ``contracts/liquidation/FlagLogic.sol``.

A flag starts the grace of an unhealthy account and the growth of ρ; it clears at E ≥ IM and nowhere
else.  A margin call only says that E is near MM: nothing else depends on it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from risk.exact.accounts import account_lib
from risk.exact.errors import ModelRevert
from risk.exact.liquidation import health_test
from risk.exact.margin import margin_engine
from risk.exact.market import feed_reader
from risk.exact.state import Account, State, World

_BPS: Final = 10_000


def flag(state: State, world: World, account_id: int) -> None:
    """``IVaultExtension.flag``.

    Refusals, in this order: AlreadyFlagged, SequencerDown, SequencerGrace, RiskParamsMissing,
    InitialMarginOwed, errors of settling and of the margin, AccountHealthy.
    """
    since = _header(state, account_id).flagged_at
    if since != 0:
        raise ModelRevert("AlreadyFlagged", (account_id, since))
    health_test.require_sequencer(state, world)
    c = health_test.open_case(state, world, account_id)
    health_test.poke(state, world, c, set())
    health_test.require_unhealthy(state, world, c)
    _write(state, account_id, flagged_at=world.timestamp)


def unflag(state: State, world: World, account_id: int) -> None:
    """``IVaultExtension.unflag``.

    Refusals, in this order: NotFlagged, RiskParamsMissing, InitialMarginOwed, errors of settling
    and of the margin, NotRecovered(account, E, IM).
    """
    if _header(state, account_id).flagged_at == 0:
        raise ModelRevert("NotFlagged", (account_id,))
    c = health_test.open_case(state, world, account_id)
    health_test.poke(state, world, c, set())
    m = margin_engine.compute(state, account_id, c.a)
    if m.equity < m.im:
        raise ModelRevert("NotRecovered", (account_id, m.equity, m.im))
    _write(state, account_id, flagged_at=0)


def call_margin(state: State, world: World, account_id: int) -> bool:
    """``IVaultExtension.callMargin``: stands while the account has obligations and E·1e4 <
    MM·warning, at the snapshots and the interest as they are; with a warning level of 0 never.
    """
    del world
    warning = feed_reader.load_params(state).warning_bps
    m = margin_engine.compute(state, account_id, account_lib.load(state, account_id))
    standing = warning != 0 and m.has_obligations and m.equity * _BPS < m.mm * warning
    if standing != _header(state, account_id).margin_call:
        _write(state, account_id, margin_call=standing)
    return standing


def _header(state: State, account_id: int) -> Account:
    return state.accounts.get(account_id, Account())


def _write(state: State, account_id: int, **changes: int) -> None:
    """Flag and margin call are not written by ``account_lib.store``; a stored account is never
    changed in place.
    """
    state.accounts[account_id] = replace(_header(state, account_id), **changes)  # type: ignore[arg-type]
