"""The deployment record: what was deployed where, with which arguments and parameters.

One JSON file, written to a temporary file in the same folder, flushed and renamed: a reader sees
the whole record or none. Amounts are decimal strings, hashes and addresses hex.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from risk.deploy.errors import RecordError
from risk.deploy.fields import Address

Hash = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{64}$")]
Hex = Annotated[str, StringConstraints(pattern=r"^0x([0-9a-f]{2})*$")]
Amount = Annotated[str, StringConstraints(pattern=r"^-?\d+$")]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ContractRecord(_Model):
    """One deployed contract or library.  ``libraries`` are the links its bytecode carries."""

    name: str
    kind: Literal["library", "vault", "token", "feed", "timelock", "governor"]
    label: str  # distinguishes several of one name, for instance the symbol of a token
    source: str  # path of the source file
    address: Address
    constructor: list[str]  # arguments as text, in order
    constructor_data: Hex  # the same, ABI-encoded, as block explorers want them
    libraries: dict[str, Address]
    transaction: Hash
    block: int
    gas_used: int
    creation_hash: Hash  # keccak of linked creation code with arguments
    runtime_hash: Hash  # keccak of the code on chain


class StepRecord(_Model):
    """One configuration transaction."""

    step: str
    transaction: Hash
    block: int
    gas_used: int


class ExpiryRecord(_Model):
    day: int
    strikes_wad: list[Amount]


class UnderlyingRecord(_Model):
    index: int
    name: str
    feed: Address
    feed_decimals: int
    expiries: list[ExpiryRecord]


class CollateralRecord(_Model):
    index: int
    symbol: str
    token: Address
    decimals: int
    underlying: int
    rate_feed: Address | None


class GovernanceRecord(_Model):
    """Contracts and holders of the roles."""

    timelock: Address
    governor: Address
    admin: Address
    guardian: Address
    steward: Address
    lister: Address


class DeploymentRecord(_Model):
    """The whole file."""

    version: Literal[2]
    name: str
    chain_id: int
    deployer: Address
    owner: Address  # of the vault, read back
    pending_owner: Address | None  # a two-step hand-over waits for this address
    governance: GovernanceRecord | None
    block: int  # of the last transaction
    timestamp: int
    vault: Address
    cash_token: Address
    cash_decimals: int
    config_hash: Hash
    params_hash: Hash  # keccak of the risk parameter blob
    params_pointer: Address
    signers: list[Address]
    signer_threshold: int
    underlyings: list[UnderlyingRecord]
    collaterals: list[CollateralRecord]
    contracts: list[ContractRecord]
    steps: list[StepRecord]

    def contract(self, name: str) -> ContractRecord:
        """The (last) contract of this name."""
        for entry in reversed(self.contracts):
            if entry.name == name:
                return entry
        raise RecordError(f"the record holds no contract {name!r}")


def check_target(path: Path, *, replace: bool) -> None:
    """Refuses before anything is sent what ``write_record`` would refuse afterwards."""
    if path.is_dir():
        raise RecordError(f"{path}: is a folder, not a file")
    if path.exists() and not replace:
        raise RecordError(f"{path}: a record exists; move it away or allow its replacement")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise RecordError(f"{path}: cannot be written: {folder} is no folder one may write to")


def write_record(record: DeploymentRecord, path: Path) -> None:
    """Writes atomically and durably; on failure nothing is left behind."""
    write_atomically(path, json.dumps(record.model_dump(mode="json"), indent=2) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """The whole file or none: a temporary one in the same folder, flushed, renamed."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
        )
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise RecordError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def read_record(path: str | Path) -> DeploymentRecord:
    """Reads and checks a record; ``RecordError`` names the first bad field."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise RecordError(f"{path}: cannot be read: {reason}") from None
    try:
        return DeploymentRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(p) for p in first["loc"]) or "file"
        raise RecordError(f"{path}: {where}: {first['msg']}") from None
