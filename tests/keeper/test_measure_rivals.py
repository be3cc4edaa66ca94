"""Every failed transaction of a race by who had the account; takings are written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from risk.chain.abi import functions
from risk.chain.events import EventDecoder
from risk.keeper.measure.rivals import OUT_OF_GAS, Rivals, Taking, reason
from tests.keeper.planner_scene import abi

ME, HIM = "0x" + "aa" * 20, "0x" + "bb" * 20
ACCOUNT, OTHER, MINE = 0xA00, 0xB00, 0xC00
F = functions(abi())
CALLS = [
    F["flag"].encode(ACCOUNT),
    F["liquidate"].encode(ACCOUNT, MINE, 10**18, 5),
    F["liquidateLegs"].encode(ACCOUNT, MINE, [1], 5, b""),
]


def failed(block: int, index: int) -> dict[str, Any]:
    return {
        "blockNumber": hex(block), "transactionIndex": hex(index), "from": "0x" + ME[2:].upper(),
    }  # fmt: skip


@pytest.mark.parametrize("data", CALLS)
@pytest.mark.parametrize(
    ("takings", "want"),
    [
        ([], "nobody"),
        ([Taking(10, 1, HIM)], "rival_same_block"),
        ([Taking(10, 3, HIM)], "nobody"),  # after ours
        ([Taking(9, 5, HIM)], "rival_earlier_block"),
        ([Taking(8, 5, HIM)], "rival_before_head"),
        ([Taking(9, 5, ME)], "own"),
        ([Taking(8, 5, ME)], "nobody"),
        ([Taking(9, 5, ME), Taking(10, 0, HIM)], "rival_same_block"),
        ([Taking(9, 5, HIM), Taking(10, 0, ME)], "rival_earlier_block"),
    ],
)
def test_classes(data: bytes, takings: list[Taking], want: str) -> None:
    """Ours was decided at 8 and failed as the third of block 10."""
    rivals = Rivals(EventDecoder(abi()), "0x", F, {ACCOUNT: takings, OTHER: [Taking(10, 0, HIM)]})
    assert rivals.classify(failed(10, 2), data, 8) == want


def test_reasons() -> None:
    def name(data: bytes) -> str:
        return "named " + data.hex()

    inner = {"error": "execution reverted", "calls": [{"error": "Out of gas: reentrancy sentry"}]}
    top = {"error": "execution reverted", "output": "0x", "calls": [{}, inner]}
    assert reason(top, name) == OUT_OF_GAS
    assert reason({**top, "output": "0x0102"}, name) == "named 0102"  # what is said counts
    assert reason({"error": "execution reverted"}, name) == "execution reverted"
    assert reason({}, name) == "no data"
