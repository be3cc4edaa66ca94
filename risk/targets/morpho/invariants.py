"""What has to hold in every state of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from risk.targets.morpho.model import MORPHO, Morpho


def broken(model: Morpho) -> Iterator[str]:
    """Broken invariants, as readable lines:

    * shares of positions add up to the totals of their market, for supply and for debt;
    * a market's debt is at most its supply;
    * Morpho holds what it owes: of each token the collateral, and supply less debt, but for what
      ``setBalance`` gave or took, which no real token does.
    """
    supply: Counter[object] = Counter()
    debt: Counter[object] = Counter()
    owed: Counter[int] = Counter()
    for (market, _), position in model.positions.items():
        supply[market] += position.supply_shares
        debt[market] += position.borrow_shares
        owed[market.collateral_token] += position.collateral
    for market, state in model.markets.items():
        if supply[market] != state.total_supply_shares:
            yield f"supply shares of {market}: {supply[market]} != {state.total_supply_shares}"
        if debt[market] != state.total_borrow_shares:
            yield f"borrow shares of {market}: {debt[market]} != {state.total_borrow_shares}"
        if state.total_borrow_assets > state.total_supply_assets:
            yield f"{market} lent {state.total_borrow_assets} of {state.total_supply_assets}"
        owed[market.loan_token] += state.total_supply_assets - state.total_borrow_assets
    for token, amount in owed.items():
        held = model.tokens[token].balance.get(MORPHO, 0) - model.gifts.get(token, 0)
        if held < amount:
            yield f"Morpho holds {held} of token {token}, and owes {amount}"
