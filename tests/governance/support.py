"""Vault, timelock and governor on Anvil, and the reference model of vault and governor beside them.

Set-up runs on both sides; every action of governance is compared: outcome with arguments, ramp,
steward's period, strike budgets, roles, the vault's blob and its epochs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from eth_account.signers.local import LocalAccount

from risk.chain.abi import Function, function, functions
from risk.chain.keccak import keccak
from risk.chain.node import Anvil
from risk.errors import RevertError
from risk.exact.errors import ModelRevert
from risk.exact.governance import risk_governor as rg
from risk.exact.governance.risk_governor import Config, RiskGovernor
from risk.exact.params.risk_params import CollateralParams, RiskParams
from tests.market.market_twin import GENESIS, TODAY, address, key_address
from tests.support.vault_twin import (
    DAY,
    OWNER,
    TRADERS,
    USD,
    WAD,
    VaultTwin,
    compile_vault,
    risk_params,
    underlying_params,
)

DELAY = 2 * DAY
MAX_DELAY = 3 * DAY
HOUR = 3_600
CONFIG = Config(
    step_seconds=6 * HOUR,
    min_steps=13,  # 12 · 6 h = the largest delay
    steward_bps=1_000,
    steward_period=7 * DAY,
    strikes_per_day=64,
)
GUARDIAN, STEWARD, LISTER, PROPOSER, STRANGER = (
    int.from_bytes(keccak(f"plumbline governance {i}".encode())[12:], "big") for i in range(5)
)
PRICES = (3_000, 60_000)
CAPS = (10**5 * 10**18, 10**3 * 10**8)
ROLES = {
    "TIMELOCK_ROLE": rg.TIMELOCK_ROLE,
    "GUARDIAN_ROLE": rg.GUARDIAN_ROLE,
    "STEWARD_ROLE": rg.STEWARD_ROLE,
    "LISTER_ROLE": rg.LISTER_ROLE,
    "DEFAULT_ADMIN_ROLE": rg.DEFAULT_ADMIN_ROLE,
}


def base_params(**changes: Any) -> RiskParams:
    """ETH and BTC, WETH and WBTC, shocks of ±12 %; every limit of the tail is set, far away."""
    u = underlying_params(
        price_lanes=(-1_200, -800, -400, 0, 0, 400, 800, 1_200),
        oi_cap_wad=2**100,
        jump_bps=5_000,
        position_cap_wad=2**80,
    )
    collaterals = (
        CollateralParams(0, 18, 1_000, CAPS[0], False, withdraw_cap=2**120),
        CollateralParams(1, 8, 1_500, CAPS[1], False, withdraw_cap=2**120),
    )
    tail = {
        "warning_bps": 12_000,
        "insurance_event_cap_wad": 2**90,
        "insurance_period_cap_wad": 2**92,
        "insurance_period_seconds": DAY,
        "cash_withdraw_cap_wad": 2**100,
        "withdraw_period_seconds": DAY,
        "unrealised_cap_usd": 2**60,
        "breaker_seconds": HOUR,
    }
    return risk_params((u, u), collaterals, **{**tail, **changes})


class GovernedVault(VaultTwin):
    """Both sides.  ``world.timestamp`` is the time of the next action, as in ``VaultTwin``."""

    timelock: int
    governor: int
    gov: RiskGovernor
    weth: int
    wbtc: int

    def build(self) -> None:
        """List, price, fund; then the vault goes to the governor."""
        for u, price in enumerate(PRICES):
            feed = self.new_feed(8, price * 10**8)
            self.setup("listUnderlying", feed)
            assert len(self.state.underlyings) == u + 1
        for decimals, u in ((18, 0), (8, 1)):
            token = self.new_token(decimals)
            self.setup("listCollateral", token, u, 0, decimals, chain=(token, u, 0))
        self.weth, self.wbtc = (c.token for c in self.state.collaterals)
        self.setup("setRiskParams", base_params().blob)
        for u, price in enumerate(PRICES):
            self.price(u, price)
            self.setup("refresh", [u])
        for key in TRADERS:
            self.give(self.state.cash_token, key, 10**8 * USD)
            self.give(self.weth, key, 10**4 * 10**18)
        self.timelock = self.create(
            "GovernanceTimelock", DELAY, MAX_DELAY, [PROPOSER], [0], [GUARDIAN]
        )
        roles = (GUARDIAN, STEWARD, LISTER)
        self.governor = self.create(
            "RiskGovernor", self.world.vault, self.timelock, *roles, astuple(CONFIG)
        )
        self.own_functions = functions(self.artifacts["RiskGovernor"].abi)
        self.timelock_functions = functions(self.artifacts["GovernanceTimelock"].abi)
        self.transfer = function(
            {"name": "transferOwnership", "inputs": [{"type": "address"}], "outputs": []}
        )
        self.send(OWNER, self.world.vault, self.transfer.encode(self.governor))
        self.state.owner = self.governor
        self.gov = RiskGovernor(self.model, self.governor, self.timelock, MAX_DELAY, *roles, CONFIG)

    def create(self, name: str, *arguments: Any) -> int:
        """A new contract; constructors with arrays and structs too."""
        receipt = self._send(None, self.creation(name, *arguments), 30_000_000)
        assert receipt["status"] == "0x1", f"{name} was not deployed"
        return int(receipt["contractAddress"], 16)

    def creation(self, name: str, *arguments: Any) -> bytes:
        """Creation code with arguments."""
        artifact = self.artifacts[name]
        entry = next(e for e in artifact.abi if e["type"] == "constructor")
        encoded = function({"name": "", "inputs": entry["inputs"]}).encode(*arguments)[4:]
        return artifact.linked(self.libraries) + encoded

    def setup(self, name: str, *args: Any, chain: Sequence[Any] = ()) -> None:
        """An action of the deployer on both sides that must succeed."""
        getattr(self.model, snake(name))(OWNER, *args)
        assert self.chain_only(OWNER, name, *(chain or args)) is None, name

    def price(self, u: int, price: float) -> None:
        """The feed's answer, of this moment."""
        self.set_feed(self.state.underlyings[u].feed, round(price * 10**8), self.world.timestamp)

    # ------------------------------------------------------------------ governance

    def act(
        self, sender: int, name: str, *args: Any, chain: Sequence[Any] = ()
    ) -> ModelRevert | None:
        """``name`` of the governor on both sides: None, or the revert that both give."""
        revert = None
        try:
            getattr(self.gov, snake(name))(sender, *args)
        except ModelRevert as error:
            revert = error
        got = self.call(sender, self.governor, self.own_functions[name], *(chain or args))
        want = None if revert is None else self.errors.encode(revert.name, revert.args)
        assert got == want, f"{name}: chain {self.error(got)}, model {revert}"
        self.compare_governor()
        return revert

    def call(self, sender: int, to: int, f: Function, *args: Any) -> bytes | None:
        """A transaction on the chain alone: None, or the revert data."""
        data = f.encode(*args)
        call = {"from": address(sender), "to": address(to), "data": "0x" + data.hex()}
        call["gas"] = hex(30_000_000)
        try:
            time = {"time": hex(self.world.timestamp)}
            self.rpc.call("eth_call", call, "latest", {}, time)
        except RevertError as error:
            self.world.timestamp += 1
            return error.data
        self.send(sender, to, data)
        return None

    def send(self, sender: int, to: int, data: bytes) -> dict[str, Any]:
        """A transaction that must succeed."""
        receipt = self._from(sender, to, data)
        self.gas_used, self.logs = int(receipt["gasUsed"], 16), receipt["logs"]
        return receipt

    def view(self, name: str, *args: Any) -> list[Any]:  # type: ignore[override]
        """A view of the governor; raises ``RevertError``."""
        f = self.own_functions[name]
        data = self.rpc.eth_call(address(self.governor), f.encode(*args), gas=10**9)
        return f.decode(data)

    def blob(self) -> bytes:
        """The blob in force on the chain."""
        return bytes(self.read("riskParams")[1])

    def compare_governor(self) -> None:
        """State of the governor, roles, and what it set in the vault."""
        s = self.gov.store
        start, target, step, steps, earliest, origin = self.view("ramp")
        assert (start, target, step, steps, origin) == (
            s.start,
            s.target,
            s.step,
            s.steps,
            s.origin,
        )
        assert earliest == s.last_step + CONFIG.step_seconds
        anchor, time = self.view("stewardPeriod")
        assert (anchor, time) == (s.anchor, s.anchor_time)
        for u, (day, used) in s.strikes.items():
            assert self.view("strikeBudget", u) == [day, used]
        for role in ROLES.values():
            for who in (self.timelock, GUARDIAN, STEWARD, LISTER, PROPOSER, STRANGER, OWNER):
                assert self.view("hasRole", role, who) == [self.gov.has_role(role, who)]
        assert self.state.params is not None
        assert self.blob() == self.state.params.encode()
        for u, data in enumerate(self.state.underlyings):
            assert self.read("snapshot", u)[0][1] == data.epoch

    # ------------------------------------------------------------------ timelock

    def schedule(self, calls: Sequence[tuple[int, bytes]], sender: int = PROPOSER) -> bytes | None:
        """Schedule a batch with the least delay."""
        f = self.timelock_functions["scheduleBatch"]
        return self.call(sender, self.timelock, f, *_batch(calls), DELAY)

    def execute(self, calls: Sequence[tuple[int, bytes]], sender: int = STRANGER) -> bytes | None:
        """Execute a batch."""
        f = self.timelock_functions["executeBatch"]
        return self.call(sender, self.timelock, f, *_batch(calls))

    def to_governor(self, name: str, *args: Any) -> tuple[int, bytes]:
        """A call for a batch."""
        return self.governor, self.own_functions[name].encode(*args)

    # ------------------------------------------------------------------ ledger, chain only

    def user(self, key: LocalAccount | int, name: str, *args: Any) -> bytes | None:
        """An action on the vault on the chain alone: None, or the revert data."""
        who = key if isinstance(key, int) else key_address(key)
        return self.call(who, self.world.vault, self.functions[name], *args)

    def margin(self, account: int) -> dict[str, int]:
        """The margin of an account, by name."""
        entry = next(e for e in self.artifacts["Vault"].abi if e.get("name") == "margin")
        names = [c["name"] for c in entry["outputs"][0]["components"]]
        return dict(zip(names, self.read("margin", account)[0], strict=True))


def _batch(calls: Sequence[tuple[int, bytes]]) -> tuple[Any, ...]:
    targets, payloads = zip(*calls, strict=True)
    return list(targets), [0] * len(calls), list(payloads), 0, 0


def snake(name: str) -> str:
    """``listExpiry`` → ``list_expiry``."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


@functools.cache
def governed_vault() -> GovernedVault:
    """One on one Anvil for the whole run."""
    node = Anvil(gas_limit=1_000_000_000, timestamp=GENESIS - 1, base_fee=0)
    node.start()
    g = GovernedVault(node.rpc(), compile_vault())
    g.node = node  # type: ignore[attr-defined]
    g.build()
    return g


__all__ = ["DAY", "OWNER", "TODAY", "TRADERS", "USD", "WAD"]
