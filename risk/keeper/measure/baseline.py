"""The keeper that everybody writes first: a loop over all accounts, one ``eth_call`` each through
web3.py, ``liquidate`` with whatever it costs, and a wait for the receipt.

What it does is real (gas estimate, transaction, receipt on the same node and path); what it *sees*
is limited by how fast the loop goes. That rate is measured on the same node before the path begins
(``rate``), and a block of 12 s lets it look at 12·rate accounts; where the loop stands it finds
what the node would have answered, which is the shared scan (row (a) of ``plumbline bench scan``
shows that the two agree). In its favour: it judges at live prices without paying for a refresh,
has the node for itself, loses no time between two accounts, each of several starts elsewhere, and
it offers a quarter more than the node's ``eth_gasPrice`` (base fee + 0.1 gwei), in a transaction of
the old kind, as Brownie does; at that price itself it would be stuck while the base fee rises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from risk.chain.keccak import keccak
from risk.diff.plumbline.chain import address
from risk.errors import RpcError
from risk.keeper.measure.arena import Arena, View
from risk.keeper.measure.path import GWEI
from risk.keeper.measure.processor import timed
from risk.keeper.ports import Sweep

WAD: Final = 10**18
ANY_PAYMENT: Final = 2**255 - 1
GAS_BUFFER_BPS: Final = 11_000  # Brownie's default for live networks
TIP_WEI: Final = GWEI // 10
PRICE_BPS: Final = 12_500


def rate(arena: Arena, accounts: int) -> float:
    """Accounts a second of the loop, ``margin(account).call()`` through web3.py, by processor time
    of loop and node: what it would be on a machine with nothing else to do.
    """
    from web3 import IPCProvider, Web3

    web3 = Web3(IPCProvider(arena.endpoint))
    where = Web3.to_checksum_address(arena.vault)
    contract: Any = web3.eth.contract(address=where, abi=arena.abi)
    numbers = arena.town.traders[: accounts + 1]
    contract.functions.margin(numbers[0]).call()

    def loop() -> None:
        for number in numbers[1:]:
            contract.functions.margin(number).call()

    _, _, cpu = timed(loop, arena.stage.chain.node.pid)
    return (len(numbers) - 1) / cpu


class Naive:
    """See the module."""

    def __init__(
        self,
        number: int,
        seed: int,
        accounts_a_block: int,
        ether_wei: int,
        decided: dict[tuple[str, int], int] | None = None,
    ) -> None:
        secret = keccak(f"plumbline naive keeper {seed} {number}".encode())
        self.address = int.from_bytes(secret[12:], "big")
        self.account = self.address << 8
        self.counts: Counter[str] = Counter()
        self._ether_wei = ether_wei
        self._decided = {} if decided is None else decided
        self._left = self._a_block = max(1, accounts_a_block)
        self._at = Random(f"naive {seed} {number}").random()  # as a share until the first turn
        self._place = -1
        self._waits: str | None = None

    def enter(self, arena: Arena) -> None:
        """Ether for gas; the node signs for it."""
        arena.rpc.call("anvil_setBalance", address(self.address), hex(self._ether_wei))

    def turn(self, arena: Arena, view: View, mined: frozenset[str], order: Sequence[int]) -> None:
        """A block's time of its loop. ``mined``: hashes of the last block."""
        if self._waits is not None:
            if self._waits not in mined:
                self.counts["blocks_waiting"] += 1
                return
            self._waits = None
        if self._place < 0:
            self._place = int(self._at * len(order))
        self._left = self._a_block
        while self._left > 0 and self._waits is None:
            self._look(arena, view.head.base_fee_wei, view.sweep, order)

    def _look(self, arena: Arena, base_fee_wei: int, sweep: Sweep, order: Sequence[int]) -> None:
        """On to the next unhealthy account, or to the end of the block's time."""
        n = len(order)
        steps = min(self._left, n)
        for i in range(steps):
            account = order[(self._place + i) % n]
            if account in sweep.unhealthy:
                self._place = (self._place + i + 1) % n
                self._left -= i + 1
                self.counts["looked"] += i + 1
                self._liquidate(arena, account, base_fee_wei, sweep.head.number)
                return
        self._place = (self._place + steps) % n
        self._left -= steps
        self.counts["looked"] += steps
        if steps == n:
            self._left = 0  # once round: nobody is unhealthy

    def _liquidate(self, arena: Arena, account: int, base_fee_wei: int, head: int) -> None:
        data = arena.functions["liquidate"].encode(account, self.account, WAD, ANY_PAYMENT)
        transaction = {
            "from": address(self.address),
            "to": arena.vault,
            "data": "0x" + data.hex(),
        }
        self._left -= 1
        try:
            gas = int(arena.rpc.call("eth_estimateGas", transaction), 16)
            gas = min(gas * GAS_BUFFER_BPS // 10_000, 16_777_216)
            price = (base_fee_wei + TIP_WEI) * PRICE_BPS // 10_000
            self._waits = str(
                arena.rpc.call(
                    "eth_sendTransaction", {**transaction, "gas": hex(gas), "gasPrice": hex(price)}
                )
            )
            self._decided[address(self.address), self.counts["sent"]] = head
            self.counts["sent"] += 1
        except RpcError:
            self.counts["estimate_failed"] += 1
