"""The state of a vault rebuilt from its logs, and what the rebuild refuses."""

from __future__ import annotations

from random import Random

import pytest

from risk.chain.abi import AbiError
from risk.chain.events import Event, EventDecoder
from risk.chain.rebuild import Rebuilder, rebuild
from risk.diff.plumbline.session import VaultSession
from risk.errors import ChainError

pytestmark = pytest.mark.chain


def test_state_from_logs_alone(deployed: VaultSession) -> None:
    rng = Random(7)
    for _ in range(40):
        action = deployed.propose(rng)
        deployed.on_model(action)
        deployed.on_chain(action)
    assert deployed.finish() == []
    abi = deployed.chain.artifacts["Vault"].abi
    rebuilt = rebuild(abi, deployed.logs)
    model = deployed.state
    assert rebuilt.state.cash_held_wad == model.cash_held_wad
    for number, account in model.accounts.items():
        if account.linear or account.options:
            assert rebuilt.state.accounts[number] == account
    assert rebuilt.state.filled_wad == model.filled_wad
    assert rebuilt.params_pointer != 0
    assert sum(bool(a.linear or a.options) for a in model.accounts.values()) >= 2


def test_a_lost_log_is_noticed(deployed: VaultSession) -> None:
    rng = Random(4)
    for _ in range(12):
        action = deployed.propose(rng)
        deployed.on_model(action)
        deployed.on_chain(action)
    names = [
        EventDecoder(deployed.chain.artifacts["Vault"].abi).decode(log).name
        for log in deployed.logs
    ]
    last = max(i for i, name in enumerate(names) if name == "PositionChanged")
    del deployed.logs[last]
    assert deployed.finish() != []


def test_unknown_events_are_refused(deployed: VaultSession) -> None:
    decoder = EventDecoder(deployed.chain.artifacts["Vault"].abi)
    with pytest.raises(AbiError, match="unknown topic"):
        decoder.decode({"topics": ["0x" + "12" * 32], "data": "0x"})
    with pytest.raises(ChainError, match="SomethingNew"):
        Rebuilder().apply(Event("SomethingNew", {}))
