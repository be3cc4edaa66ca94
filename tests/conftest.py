"""Fixtures that every suite may use: one Anvil a session with the vault's libraries, and what
stands on it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from risk.diff.plumbline.chain import Chain
from risk.diff.plumbline.session import VaultSession
from risk.diff.plumbline.target import PlumblineTarget


@pytest.fixture(scope="session")
def target() -> Iterator[PlumblineTarget]:
    """The differential target: its own Anvil, libraries and one vault for account-level cases."""
    opened = PlumblineTarget()
    opened.open()
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def anvil(target: PlumblineTarget) -> Chain:
    """The session's Anvil as it was after deploying the libraries."""
    target.chain.reset()
    return target.chain


@pytest.fixture
def deployed(target: PlumblineTarget) -> VaultSession:
    """A vault with a market, users and deposits, and the model in the same state (world 0 of seed
    1).
    """
    return target.start(1, 0)
