"""Writes a model ``State`` as storage slots of the vault, for ``eth_call`` with state overrides.

Layout: ``contracts/VaultStorage.sol`` with ``State`` at slot 0.  The risk parameter blob becomes
the code of ``POINTER``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from risk.chain.keccak import mapping_slot
from risk.exact.accounts.account_lib import collateral_mask
from risk.exact.margin import array_logic, instrument_id, scenario_array
from risk.exact.market import gauge
from risk.exact.state import Account, State

POINTER = 0xB10B
CODE_PREFIX = b"\0"  # SSTORE2: data starts behind one STOP byte

_UNDERLYINGS = 8
_COLLATERALS = _UNDERLYINGS + 16 * 5
_ACCOUNTS = _COLLATERALS + 16 * 3
_BUCKETS = _ACCOUNTS + 1
_STRIKES = _ACCOUNTS + 2


def pack(*fields: tuple[int, int]) -> int:
    """(value, bits) from the low end; negative values in two's complement."""
    word = shift = 0
    for value, bits in fields:
        assert -(1 << bits - 1) <= value < 1 << bits, (value, bits)
        word |= (value & (1 << bits) - 1) << shift
        shift += bits
    assert shift <= 256
    return word


def account_slots(account_id: int, a: Account) -> dict[int, int]:
    base = mapping_slot(account_id, _ACCOUNTS)
    slots = {
        base: pack(
            (a.cash_wad, 128),
            (collateral_mask(a), 16),
            (len(a.linear), 8),
            (len(a.options), 8),
            (a.interest_index, 63),
            (int(a.margin_call), 1),
            (a.flagged_at, 32),
        )
    }
    for i in range(8):
        slots[base + 1 + i] = pack((a.collateral[2 * i], 128), (a.collateral[2 * i + 1], 128))
    for i, x in enumerate(a.linear):
        slots[base + 9 + i] = pack((x.quote_wad, 128), (x.size_wad, 96), (x.instrument, 32))
    for i in range(0, len(a.options), 2):
        halves = [pack((x.size_wad, 96), (x.instrument, 32)) for x in a.options[i : i + 2]]
        slots[base + 137 + i // 2] = halves[0] | (halves[1] << 128 if len(halves) > 1 else 0)
    return slots


def array_slots(state: State, instruments: list[int]) -> dict[int, int]:
    """Cached arrays of ``instruments`` in the epoch of their underlying."""
    slots: dict[int, int] = {}
    if not instruments:
        return slots
    assert state.params is not None
    for instrument in instruments:
        epoch = state.underlyings[instrument_id.underlying(instrument)].epoch
        words = array_logic.compute(state, instrument).words(epoch)
        first = scenario_array.base_of(epoch) + (instrument << 2)
        for i in range(scenario_array.word_count(state.params.scenario_count)):
            slots[first + i] = words[i]
    return slots


def state_slots(state: State) -> dict[int, int]:
    """Everything but arrays."""
    slots = {
        0: pack(
            (POINTER if state.params else 0, 160),
            (1, 8),
            (len(state.underlyings), 8),
            (len(state.collaterals), 8),
            (int(state.winding_down), 8),
            (state.supply_index_e15, 64),
        ),
        1: pack((state.cash_held_wad, 128), (state.insurance_wad, 128)),
        2: pack((state.cash_token, 160), (state.cash_decimals, 8), (state.signer_threshold, 8)),
        3: pack((state.borrow_index_e15, 64), (state.interest_time, 40)),
        4: pack((state.supply_wad, 128), (state.borrow_wad, 128)),
        5: pack((state.interest_wad, 128)),
    }
    for i, u in enumerate(state.underlyings):
        at = _UNDERLYINGS + 5 * i
        slots[at] = pack(
            (u.price_wad, 88),
            (u.epoch, 32),
            (u.time, 32),
            (gauge.encode(u.open_interest_wad, u.stable_apart), 24),
            (u.funding_e12, 80),
        )
        slots[at + 1] = pack(
            (u.feed, 160), (u.feed_decimals, 8), (u.confidence_bps, 16), (u.report_nonce, 64)
        )
        slots[at + 2] = pack((u.feed_updated_at, 40), (u.report_time, 40), (u.pnl_pool_wad, 128))
        slots[at + 3] = pack(
            (u.open_interest_wad, 104),
            (u.stable_price_wad, 88),
            (u.premium_e9, 32),
            (u.funding_time, 32),
        )
    for j, c in enumerate(state.collaterals):
        at = _COLLATERALS + 3 * j
        slots[at] = pack((c.token, 160), (c.decimals, 8), (c.underlying, 8))
        slots[at + 1] = pack((c.rate_feed, 160), (c.rate_wad, 96))
        slots[at + 2] = pack((c.total_held, 128))
    for account_id, a in state.accounts.items():
        slots |= account_slots(account_id, a)
    for key, b in state.buckets.items():
        at = mapping_slot(key, _BUCKETS)
        slots[at] = pack(
            (b.forward_ratio_wad, 64),
            (b.discount_wad, 64),
            (b.report_time, 40),
            (int(b.listed), 8),
            (len(b.strikes_wad), 16),
        )
        slots[at + 1] = pack(
            (b.a_e9, 40), (b.b_e9, 40), (b.rho_e9, 32), (b.m_e9, 40), (b.sigma_e9, 40)
        )
        u, day = key >> 16, key & 0xFFFF
        for index, strike in enumerate(b.strikes_wad):
            slots[mapping_slot(u << 26 | day << 10 | index, _STRIKES)] = strike
    return {slot: value for slot, value in slots.items() if value}


def overrides(vault: str, state: State, slots: Mapping[int, int]) -> dict[str, Any]:
    """Overrides of ``eth_call``: storage of the vault and code of the parameter blob."""
    storage = {f"0x{slot:064x}": f"0x{value:064x}" for slot, value in slots.items()}
    result: dict[str, Any] = {vault: {"stateDiff": storage}}
    if state.params is not None:
        code = CODE_PREFIX + state.params.encode()
        result[f"0x{POINTER:040x}"] = {"code": "0x" + code.hex()}
    return result
