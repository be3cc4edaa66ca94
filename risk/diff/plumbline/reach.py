"""What a long run should reach: every external function of the vault and of its extension, and
every custom error of their interfaces.  Where the runner cannot get there, the reason stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from risk.chain.vault_abi import vault_abi

INTERFACES = (
    "IVault",
    "IVaultExtension",
    "IAccounts",
    "ICashMarket",
    "ICustody",
    "ILiquidation",
    "IMargin",
    "IMarket",
    "ISettlement",
    "ITrading",
    "IWaterfall",
)

# error or function -> why the runner does not reach it, and who does
UNREACHABLE: dict[str, str] = {
    "AccountTooHeavy": (
        "needs more than a hundred positions in one account: tests/trading/test_work_load.py; the "
        "account-level cases meet it now and then"
    ),
    "ArrayOutOfRange": (
        "a lane unit above 255·2^127 needs prices above MAX_PRICE_WAD: tests/margin/test_arrays.py "
        "reaches it through the library"
    ),
    "FeedGasTooLow": "gas is no part of the model: tests/market/test_market_feeds.py",
    "LegsKeepShortfall": (
        "needs a reward above the requirement that is taken over (ρ ≥ 1), which few worlds have: "
        "tests/liquidation/test_legs.py"
    ),
    "TooManyPositions": (
        "needs 128 positions in one account: only the account-level cases meet it; "
        "tests/liquidation/test_legs.py"
    ),
    "NoLenders": (
        "needs a vault without any positive cash beside a bankrupt account and an empty fund: "
        "tests/waterfall/test_socialise.py"
    ),
    "SliceLoweredHealth": (
        "a guard: a slice of everything lowers the health factor by no more than its tolerance "
        "(docs/liquidation.md); no input is known that reaches it"
    ),
    "TooManyCollaterals": "needs seventeen tokens: tests/market/test_market_listing.py",
    "TransferAmountMismatch": "tokens of the model are honest: tests/custody/test_custody.py",
}


def goals(artifacts: Mapping[str, Any]) -> dict[str, str]:
    """``call:<function>`` and ``revert:<error>`` -> the reason where it may stay unreached."""
    out = {}
    for entry in vault_abi(artifacts, "IVault"):
        if entry["type"] == "function":
            out[f"call:{entry['name']}"] = UNREACHABLE.get(entry["name"], "")
    for name in INTERFACES:
        for entry in artifacts[name].abi:
            if entry["type"] == "error":
                out[f"revert:{entry['name']}"] = UNREACHABLE.get(entry["name"], "")
    return dict(sorted(out.items()))
