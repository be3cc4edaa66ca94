"""The certificate on the contracts: `margin` of every hold-out portfolio, read from a real vault.

A node of its own gets a vault; underlyings, expiries, strikes, the certified parameters, signed
reports and the snapshot come by real transactions. The snapshot is the one of the certificate:
08:00 UTC sharp is when a refresh is due, so all underlyings take it in one block at that second.
The portfolios are accounts written into the vault's storage by the call that reads them
(`eth_simulateV1` with state overrides, a chunk of accounts a call): the first ones while the view
computes every scenario array itself, all of them from arrays cached by transactions. What the
contract answers must be the reference model's margin of the certificate's own state, every field.
"""

from __future__ import annotations

import hashlib
import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from random import Random
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from risk.chain.keccak import keccak
from risk.chain.node import anvil_binary, project_root
from risk.chain.rpc import from_hex
from risk.diff.adapter import Outcome
from risk.diff.margin_cases.words import account_words
from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.chain import ANYBODY, Block, Call, Chain, address, load_artifacts
from risk.diff.plumbline.params_blob import CollateralParams, Params, UnderlyingParams
from risk.diff.plumbline.setup import ActionMaker, Deployment, deploy_world, setup_actions
from risk.diff.plumbline.world import BucketSpec, UnderlyingSpec, WorldSpec
from risk.errors import ChainError
from risk.exact.margin import margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, Bucket, State
from risk.exact.vault import Vault
from risk.quant.scenarios import exact
from risk.quant.scenarios.certificate import NOTIONAL, Certified
from risk.quant.scenarios.coverage import expected_shortfall, summarise

Floats = NDArray[np.float64]
Tell = Callable[[str], None]

LEAD: Final = 600  # seconds from the deployment to the snapshot; a transaction a second
CHUNK: Final = 250  # accounts a call
UNCACHED: Final = 100  # accounts that are also read before scenario arrays are cached
ARRAYS_A_CALL: Final = 32
UNIT: Final = NOTIONAL * exact.WAD
FIELDS: Final = tuple(f.name for f in fields(Margin))  # in the order of IMargin.Margin


@dataclass(frozen=True)
class Difference:
    """Where the chain and the model disagree on a portfolio; `margin` where the call reverted."""

    portfolio: int
    field: str
    chain: str
    model: str

    def __str__(self) -> str:
        return (
            f"portfolio {self.portfolio}, {self.field}: {self.chain} on chain, "
            f"{self.model} in the model"
        )


class Market:
    """A vault with the market of a model's state, brought up by real transactions.

    `vault` is a model that went through the same actions. `ChainError` where one is refused."""

    def __init__(self, chain: Chain, spec: WorldSpec, snapshot: int) -> None:
        self.chain = chain
        self.deployment: Deployment = deploy_world(
            chain, Random(0), spec=spec, signers=1, token="TestToken"
        )
        self.vault = Vault(self.deployment.state, self.deployment.world)
        self.now = spec.now
        self.transactions = 0
        for action in setup_actions(self, None):
            self._act(action)
        every = list(range(len(spec.underlyings)))
        make = ActionMaker(self)
        self._act(
            make.vault(
                "refresh",
                "every underlying",
                ANYBODY,
                "refresh",
                (every,),
                lambda v: v.refresh(ANYBODY, every),
                wait=snapshot - self.now,
            )
        )

    def _act(self, action: VaultAction) -> None:
        self.vault.world.timestamp = self.now = action.time
        action.on_model(self.vault)
        self._send(action.sender, action.contract, action.calldata(), action.describe())

    def _send(self, sender: int, contract: int, data: bytes, what: str) -> None:
        to = contract or self.deployment.vault
        sent = self.chain.transact(sender, to, data, self.now, output=False)
        if not sent.outcome.ok:
            raise ChainError(f"{what}: refused with {sent.outcome.error}")
        self.transactions += 1

    def compute_arrays(self, options: Sequence[int]) -> None:
        """Caches the scenario arrays of these options in the vault, by transactions."""
        encode = self.chain.vault_functions["computeArrays"].encode
        for i in range(0, len(options), ARRAYS_A_CALL):
            self.now += 1
            self._send(ANYBODY, 0, encode(options[i : i + ARRAYS_A_CALL]), "computeArrays")

    def margins(self, accounts: Mapping[int, Account]) -> list[Outcome]:
        """`margin` of accounts (any number) that are in the storage of the vault for this call
        only. The slots of these accounts must be empty in the vault itself."""
        storage: dict[int, int] = {}
        for number, account in accounts.items():
            storage |= account_words(number, account)
        function = self.chain.vault_functions["margin"]
        calls = [function.encode(number) for number in accounts]
        read = Call(self.chain.batch_reader, self.chain.reader.encode(self.deployment.vault, calls))
        block = Block([read], self.now + 1, {self.deployment.vault: storage})
        ((result,),) = self.chain.simulate([block])
        return self.chain.decode_views(result)

    def decoded(self, answer: Outcome) -> Margin:
        """The margin of an answer that is no revert."""
        values = self.chain.vault_functions["margin"].decode(answer.data)[0]
        named = dict(zip(FIELDS, values, strict=True))
        return Margin(**{**named, "has_obligations": bool(named["has_obligations"])})

    def params(self) -> dict[str, str]:
        """Pointer of the risk parameters in force, keccak256 of the code there, SHA-256 of the blob
        that the vault reads from it."""
        function = self.chain.vault_functions["riskParams"]
        answer = self.chain.call(self.deployment.vault, function.encode())
        if not answer.ok:
            raise ChainError(f"riskParams: {answer.error}")
        pointer, blob = function.decode(answer.data)
        code = self.chain.rpc.call("eth_getCode", address(pointer), "latest")
        return {
            "params_pointer": address(pointer),
            "params_code_keccak256": keccak(from_hex(code)).hex(),
            "blob_sha256": hashlib.sha256(blob).hexdigest(),
        }


def require_tools() -> None:
    """Raises `ToolchainError` where Anvil or the compiled contracts are missing: before a fit of
    minutes, not after it."""
    anvil_binary()
    load_artifacts(project_root())


def certify_on_chain(
    certified: Certified, alpha: float, tell: Tell = lambda _: None
) -> dict[str, Any]:
    """The part `on_chain` of the certificate: hold-out portfolios on a vault of their own.

    `differences` counts fields, `first_difference` says where the first is (None: nowhere);
    `not_zero` in how many portfolios each compared field is not zero on chain; `scan` is the
    coverage of the float ES (level `alpha`) by the Scan that the contract returned. Everything but
    `seconds` is the same in every run. `ChainError` where the node or a transaction of the set-up
    fails, or the vault reads back other parameters.
    """
    started = clock.monotonic()
    chain = Chain(timestamp=certified.time - 2 * LEAD)
    try:
        chain.open()
        market = Market(chain, world_of(certified.state, certified.time), certified.time)
        tell(f"a vault on chain {chain.node.chain_id} with the certified parameters")
        return _judge(market, certified, alpha, started)
    finally:
        chain.close()


def world_of(state: State, snapshot: int) -> WorldSpec:
    """What must be listed, reported and set for a vault to be in this state at `snapshot`."""
    if state.params is None:
        raise ChainError("a state without risk parameters has no margin")
    underlyings = []
    for u, item in enumerate(state.underlyings):
        buckets = [
            _bucket(key & 0xFFFF, bucket)
            for key, bucket in sorted(state.buckets.items())
            if key >> 16 == u
        ]
        answer = item.price_wad * 10**item.feed_decimals // exact.WAD
        underlyings.append(UnderlyingSpec(item.feed_decimals, answer, tuple(buckets)))
    params = as_fields(state.params)
    return WorldSpec(snapshot - LEAD, state.cash_decimals, tuple(underlyings), (), params)


def _bucket(day: int, bucket: Bucket) -> BucketSpec:
    svi = (bucket.a_e9, bucket.b_e9, bucket.rho_e9, bucket.m_e9, bucket.sigma_e9)
    strikes = tuple(bucket.strikes_wad)
    return BucketSpec(day, bucket.forward_ratio_wad, bucket.discount_wad, svi, strikes)


def as_fields(params: RiskParams) -> Params:
    """The same parameters for the generator's own encoder; the tail is off."""
    plain = {
        name: getattr(params, name)
        for name in ("im_factor_bps", "target_bps", "reward_base_bps", "reward_slope_bps")
    }
    out = Params(**plain, reward_max_bps=params.reward_max_bps, weights=list(params.weights_bps))
    for u in params.underlyings:
        numbers = {name: value for name, value in vars(u).items() if not name.endswith("_lanes")}
        price, vol = list(u.price_lanes), list(u.vol_lanes)
        out.underlyings.append(UnderlyingParams(**numbers, price_lanes=price, vol_lanes=vol))
    out.collaterals.extend(CollateralParams(**vars(c)) for c in params.collaterals)
    return out


def accounts_of(certified: Certified) -> dict[int, Account]:
    """The hold-out portfolios by account number, in their order."""
    book, state = certified.calibration.book, certified.state
    ids = exact.instruments(book, certified.time)
    return {
        exact.ACCOUNT | i << 40: exact.account_of(row, book, state, ids, NOTIONAL)
        for i, row in enumerate(certified.sizes)
    }


@dataclass(frozen=True)
class Compared:
    """Differences in the order of the portfolios, and the margins that the contract gave (None
    where it reverted)."""

    differences: tuple[Difference, ...]
    margins: tuple[Margin | None, ...]


def compare(market: Market, answers: Sequence[Outcome], model: Sequence[Margin]) -> Compared:
    """Every field of every margin; a revert where the model has a margin is a difference."""
    found: list[Difference] = []
    margins: list[Margin | None] = []
    for i, (answer, expected) in enumerate(zip(answers, model, strict=True)):
        if not answer.ok:
            found.append(Difference(i, "margin", f"reverted with {answer.error}", str(expected)))
            margins.append(None)
            continue
        margin = market.decoded(answer)
        margins.append(margin)
        if margin != expected:
            found += [
                Difference(i, name, str(getattr(margin, name)), str(getattr(expected, name)))
                for name in FIELDS
                if getattr(margin, name) != getattr(expected, name)
            ]
    return Compared(tuple(found), tuple(margins))


def _judge(market: Market, certified: Certified, alpha: float, started: float) -> dict[str, Any]:
    params = market.params()
    blob = hashlib.sha256(certified.params.blob).hexdigest()
    if params["blob_sha256"] != blob:
        raise ChainError(f"the vault reads back parameters {params['blob_sha256']}, not {blob}")
    accounts = accounts_of(certified)
    options = sorted({o.instrument for a in accounts.values() for o in a.options})
    items = list(accounts.items())
    ready = clock.monotonic()
    uncached = market.margins(dict(items[:UNCACHED]))
    market.compute_arrays(options)
    cached: list[Outcome] = []
    for i in range(0, len(items), CHUNK):
        cached += market.margins(dict(items[i : i + CHUNK]))
    read = clock.monotonic()
    model = [margin_engine.compute(certified.state, number, a) for number, a in items]
    first_way = compare(market, uncached, model[:UNCACHED])
    compared = compare(market, cached, model)
    differences = (*first_way.differences, *compared.differences)
    scan = np.array([m.scan / UNIT if m else 0.0 for m in compared.margins])
    es = expected_shortfall(certified.sizes, certified.calibration.problem.changes, alpha)
    return {
        "chain_id": market.chain.node.chain_id,
        "vault": address(market.deployment.vault),
        **params,
        "snapshot_time": certified.time,
        "transactions": market.transactions,
        "options": len(options),
        "portfolios": len(items),
        "without_cached_arrays": len(uncached),
        "differences": len(differences),
        "first_difference": str(differences[0]) if differences else None,
        "not_zero": {
            name: sum(bool(getattr(m, name)) for m in compared.margins if m) for name in FIELDS
        },
        "scan": asdict(summarise(scan, es, 0.0)),
        "seconds": {
            "set_up": round(ready - started, 1),
            "reading": round(read - ready, 1),
            "model": round(clock.monotonic() - read, 1),
        },
    }
