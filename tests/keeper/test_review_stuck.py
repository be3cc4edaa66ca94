"""A transaction that a gas spike has made too cheap must not hold up everybody behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from risk.keeper.act import STUCK_BLOCKS
from risk.keeper.dispatch import Declined, Fees
from risk.keeper.dispatch.slots import CANCEL, INTENT, Attempt, Slot
from tests.keeper.dispatch_support import GWEI, FakeChain, intent, ready
from tests.keeper.test_loop import VAULT, VICTIM, World_, block, ran
from tests.keeper.test_loop import intent as planned

WAD = 10**18
OTHER = VICTIM + 1


def held(max_fee: int, purpose: str = INTENT) -> Slot:
    """An open nonce of ``OTHER``, last signed at block 1."""
    made = Slot(4, f"{OTHER:042x}:slice", VAULT, b"\x01", 500_000, WAD)
    made.attempts.append(Attempt("0xdd", b"", purpose, 500_000, Fees(max_fee, 1), 1))
    return made


@pytest.mark.parametrize(
    ("slot", "head", "profit", "declined", "cancelled"),
    [
        (held(10), 1 + STUCK_BLOCKS, 5 * WAD, Declined.WINDOW_FULL, True),
        (held(10), STUCK_BLOCKS, 5 * WAD, Declined.WINDOW_FULL, False),  # not for long
        (held(2 * GWEI), 9, 5 * WAD, Declined.WINDOW_FULL, False),  # may still be mined
        (held(10, CANCEL), 9, 5 * WAD, Declined.WINDOW_FULL, False),
        (held(10), 9, 1, Declined.WINDOW_FULL, False),  # not worth it
        (held(10), 9, 5 * WAD, None, False),  # nobody waits
    ],
)
def test_room_is_made_only_where_somebody_waits(
    tmp_path: Path,
    slot: Slot,
    head: int,
    profit: int,
    declined: Declined | None,
    cancelled: bool,
) -> None:
    world = World_(heads=[block(head)], unhealthy={VICTIM, OTHER}, live=[slot], declined=declined)
    world.intents = [planned(profit=profit)]
    ran(tmp_path, world)
    assert world.cancelled == ([slot.key] if cancelled else [])


def test_a_cancellation_is_mined_where_the_intent_cannot_be(tmp_path: Path) -> None:
    """The budget of a small profit, fees ten times higher: the nonce is freed within it."""
    chain = FakeChain(base=10 * GWEI)
    rig = ready(chain, tmp_path)
    small = 4 * 10**15
    assert rig.dispatcher.submit(intent(1), chain.head(), budget_wei=small).accepted
    chain.base = 100 * GWEI
    for _ in range(6):
        rig.block()
    assert rig.dispatcher.submit(intent(2), chain.head()).declined is Declined.WINDOW_FULL
    (slot,) = rig.dispatcher.slots
    assert not slot.last.fees.includable(chain.base)
    assert rig.dispatcher.cancel(slot.key, chain.head()).accepted
    assert slot.last.worst_wei <= small
    assert "cancelled" in rig.block()
    assert rig.dispatcher.submit(intent(2), chain.head(), budget_wei=10**17).accepted
    rig.block()
    assert chain.effects() == [intent(2).data]
