"""The timelock's delay: docs/governance.md G2."""

from __future__ import annotations

import pytest

from risk.errors import RpcError
from risk.exact.governance import risk_governor as rg
from tests.governance.support import (
    DAY,
    DELAY,
    GUARDIAN,
    MAX_DELAY,
    OWNER,
    PROPOSER,
    STRANGER,
    GovernedVault,
    address,
    base_params,
)


def delay(g: GovernedVault) -> int:
    f = g.timelock_functions["getMinDelay"]
    return int(f.decode(g.rpc.eth_call(address(g.timelock), f.encode()))[0])


def test_G2_a_proposal_waits_the_whole_delay(governed: GovernedVault) -> None:
    looser = base_params(warning_bps=0).blob
    calls = [governed.to_governor("submitParams", looser)]
    assert governed.error(governed.schedule(calls, STRANGER)).startswith("AccessControlUnauth")
    at = governed.world.timestamp
    assert governed.schedule(calls) is None
    governed.world.timestamp = at + DELAY - 1
    early = governed.execute(calls)
    assert governed.error(early).startswith("TimelockUnexpectedOperationState")
    governed.world.timestamp = at + DELAY
    assert governed.execute(calls) is None  # anybody
    assert governed.blob() == looser


def test_G2_a_shorter_delay_is_refused(governed: GovernedVault) -> None:
    f = governed.timelock_functions["schedule"]
    call = (*governed.to_governor("startWindDown"), 0, 0)
    target, data = call[0], call[1]
    got = governed.call(PROPOSER, governed.timelock, f, target, 0, data, 0, 0, DELAY - 1)
    assert got == governed.errors.encode("TimelockInsufficientDelay", (DELAY - 1, DELAY))


def test_G2_no_proposal_abolishes_the_delay(governed: GovernedVault) -> None:
    f = governed.timelock_functions["updateDelay"]
    for who in (PROPOSER, GUARDIAN, OWNER):
        got = governed.call(who, governed.timelock, f, DAY)
        assert got == governed.errors.encode("TimelockUnauthorizedCaller", (who,))
    for value, ok in ((0, False), (DAY - 1, False), (MAX_DELAY + 1, False), (DAY, True)):
        calls = [(governed.timelock, f.encode(value))]
        assert governed.schedule(calls) is None
        governed.warp(DELAY)
        got = governed.execute(calls)
        if ok:
            assert got is None and delay(governed) == value
        else:
            assert got == governed.errors.encode("DelayOutOfRange", (value, DAY, MAX_DELAY))
            assert delay(governed) == DELAY


@pytest.mark.parametrize("given", [0, DAY - 1, MAX_DELAY + 1])
def test_G2_it_cannot_be_created_without_a_delay(governed: GovernedVault, given: int) -> None:
    code = governed.creation("GovernanceTimelock", given, MAX_DELAY, [1], [0], [])
    call = {"from": address(OWNER), "data": "0x" + code.hex(), "gas": hex(30_000_000)}
    with pytest.raises(RpcError) as refused:
        governed.rpc.call("eth_call", call, "latest")
    want = governed.errors.encode("DelayOutOfRange", (given, DAY, MAX_DELAY))
    assert refused.value.data == want  # type: ignore[attr-defined]


def test_G2_a_canceller_vetoes_and_a_stranger_does_not(governed: GovernedVault) -> None:
    calls = [governed.to_governor("submitParams", base_params(warning_bps=0).blob)]
    at = governed.world.timestamp
    assert governed.schedule(calls) is None
    f = governed.timelock_functions["hashOperationBatch"]
    targets, data = [calls[0][0]], [calls[0][1]]
    encoded = f.encode(targets, [0], data, 0, 0)
    name = f.decode(governed.rpc.eth_call(address(governed.timelock), encoded))[0]
    cancel = governed.timelock_functions["cancel"]
    assert governed.call(STRANGER, governed.timelock, cancel, name) is not None
    assert governed.call(GUARDIAN, governed.timelock, cancel, name) is None
    governed.world.timestamp = at + DELAY
    assert governed.execute(calls) is not None


def test_G1_the_timelock_is_administered_by_itself(governed: GovernedVault) -> None:
    has = governed.timelock_functions["hasRole"]
    for who, admin in ((governed.timelock, 1), (OWNER, 0), (PROPOSER, 0), (GUARDIAN, 0)):
        data = has.encode(rg.DEFAULT_ADMIN_ROLE, who)
        assert has.decode(governed.rpc.eth_call(address(governed.timelock), data)) == [admin]
