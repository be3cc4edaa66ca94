"""Cheap copies of a model, to try an action without doing it.

What actions replace as a whole is shared (accounts are stored anew and never changed in place,
parameters are immutable); what they change in place is copied one level deep.
"""

from __future__ import annotations

import copy

from risk.exact.state import State, World
from risk.exact.vault import Vault


def copy_state(state: State) -> State:
    """A state that can be changed by actions, or read after ``state`` has been."""
    twin = copy.copy(state)
    twin.underlyings = [copy.copy(u) for u in state.underlyings]
    twin.collaterals = [copy.copy(c) for c in state.collaterals]
    twin.accounts = dict(state.accounts)
    twin.buckets = {key: copy.copy(b) for key, b in state.buckets.items()}
    for bucket in twin.buckets.values():
        bucket.strikes_wad = list(bucket.strikes_wad)
    twin.filled_wad = dict(state.filled_wad)
    twin.cancelled = set(state.cancelled)
    twin.signers = list(state.signers)
    twin.open_interest = dict(state.open_interest)
    twin.settlements = {key: copy.copy(s) for key, s in state.settlements.items()}
    twin.operators = dict(state.operators)
    twin.min_nonce = dict(state.min_nonce)
    twin.deferred = list(state.deferred)
    return twin


def twin_of(vault: Vault) -> Vault:
    """A second vault in a second world, both as they are now."""
    world = copy.copy(vault.world)
    world.feeds = {address: copy.copy(feed) for address, feed in world.feeds.items()}
    world.balances = {token: dict(held) for token, held in world.balances.items()}
    return Vault(copy_state(vault.state), World(**vars(world)))
