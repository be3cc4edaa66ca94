"""A vault's state at one block without a book to start from: from all its logs, or by the lens."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from risk.chain import layout
from risk.chain.abi import codec
from risk.chain.decode import decode_state
from risk.chain.events import EventDecoder
from risk.chain.keccak import keccak, mapping_slot
from risk.exact.margin import instrument_id as iid
from risk.exact.state import Bucket, Settlement, State
from risk.keeper.book import facts
from risk.keeper.book.ledger import Ledger
from risk.keeper.book.lens import Lens
from risk.keeper.source import Block, LyingLogs, Source

Abi = Sequence[Mapping[str, Any]]
OWNER_SLOT = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF74873927  # Solady Ownable
log = logging.getLogger("plumbline.keeper.book")


@dataclass(frozen=True)
class Loaded:
    """State at a block, and the code that holds its parameters."""

    state: State
    params_pointer: int
    params_hash: int


class Loader(Protocol):
    """A way to start."""

    def load(self, at: Block) -> Loaded:
        """The state at the end of the block; a ``SourceError`` where it cannot be read."""


class LogLoader:
    """From every log since the block of the deployment: the complete state, orders included."""

    def __init__(self, source: Source, vault: str, abi: Abi, deployed: int) -> None:
        self._source, self._vault, self._deployed = source, vault, deployed
        self._decoder = EventDecoder(abi)

    def load(self, at: Block) -> Loaded:
        """See ``Loader``."""
        source = self._source
        logs = source.logs_between(self._deployed, at, self._vault)
        times = self._times(logs)
        ledger = Ledger()
        for item in logs:
            ledger.time = times[int(item["blockNumber"], 16)]
            ledger.apply(self._decoder.decode(item))
        state = ledger.finish()
        state.cash_token, state.cash_decimals = facts.cash_token(source, self._vault, at)
        state.params = facts.read_params(source, ledger.params_pointer, ledger.params_hash, at)
        rated = range(len(state.collaterals))
        for j, decimals in facts.rate_decimals_of(source, self._vault, rated, at).items():
            state.collaterals[j].rate_feed_decimals = decimals
        log.info(
            "book from logs",
            extra={"block": at.number, "logs": len(logs), "accounts": len(state.accounts)},
        )
        return Loaded(state, ledger.params_pointer, ledger.params_hash)

    def _times(self, logs: Sequence[Mapping[str, Any]]) -> dict[int, int]:
        """Block times; where the node does not put them into logs the blocks are asked."""
        out: dict[int, int] = {}
        for item in logs:
            number, stamp = int(item["blockNumber"], 16), item.get("blockTimestamp")
            if stamp is not None:
                out[number] = int(stamp, 16)
            elif number not in out:
                out[number] = self._source.blocks(number, number)[0].timestamp
        return out


class LensLoader:
    """By the lens: positions and balances of all accounts, the market, no orders.

    ``accounts`` are the accounts to read; None finds them as the indexed account of any log. What
    the state does not hold: fills and cancellations of orders, operators, lowest nonces. No margin
    depends on them.
    """

    def __init__(
        self,
        source: Source,
        lens: Lens,
        vault: str,
        abi: Abi,
        deployed: int,
        accounts: Iterable[int] | None = None,
    ) -> None:
        self._source, self._lens, self._vault = source, lens, vault
        self._deployed = deployed
        self._accounts = None if accounts is None else sorted(set(accounts))
        self._decoder = EventDecoder(abi)
        self._topics = topics(abi)
        self._places = account_places(abi)

    def load(self, at: Block) -> Loaded:
        """See ``Loader``. ``LyingLogs`` where the accounts found do not hold the cash that the
        vault has recorded: logs of a range cannot be checked otherwise, and an account that they
        left out would never be looked at, by the scan or by a comparison.
        """
        numbers = self.discover(at) if self._accounts is None else self._accounts
        state, pointer = self._market(at)
        held = self._lens.accounts(numbers, at)
        state.accounts = {n: a for n, a in held.items() if used(a)}
        params = facts.read_params(self._source, pointer, None, at)
        state.params = params
        hash_ = 0 if params is None else int.from_bytes(keccak(params.blob), "big")
        if self._accounts is None:
            _require_all(state)
        log.info("book from lens", extra={"block": at.number, "accounts": len(state.accounts)})
        return Loaded(state, pointer, hash_)

    def discover(self, at: Block) -> list[int]:
        """Every account that a log names in an indexed argument."""
        found: set[int] = set()
        wanted = [sorted(self._places)]
        for item in self._source.logs_between(self._deployed, at, self._vault, wanted):
            for place in self._places[item["topics"][0]]:
                found.add(int(item["topics"][place], 16))
        return sorted(found)

    def _market(self, at: Block) -> tuple[State, int]:
        """Everything but accounts and orders, and the pointer of the parameters."""
        state = State(owner=0, cash_token=0, cash_decimals=0)
        instruments: list[int] = []
        names = [[self._topics["ExpiryListed"], self._topics["WindDownPriceRecorded"]]]
        for item in self._source.logs_between(self._deployed, at, self._vault, names):
            event = self._decoder.decode(item)
            if event.name == "ExpiryListed":
                key = event.arguments["underlying"] << 16 | event.arguments["expiryDay"]
                state.buckets[key] = Bucket()
            else:
                instruments.append(event.arguments["instrument"])
        words = self._lens.words([*_fixed_slots(), *_bucket_slots(state.buckets)], at)
        first = decode_state(state, words)  # says how many strikes and signers there are
        for u in range(len(first.underlyings)):
            state.open_interest[u << 28] = 0
        for key, bucket in first.buckets.items():
            state.open_interest |= dict.fromkeys(_listed(key, len(bucket.strikes_wad)), 0)
            state.settlements[key] = Settlement()
        state.settlements |= {1 << 32 | i: Settlement() for i in instruments}
        words |= self._lens.words(list(_varying_slots(state, first, words)), at)
        state = decode_state(state, words)
        state.owner = words[OWNER_SLOT] & (1 << 160) - 1
        state.open_interest = {i: n for i, n in state.open_interest.items() if n}
        state.settlements = {k: s for k, s in state.settlements.items() if s != Settlement()}
        return state, words[layout.STATE_SLOT] & (1 << 160) - 1


def _require_all(state: State) -> None:
    """The vault's own identity (``Rebuilder.finish``): nobody with cash or debt is missing."""
    cash = sum(a.cash_wad for a in state.accounts.values()) + state.insurance_wad
    cash += state.interest_wad + sum(u.pnl_pool_wad for u in state.underlyings)
    if cash != state.cash_held_wad:
        raise LyingLogs(
            "",
            f"{len(state.accounts)} accounts were found, which account for {cash} of cash; the "
            f"vault has recorded {state.cash_held_wad}: logs since its deployment are missing",
        )


def used(account: Any) -> bool:
    """Whether anything was ever written to the account that still stands."""
    return bool(
        account.cash_wad
        or account.linear
        or account.options
        or account.flagged_at
        or account.margin_call
        or account.interest_index
        or any(account.collateral)
    )


def topics(abi: Abi) -> dict[str, str]:
    """Topic of each event by name."""
    return {entry["name"]: _topic(entry) for entry in abi if entry["type"] == "event"}


def account_places(abi: Abi) -> dict[str, list[int]]:
    """Topic of an event -> places among a log's topics that hold an account (a uint168)."""
    out: dict[str, list[int]] = {}
    for entry in abi:
        if entry["type"] != "event":
            continue
        indexed = [i["type"] for i in entry["inputs"] if i["indexed"]]
        places = [k + 1 for k, kind in enumerate(indexed) if kind == "uint168"]
        if places:
            out[_topic(entry)] = places
    return out


def _topic(entry: Mapping[str, Any]) -> str:
    kinds = ",".join(codec(i["type"], i.get("components", ())).canonical for i in entry["inputs"])
    return "0x" + keccak(f"{entry['name']}({kinds})".encode()).hex()


def _fixed_slots() -> list[int]:
    """Vault, all possible underlyings and collaterals, owner, number of signers."""
    return [*range(layout.STATE_SLOT, layout.ACCOUNTS), OWNER_SLOT, layout.SIGNER_LIST]


def _bucket_slots(keys: Iterable[int]) -> Iterator[int]:
    for key in keys:
        slot = mapping_slot(key, layout.BUCKETS)
        yield from (slot, slot + 1)


def _listed(key: int, strikes: int) -> Iterator[int]:
    """Future, calls and puts of an expiry."""
    u, day = key >> 16, key & 0xFFFF
    yield iid.encode(u, iid.FUTURE, day, 0)
    for i in range(strikes):
        yield iid.encode(u, iid.CALL, day, i)
        yield iid.encode(u, iid.PUT, day, i)


def _varying_slots(state: State, first: State, words: Mapping[int, int]) -> Iterator[int]:
    """What depends on the counts read before."""
    for key, bucket in first.buckets.items():
        for i in range(len(bucket.strikes_wad)):
            yield mapping_slot(key << 10 | i, layout.STRIKES)
    for instrument in state.open_interest:
        yield mapping_slot(instrument, layout.OPEN_INTEREST)
    for key in state.settlements:
        yield mapping_slot(key, layout.SETTLEMENTS)
    base = int.from_bytes(keccak(layout.SIGNER_LIST.to_bytes(32, "big")), "big")
    for i in range(words[layout.SIGNER_LIST]):
        yield base + i
