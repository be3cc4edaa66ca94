"""Reads a vault's storage at a block, thousands of accounts a call: contracts/lens/VaultLens.sol.

The lens is never deployed. An ``eth_call`` to the vault carries its code as a state override, so it
runs on the vault's storage; the node must support overrides (Anvil, geth, Nethermind, Erigon and
Reth do).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from risk.chain.compile import Artifact
from risk.chain.rpc import to_hex
from risk.exact.state import Account, Linear, Option
from risk.keeper.source import Malformed, NodeRefused, Source
from risk.keeper.types import Head

ACCOUNT_BYTES, SLOT_BYTES, FEED_BYTES = 21, 32, 20
_M128, _M96, _M64, _M63, _M32, _M16, _M8 = ((1 << n) - 1 for n in (128, 96, 64, 63, 32, 16, 8))
_S128, _S96 = 1 << 127, 1 << 95


@dataclass(frozen=True)
class FeedAnswer:
    """What a feed said at a block; ``answered`` as the vault's own reader sees it."""

    answered: bool
    answer: int = 0
    updated_at: int = 0
    started_at: int = 0


class Lens:
    """``code`` is the lens's runtime code (``lens_code``); ``gas`` what one call may take.

    Geth allows 50 million by default: about 1500 accounts of 16 instruments. A call that the node
    refuses is asked again in halves.
    """

    def __init__(
        self,
        source: Source,
        vault: str,
        code: bytes,
        *,
        gas: int = 50_000_000,
        accounts_a_call: int = 1_000,
        words_a_call: int = 5_000,
    ) -> None:
        self._source, self._vault, self._gas = source, vault, gas
        self._overrides = {vault: {"code": to_hex(code)}}
        self._accounts_a_call, self._words_a_call = accounts_a_call, words_a_call

    def accounts(self, numbers: Sequence[int], block: Head) -> dict[int, Account]:
        """Accounts as recorded at the block, unused ones empty; in the order of ``numbers``."""
        out: dict[int, Account] = {}

        def take(part: Sequence[int], data: bytes) -> None:
            out.update(decode_accounts(part, data))

        self._read(0, ACCOUNT_BYTES, numbers, self._accounts_a_call, block, take)
        return out

    def words(self, slots: Sequence[int], block: Head) -> dict[int, int]:
        """Storage words of the vault."""
        out: dict[int, int] = {}

        def take(part: Sequence[int], data: bytes) -> None:
            _require_length(data, 32 * len(part))
            for i, slot in enumerate(part):
                out[slot] = int.from_bytes(data[32 * i : 32 * i + 32], "big")

        self._read(1, SLOT_BYTES, slots, self._words_a_call, block, take)
        return out

    def feeds(self, addresses: Sequence[int], block: Head) -> dict[int, FeedAnswer]:
        """Answers of price, rate and uptime feeds, read with the vault's own care."""
        out: dict[int, FeedAnswer] = {}

        def take(part: Sequence[int], data: bytes) -> None:
            _require_length(data, 128 * len(part))
            for i, feed in enumerate(part):
                at = 128 * i
                ok, updated, started = (_word(data, at + 32 * k) for k in (0, 2, 3))
                answer = int.from_bytes(data[at + 32 : at + 64], "big", signed=True)
                out[feed] = FeedAnswer(bool(ok), answer, updated, started)

        # a feed may burn 150 000 gas, and is asked twice
        self._read(2, FEED_BYTES, addresses, max(1, self._gas // 400_000), block, take)
        return out

    def _read(
        self,
        kind: int,
        size: int,
        items: Sequence[int],
        step: int,
        block: Head,
        take: Callable[[Sequence[int], bytes], None],
    ) -> None:
        i = 0
        while i < len(items):
            part = items[i : i + step]
            data = bytes([kind]) + b"".join(item.to_bytes(size, "big") for item in part)
            try:
                answer = self._source.call(
                    self._vault, data, block, gas=self._gas, overrides=self._overrides
                )
            except NodeRefused:
                if len(part) == 1:
                    raise
                step = len(part) // 2
                continue
            take(part, answer)
            i += len(part)


def lens_code(artifacts: Mapping[str, Artifact]) -> bytes:
    """Runtime code of the lens."""
    return bytes.fromhex(artifacts["VaultLens"].deployed_bytecode)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 32], "big")


def _require_length(data: bytes, wanted: int) -> None:
    if len(data) != wanted:
        raise Malformed("", f"the lens gave {len(data)} bytes, expected {wanted}")


def decode_accounts(numbers: Sequence[int], data: bytes) -> dict[int, Account]:
    """Packed words to accounts. ``Malformed`` where the lengths do not fit; an amount that
    contradicts the mask shows as a negative one, which no event could have left.
    """
    out: dict[int, Account] = {}
    at, size, number = 0, len(data), int.from_bytes
    for account in numbers:
        if at >= size:
            raise Malformed("", "the lens's answer ends too early")
        header = number(data[at : at + 32], "big")
        at += 32
        cash = header & _M128
        item = Account(cash - (1 << 128) if cash & _S128 else cash)
        item.interest_index = header >> 160 & _M63
        item.margin_call = bool(header >> 223 & 1)
        item.flagged_at = header >> 224
        mask = header >> 128 & _M16
        for j in range(0, 16, 2):
            if mask >> j & 3:
                word = number(data[at : at + 32], "big")
                at += 32
                for k, amount in ((j, word & _M128), (j + 1, word >> 128)):
                    fits = bool(mask >> k & 1) == bool(amount)
                    item.collateral[k] = amount if fits else -1 - amount
        for _ in range(header >> 144 & _M8):
            word = number(data[at : at + 32], "big")
            at += 32
            held, quote = word >> 128 & _M96, word & _M128
            item.linear.append(
                Linear(
                    word >> 224,
                    held - (1 << 96) if held & _S96 else held,
                    quote - (1 << 128) if quote & _S128 else quote,
                )
            )
        options = header >> 152 & _M8
        for i in range(options):
            if not i & 1:
                word = number(data[at : at + 32], "big")
                at += 32
            half = word >> 128 if i & 1 else word & _M128
            held = half & _M96
            item.options.append(Option(half >> 96, held - (1 << 96) if held & _S96 else held))
        out[account] = item
    _require_length(data, at)
    return out
