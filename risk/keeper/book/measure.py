"""Accounts a second read through the lens, and by one ``eth_call`` each through web3.py.

``python -m risk.keeper.book.measure [ACCOUNTS] [SINGLE]``: an Anvil of its own, ``ACCOUNTS``
different accounts of 16 instruments (6 linear, 10 options) and two collaterals written into a
vault's storage; the lens reads all, web3.py the first ``SINGLE`` of them by ``accountState``. Both
must give the same cash, collateral and positions.

Both use the node's Unix socket: over HTTP web3.py loses some 30 ms a call to this Anvil, which
would flatter the lens. ``raw`` is the same single call by risk/chain/rpc.py, without web3.py's own
work.
"""

from __future__ import annotations

import json
import sys
import time
from random import Random
from typing import Any

from risk.chain import layout
from risk.chain.keccak import mapping_slot
from risk.diff.plumbline.chain import Chain, address
from risk.diff.plumbline.setup import deploy_vault
from risk.exact.state import Account, Linear, Option
from risk.keeper.book.lens import Lens, lens_code
from risk.keeper.errors import Divergence
from risk.keeper.source import HeadRule, open_source

LINEAR, OPTIONS, COLLATERALS = 6, 10, 2


def account_of(rng: Random) -> Account:
    """An account of 16 different instruments; what its numbers mean does not matter to a reader."""
    ids = rng.sample(range(1 << 32), LINEAR + OPTIONS)
    item = Account(cash_wad=rng.randrange(-(10**24), 10**24), interest_index=0)
    for j in range(COLLATERALS):
        item.collateral[j] = rng.randrange(1, 10**20)

    def size() -> int:
        return rng.choice((-1, 1)) * rng.randrange(1, 10**22)

    item.linear = [Linear(i, size(), size() * 3000) for i in ids[:LINEAR]]
    item.options = [Option(i, size()) for i in ids[LINEAR:]]
    return item


def write_accounts(chain: Chain, vault: str, accounts: dict[int, Account]) -> None:
    """Into the node's storage."""
    calls: list[tuple[str, list[str]]] = []
    for number, item in accounts.items():
        fields = layout.account_fields("", item, mapping_slot(number, layout.ACCOUNTS))
        for slot, word in layout.to_words(fields).items():
            if word:
                calls.append(("anvil_setStorageAt", [vault, f"0x{slot:064x}", f"0x{word:064x}"]))
    for i in range(0, len(calls), 2_000):
        chain.rpc.batch(calls[i : i + 2_000])
    chain.rpc.call("evm_mine")


def measure(count: int, single: int) -> dict[str, Any]:
    """Rates, accounts/s; ``Divergence`` where the two readers differ."""
    from web3 import IPCProvider, Web3

    chain = Chain(extra=("--gas-price", "0"))
    chain.open()
    try:
        vault_number = deploy_vault(chain, 0xAD << 152, chain.deploy("MockToken", 6, 0, 0))
        vault = address(vault_number)
        # two collaterals, or `accountState` shows none
        word = chain.read_words(vault_number, [layout.STATE_SLOT])[layout.STATE_SLOT]
        word |= COLLATERALS << 176
        chain.rpc.call("anvil_setStorageAt", vault, f"0x{0:064x}", f"0x{word:064x}")
        rng = Random(1)
        accounts = {rng.getrandbits(168): account_of(rng) for _ in range(count)}
        write_accounts(chain, vault, accounts)
        source = open_source([str(chain.node.endpoint)], timeout=60.0, rule=HeadRule(lag=None))
        lens = Lens(source, vault, lens_code(chain.artifacts))
        head = source.head()
        numbers = list(accounts)
        began = time.perf_counter()
        read = lens.accounts(numbers, head)
        lens_seconds = time.perf_counter() - began
        if read != accounts:
            raise Divergence("the lens did not give what was written")
        w3 = Web3(IPCProvider(chain.node.endpoint))
        abi = chain.artifacts["Vault"].abi
        contract = w3.eth.contract(address=Web3.to_checksum_address(vault), abi=abi)
        began = time.perf_counter()
        answers = [contract.functions.accountState(n).call() for n in numbers[:single]]
        single_seconds = time.perf_counter() - began
        for number, (cash, collateral, linear, options) in zip(numbers, answers, strict=False):
            a = accounts[number]
            same = (cash, collateral) == (a.cash_wad, a.collateral[:COLLATERALS])
            same &= [w >> 224 for w in linear] == [x.instrument for x in a.linear]
            same &= [w >> 96 for w in options] == [x.instrument for x in a.options]
            if not same:
                raise Divergence(f"account {number:#044x}: web3.py and the lens differ")
        encode = chain.vault_functions["accountState"].encode
        began = time.perf_counter()
        for number in numbers[:single]:
            chain.rpc.eth_call(vault, encode(number))
        raw_seconds = time.perf_counter() - began
        source.close()
    finally:
        chain.close()
    lens_rate, single_rate = count / lens_seconds, len(answers) / single_seconds
    raw_rate = len(answers) / raw_seconds
    return {
        "accounts": count,
        "instruments": LINEAR + OPTIONS,
        "lens_accounts_per_second": round(lens_rate),
        "single_accounts": len(answers),
        "web3_accounts_per_second": round(single_rate),
        "raw_accounts_per_second": round(raw_rate),
        "lens_to_web3": round(lens_rate / single_rate, 1),
        "lens_to_raw": round(lens_rate / raw_rate, 1),
    }


if __name__ == "__main__":
    given = [int(x) for x in sys.argv[1:]]
    print(json.dumps(measure(*(given + [10_000, 1_000][len(given) :]))))
