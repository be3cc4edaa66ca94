"""How much work one account may be: its liquidation with nothing cached fits one transaction.

Twin: ``contracts/accounts/WorkLoad.sol``.
"""

from __future__ import annotations

from typing import Final

from risk.exact.accounts.account_lib import position_count
from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account

LIMIT: Final = 12_900


def allowance(p: RiskParams, a: Account) -> int:
    """What a liquidator of ``a`` may end with: LIMIT, or the load of ``a`` where that is higher."""
    return max(LIMIT, load(p.scenario_count, a))


def require_if_grown(p: RiskParams, account_id: int, a: Account, before: int, allowed: int) -> None:
    """``AccountTooHeavy(account, load, allowed)`` where the account has more positions than
    ``before`` and a load above ``allowed`` ≥ LIMIT.
    """
    if position_count(a) <= before:
        return
    total = load(p.scenario_count, a)
    if total > allowed:
        raise ModelRevert("AccountTooHeavy", (account_id, total, allowed))


def load(scenarios: int, a: Account) -> int:
    """options·(K + 35) + buckets·(10 + ⌊K/6⌋) + underlyings·(70 + ⌊K/2⌋) + linear·35."""
    buckets = {instrument_id.bucket_key(x.instrument) for x in a.options}
    underlyings = {instrument_id.underlying(x.instrument) for x in a.options}
    return (
        len(a.options) * (scenarios + 35)
        + len(buckets) * (10 + scenarios // 6)
        + len(underlyings) * (70 + scenarios // 2)
        + len(a.linear) * 35
    )
