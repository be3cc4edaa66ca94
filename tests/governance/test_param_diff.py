"""Classification of every field: docs/governance.md G3, G4."""

from __future__ import annotations

from dataclasses import fields, replace
from random import Random
from typing import Any

import pytest

from risk.errors import RevertError
from risk.exact.errors import ModelRevert
from risk.exact.governance import param_diff
from risk.exact.governance import param_layout as pl
from risk.exact.params.risk_params import CollateralParams, RiskParams, UnderlyingParams
from tests.governance.blobs import mutate, random_blob, random_value, with_bit, with_field
from tests.governance.support import GUARDIAN, GovernedVault, base_params

STRUCTURE = {"underlyings", "collaterals", "weights_bps", "price_lanes", "vol_lanes"}
PLACES = {"scenario_count", "underlying_count", "collateral_count"}


def changed_names(old: bytes, new: bytes) -> list[str]:
    words = pl.words_of(old)
    _, u, c = pl.counts(words)
    names = []
    for change in param_diff.diff(old, new):
        kind, _, _ = pl.locate(change >> 16, u, c)
        names += [f.name for _, f in pl.fields(kind) if f.shift == change >> 8 & 0xFF]
    return names


def test_G3_every_field_of_the_parameters_is_classified_by_its_name() -> None:
    """Fails when somebody adds a field to the parameters and not to the table."""
    scenario = ("weight_", "price_lane_", "vol_lane_")
    names = {f.name for table in pl.TABLES for f in table if not f.name.startswith(scenario)}
    known = names - PLACES
    wanted: set[str] = set()
    for kind in (RiskParams, UnderlyingParams, CollateralParams):
        wanted |= {f.name for f in fields(kind)}
    assert known == wanted - STRUCTURE


def test_G3_a_change_of_one_field_is_reported_as_that_field() -> None:
    base = base_params()
    cases: list[tuple[str, RiskParams]] = []

    def changed(item: Any, name: str) -> Any:
        value = getattr(item, name)
        return replace(item, **{name: not value if isinstance(value, bool) else value + 1})

    for f in fields(RiskParams):
        if f.name not in STRUCTURE:
            cases.append((f.name, changed(base, f.name)))
    for f in fields(UnderlyingParams):
        if f.name not in STRUCTURE:
            second = changed(base.underlyings[1], f.name)
            cases.append((f.name, replace(base, underlyings=(base.underlyings[0], second))))
    for f in fields(CollateralParams):
        second = changed(base.collaterals[1], f.name)
        cases.append((f.name, replace(base, collaterals=(base.collaterals[0], second))))
    assert len(cases) >= 57
    for name, params in cases:
        assert changed_names(base.encode(), params.encode()) == [name]
    for k in range(8):
        weights = list(base.weights_bps)
        weights[k] -= 1
        lanes = list(base.underlyings[0].price_lanes)
        lanes[k] += 1
        first = replace(base.underlyings[0], price_lanes=tuple(lanes))
        moved = replace(base, underlyings=(first, base.underlyings[1]))
        assert changed_names(base.encode(), replace(base, weights_bps=tuple(weights)).encode()) == [
            f"weight_{k}"
        ]
        assert changed_names(base.encode(), moved.encode()) == [f"price_lane_{k}"]


@pytest.mark.parametrize("shape", [(1, 1, 0), (8, 2, 2), (64, 3, 4)])
def test_G3_every_bit_is_classified(shape: tuple[int, int, int]) -> None:
    """No bit can change without a class; bits of no field count as loosening."""
    blob = random_blob(Random(f"bits {shape}"), *shape)
    k, u, c = shape
    for index in range(len(blob) // 32):
        kind, _, first = pl.locate(index, u, c)
        owner = {bit: f for _, f in pl.fields(kind) for bit in range(f.shift, f.shift + f.bits)}
        for bit in range(256):
            if index == 0 and bit < 24:
                continue  # counts: their own tests
            changes = param_diff.diff(blob, with_bit(blob, index, bit))
            field = owner.get(bit)
            if field is None:
                assert changes == [index << 16 | 0xFF << 8 | 3]
            elif pl.is_lane(kind) and first + field.shift // 13 >= k:
                assert changes == []  # of a scenario that does not exist; the vault fixes it
            else:
                assert [x >> 8 for x in changes] == [index << 8 | field.shift]
                assert changes[0] & 3


def test_G3_the_fields_of_a_word_do_not_overlap() -> None:
    for table in pl.TABLES:
        used = 0
        for f in table:
            mask = (1 << f.bits) - 1 << f.shift
            assert used & mask == 0
            used |= mask
        assert used < 1 << 256


def test_G3_direction_of_each_rule() -> None:
    tight, loose = param_diff.TIGHTENS, param_diff.LOOSENS
    for rule, old, new, want in (
        (pl.UP, 1, 2, tight),
        (pl.UP, 2, 0, loose),
        (pl.DOWN, 1, 2, loose),
        (pl.DOWN, 2, 0, tight),
        (pl.DOWN_ZERO_IS_NONE, 2, 1, tight),
        (pl.DOWN_ZERO_IS_NONE, 1, 2, loose),
        (pl.DOWN_ZERO_IS_NONE, 0, 2**100, tight),  # a limit where there was none
        (pl.DOWN_ZERO_IS_NONE, 1, 0, loose),  # the tightest limit is lifted
        (pl.BOTH, 1, 2, tight | loose),
        (pl.BOTH, 2, 1, tight | loose),
        (pl.BOTH, 2, 2, 0),
    ):
        assert param_diff.classify(rule, old, new) == want


def test_G3_scenarios_added_tighten_and_removed_loosen() -> None:
    """The weight speaks for the scenario; its lanes do not count on their own."""
    base = base_params()

    def with_ninth(price: int) -> RiskParams:
        us = tuple(
            replace(u, price_lanes=(*u.price_lanes, price), vol_lanes=(*u.vol_lanes, 7))
            for u in base.underlyings
        )
        return replace(base, weights_bps=(*base.weights_bps, 3_500), underlyings=us)

    more = with_ninth(-4_000).encode()
    assert {x & 3 for x in param_diff.diff(base.encode(), more)} == {param_diff.TIGHTENS}
    assert {x & 3 for x in param_diff.diff(more, base.encode())} == {param_diff.LOOSENS}
    param_diff.require_tightening(base.encode(), more)
    with pytest.raises(ModelRevert) as caught:
        param_diff.require_tightening(more, with_ninth(-3_000).encode())
    assert caught.value.name == "Loosens"


def test_G4_a_guardian_may_not_loosen_any_field(governed: GovernedVault) -> None:
    """Each field alone, in each direction, is judged alike by model and chain."""
    base = base_params().encode()
    words = pl.words_of(base)
    _, u, c = pl.counts(words)
    rng = Random("single fields")
    seen: dict[str, set[bool]] = {}
    for index, word in enumerate(words):
        kind, _, first = pl.locate(index, u, c)
        for place, field in pl.fields(kind):
            of_scenario = kind == pl.WEIGHTS or pl.is_lane(kind)
            if field.name in PLACES or (of_scenario and first + place >= 8):
                continue
            old = field.get(word)
            for value in {max(old - 1, 0), min(old + 1, (1 << field.bits) - 1), 0} | {
                random_value(rng, field)
            }:
                blob = with_field(base, index, field, value)
                if blob == base:
                    continue
                want = param_diff.diff(base, blob)
                assert governed.view("diff", base, blob) == [want]
                loosens = bool(want[0] & param_diff.LOOSENS)
                seen.setdefault(field.name, set()).add(loosens)
                if loosens:
                    refused = governed.act(GUARDIAN, "tighten", blob)
                    assert refused == ModelRevert("Loosens", (index, field.shift))
    assert all(True in s for s in seen.values()), seen  # every field can loosen
    assert sum(s == {True, False} for s in seen.values()) >= 20  # the ordered ones do both


def test_G3_chain_classifies_random_blobs_alike(governed: GovernedVault) -> None:
    rng = Random("diff on chain")
    for i in range(150):
        shape = rng.choice(((1, 1, 0), (8, 2, 2), (16, 1, 3), (33, 3, 1), (64, 4, 5)))
        old = random_blob(rng, *shape)
        new = mutate(rng, old, rng.choice((0, 1, 3, 30))) if i % 3 else random_blob(rng, *shape)
        if i % 10 == 0:
            new = with_bit(new, rng.randrange(1, len(new) // 32), rng.randrange(256))
        assert governed.view("diff", old, new) == [param_diff.diff(old, new)]


def test_G3_blobs_of_another_shape_are_refused(governed: GovernedVault) -> None:
    blob = random_blob(Random("shape"), 8, 2, 2)
    words = pl.words_of(blob)
    other = pl.blob_of([words[0] ^ 1 << 8, *words[1:]])
    for new, want in (
        (blob[:-32], ModelRevert("BlobLength", (len(blob) - 32, len(blob)))),
        (blob + b"\0", ModelRevert("BlobLength", (len(blob) + 1, len(blob)))),
        (other, ModelRevert("BlobCounts", (0x0203, 0x0202))),
    ):
        with pytest.raises(ModelRevert) as caught:
            param_diff.diff(blob, new)
        assert caught.value == want
        with pytest.raises(RevertError) as refused:
            governed.view("diff", blob, new)
        assert refused.value.data == governed.errors.encode(want.name, want.args)
