"""What gas costs in cash: the base fee to come, the tip, and the price of the native token."""

from __future__ import annotations

from collections.abc import Callable

from risk.exact.state import State
from risk.keeper.book import Prices
from risk.keeper.errors import ConfigError, Transient
from risk.keeper.ports import Costs
from risk.keeper.types import Head

WAD = 10**18
NEXT_BASE = (9, 8)  # EIP-1559: a base fee rises by at most one eighth a block


class GasPrice:
    """``native_wad``: price of 10^18 wei in cash (WAD), or None with the index of the underlying
    whose feed says it. ``tip`` asks the chain for the priority fee to expect; may raise
    ``Transient``, which is told to ``failed``.
    """

    def __init__(
        self,
        native_wad: int | None,
        native_underlying: int,
        tip: Callable[[], int] | None,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._fixed, self._underlying = native_wad, native_underlying
        self._tip, self._failed = tip, failed
        self._native = native_wad

    def require(self, state: State) -> None:
        """``ConfigError`` where the configured underlying does not exist: asked at the start, and
        not in the first fall.
        """
        u, count = self._underlying, len(state.underlyings)
        if self._fixed is None and u >= count:
            raise ConfigError(f"[profit] native_underlying: {u}, the vault has {count} underlyings")

    def costs(self, head: Head, state: State, prices: Prices) -> Costs | None:
        """Gas of the next block at its dearest; None while nobody has said what a wei is worth."""
        native = self._native_price(state, prices)
        if native is None:
            return None
        up, down = NEXT_BASE
        tip = 0
        if self._tip is not None:
            try:
                tip = self._tip()
            except Transient as error:
                self._failed(error)
        return Costs(-(-head.base_fee_wei * up // down) + tip, native)

    def _native_price(self, state: State, prices: Prices) -> int | None:
        """WAD of cash; the last known one where the feed does not answer."""
        u = self._underlying
        if self._fixed is not None or u >= len(state.underlyings):
            return self._native
        feed = prices.world.feeds.get(state.underlyings[u].feed)
        if u not in prices.unknown and feed is not None and not feed.reverts and feed.answer > 0:
            self._native = feed.answer * WAD // 10**feed.decimals
        return self._native
