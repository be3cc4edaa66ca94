"""A node that counts wrongly must cost neither a nonce gap nor transactions that fill one."""

from __future__ import annotations

from pathlib import Path

import pytest

from risk.keeper.dispatch import What
from risk.keeper.errors import Transient
from tests.keeper.dispatch_support import FakeChain, intent, ready

FAR = hex(5_000)


def lie(chain: FakeChain, *, latest: str | None = None, pending: str | None = None) -> None:
    """The next look at the nonces."""
    chain.faults["eth_getTransactionCount"] = [
        None if latest is None else lambda _: latest,
        None if pending is None else lambda _: pending,
    ]


@pytest.mark.parametrize("used", [None, FAR])
def test_one_lie_about_the_count_signs_nothing_far_ahead(tmp_path: Path, used: str | None) -> None:
    chain = FakeChain()
    rig = ready(chain, tmp_path)
    lie(chain, latest=used, pending=FAR)
    with pytest.raises(Transient, match="5000"):
        rig.dispatcher.submit(intent(1), chain.head())
    assert chain.bytes_seen == [] and rig.dispatcher.slots == []
    # the truth again: the next nonce is the next one
    assert rig.dispatcher.submit(intent(1), chain.head()).nonce == 0


def test_a_large_gap_is_never_filled(tmp_path: Path) -> None:
    """A lie from the first look on puts a nonce far away; the truth must not cost 5 000 fills."""
    chain = FakeChain()
    rig = ready(chain, tmp_path)
    lie(chain, latest=FAR, pending=FAR)
    rig.tick()
    lie(chain, latest=FAR, pending=FAR)
    assert rig.dispatcher.submit(intent(1), chain.head()).nonce == 5_000
    before = len(chain.bytes_seen)
    for _ in range(3):
        chain.mine()
        with pytest.raises(Transient, match="5000 nonces between 0"):
            rig.tick()
    assert len(chain.bytes_seen) == before and len(rig.dispatcher.slots) == 1


def test_a_few_foreign_transactions_are_still_let_through(tmp_path: Path) -> None:
    chain = FakeChain()
    rig = ready(chain, tmp_path)
    for nonce in range(3):
        chain.stranger(nonce)
    assert rig.dispatcher.submit(intent(1), chain.head()).nonce == 3
    chain.pool.pop(1)  # and one of them is lost: a gap of two, as the third cannot come either
    chain.pool.pop(2)
    assert What.FILLED.value in rig.tick()
