"""Every field of a parameter blob: where it stands, which way it tightens, how it may move.  Twin:
``contracts/governance/ParamLayout.sol``.

A blob is ``5 + 10·U + C`` words that margin reads and ``4 + U + C`` words of tail (docs/margin.md
§2).  The tables below are the one classification that ``param_diff``, ``param_ramp`` and
``steward_check`` work from; docs/governance.md §2 gives the reasons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from risk.exact.errors import ModelRevert

WORD_BYTES: Final = 32
HEADER_WORDS: Final = 5
UNDERLYING_WORDS: Final = 10
TAIL_WORDS: Final = 4
LANE_BIAS: Final = 4096

# which way a field tightens (low two bits of the flags)
UP: Final = 0
DOWN: Final = 1
DOWN_ZERO_IS_NONE: Final = 2  # 0 means "no limit", so 0 is the loosest value
BOTH: Final = 3  # no order: some account is better off either way

# how it moves
RAMP_TIGHTER: Final = 4  # a tightening ramps
RAMP_LOOSER: Final = 8  # a loosening ramps too
RELATIVE: Final = 16  # the cap of a step is in bps of the larger end
LANE: Final = 32  # the cap of a step is a shock in 1e-6; the field is a lane
WEIGHT: Final = 64  # the cap of a step follows from the shocks of the scenario

# kinds of words
(
    HEADER,
    WEIGHTS,
    CHARGES,
    LIMITS,
    PRICE_LANES,
    VOL_LANES,
    COLLATERAL,
    TAIL_CASH,
    TAIL_LIQUIDATION,
    TAIL_WITHDRAW,
    TAIL_SETTLE,
    TAIL_UNDERLYING,
    TAIL_COLLATERAL,
) = range(13)


@dataclass(frozen=True)
class Field:
    """``shift`` and ``bits`` in the word; ``cap``: largest move of one step of a ramp."""

    name: str
    shift: int
    bits: int
    flags: int
    cap: int

    @property
    def rule(self) -> int:
        """``UP``, ``DOWN``, ``DOWN_ZERO_IS_NONE`` or ``BOTH``."""
        return self.flags & 3

    def get(self, word: int) -> int:
        """The value in ``word``."""
        return word >> self.shift & (1 << self.bits) - 1

    def put(self, word: int, value: int) -> int:
        """``word`` with the value replaced."""
        return word & ~((1 << self.bits) - 1 << self.shift) | value << self.shift


_RT, _ALL = RAMP_TIGHTER, RAMP_TIGHTER | RAMP_LOOSER


def _table(*fields: tuple[str, int, int, int]) -> tuple[Field, ...]:
    """From (name, bits, flags, cap), low to high."""
    out, shift = [], 0
    for name, bits, flags, cap in fields:
        out.append(Field(name, shift, bits, flags, cap))
        shift += bits
    return tuple(out)


TABLES: Final[tuple[tuple[Field, ...], ...]] = (
    _table(
        ("scenario_count", 8, UP, 0),
        ("underlying_count", 8, BOTH, 0),
        ("collateral_count", 8, BOTH, 0),
        ("im_factor_bps", 16, UP | _ALL, 250),
        ("target_bps", 16, BOTH | _ALL, 100),
        ("reward_base_bps", 16, BOTH | _ALL, 50),
        ("reward_slope_bps", 16, BOTH | _ALL, 250),
        ("reward_max_bps", 16, BOTH | _ALL, 50),
    ),
    _table(*((f"weight_{i}", 16, UP | _RT | WEIGHT, 0) for i in range(16))),
    _table(
        ("depth_wad", 104, DOWN | _RT | RELATIVE, 500),
        ("som_bps", 16, UP | _RT, 50),
        ("liq_bps", 16, UP | _RT, 100),
        ("basis_base_bps", 16, UP | _RT, 20),
        ("basis_slope_bps", 16, UP | _RT, 50),
        ("price_unit_e6", 16, BOTH | _ALL, 2),
        ("vol_unit_e6", 16, BOTH | _ALL, 12),
        ("group", 8, BOTH, 0),
    ),
    _table(
        ("tenor_power_wad", 64, BOTH | _ALL | RELATIVE, 500),
        ("tenor_floor_seconds", 40, BOTH | _ALL | RELATIVE, 500),
        ("tenor_cap_wad", 64, BOTH | _ALL | RELATIVE, 500),
        ("deviation_band_bps", 16, BOTH | _ALL, 10),
        ("max_age_seconds", 32, BOTH, 0),
        ("max_confidence_bps", 16, DOWN, 0),
        ("max_skew_seconds", 24, BOTH, 0),
    ),
    _table(*((f"price_lane_{i}", 13, BOTH | _ALL | LANE, 10_000) for i in range(16))),
    _table(*((f"vol_lane_{i}", 13, BOTH | _ALL | LANE, 50_000) for i in range(16))),
    _table(
        ("underlying", 8, BOTH, 0),
        ("decimals", 8, BOTH, 0),
        ("haircut_bps", 16, UP | _RT, 50),
        ("cap", 128, DOWN | RAMP_LOOSER | RELATIVE, 350),
        ("has_rate", 1, BOTH, 0),
    ),
    _table(
        ("base_rate_bps", 16, BOTH, 0),
        ("kink_utilisation_bps", 16, BOTH, 0),
        ("kink_rate_bps", 16, BOTH, 0),
        ("full_rate_bps", 24, BOTH, 0),
        ("reserve_share_bps", 16, BOTH, 0),
        ("trade_fee_e6", 24, BOTH, 0),
        ("option_fee_cap_bps", 16, BOTH, 0),
        ("warning_bps", 16, UP, 0),
        ("min_margin_wad", 96, BOTH, 0),
    ),
    _table(
        ("grace_seconds", 24, BOTH, 0),
        ("reward_time_bps", 16, BOTH, 0),
        ("emergency_bps", 16, BOTH, 0),
        ("insurance_event_cap_wad", 96, DOWN_ZERO_IS_NONE, 0),
        ("insurance_period_cap_wad", 96, DOWN_ZERO_IS_NONE, 0),
    ),
    _table(
        ("insurance_period_seconds", 32, UP, 0),
        ("adl_share_bps", 16, BOTH, 0),
        ("cash_withdraw_cap_wad", 112, DOWN_ZERO_IS_NONE, 0),
        ("withdraw_period_seconds", 32, UP, 0),
        ("unrealised_cap_usd", 64, DOWN_ZERO_IS_NONE, 0),
    ),
    _table(
        ("settle_window_seconds", 24, BOTH, 0),
        ("settle_min_observations", 16, BOTH, 0),
        ("settle_min_spacing_seconds", 16, BOTH, 0),
        ("breaker_seconds", 24, UP, 0),
        ("sequencer_grace_seconds", 24, BOTH, 0),
        ("wind_down_notice_seconds", 32, BOTH, 0),
        ("funding_period_seconds", 32, BOTH, 0),
    ),
    _table(
        ("oi_cap_wad", 104, DOWN_ZERO_IS_NONE, 0),
        ("max_funding_bps", 16, BOTH, 0),
        ("stable_rate_bps_per_day", 16, BOTH, 0),
        ("stable_band_bps", 16, BOTH, 0),
        ("jump_bps", 16, DOWN_ZERO_IS_NONE, 0),
        ("position_cap_wad", 88, DOWN_ZERO_IS_NONE, 0),
    ),
    _table(("withdraw_cap", 128, DOWN_ZERO_IS_NONE, 0)),
)


# ---------------------------------------------------------------------------------------- words


def words_of(blob: bytes) -> list[int]:
    """The words of a blob whose length is a multiple of 32."""
    return [
        int.from_bytes(blob[i : i + WORD_BYTES], "big") for i in range(0, len(blob), WORD_BYTES)
    ]


def blob_of(words: Sequence[int]) -> bytes:
    """The blob of ``words``."""
    return b"".join(word.to_bytes(WORD_BYTES, "big") for word in words)


def counts(words: Sequence[int]) -> tuple[int, int, int]:
    """K, U and C of word 0."""
    return words[0] & 0xFF, words[0] >> 8 & 0xFF, words[0] >> 16 & 0xFF


def length_of(underlyings: int, collaterals: int) -> int:
    """Bytes of a blob with these counts."""
    tail = TAIL_WORDS + underlyings + collaterals
    return WORD_BYTES * (HEADER_WORDS + UNDERLYING_WORDS * underlyings + collaterals + tail)


def locate(index: int, underlyings: int, collaterals: int) -> tuple[int, int, int]:
    """Word ``index`` of a blob: its kind, the number of its underlying or collateral (or of the
    word among the weights), and the first scenario of a word of weights or lanes.
    """
    if index == 0:
        return HEADER, 0, 0
    if index < HEADER_WORDS:
        return WEIGHTS, index - 1, 16 * (index - 1)
    rest = index - HEADER_WORDS
    if rest < UNDERLYING_WORDS * underlyings:
        u, m = divmod(rest, UNDERLYING_WORDS)
        if m < 2:
            return CHARGES + m, u, 0
        return (PRICE_LANES, u, 16 * (m - 2)) if m < 6 else (VOL_LANES, u, 16 * (m - 6))
    rest -= UNDERLYING_WORDS * underlyings
    if rest < collaterals:
        return COLLATERAL, rest, 0
    rest -= collaterals
    if rest < TAIL_WORDS:
        return TAIL_CASH + rest, 0, 0
    rest -= TAIL_WORDS
    if rest < underlyings:
        return TAIL_UNDERLYING, rest, 0
    return TAIL_COLLATERAL, rest - underlyings, 0


def is_lane(kind: int) -> bool:
    """A word of price or vol lanes."""
    return kind in (PRICE_LANES, VOL_LANES)


def unit_of(words: Sequence[int], kind: int, u: int) -> int:
    """The unit of the lanes of ``kind`` of underlying u, 1e-6."""
    return (
        words[HEADER_WORDS + UNDERLYING_WORDS * u] >> (168 if kind == PRICE_LANES else 184) & 0xFFFF
    )


def lane_of(words: Sequence[int], kind: int, u: int, k: int) -> int:
    """The signed lane of scenario k."""
    first = HEADER_WORDS + UNDERLYING_WORDS * u + (2 if kind == PRICE_LANES else 6)
    return (words[first + k // 16] >> 13 * (k % 16) & 0x1FFF) - LANE_BIAS


def require_shape(base: bytes, blob: bytes) -> None:
    """``BlobLength(given, wanted)``, ``BlobCounts(given, wanted)``: a proposal has the counts of
    the blob that it replaces.
    """
    if len(blob) != len(base):
        raise ModelRevert("BlobLength", (len(blob), len(base)))
    given, wanted = (words_of(b)[0] >> 8 & 0xFFFF for b in (blob, base))
    if given != wanted:
        raise ModelRevert("BlobCounts", (given, wanted))


# -------------------------------------------------------------------------------------- listing


def with_underlying(blob: bytes, added: bytes) -> bytes:
    """``blob`` with one underlying more: ``added`` is its ten words and its word of the tail.

    ``BlobLength(given, wanted)`` unless ``added`` is 11 words.
    """
    if len(added) != WORD_BYTES * (UNDERLYING_WORDS + 1):
        raise ModelRevert("BlobLength", (len(added), WORD_BYTES * (UNDERLYING_WORDS + 1)))
    words, new = words_of(blob), words_of(added)
    _, u, c = counts(words)
    at = HEADER_WORDS + UNDERLYING_WORDS * u
    tail = at + c + TAIL_WORDS + u
    words[0] += 1 << 8
    return blob_of([*words[:at], *new[:10], *words[at:tail], new[10], *words[tail:]])


def with_collateral(blob: bytes, word: int, tail_word: int) -> bytes:
    """``blob`` with one collateral more."""
    words = words_of(blob)
    _, u, c = counts(words)
    at = HEADER_WORDS + UNDERLYING_WORDS * u + c
    words[0] += 1 << 16
    return blob_of([*words[:at], word, *words[at:], tail_word])


def fields(kind: int) -> Iterator[tuple[int, Field]]:
    """(place in the word, field) of a kind of word."""
    return enumerate(TABLES[kind])
