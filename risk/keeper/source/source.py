"""What the book and the loop ask of a chain: heads, blocks, logs, code, calls, all by block hash.

Nothing partial comes out: a method returns everything that it was asked for, or raises a
``SourceError``. Blocks are asked by hash, so an answer cannot belong to another chain history than
the head that was chosen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, TypeVar

from risk.chain.rpc import Call, from_hex, to_hex
from risk.keeper.errors import WrongChain
from risk.keeper.source import parse
from risk.keeper.source.endpoint import Reply
from risk.keeper.source.errors import (
    Disagreement,
    LyingLogs,
    NodeRefused,
    NotFound,
    SourceError,
    StaleHead,
    Unreachable,
)
from risk.keeper.source.parse import Block
from risk.keeper.source.pool import Member, Pool
from risk.keeper.source.rule import HeadRule
from risk.keeper.types import Head

Json = Any
T = TypeVar("T")


class Source:
    """See the module.

    ``bloom``: the chain fills ``logsBloom`` (some rollups do not); without it an empty answer to
    logs is believed only after reading the receipts. ``receipts``: always read the receipts and
    compare their bloom with the header's, instead of only where something looks wrong.
    """

    def __init__(
        self,
        pool: Pool,
        rule: HeadRule | None = None,
        *,
        bloom: bool = True,
        receipts: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.pool = pool
        self.rule = rule or HeadRule()
        if not 1 <= self.rule.quorum <= len(pool.members):
            raise ValueError(f"quorum {self.rule.quorum} of {len(pool.members)} endpoints")
        self._bloom, self._receipts, self._now = bloom, receipts, now
        self._highest = 0
        self._agreeing: frozenset[str] | None = None  # who named the last head
        self._only: str | None = None  # who alone is asked now
        self._noted: set[str] = set()  # who has answered since `noting` began
        self.told_by = ""  # whose block the last head is
        self._chain: int | None = None  # what `require_chain` asked for
        self._right: set[str] = set()  # who has said since it last failed that it serves that

    def require_chain(self, chain_id: int) -> None:
        """``WrongChain`` where any endpoint that answers serves another chain; ``SourceError``
        where none answers. Who does not answer is asked before any later head of it is believed.
        """
        self._chain = chain_id
        self._right.clear()
        answered = 0
        failure: SourceError | None = None
        for member in self.pool.members:
            try:
                reply = self.pool.ask(member, [("eth_chainId", [])])[0].get()
                served = parse.quantity(member.name, reply)
            except SourceError as error:
                self.pool.failed(member, error)
                failure = error
                continue
            if served != chain_id:
                raise WrongChain(f"{member.name} serves chain {served}, expected {chain_id}")
            self._right.add(member.name)
            answered += 1
        if not answered:
            raise failure or Unreachable("", "no endpoint")

    # ── head ─────────────────────────────────────────────────────────────────────────────────────

    def head(self) -> Block:
        """The highest block that ``quorum`` endpoints agree on.

        Raises ``Disagreement`` (both hashes in the message), ``StaleHead``, ``Unreachable`` where
        fewer than ``quorum`` answer.
        """
        latest = self._latest()
        quorum = self.rule.quorum
        if len(latest) < quorum:
            raise Unreachable("", f"{len(latest)} of {quorum} endpoints named a head")
        height = sorted((b.number for _, b in latest), reverse=True)[quorum - 1]
        votes: dict[str, list[tuple[Member, Block]]] = {}
        for member, block in latest:
            if block.number < height:
                continue
            try:
                if block.number > height:
                    block = self._by_number(member, [height])[0]
            except SourceError as error:
                self.pool.failed(member, error)
                continue
            votes.setdefault(block.hash, []).append((member, block))
        best = max(votes.values(), key=len, default=[])
        cast = sum(map(len, votes.values()))
        if len(best) < quorum or (2 * len(best) <= cast and len(votes) > 1):
            named = "; ".join(
                f"{h} by {', '.join(m.name for m, _ in who)}" for h, who in sorted(votes.items())
            )
            raise Disagreement("", f"block {height}, quorum {quorum}: {named or 'no answer'}")
        teller, head = best[0]
        self._require_fresh(head)
        self.told_by = teller.name
        self._agreeing = frozenset(m.name for m, _ in best)
        self._highest = max(self._highest, head.number)
        return head

    def _latest(self) -> list[tuple[Member, Block]]:
        """Latest block of every endpoint that answers; waits for one only where all back off."""
        found: list[tuple[Member, Block]] = []
        for member in self.pool.ready():
            try:
                found.append((member, self._newest(member)))
                member.failures, member.not_before = 0, 0.0
            except SourceError as error:
                self.pool.failed(member, error)
        if not found and self.rule.quorum == 1:

            def work(member: Member) -> tuple[Member, Block]:
                return member, self._newest(member)

            found.append(self.pool.run(work))
        return found

    def _newest(self, member: Member) -> Block:
        """The latest block of an endpoint; ``Disagreement`` where it serves another chain, which
        is asked again after every failure: another node may have taken its place.
        """
        if self._chain is not None and (member.failures or member.name not in self._right):
            self._right.discard(member.name)
            reply = self.pool.ask(member, [("eth_chainId", [])])[0].get()
            served = parse.quantity(member.name, reply)
            if served != self._chain:
                raise Disagreement(member.name, f"serves chain {served}, expected {self._chain}")
            self._right.add(member.name)
        return self._by_number(member, ["latest"])[0]

    def _require_fresh(self, head: Block) -> None:
        lag, age = self.rule.lag, self.rule.age
        if lag is not None and head.number + lag < self._highest:
            raise StaleHead("", f"block {head.number} lies far below {self._highest}, seen before")
        if age is not None and self._now() - head.timestamp > age:
            old = self._now() - head.timestamp
            raise StaleHead("", f"block {head.number} is {old:.0f} s old, the limit is {age:g} s")

    # ── blocks ───────────────────────────────────────────────────────────────────────────────────

    def block(self, block_hash: str) -> Block:
        """The block of this hash; ``NotFound`` where no endpoint has it."""

        def work(member: Member) -> Block:
            reply = self.pool.ask(member, [("eth_getBlockByHash", [block_hash, False])])[0]
            found = parse.block(member.name, reply.get())
            if found.hash != block_hash:
                raise LyingLogs(member.name, f"block {found.hash} for {block_hash}")
            return found

        return self._run(work)

    def blocks(self, first: int, last: int) -> list[Block]:
        """The blocks at heights ``first`` … ``last``, linked by parent; ``NotFound`` where the
        chain moved in between.
        """

        def work(member: Member) -> list[Block]:
            found = self._by_number(member, list(range(first, last + 1)))
            for before, after in pairwise(found):
                if after.parent != before.hash:
                    raise NotFound(member.name, f"blocks {before.number} ff. are not linked")
            return found

        return self._run(work)

    def _by_number(self, member: Member, numbers: Sequence[int | str]) -> list[Block]:
        calls: list[Call] = [
            ("eth_getBlockByNumber", [n if isinstance(n, str) else hex(n), False]) for n in numbers
        ]
        found = [parse.block(member.name, r.get()) for r in self.pool.ask(member, calls)]
        for wanted, block in zip(numbers, found, strict=True):
            if not isinstance(wanted, str) and block.number != wanted:
                raise NotFound(member.name, f"block {block.number} for {wanted}")
        return found

    # ── logs ─────────────────────────────────────────────────────────────────────────────────────

    def logs(self, blocks: Sequence[Block], address: str) -> list[list[dict[str, Json]]]:
        """All logs of ``address`` in each of the blocks, in log order.

        A block whose bloom excludes the address is not asked for. Raises ``LyingLogs`` where an
        answer contradicts the block.
        """
        raw_address = from_hex(address)
        asked = [
            b for b in blocks if not self._bloom or parse.bloom.may_hold(b.logs_bloom, raw_address)
        ]

        def work(member: Member) -> dict[str, list[dict[str, Json]]]:
            if self._receipts:
                return {b.hash: self._from_receipts(member, b, address) for b in asked}
            calls: list[Call] = [
                ("eth_getLogs", [{"blockHash": b.hash, "address": address}]) for b in asked
            ]
            out: dict[str, list[dict[str, Json]]] = {}
            for b, reply in zip(asked, self.pool.ask(member, calls), strict=True):
                found = parse.logs(member.name, reply.get(), b, address)
                # the bloom may be right by chance: the receipts decide
                out[b.hash] = found or self._from_receipts(member, b, address)
            return out

        by_hash = self._run(work) if asked else {}
        return [by_hash.get(b.hash, []) for b in blocks]

    def _from_receipts(self, member: Member, block: Block, address: str) -> list[dict[str, Json]]:
        """Logs by way of the receipts, whose number and bloom must be the block's."""
        reply = self.pool.ask(member, [("eth_getBlockReceipts", [block.hash])])[0]
        every = parse.receipts(member.name, reply.get(), block)
        if self._bloom and parse.bloom.of_logs(every) != block.logs_bloom:
            raise LyingLogs(
                member.name, f"block {block.number}: the logs do not give the block's bloom"
            )
        ours = [log for log in every if log["address"].lower() == address.lower()]
        return parse.logs(member.name, ours, block, address)

    def logs_between(
        self,
        first: int,
        at: Block,
        address: str,
        topics: Sequence[Json] = (),
        *,
        step: int = 5_000,
    ) -> list[dict[str, Json]]:
        """All logs of ``address`` from height ``first`` to the block ``at``, in log order.

        Ranges are by height, so ``at`` is asked for by its height afterwards: ``NotFound`` where
        the chain is another by then. A range that a node refuses as too large is halved. Ranges
        cannot be checked by bloom: reconcile with the lens after using them.
        """
        out: list[dict[str, Json]] = []
        begin = first
        while begin <= at.number:
            end = min(begin + step - 1, at.number)
            request = {"address": address, "fromBlock": hex(begin), "toBlock": hex(end)}
            query = {**request, "topics": list(topics)} if topics else request

            def work(member: Member, query: dict[str, Json] = query) -> list[dict[str, Json]]:
                reply = self.pool.ask(member, [("eth_getLogs", [query])])[0]
                return parse.log_range(member.name, reply.get(), address)

            try:
                # a range that is too large fails everywhere: do not try long
                found = self._run(work, attempts=None if step == 1 else 2)
            except NodeRefused:
                if step == 1:
                    raise
                step = max(1, min(step, end - begin + 1) // 2)
                continue
            if any(not begin <= int(log["blockNumber"], 16) <= end for log in found):
                raise LyingLogs("", f"logs outside of blocks {begin} to {end}")
            out += found
            begin = end + 1
        if self.blocks(at.number, at.number)[0].hash != at.hash:
            raise NotFound("", f"block {at.number} is another one by now")
        return out

    # ── state ────────────────────────────────────────────────────────────────────────────────────

    def code(self, address: str, block: Head) -> bytes:
        """Code at the block."""
        return from_hex(self._value("eth_getCode", [address, {"blockHash": block.hash}]))

    def call(
        self,
        to: str,
        data: bytes,
        block: Head,
        *,
        gas: int | None = None,
        overrides: Mapping[str, Json] | None = None,
        sender: str | None = None,
    ) -> bytes:
        """Return data of an ``eth_call`` at the block; ``NodeRefused`` with data for a revert."""
        request: dict[str, Json] = {"to": to, "data": to_hex(data)}
        if gas is not None:
            request["gas"] = hex(gas)
        if sender is not None:
            request["from"] = sender
        params: list[Json] = [request, {"blockHash": block.hash}]
        if overrides is not None:
            params.append(dict(overrides))
        return from_hex(self._value("eth_call", params))

    def calls(self, to: str, data: Sequence[bytes], block: Head) -> list[Reply]:
        """Outcomes of many ``eth_call`` at the block, all from one endpoint; reverts are outcomes,
        any other failure is raised.
        """
        at = {"blockHash": block.hash}
        entries: list[Call] = [("eth_call", [{"to": to, "data": to_hex(d)}, at]) for d in data]

        def work(member: Member) -> list[Reply]:
            replies = self.pool.ask(member, entries)
            for reply in replies:
                failure = reply.failure
                if failure is None:
                    parse.hex_data(member.name, reply.value)
                elif not isinstance(failure, NodeRefused) or failure.data is None:
                    raise failure
            return replies

        return self._run(work)

    def storage(self, address: str, slots: Sequence[int], block: Head) -> dict[int, int]:
        """Storage words at the block, one call each in batches: works where the lens does not."""
        at = {"blockHash": block.hash}
        entries: list[Call] = [("eth_getStorageAt", [address, f"0x{s:064x}", at]) for s in slots]

        def work(member: Member) -> dict[int, int]:
            replies = self.pool.ask(member, entries)
            values = [parse.quantity(member.name, r.get()) for r in replies]
            return dict(zip(slots, values, strict=True))

        return self._run(work)

    def _value(self, method: str, params: Sequence[Json]) -> str:
        def work(member: Member) -> str:
            reply = self.pool.ask(member, [(method, params)])[0]
            return parse.hex_data(member.name, reply.get())

        return self._run(work)

    def _run(self, work: Callable[[Member], T], *, attempts: int | None = None) -> T:
        """With those who named the head: others may not know it yet, or another one."""

        def noted(member: Member) -> T:
            result = work(member)
            self._noted.add(member.name)
            return result

        if self._only is None:
            return self.pool.run(noted, only=self._agreeing, attempts=attempts)
        if self._only not in (m.name for m in self.pool.ready()):
            raise Unreachable(self._only, "it failed a moment ago and is left alone")
        return self.pool.run(noted, only={self._only}, attempts=1)

    @contextmanager
    def asking(self, name: str) -> Iterator[None]:
        """In the block only this endpoint is asked, whether it named the head or not, and once."""
        before, self._only = self._only, name
        try:
            yield
        finally:
            self._only = before

    @contextmanager
    def noting(self) -> Iterator[set[str]]:
        """The set fills with the names of those who answer something in the block."""
        found: set[str] = set()
        self._noted = found
        yield found

    @property
    def names(self) -> list[str]:
        """All endpoints, masked."""
        return [m.name for m in self.pool.members]

    @property
    def agreeing(self) -> Collection[str]:
        """Names of the endpoints that named the last head."""
        return self._agreeing or frozenset()

    def close(self) -> None:
        """Releases all connections."""
        self.pool.close()
