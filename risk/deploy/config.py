"""The typed configuration of a deployment: one TOML or JSON file.

Strict (no coercion), closed (an unknown field is an error) and checked as a whole: every problem is
reported at once, each with the path of the field and the limit it breaks.  Numbers are decimal
strings or integers, never floats (``fields``). What the file says is turned into exact parameters
by ``quantise``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from risk.deploy.errors import ConfigError
from risk.deploy.fields import Address, Name, Whole, Within
from risk.deploy.policy import (
    CashMarket,
    Deleveraging,
    Funding,
    Governance,
    Guards,
    Insurance,
    Liquidation,
    Margin,
    Settlement,
    Signers,
    TradeFees,
    Withdrawals,
)
from risk.deploy.policy import Section as _Model
from risk.exact.state import MAX_COLLATERALS, MAX_SCENARIOS, MAX_UNDERLYINGS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest

LOCAL_CHAIN_IDS = frozenset({31337, 1337})  # Anvil and Ganache (as Brownie starts it)
MAX_CONFIG_BYTES = 1_000_000

Price = Annotated[
    Decimal, Within("0", "10000000", open_low=True)
]  # the vault's own limit, 1e25 WAD
Ratio = Annotated[Decimal, Within("0", "1")]


class Token(_Model):
    """A token that exists (``address``) or, on a local net, is deployed (``mock = true``)."""

    symbol: Name
    decimals: Annotated[int, Whole(0, 18)]
    address: Address | None = None
    mock: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Token:
        if (self.address is None) == (not self.mock):
            raise ValueError("give either address or mock = true")
        return self


class Feed(_Model):
    """A Chainlink-style feed that exists, or a mock that starts at ``price``."""

    decimals: Annotated[int, Whole(0, 18)]
    address: Address | None = None
    mock: bool = False
    price: Price | None = None
    # the live answer must lie in here at deployment: a feed composed wrongly is caught before
    # anything is sent
    min_price: Price
    max_price: Price

    @model_validator(mode="after")
    def _consistent(self) -> Feed:
        if (self.address is None) == (not self.mock):
            raise ValueError("give either address or mock = true")
        if self.mock != (self.price is not None):
            raise ValueError("price belongs to mock = true and only there")
        if self.min_price >= self.max_price:
            raise ValueError(f"min_price {self.min_price} must be below max_price {self.max_price}")
        if self.price is not None and not self.min_price <= self.price <= self.max_price:
            raise ValueError(
                f"price {self.price} is outside the limits [{self.min_price}, {self.max_price}]"
            )
        return self


class SviSlice(_Model):
    """Forward, discount factor and raw SVI of the first report (local nets only)."""

    forward_ratio: Annotated[Decimal, Within("0.25", "2")] = Decimal(1)
    discount: Annotated[Decimal, Within("0", "1.1", open_low=True)] = Decimal(1)
    a: Annotated[Decimal, Within("-1", "10")]
    b: Annotated[Decimal, Within("0", "10")]
    rho: Annotated[Decimal, Within("-1", "1", open_low=True, open_high=True)]
    m: Annotated[Decimal, Within("-10", "10")]
    sigma: Annotated[Decimal, Within("0", "10", open_low=True)]


class Expiry(_Model):
    """One expiry (08:00 UTC); strikes are absolute, or relative to the live price and rounded."""

    in_days: Annotated[int, Whole(1, 1000)] | None = None
    day: Annotated[int, Whole(1, 65535)] | None = None
    strikes: list[Price] | None = None
    moneyness: list[Annotated[Decimal, Within("0.01", "100")]] | None = None
    step: Price | None = None
    slice: SviSlice | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Expiry:
        if (self.in_days is None) == (self.day is None):
            raise ValueError(
                "give exactly one of in_days (from the deployment) and day (unix day number)"
            )
        if (self.strikes is None) == (self.moneyness is None):
            raise ValueError("give exactly one of strikes and moneyness")
        if (self.moneyness is None) != (self.step is None):
            raise ValueError("step belongs to moneyness and only there")
        values = self.strikes if self.strikes is not None else self.moneyness
        assert values is not None
        if not 1 <= len(values) <= 1024:
            raise ValueError(f"{len(values)} strikes, the limits are [1, 1024]")
        if any(b <= a for a, b in pairwise(values)):
            raise ValueError("strikes must ascend strictly")
        return self


class Underlying(_Model):
    """One risk factor: its feed, its charges and its part of the joint scenarios."""

    name: Name
    feed: Feed
    depth: Annotated[Decimal, Within("0", "20000000000000", open_low=True)]  # units
    short_option_minimum: Ratio
    liquidity: Annotated[Decimal, Within("0", "6.5535")]  # λ
    basis: Ratio
    basis_per_year: Ratio
    tenor_power: Annotated[Decimal, Within("0", "4")]
    tenor_floor_seconds: Annotated[int, Whole(0, 31_536_000)]
    tenor_cap: Annotated[Decimal, Within("0", "18", open_low=True)]
    deviation_band: Annotated[Decimal, Within("0.0001", "0.5")]
    max_age_seconds: Annotated[int, Whole(1, 604_800)]
    max_confidence: Ratio
    max_skew_seconds: Annotated[int, Whole(0, 604_800)]
    price_shocks: list[Annotated[Decimal, Within("-1", "28", open_low=True)]]
    vol_shocks: list[Annotated[Decimal, Within("-1", "65")]]
    price_unit: Annotated[Decimal, Within("0.000001", "0.006944")] | None = None
    vol_unit: Annotated[Decimal, Within("0.000001", "0.065535")] | None = None
    group: Annotated[int, Whole(0, 255)] = 0  # only underlyings of one are margined together
    expiries: list[Expiry] = Field(default_factory=list)
    # limits of the tail; 0: none
    open_interest_cap: Annotated[Decimal, Within("0", "20000000000000")] = Decimal(0)  # units
    position_cap: Annotated[Decimal, Within("0", "300000000")] = Decimal(0)  # units of an account
    max_funding: Annotated[Decimal, Within("0", "0.1")] = Decimal(0)  # per funding period
    stable_rate_per_day: Annotated[Decimal, Within("0", "6.5535")] = Decimal(0)
    stable_band: Ratio = Decimal(0)
    jump: Ratio = Decimal(0)  # of one snapshot, trips the circuit breaker

    @model_validator(mode="after")
    def _stable(self) -> Underlying:
        if (self.stable_band > 0) != (self.stable_rate_per_day > 0):
            raise ValueError("stable_band and stable_rate_per_day belong together")
        return self


class Collateral(_Model):
    """A collateral token; it belongs to the price risk of ``underlying``."""

    token: Token
    underlying: Name
    haircut: Ratio
    cap: Annotated[Decimal, Within("0", "1000000000000000")]  # whole tokens
    rate_feed: Feed | None = None
    withdraw_cap: Annotated[Decimal, Within("0", "1000000000000000")] = Decimal(0)  # per period


class DeployConfig(_Model):
    """The whole file."""

    version: Literal[1]
    name: Name
    local: bool = False
    chain_ids: list[Annotated[int, Whole(1, 2**63)]]
    deployer: Address | None = None  # the key must belong to this address
    owner: Address | None = None  # gets the vault in the end; without it the deployer keeps it
    handover: Literal["two_step", "direct"] = "two_step"
    cash: Token
    margin: Margin
    weights: list[Annotated[Decimal, Within("0", "1", open_low=True)]]
    underlyings: list[Underlying]
    collaterals: list[Collateral]
    signers: Signers
    # policy: left out, a section is off
    cash_market: CashMarket = CashMarket()
    fees: TradeFees = TradeFees()
    liquidation: Liquidation = Liquidation()
    insurance: Insurance = Insurance()
    deleveraging: Deleveraging = Deleveraging()
    withdrawals: Withdrawals = Withdrawals()
    settlement: Settlement = Settlement()
    guards: Guards = Guards()
    funding: Funding = Funding()
    governance: Governance | None = None

    @model_validator(mode="after")
    def _whole(self) -> DeployConfig:
        problems = [*self._limits(), *self._shapes(), *self._policy(), *self._locality()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _limits(self) -> list[str]:
        counts = [
            ("chain_ids", len(self.chain_ids), 1, 16),
            ("weights", len(self.weights), 1, MAX_SCENARIOS),
            ("underlyings", len(self.underlyings), 1, MAX_UNDERLYINGS),
            ("collaterals", len(self.collaterals), 0, MAX_COLLATERALS),
        ]
        return [
            f"{n}: {c} entries, the limits are [{lo}, {hi}]"
            for n, c, lo, hi in counts
            if not lo <= c <= hi
        ]

    def _shapes(self) -> list[str]:
        problems = []
        scenarios = len(self.weights)
        names = [u.name for u in self.underlyings]
        if len(set(names)) != len(names):
            problems.append("underlyings: names must be distinct")
        for i, u in enumerate(self.underlyings):
            for label, lanes in (("price_shocks", u.price_shocks), ("vol_shocks", u.vol_shocks)):
                if len(lanes) != scenarios:
                    problems.append(
                        f"underlyings[{i}].{label}: {len(lanes)} entries, one for each of the "
                        f"{scenarios} weights is needed"
                    )
        tokens = [t.address for t in (self.cash, *(c.token for c in self.collaterals)) if t.address]
        if len(set(tokens)) != len(tokens):
            problems.append("collaterals: a token is used twice")
        for j, c in enumerate(self.collaterals):
            if c.underlying not in names:
                problems.append(
                    f"collaterals[{j}].underlying: {c.underlying!r} is not one of {names}"
                )
            if c.cap * 10**c.token.decimals >= 2**128:
                problems.append(f"collaterals[{j}].cap: above the limit of 2^128 native units")
        return problems

    def _policy(self) -> list[str]:
        """Fields of different sections that need each other."""
        problems = []
        for i, u in enumerate(self.underlyings):
            if u.max_funding and not self.funding.period_seconds:
                problems.append(f"underlyings[{i}].max_funding: needs funding.period_seconds")
            if u.jump and not self.guards.breaker_seconds:
                problems.append(f"underlyings[{i}].jump: needs guards.breaker_seconds")
            if u.position_cap > u.open_interest_cap > 0:
                problems.append(f"underlyings[{i}].position_cap: above its open_interest_cap")
        capped = [
            f"collaterals[{j}].withdraw_cap"
            for j, c in enumerate(self.collaterals)
            if c.withdraw_cap
        ]
        if self.withdrawals.cash_cap_cash:
            capped.append("withdrawals.cash_cap_cash")
        if not self.withdrawals.period_seconds:
            problems += [f"{name}: needs withdrawals.period_seconds" for name in capped]
        if self.governance is not None and self.owner is not None:
            problems.append("owner: with a governance section the vault goes to its governor")
        if self.liquidation.warning > self.margin.im_factor:
            problems.append(
                f"liquidation.warning: {self.liquidation.warning} is above margin.im_factor "
                f"{self.margin.im_factor}: healthy accounts would be called"
            )
        return problems

    def _locality(self) -> list[str]:
        if self.local:
            foreign = sorted(set(self.chain_ids) - LOCAL_CHAIN_IDS)
            return (
                [f"chain_ids: local = true allows only {sorted(LOCAL_CHAIN_IDS)}, not {foreign}"]
                if foreign
                else []
            )
        problems = []
        feeds = [(f"underlyings[{i}].feed", u.feed.mock) for i, u in enumerate(self.underlyings)]
        feeds += [
            (f"collaterals[{j}].rate_feed", c.rate_feed.mock)
            for j, c in enumerate(self.collaterals)
            if c.rate_feed
        ]
        tokens = [("cash", self.cash.mock)]
        tokens += [
            (f"collaterals[{j}].token", c.token.mock) for j, c in enumerate(self.collaterals)
        ]
        problems += [
            f"{name}.mock: only where local = true" for name, mock in feeds + tokens if mock
        ]
        if self.signers.local_keys:
            problems.append("signers.local_keys: only where local = true")
        if any(e.slice for u in self.underlyings for e in u.expiries):
            problems.append(
                "underlyings[].expiries[].slice: first reports are signed only where local = true"
            )
        return problems

    def config_hash(self) -> str:
        """SHA-256 of the canonical JSON of the checked content: comments do not count."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return "0x" + hashlib.sha256(text.encode()).hexdigest()


def load_config(path: str | Path) -> DeployConfig:
    """Reads and checks a ``.toml`` or ``.json`` file.  ``ConfigError`` lists every problem."""
    file = Path(path)
    try:
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(str(path), [f"larger than the limit of {MAX_CONFIG_BYTES} bytes"])
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            str(path), [f"cannot be read: {getattr(error, 'strerror', None) or error}"]
        ) from None
    try:
        if file.suffix == ".toml":
            content = tomllib.loads(text)
        elif file.suffix == ".json":
            content = json.loads(text)
        else:
            raise ConfigError(
                str(path), [f"the file name must end in .toml or .json, not {file.suffix!r}"]
            )
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(str(path), [f"malformed: {error}"]) from None
    return parse_config(content, str(path))


def parse_config(content: Any, source: str = "config") -> DeployConfig:
    """Checks parsed content."""
    try:
        return DeployConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(source, _problems(error)) from None


def _problems(error: ValidationError) -> list[str]:
    lines: list[str] = []
    for item in error.errors(include_url=False):
        path = ""
        for part in item["loc"]:
            if isinstance(part, int):
                path += f"[{part}]"
            elif (
                part.isidentifier()
            ):  # union branches have names such as function-after[...]: not part of the file
                path += f".{part}" if path else part
        if item["type"] == "extra_forbidden":
            text = "unknown field"
        elif item["type"] == "missing":
            text = "required field is missing"
        else:
            text = item["msg"].removeprefix("Value error, ")
        lines.extend(f"{path}: {line}" if path else line for line in text.splitlines())
    return lines
