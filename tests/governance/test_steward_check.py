"""The steward's limits: docs/governance.md G9."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from risk.errors import RevertError
from risk.exact.errors import ModelRevert
from risk.exact.governance import param_layout as pl
from risk.exact.governance import steward_check
from tests.governance.blobs import mutate, random_blob, with_field
from tests.governance.support import CONFIG, GovernedVault, base_params

BPS = CONFIG.steward_bps


def judged(anchor: bytes, base: bytes, blob: bytes) -> ModelRevert | None:
    try:
        steward_check.require_within(anchor, base, blob, BPS)
    except ModelRevert as error:
        return error
    return None


def weight(value: int, k: int = 0) -> bytes:
    weights = list(base_params(weights_bps=(9_000,) * 8).weights_bps)
    weights[k] = value
    return base_params(weights_bps=tuple(weights)).encode()


def test_G9_the_limit_holds_in_both_directions_to_the_unit() -> None:
    base = weight(9_000)
    for value, ok in ((9_900, True), (8_100, True), (9_901, False), (8_099, False)):
        got = judged(base, base, weight(value))
        want = ModelRevert("StewardLimit", (1, 0, value, 9_000, 900))
        assert got == (None if ok else want)
    u = base_params().underlyings[0]
    for lane, ok in ((-1_320, True), (-1_080, True), (-1_321, False), (-1_079, False)):
        lanes = (lane, *u.price_lanes[1:])
        moved = replace(
            base_params(), underlyings=(replace(u, price_lanes=lanes), base_params().underlyings[1])
        ).encode()
        got = judged(base_params().encode(), base_params().encode(), moved)
        want = ModelRevert("StewardLimit", (7, 0, 4_096 + lane, 2_896, 120))
        assert got == (None if ok else want)


def test_G9_small_moves_add_up() -> None:
    """From 9000 by three moves of 4 %: the third is refused by the anchor, not by the base."""
    anchor = weight(9_000)
    assert judged(anchor, weight(9_360), weight(9_700)) is None
    assert judged(anchor, weight(9_700), weight(10_000)) == ModelRevert(
        "StewardLimit", (1, 0, 10_000, 9_000, 900)
    )


def test_G9_a_guardians_tightening_is_not_undone() -> None:
    """A guardian raised the weight since: the steward cannot bring it back below 90 % of that."""
    assert judged(weight(5_000), weight(9_000), weight(5_400)) == ModelRevert(
        "StewardLimit", (1, 0, 5_400, 9_000, 900)
    )


def test_G9_other_fields_are_not_the_stewards() -> None:
    base = base_params().encode()
    words = pl.words_of(base)
    _, u, c = pl.counts(words)
    for index, word in enumerate(words):
        kind, _, first = pl.locate(index, u, c)
        for place, field in pl.fields(kind):
            if field.name in ("underlying_count", "collateral_count"):
                continue
            scenario = kind == pl.WEIGHTS or pl.is_lane(kind)
            if pl.is_lane(kind) and first + place >= 8:
                continue
            value = field.get(word) ^ 1
            got = judged(base, base, with_field(base, index, field, value))
            if not scenario or first + place >= 8:
                assert got == ModelRevert("StewardField", (index, field.shift)), field.name
            elif field.get(word) == 4_096:  # a shock of zero stays zero
                assert got is not None and got.name == "StewardLimit"
            else:
                assert got is None, field.name


def test_G9_chain_judges_random_proposals_alike(governed: GovernedVault) -> None:
    rng = Random("steward on chain")
    outcomes: dict[str, int] = {}
    for i in range(120):
        shape = rng.choice(((8, 2, 2), (33, 1, 1), (64, 3, 2)))
        anchor = random_blob(rng, *shape)
        base = mutate(rng, anchor, rng.choice((0, 0, 3)))
        blob = base
        for _ in range(rng.choice((1, 2, 5))):
            words = pl.words_of(blob)
            k, u, c = pl.counts(words)
            index = rng.choice([x for x in range(len(words)) if 0 < x < 5 + 10 * u])
            kind, _, first = pl.locate(index, u, c)
            if kind != pl.WEIGHTS and not pl.is_lane(kind) and rng.random() < 0.4:
                continue
            field = rng.choice(pl.TABLES[kind])
            old = field.get(words[index])
            zero = 4_096 if pl.is_lane(kind) else 0
            size = abs(old - zero) * BPS // 10_000
            value = old + rng.choice((size, -size, size + 1, rng.randint(-size, size)))
            if first + field.shift // 16 < k or i % 7 == 0:
                top = (1 << field.bits) - 1
                blob = with_field(blob, index, field, min(max(value, 0), top))
        want = judged(anchor, base, blob)
        name = want.name if want else "ok"
        outcomes[name] = outcomes.get(name, 0) + 1
        if want is None:
            governed.view("checkSteward", anchor, base, blob)
        else:
            with pytest.raises(RevertError) as caught:
                governed.view("checkSteward", anchor, base, blob)
            assert caught.value.data == governed.errors.encode(want.name, want.args)
    assert all(outcomes.get(x, 0) > 5 for x in ("ok", "StewardField", "StewardLimit")), outcomes
