"""A token on Anvil whose mints are the effects of intents, and a dispatcher for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from risk.chain.compile import compile_contracts
from risk.chain.keccak import keccak
from risk.chain.node import Anvil
from risk.chain.rpc import Call, Rpc
from risk.keeper.dispatch import Dispatcher, Journal
from risk.keeper.types import Intent
from tests.keeper.dispatch_support import ROOT, intent, open_journal, policy, signer

GAS = 120_000
_MINT, _BALANCE = keccak(b"mint(address,uint256)")[:4], keccak(b"balanceOf(address)")[:4]
_TRANSFER = "0x" + keccak(b"Transfer(address,address,uint256)").hex()


def quiet_anvil(base_fee: int = 10**9) -> Anvil:
    """Mines only when told."""
    return Anvil(automine=False, base_fee=base_fee)


def deploy_token(rpc: Rpc) -> int:
    """A mock token, and ether for the signer."""
    rpc.call("anvil_setBalance", signer().address, hex(10**20))
    code = compile_contracts(ROOT)["MockToken"].bytecode
    words = b"".join(value.to_bytes(32, "big") for value in (18, 0, 0))
    owner = rpc.call("eth_accounts")[0]
    sent = rpc.send({"from": owner, "data": "0x" + code + words.hex(), "gas": hex(5_000_000)})
    rpc.call("evm_mine")
    return int(rpc.receipt(sent)["contractAddress"], 16)


def holder(account: int) -> int:
    """Whom the intent of an account mints to."""
    return 0xA0000000 + account


def mint(token: int, account: int) -> Intent:
    """Mints one unit to the account's holder."""
    words = holder(account).to_bytes(32, "big") + (1).to_bytes(32, "big")
    return intent(account, gas=GAS, to=token, data=_MINT + words)


def undone(rpc: Rpc, token: int, accounts: Sequence[int]) -> list[int]:
    """Accounts whose holder has nothing at the latest block: what a planner would want."""
    calls: list[Call] = [
        (
            "eth_call",
            [
                {
                    "to": f"0x{token:040x}",
                    "data": "0x" + (_BALANCE + holder(n).to_bytes(32, "big")).hex(),
                },
                "latest",
            ],
        )
        for n in accounts
    ]
    balances = rpc.batch(calls)
    return [n for n, value in zip(accounts, balances, strict=True) if int(value, 16) == 0]


def mints(rpc: Rpc, token: int) -> Counter[int]:
    """How often each account's intent had its effect, from the canonical chain's events."""
    found = rpc.call("eth_getLogs", {"address": f"0x{token:040x}", "fromBlock": "0x0"})
    assert all(log["topics"][0] == _TRANSFER for log in found)
    return Counter(int(log["topics"][2], 16) - holder(0) for log in found)


def open_real_journal(rpc: Rpc, folder: Path) -> Journal:
    """The signer's journal on this chain; small enough to be compacted often."""
    genesis = rpc.call("eth_getBlockByNumber", "0x0", False)["hash"]
    return open_journal(folder, genesis, compact_after=40)


def dispatcher(rpc: Rpc, journal: Journal, **change: object) -> Dispatcher:
    """With the tests' policy."""
    return Dispatcher(rpc, signer(), journal, policy(**change))
