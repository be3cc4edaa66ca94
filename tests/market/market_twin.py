"""MarketHarness on Anvil and the reference model side by side: every action runs on both, and
everything is compared.

After each action: the outcome (success, or the custom error with its arguments) and every stored
field of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple
from typing import Any

from eth_account import Account as Keys
from eth_account.signers.local import LocalAccount

from risk.chain import layout
from risk.chain.abi import Errors, codec, functions
from risk.chain.compile import Artifact, compile_contracts
from risk.chain.keccak import keccak
from risk.chain.node import project_root
from risk.chain.rpc import Rpc, from_hex, to_hex
from risk.chain.sync import transact
from risk.errors import RevertError, RpcError
from risk.exact.errors import ModelRevert
from risk.exact.market import listing, market_logic
from risk.exact.market.report_hash import Slice, VolReport, digest, domain_separator
from risk.exact.params.risk_params import CollateralParams, RiskParams, UnderlyingParams
from risk.exact.state import Feed, State, World

WAD = 10**18
DAY = 86_400
GENESIS = 1_800_000_000
TODAY = GENESIS // DAY
GAS = 30_000_000
DEPLOYER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
CASH = 0xCA54 << 144
STRANGER = 0x57A46E

# MockFeed.Mode
WORKS, REVERTS, REVERTS_BIG, EMPTY, SHORT, BIG, BURNS_GAS, PANICS, GUZZLES, WRITES = range(10)
BROKEN = (REVERTS, REVERTS_BIG, EMPTY, SHORT, BURNS_GAS, PANICS, WRITES)

# MockToken flags
NO_DECIMALS = 32

KEYS: list[LocalAccount] = sorted(
    (Keys.from_key(keccak(f"plumbline market test {i}".encode())) for i in range(4)),
    key=lambda k: int(k.address, 16),
)
"""Four keys by ascending address; the first three are registered, two must sign."""


def compile_market() -> dict[str, Artifact]:
    """Every contract of the checkout, from the cache where nothing changed."""
    return compile_contracts(project_root())


def address(value: int) -> str:
    """20-byte hex address."""
    return f"0x{value:040x}"


def key_address(key: LocalAccount) -> int:
    """Address as an integer."""
    return int(key.address, 16)


class Twin:
    """Both sides.  ``world.timestamp`` is the time of the next action; it moves by one second a
    transaction.
    """

    def __init__(self, rpc: Rpc, artifacts: dict[str, Artifact], timestamp: int = GENESIS) -> None:
        self.rpc = rpc
        self.artifacts = artifacts
        self.errors = Errors(a.abi for a in artifacts.values())
        self.functions = functions(artifacts["MarketHarness"].abi)
        self.feed_functions = functions(artifacts["MockFeed"].abi)
        self.world = World(timestamp=timestamp)
        self.state = State(owner=0, cash_token=CASH, cash_decimals=6)
        self.libraries: dict[str, str] = {}
        for name in artifacts["MarketHarness"].libraries:
            if name not in self.libraries:
                self._deploy_library(name)
        self.world.vault = self.deploy("MarketHarness", CASH)
        self.gas_used = 0
        self.logs: list[dict[str, Any]] = []

    # ------------------------------------------------------------------ chain

    def _deploy_library(self, name: str) -> None:
        for needed in self.artifacts[name].libraries:
            if needed not in self.libraries:
                self._deploy_library(needed)
        self.libraries[name] = address(self.deploy(name))

    def deploy(self, name: str, *arguments: Any) -> int:
        """Address of a new contract."""
        artifact = self.artifacts[name]
        inputs = next((e["inputs"] for e in artifact.abi if e["type"] == "constructor"), [])
        data = artifact.linked(self.libraries)
        data += b"".join(codec(i["type"]).encode(v) for i, v in zip(inputs, arguments, strict=True))
        receipt = self._send(None, data)
        assert receipt["status"] == "0x1", f"{name} was not deployed"
        return int(receipt["contractAddress"], 16)

    def _send(self, to: int | None, data: bytes, gas: int = GAS) -> dict[str, Any]:
        self.rpc.call("evm_setNextBlockTimestamp", self.world.timestamp)
        transaction = {"from": DEPLOYER, "data": to_hex(data), "gas": hex(gas)}
        if to is not None:
            transaction["to"] = address(to)
        receipt = transact(self.rpc, transaction)
        self.world.timestamp += 1
        return receipt

    def transact(self, name: str, *args: Any, gas: int = GAS) -> bytes | None:
        """A transaction to the harness; None where it succeeds, else the revert data."""
        receipt = self._send(self.world.vault, self.functions[name].encode(*args), gas)
        self.gas_used = int(receipt["gasUsed"], 16)
        self.logs = receipt["logs"]
        if receipt["status"] == "0x1":
            return None
        trace = self.rpc.call(
            "debug_traceTransaction", receipt["transactionHash"], {"tracer": "callTracer"}
        )
        return from_hex(trace.get("output", "0x"))

    def view(self, name: str, *args: Any) -> list[Any]:
        """Return values of a call at the time of the next action; raises ``RevertError``."""
        self.rpc.call("evm_setNextBlockTimestamp", self.world.timestamp)
        self.rpc.call("evm_mine")
        self.world.timestamp += 1
        f = self.functions[name]
        return f.decode(self.rpc.eth_call(address(self.world.vault), f.encode(*args), gas=GAS))

    def simulate(self, name: str, *args: Any, gas: int = GAS) -> bytes | None:
        """As ``transact``, without effect; ``b""`` also where the gas ran out."""
        try:
            self.rpc.eth_call(
                address(self.world.vault), self.functions[name].encode(*args), gas=gas
            )
        except RevertError as error:
            return error.data
        except RpcError as error:
            assert "gas" in str(error).lower(), error
            return b""
        return None

    def words(self, slots: Iterable[int]) -> list[int]:
        """Raw storage of the harness."""
        vault = address(self.world.vault)
        calls = [("eth_getStorageAt", [vault, hex(slot), "latest"]) for slot in slots]
        return [int(word, 16) for word in self.rpc.batch(calls)]

    def event(self, name: str) -> list[dict[str, Any]]:
        """Logs of the last transaction with this event."""
        entry = next(
            e for e in self.artifacts["IMarket"].abi if e["type"] == "event" and e["name"] == name
        )
        kinds = ",".join(
            codec(i["type"], i.get("components", ())).canonical for i in entry["inputs"]
        )
        topic = to_hex(keccak(f"{name}({kinds})".encode()))
        return [log for log in self.logs if log["topics"][0] == topic]

    # ------------------------------------------------------- both sides at once

    def act(self, model: Callable[..., Any], name: str, *args: Any) -> ModelRevert | None:
        """``model(state, world)`` and the transaction ``name(*args)``: same outcome, same state
        afterwards.
        """
        before = self.state.clone()
        now = self.world.timestamp
        revert = None
        try:
            model(self.state, self.world)
        except ModelRevert as error:
            self.state, revert = before, error
        data = self.transact(name, *args)
        assert self.world.timestamp == now + 1
        want = None if revert is None else self.errors.encode(revert.name, revert.args)
        assert data == want, (
            f"{name}: chain {'succeeds' if data is None else self.errors.show(data)}, "
            f"model {'succeeds' if revert is None else revert}"
        )
        self.compare_state()
        return revert

    def compare_state(self) -> None:
        """Every field of the model's state equals the chain's."""
        fields = layout.state_fields(self.state)
        slots = sorted({f.slot for f in fields})
        words = dict(zip(slots, self.words(slots), strict=True))
        for f in fields:
            got = words[f.slot] >> f.shift & (1 << f.bits) - 1
            assert got == f.value % (1 << f.bits), f"{f.name}: chain {got}, model {f.value}"

    def write_state(self) -> None:
        """The whole model state into the chain's storage: what no action would reach."""
        fields = layout.state_fields(self.state)
        slots = sorted({f.slot for f in fields})
        before = dict(zip(slots, self.words(slots), strict=True))
        words = dict(before)
        for f in fields:
            mask = (1 << f.bits) - 1
            words[f.slot] = words[f.slot] & ~(mask << f.shift) | (f.value & mask) << f.shift
        vault = address(self.world.vault)
        for slot in slots:
            if words[slot] != before[slot]:
                self.rpc.call(
                    "anvil_setStorageAt", vault, f"0x{slot:064x}", f"0x{words[slot]:064x}"
                )

    def refuse(self, expected: str, args: Sequence[int], outcome: ModelRevert | None) -> None:
        """Assert the outcome of an action: this error with these arguments."""
        assert outcome == ModelRevert(expected, tuple(args)), (
            f"{outcome} is not {expected}{tuple(args)}"
        )

    # ------------------------------------------------------------------ world

    def new_feed(self, decimals: int, answer: int, updated_at: int | None = None) -> int:
        """A MockFeed on the chain and in the model's world; by default updated now."""
        time = self.world.timestamp if updated_at is None else updated_at
        feed = self.deploy("MockFeed", decimals, answer, time)
        self.world.feeds[feed] = Feed(decimals, answer, time)
        return feed

    def set_feed(
        self, feed: int, answer: int, updated_at: int | None = None, mode: int = WORKS
    ) -> None:
        """New answer (by default updated at the time of the next action) and mode, without a
        transaction.
        """
        time = self.world.timestamp if updated_at is None else updated_at
        for slot, value in ((0, answer % 2**256), (1, time), (3, mode)):
            self.rpc.call("anvil_setStorageAt", address(feed), hex(slot), f"0x{value:064x}")
        item = self.world.feeds[feed]
        item.answer, item.updated_at, item.reverts = answer, time, mode in BROKEN

    def new_token(self, decimals: int, flags: int = 0) -> int:
        """A MockToken."""
        return self.deploy("MockToken", decimals, flags, 0)

    def warp(self, seconds: int) -> None:
        """Let time pass before the next action."""
        self.world.timestamp += seconds

    # ---------------------------------------------------------------- actions

    def refresh(self, *underlyings: int) -> ModelRevert | None:
        return self.act(
            lambda s, w: market_logic.refresh(s, w, underlyings), "refresh", list(underlyings)
        )

    def submit(
        self,
        report: VolReport,
        keys: Sequence[LocalAccount] = tuple(KEYS[:2]),
        *,
        signatures: Sequence[tuple[int, bytes]] | None = None,
    ) -> ModelRevert | None:
        """Signed by ``keys`` in that order, or with explicit (recovered address, signature)
        pairs.
        """
        pairs = (
            signatures
            if signatures is not None
            else [(key_address(k), self.sign(report, k)) for k in keys]
        )
        return self.act(
            lambda s, w: market_logic.submit_report(s, w, report, [a for a, _ in pairs]),
            "submitReport",
            report_tuple(report),
            [signature for _, signature in pairs],
        )

    def sign(self, report: VolReport, key: LocalAccount, domain: bytes | None = None) -> bytes:
        """65 bytes r ‖ s ‖ v."""
        return bytes(
            key.unsafe_sign_hash(digest(domain or domain_separator(self.world), report)).signature
        )

    def list_underlying(self, feed: int) -> ModelRevert | None:
        return self.act(lambda s, w: listing.list_underlying(s, w, feed), "listUnderlying", feed)

    def list_collateral(
        self, token: int, underlying: int, rate_feed: int = 0, decimals: int | None = 18
    ) -> ModelRevert | None:
        """``decimals`` is what the model is told that the token answers."""
        return self.act(
            lambda s, w: listing.list_collateral(s, w, token, underlying, rate_feed, decimals),
            "listCollateral",
            token,
            underlying,
            rate_feed,
        )

    def list_expiry(self, underlying: int, day: int, strikes: Sequence[int]) -> ModelRevert | None:
        return self.act(
            lambda s, w: listing.list_expiry(s, w, underlying, day, strikes),
            "listExpiry",
            underlying,
            day,
            list(strikes),
        )

    def set_signers(self, signers: Sequence[int], threshold: int) -> ModelRevert | None:
        return self.act(
            lambda s, w: listing.set_signers(s, signers, threshold),
            "setSigners",
            list(signers),
            threshold,
        )

    def compute_arrays(self, *ids: int) -> ModelRevert | None:
        return self.act(
            lambda s, w: market_logic.compute_arrays_check(s, ids), "computeArrays", list(ids)
        )

    def set_params(self, params: RiskParams) -> None:
        """Without validation and without new epochs."""
        assert self.transact("setParams", params.blob) is None
        self.state.params = params


def report_tuple(report: VolReport) -> tuple[Any, ...]:
    """The ABI form."""
    head = (report.underlying, report.nonce, report.timestamp, report.confidence_bps)
    return (*head, [astuple(s) for s in report.slices], report.premium_e9)


def slice_of(day: int, **changes: int) -> Slice:
    """An ordinary slice: forward 1 % above, 30 % volatility, a skew."""
    fields = {
        "expiry_day": day,
        "forward_ratio_wad": 101 * WAD // 100,
        "discount_wad": 99 * WAD // 100,
        "a_e9": 4_000_000,
        "b_e9": 40_000_000,
        "rho_e9": -300_000_000,
        "m_e9": 10_000_000,
        "sigma_e9": 100_000_000,
    }
    return Slice(**{**fields, **changes})


def underlying_params(**changes: Any) -> UnderlyingParams:
    """Two scenarios of ±20 %; band 1 %, one hour, 50 bps, two minutes."""
    fields: dict[str, Any] = {
        "depth_wad": 10**6 * WAD,
        "som_bps": 100,
        "liq_bps": 1_000,
        "basis_base_bps": 50,
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
        "price_lanes": (-2_000, 2_000),
        "vol_lanes": (1_000, -500),
    }
    return UnderlyingParams(**{**fields, **changes})


def risk_params(
    underlyings: Sequence[UnderlyingParams],
    collaterals: Sequence[CollateralParams] = (),
    **changes: Any,
) -> RiskParams:
    """φ = 1.3, t = 1.1."""
    fields: dict[str, Any] = {
        "im_factor_bps": 13_000,
        "target_bps": 11_000,
        "reward_base_bps": 100,
        "reward_slope_bps": 1_000,
        "reward_max_bps": 500,
        "weights_bps": (10_000, 10_000),
        "underlyings": tuple(underlyings),
        "collaterals": tuple(collaterals),
    }
    return RiskParams(**{**fields, **changes})
