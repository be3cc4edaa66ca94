"""Shared inputs: the published price table, real hourly prices, and one generated market."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from risk.quant.data import PriceTable
from risk.quant.generate import generate
from risk.quant.var import linear_losses
from tests.support.book_ground import archive, furnished  # noqa: F401

# A folder next to the checkout; the project itself ships only data that it generates.
SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def shared_file(name: str) -> Path:
    path = SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"{name} is not in ../shared/data next to the checkout")
    return path


@pytest.fixture(scope="session")
def hull_exposures() -> NDArray[np.float64]:
    """$000 (4,) in each index: Hull, Risk Management and Financial Institutions, VaR chapter."""
    return np.array([4000.0, 3000.0, 1000.0, 2000.0])


@pytest.fixture(scope="session")
def hull_returns() -> NDArray[np.float64]:
    """Returns (500, 4) in USD of DJIA, FTSE 100, CAC 40 and Nikkei, 7 Aug 2006 - 25 Sep 2008."""
    lines = shared_file("hull_var_prices.txt").read_text().splitlines()[1:]
    djia, ftse, usdgbp, cac, eurusd, nikkei, yenusd = np.array(
        [line.split() for line in lines], dtype=np.float64
    )[:501].T
    prices = np.column_stack([djia, ftse * usdgbp, cac / eurusd, nikkei / yenusd])
    return np.asarray(prices[1:] / prices[:-1] - 1.0)


@pytest.fixture(scope="session")
def hull_losses(
    hull_returns: NDArray[np.float64], hull_exposures: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Losses (500,) in $000 of the published portfolio."""
    return linear_losses(hull_returns, hull_exposures)


@pytest.fixture(scope="session")
def crypto_file() -> Path:
    return shared_file("crypto_hourly_2024_2026.csv.gz")


@pytest.fixture(scope="session")
def market() -> PriceTable:
    """4 000 generated hours of the default six assets."""
    return generate(7, 4000)
