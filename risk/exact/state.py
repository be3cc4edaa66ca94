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
    interest_index: int = 0  # E15, up to which ``cash_wad`` counts; 0 where there is no cash
    margin_call: bool = False  # a margin call stands
    flagged_at: int = 0  # since when it may be liquidated; 0: not flagged


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
    stable_apart: bool = False  # the stable price is out of its band
    funding_e12: int = 0  # cumulative funding of one unit long
    stable_price_wad: int = 0
    premium_e9: int = 0
    funding_time: int = 0
    previous_price_wad: int = 0
    previous_time: int = 0
    reduce_only_until: int = 0


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
    withdrawn_time: int = 0
    withdrawn: int = 0  # leaky bucket of withdrawals, native units


@dataclass
class Settlement:
    """The price that settles an expiry, and the observations it is made of."""

    price_wad: int = 0
    observations: int = 0
    last_time: int = 0
    weight: int = 0  # seconds that the mean stands for
    mean_wad: int = 0
    settled: bool = False


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
    winding_down: bool = False
    supply_index_e15: int = 10**15
    borrow_index_e15: int = 10**15
    interest_time: int = 0
    wind_down_time: int = 0
    cash_withdrawn_wad: int = 0
    cash_withdrawn_time: int = 0
    supply_wad: int = 0
    borrow_wad: int = 0
    interest_wad: int = 0
    insurance_paid_wad: int = 0
    insurance_paid_time: int = 0
    sequencer_feed: int = 0
    open_interest: dict[int, int] = field(default_factory=dict)  # by instrument
    settlements: dict[int, Settlement] = field(default_factory=dict)
    operators: dict[tuple[int, int], int] = field(default_factory=dict)  # (account, operator)
    min_nonce: dict[int, int] = field(default_factory=dict)
    deferred: list[int] = field(default_factory=list)
    deferring: bool = False  # inside a batch or a callback: margin checks wait

    def clone(self) -> State:
        """Deep copy (parameters are immutable and shared)."""
        params, self.params = self.params, None
        try:
            twin = copy.deepcopy(self)
        finally:
            self.params = params
        twin.params = params
        return twin
