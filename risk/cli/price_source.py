"""Where the risk commands have their prices from: a file, or the generator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from risk.cli.output import tell

if TYPE_CHECKING:
    from risk.quant.data import PriceTable

GENERATED_HOURS = 24 * 540
LEAST_HOURS = 24 * 91  # warm-up and two months, as `factors.build` needs


def prices(
    data: Path | None,
    assets: str | None,
    seed: int,
    hours: int = GENERATED_HOURS,
    least: int = LEAST_HOURS,
) -> PriceTable:
    """The price file with at least `least` rows, or generated prices of `hours`; of `assets` (with
    commas), by default all of the file, or the generator's first three."""
    names = assets.split(",") if assets else None
    if data is not None:
        from risk.quant.data import read_prices

        table = read_prices(data, names, min_rows=least)
        for notice in table.notices:
            tell(notice)
        return table
    from risk.quant.generate import generate

    tell("no --data: generated prices")
    whole = generate(seed, hours)
    return whole.select(names or whole.assets[:3])
