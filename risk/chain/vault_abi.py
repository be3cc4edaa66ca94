"""The ABI behind the vault's address: the contract's own and that of the extension its fallback
delegates to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from risk.chain.compile import Artifact

EXTENSION = "IVaultExtension"


def vault_abi(artifacts: Mapping[str, Artifact], vault: str = "Vault") -> list[dict[str, Any]]:
    """Functions, events and errors of ``vault`` and of ``IVaultExtension``."""
    return [*artifacts[vault].abi, *artifacts[EXTENSION].abi]
