"""The circuit breaker of an underlying: for a bounded time positions in it may only shrink.  Twin:
``contracts/market/Breaker.sol``.

A trip never reaches beyond now + ``seconds`` and never shortens what stands; only time ends it.
"""

from __future__ import annotations

from typing import Final

from risk.exact.state import State, World

_UINT32_MAX: Final = 2**32 - 1


def trip(state: State, world: World, u: int, seconds: int) -> None:
    """REDUCE_ONLY in ``u`` until max(what stands, now + ``seconds``); 0 seconds: off."""
    if seconds == 0:
        return
    until = min(world.timestamp + seconds, _UINT32_MAX)
    data = state.underlyings[u]
    data.reduce_only_until = max(data.reduce_only_until, until)


def active(state: State, world: World, u: int) -> bool:
    """Whether positions in ``u`` may only shrink now."""
    return world.timestamp < state.underlyings[u].reduce_only_until
