"""Rules of the tail of the risk parameters: the last value that is admitted and the first that is
not, on both sides.  A mutant without any of these rules lived until there was this file.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from risk.exact.errors import ModelRevert
from risk.exact.params import params_logic
from risk.exact.params.risk_params import HEADER_WORDS, TAIL_WORDS, UNDERLYING_WORDS, RiskParams
from risk.exact.state import State
from tests.margin.conftest import OWNER, VaultCalls
from tests.margin.test_params import base, field_of, with_word

U = 2  # underlyings of ``base``

# (word of the tail, shift, bits, admitted, refused, expected (field, index))
LIMITS: list[tuple[int, int, int, int, int, tuple[str, int]]] = [
    (0, 16, 16, 9_999, 10_000, ("kink_utilisation_bps", 0)),
    (0, 32, 16, 100, 99, ("kink_rate_bps", 0)),
    (0, 48, 24, 900, 899, ("full_rate_bps", 0)),
    (0, 72, 16, 10_000, 10_001, ("reserve_share_bps", 0)),
    (0, 88, 24, 10_000, 10_001, ("trade_fee_e6", 0)),
    (0, 112, 16, 10_000, 10_001, ("option_fee_cap_bps", 0)),
    (1, 40, 16, 10_000, 10_001, ("emergency_bps", 0)),
    (2, 32, 16, 10_000, 10_001, ("adl_share_bps", 0)),
    (TAIL_WORDS, 104, 16, 1_000, 1_001, ("max_funding_bps", 0)),
    (TAIL_WORDS + 1, 104, 16, 1_000, 1_001, ("max_funding_bps", 1)),
]

# (word of the tail, first bit that must be 0; 256: all are used)
USED: list[tuple[int, int]] = [
    (0, 240),
    (1, 248),
    (2, 256),
    (3, 168),
    (TAIL_WORDS, 256),
    (TAIL_WORDS + 1, 256),
    (TAIL_WORDS + U, 128),
    (TAIL_WORDS + U + 1, 128),
]


def tailed() -> tuple[State, RiskParams, int]:
    """A state, its parameters with a whole tail, and the index of the tail's first word."""
    state, params = base()
    params = replace(
        params,
        base_rate_bps=100,
        kink_utilisation_bps=8_000,
        kink_rate_bps=900,
        full_rate_bps=10_000,
        reserve_share_bps=1_000,
        trade_fee_e6=300,
        option_fee_cap_bps=1_250,
        emergency_bps=9_000,
        adl_share_bps=5_000,
        funding_period_seconds=28_800,
        underlyings=tuple(replace(u, max_funding_bps=100) for u in params.underlyings),
    )
    assert len(params.collaterals) >= 2
    return state, params, HEADER_WORDS + UNDERLYING_WORDS * U + len(params.collaterals)


def blobs() -> list[tuple[bytes, tuple[str, int, int] | None]]:
    """Blobs with what is expected of each: None where it is admitted."""
    _, params, first = tailed()
    blob = params.encode()
    out: list[tuple[bytes, tuple[str, int, int] | None]] = [(blob, None)]
    for word, shift, bits, admitted, refused, (field, index) in LIMITS:
        at = first + word
        out.append((with_word(blob, at, admitted, shift, bits), None))
        out.append((with_word(blob, at, refused, shift, bits), (field, index, refused)))
    for word, bit in USED:
        at = first + word
        out.append((with_word(blob, at, 1, bit - 1, 1), None))
        for stray in {bit, 255} if bit < 256 else ():
            expected = ("stray_bits", at, 1 << stray)
            out.append((with_word(blob, at, 1, stray, 1), expected))
    # no premium can be paid in no time; without a premium the period may be 0
    timeless = with_word(blob, first + 3, 0, 136, 32)
    out.append((with_word(blob, first + 3, 1, 136, 32), None))
    out.append((timeless, ("funding_period_seconds", 0, 0)))
    second = with_word(timeless, first + TAIL_WORDS, 0, 104, 16)
    out.append((second, ("funding_period_seconds", 1, 0)))
    out.append((with_word(second, first + TAIL_WORDS + 1, 0, 104, 16), None))
    # the rate of the curve may not fall anywhere, whichever end is moved
    out.append((with_word(blob, first, 901, 0, 16), ("kink_rate_bps", 0, 900)))
    out.append((with_word(blob, first, 10_001, 32, 16), ("full_rate_bps", 0, 10_000)))
    return out


def test_the_model_names_the_broken_rule() -> None:
    state, _, _ = tailed()
    for blob, expected in blobs():
        if expected is None:
            params_logic.validate(state, blob)
            continue
        with pytest.raises(ModelRevert) as caught:
            params_logic.validate(state, blob)
        assert field_of(caught.value) == expected


@pytest.mark.chain
def test_the_chain_refuses_and_admits_the_same(vault: VaultCalls) -> None:
    state, _, _ = tailed()
    for blob, expected in blobs():
        got = vault.call(state, "setRiskParams", blob, sender=OWNER)
        if expected is None:
            assert got == [], (blob.hex(), got)
            continue
        field, index, value = expected
        name = int.from_bytes(field.encode().ljust(32, b"\0"), "big")
        assert got == vault.revert(ModelRevert("RiskParamsInvalid", (name, index, value)))
