"""The gas table: every gate holds.  One run of the bench for the whole module."""

from __future__ import annotations

import pytest

from risk.diff.plumbline.chain import ANYBODY, Chain
from risk.gas.bench import Bench, intrinsic, measure
from risk.gas.gates import EIP170, GATES, judge
from risk.gas.market import gas_world, portfolio, portfolio_4u

pytestmark = [pytest.mark.chain, pytest.mark.slow]

KEYS = {
    *(f"margin_cached_{k}" for k in ("0", "perp", "16", "32", "64", "128", "16_4u3c")),
    "margin_first_16",
    "margin_first_64",
    "refresh_1u",
    "refresh_8u",
    "trade_mirror_16",
    "deposit_16",
    "liquidate_16",
    "liquidate_64",
    "liquidate_128",
    "liquidate_uncached_128_k64",
    "liquidate_legs_16_4",
    "settle_16",
    "adl_4",
    "accrue",
    "bytecode_Vault",
}


@pytest.fixture(scope="module")
def figures() -> dict[str, int]:
    return measure()


def test_every_key_of_the_issue_is_there(figures: dict[str, int]) -> None:
    assert figures.keys() >= KEYS
    assert min(figures.values()) > 0


@pytest.mark.parametrize("key", sorted(GATES))
def test_gate(figures: dict[str, int], key: str) -> None:
    assert figures[key] <= GATES[key][0]


def test_every_contract_fits_with_room(figures: dict[str, int]) -> None:
    sizes = {k: v for k, v in figures.items() if k.startswith("bytecode_")}
    assert len(sizes) >= 8
    assert max(sizes.values()) <= EIP170 - 1_000


def test_a_figure_above_its_gate_fails() -> None:
    (row,) = judge({"margin_cached_16": 140_001})
    assert not row.passed
    assert judge({"margin_cached_16": 125_000})[0].word == "stretch"
    assert judge({"margin_cached_16": 125_001})[0].word == "pass"
    assert not judge({"bytecode_X": EIP170 + 1})[0].passed


def test_portfolios_are_the_documented_ones() -> None:
    spec = gas_world(32)
    for count, expiries in ((16, 4), (32, 4), (64, 8), (128, 8)):
        legs = portfolio(spec, count)
        assert len(legs) == min(128, count + 1)
        options = [leg for leg in legs if leg[0] >> 26 & 3 >= 2]
        assert len({item >> 10 & 0xFFFF for item, _ in options}) == expiries
        signs = [size > 0 for _, size in options]
        assert signs == [signs[0] ^ bool(i % 2) for i in range(len(signs))]
    legs = portfolio_4u(spec)
    assert len({item >> 28 for item, _ in legs}) == 4


def test_view_gas_is_the_gas_of_the_call_frame() -> None:
    """Gas used minus the intrinsic gas is what a caller's trace shows for the frame."""
    chain = Chain()
    chain.open()
    try:
        bench = Bench(chain, 32)
        account, _ = bench.open_positions("one", portfolio(bench.spec, 0))
        by_receipt = bench.view_gas("margin", account)
        data = bench.f["margin"].encode(account)
        sent = bench.send(
            ANYBODY, chain.batch_reader, chain.reader.encode(bench.deployment.vault, [data])
        )
        trace = chain.rpc.call("debug_traceTransaction", sent.tx_hash, {"tracer": "callTracer"})
        (frame,) = trace["calls"]
        assert int(frame["gasUsed"], 16) == by_receipt
        assert intrinsic(b"\x00\x01") == 21_000 + 4 + 16
    finally:
        chain.close()
