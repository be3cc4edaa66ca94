"""What a deployment would cost, without sending anything.

The whole deployment runs on a private fork of the chain (Anvil with ``--fork-url``), from the
deployer's address but without its key; so gas is measured, not guessed, every check of the real
run is made, and a step that would revert is named.  Prices are those of the real chain.  On a
rollup the fee for publishing data on the parent chain comes on top.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from risk.chain.node import Anvil
from risk.deploy.artifacts import all_contracts
from risk.deploy.config import DeployConfig
from risk.deploy.deployer import Progress, deploy
from risk.deploy.journal import Journal
from risk.deploy.record import DeploymentRecord
from risk.deploy.sender import GAS_MARGIN_PERCENT, RpcSender, Sender, current_fees
from risk.errors import NodeError

FORK_BALANCE = 10**24  # wei; the real balance is compared with the cost afterwards
FORK_TIMEOUT = 120.0  # seconds; state comes from the forked endpoint call by call


@dataclass(frozen=True)
class Cost:
    """Gas of one step."""

    step: str
    gas: int


@dataclass(frozen=True)
class Estimate:
    """Result of a dry run.  Prices in wei per unit of gas, the balance in wei."""

    chain_id: int
    deployer: str
    costs: list[Cost]
    gas_price: int  # base fee and tip now
    max_gas_price: int  # what the transactions would allow
    balance: int

    @property
    def gas(self) -> int:
        return sum(cost.gas for cost in self.costs)

    @property
    def cost(self) -> int:
        """Wei at the present gas price."""
        return self.gas * self.gas_price

    @property
    def max_cost(self) -> int:
        """Wei if every transaction paid the most it allows, the gas margin of the last included."""
        last = self.costs[-1].gas if self.costs else 0
        return (self.gas + last * (GAS_MARGIN_PERCENT - 100) // 100) * self.max_gas_price

    @property
    def largest(self) -> int:
        """Gas of the largest transaction."""
        return max((cost.gas for cost in self.costs), default=0)

    def lines(self) -> list[str]:
        """For people."""
        width = max((len(c.step) for c in self.costs), default=0)
        verdict = "enough" if self.balance >= self.max_cost else "NOT ENOUGH for the maximum"
        return [
            *(f"{c.step:{width}}  {c.gas:>12,}" for c in self.costs),
            f"{len(self.costs)} transactions, {self.gas:,} gas, the largest {self.largest:,}",
            f"gas price   {gwei(self.gas_price)} gwei now, at most {gwei(self.max_gas_price)} gwei",
            f"cost        {ether(self.cost)} now, at most {ether(self.max_cost)}",
            f"balance     {ether(self.balance)} of {self.deployer}: {verdict}",
            "nothing was sent",
        ]

    def as_json(self) -> dict[str, Any]:
        """Amounts are decimal strings."""
        return {
            "chain_id": self.chain_id,
            "deployer": self.deployer,
            "steps": [{"step": c.step, "gas": c.gas} for c in self.costs],
            "gas": self.gas,
            "gas_price_wei": str(self.gas_price),
            "max_gas_price_wei": str(self.max_gas_price),
            "cost_wei": str(self.cost),
            "max_cost_wei": str(self.max_cost),
            "balance_wei": str(self.balance),
            "sufficient": self.balance >= self.max_cost,
        }


def gwei(wei: int) -> str:
    """Three decimals, rounded up."""
    return f"{-(-wei // 10**6) / 1000:,.3f}"


def ether(wei: int) -> str:
    """Six decimals, rounded up."""
    return f"{-(-wei // 10**12) / 10**6:,.6f} ETH"


def dry_run(
    config: DeployConfig,
    sender: Sender,
    endpoint: str,
    progress: Progress = lambda _: None,
    journal: Journal | None = None,
) -> Estimate:
    """Deploys on a fork of ``endpoint``; with a journal, only what is left of that deployment.

    ``sender`` is only read from; its errors are those of ``deploy``.
    """
    rpc = sender.rpc
    chain_id = rpc.chain_id()
    fees = current_fees(rpc)
    balance = rpc.balance(sender.address)
    done = set(journal.done) if journal is not None else set()
    artifacts = {n: sender.artifact(n) for n in all_contracts(config, sender.artifact)}
    with ExitStack() as stack:
        extra = ("--fork-url", endpoint, "--no-storage-caching")
        node = Anvil(chain_id=chain_id, extra=extra, start_timeout=FORK_TIMEOUT)
        try:
            fork = stack.enter_context(stack.enter_context(node).rpc(FORK_TIMEOUT))
        except NodeError as error:  # the address of an endpoint may hold an API key
            reason = str(error).replace(endpoint, "the endpoint")
            raise NodeError(f"the chain cannot be forked: {reason}") from None
        fork.call("anvil_setBalance", sender.address, hex(FORK_BALANCE))
        fork.call("anvil_impersonateAccount", sender.address)
        copy = journal.in_memory() if journal is not None else None
        forked = RpcSender(fork, artifacts, unlocked=sender.address)
        record = deploy(config, forked, progress, copy)
    return Estimate(
        chain_id=chain_id,
        deployer=sender.address,
        costs=[c for c in costs_of(record) if c.step not in done],
        gas_price=fees.expected,
        max_gas_price=fees.maximum,
        balance=balance,
    )


def costs_of(record: DeploymentRecord) -> list[Cost]:
    """Gas of every transaction of a deployment."""
    created = [
        Cost(f"deploy {c.name}{' ' + c.label if c.label else ''}", c.gas_used)
        for c in record.contracts
    ]
    return created + [Cost(s.step, s.gas_used) for s in record.steps]
