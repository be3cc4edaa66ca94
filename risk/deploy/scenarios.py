"""The joint scenario set of the shipped configurations: 32 shocks by one fixed recipe.

Each underlying ``u`` brings a *scan range* ``r_u`` (the move that the margin period must survive,
about three standard deviations of two days) and a *vol range* ``v_u``.  A scenario is (price
multiple, vol multiple, weight) per underlying, so the price shock is ``multiple * r_u``; because
shocks are joint, correlation costs nothing on chain.

=========  ===================================================================  ======
scenarios  price multiple (× r_u), vol multiple (× v_u)                         weight
=========  ===================================================================  ======
0 … 13     all underlyings together: −1, −2/3, −1/3, 0, 1/3, 2/3, 1, each with  1
           vol up (+1) and vol down (−1), as in SPAN's sixteen
14 … 25    six sign patterns, each underlying ±0.6 against the others (groups   1
           of three by position), vol up and vol down: spreads are not free
26, 27     ∓2 with vol +1.25  damped tails, as SPAN's extremes: weight ×        0.45
28, 29     ∓3 with vol +1.5   multiple stays below 1, so they bind for short    0.3
30, 31     ∓4 with vol +2     wings and not for linear positions                0.22
=========  ===================================================================  ======

``python -m risk.deploy.scenarios ETH 0.15 0.45 …`` prints the TOML lines; tests hold
``configs/*.toml`` to it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

_ONE = Fraction(1)
_PLACES = 4  # shocks are written with 1e-4
_PATTERNS = (0b001, 0b010, 0b100, 0b110, 0b101, 0b011)  # every mixed sign of three
_SPREAD = Fraction(6, 10)
_TAILS = (
    (Fraction(2), Fraction(5, 4), "0.45"),
    (Fraction(3), Fraction(3, 2), "0.3"),
    (Fraction(4), Fraction(2), "0.22"),
)


@dataclass(frozen=True)
class Scenario:
    """Price multiple and vol multiple of each underlying, and the weight."""

    price: tuple[Fraction, ...]
    vol: tuple[Fraction, ...]
    weight: str


def joint_scenarios(underlyings: int) -> list[Scenario]:
    """The 32 scenarios of the table above for that many underlyings."""
    rows: list[Scenario] = []

    def add(price: Sequence[Fraction], vol: Fraction, weight: str = "1") -> None:
        rows.append(Scenario(tuple(price), (vol,) * underlyings, weight))

    for third in range(-3, 4):
        for vol in (_ONE, -_ONE):
            add([Fraction(third, 3)] * underlyings, vol)
    for pattern in _PATTERNS:
        signs = [1 if pattern >> (u % 3) & 1 else -1 for u in range(underlyings)]
        for vol in (_ONE, -_ONE):
            add([s * _SPREAD for s in signs], vol)
    for multiple, vol, weight in _TAILS:
        for sign in (-1, 1):
            add([sign * multiple] * underlyings, vol, weight)
    return rows


def decimal_text(value: Fraction) -> str:
    """``value`` to four places, half away from zero, without trailing zeros."""
    scaled = (2 * abs(value) * 10**_PLACES + 1) // 2
    whole, rest = divmod(int(scaled), 10**_PLACES)
    digits = f"{rest:0{_PLACES}d}".rstrip("0")
    sign = "-" if value < 0 and scaled else ""
    return f"{sign}{whole}{'.' + digits if digits else ''}"


def shocks(ranges: Sequence[tuple[str, str]]) -> list[tuple[list[str], list[str]]]:
    """(price shocks, vol shocks) of each underlying, as the configuration writes them.

    ``ranges`` holds (scan range, vol range) as decimal strings.
    """
    rows = joint_scenarios(len(ranges))
    out = []
    for u, (price_range, vol_range) in enumerate(ranges):
        price = [decimal_text(row.price[u] * Fraction(price_range)) for row in rows]
        vol = [decimal_text(max(-_ONE, row.vol[u] * Fraction(vol_range))) for row in rows]
        out.append((price, vol))
    return out


def weights() -> list[str]:
    """The 32 weights."""
    return [row.weight for row in joint_scenarios(1)]


def toml_list(name: str, values: Sequence[str], per_line: int = 14) -> str:
    """``name = [ … ]`` over several lines."""
    lines = [values[i : i + per_line] for i in range(0, len(values), per_line)]
    body = "".join("    " + " ".join(f'"{v}",' for v in line) + "\n" for line in lines)
    return f"{name} = [\n{body}]"


def main(arguments: Sequence[str]) -> None:
    """Prints the TOML of ``NAME SCAN_RANGE VOL_RANGE`` triples."""
    if not arguments or len(arguments) % 3:
        raise SystemExit("usage: python -m risk.deploy.scenarios NAME SCAN_RANGE VOL_RANGE [...]")
    triples = [arguments[i : i + 3] for i in range(0, len(arguments), 3)]
    print(toml_list("weights", weights()))
    rows = shocks([(price, vol) for _, price, vol in triples])
    for (name, *_), (price, vol) in zip(triples, rows, strict=True):
        print(f"\n# {name}\n{toml_list('price_shocks', price)}\n{toml_list('vol_shocks', vol)}")


if __name__ == "__main__":
    main(sys.argv[1:])
