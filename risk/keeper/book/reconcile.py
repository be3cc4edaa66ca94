"""The book against the chain: accounts and market by the lens, margins by the vault itself.

A difference means that the model, the events or a provider is wrong, and nothing may be done on
such a book: ``Divergence`` with the account, the field and both values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from risk.chain import layout, views
from risk.chain.abi import AbiError, Errors, Function
from risk.exact.errors import ModelRevert
from risk.exact.state import Account, State, World
from risk.exact.vault import Vault
from risk.keeper.book.lens import Lens
from risk.keeper.errors import Divergence
from risk.keeper.source import NodeRefused, Source
from risk.keeper.types import Head

# moves without an event while nothing can accrue (see ledger.py)
SILENT = frozenset({"vault.interestTime"})


@dataclass(frozen=True)
class Checked:
    """What was found equal."""

    accounts: int
    words: int
    margins: int


def compare_accounts(
    book: Mapping[int, Account], chain: Mapping[int, Account], block: Head
) -> None:
    """Raises ``Divergence`` at the first account that differs; a missing one is an empty one."""
    for number, theirs in chain.items():
        ours = book.get(number, Account())
        if ours == theirs:
            continue
        for name in vars(ours):
            mine, its = getattr(ours, name), getattr(theirs, name)
            if mine != its:
                raise Divergence(
                    f"account {number:#044x}, block {block.number} {block.hash}: "
                    f"{name} is {mine} in the book and {its} on the chain"
                )


def compare_market(lens: Lens, state: State, pointer: int, block: Head) -> int:
    """Every word of the vault's configuration, market and totals; returns how many were equal."""
    market = replace(
        state,
        accounts={},
        filled_wad={},
        cancelled=set(),
        operators={},
        min_nonce={},
        open_interest=dict(state.open_interest),
    )
    fields = [f for f in layout.state_fields(market) if f.name not in SILENT]
    words = lens.words(sorted({f.slot for f in fields}), block)
    for f in fields:
        mask = (1 << f.bits) - 1
        its = words[f.slot] >> f.shift & mask
        if its != f.value & mask:
            if f.signed and its >> (f.bits - 1):
                its -= 1 << f.bits
            raise Divergence(
                f"block {block.number} {block.hash}: {f.name} is {f.value} in the book and "
                f"{its} on the chain"
            )
    its = words[layout.STATE_SLOT] & (1 << 160) - 1
    if its != pointer:
        raise Divergence(
            f"block {block.number} {block.hash}: risk parameters stand at {pointer:#042x} in the "
            f"book and at {its:#042x} on the chain"
        )
    return len(words)


def compare_margins(
    source: Source,
    functions: Mapping[str, Function],
    errors: Errors,
    vault: str,
    state: State,
    accounts: Sequence[int],
    block: Head,
    chain_id: int,
) -> None:
    """``margin`` of the model against the vault's own, to the wei, errors by name and arguments."""
    margin = functions["margin"]
    world = World(timestamp=block.timestamp, chain_id=chain_id, vault=int(vault, 16))
    model = Vault(state, world)
    replies = source.calls(vault, [margin.encode(a) for a in accounts], block)
    for account, reply in zip(accounts, replies, strict=True):
        if isinstance(reply.failure, NodeRefused):
            theirs = (reply.failure.data or b"").hex()
        else:
            theirs = _shown(margin, bytes.fromhex(reply.value[2:]))
        try:
            ours = _values(views.from_model(views.MARGIN, model.margin(account)))
        except ModelRevert as error:
            ours = errors.encode(error.name, error.args).hex()
        if ours != theirs:
            raise Divergence(
                f"account {account:#044x}, block {block.number} {block.hash}: margin is {ours} in "
                f"the book and {theirs} on the chain"
            )


def _shown(margin: Function, data: bytes) -> str:
    try:
        return _values(margin.decode(data)[0])
    except AbiError:
        return data.hex()


def _values(values: Iterable[int]) -> str:
    return ", ".join(f"{n} {int(v)}" for n, v in zip(views.MARGIN, values, strict=True))


class Rota:
    """Which accounts are looked at next: every account comes up once in ⌈n/k⌉ samples of k, in a
    random order, so that no account is out of sight for long.
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = Random(seed)
        self._left: list[int] = []

    def take(self, accounts: Mapping[int, Account], count: int) -> list[int]:
        """The next at most ``count`` accounts that exist."""
        out: list[int] = []
        for _ in range(2):  # the rest of this round, then of a new one
            while self._left and len(out) < count:
                number = self._left.pop()
                if number in accounts and number not in out:
                    out.append(number)
            if len(out) >= min(count, len(accounts)):
                break
            self._left = sorted(accounts)
            self._rng.shuffle(self._left)
        return out
