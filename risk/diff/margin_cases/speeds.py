"""One worker's share of the bench (``risk/diff/bench.py``): its cases on each engine in turn."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risk.chain.rpc import from_hex
from risk.chain.vault_abi import vault_abi
from risk.diff.kit.batch import BatchEngine
from risk.diff.kit.engine import GAS_LIMIT, Engine, Result
from risk.diff.kit.node import NodeEngine
from risk.diff.kit.revm import RevmEngine
from risk.diff.margin_cases.accounts import MarginCase
from risk.diff.margin_cases.check import CasePlan, CaseTally, compare, make_cases
from risk.diff.margin_cases.market import Market
from risk.diff.margin_cases.model import FIELDS, Answer, encode_fields, exact_answers
from risk.diff.margin_cases.stand import Stand
from risk.diff.margin_cases.words import account_words
from risk.diff.plumbline.chain import ANYBODY

STEP = 500  # cases handed to an engine at once
BARRIER_SECONDS = 300


@dataclass
class Part:
    """One worker's share of one measurement; times are of the machine's monotonic clock."""

    cases: int
    start: float
    stop: float
    cpu_seconds: float  # of the worker and of its node
    wrong: int = 0  # answers that are not the model's


class Stopwatch:
    """Wall and processor seconds; the node's processor time counts with the worker's."""

    def __init__(self, node: Engine | None) -> None:
        self._pid = node.node.pid if isinstance(node, NodeEngine) else None
        self._cpu = self._processor()
        self.start = time.monotonic()

    def stop(self, cases: int) -> Part:
        """The measurement so far."""
        stop = time.monotonic()
        return Part(cases, self.start, stop, self._processor() - self._cpu)

    def _processor(self) -> float:
        own = time.process_time()
        if self._pid is not None:
            with suppress(OSError):  # Linux only
                # fields 14 and 15 of proc(5), counted behind the name in parentheses
                stat = Path(f"/proc/{self._pid}/stat").read_text(encoding="utf-8")
                user, system = stat.rpartition(")")[2].split()[11:13]
                own += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        return own


def work(
    plan: CasePlan, number: int, workers: int, seconds: float, barrier: Any, results: Any
) -> None:
    """Process body: parts go into ``results``, then ``("done", None)`` or ``("failed", why)``."""
    try:
        Worker(plan, number, workers, seconds, barrier, results).run()
        results.put(("done", None))
    except BaseException:
        results.put(("failed", traceback.format_exc()))
        barrier.abort()


class Worker:
    """A share of the cases, on each engine in turn; all workers start each measurement together."""

    def __init__(
        self, plan: CasePlan, number: int, workers: int, seconds: float, barrier: Any, results: Any
    ) -> None:
        self.plan, self.number, self.workers = plan, number, workers
        self.seconds, self.barrier, self.results = seconds, barrier, results
        half = plan.cases // 2  # the first half is answered by all, the second by the whole runs
        self.first = range(number * half // workers, (number + 1) * half // workers)
        self.second = range(half + self.first.start, half + self.first.stop)

    def run(self) -> None:
        self.market = self.plan.market(0)
        if self.number == 0:
            self.results.put(("market", _market_facts(self.market)))
        self._wait()
        watch = Stopwatch(None)
        self.cases = make_cases(self.plan, self.market, self.first)
        self._put("generation", watch.stop(len(self.cases)))
        self._on_engine("revm", RevmEngine())
        self._on_engine("batch", BatchEngine())

    def _on_engine(self, name: str, engine: Engine) -> None:
        stand = Stand(engine)
        try:
            stand.open()
            stand.enter(self.market)
            if name == "revm":
                self._model(stand)
            self._overlaid(name, stand)
            for case in self.cases:
                words = account_words(case.account_id, case.account)
                engine.place(stand.vault, None, words, None)
            self._stored(name, stand)
            if isinstance(engine, NodeEngine):
                self._web3(stand, engine)
                self._one_by_one("transactions", stand, lambda c: engine.transact(stand.call(c)))
            self._whole(name, stand)
        finally:
            stand.close()

    # ── measurements ─────────────────────────────────────────────────────────────────────────────

    def _model(self, stand: Stand) -> None:
        self._wait()
        watch = Stopwatch(None)
        self.expected: list[Answer] = exact_answers(self.market, self.cases, stand.errors)
        self._put("model", watch.stop(len(self.cases)))

    def _stored(self, name: str, stand: Stand) -> None:
        calls = [stand.call(case) for case in self.cases]
        self._wait()
        watch = Stopwatch(stand.engine)
        found: list[Result] = []
        for i in range(0, len(calls), STEP):
            found += stand.engine.call(calls[i : i + STEP])
        self._put(name, watch.stop(len(calls)), self._wrong(found))

    def _overlaid(self, name: str, stand: Stand) -> None:
        self._wait()
        watch = Stopwatch(stand.engine)
        found: list[Result] = []
        for i in range(0, len(self.cases), STEP):
            found += stand.answers(self.cases[i : i + STEP])
        self._put(f"{name}_overlaid", watch.stop(len(self.cases)), self._wrong(found))

    def _whole(self, name: str, stand: Stand) -> None:
        self._wait()
        tally = CaseTally()
        watch = Stopwatch(stand.engine)
        for i in range(0, len(self.second), STEP):
            cases = make_cases(self.plan, self.market, self.second[i : i + STEP])
            expected = exact_answers(self.market, cases, stand.errors)
            found = stand.answers(cases)
            compare(stand, self.plan, self.market, cases, expected, found, tally)
        self._put(f"{name}_whole", watch.stop(tally.cases), tally.mismatches)

    def _one_by_one(
        self,
        name: str,
        stand: Stand,
        ask: Callable[[MarginCase], Result],
        clients: int | None = None,
    ) -> None:
        """As many cases as ``seconds`` allow, by the first ``clients`` workers."""
        self._wait()
        if clients is not None and self.number >= clients:
            self._wait()  # idle: the machine belongs to the others
            return
        found: list[Result] = []
        watch = Stopwatch(stand.engine)
        end = watch.start + self.seconds
        for case in self.cases:
            found.append(ask(case))
            if time.monotonic() > end:
                break
        self._put(name, watch.stop(len(found)), self._wrong(found))
        if clients is not None:
            self._wait()

    def _web3(self, stand: Stand, node: NodeEngine) -> None:
        """With one client, and with one a worker, each on a node of its own."""
        function, raw = _web3_calls(stand, node)
        self._one_by_one("web3", stand, function, 1)
        self._one_by_one("web3_raw", stand, raw, 1)
        if self.workers > 1:
            self._one_by_one(f"web3_{self.workers}_clients", stand, function)
            self._one_by_one(f"web3_raw_{self.workers}_clients", stand, raw)

    # ── helpers ──────────────────────────────────────────────────────────────────────────────────

    def _wait(self) -> None:
        self.barrier.wait(BARRIER_SECONDS)

    def _wrong(self, found: Sequence[Result]) -> int:
        return sum(
            (r.ok, r.data) != expected
            for r, expected in zip(found, self.expected[: len(found)], strict=True)
        )

    def _put(self, name: str, part: Part, wrong: int = 0) -> None:
        part.wrong = wrong
        self.results.put((name, part))


def _market_facts(market: Market) -> dict[str, Any]:
    return {
        "underlyings": len(market.state.underlyings),
        "instruments": len(market.linear) + len(market.options),
        "cached_arrays": len(market.cached),
        "scenarios": market.spec.params.scenarios,
        "features": sorted(tag for tag in market.tags if tag.startswith("feature")),
    }


def _web3_calls(
    stand: Stand, node: NodeEngine
) -> tuple[Callable[[MarginCase], Result], Callable[[MarginCase], Result]]:
    """``contract.functions.margin(id).call()``, and ``eth.call`` with calldata made by hand."""
    from web3 import HTTPProvider, Web3
    from web3.exceptions import ContractLogicError

    client = Web3(HTTPProvider(f"http://127.0.0.1:{node.node.port}"))
    vault = client.to_checksum_address(f"0x{stand.vault:040x}")
    sender = client.to_checksum_address(f"0x{ANYBODY:040x}")
    contract = client.eth.contract(address=vault, abi=vault_abi(stand.artifacts, "IVault"))

    def refused(error: ContractLogicError) -> Result:
        return Result(False, from_hex(error.data) if isinstance(error.data, str) else b"")

    def function(case: MarginCase) -> Result:
        try:
            values = contract.functions.margin(case.account_id).call({"from": sender})
        except ContractLogicError as error:
            return refused(error)
        return Result(True, encode_fields(dict(zip(FIELDS, values, strict=True))))

    def raw(case: MarginCase) -> Result:
        data = "0x" + stand.call(case).data.hex()
        request: Any = {"from": sender, "to": vault, "data": data, "gas": GAS_LIMIT}
        try:
            return Result(True, bytes(client.eth.call(request)))
        except ContractLogicError as error:
            return refused(error)

    return function, raw
