"""Who signs and sends: the small protocol the deployer works over, and its plain JSON-RPC form.

A sender deploys contracts and sends calls from one address; everything else (reads, receipts) goes
through its ``rpc``. ``RpcSender`` signs with a local key or uses an account the node has unlocked;
``brownie_sender.BrownieSender`` is the other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from risk.chain.compile import Artifact
from risk.chain.rpc import Rpc, to_hex
from risk.deploy.artifacts import creation_code
from risk.deploy.errors import KeyFileError, PreflightError
from risk.errors import RpcError, TransportError

GAS_MARGIN_PERCENT = (
    125  # of the estimate: refunds and cold slots make estimates of nested calls tight
)
RECEIPT_TIMEOUT = 600.0  # seconds; public test nets can be slow
DEFAULT_TIP_WEI = 10**9
MAX_FEE_BUMPS = 8  # of a quarter each: a copy in the pool is outbid up to 5.9 times its fee
_IN_POOL = ("underpriced", "already known", "already imported")  # Geth, Nethermind, Anvil
_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Sender(Protocol):
    """Deploys and sends from ``address``; both methods return the hash of the transaction.

    Without a ``nonce`` it is the next one.
    """

    address: str
    rpc: Rpc

    def artifact(self, name: str) -> Artifact:
        """Compiled contract by name."""

    def deploy(
        self,
        name: str,
        arguments: Sequence[Any],
        libraries: Mapping[str, str],
        nonce: int | None = None,
    ) -> str:
        """Sends the creation of a contract."""

    def send(self, to: str, data: bytes, nonce: int | None = None) -> str:
        """Sends a call without value."""

    def adopt(self, name: str, address: str) -> None:
        """Told of a contract that an earlier run has deployed."""


class RpcSender:
    """Plain JSON-RPC: signs with a key, or uses an account which the node has unlocked."""

    def __init__(
        self,
        rpc: Rpc,
        artifacts: Mapping[str, Artifact],
        *,
        key: LocalAccount | None = None,
        unlocked: str | None = None,
    ) -> None:
        if (key is None) == (unlocked is None):
            raise ValueError("give a key or an unlocked account")
        self.rpc = rpc
        self._artifacts = artifacts
        self._key = key
        self.address: str = to_checksum_address(key.address if key else unlocked or "")
        self._chain_id: int | None = None

    def artifact(self, name: str) -> Artifact:
        if name not in self._artifacts:
            raise PreflightError(f"contract {name} is not among the compiled contracts")
        return self._artifacts[name]

    def deploy(
        self,
        name: str,
        arguments: Sequence[Any],
        libraries: Mapping[str, str],
        nonce: int | None = None,
    ) -> str:
        return self._submit(None, creation_code(self.artifact(name), arguments, libraries), nonce)

    def send(self, to: str, data: bytes, nonce: int | None = None) -> str:
        return self._submit(to, data, nonce)

    def adopt(self, name: str, address: str) -> None:
        """Links come from the deployer: nothing to remember."""

    def _submit(self, to: str | None, data: bytes, nonce: int | None) -> str:
        call: dict[str, Any] = {"from": self.address, "data": to_hex(data)}
        if to is not None:
            call["to"] = to
        gas = int(self.rpc.call("eth_estimateGas", call), 16) * GAS_MARGIN_PERCENT // 100
        if self._key is None:
            place = {} if nonce is None else {"nonce": hex(nonce)}
            return self.rpc.send({**call, **place, "gas": hex(gas)})
        if self._chain_id is None:
            self._chain_id = self.rpc.chain_id()
        transaction: dict[str, Any] = {
            "chainId": self._chain_id,
            "nonce": self.rpc.nonce(self.address) if nonce is None else nonce,
            "gas": gas,
            "value": 0,
            "data": to_hex(data),
        }
        if to is not None:
            transaction["to"] = to_checksum_address(to)
        fees = current_fees(self.rpc).fields
        for _ in range(MAX_FEE_BUMPS):
            try:
                return self._send_signed(self._key, {**transaction, **fees})
            except RpcError as error:  # an earlier copy waits in the pool with the same nonce
                if not any(sign in error.message.lower() for sign in _IN_POOL):
                    raise
            fees = {name: value * 5 // 4 + 1 for name, value in fees.items()}
        return self._send_signed(self._key, {**transaction, **fees})

    def _send_signed(self, key: LocalAccount, transaction: dict[str, Any]) -> str:
        return self.rpc.send_raw(bytes(key.sign_transaction(transaction).raw_transaction))


@dataclass(frozen=True)
class Fees:
    """Fee fields of a transaction, what a unit of gas costs now and at most (wei)."""

    fields: dict[str, int]
    expected: int
    maximum: int


def current_fees(rpc: Rpc) -> Fees:
    """At most twice the base fee plus the tip; the gas price on a chain without a base fee."""
    block = rpc.call("eth_getBlockByNumber", "latest", False)
    if "baseFeePerGas" not in block:
        price = int(rpc.call("eth_gasPrice"), 16)
        return Fees({"gasPrice": price}, price, price)
    try:
        tip = int(rpc.call("eth_maxPriorityFeePerGas"), 16)
    except RpcError:
        tip = DEFAULT_TIP_WEI
    base = int(block["baseFeePerGas"], 16)
    most = 2 * base + tip
    return Fees({"maxFeePerGas": most, "maxPriorityFeePerGas": tip}, base + tip, most)


def wait_for(rpc: Rpc, method: str, tx_hash: str, timeout: float = RECEIPT_TIMEOUT) -> Any:
    """What ``method`` says of a transaction, waited for with growing pauses (public nodes lag).

    ``TransportError`` after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    pause = 0.002
    while (answer := rpc.call(method, tx_hash)) is None:
        if time.monotonic() > deadline:
            raise TransportError(f"{method}: nothing about {tx_hash} within {timeout:g} s")
        time.sleep(pause)
        pause = min(1.5 * pause, 3.0)
    return answer


def load_key(text: str, source: str) -> LocalAccount:
    """Account of a private key in hex; errors name its ``source``, never the key."""
    digits = text.strip().removeprefix("0x")
    try:
        if len(digits) != 64 or not 0 < int(digits, 16) < _SECP256K1_ORDER:
            raise ValueError
        account: LocalAccount = Account.from_key(bytes.fromhex(digits))
    except Exception:
        # a private key error may carry the key: nothing of it goes on
        raise KeyFileError(
            f"{source}: not a private key (64 hex digits, in the range of secp256k1)"
        ) from None
    return account


def load_key_file(path: Path, password: str | None) -> LocalAccount:
    """A file with the key in hex, or an encrypted keystore (JSON) and its password."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise KeyFileError(f"{path}: cannot be read") from None
    if not text.lstrip().startswith("{"):
        return load_key(text, str(path))
    if password is None:
        raise KeyFileError(f"{path}: an encrypted keystore needs --password-file")
    try:
        key = Account.decrypt(text, password)
    except Exception:
        raise KeyFileError(f"{path}: wrong password, or not a keystore") from None
    return load_key(bytes(key).hex(), str(path))
