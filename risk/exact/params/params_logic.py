"""Validates and sets the risk parameters.  Twin: ``contracts/params/ParamsLogic.sol``.

Rules and their order: docs/margin.md §2.  The blob is judged word by word, as the contract does, so
also blobs that no ``RiskParams`` could have encoded get the same refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from risk.exact.custody import interest_lib
from risk.exact.errors import ModelRevert
from risk.exact.market import funding
from risk.exact.params import risk_params as rp
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import MAX_SCENARIOS, State, World

BPS: Final = 10_000
MAX_LANES: Final = 64
MAX_TRADE_FEE_E6: Final = 10_000  # 1 %
MAX_FUNDING_BPS: Final = 1_000  # 10 % a period
MAX_PRICE_UNIT_E6: Final = 6_944  # 144·unit < 1e6: docs/margin.md §8


def set_params(state: State, world: World, blob: bytes) -> None:
    """Validates ``blob``, takes it and opens a new epoch of every underlying that has a snapshot
    (``set``).
    """
    validate(state, blob)
    interest_lib.accrue(state, world)
    funding.close_all(state, world)  # what happened until now happened at the old rates
    state.params = RiskParams.decode(blob)
    for u in state.underlyings:
        if u.epoch:
            u.epoch += 1


def validate(state: State, blob: bytes) -> None:
    """``RiskParamsInvalid(field, index, value)`` with the first rule that ``blob`` breaks."""
    length = len(blob)
    if length < rp.WORD_BYTES * rp.HEADER_WORDS or length % rp.WORD_BYTES:
        raise _invalid("length", 0, length)
    words = rp.words_of(blob)
    header = rp.header_fields(words[0])
    k, u, c = header["scenario_count"], header["underlying_count"], header["collateral_count"]
    if not 0 < k <= MAX_SCENARIOS:
        raise _invalid("scenarios", 0, k)
    if u != len(state.underlyings):
        raise _invalid("underlyings", 0, u)
    if c != len(state.collaterals):
        raise _invalid("collaterals", 0, c)
    tail = rp.HEADER_WORDS + rp.UNDERLYING_WORDS * u + c
    if length != rp.WORD_BYTES * (tail + rp.TAIL_WORDS + u + c):
        raise _invalid("length", 0, length)
    _validate_header(words, header)
    for i in range(u):
        _validate_underlying(words, k, i)
    for j in range(c):
        _validate_collateral(state, words, u, j)
    _validate_tail(words, tail, u, c)


def _validate_header(words: Sequence[int], header: dict[str, int]) -> None:
    im_factor, target, reward = (
        header["im_factor_bps"],
        header["target_bps"],
        header["reward_max_bps"],
    )
    if im_factor < BPS:
        raise _invalid("im_factor_bps", 0, im_factor)
    if not BPS < target <= im_factor:
        raise _invalid("target_bps", 0, target)
    if header["reward_base_bps"] > reward:
        raise _invalid("reward_base_bps", 0, header["reward_base_bps"])
    if reward >= target:
        raise _invalid("reward_max_bps", 0, reward)
    _no_stray_bits(words, 0, 104)
    for k in range(MAX_LANES):
        weight = rp.weight_bps(words, k)
        if not 0 < weight <= BPS if k < header["scenario_count"] else weight:
            raise _invalid("weight", k, weight)


def _validate_underlying(words: Sequence[int], scenarios: int, u: int) -> None:
    word = rp.HEADER_WORDS + rp.UNDERLYING_WORDS * u
    charges, limits = rp.charge_fields(words[word]), rp.limit_fields(words[word + 1])
    if charges["depth_wad"] == 0:
        raise _invalid("depth_wad", u, 0)
    unit = charges["price_unit_e6"]
    if not 0 < unit <= MAX_PRICE_UNIT_E6:
        raise _invalid("price_unit_e6", u, unit)
    if charges["vol_unit_e6"] == 0:
        raise _invalid("vol_unit_e6", u, 0)
    for name in ("tenor_cap_wad", "deviation_band_bps", "max_age_seconds"):
        if limits[name] == 0:
            raise _invalid(name, u, 0)
    _no_stray_bits(words, word, 208)
    # price shock > −100 %: lane·unit > −1e6
    _validate_lanes(words, word + 2, scenarios, -(-(10**6) // unit), "price_lane", u)
    _validate_lanes(words, word + 6, scenarios, rp.LANE_BIAS, "vol_lane", u)


def _validate_lanes(
    words: Sequence[int], first: int, scenarios: int, limit: int, field: str, u: int
) -> None:
    """Four words of lanes: below K lane > −limit, from K on zero; the stored value is lane + 4096
    and never 0.
    """
    for k in range(MAX_LANES):
        raw = rp.raw_lane(words[first : first + rp.LANE_WORDS], k)
        ok = raw != 0 and raw + limit > rp.LANE_BIAS if k < scenarios else raw == rp.LANE_BIAS
        if not ok:
            raise _invalid(field, u << 8 | k, raw)
        if k % rp.LANES_PER_WORD == rp.LANES_PER_WORD - 1:
            _no_stray_bits(words, first + k // rp.LANES_PER_WORD, 208)


def _validate_collateral(state: State, words: Sequence[int], underlyings: int, j: int) -> None:
    index = rp.HEADER_WORDS + rp.UNDERLYING_WORDS * underlyings + j
    fields, listed = rp.collateral_fields(words[index]), state.collaterals[j]
    if fields["underlying"] != listed.underlying:
        raise _invalid("underlying", j, fields["underlying"])
    if fields["decimals"] != listed.decimals:
        raise _invalid("decimals", j, fields["decimals"])
    if fields["haircut_bps"] > BPS:
        raise _invalid("haircut_bps", j, fields["haircut_bps"])
    if fields["has_rate"] != (listed.rate_feed != 0):
        raise _invalid("has_rate", j, fields["has_rate"])
    _no_stray_bits(words, index, 161)


def _validate_tail(words: Sequence[int], first: int, underlyings: int, collaterals: int) -> None:
    """A curve that rises and bends at a utilisation below 1, shares of at most 1, no stray bits."""
    t = rp.tail_fields(words, first)
    if t["kink_utilisation_bps"] >= BPS:
        raise _invalid("kink_utilisation_bps", 0, t["kink_utilisation_bps"])
    if t["kink_rate_bps"] < t["base_rate_bps"]:
        raise _invalid("kink_rate_bps", 0, t["kink_rate_bps"])
    if t["full_rate_bps"] < t["kink_rate_bps"]:
        raise _invalid("full_rate_bps", 0, t["full_rate_bps"])
    for name, limit in (
        ("reserve_share_bps", BPS),
        ("trade_fee_e6", MAX_TRADE_FEE_E6),
        ("option_fee_cap_bps", BPS),
        ("emergency_bps", BPS),
        ("adl_share_bps", BPS),
    ):
        if t[name] > limit:
            raise _invalid(name, 0, t[name])
    _no_stray_bits(words, first, 240)
    _no_stray_bits(words, first + 1, 248)
    _no_stray_bits(words, first + 3, 168)
    for u in range(underlyings):
        funding = rp.underlying_tail_fields(words[first + rp.TAIL_WORDS + u])["max_funding_bps"]
        if funding > MAX_FUNDING_BPS:
            raise _invalid("max_funding_bps", u, funding)
        if funding and t["funding_period_seconds"] == 0:
            raise _invalid("funding_period_seconds", u, 0)
    for j in range(collaterals):
        _no_stray_bits(words, first + rp.TAIL_WORDS + underlyings + j, 128)


def _no_stray_bits(words: Sequence[int], index: int, start: int) -> None:
    """Bits ``start`` … 255 of word ``index`` are zero."""
    stray = words[index] >> start << start
    if stray:
        raise _invalid("stray_bits", index, stray)


def _invalid(field: str, index: int, value: int) -> ModelRevert:
    name = int.from_bytes(field.encode("ascii").ljust(32, b"\0"), "big")
    return ModelRevert("RiskParamsInvalid", (name, index, value))
