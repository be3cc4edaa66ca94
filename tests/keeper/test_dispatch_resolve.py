"""What the chain does to a sent transaction: drops, strangers, gaps, reorgs; cancel and relay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from risk.chain.keccak import keccak
from risk.chain.rpc import to_hex
from risk.errors import TransportError
from risk.keeper.dispatch import Declined
from risk.keeper.errors import Transient
from tests.keeper.dispatch_support import SEND, FakeChain, finish, intent, ready


@pytest.fixture
def chain() -> FakeChain:
    return FakeChain()


# ----------------------------------------------------- dropped, strangers, gaps, reorgs


def test_dropped_bytes_are_sent_again_unchanged(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    rig.dispatcher.submit(intent(1))
    chain.pool.clear()
    chain.mine()
    chain.mine()
    assert "resent" in rig.tick()
    assert len(set(chain.bytes_seen)) == 1 and len(chain.bytes_seen) == 2
    finish(rig)
    assert chain.effects() == [intent(1).data]


@pytest.mark.parametrize("pruned", [False, True])
def test_a_stranger_used_the_nonce(chain: FakeChain, tmp_path: Path, pruned: bool) -> None:
    chain.prunes_state = pruned
    rig = ready(chain, tmp_path)
    rig.dispatcher.submit(intent(1))
    other = chain.stranger(0)
    chain.mine()
    events = rig.dispatcher.tick(chain.head())
    assert [e.what.value for e in events] == ["sent", "taken"] and events[1].hash == other.hash
    assert rig.dispatcher.submit(intent(1)).declined is Declined.KEY_OPEN
    chain.mine(2)
    assert rig.tick() == ["abandoned"]
    assert rig.dispatcher.submit(intent(1)).nonce == 1
    finish(rig)
    assert chain.effects() == [intent(1).data]


def test_a_stranger_whom_the_node_cannot_name(chain: FakeChain, tmp_path: Path) -> None:
    """No old state and a short search: after enough blocks without a receipt it was a stranger."""
    rig = ready(chain, tmp_path, search_blocks=1)
    rig.dispatcher.submit(intent(1))
    chain.prunes_state = True
    chain.stranger(0)
    chain.mine(3)
    told = rig.tick() + [what for _ in range(8) for what in rig.block()]
    assert told[:2] == ["sent", "waiting"] and told[-2:] == ["taken", "abandoned"]
    assert rig.dispatcher.submit(intent(1)).nonce == 1


def test_a_stranger_vanishes_in_a_reorg(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    rig.dispatcher.submit(intent(1))
    chain.stranger(0)
    chain.mine()
    assert "taken" in rig.tick()
    chain.reorg(1)
    assert rig.tick()[0] == "reopened"
    finish(rig)
    assert chain.effects() == [intent(1).data]


def test_a_strangers_pending_transaction_is_not_outbid(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    chain.stranger(0)
    assert rig.dispatcher.submit(intent(1)).nonce == 1
    finish(rig)
    assert chain.effects() == [intent(1).data] and chain.used() == 2


def test_a_gap_is_filled_with_nothing(chain: FakeChain, tmp_path: Path) -> None:
    """The stranger's transaction before ours is dropped: ours would wait for ever."""
    rig = ready(chain, tmp_path)
    chain.stranger(0)
    rig.dispatcher.submit(intent(1))
    del chain.pool[0]
    chain.mine()
    assert "filled" in rig.tick()
    finish(rig)
    assert chain.effects() == [intent(1).data] and chain.used() == 2
    assert rig.dispatcher.slots == []


@pytest.mark.parametrize("back", [False, True])
def test_a_reorg_reopens(chain: FakeChain, tmp_path: Path, back: bool) -> None:
    rig = ready(chain, tmp_path)
    rig.dispatcher.submit(intent(1))
    rig.block()
    rig.block()
    chain.reorg(2, back=back)
    told = rig.tick()
    assert told[0] == "reopened" and chain.effects() == []
    finish(rig)
    assert chain.effects() == [intent(1).data] and rig.dispatcher.slots == []
    assert len(set(chain.bytes_seen)) == 1


def test_a_reorg_deeper_than_the_confirmations(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    rig.dispatcher.submit(intent(1))
    finish(rig, 6)
    assert rig.dispatcher.slots == []
    rig.restart()
    chain.reorg(6)
    assert rig.tick()[0] == "reopened"
    finish(rig)
    assert chain.effects() == [intent(1).data]


def test_what_was_abandoned_is_never_revived(chain: FakeChain, tmp_path: Path) -> None:
    """A stranger had nonce 0, the intent went out with nonce 1; then a deep reorg frees both."""
    rig = ready(chain, tmp_path)
    rig.dispatcher.submit(intent(1))
    chain.stranger(0)
    finish(rig, 5)
    assert rig.dispatcher.submit(intent(1)).nonce == 1
    finish(rig, 5)
    assert chain.effects() == [intent(1).data]
    chain.reorg(10)
    finish(rig, 16)
    assert chain.effects() == [intent(1).data] and chain.used() == 2


def test_a_deep_reorg_of_two_rounds_revives_one(chain: FakeChain, tmp_path: Path) -> None:
    """The same intent was right twice: one is sent again, and the planner decides anew."""
    rig = ready(chain, tmp_path)
    for _ in range(2):
        assert rig.dispatcher.submit(intent(1)).accepted
        finish(rig, 4)
    assert chain.effects() == [intent(1).data] * 2
    chain.reorg(8)
    finish(rig, 16)
    assert chain.effects() == [intent(1).data] and chain.used() == 2
    assert rig.dispatcher.slots == []


def test_beyond_what_is_retained_nothing_is_done(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path, retain_blocks=3)
    rig.dispatcher.submit(intent(1))
    finish(rig, 5)
    rig.journal.compact_after = 1
    finish(rig, 4)
    assert rig.journal.slots.by_nonce == {} and rig.journal.slots.floor == 1
    chain.reorg(9)
    sent = len(chain.bytes_seen)
    with pytest.raises(Transient, match="rolled back further"):
        rig.tick()
    assert len(chain.bytes_seen) == sent


# ------------------------------------------------------------------ cancel and relay


def test_cancel_wins(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    assert rig.dispatcher.cancel(intent(1).key).declined is Declined.NOT_OPEN
    rig.dispatcher.submit(intent(1))
    cancelled = rig.dispatcher.cancel(intent(1).key)
    assert cancelled.nonce == 0 and cancelled.answer == "accepted"
    assert rig.dispatcher.cancel(intent(1).key).hash == cancelled.hash  # not a second one
    finish(rig)
    assert chain.effects() == [] and chain.used() == 1 and rig.dispatcher.slots == []


def test_cancel_loses(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    rig.dispatcher.submit(intent(1))
    first = chain.pool[0]
    rig.dispatcher.cancel(intent(1).key)
    chain.pool[0] = first  # the block's builder had not seen the cancellation
    assert rig.block()[-1] == "mined"
    finish(rig)
    assert chain.effects() == [intent(1).data] and rig.dispatcher.slots == []


class Relay:
    """A private endpoint that takes everything, or nothing, and delivers nothing."""

    def __init__(self, chain: FakeChain, works: bool = True) -> None:
        self.chain, self.works, self.got = chain, works, 0

    def call(self, method: str, *params: Any) -> Any:
        assert method == SEND
        self.got += 1
        if not self.works:
            raise TransportError("request to https://key@relay failed")
        raw = bytes.fromhex(params[0][2:])
        return to_hex(keccak(raw))

    def try_batch(self, calls: Any) -> Any:
        raise AssertionError("nothing is read from the relay")


def test_a_relay_alone_is_never_left(chain: FakeChain, tmp_path: Path) -> None:
    relay = Relay(chain, works=False)
    rig = ready(chain, tmp_path, relay=relay)
    rig.dispatcher.submit(intent(1))
    finish(rig, 8)
    assert relay.got >= 3 and chain.bytes_seen == [] and chain.pool == {}


def test_the_public_pool_is_the_fallback_if_allowed(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path, relay=Relay(chain, works=False), relay_fallback=True)
    assert rig.dispatcher.submit(intent(1)).answer == "accepted"
    finish(rig)
    assert chain.effects() == [intent(1).data]


def test_a_relay_that_never_delivers_is_left_after_a_while(
    chain: FakeChain, tmp_path: Path
) -> None:
    relay = Relay(chain)
    rig = ready(chain, tmp_path, relay=relay, relay_fallback=True, relay_patience_blocks=3)
    assert rig.dispatcher.submit(intent(1)).answer == "accepted"
    finish(rig, 2)
    assert chain.bytes_seen == []
    finish(rig)
    assert chain.effects() == [intent(1).data] and rig.dispatcher.slots == []
