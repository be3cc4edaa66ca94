"""The second description of the storage layout agrees with solc's own."""

from __future__ import annotations

from typing import Any

import pytest

from risk.chain import decode, layout
from risk.chain.compile import compile_contracts
from risk.chain.node import project_root
from risk.diff.plumbline.cases import make_case


@pytest.fixture(scope="module")
def solc() -> dict[str, Any]:
    return dict(compile_contracts(project_root())["Vault"].storage_layout)


def _members(solc: dict[str, Any], struct: str) -> dict[str, tuple[int, int]]:
    kind = next(
        t for name, t in solc["types"].items() if t["label"] == f"struct VaultStorage.{struct}"
    )
    return {m["label"]: (int(m["slot"]), 8 * m["offset"]) for m in kind["members"]}


def test_slots_of_the_state(solc: dict[str, Any]) -> None:
    (first,) = (s for s in solc["storage"] if s["label"] == "$")
    assert int(first["slot"]) == layout.STATE_SLOT
    members = _members(solc, "State")
    assert members["underlyings"] == (layout.UNDERLYINGS, 0)
    assert members["collaterals"] == (layout.COLLATERALS, 0)
    assert members["accounts"] == (layout.ACCOUNTS, 0)
    assert members["buckets"] == (layout.BUCKETS, 0)
    assert members["strikes"] == (layout.STRIKES, 0)
    assert members["tokenIndex"] == (layout.TOKEN_INDEX, 0)
    assert members["orders"] == (layout.ORDERS, 0)
    assert members["isSigner"] == (layout.IS_SIGNER, 0)
    assert members["signerList"] == (layout.SIGNER_LIST, 0)
    assert members["openInterest"] == (layout.OPEN_INTEREST, 0)
    assert members["settlements"] == (layout.SETTLEMENTS, 0)
    assert members["operators"] == (layout.OPERATORS, 0)
    assert members["minNonce"] == (layout.MIN_NONCE, 0)
    assert members["deferred"] == (layout.DEFERRED, 0)


@pytest.mark.parametrize(
    ("struct", "prefix", "first_slot"),
    [
        ("State", "vault", layout.STATE_SLOT),
        ("UnderlyingData", "underlying[0]", layout.UNDERLYINGS),
        ("CollateralData", "collateral[0]", layout.COLLATERALS),
        ("AccountData", "account[", None),
        ("BucketData", "bucket[", None),
    ],
)
def test_fields(solc: dict[str, Any], struct: str, prefix: str, first_slot: int | None) -> None:
    members = _members(solc, struct)
    fields = layout.state_fields(make_case(1, 7).state)
    ours = [f for f in fields if f.name.startswith(prefix)]
    group = ours[0].name.rsplit(".", 1)[0]
    base = (
        min(f.slot for f in ours if f.name.startswith(group)) if first_slot is None else first_slot
    )
    compared = 0
    for field in ours:
        where, _, name = field.name.rpartition(".")
        if where == group and name in members:
            assert (field.slot - base, field.shift) == members[name], field.name
            compared += 1
    assert compared >= 3


def test_words_and_back() -> None:
    for index in range(30):
        state = make_case(2, index).state
        fields = layout.state_fields(state)
        again = layout.state_fields(decode.decode_state(state, layout.to_words(fields)))
        assert again == fields


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit 8 bits"):
        layout.pack((256, 8))
    with pytest.raises(ValueError, match="does not fit 4 bits"):
        layout.to_words([layout.Field("x", 0, 0, 4, True, 8)])
