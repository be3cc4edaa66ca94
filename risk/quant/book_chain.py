"""The positions of a vault at a block, read by the keeper's log loader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from risk.quant.book_market import RiskBook
from risk.quant.errors import QuantError


def book_from_chain(
    endpoint: str,
    vault: str,
    *,
    deployed: int = 0,
    block: int | None = None,
    underlyings: Sequence[str] = (),
    collaterals: Sequence[str] = (),
) -> RiskBook:
    """Every account of a vault at the end of a block (None: the head), from all its logs.

    Number, hash and time of the block go into `about`, so that `reread` finds the same book again.
    `deployed` is the block of the deployment, below which no log is asked for. Names default to
    u0, u1 … and c0, c1 …. A block in the past needs a node that still serves its state.
    `SourceError` where the chain cannot be read,
    `QuantError` where there is no such block or the vault has no account.
    """
    from risk.chain.compile import compile_contracts
    from risk.chain.node import project_root
    from risk.chain.vault_abi import vault_abi
    from risk.keeper.book import LogLoader
    from risk.keeper.source import HeadRule, open_source

    source = open_source([endpoint], rule=HeadRule(lag=None))
    try:
        head = source.head()
        if block is not None and not deployed <= block <= head.number:
            raise QuantError(
                f"block {block} is not within {deployed} … {head.number}, the head of {endpoint}"
            )
        at = head if block is None else source.blocks(block, block)[0]
        if not source.code(vault, at):
            raise QuantError(f"there is no contract at {vault} in block {at.number}")
        abi = vault_abi(compile_contracts(project_root()))
        state = LogLoader(source, vault, abi, deployed).load(at).state
    finally:
        source.close()
    if not state.accounts:
        raise QuantError(f"the book is empty: no account of {vault} up to block {at.number}")
    names = tuple(underlyings) or tuple(f"u{i}" for i in range(len(state.underlyings)))
    tokens = tuple(collaterals) or tuple(f"c{j}" for j in range(len(state.collaterals)))
    if len(names) != len(state.underlyings) or len(tokens) != len(state.collaterals):
        raise QuantError(
            f"{len(names)} names of underlyings and {len(tokens)} of collaterals; the vault has "
            f"{len(state.underlyings)} and {len(state.collaterals)}"
        )
    about = {
        "source": "chain",
        "vault": vault,
        "deployed": deployed,
        "block": at.number,
        "block_hash": at.hash,
        "time": at.timestamp,
        "accounts": len(state.accounts),
    }
    return RiskBook(state, names, tokens, {}, about)


def reread(endpoint: str, book: RiskBook) -> RiskBook:
    """The book of the same vault at the end of the same block, as a node has it now."""
    about = book.about
    return book_from_chain(
        endpoint,
        about["vault"],
        deployed=about["deployed"],
        block=about["block"],
        underlyings=book.underlyings,
        collaterals=book.collaterals,
    )


def book_from_record(endpoint: str, record: Path, *, block: int | None = None) -> RiskBook:
    """`book_from_chain` of a deployment record, which knows the vault, its first block and names.

    The chain id is not checked against the endpoint's by the log reader, so it is here:
    `QuantError` where they differ.
    """
    from risk.chain.rpc import Rpc
    from risk.deploy.record import read_record

    known = read_record(record)
    with Rpc.connect(endpoint) as client:
        chain = client.chain_id()
    if chain != known.chain_id:
        raise QuantError(
            f"{record.name} is of chain {known.chain_id}; {endpoint} serves chain {chain}"
        )
    first = min((c.block for c in known.contracts if c.kind == "vault"), default=0)
    return book_from_chain(
        endpoint,
        known.vault,
        deployed=first,
        block=block,
        underlyings=[u.name for u in known.underlyings],
        collaterals=[c.symbol for c in known.collaterals],
    )
