"""A local net with somebody to liquidate: docs/keeper.md, "First liquidation".

    python examples/keeper/sandbox.py open KEEPER.TOML
    python examples/keeper/sandbox.py price KEEPER.TOML ETH -20%

Node, vault and signer are those of the keeper's own configuration. ``open`` gives mock cash to two
people, opens a perp between them, and funds the keeper: gas, and cash in its account of the vault;
from then on the node mines a block every two seconds. ``price`` moves a mock feed. The people are
accounts 3 and 4 of Anvil's own mnemonic, whose keys everybody knows: this works on a local net and
nowhere else.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import astuple
from decimal import Decimal
from pathlib import Path
from typing import Any

from eth_account import Account

from risk.chain.abi import Function, functions
from risk.chain.compile import compile_contracts
from risk.chain.node import MNEMONIC, project_root
from risk.chain.rpc import Rpc, to_hex
from risk.chain.vault_abi import vault_abi
from risk.deploy.record import DeploymentRecord, read_record
from risk.errors import PlumblineError
from risk.exact.margin import instrument_id
from risk.exact.trading.order_hash import Order
from risk.keeper.config import KeeperConfig, load_config

WAD = 10**18
SIZE, LEVERED_CASH, RICH_CASH = 10, 9_000, 1_000_000  # ETH; whole cash tokens
BLOCK_SECONDS = 2


class Sandbox:
    """A local net, its vault and the functions of both."""

    def __init__(self, config: KeeperConfig) -> None:
        if config.vault.record is None:
            sys.exit("[vault] record: needed here, it names the mock tokens and feeds")
        self.record: DeploymentRecord = read_record(config.vault.record)
        self.signer = config.signer.address
        self.keeper_owner = config.liquidator.owner or self.signer
        self.keeper = config.liquidator_account
        self.rpc = Rpc.connect(config.urls[0])
        self.rpc.require_chain_id(self.record.chain_id)
        artifacts = compile_contracts(project_root())
        self.vault = functions(vault_abi(artifacts))
        self.token = functions(artifacts["MockToken"].abi)
        self.feed = functions(artifacts["MockFeed"].abi)

    def send(self, sender: str, to: str, function: Function, *arguments: Any) -> None:
        """A transaction that the node signs; ends the program where it fails."""
        data = to_hex(function.encode(*arguments))
        sent = self.rpc.send({"from": sender, "to": to, "data": data, "gas": hex(15_000_000)})
        if int(self.rpc.receipt(sent)["status"], 16) != 1:
            sys.exit(f"{sent} reverted")

    def fund(self, who: str, account: int, amount: int) -> None:
        """Gas for ``who``, whoever has the key, and ``amount`` whole cash tokens of his into
        ``account`` of the vault.
        """
        self.rpc.call("anvil_impersonateAccount", who)
        self.rpc.call("anvil_setBalance", who, hex(100 * WAD))
        units = amount * 10**self.record.cash_decimals
        cash, vault = self.record.cash_token, self.record.vault
        self.send(who, cash, self.token["mint"], int(who, 16), units)
        self.send(who, cash, self.token["approve"], int(vault, 16), units)
        self.send(who, vault, self.vault["deposit"], account, int(cash, 16), units)

    def price(self, name: str) -> tuple[str, int]:
        """Feed of an underlying and its answer."""
        feed = next((u.feed for u in self.record.underlyings if u.name == name), None)
        if feed is None:
            sys.exit(f"no underlying {name}; there are {[u.name for u in self.record.underlyings]}")
        answer = self.feed["answer"]
        return feed, int(answer.decode(self.rpc.eth_call(feed, answer.encode()))[0])

    def set_price(self, name: str, percent: Decimal) -> None:
        """Moves a feed by so many per cent."""
        feed, old = self.price(name)
        new = int(old * (1 + percent / 100))
        now = int(self.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        owner = self.rpc.call("eth_accounts")[0]
        self.send(owner, feed, self.feed["set"], new, now)
        print(f"{name}: {old} -> {new}")

    def open(self) -> None:
        """See the module."""
        Account.enable_unaudited_hdwallet_features()
        people = [
            Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{i}") for i in (3, 4)
        ]
        for who, amount in ((people[0].address, LEVERED_CASH), (people[1].address, RICH_CASH)):
            self.fund(who, int(who, 16) << 8, amount)
        self.fund(self.keeper_owner, self.keeper, RICH_CASH)
        self.rpc.call("anvil_setBalance", self.signer, hex(100 * WAD))
        first = self.record.underlyings[0]
        answer = self.price(first.name)[1]
        limit = answer * 10 ** (18 - first.feed_decimals)
        perp = instrument_id.encode(first.index, instrument_id.PERP, 0, 0)
        now = int(self.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        signed: list[Any] = []
        for person, size in zip(people, (SIZE * WAD, -SIZE * WAD), strict=True):
            account = int(person.address, 16) << 8
            order = Order(account, perp, size, limit, nonce=now, expiry=now + 3_600)
            hashed = self.vault["hashOrder"]
            data = self.rpc.eth_call(self.record.vault, hashed.encode(astuple(order)))
            signed += [astuple(order), bytes(person.unsafe_sign_hash(data).signature)]
        fill = self.vault["fill"]
        self.send(people[1].address, self.record.vault, fill, *signed, SIZE * WAD, limit)
        self.rpc.call("evm_setIntervalMining", BLOCK_SECONDS)
        print(f"long  {people[0].address}:0 holds {SIZE} {first.name} with {LEVERED_CASH:,} cash")
        print(f"short {people[1].address}:0 is the other side")
        print(f"keeper's account {self.keeper_owner}:{self.keeper & 0xFF} has {RICH_CASH:,} cash")
        print(f"signer {self.signer} has gas")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("open", "price"):
        command = commands.add_parser(name)
        command.add_argument("config", type=Path, help="the keeper's TOML file")
        if name == "price":
            command.add_argument("underlying")
            command.add_argument("change", help="such as -20%%")
    # a value such as -20% is no option
    text = [f" {a}" if a.startswith("-") and a.endswith("%") else a for a in sys.argv[1:]]
    given = parser.parse_args(text)
    try:
        box = Sandbox(load_config(given.config))
        if given.command == "open":
            box.open()
        else:
            box.set_price(given.underlying, Decimal(given.change.strip().rstrip("%")))
    except PlumblineError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
