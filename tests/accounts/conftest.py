"""Vault fixtures."""

from tests.support.vault_fixtures import market  # noqa: F401
