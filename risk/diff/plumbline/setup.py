"""Deploying a world for a sequence: tokens, feeds, one vault by raw transactions; then listing,
parameters, reports and first deposits as actions that go through model and chain alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from risk.chain import layout
from risk.chain.abi import Function, functions
from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.chain import ADMIN
from risk.diff.plumbline.draw import chance, log_int
from risk.diff.plumbline.signing import Actor, actor
from risk.diff.plumbline.tails import draw_tails
from risk.diff.plumbline.world import BucketSpec, WorldSpec, make_world
from risk.exact.market.report_hash import Slice, VolReport, digest, domain_separator
from risk.exact.state import Feed, State, World
from risk.exact.vault import Vault

UINT256_MAX = 2**256 - 1
USERS = 4


@dataclass
class Deployment:
    """Addresses and keys of one world, and the model's side of it before any action."""

    spec: WorldSpec
    vault: int
    cash: int
    tokens: list[int]
    feeds: list[int]
    rate_feeds: dict[int, int]  # collateral -> feed
    users: list[Actor]
    signers: list[Actor]
    threshold: int
    state: State
    world: World
    token_functions: dict[str, Function]
    feed_functions: dict[str, Function]
    operators: list[Actor] = field(default_factory=list)  # own nothing, may be given rights
    spare_feeds: list[int] = field(default_factory=list)  # works; has too many decimals
    spare_tokens: list[int] = field(default_factory=list)  # plain; too many decimals
    sequencer: int = 0  # an uptime feed that the vault may be told to use
    callback: int = 0  # a liquidator that is a contract
    callback_functions: dict[str, Function] = field(default_factory=dict)
    probe_early: bool = False  # the sequence begins before the set-up is complete

    @property
    def balance_of(self) -> Function:
        """``balanceOf(address)``"""
        return self.token_functions["balanceOf"]

    @property
    def accounts(self) -> list[int]:
        """Two sub-accounts of every user."""
        return [user.address << 8 | sub for user in self.users for sub in (0, 1)]


class Ground(Protocol):
    """Where a world is built: a node, or nothing but addresses."""

    rpc: Any

    @property
    def artifacts(self) -> Mapping[str, Any]:
        """Compiled contracts by name."""
        ...

    def deploy(self, name: str, *arguments: Any) -> int:
        """Address of a new contract."""
        ...

    def transact(self, sender: int, to: int, data: bytes, *, output: bool = True) -> Any:
        """A transaction that succeeds."""
        ...

    def read_words(self, contract: int, slots: Sequence[int]) -> dict[int, int]:
        """Storage words."""
        ...


def deploy_vault(chain: Ground, owner: int, cash_token: int) -> int:
    """Address of a new vault."""
    return chain.deploy("Vault", owner, cash_token)


def interest_time(words: Mapping[int, int]) -> int:
    """When the cash market of a new vault starts: the time of its deployment."""
    return words[layout.STATE_SLOT + 3] >> 64 & 2**40 - 1


def deploy_world(
    chain: Ground,
    rng: Random | None = None,
    *,
    spec: WorldSpec | None = None,
    signers: int = 0,
    token: str = "MockToken",
) -> Deployment:
    """Tokens with minted and approved balances, feeds at their first price, an empty vault.  The
    world is random unless ``spec`` is given; ``signers`` 0 means one to three of them, with a
    random threshold.
    """
    rng = rng or Random(0)
    random_world = spec is None
    if spec is None:
        spec = make_world(rng, wild=False)
        draw_tails(rng, spec)
    world = World(timestamp=spec.now)
    chain.rpc.call("evm_setNextBlockTimestamp", spec.now)
    cash = _deploy_token(chain, token, spec.cash_decimals)
    tokens = [_deploy_token(chain, token, c.decimals) for c in spec.collaterals]
    feeds = [
        chain.deploy("MockFeed", u.feed_decimals, u.answer, spec.now) for u in spec.underlyings
    ]
    rate_feeds = {
        j: chain.deploy("MockFeed", c.rate_decimals, c.rate_answer, spec.now)
        for j, c in enumerate(spec.collaterals)
        if c.rate_answer
    }
    vault = deploy_vault(chain, ADMIN, cash)
    for feed, priced in zip(feeds, spec.underlyings, strict=True):
        world.feeds[feed] = Feed(priced.feed_decimals, priced.answer, spec.now)
    for j, feed in rate_feeds.items():
        world.feeds[feed] = Feed(
            spec.collaterals[j].rate_decimals, spec.collaterals[j].rate_answer, spec.now
        )
    world.vault = vault
    token_functions = functions(chain.artifacts[token].abi)
    users = sorted((actor(f"user {i}") for i in range(USERS)), key=lambda a: a.address)
    signing = sorted(
        (actor(f"signer {i}") for i in range(signers or rng.randint(1, 3))), key=lambda a: a.address
    )
    for item, decimals in [
        (cash, spec.cash_decimals),
        *zip(tokens, (c.decimals for c in spec.collaterals), strict=True),
    ]:
        world.balances[item] = {vault: 0}
        for user in users:
            amount = 10**9 * 10**decimals
            chain.transact(
                user.address,
                item,
                token_functions["mint"].encode(user.address, amount),
                output=False,
            )
            data = token_functions["approve"].encode(vault, UINT256_MAX)
            chain.transact(user.address, item, data, output=False)
            world.balances[item][user.address] = amount
    state = State(owner=ADMIN, cash_token=cash, cash_decimals=spec.cash_decimals)
    state.interest_time = interest_time(chain.read_words(vault, [layout.STATE_SLOT + 3]))
    out = Deployment(
        spec,
        vault,
        cash,
        tokens,
        feeds,
        rate_feeds,
        users,
        signing,
        rng.randint(1, len(signing)),
        state,
        world,
        token_functions,
        functions(chain.artifacts["MockFeed"].abi),
    )
    if random_world:
        _add_extras(chain, rng, out)
    return out


def _add_extras(chain: Ground, rng: Random, d: Deployment) -> None:
    """What only random sequences use: operators, things to list, a sequencer feed."""
    d.operators = [actor(f"operator {i}") for i in range(2)]
    for decimals in (8, 37):
        answer = 50 * 10**decimals
        feed = chain.deploy("MockFeed", decimals, answer, d.spec.now)
        d.world.feeds[feed] = Feed(decimals, answer, d.spec.now)
        d.spare_feeds.append(feed)
    for decimals in (6, 19):
        token = _deploy_token(chain, "MockToken", decimals)
        d.world.balances[token] = {d.vault: 0}
        d.spare_tokens.append(token)
    since = d.spec.now - rng.choice([10, 10**6])
    d.sequencer = chain.deploy("MockFeed", 0, 0, since)
    d.world.feeds[d.sequencer] = Feed(0, 0, since)
    d.callback = chain.deploy("LiquidationCallbackMock")
    d.callback_functions = functions(chain.artifacts["LiquidationCallbackMock"].abi)
    amount = 10**9 * 10**d.spec.cash_decimals
    mint = d.token_functions["mint"].encode(d.callback, amount)
    chain.transact(d.callback, d.cash, mint, output=False)
    approve = d.token_functions["approve"].encode(d.vault, UINT256_MAX)
    chain.transact(d.callback, d.cash, approve, output=False)
    d.world.balances[d.cash][d.callback] = amount
    d.probe_early = chance(rng, 8)


def _deploy_token(chain: Ground, name: str, decimals: int) -> int:
    """``MockToken`` for its vices, ``TestToken`` as a plain ERC-20."""
    return chain.deploy(
        name, *((decimals, 0, 0) if name == "MockToken" else (b"Test token", b"TEST", decimals))
    )


# ── set-up as actions ────────────────────────────────────────────────────────────────────────────


class Driven(Protocol):
    """What the set-up needs to know of a session."""

    chain: Any
    deployment: Deployment
    vault: Vault

    @property
    def now(self) -> int:
        """Time of the last block."""
        ...


def setup_actions(session: Driven, rng: Random | None) -> Iterator[VaultAction]:
    """Listing, parameters, signers, one report per underlying; with ``rng`` also first deposits.
    Lazy: reads the session as it grows.
    """
    d, make = session.deployment, ActionMaker(session)
    for feed in d.feeds:
        yield make.vault(
            "list",
            "underlying",
            ADMIN,
            "listUnderlying",
            (feed,),
            lambda v, f=feed: v.list_underlying(ADMIN, f),
        )
    for u, item in enumerate(d.spec.underlyings):
        for bucket in item.buckets:
            for run in bucket.listings():
                args = (u, bucket.expiry_day, run)
                yield make.vault(
                    "list",
                    "expiry",
                    ADMIN,
                    "listExpiry",
                    args,
                    lambda v, a=args: v.list_expiry(ADMIN, *a),
                )
    for j, c in enumerate(d.spec.collaterals):
        args3 = (d.tokens[j], c.underlying, d.rate_feeds.get(j, 0))
        yield make.vault(
            "list",
            "collateral",
            ADMIN,
            "listCollateral",
            args3,
            lambda v, a=args3, n=c.decimals: v.list_collateral(ADMIN, *a, n),
        )
    blob = d.spec.params.blob()
    yield make.vault(
        "params", "first", ADMIN, "setRiskParams", (blob,), lambda v: v.set_risk_params(ADMIN, blob)
    )
    addresses = [s.address for s in d.signers]
    yield make.vault(
        "signers",
        "first",
        ADMIN,
        "setSigners",
        (addresses, d.threshold),
        lambda v: v.set_signers(ADMIN, addresses, d.threshold),
    )
    for u, item in enumerate(d.spec.underlyings):
        yield make.feed(u, item.answer, 0)
        yield make.report(u, 1, [slice_of(b) for b in item.buckets], d.signers[: d.threshold])
    if rng is None:
        return
    for account in d.accounts:
        scale = 10**d.spec.cash_decimals
        yield make.deposit(account, d.cash, log_int(rng, 10_000, 10**6) * scale)
        for j, token in enumerate(d.tokens):
            if chance(rng, 35):
                price = d.spec.underlyings[d.spec.collaterals[j].underlying].price_wad
                amount = 10**5 * 10**18 * 10 ** d.spec.collaterals[j].decimals // price
                yield make.deposit(
                    account, token, max(1, min(amount, 10 ** (d.spec.collaterals[j].decimals + 2)))
                )
    insurance = log_int(rng, 1, 10**5) * 10**d.spec.cash_decimals
    funder = d.users[0].address
    yield make.vault(
        "fundInsurance",
        str(insurance),
        funder,
        "fundInsurance",
        (insurance,),
        lambda v: v.fund_insurance(funder, insurance),
    )


def slice_of(bucket: BucketSpec) -> Slice:
    """The slice a report carries."""
    return Slice(bucket.expiry_day, bucket.forward_ratio_wad, bucket.discount_wad, *bucket.svi_e9)


class ActionMaker:
    """Builds actions for a session, each one second (or more) after the last block."""

    def __init__(self, session: Driven) -> None:
        self.session = session

    def vault(
        self,
        kind: str,
        text: str,
        sender: int,
        name: str,
        args: tuple[Any, ...] | Callable[[], tuple[Any, ...]],
        on_model: Any,
        wait: int = 1,
    ) -> VaultAction:
        """A call of the vault."""
        function = self.session.chain.vault_functions[name]
        return VaultAction(kind, text, sender, self.session.now + wait, function, args, on_model)

    def feed(self, u: int, answer: int, wait: int = 1, *, age: int = 0) -> VaultAction:
        """A new answer of the index feed of ``u``, dated now (or ``age`` seconds ago)."""
        feed = self.session.deployment.feeds[u]
        return self.any_feed("price", f"underlying {u} = {answer}", feed, answer, wait, age=age)

    def any_feed(
        self, kind: str, text: str, feed: int, answer: int, wait: int = 1, *, age: int = 0
    ) -> VaultAction:
        """A new answer of any feed; ``age`` may be negative: dated in the future."""
        time = self.session.now + max(1, wait)
        stamp = max(0, time - age)

        def on_model(vault: Any) -> None:
            vault.world.feeds[feed].answer = answer
            vault.world.feeds[feed].updated_at = stamp

        function = self.session.deployment.feed_functions["set"]
        return VaultAction(kind, text, ADMIN, time, function, (answer, stamp), on_model, feed)

    def outage(self, feed: int, fails: bool) -> VaultAction:
        """The feed reverts from now on, or works again."""

        def on_model(vault: Any) -> None:
            vault.world.feeds[feed].reverts = fails

        function = self.session.deployment.feed_functions["setMode"]
        time = self.session.now + 1
        text = f"feed {feed:#x} {'fails' if fails else 'works again'}"
        return VaultAction("outage", text, ADMIN, time, function, (int(fails),), on_model, feed)

    def report(
        self,
        u: int,
        nonce: int,
        slices: list[Slice],
        signers: list[Actor],
        *,
        time: int | None = None,
        confidence: int = 10,
        premium: int = 0,
        kind: str = "report",
    ) -> VaultAction:
        """A signed report dated at the last block (or ``time``)."""
        stamp = self.session.now if time is None else time
        report = VolReport(u, nonce, stamp, confidence, tuple(slices), premium)
        recovered = [s.address for s in signers]
        rows = [
            (
                s.expiry_day,
                s.forward_ratio_wad,
                s.discount_wad,
                s.a_e9,
                s.b_e9,
                s.rho_e9,
                s.m_e9,
                s.sigma_e9,
            )
            for s in slices
        ]

        def signed() -> tuple[Any, ...]:
            hash_ = digest(domain_separator(self.session.vault.world), report)
            signatures = [s.sign(hash_) for s in signers]
            return (u, nonce, stamp, confidence, rows, premium), signatures

        sender = self.session.deployment.users[0].address
        return self.vault(
            kind,
            f"underlying {u} nonce {nonce}, {len(rows)} slices, {len(signers)} signatures",
            sender,
            "submitReport",
            signed,
            lambda v: v.submit_report(sender, report, recovered),
        )

    def deposit(
        self, account: int, token: int, amount: int, sender: int | None = None
    ) -> VaultAction:
        """A deposit by the owner, or by ``sender``."""
        who = account >> 8 if sender is None else sender
        args = (account, token, amount)
        return self.vault(
            "deposit",
            f"{amount} of {token:#x}",
            who,
            "deposit",
            args,
            lambda v: v.deposit(who, *args),
        )
