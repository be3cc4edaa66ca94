"""One governed vault for the whole run; every test leaves no trace."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from tests.governance.support import GovernedVault, governed_vault


@pytest.fixture
def governed() -> Iterator[GovernedVault]:
    """Listed, priced, traders funded; the governor owns the vault, no ramp."""
    g = governed_vault()
    snapshot = g.rpc.call("evm_snapshot")
    saved, store, roles = g.clone(), copy.deepcopy(g.gov.store), copy.deepcopy(g.gov.roles)
    yield g
    g.rpc.call("evm_revert", snapshot)
    g.restore(saved)
    g.gov.vault, g.gov.store, g.gov.roles = g.model, store, roles
