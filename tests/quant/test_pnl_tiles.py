"""Tails of many portfolios without the matrix: against the matrix, within the proven bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from risk.cli.bench_risk import failures, report, risk_command
from risk.quant.errors import QuantError
from risk.quant.pnl_bench import Measured, Size, Timing, measure
from risk.quant.pnl_tiles import error_bound, plain, rank, tails
from risk.quant.var import sample_tails


def portfolios(n: int = 700, m: int = 12, k: int = 400) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    sizes = rng.lognormal(3.0, 2.0, (n, m)) * rng.choice([-1.0, 0.0, 1.0], (n, m))
    return sizes, 0.05 * rng.standard_t(3, (m, k))


@pytest.mark.parametrize("alpha", [0.5, 0.95, 0.975, 0.99, 0.9987])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tails_are_those_of_the_matrix(alpha: float, dtype: Any) -> None:
    sizes, changes = portfolios()
    var, es = sample_tails(-(sizes @ changes), alpha)
    got = tails(sizes, changes, alpha, dtype=dtype, tile=64)
    bound = error_bound(sizes, changes, alpha, dtype)
    bound += error_bound(sizes, changes, alpha, np.float64)  # the matrix rounds, too
    assert (np.abs(got.var - var) <= bound).all()
    assert (np.abs(got.es - es) <= bound).all()
    assert (got.es >= got.var).all()


def test_the_bound_is_not_so_wide_that_it_says_nothing() -> None:
    """The bound is below a ten-thousandth of gross; a wrong rank lies far outside of it."""
    sizes, changes = portfolios()
    bound = error_bound(sizes, changes, 0.975, np.float32)
    gross = np.abs(sizes) @ np.abs(changes).max(axis=1)
    assert (bound <= 1e-4 * gross).all()
    neighbour = tails(sizes, changes, 0.97, dtype=np.float32)
    exact = tails(sizes, changes, 0.975, dtype=np.float64)
    held = gross > 0
    assert (np.abs(neighbour.var - exact.var) > bound)[held].mean() > 0.99


@pytest.mark.parametrize("tile", [1, 7, 699, 700, 5000])
@pytest.mark.parametrize("threads", [1, 3])
def test_neither_tile_nor_threads_matter(tile: int, threads: int) -> None:
    sizes, changes = portfolios()
    want = tails(sizes, changes, 0.975, dtype=np.float64, tile=100)
    got = tails(sizes, changes, 0.975, dtype=np.float64, tile=tile, threads=threads)
    np.testing.assert_allclose(got.var, want.var, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(got.es, want.es, rtol=1e-12, atol=1e-12)


def test_ties_at_var_count_with_the_part_that_lies_in_the_tail() -> None:
    """Four equal worst losses, a tail of 2.5: ES is that loss, whatever the order."""
    changes = np.array([[-1.0, -1.0, 5.0, -1.0, -1.0, 2.0, 3.0, 0.0, 1.0, 1.0]])
    got = tails(np.array([[10.0]]), changes, 0.75)
    assert (got.var[0], got.es[0]) == (10.0, 10.0)
    # 9.9 % of ten losses: the worst counts 0.99 of 0.99
    assert tails(np.array([[-10.0]]), changes, 0.901).es[0] == pytest.approx(50.0)


def test_rank_and_plain_say_the_same_where_the_tail_is_whole() -> None:
    sizes, changes = portfolios(k=1000)
    assert rank(1000, 0.975) == 25 and rank(1000, 0.999) == 1 and rank(10, 0.75) == 3
    pnl, interpolated = plain(sizes, changes, 0.975)
    exact = -np.quantile(pnl, 0.025, axis=1, method="inverted_cdf")
    got = tails(sizes, changes, 0.975, dtype=np.float64)
    np.testing.assert_allclose(got.var, exact, rtol=1e-12, atol=1e-12)
    # np.quantile's default lies between the 25th and the 26th worst
    assert (interpolated <= got.var + 1e-9).all()


def test_no_portfolio_is_no_error() -> None:
    got = tails(np.empty((0, 3)), np.ones((3, 5)), 0.9)
    assert got.var.shape == got.es.shape == (0,)


@pytest.mark.parametrize(
    ("sizes", "changes", "alpha", "message"),
    [
        (np.ones((2, 3)), np.ones((4, 5)), 0.9, "do not match"),
        (np.ones((2, 3)), np.ones((3, 0)), 0.9, "no scenarios"),
        (np.ones((2, 3)), np.ones((3, 5)), 1.0, "alpha"),
        (np.array([[1.0, np.nan]]), np.ones((2, 5)), 0.9, r"sizes\[0, 1\] is not finite"),
        (np.ones((1, 2)), np.array([[1.0], [np.inf]]), 0.9, r"changes\[1, 0\] is not finite"),
        (np.full((1, 2), 1e30), np.full((2, 5), 1e9), 0.9, "use float64"),
    ],
)
def test_refuses(sizes: Any, changes: Any, alpha: float, message: str) -> None:
    with pytest.raises(QuantError, match=message):
        tails(sizes, changes, alpha)


def test_bench_measures_and_compares_everybody() -> None:
    size = Size(accounts=600, scenarios=200, threads=2, repeats=1, plain_accounts=500)
    found = measure(size, lambda _: None)
    tiles = {"gemm tiles", "tiles float32", "tiles float64"}
    assert set(found.rows) == {*tiles, "plain", "plain with ES"}
    assert found.rows["plain with ES"].seconds > found.rows["plain"].seconds
    assert found.rows["plain"].accounts == 500 and found.instruments == 32
    assert found.outside == 0
    assert 0 < found.error_float32 <= found.bound_float32 < 1e-4
    assert found.error_float64 < 1e-14
    out = report(found)
    assert out["plain"] == {**out["plain"], "accounts": 500, "whole": False}
    assert out["ratio"] == pytest.approx(found.ratio)


def measured(plain_seconds: float, outside: int = 0) -> Measured:
    rows = {
        "gemm tiles": Timing("", 100, 0.05, 0.05),
        "tiles float32": Timing("", 100, 0.1, 0.1),
        "plain": Timing("", 50, plain_seconds, 1.0),
    }
    return Measured(Size(), 32, rows, {}, 0.0, 0.0, 0.0, outside)


def test_the_ratio_is_by_account_and_judged() -> None:
    assert measured(1.0).ratio == pytest.approx(20.0)
    assert measured(1.0).of_gemm == pytest.approx(0.5)
    assert failures(measured(1.001)) == []
    assert "wanted 20" in failures(measured(0.9))[0]
    assert "3 accounts differ" in failures(measured(2.0, outside=3))[0]


def test_command_refuses_nonsense_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "risk.json"
    assert risk_command(Size(accounts=10, scenarios=10, alpha=1.5, repeats=1), out) == 2
    assert "alpha" in capsys.readouterr().err
    assert not out.exists()
