"""A deployed vault on Anvil, accounts that a fall of the price makes liquidatable, and a keeper's
account with money: what every scenario starts from, and how it ends.

Everything is made by real transactions, so that a book from logs sees what the chain holds. The
chain goes back to the same block for every scenario.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account as Keys
from eth_account.signers.local import LocalAccount

from risk.chain.abi import Errors
from risk.chain.events import EventDecoder
from risk.chain.node import Anvil
from risk.chain.rpc import Rpc, to_hex
from risk.chain.vault_abi import vault_abi
from risk.errors import RevertError
from risk.exact.margin import instrument_id as iid
from risk.keeper.book import Book, Lens, LensLoader, LogLoader, lens_code
from risk.keeper.source import HeadRule, Policy, Source, open_source
from tests.market.market_twin import GENESIS, address
from tests.support.vault_fixtures import Market, furnish
from tests.support.vault_twin import ALICE, BOB, CAROL, OWNER, USD, WAD, account, compile_vault

CHAIN_ID = 31337
GWEI = 10**9
SECRET = hashlib.sha256(b"keeper of the fault tests").digest()
KEEPER: LocalAccount = Keys.from_key(SECRET)
RIVAL: LocalAccount = Keys.from_key(hashlib.sha256(b"its competitor").digest())
PERP = iid.encode(0, iid.PERP, 0, 0)
LONGS, SOUND = 6, 2  # accounts of Alice that fall, accounts of Carol that do not
CRASH = 2_400  # of 3000
QUICK = Policy(attempts=3, deadline=5.0, base=0.001, cap=0.01)


@dataclass
class Scene:
    """See the module. `reset` before every scenario."""

    node: Anvil
    market: Market
    first: int  # height below the vault's deployment
    opened: list[Source] = field(default_factory=list)
    base: int = 0  # height to which `reset` returns
    nonce: int = 0  # the keeper's first one
    _snapshot: str = ""

    @classmethod
    def new(cls) -> Scene:
        node = Anvil(gas_limit=1_000_000_000, timestamp=GENESIS - 1, base_fee=0, ipc=False)
        node.start()
        market = Market(node.rpc(), compile_vault())
        furnish(market)
        made = cls(node, market, 0)
        made._trade()
        rpc = market.rpc
        for key in (KEEPER, RIVAL):
            rpc.call("anvil_setBalance", key.address, hex(10 * 10**18))
        rpc.call("evm_setAutomine", False)
        made.mine(base_fee=GWEI)
        made.nonce = rpc.nonce(KEEPER.address)
        made.base, made._snapshot = rpc.block_number(), rpc.call("evm_snapshot")
        return made

    def _trade(self) -> None:
        m = self.market
        for key in (KEEPER, RIVAL):
            m.rpc.call("anvil_setBalance", key.address, hex(10**24))
            m.give(m.cash, key, 10**7 * USD)
        for key, sub, units in (
            (BOB, 0, 9 * 10**6),
            (KEEPER, 0, 10**6),
            (RIVAL, 0, 10**6),
            *((ALICE, i, 10_600 + 60 * i) for i in range(LONGS)),
            *((CAROL, i, 40_000) for i in range(SOUND)),
        ):
            assert m.do(key, "deposit", account(key, sub), m.cash, units * USD) is None
        size = 10 * WAD
        for key, count in ((ALICE, LONGS), (CAROL, SOUND)):
            for i in range(count):
                buy = m.order(key, PERP, size, 3_000 * WAD, sub=i)
                sell = m.order(BOB, PERP, -size, 3_000 * WAD)
                outcome = m.fill(buy, sell, size, 3_000 * WAD)
                assert isinstance(outcome, tuple) or outcome is None, outcome

    # ---------------------------------------------------------------- places

    @property
    def rpc(self) -> Rpc:
        return self.market.rpc

    @property
    def vault(self) -> str:
        return address(self.market.world.vault)

    @property
    def weak(self) -> list[int]:
        """Accounts that `crash` makes liquidatable."""
        return [account(ALICE, i) for i in range(LONGS)]

    @property
    def sound(self) -> list[int]:
        """Accounts with positions that stay healthy."""
        return [account(CAROL, i) for i in range(SOUND)]

    @property
    def abi(self) -> list[dict[str, Any]]:
        return vault_abi(self.market.artifacts)

    @property
    def genesis(self) -> str:
        return str(self.rpc.call("eth_getBlockByNumber", "0x0", False)["hash"])

    # ----------------------------------------------------------------- chain

    def reset(self) -> None:
        """The chain as it was made: nobody is liquidatable, the pool is empty, automine off."""
        rpc = self.rpc
        rpc.call("anvil_dropAllTransactions")
        assert rpc.call("evm_revert", self._snapshot)
        rpc.call("anvil_dropAllTransactions")
        self._snapshot = rpc.call("evm_snapshot")
        rpc.call("evm_setAutomine", False)
        for source in self.opened:
            source.close()
        self.opened.clear()

    def mine(self, blocks: int = 1, *, base_fee: int = GWEI) -> None:
        """Blocks of this base fee."""
        for _ in range(blocks):
            self.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
            self.rpc.call("evm_mine")

    def send(self, sender: str | int, to: int, data: bytes, **more: Any) -> str:
        """A transaction of an impersonated sender, into the pool; pays well."""
        who = sender if isinstance(sender, str) else address(sender)
        fees = {"maxFeePerGas": hex(500 * GWEI), "maxPriorityFeePerGas": hex(100 * GWEI)}
        body = {"from": who, "to": address(to), "data": to_hex(data), "gas": hex(4_000_000)}
        return self.rpc.send({**body, **fees, **more})

    def price(self, value: int, u: int = 0) -> None:
        """The feed's answer, by a transaction in a block of its own."""
        feed = self.market.state.underlyings[u].feed
        now = int(self.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        data = self.market.feed_functions["set"].encode(value * 10**8, now)
        sent = self.send(OWNER, feed, data)
        self.mine()
        assert self.rpc.receipt(sent)["status"] == "0x1"

    def crash(self) -> None:
        """Now the weak accounts can be liquidated."""
        self.price(CRASH)

    def liquidation(self, victim: int, by: LocalAccount = RIVAL) -> bytes:
        """Calldata of taking as much as is allowed."""
        name = self.market.functions["liquidate"]
        return name.encode(victim, account(by), WAD, 2**255 - 1)

    def compete(self, victim: int) -> str:
        """The rival takes it, in the pool; hash."""
        return self.send(RIVAL.address, self.market.world.vault, self.liquidation(victim))

    def compete_quietly(self) -> int:
        """The price falls and the rival has taken the first account; its number."""
        self.crash()
        victim = self.weak[0]
        sent = self.compete(victim)
        self.mine()
        assert self.rpc.receipt(sent)["status"] == "0x1"
        return victim

    # ------------------------------------------------------------- what stands

    def liquidatable(self, accounts: Sequence[int] | None = None) -> list[int]:
        """Accounts that somebody could liquidate now: the vault itself is asked."""
        found = []
        errors = Errors([self.abi])
        for number in self.weak if accounts is None else accounts:
            data = self.liquidation(number)
            try:
                self.rpc.eth_call(self.vault, data, sender=RIVAL.address, gas=100_000_000)
            except RevertError as error:
                assert errors.name(error.data) == "AccountHealthy", errors.show(error.data)
                continue
            found.append(number)
        return found

    def liquidations(self) -> list[dict[str, Any]]:
        """Every liquidation of the canonical chain: account, liquidator, paymentWad, tx, …"""
        decoder = EventDecoder(self.abi)
        logs = self.rpc.call("eth_getLogs", {"address": self.vault, "fromBlock": "0x0"})
        out = []
        for log in logs:
            event = decoder.decode(log)
            if event.name in ("Liquidated", "LegsLiquidated"):
                out.append({**event.arguments, "tx": log["transactionHash"]})
        return out

    def taken(self, by: LocalAccount = KEEPER) -> Counter[int]:
        """How often each account was liquidated by this one."""
        mine = account(by)
        return Counter(e["account"] for e in self.liquidations() if e["liquidator"] == mine)

    def cash(self, number: int) -> int:
        """Recorded cash of an account, WAD."""
        f = self.market.functions["accountState"]
        return int(f.decode(self.rpc.eth_call(self.vault, f.encode(number)))[0])

    def mined_by(self, key: LocalAccount = KEEPER) -> dict[int, dict[str, Any]]:
        """Transactions of a key on the canonical chain, by nonce."""
        found: dict[int, dict[str, Any]] = {}
        top = self.rpc.block_number()
        blocks = self.rpc.batch(
            [("eth_getBlockByNumber", [hex(n), True]) for n in range(self.base, top + 1)]
        )
        for block in blocks:
            for tx in block["transactions"]:
                if tx["from"].lower() == key.address.lower():
                    nonce = int(tx["nonce"], 16)
                    assert nonce not in found
                    found[nonce] = tx
        return found

    # ------------------------------------------------------------------ parts

    def source(self, *urls: str, rule: HeadRule | None = None, **options: Any) -> Source:
        made = open_source(
            list(urls) or [self.node.url],
            rule=rule or HeadRule(lag=None),
            policy=options.pop("policy", QUICK),
            timeout=options.pop("timeout", 5.0),
            **options,
        )
        self.opened.append(made)
        return made

    def book(self, source: Source, *, ring: int = 64, lens: bool = False) -> Book:
        """Started at the head."""
        reader = Lens(source, self.vault, lens_code(self.market.artifacts))
        loader = (
            LensLoader(source, reader, self.vault, self.abi, self.first)
            if lens
            else LogLoader(source, self.vault, self.abi, self.first)
        )
        made = Book(source, loader, reader, self.vault, self.abi, CHAIN_ID, ring=ring)
        made.start(source.head())
        return made

    def close(self) -> None:
        for source in self.opened:
            source.close()
        self.rpc.close()
        self.node.stop()
