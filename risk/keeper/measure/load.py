"""``plumbline bench load``: many keepers race on one price path, and naive ones on the same.

Two runs, each on a node of its own with the same town (``town.py``) and path (``path.py``): the
project's keepers (``racer.py``), then as many naive ones (``baseline.py``). At every block: mine
what is in the pool, bring book and scan to the head, then everybody's turn, in the order of the
latency that each draws. Nobody sees the pool.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from risk.chain.events import EventDecoder
from risk.chain.rpc import from_hex
from risk.diff.plumbline.chain import address
from risk.keeper.health import refresh
from risk.keeper.measure import baseline, town
from risk.keeper.measure.arena import Arena, View
from risk.keeper.measure.baseline import Naive
from risk.keeper.measure.path import BLOCK_SECONDS, Tick, path
from risk.keeper.measure.racer import Means, Racer
from risk.keeper.measure.rivals import Rivals, fetch, reason
from risk.keeper.measure.tally import WAD, Tally
from risk.vector import exact
from risk.vector.accounts import AccountBatch
from risk.vector.market import MarketTable

DAY_START: Final = 1_800_000_000 // 86_400 * 86_400
START_HOUR: Final = 20.9
RATE_SAMPLE: Final = 300
NATIVE: Final = "ETH"
FEED_TO_WAD: Final = 10**10
TELL_EVERY: Final = 50
PHASES: Final = ("mine", "follow", "tally", "turns")  # what a block's wall time is spent on
EXPLAINED: Final = 2_000  # failed transactions whose reason is looked up

Tell = Callable[[str], None]
Decided = dict[tuple[str, int], int]  # (sender, nonce) -> head that it was decided at


@dataclass(frozen=True)
class LoadPlan:
    """Sizes of a run."""

    accounts: int = 50_000
    keepers: int = 20
    blocks: int = 300
    seed: int = 1
    start_hour: float = START_HOUR
    means: Means = field(default_factory=Means)
    rate_sample: int = RATE_SAMPLE
    baseline: bool = True

    @property
    def start(self) -> int:
        """Unix time of the first block."""
        return DAY_START + int(self.start_hour * 3_600)


def load(plan: LoadPlan, tell: Tell) -> dict[str, Any]:
    """The report: plan, figures of both runs, who did what."""
    ticks = path(plan.seed, plan.blocks, start_hour=plan.start_hour)
    out: dict[str, Any] = {
        "plan": asdict(plan),
        "path": {
            "block_seconds": BLOCK_SECONDS,
            "lowest": [min(t.ratios[i] for t in ticks) for i in range(3)],
            "highest_base_fee_gwei": max(t.base_fee_wei for t in ticks) / 1e9,
        },
        "keepers": _race(plan, ticks, tell),
    }
    if plan.baseline:
        out["baseline"] = _naive(plan, ticks, tell)
    return out


def _race(plan: LoadPlan, ticks: list[Tick], tell: Tell) -> dict[str, Any]:
    decided: Decided = {}
    racers = [Racer(i, plan.seed, plan.means, decided) for i in range(plan.keepers)]
    built = town.build(plan.seed, plan.accounts, plan.start)
    town.add_accounts(built, {r.account: plan.means.cash_wad for r in racers})
    senders = frozenset(address(r.address) for r in racers)
    tell(f"{plan.accounts} accounts, {plan.keepers} keepers")
    with tempfile.TemporaryDirectory(prefix="plumbline-load-") as folder, Arena(built) as arena:
        try:
            for racer in racers:
                racer.enter(arena, Path(folder))

            def turns(view: View, native_wad: int, _: frozenset[str]) -> None:
                order = sorted((r.latency(), i) for i, r in enumerate(racers))
                for latency, i in order:
                    racers[i].turn(arena, view, latency, native_wad)

            out = _run(arena, ticks, senders, turns, tell, decided)
            out["gain_cash"] = _gain(arena, [r.account for r in racers], plan.means.cash_wad)
        finally:
            for racer in racers:
                racer.close()
    out["left_because"] = _left([r.judged for r in racers], out.pop("left_accounts"))
    out["counts"] = dict(sorted(sum((r.counts for r in racers), Counter[str]()).items()))
    out["broke"] = sum(r.broke for r in racers)
    return out


def _naive(plan: LoadPlan, ticks: list[Tick], tell: Tell) -> dict[str, Any]:
    built = town.build(plan.seed, plan.accounts, plan.start)
    probe = [Naive(i, plan.seed, 1, plan.means.ether_wei) for i in range(plan.keepers)]
    town.add_accounts(built, {n.account: plan.means.cash_wad for n in probe})
    senders = frozenset(address(n.address) for n in probe)
    with Arena(built) as arena:
        rate = baseline.rate(arena, min(plan.rate_sample, plan.accounts - 1))
        tell(f"naive: {rate:.0f} accounts/s through web3.py")
        each = int(rate * BLOCK_SECONDS)
        decided: Decided = {}
        ether = plan.means.ether_wei
        naive = [Naive(i, plan.seed, each, ether, decided) for i in range(plan.keepers)]
        for item in naive:
            item.enter(arena)
        order = list(arena.town.state.accounts)
        Random(f"order {plan.seed}").shuffle(order)

        def turns(view: View, _: int, mined: frozenset[str]) -> None:
            for item in naive:
                item.turn(arena, view, mined, order)

        out = _run(arena, ticks, senders, turns, tell, decided)
        out["gain_cash"] = _gain(arena, [n.account for n in naive], plan.means.cash_wad)
    del out["left_accounts"]
    out["accounts_a_second"] = rate
    out["accounts_a_block"] = each
    out["counts"] = dict(sorted(sum((n.counts for n in naive), Counter[str]()).items()))
    return out


def _gain(arena: Arena, accounts: list[int], cash_wad: int) -> float:
    """Equity of the liquidators at the last prices, less the cash they began with; gas is apart.
    Positions taken over are still held.
    """
    head = arena.source.head()
    state = refresh(arena.book.state, arena.book.prices(), head).state
    table = MarketTable.from_state(state)
    equity = exact.margins(table, AccountBatch.from_state(table, state, accounts), state)
    return sum(e - cash_wad for e in equity.values("equity")) / WAD


def _run(
    arena: Arena,
    ticks: list[Tick],
    senders: frozenset[str],
    turns: Callable[[View, int, frozenset[str]], None],
    tell: Tell,
    decided: Decided,
) -> dict[str, Any]:
    """The path from its first block to its last."""
    view = arena.start()
    tally = Tally(EventDecoder(arena.abi), arena.vault, senders, arena.book.state.insurance_wad)
    native = arena.town.names.index(NATIVE)
    rivals = Rivals(EventDecoder(arena.abi), arena.vault, arena.functions)
    reasons: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    began = time.monotonic()
    for i, tick in enumerate(ticks):
        marks = [time.monotonic()]
        mined = arena.mine(tick)
        marks.append(time.monotonic())
        view = arena.follow()
        marks.append(time.monotonic())
        native_wad = arena.town.answer(native, arena.oracle.shown) * FEED_TO_WAD
        tally.block(view.head.number, mined.receipts, view.sweep, native_wad)
        rivals.block(mined.receipts)
        failed = [
            r for r in mined.receipts if r["status"] != "0x1" and r["from"].lower() in senders
        ]
        _explain(arena, failed[: max(0, EXPLAINED - reasons.total())], rivals, reasons, decided)
        marks.append(time.monotonic())
        turns(view, native_wad, frozenset(r["transactionHash"] for r in mined.receipts))
        marks.append(time.monotonic())
        for name, start, end in zip(PHASES, marks[:-1], marks[1:], strict=True):
            spent[name] += round((end - start) * 1_000)
        if (i + 1) % TELL_EVERY == 0:
            tell(
                f"block {i + 1} of {len(ticks)}: {len(view.sweep.unhealthy)} unhealthy, "
                f"{len(tally.waited)} liquidated, {time.monotonic() - began:.0f} s"
            )
    checked = arena.book.reconcile(None, margins=20)
    out = tally.result(view.head.number, arena.book.state.insurance_wad)
    out["failed_because"] = dict(reasons.most_common())
    out["failed_by_rival"] = dict(rivals.classes.most_common())
    out["wall_ms"] = dict(spent)
    out["left_accounts"] = list(tally.since)
    out["reconciled_accounts"] = checked.accounts
    out["wall_seconds"] = round(time.monotonic() - began, 1)
    return out


def _left(judged: list[dict[int, str]], accounts: list[int]) -> dict[str, int]:
    """Why the accounts that are left were left: what most keepers said of each when they last
    looked closely.
    """
    out: Counter[str] = Counter()
    for account in accounts:
        said = Counter(found[account] for found in judged if account in found)
        out[said.most_common(1)[0][0] if said else "never looked at"] += 1
    return dict(out.most_common())


def _explain(
    arena: Arena,
    failed: list[dict[str, Any]],
    rivals: Rivals,
    reasons: Counter[str],
    decided: Decided,
) -> None:
    """Counts, of each failed transaction, its error and who had the account."""
    found = fetch(arena.rpc, failed)
    for receipt, (sent, trace) in zip(failed, found, strict=True):
        reasons[reason(trace, arena.errors.name)] += 1
        head = decided[receipt["from"].lower(), int(sent["nonce"], 16)]
        rivals.classes[rivals.classify(receipt, from_hex(sent["input"]), head)] += 1
