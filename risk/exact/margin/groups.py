"""Which underlyings may be margined together.  Twin: ``contracts/margin/Groups.sol``.

K scenarios span a few underlyings well and many badly, so the parameters put each underlying into a
group, and an account with obligations may not come to hold underlyings of two groups.  Who asks for
it and who does not: docs/margin.md §12.
"""

from __future__ import annotations

from collections.abc import Set

from risk.exact.errors import ModelRevert
from risk.exact.margin import drift
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account


def require_one(
    p: RiskParams, account_id: int, mask: Set[int], allowed: Set[int] = frozenset()
) -> None:
    """``MixedGroups(account, u, v)`` where the underlyings in ``mask`` are of more than one group,
    u being the lowest of them and v the lowest one of another group.

    Underlyings in ``allowed`` may be together whatever their groups: nothing is refused where
    ``mask`` adds none to them.
    """
    if mask <= allowed:
        return
    lowest, *others = sorted(mask)
    for v in others:
        if p.underlyings[v].group != p.underlyings[lowest].group:
            raise ModelRevert("MixedGroups", (account_id, lowest, v))


def require_collateral(p: RiskParams, account_id: int, a: Account, j: int) -> None:
    """``MixedGroups`` where collateral ``j``, which ``a`` does not hold, would bring it an
    underlying of another group.  For an account with obligations; at once, also inside a batch.
    """
    mask = drift.underlying_mask(p, a)
    require_one(p, account_id, mask | {p.collaterals[j].underlying}, mask)
