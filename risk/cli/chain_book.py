"""The book of a vault on a node, as several commands take it.

Options: --rpc with --vault or --record, and --block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from risk.cli.output import tell

if TYPE_CHECKING:
    from risk.quant.book_market import RiskBook


@dataclass(frozen=True)
class ChainOptions:
    """The options as they came; `block` is a number, `latest`, or nothing, which is `latest`."""

    rpc: str | None = None
    vault: str | None = None
    record: Path | None = None
    block: str | None = None

    @property
    def given(self) -> bool:
        """Whether the book is one of a chain. `QuantError` for options without --rpc."""
        from risk.quant.errors import QuantError

        if self.rpc is None and (self.vault or self.record or self.block is not None):
            raise QuantError("--vault, --record and --block belong to --rpc")
        return self.rpc is not None


NOWHERE = ChainOptions()  # no chain: the book comes from elsewhere


def names_of(record: Path | None) -> tuple[str, ...]:
    """Names of the underlyings that a deployment record has; none without one."""
    if record is None:
        return ()
    from risk.deploy.record import read_record

    return tuple(u.name for u in read_record(record).underlyings)


def addresses_of(record: Path | None) -> dict[str, int]:
    """Governor and timelock of a deployment record that has them."""
    if record is None:
        return {}
    from risk.deploy.record import read_record

    found = read_record(record).governance
    if found is None:
        return {}
    return {"governor": int(found.governor, 16), "timelock": int(found.timelock, 16)}


def read_book(options: ChainOptions, names: Sequence[str] = ()) -> RiskBook:
    """The book at the end of the block; number and hash are told on stderr and in `about`.

    `names` are those of the underlyings, in the order of the vault, where there is no record; none:
    u0, u1, …. `QuantError` and `SourceError` as `risk.quant.book_chain`.
    """
    from risk.cli.explain import parse_address
    from risk.quant import book_chain
    from risk.quant.errors import QuantError

    if options.rpc is None or (options.vault is None) == (options.record is None):
        raise QuantError("--rpc needs either --vault ADDRESS or --record FILE")
    number = _number(options.block)
    if options.vault is not None:
        parse_address(options.vault, "--vault")
    tell(f"reading the book from {options.rpc}")
    if options.record is not None:
        book = book_chain.book_from_record(options.rpc, options.record, block=number)
    else:
        assert options.vault is not None
        book = book_chain.book_from_chain(
            options.rpc, options.vault, block=number, underlyings=names
        )
    tell(f"block {book.about['block']}, {book.about['block_hash']}")
    return book


def _number(text: str | None) -> int | None:
    from risk.quant.errors import QuantError

    if text is None or text == "latest":
        return None
    if not (text.isascii() and text.isdigit()):
        raise QuantError(f"--block: {text!r} is neither a block number nor 'latest'")
    return int(text)
