"""One of the keepers of a race: the project's planner, simulator and dispatcher with its own key,
nonces, journal, liquidator account, bid and pace; book and scan are the arena's.

At a head it looks at ``looks`` accounts of those in trouble, drawn by its own seed: all looking at
the most profitable ones would send the same transaction twenty times, and one of them would be
mined. That is an operator's choice, not the planner's; ``looks`` 0 gives it everybody.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final

from eth_account import Account as EthAccount

from risk.chain.keccak import keccak
from risk.keeper.act import budget
from risk.keeper.dispatch import Dispatcher, DispatchPolicy, FeePolicy, Journal, journal_path
from risk.keeper.errors import BalanceTooLow, Transient
from risk.keeper.keys import Signer
from risk.keeper.measure.arena import CHAIN_ID, Arena, View
from risk.keeper.measure.path import BLOCK_SECONDS, GWEI
from risk.keeper.planner import Planner, Terms
from risk.keeper.ports import Costs, Outcome, Planning, Sending, Simulating, Sweep
from risk.keeper.simulate import Simulator
from risk.keeper.types import Way

WAD: Final = 10**18
PIPELINE: Final = 4
CONFIRMATIONS: Final = 3


@dataclass(frozen=True)
class Means:
    """What one keeper has: ether for gas, cash to take over with (WAD), and how far it looks."""

    ether_wei: int = 5 * 10**18
    cash_wad: int = 2_000_000 * WAD
    looks: int = 12
    min_profit_wad: int = WAD
    nonce_budget_wei: int = 5 * 10**17
    retry_blocks: int = 5  # an account that was not worth a transaction is left alone for so long
    most_gas_price_wei: int = 100 * GWEI


class Racer:
    """See the module. ``number`` and ``seed`` decide key, bid and pace."""

    def __init__(self, number: int, seed: int, means: Means) -> None:
        secret = keccak(f"plumbline load keeper {seed} {number}".encode())
        self.signer = Signer(EthAccount.from_key(secret))
        self.address = int(self.signer.address, 16)
        self.account = self.address << 8
        self.means = means
        self.counts: Counter[str] = Counter()
        self.broke = False
        self._rng = Random(f"keeper {seed} {number}")
        self._tip_wei = self._rng.randint(GWEI // 20, GWEI // 5)
        self._not_before: dict[int, int] = {}
        self._pace = self._rng.uniform(0.3, 4.0)  # mean seconds from a head to its transactions
        self._planner: Planning
        self._simulator: Simulating
        self._sender: Sending

    def enter(self, arena: Arena, folder: Path) -> None:
        """Parts on this arena; the journal lies in ``folder``."""
        terms = Terms(
            liquidator=self.account,
            min_profit_wad=self.means.min_profit_wad,
            max_intents=PIPELINE,
            max_examined=max(1, self.means.looks or 64),
        )
        self._planner = Planner(arena.vault, arena.abi, terms)
        contracts = [a.abi for a in arena.stage.chain.artifacts.values()]
        self._simulator = Simulator(arena.source, [arena.abi, *contracts], self.signer.address)
        genesis = arena.rpc.call("eth_getBlockByNumber", "0x0", False)["hash"]
        journal = Journal(
            journal_path(folder, CHAIN_ID, self.signer.address),
            chain_id=CHAIN_ID,
            signer=self.signer.address,
            genesis=genesis,
        )
        fees = FeePolicy(
            max_fee_cap_wei=self.means.most_gas_price_wei,
            budget_wei=self.means.nonce_budget_wei,
            tip_wei=self._tip_wei,
            max_tip_wei=self.means.most_gas_price_wei,
        )
        policy = DispatchPolicy(
            CHAIN_ID, fees, confirmations=CONFIRMATIONS, pipeline=PIPELINE, bump_after_blocks=2
        )
        self._sender = Dispatcher(arena.rpc, self.signer, journal, policy)
        self._journal = journal
        arena.rpc.call("anvil_setBalance", self.signer.address, hex(self.means.ether_wei))

    def close(self) -> None:
        """The journal's file."""
        if hasattr(self, "_journal"):
            self._journal.close()

    def latency(self) -> float:
        """Seconds that it takes this time; above a block's time it comes too late for the next."""
        return self._rng.expovariate(1 / self._pace)

    def turn(self, arena: Arena, view: View, latency: float, native_wad: int) -> None:
        """Everything that a keeper does at a head, book and scan apart."""
        if self.broke:
            return
        try:
            for event in self._sender.tick(view.head):
                self.counts[f"event_{event.what.value}"] += 1
            if latency >= BLOCK_SECONDS:
                self.counts["late"] += 1
                return
            self._act(arena, view, native_wad)
        except BalanceTooLow:
            self.broke = True
            self.counts["broke"] += 1
        except Transient:
            self.counts["transient"] += 1

    def _act(self, arena: Arena, view: View, native_wad: int) -> None:
        sweep = self._looked_at(view.sweep)
        if not sweep.unhealthy:
            return
        keys = (f"{a:042x}:{way.value}" for a in sweep.unhealthy for way in Way)
        open_keys = frozenset(key for key in keys if self._sender.is_open(key))
        costs = Costs(-(-view.head.base_fee_wei * 9 // 8) + self._tip_wei, native_wad)
        plan = self._planner.plan(arena.book.state, view.prices, sweep, costs, open_keys)
        for passed in plan.passed:
            self.counts[f"passed_{passed.bucket.value}"] += 1
            self._not_before[passed.account] = view.head.number + self.means.retry_blocks
        for intent in plan.intents:
            self.counts["planned"] += 1
            found = self._simulator.check(intent, view.head)
            if found.outcome is not Outcome.OK:
                self.counts[f"simulation_{found.outcome.name.lower()}"] += 1
                continue
            verdict = self._sender.submit(intent, view.head, budget_wei=budget(intent, costs))
            if verdict.declined is None:
                self.counts["sent"] += 1
            else:
                self.counts[f"declined_{verdict.declined.name.lower()}"] += 1

    def _looked_at(self, sweep: Sweep) -> Sweep:
        number = sweep.head.number
        candidates = [a for a in sweep.unhealthy if self._not_before.get(a, 0) <= number]
        chosen = candidates
        if self.means.looks and len(candidates) > self.means.looks:
            chosen = self._rng.sample(candidates, self.means.looks)
        return replace(sweep, unhealthy={a: sweep.unhealthy[a] for a in chosen}, unknown={})
