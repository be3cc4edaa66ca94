"""Deploys the whole system and checks everything back: one public function, `deploy`.

Order: preflight (nothing sent) → mock tokens and feeds (local nets) → libraries in link order →
vault → listings → risk parameters → signers → expiries → first reports or snapshots → read-back.
Only then is there a record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_account.signers.local import LocalAccount

from risk.chain.abi import Errors, Function, functions
from risk.chain.keccak import keccak
from risk.chain.rpc import from_hex
from risk.deploy.artifacts import constructor_inputs, creation_code, link_order
from risk.deploy.config import DeployConfig, Feed, Token
from risk.deploy.errors import DeployError, PreflightError, TransactionError
from risk.deploy.preflight import live_price, preflight, timestamp
from risk.deploy.quantise import quantise
from risk.deploy.readback import Deployed, read_back
from risk.deploy.record import (
    CollateralRecord,
    ContractRecord,
    DeploymentRecord,
    ExpiryRecord,
    StepRecord,
    UnderlyingRecord,
)
from risk.deploy.reports import (
    ListedExpiry,
    first_report,
    local_key,
    resolve_expiries,
    sign_digest,
)
from risk.deploy.sender import Sender, wait_for
from risk.errors import PlumblineError, RevertError, RpcError

VAULT = "Vault"
TOKEN = "MockToken"
FEED = "MockFeed"
STRIKES_PER_CALL = 50  # each strike fills the slots of a call and a put (about 200 000 gas)

Progress = Callable[[str], None]


def deploy(
    config: DeployConfig, sender: Sender, progress: Progress = lambda _: None
) -> DeploymentRecord:
    """Deploys `config` and returns the record, which the caller writes; an error means none."""
    params = quantise(config)
    preflight(config, sender)
    run = _Run(config, sender, progress)
    try:
        return run.everything(params.encode())
    except PlumblineError:
        if run.contracts:
            left = ", ".join(f"{c.name} {c.address}" for c in run.contracts)
            progress(f"stopped; without a record on chain {sender.rpc.chain_id()}: {left}")
        raise


@dataclass
class _Run:
    """State of one deployment in progress."""

    config: DeployConfig
    sender: Sender
    progress: Progress
    contracts: list[ContractRecord] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    cash: str = ""
    tokens: list[str] = field(default_factory=list)
    feeds: list[str] = field(default_factory=list)
    rate_feeds: list[str | None] = field(default_factory=list)
    vault_address: str = ""
    listed: list[list[ListedExpiry]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.signer_addresses = _signers(self.config, self.sender.address)
        abi = self.sender.artifact(VAULT).abi
        self._functions: dict[str, Function] = functions(abi)
        libraries = link_order(VAULT, self.sender.artifact)
        self._errors = Errors([abi, *(self.sender.artifact(name).abi for name in libraries)])

    def everything(self, blob: bytes) -> DeploymentRecord:
        """All steps in order, the read-back, the record."""
        self.mocks()
        self.libraries()
        self.vault()
        self.listings()
        self.parameters(blob)
        self.signers()
        self.expiries()
        self.snapshots()
        self.progress("reading everything back")
        return self.record(blob, read_back(self.deployed(blob), self.sender))

    # ------------------------------------------------------------------ steps

    def mocks(self) -> None:
        """Tokens and feeds that exist only on local nets."""
        self.cash = self._token(self.config.cash)
        self.tokens = [self._token(c.token) for c in self.config.collaterals]
        self.feeds = [self._feed(u.feed, u.name) for u in self.config.underlyings]
        self.rate_feeds = [
            self._feed(c.rate_feed, f"{c.token.symbol} rate") if c.rate_feed else None
            for c in self.config.collaterals
        ]

    def libraries(self) -> None:
        for name in link_order(VAULT, self.sender.artifact):
            self.links[name] = self._deploy(name, "library", "", [])

    def vault(self) -> None:
        known = {"owner": self.sender.address, "cashtoken": self.cash, "cash": self.cash}
        arguments = []
        for name, _ in constructor_inputs(self.sender.artifact(VAULT)):
            key = name.strip("_").lower()
            if key not in known:
                raise DeployError(
                    f"the vault's constructor asks for {name!r}, which is not known here"
                )
            arguments.append(known[key])
        self.vault_address = self._deploy(VAULT, "vault", "", arguments)

    def listings(self) -> None:
        for underlying, feed in zip(self.config.underlyings, self.feeds, strict=True):
            self._call(f"list underlying {underlying.name}", "listUnderlying", int(feed, 16))
        names = [u.name for u in self.config.underlyings]
        for collateral, token, rate in zip(
            self.config.collaterals, self.tokens, self.rate_feeds, strict=True
        ):
            index = names.index(collateral.underlying)
            rate_value = int(rate, 16) if rate else 0
            step = f"list collateral {collateral.token.symbol}"
            self._call(step, "listCollateral", int(token, 16), index, rate_value)

    def parameters(self, blob: bytes) -> None:
        self._call("set risk parameters", "setRiskParams", blob)

    def signers(self) -> None:
        values = [int(a, 16) for a in self.signer_addresses]
        self._call("set signers", "setSigners", values, self.config.signers.threshold)

    def expiries(self) -> None:
        now = timestamp(self.sender)
        for index, (underlying, feed) in enumerate(
            zip(self.config.underlyings, self.feeds, strict=True)
        ):
            price = live_price(self.sender, feed, underlying.feed.decimals)
            where = f"underlyings[{index}]"
            resolved = resolve_expiries(underlying, price, now, where)
            self.listed.append(resolved)
            for expiry in resolved:
                strikes = expiry.strikes_wad
                for at in range(0, len(strikes), STRIKES_PER_CALL):
                    part = strikes[at : at + STRIKES_PER_CALL]
                    step = f"list {underlying.name} expiry {expiry.day}, {len(part)} strikes"
                    self._call(step, "listExpiry", index, expiry.day, part)

    def snapshots(self) -> None:
        """First signed reports where the keys are known, else a first snapshot of the feed."""
        keys = _local_keys(self.config)[: self.config.signers.threshold]
        able = len(keys) == self.config.signers.threshold
        for index, underlying in enumerate(self.config.underlyings):
            report = first_report(index, self.listed[index], timestamp(self.sender))
            if report is None or not able:
                self._call(f"refresh {underlying.name}", "refresh", [index])
                continue
            digest = self._read("hashReport", report)[0].to_bytes(32, "big")
            signatures = sign_digest(digest, keys)
            self._call(f"report {underlying.name}", "submitReport", report, signatures)

    # ---------------------------------------------------------------- helpers

    def _token(self, token: Token) -> str:
        if token.address is not None:
            return token.address
        return self._deploy(TOKEN, "token", token.symbol, [token.decimals, 0, 0])

    def _feed(self, feed: Feed, label: str) -> str:
        if feed.address is not None:
            return feed.address
        assert feed.price is not None
        answer = int(feed.price * 10**feed.decimals)
        now = timestamp(self.sender)
        return self._deploy(FEED, "feed", label, [feed.decimals, answer, now])

    def _deploy(self, name: str, kind: Any, label: str, arguments: Sequence[Any]) -> str:
        step = f"deploy {name}{' ' + label if label else ''}"
        self.progress(step)
        artifact = self.sender.artifact(name)
        links = {library: self.links[library] for library in artifact.libraries}
        receipt = self._receipt(step, lambda: self.sender.deploy(name, arguments, links))
        address = str(receipt["contractAddress"])
        sent = wait_for(self.sender.rpc, "eth_getTransactionByHash", receipt["transactionHash"])
        creation = from_hex(sent["input"])
        if creation != creation_code(artifact, arguments, links):
            raise TransactionError(step, "the creation code on chain is not what was asked for")
        self.contracts.append(
            ContractRecord(
                name=name,
                kind=kind,
                label=label,
                address=address,
                constructor=[str(a) for a in arguments],
                libraries=links,
                transaction=receipt["transactionHash"],
                block=int(receipt["blockNumber"], 16),
                gas_used=int(receipt["gasUsed"], 16),
                creation_hash="0x" + keccak(creation).hex(),
                runtime_hash="0x" + keccak(self.sender.rpc.code(address)).hex(),
            )
        )
        return self.contracts[-1].address

    def _call(self, step: str, name: str, *arguments: Any) -> None:
        self.progress(step)
        data = self._functions[name].encode(*arguments)
        receipt = self._receipt(step, lambda: self.sender.send(self.vault_address, data))
        self.steps.append(
            StepRecord(
                step=step,
                transaction=receipt["transactionHash"],
                block=int(receipt["blockNumber"], 16),
                gas_used=int(receipt["gasUsed"], 16),
            )
        )

    def _read(self, name: str, *arguments: Any) -> list[Any]:
        call = self._functions[name]
        return call.decode(self.sender.rpc.eth_call(self.vault_address, call.encode(*arguments)))

    def _receipt(self, step: str, send: Callable[[], str]) -> Mapping[str, Any]:
        try:
            receipt: Mapping[str, Any] = wait_for(
                self.sender.rpc, "eth_getTransactionReceipt", send()
            )
        except RevertError as error:
            raise TransactionError(step, f"reverted: {self._errors.show(error.data)}") from error
        except RpcError as error:
            raise TransactionError(step, str(error)) from error
        if int(receipt["status"], 16) != 1:
            raise TransactionError(
                step, f"transaction {receipt['transactionHash']} failed on chain"
            )
        return receipt

    # ---------------------------------------------------------------- results

    def deployed(self, blob: bytes) -> Deployed:
        """What the read-back compares the chain with."""
        return Deployed(
            config=self.config,
            vault=self.vault_address,
            owner=self.sender.address,
            cash=self.cash,
            feeds=self.feeds,
            tokens=self.tokens,
            rate_feeds=self.rate_feeds,
            expiries=self.listed,
            signers=self.signer_addresses,
            blob=blob,
            contracts={c.address: c.name for c in self.contracts},
        )

    def record(self, blob: bytes, pointer: str) -> DeploymentRecord:
        """The record of this run."""
        names = [u.name for u in self.config.underlyings]
        return DeploymentRecord(
            version=1,
            name=self.config.name,
            chain_id=self.sender.rpc.chain_id(),
            deployer=self.sender.address,
            owner=self.sender.address,
            block=self.steps[-1].block,
            timestamp=timestamp(self.sender),
            vault=self.vault_address,
            cash_token=self.cash,
            cash_decimals=self.config.cash.decimals,
            config_hash=self.config.config_hash(),
            params_hash="0x" + keccak(blob).hex(),
            params_pointer=pointer,
            signers=self.signer_addresses,
            signer_threshold=self.config.signers.threshold,
            underlyings=[
                UnderlyingRecord(
                    index=i,
                    name=u.name,
                    feed=self.feeds[i],
                    feed_decimals=u.feed.decimals,
                    expiries=[
                        ExpiryRecord(day=e.day, strikes_wad=[str(k) for k in e.strikes_wad])
                        for e in self.listed[i]
                    ],
                )
                for i, u in enumerate(self.config.underlyings)
            ],
            collaterals=[
                CollateralRecord(
                    index=j,
                    symbol=c.token.symbol,
                    token=self.tokens[j],
                    decimals=c.token.decimals,
                    underlying=names.index(c.underlying),
                    rate_feed=self.rate_feeds[j],
                )
                for j, c in enumerate(self.config.collaterals)
            ],
            contracts=self.contracts,
            steps=self.steps,
        )


def _local_keys(config: DeployConfig) -> list[LocalAccount]:
    return [local_key(i) for i in range(config.signers.local_keys)]


def _signers(config: DeployConfig, deployer: str) -> list[str]:
    """Report signers in the order the vault wants them: ascending, each once."""
    wanted = {*config.signers.addresses, *(k.address for k in _local_keys(config))}
    if config.signers.include_deployer:
        wanted.add(deployer)
    threshold = config.signers.threshold
    if len(wanted) < threshold:
        count = len(wanted)
        raise PreflightError(f"signers.threshold: {threshold} is above the {count} distinct ones")
    return sorted(wanted, key=lambda a: int(a, 16))
