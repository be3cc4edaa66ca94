"""Puts the record of a deployment together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from risk.chain.keccak import keccak
from risk.deploy.config import DeployConfig
from risk.deploy.record import (
    CollateralRecord,
    ContractRecord,
    DeploymentRecord,
    ExpiryRecord,
    GovernanceRecord,
    StepRecord,
    UnderlyingRecord,
)
from risk.deploy.reports import ListedExpiry


@dataclass
class System:
    """Addresses of one deployment, as they become known."""

    deployer: str
    owner: str  # of the vault, now
    pending_owner: str | None = None
    vault: str = ""
    cash: str = ""
    tokens: list[str] = field(default_factory=list)
    feeds: list[str] = field(default_factory=list)
    rate_feeds: list[str | None] = field(default_factory=list)
    governance: GovernanceRecord | None = None
    contracts: list[ContractRecord] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)


def make_record(
    config: DeployConfig,
    system: System,
    *,
    chain_id: int,
    timestamp: int,
    blob: bytes,
    pointer: str,
    signers: Sequence[str],
    listed: Sequence[Sequence[ListedExpiry]],
) -> DeploymentRecord:
    """The record of a finished deployment."""
    names = [u.name for u in config.underlyings]
    return DeploymentRecord(
        version=2,
        name=config.name,
        chain_id=chain_id,
        deployer=system.deployer,
        owner=system.owner,
        pending_owner=system.pending_owner,
        governance=system.governance,
        block=max([s.block for s in system.steps] + [c.block for c in system.contracts]),
        timestamp=timestamp,
        vault=system.vault,
        cash_token=system.cash,
        cash_decimals=config.cash.decimals,
        config_hash=config.config_hash(),
        params_hash="0x" + keccak(blob).hex(),
        params_pointer=pointer,
        signers=list(signers),
        signer_threshold=config.signers.threshold,
        underlyings=[
            UnderlyingRecord(
                index=i,
                name=u.name,
                feed=system.feeds[i],
                feed_decimals=u.feed.decimals,
                expiries=[
                    ExpiryRecord(day=e.day, strikes_wad=[str(k) for k in e.strikes_wad])
                    for e in listed[i]
                ],
            )
            for i, u in enumerate(config.underlyings)
        ],
        collaterals=[
            CollateralRecord(
                index=j,
                symbol=c.token.symbol,
                token=system.tokens[j],
                decimals=c.token.decimals,
                underlying=names.index(c.underlying),
                rate_feed=system.rate_feeds[j],
            )
            for j, c in enumerate(config.collaterals)
        ],
        contracts=system.contracts,
        steps=system.steps,
    )
