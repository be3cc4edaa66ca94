"""A book as JSON and back, so that a recommendation can be made again without the node it was read
from.

What any margin depends on is kept; orders, operators and what waits in a batch are not. Every whole
number is a decimal string, a field that has its default is left out, keys of maps are decimal
strings too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Final, get_args, get_origin, get_type_hints

from risk.exact.params.risk_params import RiskParams
from risk.exact.state import (
    Account,
    Bucket,
    Collateral,
    Linear,
    Option,
    Settlement,
    State,
    Underlying,
)
from risk.quant.book_market import RiskBook

LEFT_OUT: Final = (
    "filled_wad",
    "cancelled",
    "signers",
    "signer_threshold",
    "operators",
    "min_nonce",
    "deferred",
    "deferring",
)
_NAMES: Final = {
    "RiskParams": RiskParams,
    **{
        c.__name__: c for c in (Account, Bucket, Collateral, Linear, Option, Settlement, Underlying)
    },
}


def to_json(book: RiskBook) -> dict[str, Any]:
    """`about`, names and labels of a book, and its state."""
    return {
        "about": dict(book.about),
        "underlyings": list(book.underlyings),
        "collaterals": list(book.collaterals),
        "labels": {str(number): name for number, name in book.labels.items()},
        "state": _encoded(book.state),
    }


def from_json(value: Mapping[str, Any]) -> RiskBook:
    """The inverse; KeyError, TypeError or ValueError where the value is malformed."""
    return RiskBook(
        _decoded(State, value["state"]),
        tuple(value["underlyings"]),
        tuple(value["collaterals"]),
        {int(number): name for number, name in value["labels"].items()},
        dict(value["about"]),
    )


def _encoded(value: Any) -> Any:
    if isinstance(value, RiskParams):
        return "0x" + value.blob.hex()
    if is_dataclass(value):
        return {
            f.name: _encoded(getattr(value, f.name))
            for f in fields(value)
            if f.name not in LEFT_OUT and getattr(value, f.name) != _default(f)
        }
    if isinstance(value, list):
        return [_encoded(x) for x in value]
    if isinstance(value, dict):
        return {str(k): _encoded(x) for k, x in value.items()}
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return str(value)
    raise TypeError(f"{value!r} is no part of a state")


def _default(item: Any) -> Any:
    if item.default_factory is not MISSING:
        return item.default_factory()
    return item.default


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, localns=_NAMES)


def _decoded(kind: Any, value: Any) -> Any:
    origin, inside = get_origin(kind), get_args(kind)
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false")
        return value
    if kind is int:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is no whole number written as a string")
        return int(value)
    if origin is list:
        return [_decoded(inside[0], x) for x in value]
    if origin is dict:
        return {int(k): _decoded(inside[1], x) for k, x in value.items()}
    if RiskParams in inside:
        return RiskParams.decode(bytes.fromhex(value.removeprefix("0x")))
    hints = _hints(kind)
    return kind(**{name: _decoded(hints[name], x) for name, x in value.items()})
