"""Policy sections of the configuration: margin factors, report signers, and the tail.

From ``CashMarket`` on they become the tail of the risk parameters, which only actions that change
state read (``contracts/params/ParamsTail.sol``).  Each of these sections and every field of them
may be left out; the default, 0, switches the feature off.  Ratios are decimals
(0.05 is 5 %), ``_cash`` is whole cash tokens, ``_usd`` whole US dollars.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from risk.deploy.fields import Address, Whole, Within

MAX_SIGNERS = 16  # contracts/market/Listing.sol
_ZERO = Decimal(0)
Share = Annotated[Decimal, Within("0", "1")]
Rate = Annotated[Decimal, Within("0", "6.5535")]  # sixteen bits of basis points
Cash = Annotated[Decimal, Within("0", "79000000000")]  # ninety-six bits of 1e-18
Seconds24 = Annotated[int, Whole(0, 2**24 - 1)]
Seconds32 = Annotated[int, Whole(0, 2**32 - 1)]


class Section(BaseModel):
    """Closed, strict and frozen, as the rest of the configuration."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True
    )


class Margin(Section):
    """Factors of the whole vault; exact to one basis point."""

    im_factor: Annotated[Decimal, Within("1", "6.5535")]  # φ
    target: Annotated[Decimal, Within("1", "6.5535", open_low=True)]  # t
    reward_base: Annotated[Decimal, Within("0", "6.5535")]
    reward_slope: Annotated[Decimal, Within("0", "6.5535")]
    reward_max: Annotated[Decimal, Within("0", "6.5535")]

    @model_validator(mode="after")
    def _ordered(self) -> Margin:
        if self.target > self.im_factor:
            raise ValueError(f"target {self.target} must be at most im_factor {self.im_factor}")
        if self.reward_base > self.reward_max:
            raise ValueError(
                f"reward_base {self.reward_base} must be at most reward_max {self.reward_max}"
            )
        if self.reward_max >= self.target:
            raise ValueError(f"reward_max {self.reward_max} must be below target {self.target}")
        return self


class Signers(Section):
    """Who may sign market reports, and how many must."""

    threshold: Annotated[int, Whole(1, 16)]
    addresses: list[Address] = Field(default_factory=list)
    include_deployer: bool = False
    local_keys: Annotated[int, Whole(0, 16)] = 0  # throw-away keys, see deploy.reports

    @model_validator(mode="after")
    def _enough(self) -> Signers:
        count = len(self.addresses) + self.include_deployer + self.local_keys
        if count > MAX_SIGNERS:
            raise ValueError(f"{count} signers are above the limit of {MAX_SIGNERS}")
        if len(set(self.addresses)) != len(self.addresses):
            raise ValueError("addresses holds a duplicate")
        if self.threshold > count:
            raise ValueError(f"threshold {self.threshold} is above the number of signers {count}")
        return self


class CashMarket(Section):
    """Interest on negative cash: from base at utilisation 0 over the kink to full at 1."""

    base_rate_per_year: Rate = _ZERO
    kink_utilisation: Annotated[Decimal, Within("0", "1", open_high=True)] = _ZERO
    kink_rate_per_year: Rate = _ZERO
    full_rate_per_year: Annotated[Decimal, Within("0", "1677")] = _ZERO
    reserve_share: Share = _ZERO  # of the interest, to the insurance fund

    @model_validator(mode="after")
    def _rises(self) -> CashMarket:
        if not self.base_rate_per_year <= self.kink_rate_per_year <= self.full_rate_per_year:
            raise ValueError(
                f"the rates must rise: base {self.base_rate_per_year}, "
                f"kink {self.kink_rate_per_year}, full {self.full_rate_per_year}"
            )
        return self


class TradeFees(Section):
    """Fees of a fill, from each side, to the insurance fund."""

    trade_fee: Annotated[Decimal, Within("0", "0.01")] = _ZERO  # of the notional
    option_fee_cap: Share = _ZERO  # of the premium; 0: no cap


class Liquidation(Section):
    """Margin calls, grace and the part of the reward that grows with time."""

    warning: Rate = _ZERO  # margin call while E < MM · warning
    min_margin_cash: Cash = _ZERO  # floor of IM; a smaller remainder is taken whole
    grace_seconds: Seconds24 = 0  # from the flag to the liquidation
    reward_per_hour: Rate = _ZERO  # added to ρ, up to margin.reward_max
    emergency: Share = _ZERO  # no grace while E < MM · emergency

    @model_validator(mode="after")
    def _sensible(self) -> Liquidation:
        if 0 < self.warning < 1:
            raise ValueError(
                f"warning {self.warning} is below 1: the call would come after the liquidation"
            )
        return self


class Insurance(Section):
    """Hard caps of what the insurance fund pays for bad debt."""

    event_cap_cash: Cash = _ZERO
    period_cap_cash: Cash = _ZERO
    period_seconds: Seconds32 = 0

    @model_validator(mode="after")
    def _period(self) -> Insurance:
        if (self.period_cap_cash > 0) != (self.period_seconds > 0):
            raise ValueError("period_cap_cash and period_seconds belong together")
        return self


class Deleveraging(Section):
    """Auto-deleveraging."""

    open_interest_share: Share = _ZERO  # of the opposite open interest that a call must cover


class Withdrawals(Section):
    """Limits of what may leave."""

    cash_cap_cash: Annotated[Decimal, Within("0", "5000000000000000")] = _ZERO  # per period
    period_seconds: Seconds32 = 0  # also of every collateral's withdraw_cap
    unrealised_cap_usd: Annotated[int, Whole(0, 2**64 - 1)] = 0  # profit that counts


class Settlement(Section):
    """The time-weighted price of an expiry."""

    window_seconds: Seconds24 = 0
    min_observations: Annotated[int, Whole(0, 2**16 - 1)] = 0
    min_spacing_seconds: Annotated[int, Whole(0, 2**16 - 1)] = 0

    @model_validator(mode="after")
    def _fits(self) -> Settlement:
        needed = (self.min_observations - 1) * self.min_spacing_seconds
        if self.min_observations and needed > self.window_seconds:
            raise ValueError(
                f"{self.min_observations} observations {self.min_spacing_seconds} s apart do not "
                f"fit into window_seconds = {self.window_seconds}"
            )
        return self


class Guards(Section):
    """Circuit breakers and the wind-down."""

    breaker_seconds: Seconds24 = 0  # of REDUCE_ONLY after a jump or an insurance draw
    sequencer_feed: Address | None = None  # uptime feed of an L2's sequencer
    sequencer_grace_seconds: Seconds24 = 0  # after an outage
    wind_down_notice_seconds: Seconds32 = 0

    @model_validator(mode="after")
    def _sequencer(self) -> Guards:
        if self.sequencer_grace_seconds and self.sequencer_feed is None:
            raise ValueError("sequencer_grace_seconds needs sequencer_feed")
        return self


class Governance(Section):
    """A timelock and a governor that will own the vault; limits: contracts/governance."""

    timelock_delay_seconds: Annotated[int, Whole(86_400, 2**32 - 1)]
    timelock_max_delay_seconds: Annotated[int, Whole(86_400, 2**32 - 1)]
    admin: Address  # proposes what loosens
    guardian: Address  # tightens at once (ramped), cancels proposals
    steward: Address  # moves scenarios within limits
    lister: Address  # lists expiries
    step_seconds: Annotated[int, Whole(3_600, 2**32 - 1)]  # of a ramp
    min_steps: Annotated[int, Whole(1, 2**32 - 1)]
    steward_limit: Annotated[Decimal, Within("0.0001", "0.2")]  # per period
    steward_period_seconds: Annotated[int, Whole(86_400, 2**32 - 1)]
    strikes_per_day: Annotated[int, Whole(1, 2**32 - 1)]  # of an underlying

    @model_validator(mode="after")
    def _bounds(self) -> Governance:
        if self.timelock_delay_seconds > self.timelock_max_delay_seconds:
            raise ValueError("timelock_delay_seconds is above timelock_max_delay_seconds")
        ramp = (self.min_steps - 1) * self.step_seconds
        if ramp < self.timelock_max_delay_seconds:
            raise ValueError(
                f"a ramp of (min_steps − 1) · step_seconds = {ramp} s is shorter than "
                f"timelock_max_delay_seconds = {self.timelock_max_delay_seconds}"
            )
        holders = [self.admin, self.guardian, self.steward, self.lister]
        if len(set(holders)) != len(holders):
            raise ValueError("admin, guardian, steward and lister must be four different addresses")
        if (self.steward_limit * 10_000) % 1:
            raise ValueError(f"steward_limit {self.steward_limit} is not whole basis points")
        return self


class Funding(Section):
    """Perpetual funding."""

    period_seconds: Seconds32 = 0  # in which the premium is paid once
