"""One of the keepers of a race: the project's planner, simulator and dispatcher with its own key,
nonces, journal, liquidator account, bid and pace; book and scan are the arena's.

At a head the planner looks closely at ``looks`` accounts of those in trouble (``max_examined``), in
the order that it draws (``spread_bps``). Open nonces are not taken back, as the loop would.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final

from eth_account import Account as EthAccount

from risk.chain.keccak import keccak
from risk.keeper.act import account_of, budget
from risk.keeper.dispatch import (
    Dispatcher,
    DispatchPolicy,
    Event,
    FeePolicy,
    Journal,
    What,
    journal_path,
)
from risk.keeper.errors import BalanceTooLow, Transient
from risk.keeper.keys import Signer
from risk.keeper.measure.arena import CHAIN_ID, Arena, View
from risk.keeper.measure.path import BLOCK_SECONDS, GWEI
from risk.keeper.planner import Planner, Terms
from risk.keeper.ports import Bucket, Costs, Outcome, Plan, Planning, Sending
from risk.keeper.rest import Rests
from risk.keeper.results import ChainResults
from risk.keeper.simulate import Simulator
from risk.keeper.types import Intent, Way

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
    retry_blocks: int = 3  # rest of an account after a lost race, as in the real keeper
    spread_bps: int = 10_000  # how the order is drawn (``Terms``)
    intents: int = PIPELINE  # transactions a head
    pool: bool = False  # the keepers ask the node's pending block
    most_gas_price_wei: int = 100 * GWEI


class Racer:
    """See the module. ``number`` and ``seed`` decide key, bid and pace."""

    def __init__(
        self, number: int, seed: int, means: Means, decided: dict[tuple[str, int], int]
    ) -> None:
        secret = keccak(f"plumbline load keeper {seed} {number}".encode())
        self.signer = Signer(EthAccount.from_key(secret))
        self.address = int(self.signer.address, 16)
        self.account = self.address << 8
        self.means, self._decided = means, decided
        self.counts: Counter[str] = Counter()
        self.broke = False
        self.judged: dict[int, str] = {}  # last bucket of an account that was looked at
        self._rng = Random(f"keeper {seed} {number}")
        self._tip_wei = self._rng.randint(GWEI // 20, GWEI // 5)
        self._rests = Rests(means.retry_blocks)
        self._pace = self._rng.uniform(0.3, 4.0)  # mean seconds from a head to its transactions
        self._planner: Planning
        self._simulator: Simulator
        self._sender: Sending

    def enter(self, arena: Arena, folder: Path) -> None:
        """Parts on this arena; the journal lies in ``folder``."""
        terms = Terms(
            liquidator=self.account,
            min_profit_wad=self.means.min_profit_wad,
            max_intents=self.means.intents,
            max_examined=self.means.looks or 64,
            spread_bps=self.means.spread_bps,
        )
        self._planner = Planner(arena.vault, arena.abi, terms)
        contracts = [a.abi for a in arena.stage.chain.artifacts.values()]
        self._simulator = Simulator(arena.source, [arena.abi, *contracts], self.signer.address)
        self._results = ChainResults(arena.source, arena.vault, arena.abi)
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
                self._happened(arena, event, view.head.number)
            if latency >= BLOCK_SECONDS:
                self.counts["late"] += 1
                return
            self._act(arena, view, native_wad)
        except BalanceTooLow:
            self.broke = True
            self.counts["broke"] += 1
        except Transient:
            self.counts["transient"] += 1

    def _happened(self, arena: Arena, event: Event, number: int) -> None:
        """As ``Actions.happened``: an account that a rival took first rests."""
        self.counts[f"event_{event.what.value}"] += 1
        account = account_of(event.key)
        if event.what is not What.REVERTED or account is None:
            return
        if self._results.rival(event, account):
            self.counts["lost_races"] += 1
            self._rests.lost(account, number)

    def _act(self, arena: Arena, view: View, native_wad: int) -> None:
        """As ``Loop._plan_and_act``."""
        head, unhealthy = view.head, view.sweep.unhealthy
        if not unhealthy:
            return
        keys = (f"{a:042x}:{way.value}" for a in unhealthy for way in Way)
        open_keys = frozenset(key for key in keys if self._sender.is_open(key))
        costs = Costs(-(-head.base_fee_wei * 9 // 8) + self._tip_wei, native_wad)
        resting = self._rests.resting(unhealthy, head.number)
        plan: Plan | None = None
        for without in (resting, {}) if resting else ({},):
            asked = {a: r for a, r in unhealthy.items() if a not in without}
            sweep = replace(view.sweep, unhealthy=asked, unknown={})
            plan = self._planner.plan(arena.book.state, view.prices, sweep, costs, open_keys)
            if plan.intents:
                break
        assert plan is not None
        for passed in plan.passed:
            self.counts[f"passed_{passed.bucket.value}"] += 1
            if passed.bucket is not Bucket.LATER:
                self.judged[passed.account] = passed.bucket.value
        for intent in plan.intents:
            self._send(intent, view, costs)

    def _send(self, intent: Intent, view: View, costs: Costs) -> None:
        """As ``Actions.act``."""
        head = view.head
        self.counts["planned"] += 1
        found = self._simulator.check(intent, head)
        if found.outcome is not Outcome.OK:
            self.counts[f"simulation_{found.outcome.name.lower()}"] += 1
            return
        account = intent.account
        asks = self.means.pool and self._rests.trusts(account, view.sweep.unhealthy, head.number)
        if asks and self._simulator.pool(intent).outcome is Outcome.TAKEN:
            self.counts["left_to_the_pool"] += 1
            self._rests.left(account, head.number)
            return
        verdict = self._sender.submit(intent, head, budget_wei=budget(intent, costs))
        if verdict.declined is None:
            self.counts["sent"] += 1
            self.judged[account] = "sent"
            self._decided[self.signer.address.lower(), verdict.nonce] = head.number
        else:
            self.counts[f"declined_{verdict.declined.name.lower()}"] += 1
