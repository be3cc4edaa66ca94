"""Risk parameters: typed, immutable, with the one canonical encoding.  Twin:
``contracts/params/RiskParamsBlob.sol``.

Layout of the words: docs/margin.md §2.  Values may break the rules (``params_logic.validate``
judges the encoded blob, as the contract does); ``encode`` only refuses, with ``ValueError``, what
does not fit its field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

HEADER_WORDS: Final = 5
UNDERLYING_WORDS: Final = 10
LANES_PER_WORD: Final = 16
LANE_BITS: Final = 13
LANE_BIAS: Final = 4096
LANE_WORDS: Final = 4
WORD_BYTES: Final = 32

# (field, bits) from the least significant bit
_HEADER: Final = (
    ("scenario_count", 8),
    ("underlying_count", 8),
    ("collateral_count", 8),
    ("im_factor_bps", 16),
    ("target_bps", 16),
    ("reward_base_bps", 16),
    ("reward_slope_bps", 16),
    ("reward_max_bps", 16),
)
_CHARGES: Final = (
    ("depth_wad", 104),
    ("som_bps", 16),
    ("liq_bps", 16),
    ("basis_base_bps", 16),
    ("basis_slope_bps", 16),
    ("price_unit_e6", 16),
    ("vol_unit_e6", 16),
    ("group", 8),
)
_LIMITS: Final = (
    ("tenor_power_wad", 64),
    ("tenor_floor_seconds", 40),
    ("tenor_cap_wad", 64),
    ("deviation_band_bps", 16),
    ("max_age_seconds", 32),
    ("max_confidence_bps", 16),
    ("max_skew_seconds", 24),
)
TAIL_WORDS: Final = 4
# the tail, which only actions that change state read; 0 means off
_TAIL: Final = (
    (
        ("base_rate_bps", 16),
        ("kink_utilisation_bps", 16),
        ("kink_rate_bps", 16),
        ("full_rate_bps", 24),
        ("reserve_share_bps", 16),
        ("trade_fee_e6", 24),
        ("option_fee_cap_bps", 16),
        ("warning_bps", 16),
        ("min_margin_wad", 96),
    ),
    (
        ("grace_seconds", 24),
        ("reward_time_bps", 16),
        ("emergency_bps", 16),
        ("insurance_event_cap_wad", 96),
        ("insurance_period_cap_wad", 96),
    ),
    (
        ("insurance_period_seconds", 32),
        ("adl_share_bps", 16),
        ("cash_withdraw_cap_wad", 112),
        ("withdraw_period_seconds", 32),
        ("unrealised_cap_usd", 64),
    ),
    (
        ("settle_window_seconds", 24),
        ("settle_min_observations", 16),
        ("settle_min_spacing_seconds", 16),
        ("breaker_seconds", 24),
        ("sequencer_grace_seconds", 24),
        ("wind_down_notice_seconds", 32),
        ("funding_period_seconds", 32),
    ),
)
_UNDERLYING_TAIL: Final = (
    ("oi_cap_wad", 104),
    ("max_funding_bps", 16),
    ("stable_rate_bps_per_day", 16),
    ("stable_band_bps", 16),
    ("jump_bps", 16),
    ("position_cap_wad", 88),
)
_COLLATERAL_TAIL: Final = (("withdraw_cap", 128),)
_COLLATERAL: Final = (
    ("underlying", 8),
    ("decimals", 8),
    ("haircut_bps", 16),
    ("cap", 128),
    ("has_rate", 1),
)


@dataclass(frozen=True)
class UnderlyingParams:
    """Parameters of one underlying.  Lanes are signed integers; shock = lane·unit_e6·1e-6."""

    depth_wad: int
    som_bps: int
    liq_bps: int
    basis_base_bps: int
    basis_slope_bps: int
    price_unit_e6: int
    vol_unit_e6: int
    tenor_power_wad: int
    tenor_floor_seconds: int
    tenor_cap_wad: int
    deviation_band_bps: int
    max_age_seconds: int
    max_confidence_bps: int
    max_skew_seconds: int
    price_lanes: tuple[int, ...]
    vol_lanes: tuple[int, ...]
    # tail (0: off)
    oi_cap_wad: int = 0
    max_funding_bps: int = 0
    stable_rate_bps_per_day: int = 0
    stable_band_bps: int = 0
    jump_bps: int = 0
    position_cap_wad: int = 0
    # underlyings of one group may be margined together; among the charges of the blob
    group: int = 0


@dataclass(frozen=True)
class CollateralParams:
    """Parameters of one collateral; ``underlying``, ``decimals`` and ``has_rate`` repeat the
    listing.
    """

    underlying: int
    decimals: int
    haircut_bps: int
    cap: int
    has_rate: bool
    withdraw_cap: int = 0  # tail: native units per withdraw period, 0: off


@dataclass(frozen=True)
class RiskParams:
    """The whole set.  Two sets are equal where their encodings are."""

    im_factor_bps: int
    target_bps: int
    reward_base_bps: int
    reward_slope_bps: int
    reward_max_bps: int
    weights_bps: tuple[int, ...]
    underlyings: tuple[UnderlyingParams, ...]
    collaterals: tuple[CollateralParams, ...]
    # tail (0: off), see contracts/params/ParamsTail.sol
    base_rate_bps: int = 0
    kink_utilisation_bps: int = 0
    kink_rate_bps: int = 0
    full_rate_bps: int = 0
    reserve_share_bps: int = 0
    trade_fee_e6: int = 0
    option_fee_cap_bps: int = 0
    warning_bps: int = 0
    min_margin_wad: int = 0
    grace_seconds: int = 0
    reward_time_bps: int = 0
    emergency_bps: int = 0
    insurance_event_cap_wad: int = 0
    insurance_period_cap_wad: int = 0
    insurance_period_seconds: int = 0
    adl_share_bps: int = 0
    cash_withdraw_cap_wad: int = 0
    withdraw_period_seconds: int = 0
    unrealised_cap_usd: int = 0
    settle_window_seconds: int = 0
    settle_min_observations: int = 0
    settle_min_spacing_seconds: int = 0
    breaker_seconds: int = 0
    sequencer_grace_seconds: int = 0
    wind_down_notice_seconds: int = 0
    funding_period_seconds: int = 0

    def __hash__(self) -> int:
        return hash(self.blob)

    @property
    def scenario_count(self) -> int:
        """K."""
        return len(self.weights_bps)

    @property
    def underlying_count(self) -> int:
        """U."""
        return len(self.underlyings)

    @property
    def collateral_count(self) -> int:
        """C."""
        return len(self.collaterals)

    @property
    def has_groups(self) -> bool:
        """The underlyings are of more than one group."""
        return len({u.group for u in self.underlyings}) > 1

    @cached_property
    def blob(self) -> bytes:
        """The encoding, computed once."""
        return self.encode()

    def encode(self) -> bytes:
        """The blob; ``ValueError`` where a value does not fit its field."""
        words = [_pack(_HEADER, self)]
        words += _pack_fields(self.weights_bps, 16, 16, 4, 0)
        for u in self.underlyings:
            words += [_pack(_CHARGES, u), _pack(_LIMITS, u)]
            words += _pack_lanes(u.price_lanes)
            words += _pack_lanes(u.vol_lanes)
        words += [_pack(_COLLATERAL, c) for c in self.collaterals]
        words += [_pack(fields, self) for fields in _TAIL]
        words += [_pack(_UNDERLYING_TAIL, u) for u in self.underlyings]
        words += [_pack(_COLLATERAL_TAIL, c) for c in self.collaterals]
        return b"".join(word.to_bytes(WORD_BYTES, "big") for word in words)

    @classmethod
    def decode(cls, blob: bytes) -> RiskParams:
        """The set that ``blob`` encodes; the blob has been validated."""
        words = words_of(blob)
        header = _unpack(_HEADER, words[0])
        k, u, c = header["scenario_count"], header["underlying_count"], header["collateral_count"]
        at = HEADER_WORDS + UNDERLYING_WORDS * u
        tail = at + c
        return cls(
            **{name: header[name] for name, _ in _HEADER[3:]},
            weights_bps=tuple(weight_bps(words, i) for i in range(k)),
            underlyings=tuple(
                _underlying(
                    words[HEADER_WORDS + UNDERLYING_WORDS * i :], k, words[tail + TAIL_WORDS + i]
                )
                for i in range(u)
            ),
            collaterals=tuple(
                _collateral(words[at + j], words[tail + TAIL_WORDS + u + j]) for j in range(c)
            ),
            **tail_fields(words, tail),
        )


def words_of(blob: bytes) -> list[int]:
    """The 32-byte words of the blob."""
    return [
        int.from_bytes(blob[i : i + WORD_BYTES], "big") for i in range(0, len(blob), WORD_BYTES)
    ]


def header_fields(word: int) -> dict[str, int]:
    """Fields of word 0."""
    return _unpack(_HEADER, word)


def charge_fields(word: int) -> dict[str, int]:
    """Fields of word 5+10u."""
    return _unpack(_CHARGES, word)


def limit_fields(word: int) -> dict[str, int]:
    """Fields of word 6+10u."""
    return _unpack(_LIMITS, word)


def tail_fields(words: Sequence[int], first: int) -> dict[str, int]:
    """Fields of the four global words of the tail, which starts at word ``first``."""
    out: dict[str, int] = {}
    for i, fields in enumerate(_TAIL):
        out |= _unpack(fields, words[first + i])
    return out


def underlying_tail_fields(word: int) -> dict[str, int]:
    """Fields of word T+4+u."""
    return _unpack(_UNDERLYING_TAIL, word)


def collateral_tail_fields(word: int) -> dict[str, int]:
    """Fields of word T+4+U+j."""
    return _unpack(_COLLATERAL_TAIL, word)


def collateral_fields(word: int) -> dict[str, int]:
    """Fields of word 5+10U+j."""
    return _unpack(_COLLATERAL, word)


def weight_bps(words: Sequence[int], k: int) -> int:
    """w_k, also beyond K."""
    return words[1 + k // 16] >> 16 * (k % 16) & 0xFFFF


def raw_lane(words: Sequence[int], k: int) -> int:
    """Stored lane k (value + 4096) of four words of lanes."""
    return words[k // LANES_PER_WORD] >> LANE_BITS * (k % LANES_PER_WORD) & 0x1FFF


def _underlying(words: Sequence[int], k: int, tail: int) -> UnderlyingParams:
    return UnderlyingParams(
        **charge_fields(words[0]),
        **limit_fields(words[1]),
        price_lanes=tuple(raw_lane(words[2:6], i) - LANE_BIAS for i in range(k)),
        vol_lanes=tuple(raw_lane(words[6:10], i) - LANE_BIAS for i in range(k)),
        **underlying_tail_fields(tail),
    )


def _collateral(word: int, tail: int) -> CollateralParams:
    fields = collateral_fields(word)
    return CollateralParams(
        underlying=fields["underlying"],
        decimals=fields["decimals"],
        haircut_bps=fields["haircut_bps"],
        cap=fields["cap"],
        has_rate=bool(fields["has_rate"]),
        **collateral_tail_fields(tail),
    )


def _pack(layout: Sequence[tuple[str, int]], source: object) -> int:
    word = shift = 0
    for name, bits in layout:
        value = int(getattr(source, name))
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{name} = {value} does not fit {bits} bits")
        word |= value << shift
        shift += bits
    return word


def _unpack(layout: Sequence[tuple[str, int]], word: int) -> dict[str, int]:
    def fields() -> Iterator[tuple[str, int]]:
        rest = word
        for name, bits in layout:
            yield name, rest & (1 << bits) - 1
            rest >>= bits

    return dict(fields())


def _pack_lanes(lanes: Sequence[int]) -> list[int]:
    for lane in lanes:
        if not -LANE_BIAS < lane < LANE_BIAS:
            raise ValueError(f"lane {lane} is not in [-4095, 4095]")
    return _pack_fields(
        [x + LANE_BIAS for x in lanes], LANE_BITS, LANES_PER_WORD, LANE_WORDS, LANE_BIAS
    )


def _pack_fields(
    values: Sequence[int], bits: int, per_word: int, count: int, fill: int
) -> list[int]:
    if len(values) > per_word * count:
        raise ValueError(f"{len(values)} values do not fit {per_word * count} places")
    padded = [*values, *[fill] * (per_word * count - len(values))]
    words = [0] * count
    for i, value in enumerate(padded):
        if not 0 <= value < 1 << bits:
            raise ValueError(f"value {i} = {value} does not fit {bits} bits")
        words[i // per_word] |= value << bits * (i % per_word)
    return words
