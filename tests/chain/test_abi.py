"""The codec agrees with eth_abi and refuses what does not fit."""

from __future__ import annotations

from random import Random
from typing import Any

import eth_abi
import pytest

from risk.chain.abi import AbiError, Errors, codec, function
from risk.exact.errors import ModelRevert

TYPES = [
    "uint256",
    "int256",
    "uint8",
    "int96",
    "uint168",
    "address",
    "bytes32",
    "bytes4",
    "bool",
    "bytes",
]


def _random(rng: Random, kind: str) -> tuple[Any, Any]:
    """(our form, eth_abi's form)"""
    if kind == "bytes":
        data = rng.randbytes(rng.randrange(70))
        return data, data
    if kind == "bool":
        bit = rng.getrandbits(1)
        return bit, bool(bit)
    if kind == "address":
        value = rng.getrandbits(160)
        return value, f"0x{value:040x}"
    if kind.startswith("bytes"):
        size = int(kind[5:])
        data = rng.randbytes(size)
        return int.from_bytes(data, "big"), data
    bits = int(kind.lstrip("uint"))
    value = rng.getrandbits(bits)
    if kind.startswith("int"):
        value -= 1 << (bits - 1)
    return value, value


@pytest.mark.parametrize("seed", range(25))
def test_agrees_with_eth_abi(seed: int) -> None:
    rng = Random(seed)
    kinds = [rng.choice(TYPES) for _ in range(rng.randint(1, 6))]
    flat = [_random(rng, k) for k in kinds]
    rows = [[_random(rng, k) for k in kinds] for _ in range(rng.randrange(4))]
    components = [{"type": k, "name": f"f{i}"} for i, k in enumerate(kinds)]
    struct = "(" + ",".join(kinds) + ")"
    ours = codec(
        "tuple",
        [*components, {"type": "tuple[]", "components": components}, {"type": "uint256[2]"}],
    )
    value = [*(a for a, _ in flat), [[a for a, _ in row] for row in rows], [1, 2]]
    theirs = [*(b for _, b in flat), [tuple(b for _, b in row) for row in rows], [1, 2]]
    encoded = ours.encode(value)
    assert encoded == eth_abi.encode([*kinds, struct + "[]", "uint256[2]"], theirs)
    assert ours.decode(encoded, 0) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [("uint8", 256), ("uint8", -1), ("int96", 2**95), ("bool", 2), ("address", 2**160)],
)
def test_what_does_not_fit_is_refused(kind: str, value: int) -> None:
    with pytest.raises(AbiError, match=kind):
        codec(kind).encode(value)


@pytest.mark.parametrize("data", [b"", b"\x01" * 31, b"\xff" * 32])
def test_bad_data_is_refused(data: bytes) -> None:
    with pytest.raises(AbiError):
        codec("tuple", [{"type": "bytes"}]).decode(data, 0)
    with pytest.raises(AbiError):
        codec("uint8").decode(data, 0)


def test_errors_by_name_and_selector() -> None:
    abi = [
        {
            "type": "error",
            "name": "InsufficientMargin",
            "inputs": [{"type": "uint168"}, {"type": "int256"}, {"type": "uint256"}],
        }
    ]
    errors = Errors([abi])
    refusal = ModelRevert("InsufficientMargin", (7, -1, 5))
    data = errors.encode(refusal.name, refusal.args)
    assert errors.name(data) == "InsufficientMargin"
    assert errors.show(data) == "InsufficientMargin(7, -1, 5)"
    assert errors.name(b"") == "(empty)"
    assert errors.name(b"\x12\x34\x56\x78") == "0x12345678"
    assert errors.show(errors.encode("Panic", (17,))) == "Panic(17)"
    with pytest.raises(AbiError, match="Nonsense"):
        errors.encode("Nonsense", ())


def test_function_round_trip() -> None:
    transfer = function(
        {
            "name": "transfer",
            "inputs": [{"type": "address"}, {"type": "uint256"}],
            "outputs": [{"type": "bool"}],
        }
    )
    assert transfer.selector.hex() == "a9059cbb"
    data = transfer.encode(1, 2)
    assert transfer.arguments(data) == [1, 2]
    assert transfer.decode(transfer.encode_outputs(1)) == [1]
    with pytest.raises(AbiError):
        transfer.arguments(b"\x00" * 68)
