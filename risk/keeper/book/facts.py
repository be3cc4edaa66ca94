"""What events only point to: risk parameters, decimals of rate feeds, the cash token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from risk.chain import layout
from risk.chain.events import Event
from risk.chain.keccak import keccak
from risk.exact.params.risk_params import RiskParams
from risk.keeper.errors import WrongChain
from risk.keeper.source import LyingLogs, Source
from risk.keeper.types import Head


def read_params(source: Source, pointer: int, hash_: int | None, block: Head) -> RiskParams | None:
    """The parameters behind an SSTORE2 pointer, None for pointer 0; ``LyingLogs`` where the code is
    missing or does not have the hash that the event named.
    """
    if pointer == 0:
        return None
    code = source.code(f"0x{pointer:040x}", block)
    blob = code[1:]
    if len(code) < 2 or code[0] != 0:
        raise LyingLogs("", f"no parameters at {pointer:#042x} in block {block.number}")
    if hash_ is not None and int.from_bytes(keccak(blob), "big") != hash_:
        raise LyingLogs("", f"the parameters at {pointer:#042x} do not have the hash of the event")
    return RiskParams.decode(blob)


def params_of(source: Source, events: Iterable[Event], block: Head) -> RiskParams | None:
    """The parameters set last among ``events``, None where none were."""
    last = next((e for e in reversed(list(events)) if e.name == "RiskParamsSet"), None)
    if last is None:
        return None
    return read_params(source, last.arguments["pointer"], last.arguments["hash"], block)


def rate_decimals(
    source: Source, vault: str, events: Iterable[Event], block: Head
) -> dict[int, int]:
    """Decimals of the rate feeds of the collaterals listed among ``events``, by collateral."""
    listed = [e.arguments["collateral"] for e in events if e.name == "CollateralListed"]
    return rate_decimals_of(source, vault, listed, block)


def rate_decimals_of(
    source: Source, vault: str, collaterals: Sequence[int], block: Head
) -> dict[int, int]:
    """From the vault's storage, where they stand since the listing."""
    if not collaterals:
        return {}
    slots = {j: layout.COLLATERALS + 3 * j for j in collaterals}
    words = source.storage(vault, list(slots.values()), block)
    return {j: words[slot] >> 176 & 0xFF for j, slot in slots.items()}


def cash_token(source: Source, vault: str, block: Head) -> tuple[int, int]:
    """(address, decimals) of the cash token; ``WrongChain`` where the vault has none."""
    slot = layout.STATE_SLOT + 2
    word = source.storage(vault, [slot], block)[slot]
    token = word & (1 << 160) - 1
    if token == 0:
        raise WrongChain(f"no vault at {vault} in block {block.number}: it has no cash token")
    return token, word >> 160 & 0xFF
