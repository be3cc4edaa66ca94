"""``plumbline bench soak``: a day of the keeper, compressed, with random faults.

The keeper is the assembled one (``assemble.py``: lock, key file, journal, SQLite, loop), live, over
two HTTP endpoints that fail on demand (``faulty.py``). Blocks of 12 s follow one another as fast as
the keeper's turns; the path is that of 10-Oct-2025 from its start hour on, and traders move cash
between their accounts, so that every block has events. Faults, all from the seed: reorganisations
(one in some hundreds deeper than the book's ring), one or both endpoints failing in five ways, base
fee spikes, restarts of the keeper.

Memory is the resident size of the keeper's process (``host.py``), which lives as long as the run
and holds one keeper after the other; a line is fitted through the samples after the first fifth.
The harness with the endpoints and the node are reported beside it. Drift: the loop compares samples
by itself, and every ``reconcile_every`` blocks the whole book is compared with the chain; a
``Divergence`` ends the run.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final

from eth_account import Account as EthAccount

from risk.chain.rpc import Json
from risk.diff.plumbline.chain import address
from risk.keeper.errors import Divergence
from risk.keeper.measure import town
from risk.keeper.measure.arena import CHAIN_ID, RICH_WEI, Arena
from risk.keeper.measure.faulty import Fault, FaultyEndpoint
from risk.keeper.measure.host import Host
from risk.keeper.measure.path import BLOCK_SECONDS, GWEI, Tick, path
from risk.keeper.measure.processor import resident_bytes

WAD: Final = 10**18
START: Final = 1_800_000_000 // 86_400 * 86_400
MIB: Final = 2**20
SAMPLES: Final = 120
SETTLED: Final = 5  # the first fifth of the run warms up
JUDGED: Final = 1_800  # blocks below which a slope means nothing
NODE: Final = ("--gas-price", "0", "--prune-history", "200")  # the node's memory is not the matter
SPIKE_BLOCKS: Final = 5
TRANSFERS: Final = 2  # a block
TRANSFER_GAS: Final = 6_000_000
MOST_MOVED: Final = 10**8  # native units of cash: 100
TELL_EVERY: Final = 100
MARGINS: Final = 20  # of a full comparison
DEEP: Final = 70  # below the ring of 64
# growth over a day that still counts as flat: of the settled size, or of the process in any case
FLAT_SHARE, FLAT_BYTES = 0.05, 16 * MIB

Tell = Callable[[str], None]


@dataclass(frozen=True)
class SoakPlan:
    """Sizes, and how often a block brings a fault (one in so many)."""

    blocks: int = 7_200
    accounts: int = 2_000
    seed: int = 1
    start_hour: float = 0.0
    reconcile_every: int = 300
    reorg_every: int = 60
    deep_reorg_every: int = 1_500
    endpoint_every: int = 15
    outage_every: int = 80
    spike_every: int = 100
    restart_every: int = 120


def soak(plan: SoakPlan, tell: Tell) -> dict[str, Any]:
    """The report; ``divergence`` is empty where book and chain agreed throughout."""
    with ExitStack() as stack:
        run = _Soak(plan, stack, tell)
        return run.run()


class _Soak:
    """One run. What is opened is closed by ``stack``."""

    def __init__(self, plan: SoakPlan, stack: ExitStack, tell: Tell) -> None:
        self.plan, self.tell = plan, tell
        self.rng = Random(f"soak {plan.seed}")
        self.faults: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plumbline-")))
        secret = hashlib.sha256(f"plumbline soak {plan.seed}".encode()).digest()
        self.signer = str(EthAccount.from_key(secret).address)
        self.key = self.folder / "key"
        descriptor = os.open(self.key, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret.hex())
        built = town.build(plan.seed, plan.accounts, START + int(plan.start_hour * 3_600))
        town.add_accounts(built, {int(self.signer, 16) << 8: 5_000_000 * WAD})
        self.arena = stack.enter_context(Arena(built, extra=NODE))
        self.arena.rpc.call("anvil_setBalance", self.signer, hex(RICH_WEI))
        self.ends = [stack.enter_context(FaultyEndpoint(self.arena.endpoint)) for _ in range(2)]
        self.host = stack.enter_context(Host(self._settings(), self.folder / "locks"))
        self.spiked = 0
        self.memory: list[tuple[int, int, int]] = []  # block, the keeper's, the node's
        self.harness: list[tuple[int, int]] = []  # block, our own

    def _settings(self) -> dict[str, Any]:
        return {
            "version": 1,
            "dry_run": False,
            "chain": {
                "id": CHAIN_ID,
                "endpoints": [end.url for end in self.ends],
                "max_head_age_seconds": 0,
                "max_lag_blocks": DEEP + 10,
                "poll_seconds": 0.002,
                "retry_cap_seconds": 0.02,
                "give_up_seconds": 120,
                "request_timeout_seconds": 30,
            },
            "vault": {"address": self.arena.vault, "deployed_block": 0},
            "signer": {"address": self.signer, "secret_file": str(self.key)},
            "profit": {"min_profit_cash": "1", "native_underlying": 0},
            "fees": {"max_fee_cap_gwei": "200", "budget_native": "1", "tip_gwei": "0.1"},
            "dispatch": {"pipeline": 4, "confirmations": 3},
            "book": {"behind_blocks": 0},
            "state": {"folder": str(self.folder / "state"), "keep_rows": 1_000},
            "monitor": {"enabled": False},
        }

    # ── run ──────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> dict[str, Any]:
        """See ``soak``."""
        plan, began = self.plan, time.monotonic()
        divergence, full, done = "", 0, 0
        ticks = path(plan.seed, plan.blocks, start_hour=plan.start_hour)
        every = max(1, plan.blocks // SAMPLES)
        host = self.host
        try:
            host.start()
            for i, tick in enumerate(ticks):
                if i and self._happens(plan.restart_every, "restart"):
                    self.counters.update(host.stop())
                    host.start()
                self._trade()
                self.arena.mine(self._spiking(tick))
                self._hurt()
                host.turn()
                done = i + 1
                if done % plan.reconcile_every == 0 or done == plan.blocks:
                    self._heal()
                    self.arena.mine(replace(tick, second=tick.second + 1))
                    host.turn()
                    full += host.reconcile(MARGINS)
                if done % every == 0:
                    pids = (host.pid, self.arena.stage.chain.node.pid)
                    keeper, node = map(resident_bytes, pids)
                    self.memory.append((done, keeper, node))
                    self.harness.append((done, resident_bytes()))
                if done % TELL_EVERY == 0:
                    spent = time.monotonic() - began
                    self.tell(f"block {done} of {plan.blocks}, {spent:.0f} s, {dict(self.faults)}")
        except Divergence as error:
            divergence = str(error)
        self.counters.update(host.stop())
        return self._report(done, full, divergence, time.monotonic() - began)

    def _happens(self, every: int, name: str) -> bool:
        hit = every > 0 and self.rng.randrange(every) == 0
        if hit:
            self.faults[name] += 1
        return hit

    def _trade(self) -> None:
        """Owners move some cash to another account; what their margin forbids reverts."""
        arena, accounts = self.arena, self.arena.town.traders
        encode = arena.functions["transfer"].encode
        calls: list[tuple[str, list[Json]]] = []
        for _ in range(TRANSFERS):
            source, target = self.rng.sample(accounts, 2)
            amount = self.rng.randrange(1, MOST_MOVED)
            data = encode(source, target, arena.town.state.cash_token, amount)
            owner = address(source >> 8)
            transaction = {
                "from": owner,
                "to": arena.vault,
                "data": "0x" + data.hex(),
                "gas": hex(TRANSFER_GAS),
                "maxFeePerGas": hex(10_000 * GWEI),
                "maxPriorityFeePerGas": hex(GWEI),
            }
            calls.append(("anvil_setBalance", [owner, hex(RICH_WEI)]))
            calls.append(("eth_sendTransaction", [transaction]))
        arena.rpc.try_batch(calls)

    def _spiking(self, tick: Tick) -> Tick:
        if self.spiked == 0 and self._happens(self.plan.spike_every, "base_fee_spike"):
            self.spiked = SPIKE_BLOCKS
        if self.spiked == 0:
            return tick
        self.spiked -= 1
        return replace(tick, base_fee_wei=min(150 * GWEI, 30 * tick.base_fee_wei))

    def _hurt(self) -> None:
        """Faults that the keeper meets at this head."""
        plan, rng = self.plan, self.rng
        grown = self.arena.height - self.arena.first_height
        if self._happens(plan.reorg_every, "reorg"):
            self.arena.reorganise(min(rng.randint(1, 8), max(1, grown)))
        elif grown > DEEP and self._happens(plan.deep_reorg_every, "deep_reorg"):
            self.arena.reorganise(DEEP)
        if self._happens(plan.endpoint_every, "endpoint"):
            rng.choice(self.ends).fail(rng.choice(list(Fault)), rng.randint(1, 12))
        elif self._happens(plan.outage_every, "both_endpoints"):
            for end in self.ends:
                end.fail(rng.choice((Fault.DOWN, Fault.ERROR, Fault.LIMIT, Fault.CUT)), 6)

    def _heal(self) -> None:
        for end in self.ends:
            end.fail(Fault.DOWN, 0)

    # ── report ───────────────────────────────────────────────────────────────────────────────────

    def _report(self, done: int, full: int, divergence: str, seconds: float) -> dict[str, Any]:
        met: Counter[str] = sum((end.met for end in self.ends), Counter())
        return {
            "plan": asdict(self.plan),
            "blocks": done,
            "simulated_hours": round(done * BLOCK_SECONDS / 3_600, 2),
            "wall_seconds": round(seconds, 1),
            "faults": dict(sorted(self.faults.items())),
            "requests_that_met_a_fault": dict(sorted(met.items())),
            "keeper": dict(sorted(self.counters.items())),
            "accounts_compared_in_full_reconciliations": full,
            "divergence": divergence,
            "memory": memory(self.memory, done),
            "memory_mib": self._curve(),
        }

    def _curve(self) -> list[list[float]]:
        """Block, resident MiB of keeper, node and harness."""
        both = zip(self.memory, self.harness, strict=True)
        return [[m[0], *(round(x / MIB, 1) for x in (m[1], m[2], h[1]))] for m, h in both]


def memory(samples: Sequence[tuple[int, int, int]], blocks: int) -> dict[str, Any]:
    """Slope after the first fifth, in MiB a simulated day, the keeper's and the node's; ``flat``
    says whether the keeper's is within ``FLAT_SHARE`` of the settled size, or ``FLAT_BYTES``, a
    day; None where the run is too short to say.
    """
    settled = [s for s in samples if s[0] * SETTLED >= blocks]
    if len(settled) < 3:
        return {"samples": len(settled)}
    a_day = 86_400 / BLOCK_SECONDS
    mean = sum(s[1] for s in settled) / len(settled)
    growth = slope([(s[0], s[1]) for s in settled]) * a_day
    return {
        "samples": len(settled),
        "first_mib": round(samples[0][1] / MIB, 1),
        "settled_mib": round(mean / MIB, 1),
        "last_mib": round(samples[-1][1] / MIB, 1),
        "most_mib": round(max(s[1] for s in samples) / MIB, 1),
        "growth_mib_a_day": round(growth / MIB, 2),
        "node_growth_mib_a_day": round(slope([(s[0], s[2]) for s in settled]) * a_day / MIB, 1),
        "flat": growth <= max(FLAT_SHARE * mean, FLAT_BYTES) if blocks >= JUDGED else None,
    }


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the least-squares line."""
    n = len(points)
    x, y = (sum(p[i] for p in points) / n for i in (0, 1))
    over = sum((p[0] - x) ** 2 for p in points)
    return sum((p[0] - x) * (p[1] - y) for p in points) / over if over else 0.0
