"""The timelock and the risk governor of a deployment: constructor arguments and read-back.

The governor becomes the owner of the vault; the timelock administers itself and the governor.  The
deployer has no role in either, which the read-back shows: it compares the whole set of roles, taken
from the events since the creation, with what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from risk.chain.abi import functions
from risk.chain.keccak import keccak
from risk.deploy.artifacts import GOVERNOR, TIMELOCK, is_code_of
from risk.deploy.errors import VerificationError
from risk.deploy.policy import Governance
from risk.deploy.sender import Sender

ANYBODY = "0x" + "0" * 40  # as executor of the timelock: what is ready may be executed by anybody
_ADMIN_ROLE = 0  # DEFAULT_ADMIN_ROLE of OpenZeppelin
_GRANTED = "0x" + keccak(b"RoleGranted(bytes32,address,address)").hex()
_REVOKED = "0x" + keccak(b"RoleRevoked(bytes32,address,address)").hex()


def timelock_arguments(g: Governance) -> list[Any]:
    """The admin proposes and cancels, the guardian cancels, anybody executes."""
    delays = [g.timelock_delay_seconds, g.timelock_max_delay_seconds]
    return [*delays, [g.admin], [ANYBODY], [g.guardian]]


def governor_arguments(g: Governance, vault: str, timelock: str) -> list[Any]:
    return [vault, timelock, g.guardian, g.steward, g.lister, governor_config(g)]


def governor_config(g: Governance) -> tuple[int, ...]:
    """``IRiskGovernor.Config``; the limit of the steward is rounded down to basis points."""
    return (
        g.step_seconds,
        g.min_steps,
        int(g.steward_limit * 10_000),
        g.steward_period_seconds,
        g.strikes_per_day,
    )


@dataclass(frozen=True)
class Deployed:
    """Where they are, and since which block."""

    timelock: str
    governor: str
    vault: str
    block: int


def check_governance(g: Governance, at: Deployed, sender: Sender) -> None:
    """``VerificationError`` lists every difference of code, settings and roles."""
    problems = [
        f"{what}: expected {want}, the chain has {have}"
        for what, want, have in _compare(g, at, sender)
        if want != have
    ]
    if problems:
        raise VerificationError(problems)


def _compare(g: Governance, at: Deployed, sender: Sender) -> Iterator[tuple[str, Any, Any]]:
    for name, address in ((TIMELOCK, at.timelock), (GOVERNOR, at.governor)):
        code = sender.rpc.code(address)
        yield f"code of {name}", True, is_code_of(sender.artifact(name), code)
    timelock = _Reader(sender, TIMELOCK, at.timelock)
    governor = _Reader(sender, GOVERNOR, at.governor)
    yield "timelock delay", g.timelock_delay_seconds, timelock("getMinDelay")
    yield "longest timelock delay", g.timelock_max_delay_seconds, timelock("MAX_DELAY")
    yield "vault of the governor", int(at.vault, 16), governor("VAULT")
    yield "limits of the governor", list(governor_config(g)), list(governor("config"))
    admin, guardian, own = int(g.admin, 16), int(g.guardian, 16), int(at.timelock, 16)
    yield (
        "roles of the timelock",
        sorted(
            {
                (_ADMIN_ROLE, own),
                (timelock.role("PROPOSER_ROLE"), admin),
                (timelock.role("CANCELLER_ROLE"), admin),
                (timelock.role("CANCELLER_ROLE"), guardian),
                (timelock.role("EXECUTOR_ROLE"), 0),
            }
        ),
        timelock.roles(at.block),
    )
    yield (
        "roles of the governor",
        sorted(
            {
                (_ADMIN_ROLE, own),
                (governor.role("TIMELOCK_ROLE"), own),
                (governor.role("GUARDIAN_ROLE"), guardian),
                (governor.role("STEWARD_ROLE"), int(g.steward, 16)),
                (governor.role("LISTER_ROLE"), int(g.lister, 16)),
            }
        ),
        governor.roles(at.block),
    )


class _Reader:
    """Views of one contract."""

    def __init__(self, sender: Sender, name: str, address: str) -> None:
        self._rpc = sender.rpc
        self._address = address
        self._functions = functions(sender.artifact(name).abi)

    def __call__(self, name: str, *arguments: Any) -> Any:
        call = self._functions[name]
        data = self._rpc.eth_call(self._address, call.encode(*arguments))
        return call.decode(data)[0]

    def role(self, name: str) -> int:
        """Identifier of a role."""
        value = self(name)
        return value if isinstance(value, int) else int.from_bytes(value, "big")

    def roles(self, block: int) -> list[tuple[int, int]]:
        """(role, holder) of everybody, from the events since ``block``."""
        held: set[tuple[int, int]] = set()
        topics = [[_GRANTED, _REVOKED]]
        place = {"address": self._address, "fromBlock": hex(block), "toBlock": "latest"}
        for log in self._rpc.call("eth_getLogs", {**place, "topics": topics}):
            pair = (int(log["topics"][1], 16), int(log["topics"][2], 16))
            if log["topics"][0] == _GRANTED:
                held.add(pair)
            else:
                held.discard(pair)
        return sorted(held)
