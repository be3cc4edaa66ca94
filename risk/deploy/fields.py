"""Field types of the configuration: exact decimals within stated limits, addresses, names.

Amounts are strings (``"0.05"``) or integers.  A TOML or JSON float is refused, because 0.1 has no
exact binary form and every number here ends up in integer parameters.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from eth_utils.address import is_checksum_address, to_checksum_address
from pydantic import BeforeValidator
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_plain_validator_function, to_string_ser_schema

_DECIMAL = re.compile(r"[+-]?(\d+)(\.\d+)?")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_MAX_DIGITS = 60


def parse_decimal(value: Any) -> Decimal:
    """An integer or a plain decimal string, exactly; everything else is refused."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        kind = type(value).__name__
        raise ValueError(
            f'write the number as a decimal string such as "0.05", got {kind} {value!r}'
        )
    text = str(value)
    if len(text) > _MAX_DIGITS or not _DECIMAL.fullmatch(text):
        raise ValueError(
            f'not a plain decimal number: {text[:80]!r} (expected something like "-0.05")'
        )
    return Decimal(text)


class Within:
    """``Annotated[Decimal, Within("0", "1")]``: an exact decimal; ``open_*`` leaves an end out."""

    def __init__(
        self, low: str, high: str, *, open_low: bool = False, open_high: bool = False
    ) -> None:
        self.low, self.high = Decimal(low), Decimal(high)
        self.open_low, self.open_high = open_low, open_high

    def __call__(self, value: Any) -> Decimal:
        number = parse_decimal(value)
        above = number > self.low if self.open_low else number >= self.low
        below = number < self.high if self.open_high else number <= self.high
        if not (above and below):
            left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
            raise ValueError(f"{number} is outside the limits {left}{self.low}, {self.high}{right}")
        return number

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        return no_info_plain_validator_function(self, serialization=to_string_ser_schema())


class Whole:
    """``Annotated[int, Whole(0, 18)]``: an integer; a boolean or a float is refused."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def __call__(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"expected a whole number, got {type(value).__name__} {value!r}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{value} is outside the limits [{self.low}, {self.high}]")
        return value

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        return no_info_plain_validator_function(self)


def parse_address(value: Any) -> str:
    """Checksummed address; lower case is accepted, a wrong checksum or the zero address not."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise ValueError(f"not an address (0x and 40 hex digits): {value!r}")
    if int(value, 16) == 0:
        raise ValueError("the zero address")
    if value != value.lower() and not is_checksum_address(value):
        raise ValueError(f"wrong address checksum: {value}")
    return str(to_checksum_address(value))


def parse_name(value: Any) -> str:
    """1 to 32 letters, digits, dot, dash or underscore: names end up in file names."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", value):
        raise ValueError(
            f"expected 1 to 32 of A-Z a-z 0-9 . _ - (first a letter or digit), got {value!r}"
        )
    return value


Address = Annotated[str, BeforeValidator(parse_address)]
Name = Annotated[str, BeforeValidator(parse_name)]
