"""The real vault on Anvil and the reference model side by side: every action runs on both,
everything is compared.

After each action: the outcome (return values, or the custom error with its arguments), every stored
field, and every token balance.  Positions that no sequence of actions would reach conveniently are
written into both sides (``put``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any

from eth_account import Account as Keys
from eth_account.signers.local import LocalAccount

from risk.chain import layout
from risk.chain.abi import Errors, functions
from risk.chain.compile import Artifact, compile_contracts
from risk.chain.keccak import keccak
from risk.chain.node import project_root
from risk.chain.rpc import Rpc, from_hex, to_hex
from risk.chain.vault_abi import vault_abi
from risk.errors import RevertError
from risk.exact.custody import interest_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id as iid
from risk.exact.market.report_hash import domain_separator
from risk.exact.params.risk_params import CollateralParams, RiskParams, UnderlyingParams
from risk.exact.settlement import settlement_lib
from risk.exact.state import Account, Linear, Option, State, World
from risk.exact.trading.order_hash import Order, digest
from risk.exact.vault import Vault
from tests.market.market_twin import DEPLOYER, GAS, GENESIS, Twin, address, key_address

WAD = 10**18
USD = 10**6  # one unit of cash, native
DAY = 86_400
MAX = 2**256 - 1
NO_LIMIT = 2**255 - 1
FAR = 2**40 - 1

OWNER = int(DEPLOYER, 16)
TRADERS: list[LocalAccount] = [
    Keys.from_key(keccak(f"plumbline vault test {i}".encode())) for i in range(4)
]
ALICE, BOB, CAROL, DAVE = TRADERS


def compile_vault() -> dict[str, Artifact]:
    """Everything, from the cache where the sources did not change."""
    return compile_contracts(project_root())


def account(key: LocalAccount | int, sub: int = 0) -> int:
    """owner << 8 | sub-account"""
    return (key if isinstance(key, int) else key_address(key)) << 8 | sub


class VaultTwin(Twin):
    """Both sides.  ``world.timestamp`` is the time of the next action."""

    def __init__(self, rpc: Rpc, artifacts: dict[str, Artifact]) -> None:
        self.rpc = rpc
        self.artifacts = artifacts
        self.errors = Errors(a.abi for a in artifacts.values())
        self.functions = functions(vault_abi(artifacts))
        self.feed_functions = functions(artifacts["MockFeed"].abi)
        self.token_functions = functions(artifacts["MockToken"].abi)
        self.world = World(timestamp=GENESIS)
        self.state = State(owner=OWNER, cash_token=0, cash_decimals=6)
        self.libraries: dict[str, str] = {}
        self.logs: list[dict[str, Any]] = []
        self.gas_used = 0
        self.next_nonce = 0
        rpc.call("anvil_autoImpersonateAccount", True)
        for key in TRADERS:
            rpc.call("anvil_setBalance", key.address, hex(10**24))
        self.state.cash_token = self.new_token(6)
        for name in artifacts["Vault"].libraries:
            if name not in self.libraries:
                self._deploy_library(name)
        self.world.vault = self.deploy("Vault", OWNER, self.state.cash_token)
        self.state.interest_time = self.words([layout.STATE_SLOT + 3])[0] >> 64 & 2**40 - 1
        self.model = Vault(self.state, self.world)

    def clone(self) -> tuple[State, World]:
        """For a fixture that restores what a test changed."""
        return self.state.clone(), copy.deepcopy(self.world)

    def restore(self, saved: tuple[State, World]) -> None:
        """Back to ``clone()``."""
        self.state, self.world = saved
        self.model = Vault(self.state, self.world)

    # ------------------------------------------------------------------ tokens

    def new_token(self, decimals: int, flags: int = 0) -> int:
        """A MockToken; nobody has any."""
        token = self.deploy("MockToken", decimals, flags, 0)
        self.world.balances[token] = {}
        return token

    def token(self, token: int, name: str, *args: Any, sender: int = OWNER) -> None:
        """A transaction to a token that must succeed."""
        self._from(sender, token, self.token_functions[name].encode(*args))

    def give(self, token: int, key: LocalAccount | int, amount: int) -> None:
        """Mint to an address and approve the vault, on both sides."""
        holder = key if isinstance(key, int) else key_address(key)
        self.token(token, "mint", holder, amount)
        self.token(token, "approve", self.world.vault, MAX, sender=holder)
        balances = self.world.balances[token]
        balances[holder] = balances.get(holder, 0) + amount

    def balance(self, token: int, holder: int) -> int:
        """On the chain."""
        f = self.token_functions["balanceOf"]
        return int(f.decode(self.rpc.eth_call(address(token), f.encode(holder)))[0])

    # ------------------------------------------------------------------ actions

    def do(
        self, sender: LocalAccount | int, name: str, *args: Any, chain: Sequence[Any] = ()
    ) -> Any:
        """``name`` on both sides: the model's return value, or the ``ModelRevert`` both raise.

        ``args`` are the model's; ``chain`` are the contract's where they differ.
        """
        who = sender if isinstance(sender, int) else key_address(sender)
        result: Any = None
        revert = None
        try:
            result = getattr(self.model, _snake(name))(who, *args)
        except ModelRevert as error:
            revert = error
        f = self.functions[name]
        data = f.encode(*(chain or args))
        answer, got = self._try(who, data)
        if got is None:
            receipt = self._from(who, self.world.vault, data)
            self.gas_used, self.logs = int(receipt["gasUsed"], 16), receipt["logs"]
        else:  # a refused transaction changes nothing but the time
            self.world.timestamp += 1
        want = None if revert is None else self.errors.encode(revert.name, revert.args)
        assert got == want, (
            f"{name}: chain {'succeeds' if got is None else self.errors.show(got)}, "
            f"model {'succeeds' if revert is None else revert}"
        )
        if result is not None:
            values = f.decode(answer)
            assert values == list(result if isinstance(result, tuple) else (result,))
        self.compare_state()
        self.compare_balances()
        self.check_identities()
        return result if revert is None else revert

    def batch(self, sender: LocalAccount, *calls: tuple[Any, ...]) -> Any:
        """``calls`` are (name, *args) as ``do`` takes them, ("batch", *calls) a nested one.

        None, or the ``ModelRevert`` both sides raise.
        """
        revert = self._batch_on_model(sender, calls)
        data = [self._batch_data(call) for call in calls]
        refused = self.chain_only(sender, "batch", data)
        if refused is not None:
            self.world.timestamp += 1
        want = None if revert is None else self.errors.encode(revert.name, revert.args)
        assert refused == want, f"batch: chain {self.error(refused)}, model {revert}"
        self.compare_state()
        self.compare_balances()
        self.check_identities()
        return revert

    def _batch_on_model(
        self, sender: LocalAccount, calls: Sequence[tuple[Any, ...]]
    ) -> ModelRevert | None:
        who = key_address(sender)
        try:
            self.model.batch(who, [_model_call(who, call) for call in calls])
        except ModelRevert as error:
            return error
        return None

    def _batch_data(self, call: tuple[Any, ...]) -> bytes:
        name, *args = call
        if name == "batch":
            return self.functions["batch"].encode([self._batch_data(item) for item in args])
        return self.functions[name].encode(*args)

    def chain_only(self, sender: LocalAccount | int, name: str, *args: Any) -> bytes | None:
        """On the chain alone (for what the model does not know): None, or the revert data."""
        who = sender if isinstance(sender, int) else key_address(sender)
        data = self.functions[name].encode(*args)
        _, refused = self._try(who, data)
        if refused is None:
            receipt = self._from(who, self.world.vault, data)
            self.gas_used, self.logs = int(receipt["gasUsed"], 16), receipt["logs"]
        return refused

    def _try(self, sender: int, data: bytes) -> tuple[bytes, bytes | None]:
        """(return data, None) or (b"", revert data) of a call at the time of the next action.

        Tracing a transaction afterwards would say the same, but takes a minute where it computed
        a hundred arrays.
        """
        try:
            return self._call(sender, data), None
        except RevertError as error:
            return b"", error.data

    def error(self, data: bytes | None) -> str:
        """Readable revert data."""
        return "success" if data is None else self.errors.show(data)

    def _from(self, sender: int, to: int, data: bytes) -> dict[str, Any]:
        self.rpc.call("evm_setNextBlockTimestamp", self.world.timestamp)
        transaction = {
            "from": address(sender),
            "to": address(to),
            "data": to_hex(data),
            "gas": hex(GAS),
            "gasPrice": "0x0",
        }
        receipt = self.rpc.receipt(self.rpc.send(transaction), timeout=120)
        self.world.timestamp += 1
        assert receipt["status"] == "0x1"
        return receipt

    def _call(self, sender: int, data: bytes) -> bytes:
        """Return data of a call at the time of the next action."""
        call = {
            "from": address(sender),
            "to": address(self.world.vault),
            "data": to_hex(data),
            "gas": hex(GAS),
        }
        time = {"time": hex(self.world.timestamp)}
        return from_hex(self.rpc.call("eth_call", call, "latest", {}, time))

    # ------------------------------------------------------------------ orders

    def order(
        self,
        key: LocalAccount,
        instrument: int,
        size: int,
        limit: int,
        *,
        sub: int = 0,
        **changes: int,
    ) -> Order:
        """A new order of this trader; the nonce is always fresh."""
        self.next_nonce += 1
        fields = {
            "account": account(key, sub),
            "instrument": instrument,
            "size_wad": size,
            "limit_price_wad": limit,
            "nonce": self.next_nonce,
            "expiry": FAR,
        }
        return Order(**{**fields, **changes})

    def sign(self, order: Order, key: LocalAccount, domain: bytes | None = None) -> bytes:  # type: ignore[override]
        """65 bytes r ‖ s ‖ v."""
        return bytes(
            key.unsafe_sign_hash(digest(domain or domain_separator(self.world), order)).signature
        )

    def fill(
        self,
        buy: Order,
        sell: Order,
        size: int,
        price: int,
        *,
        buyer: LocalAccount | tuple[int, bytes] | None = None,
        seller: LocalAccount | tuple[int, bytes] | None = None,
        sender: LocalAccount | int = OWNER,
    ) -> Any:
        """Fill two orders; signed by their owners unless a key or (recovered address, signature)
        is given.
        """
        buy_signer, buy_signature = self._signature(buy, buyer)
        sell_signer, sell_signature = self._signature(sell, seller)
        return self.do(
            sender,
            "fill",
            buy,
            buy_signer,
            sell,
            sell_signer,
            size,
            price,
            chain=(astuple(buy), buy_signature, astuple(sell), sell_signature, size, price),
        )

    def _signature(
        self, order: Order, given: LocalAccount | tuple[int, bytes] | None
    ) -> tuple[int, bytes]:
        if isinstance(given, tuple):
            return given
        owner = next((k for k in TRADERS if key_address(k) == order.account >> 8), ALICE)
        key = given or owner
        return key_address(key), self.sign(order, key)

    def trade(
        self, buyer: LocalAccount, seller: LocalAccount, instrument: int, size: int, price: int
    ) -> Any:
        """Both orders, signed and filled whole."""
        buy = self.order(buyer, instrument, size, price)
        sell = self.order(seller, instrument, -size, price)
        return self.fill(buy, sell, size, price)

    # ------------------------------------------------------------------ state by hand

    def put(
        self,
        account_id: int,
        *,
        cash: int = 0,
        collateral: dict[int, int] | None = None,
        linear: Sequence[tuple[int, int, int]] = (),
        options: Sequence[tuple[int, int]] = (),
        mirror: int = 0,
    ) -> None:
        """Write an account into both sides; ``mirror`` gets the opposite positions, totals and
        tokens follow.
        """
        state = self.state
        amounts = [0] * 16
        for j, amount in (collateral or {}).items():
            amounts[j] = amount
        entries = [(account_id, 1, cash, amounts)]
        if mirror:
            old = state.accounts.get(mirror, Account())
            entries.append((mirror, -1, old.cash_wad, list(old.collateral)))
        for identity, sign, money, held in entries:
            state.accounts[identity] = Account(
                cash_wad=money,
                collateral=list(held),
                linear=[Linear(i, sign * s, sign * q) for i, s, q in linear],
                options=[Option(i, sign * s) for i, s in options],
            )
        self.settle_totals()
        self.write_state()

    def settle_totals(self) -> None:
        """Totals, open interest and the vault's tokens as the accounts say."""
        state = self.state
        accounts = state.accounts.values()
        for j, c in enumerate(state.collaterals):
            c.total_held = sum(a.collateral[j] for a in accounts)
        pools = sum(u.pnl_pool_wad for u in state.underlyings)
        state.cash_held_wad = sum(a.cash_wad for a in accounts) + pools + state.insurance_wad
        state.cash_held_wad += state.interest_wad
        cash = [interest_lib.touched(state, a.cash_wad, a.interest_index) for a in accounts]
        state.supply_wad = sum(c for c in cash if c > 0)
        state.borrow_wad = -sum(c for c in cash if c < 0)
        state.open_interest = dict.fromkeys(state.open_interest, 0)
        for a in accounts:
            for x in [*a.linear, *a.options]:
                old = state.open_interest.get(x.instrument, 0)
                state.open_interest[x.instrument] = old + max(x.size_wad, 0)
        for u, data in enumerate(state.underlyings):
            data.open_interest_wad = sum(
                max(x.size_wad, 0)
                for a in accounts
                for x in [*a.linear, *a.options]
                if iid.underlying(x.instrument) == u
            )
        scale = 10 ** (18 - state.cash_decimals)
        wanted = {state.cash_token: -(-state.cash_held_wad // scale)}
        wanted.update({c.token: c.total_held for c in state.collaterals})
        for token, amount in wanted.items():
            held = self.world.balances[token].get(self.world.vault, 0)
            if amount > held:
                self.token(token, "mint", self.world.vault, amount - held)
                self.world.balances[token][self.world.vault] = amount

    def write_state(self) -> None:
        """The whole model state into the chain's storage."""
        fields = layout.state_fields(self.state)
        slots = sorted({f.slot for f in fields})
        words = dict(zip(slots, self.words(slots), strict=True))
        calls = []
        for f in fields:
            mask = (1 << f.bits) - 1
            old = words[f.slot]
            words[f.slot] = old & ~(mask << f.shift) | (f.value & mask) << f.shift
        before = dict(zip(slots, self.words(slots), strict=True))
        vault = address(self.world.vault)
        for slot in slots:
            if words[slot] != before[slot]:
                calls.append(
                    ("anvil_setStorageAt", [vault, f"0x{slot:064x}", f"0x{words[slot]:064x}"])
                )
        self.rpc.batch(calls)

    # ------------------------------------------------------------------ comparisons

    def compare_balances(self) -> None:
        """Every token balance of the model's world equals the chain's."""
        for token, holders in self.world.balances.items():
            for holder, amount in holders.items():
                got = self.balance(token, holder)
                assert got == amount, (
                    f"token {token:#x} of {holder:#x}: chain {got}, model {amount}"
                )

    def check_identities(self) -> None:
        """cash held = Σ cash + Σ pools + insurance; Σ positions = 0; collateral held = Σ; pools
        ≥ 0; OI = Σ long.
        """
        state = self.state
        accounts = list(state.accounts.values())
        pools = [u.pnl_pool_wad for u in state.underlyings]
        cash = sum(a.cash_wad for a in accounts)
        owned = cash + sum(pools) + state.insurance_wad + state.interest_wad
        assert state.cash_held_wad == owned
        assert min(pools, default=0) >= 0
        sums: dict[int, int] = {}
        long = [0] * len(pools)
        for a in accounts:
            assert not any(x.size_wad == 0 and x.quote_wad <= 0 for x in a.linear)
            for x in [*a.linear, *a.options]:
                sums[x.instrument] = sums.get(x.instrument, 0) + x.size_wad
                long[iid.underlying(x.instrument)] += max(x.size_wad, 0)
        # between the settlement of a long and of its short the sizes of a priced instrument differ
        assert not any(
            total
            for i, total in sums.items()
            if not settlement_lib.has_price(state, i)
            and settlement_lib.WIND_DOWN | i not in state.settlements
        ), sums
        assert long == [u.open_interest_wad for u in state.underlyings]
        for j, c in enumerate(state.collaterals):
            assert c.total_held == sum(a.collateral[j] for a in accounts)

    def compare_margin(self, account_id: int) -> Any:
        """Margin and liquidation quote of both sides; returns the model's margin."""
        margin = self.model.margin(account_id)
        quote = self.model.liquidation_quote(account_id)
        assert tuple(self.read("margin", account_id)[0]) == astuple(margin)
        assert tuple(self.read("liquidationQuote", account_id)[0]) == astuple(quote)
        return margin

    def read(self, name: str, *args: Any) -> list[Any]:
        """Return values of a view; raises ``RevertError``."""
        f = self.functions[name]
        return f.decode(self._call(OWNER, f.encode(*args)))


def _model_call(who: int, call: tuple[Any, ...]) -> Callable[[Vault], Any]:
    name, *args = call
    if name == "batch":
        inner = [_model_call(who, item) for item in args]
        return lambda vault: vault.batch(who, inner)
    return lambda vault: getattr(vault, _snake(name))(who, *args)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


# ---------------------------------------------------------------------------------- parameters


def underlying_params(**changes: Any) -> UnderlyingParams:
    """Eight scenarios, prices ±25 %; no basis; depth out of reach."""
    fields: dict[str, Any] = {
        "depth_wad": 10**6 * WAD,
        "som_bps": 500,
        "liq_bps": 1_000,
        "basis_base_bps": 20,
        "basis_slope_bps": 100,
        "price_unit_e6": 100,
        "vol_unit_e6": 200,
        "tenor_power_wad": WAD // 2,
        "tenor_floor_seconds": DAY,
        "tenor_cap_wad": 2 * WAD,
        "deviation_band_bps": 100,
        "max_age_seconds": 3_600,
        "max_confidence_bps": 50,
        "max_skew_seconds": 120,
        "price_lanes": (-2_500, -1_200, -400, 0, 0, 400, 1_200, 2_500),
        "vol_lanes": (1_500, 800, 0, 1_000, -1_000, 0, 800, 1_500),
    }
    return UnderlyingParams(**{**fields, **changes})


def risk_params(
    underlyings: Sequence[UnderlyingParams], collaterals: Sequence[CollateralParams], **changes: Any
) -> RiskParams:
    """φ = 1.3, t = 1.1, ρ from 1 % to 5 %."""
    fields: dict[str, Any] = {
        "im_factor_bps": 13_000,
        "target_bps": 11_000,
        "reward_base_bps": 100,
        "reward_slope_bps": 2_000,
        "reward_max_bps": 500,
        "weights_bps": (10_000,) * 8,
        "underlyings": tuple(underlyings),
        "collaterals": tuple(collaterals),
    }
    return RiskParams(**{**fields, **changes})
