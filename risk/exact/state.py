"""State of the reference model: ``contracts/VaultStorage.sol`` and the world around the vault.

All amounts are Python ints; the suffix says the unit (``_wad`` = 1e18, ``_bps`` = 1e-4,
``_e9`` = 1e-9).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from risk.exact.params.risk_params import RiskParams

MAX_UNDERLYINGS = 16
MAX_COLLATERALS = 16
MAX_POSITIONS = 128
MAX_SCENARIOS = 64
MAX_PRICE_WAD = 10**25
MIN_PRICE_WAD = 10**6


@dataclass
class Linear:
    """A perp or dated future: signed ``size_wad`` and ``quote_wad`` (PnL = size·mark + quote)."""

    instrument: int
    size_wad: int
    quote_wad: int


@dataclass
class Option:
    """A European option position, signed ``size_wad``."""

    instrument: int
    size_wad: int


@dataclass
class Account:
    """One cross-margin pool; positions keep storage order, which no result may depend on."""

    cash_wad: int = 0
    collateral: list[int] = field(default_factory=lambda: [0] * MAX_COLLATERALS)
    linear: list[Linear] = field(default_factory=list)
    options: list[Option] = field(default_factory=list)


@dataclass
class Underlying:
    """Snapshot, feed bookkeeping and PnL pool of one underlying."""

    feed: int  # address of the feed
    feed_decimals: int
    price_wad: int = 0
    epoch: int = 0
    time: int = 0
    open_interest_wad: int = 0
    confidence_bps: int = 0
    report_nonce: int = 0
    feed_updated_at: int = 0
    report_time: int = 0
    pnl_pool_wad: int = 0


@dataclass
class Bucket:
    """One (underlying, expiry): forward, discount factor and SVI slice."""

    forward_ratio_wad: int = 0
    discount_wad: int = 0
    report_time: int = 0
    listed: bool = False
    strikes_wad: list[int] = field(default_factory=list)
    a_e9: int = 0
    b_e9: int = 0
    rho_e9: int = 0
    m_e9: int = 0
    sigma_e9: int = 0


@dataclass
class Collateral:
    """A listed collateral token."""

    token: int
    decimals: int
    underlying: int
    rate_feed: int = 0
    rate_feed_decimals: int = 0
    rate_updated_at: int = 0
    rate_wad: int = 0
    total_held: int = 0


@dataclass
class Feed:
    """A Chainlink-style feed as the world has it; ``reverts`` models a feed that fails."""

    decimals: int
    answer: int = 0
    updated_at: int = 0
    reverts: bool = False


@dataclass
class World:
    """What surrounds the vault: clock, feeds, token balances in native units by holder."""

    timestamp: int = 0
    chain_id: int = 31337
    vault: int = 0
    feeds: dict[int, Feed] = field(default_factory=dict)
    balances: dict[int, dict[int, int]] = field(default_factory=dict)  # token -> holder -> amount


@dataclass
class State:
    """Complete state of the vault; ``clone()`` gives what a refused action is rolled back to."""

    owner: int
    cash_token: int
    cash_decimals: int
    params: RiskParams | None = None
    underlyings: list[Underlying] = field(default_factory=list)
    collaterals: list[Collateral] = field(default_factory=list)
    accounts: dict[int, Account] = field(default_factory=dict)
    buckets: dict[int, Bucket] = field(default_factory=dict)  # key: underlying << 16 | expiry_day
    filled_wad: dict[bytes, int] = field(default_factory=dict)
    cancelled: set[bytes] = field(default_factory=set)
    signers: list[int] = field(default_factory=list)
    signer_threshold: int = 0
    cash_held_wad: int = 0
    insurance_wad: int = 0

    def clone(self) -> State:
        """Deep copy (parameters are immutable and shared)."""
        params, self.params = self.params, None
        try:
            twin = copy.deepcopy(self)
        finally:
            self.params = params
        twin.params = params
        return twin
