"""What the deployment tests share: configurations to spoil, a node, traders with known keys."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from risk.chain.abi import Function, functions
from risk.chain.compile import Artifact
from risk.chain.node import MNEMONIC
from risk.chain.rpc import Rpc
from risk.deploy.config import tomllib
from risk.deploy.record import DeploymentRecord
from risk.deploy.sender import RpcSender

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "configs" / "local.toml"
SEPOLIA = ROOT / "configs" / "sepolia.toml"
WAD = 10**18


def content(path: Path = LOCAL) -> dict[str, Any]:
    """A shipped configuration as plain data."""
    return tomllib.loads(path.read_text())


def spoiled(change: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A copy with values at dotted paths replaced (`...` removes); list indices are numbers."""
    data = copy.deepcopy(dict(base if base is not None else content()))
    for path, value in change.items():
        *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
        at: Any = data
        for part in parents:
            at = at[part]
        if value is ...:
            del at[last]
        else:
            at[last] = value
    return data


def small_config() -> dict[str, Any]:
    """One underlying, one collateral, one expiry, two scenarios: deploys in a blink."""
    data = content()
    data["name"] = "small"
    data["weights"] = ["1", "0.5"]
    data["underlyings"] = data["underlyings"][:1]
    data["underlyings"][0]["price_shocks"] = ["-0.15", "0.15"]
    data["underlyings"][0]["vol_shocks"] = ["0.45", "-0.45"]
    data["underlyings"][0]["expiries"] = data["underlyings"][0]["expiries"][1:2]
    data["collaterals"] = data["collaterals"][:1]
    return data


def key(index: int) -> LocalAccount:
    """The n-th key of the test nodes."""
    Account.enable_unaudited_hdwallet_features()
    account: LocalAccount = Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return account


class Trader:
    """One key that acts on a deployment."""

    def __init__(
        self, rpc: Rpc, artifacts: Mapping[str, Artifact], record: DeploymentRecord, index: int
    ) -> None:
        self.key = key(index)
        self.sender = RpcSender(rpc, artifacts, key=self.key)
        self.record = record
        self.vault: dict[str, Function] = functions(artifacts["Vault"].abi)
        self.token: dict[str, Function] = functions(artifacts["MockToken"].abi)
        self.feed: dict[str, Function] = functions(artifacts["MockFeed"].abi)
        self._nonce = 0

    @property
    def account(self) -> int:
        """Sub-account 0."""
        return int(self.key.address, 16) << 8

    def send(self, to: str, call: Function, *arguments: Any) -> dict[str, Any]:
        """Sends and requires success."""
        receipt = self.sender.rpc.receipt(self.sender.send(to, call.encode(*arguments)))
        assert int(receipt["status"], 16) == 1
        return receipt

    def read(self, name: str, *arguments: Any) -> list[Any]:
        """A view of the vault."""
        call = self.vault[name]
        data = self.sender.rpc.eth_call(self.record.vault, call.encode(*arguments))
        return call.decode(data)

    def deposit(self, amount: int) -> None:
        """Mints and deposits native units of cash."""
        cash, vault = self.record.cash_token, self.record.vault
        self.send(cash, self.token["mint"], int(self.key.address, 16), amount)
        self.send(cash, self.token["approve"], int(vault, 16), amount)
        self.send(vault, self.vault["deposit"], self.account, int(cash, 16), amount)

    def order(self, instrument: int, size: int, price: int) -> tuple[tuple[int, ...], bytes]:
        """An order and its signature."""
        self._nonce += 1
        order = (self.account, instrument, size, price, self._nonce, 2**32, 0, 0, 0, 0)
        digest = self.read("hashOrder", order)[0].to_bytes(32, "big")
        return order, bytes(self.key.unsafe_sign_hash(digest).signature)

    def buy_from(self, seller: Trader, instrument: int, size: int, price: int) -> None:
        """Fills a buy of this trader against a sell of `seller`."""
        mine, theirs = self.order(instrument, size, price), seller.order(instrument, -size, price)
        self.send(self.record.vault, self.vault["fill"], *mine, *theirs, size, price)

    def set_price(self, underlying: int, answer: int) -> None:
        """Moves a mock feed and takes the snapshot."""
        block = self.sender.rpc.call("eth_getBlockByNumber", "latest", False)
        feed = self.record.underlyings[underlying].feed
        self.send(feed, self.feed["set"], answer, int(block["timestamp"], 16))
        self.send(self.record.vault, self.vault["refresh"], [underlying])
