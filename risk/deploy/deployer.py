"""Deploys the whole system and checks everything back: one public function, `deploy`.

Order: preflight (nothing sent) → mock tokens and feeds (local nets) → libraries in link order →
vault → listings → risk parameters → signers → expiries → first reports or snapshots → read-back →
timelock and governor, where asked for, with their read-back → hand-over of the ownership →
read-back of the owner.  Only then is there a record.  Every step is sent exactly once (`once`), so
a run that was interrupted anywhere goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from risk.chain.abi import Errors, Function, functions
from risk.chain.keccak import keccak
from risk.chain.rpc import from_hex
from risk.deploy.artifacts import (
    FEED,
    GOVERNOR,
    TIMELOCK,
    TOKEN,
    VAULT,
    all_contracts,
    code_hash,
    constructor_data,
    constructor_inputs,
    creation_code,
    libraries_of,
    vault_abi,
)
from risk.deploy.config import DeployConfig, Feed, Token
from risk.deploy.errors import DeployError, JournalError, PreflightError, TransactionError
from risk.deploy.governance import Deployed as Governed
from risk.deploy.governance import check_governance, governor_arguments, timelock_arguments
from risk.deploy.journal import Header, Journal
from risk.deploy.once import Once, Receipt, Send
from risk.deploy.preflight import live_price, preflight, timestamp
from risk.deploy.quantise import quantise
from risk.deploy.readback import Deployed, read_back, read_owner
from risk.deploy.record import ContractRecord, DeploymentRecord, GovernanceRecord, StepRecord
from risk.deploy.recording import System, make_record
from risk.deploy.reports import (
    ListedExpiry,
    first_report,
    local_key,
    local_keys,
    resolve_expiries,
    sign_digest,
)
from risk.deploy.sender import Sender, wait_for
from risk.errors import PlumblineError

STRIKES_PER_CALL = 50  # each strike fills the slots of a call and a put (about 200 000 gas)
WAD = 10**18

Progress = Callable[[str], None]


def deploy(
    config: DeployConfig,
    sender: Sender,
    progress: Progress = lambda _: None,
    journal: Journal | None = None,
) -> DeploymentRecord:
    """Deploys `config` and returns the record, which the caller writes; an error means none.

    With a `journal` of an earlier run of the same deployment it goes on from there; the caller
    removes the journal when the record is written.
    """
    params = quantise(config)
    signers_of(config, sender.address)
    kept = journal if journal is not None else Journal()
    preflight(config, sender)
    header = begin(config, sender, kept, progress)
    run = _Run(config, sender, progress, kept, header)
    try:
        return run.everything(params.encode())
    except PlumblineError:
        if kept.path is not None:
            progress(f"stopped; the same command goes on from here ({kept.path})")
        elif run.at.contracts:
            left = ", ".join(f"{c.name} {c.address}" for c in run.at.contracts)
            progress(f"stopped; without a record on chain {sender.rpc.chain_id()}: {left}")
        raise


def begin(config: DeployConfig, sender: Sender, journal: Journal, progress: Progress) -> Header:
    """The journal's header: that of the unfinished deployment, or a new one.

    `JournalError` where the journal belongs to another deployment; on a local net that one is
    forgotten.
    """
    number = sender.rpc.block_number()
    prices = [
        _mock_price(u.feed)
        if u.feed.address is None
        else live_price(sender, u.feed.address, u.feed.decimals)
        for u in config.underlyings
    ]
    header = Header(
        version=1,
        config_hash=config.config_hash(),
        code_hash=code_hash(config, sender.artifact),
        chain_id=sender.rpc.chain_id(),
        genesis=sender.rpc.call("eth_getBlockByNumber", "0x0", False)["hash"],
        deployer=sender.address,
        block=number,
        timestamp=timestamp(sender),
        prices_wad=[str(p) for p in prices],
    )
    if journal.header is not None:
        others = journal.header.same_deployment(header)
        if not others:
            progress(f"going on with an unfinished deployment: {len(journal.done)} steps are done")
            return journal.header
        if not config.local:
            raise JournalError(
                f"{journal.path}: is of another deployment (differs in {', '.join(others)}); "
                "finish that one with its own configuration and code, or move the file away"
            )
        progress(f"forgetting an unfinished deployment that differs in {', '.join(others)}")
    listed_expiries(config, header)
    journal.begin(header)
    return header


def listed_expiries(config: DeployConfig, header: Header) -> list[list[ListedExpiry]]:
    """Expiries and strikes at the prices and the time of the first run."""
    return [
        resolve_expiries(u, int(price), header.timestamp, f"underlyings[{i}]")
        for i, (u, price) in enumerate(zip(config.underlyings, header.prices_wad, strict=True))
    ]


def _mock_price(feed: Feed) -> int:
    """What a mock feed answers, in WAD."""
    scale: int = 10**feed.decimals
    return _answer(feed) * WAD // scale


def _answer(feed: Feed) -> int:
    assert feed.price is not None
    return int(feed.price * 10**feed.decimals)


@dataclass
class _Run:
    """State of one deployment in progress."""

    config: DeployConfig
    sender: Sender
    progress: Progress
    journal: Journal
    header: Header
    links: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.signer_addresses = signers_of(self.config, self.sender.address)
        self.at = System(deployer=self.sender.address, owner=self.sender.address)
        self._functions: dict[str, Function] = functions(vault_abi(self.sender.artifact))
        names = all_contracts(self.config, self.sender.artifact)
        errors = Errors([self.sender.artifact(name).abi for name in names])
        self._once = Once(self.sender, self.journal, errors)
        self.listed = listed_expiries(self.config, self.header)

    def everything(self, blob: bytes) -> DeploymentRecord:
        """All steps in order, the read-back, the hand-over, the record."""
        self.mocks()
        self.libraries()
        self.vault()
        self.listings()
        self.parameters(blob)
        self.signers()
        self.sequencer()
        self.expiries()
        self.snapshots()
        self.progress("reading everything back")
        pointer = read_back(self.deployed(blob), self.sender)
        self.governance()
        self.hand_over()
        return self.record(blob, pointer)

    # ------------------------------------------------------------------ steps

    def mocks(self) -> None:
        """Tokens and feeds that exist only on local nets."""
        self.at.cash = self._token(self.config.cash)
        self.at.tokens = [self._token(c.token) for c in self.config.collaterals]
        self.at.feeds = [self._feed(u.feed, u.name) for u in self.config.underlyings]
        self.at.rate_feeds = [
            self._feed(c.rate_feed, f"{c.token.symbol} rate") if c.rate_feed else None
            for c in self.config.collaterals
        ]

    def libraries(self) -> None:
        for name in libraries_of(self.config, self.sender.artifact):
            self.links[name] = self._deploy(name, "library", "", [])

    def vault(self) -> None:
        known = {"owner": self.sender.address, "cashtoken": self.at.cash, "cash": self.at.cash}
        arguments = []
        for argument in constructor_inputs(self.sender.artifact(VAULT)):
            key = argument["name"].strip("_").lower()
            if key not in known:
                raise DeployError(
                    f"the vault's constructor asks for {key!r}, which is not known here"
                )
            arguments.append(known[key])
        self.at.vault = self._deploy(VAULT, "vault", "", arguments)

    def listings(self) -> None:
        for underlying, feed in zip(self.config.underlyings, self.at.feeds, strict=True):
            self._call(f"list underlying {underlying.name}", "listUnderlying", int(feed, 16))
        names = [u.name for u in self.config.underlyings]
        for collateral, token, rate in zip(
            self.config.collaterals, self.at.tokens, self.at.rate_feeds, strict=True
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

    def sequencer(self) -> None:
        feed = self.config.guards.sequencer_feed
        if feed is not None:
            self._call("set sequencer feed", "setSequencerFeed", int(feed, 16))

    def expiries(self) -> None:
        for index, underlying in enumerate(self.config.underlyings):
            for expiry in self.listed[index]:
                strikes = expiry.strikes_wad
                for at in range(0, len(strikes), STRIKES_PER_CALL):
                    part = strikes[at : at + STRIKES_PER_CALL]
                    step = f"list {underlying.name} expiry {expiry.day}, {len(part)} strikes"
                    if at:
                        step += f" from {at}"
                    self._call(step, "listExpiry", index, expiry.day, part)

    def snapshots(self) -> None:
        """First signed reports where the keys are known, else a first snapshot of the feed."""
        keys = local_keys(self.config)[: self.config.signers.threshold]
        able = len(keys) == self.config.signers.threshold
        for index, underlying in enumerate(self.config.underlyings):
            if not able or first_report(index, self.listed[index], 0) is None:
                self._call(f"refresh {underlying.name}", "refresh", [index])
                continue
            self._run_call(f"report {underlying.name}", partial(self._report, index, keys))

    def _report(self, index: int, keys: Sequence[Any]) -> bytes:
        report = first_report(index, self.listed[index], timestamp(self.sender))
        digest = self._read("hashReport", report)[0].to_bytes(32, "big")
        return self._functions["submitReport"].encode(report, sign_digest(digest, keys))

    def governance(self) -> None:
        """Timelock and governor, read back before the vault is theirs."""
        wanted = self.config.governance
        if wanted is None:
            return
        timelock = self._deploy(TIMELOCK, "timelock", "", timelock_arguments(wanted))
        block = self.at.contracts[-1].block
        arguments = governor_arguments(wanted, self.at.vault, timelock)
        governor = self._deploy(GOVERNOR, "governor", "", arguments)
        self.progress("reading roles and timelock back")
        at = Governed(timelock=timelock, governor=governor, vault=self.at.vault, block=block)
        check_governance(wanted, at, self.sender)
        self.at.governance = GovernanceRecord(
            timelock=timelock,
            governor=governor,
            admin=wanted.admin,
            guardian=wanted.guardian,
            steward=wanted.steward,
            lister=wanted.lister,
        )

    def hand_over(self) -> None:
        """To the governor or `config.owner`: at once, or when the new owner asks for it."""
        wanted, direct = self.config.owner, self.config.handover == "direct"
        if self.at.governance is not None:
            wanted, direct = self.at.governance.governor, True  # known code: no need to ask
        if wanted is not None and wanted != self.at.owner:
            if direct:
                self._call("hand over ownership", "transferOwnership", int(wanted, 16))
                self.at.owner = wanted
            else:
                self.at.pending_owner = wanted
                self.progress(
                    f"the ownership waits for {wanted} to call requestOwnershipHandover() "
                    "on the vault; then complete the hand-over within 48 hours"
                )
        read_owner(self.at.vault, self.at.owner, self.sender)

    # ---------------------------------------------------------------- helpers

    def _token(self, token: Token) -> str:
        if token.address is not None:
            return token.address
        return self._deploy(TOKEN, "token", token.symbol, [token.decimals, 0, 0])

    def _feed(self, feed: Feed, label: str) -> str:
        if feed.address is not None:
            return feed.address
        arguments = [feed.decimals, _answer(feed), self.header.timestamp]
        return self._deploy(FEED, "feed", label, arguments)

    def _deploy(self, name: str, kind: Any, label: str, arguments: Sequence[Any]) -> str:
        step = f"deploy {name}{' ' + label if label else ''}"
        artifact = self.sender.artifact(name)
        links = {library: self.links[library] for library in artifact.libraries}
        creation = creation_code(artifact, arguments, links)

        def send(nonce: int, _: bytes) -> str:
            return self.sender.deploy(name, arguments, links, nonce)

        receipt = self._run_step(step, None, lambda: creation, send)
        address = str(receipt["contractAddress"])
        sent = wait_for(self.sender.rpc, "eth_getTransactionByHash", receipt["transactionHash"])
        if from_hex(sent["input"]) != creation:
            raise TransactionError(step, "the creation code on chain is not what was asked for")
        self.at.contracts.append(
            ContractRecord(
                name=name,
                kind=kind,
                label=label,
                source=artifact.source_path,
                address=address,
                constructor=[str(a) for a in arguments],
                constructor_data="0x" + constructor_data(artifact, arguments).hex(),
                libraries=links,
                transaction=receipt["transactionHash"],
                block=int(receipt["blockNumber"], 16),
                gas_used=int(receipt["gasUsed"], 16),
                creation_hash="0x" + keccak(creation).hex(),
                runtime_hash="0x" + keccak(self.sender.rpc.code(address)).hex(),
            )
        )
        self.sender.adopt(name, self.at.contracts[-1].address)
        return self.at.contracts[-1].address

    def _call(self, step: str, name: str, *arguments: Any) -> None:
        self._run_call(step, lambda: self._functions[name].encode(*arguments))

    def _run_call(self, step: str, data: Callable[[], bytes]) -> None:
        to = self.at.vault
        receipt = self._run_step(
            step, to, data, lambda nonce, payload: self.sender.send(to, payload, nonce)
        )
        self.at.steps.append(
            StepRecord(
                step=step,
                transaction=receipt["transactionHash"],
                block=int(receipt["blockNumber"], 16),
                gas_used=int(receipt["gasUsed"], 16),
            )
        )

    def _run_step(
        self,
        step: str,
        to: str | None,
        data: Callable[[], bytes],
        send: Send,
    ) -> Receipt:
        self.progress(f"{step}{' (done)' if step in self.journal.done else ''}")
        return self._once.run(step, to, data, send)

    def _read(self, name: str, *arguments: Any) -> list[Any]:
        call = self._functions[name]
        return call.decode(self.sender.rpc.eth_call(self.at.vault, call.encode(*arguments)))

    # ---------------------------------------------------------------- results

    def deployed(self, blob: bytes) -> Deployed:
        """What the read-back compares the chain with; the hand-over comes later, and may have
        happened in an earlier run.
        """
        return Deployed(
            config=self.config,
            vault=self.at.vault,
            cash=self.at.cash,
            feeds=self.at.feeds,
            tokens=self.at.tokens,
            rate_feeds=self.at.rate_feeds,
            expiries=self.listed,
            signers=self.signer_addresses,
            blob=blob,
            contracts={c.address: c.name for c in self.at.contracts},
        )

    def record(self, blob: bytes, pointer: str) -> DeploymentRecord:
        """The record of this run."""
        return make_record(
            self.config,
            self.at,
            chain_id=self.header.chain_id,
            timestamp=timestamp(self.sender),
            blob=blob,
            pointer=pointer,
            signers=self.signer_addresses,
            listed=self.listed,
        )


def signers_of(config: DeployConfig, deployer: str) -> list[str]:
    """Report signers in the order the vault wants them: ascending, each once."""
    wanted = {*config.signers.addresses}
    wanted |= {local_key(i).address for i in range(config.signers.local_keys)}
    if config.signers.include_deployer:
        wanted.add(deployer)
    threshold = config.signers.threshold
    if len(wanted) < threshold:
        count = len(wanted)
        raise PreflightError(f"signers.threshold: {threshold} is above the {count} distinct ones")
    return sorted(wanted, key=lambda a: int(a, 16))
