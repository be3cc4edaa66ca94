"""Sessions of a given world, driven by recorded steps: on model and node, or on two models."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any
from unittest.mock import patch

from risk.chain import views
from risk.chain.abi import functions
from risk.diff.adapter import Mismatch, Observation, Outcome, Value
from risk.diff.compare import NO_TOLERANCE
from risk.diff.kit.errors import DiffError
from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.faults import Fault, planted
from risk.diff.plumbline.lone import Nowhere
from risk.diff.plumbline.model import attempt
from risk.diff.plumbline.model_session import ModelSession
from risk.diff.plumbline.replay_steps import (
    VAULT,
    Signed,
    VaultStep,
    places_of,
    resolved,
)
from risk.diff.plumbline.replay_worlds import (
    VaultWorld,
)
from risk.diff.plumbline.sequence_faults import SEQUENCE_FAULTS
from risk.diff.plumbline.session import VaultSession, _fields
from risk.diff.plumbline.setup import Deployment, deploy_world
from risk.diff.plumbline.signing import actor
from risk.diff.plumbline.twin import copy_state
from risk.exact.market.report_hash import Slice, VolReport, domain_separator
from risk.exact.market.report_hash import digest as report_digest
from risk.exact.state import Feed, World
from risk.exact.trading.order_hash import Order
from risk.exact.trading.order_hash import digest as order_digest
from risk.exact.vault import Vault


class SetUpFailed(DiffError):
    """The set-up of a smaller world is refused."""


# ── sessions of a given world ────────────────────────────────────────────────────────────────────


def deployed(chain: Any, world: VaultWorld) -> Deployment:
    """The world's contracts, what random sequences add to it too."""
    d = deploy_world(chain, Random(0), spec=copy.deepcopy(world.spec), signers=world.signers)
    d.threshold = world.threshold
    for decimals in (8, 37):
        answer = 50 * 10**decimals
        feed = chain.deploy("MockFeed", decimals, answer, d.spec.now)
        d.world.feeds[feed] = Feed(decimals, answer, d.spec.now)
        d.spare_feeds.append(feed)
    for decimals in (6, 19):
        token = chain.deploy("MockToken", decimals, 0, 0)
        d.world.balances[token] = {d.vault: 0}
        d.spare_tokens.append(token)
    since = d.spec.now - world.sequencer_age
    d.sequencer = chain.deploy("MockFeed", 0, 0, since)
    d.world.feeds[d.sequencer] = Feed(0, 0, since)
    d.callback = chain.deploy("LiquidationCallbackMock")
    d.callback_functions = functions(chain.artifacts["LiquidationCallbackMock"].abi)
    amount = 10**9 * 10**d.spec.cash_decimals
    for name, arguments in (("mint", (d.callback, amount)), ("approve", (d.vault, 2**256 - 1))):
        data = d.token_functions[name].encode(*arguments)
        chain.transact(d.callback, d.cash, data, output=False)
    d.world.balances[d.cash][d.callback] = amount
    return d


def copied(d: Deployment) -> Deployment:
    """The same contracts with a model side of its own."""
    world = copy.copy(d.world)
    world.feeds = {address: copy.copy(feed) for address, feed in d.world.feeds.items()}
    world.balances = {token: dict(held) for token, held in d.world.balances.items()}
    return replace(d, state=copy_state(d.state), world=World(**vars(world)))


class Steps:
    """Turns steps into actions for a session: what both kinds of replayed session share."""

    deployment: Deployment
    vault: Vault

    def prepare(self, places: Mapping[str, int], function_table: Mapping[str, Any]) -> None:
        """Before the first step."""
        self.places = places
        self.table = function_table
        self.armed: tuple[VaultStep, ...] = ()
        d = self.deployment
        self.decimals: dict[int, int] = {d.cash: d.spec.cash_decimals}
        self.decimals |= {t: c.decimals for t, c in zip(d.tokens, d.spec.collaterals, strict=True)}
        self.decimals |= dict(zip(d.spare_tokens, (6, 19), strict=True))

    def action(self, step: VaultStep) -> VaultAction:
        """The step as an action of this session. Raises ``SetUpFailed`` where it names what the
        world lacks.
        """
        time = self.vault.world.timestamp + 1 + step.wait
        try:
            sender = resolved(step.sender, self.places, time)
            arguments = resolved(step.arguments, self.places, time)
            contract = self.places[step.contract]
            inner = tuple(self.action(item) for item in step.inner)
        except KeyError as error:
            raise SetUpFailed(f"{step.describe()}: no {error}") from error
        function = self._function(step)
        return VaultAction(
            step.kind,
            step.describe(),
            sender,
            time,
            function,
            lambda: self._given(step, arguments, inner),
            lambda v: self._on_model(v, step, sender, arguments, contract),
            0 if step.contract == VAULT else contract,
            "",
            inner,
        )

    def _function(self, step: VaultStep) -> Any:
        if step.contract == VAULT:
            return self.table[step.name]
        if step.contract == "callback":
            return self.deployment.callback_functions[step.name]
        return self.deployment.feed_functions[step.name]

    def _given(self, step: VaultStep, arguments: Any, inner: Sequence[VaultAction]) -> Any:
        """ABI arguments, with signatures."""
        if step.name == "batch":
            return ([item.calldata() for item in inner],)
        if step.name == "arm":
            return ([self.places[VAULT]] * len(inner), [item.calldata() for item in inner])
        domain = domain_separator(self.vault.world)
        if step.name == "fill":
            buy, by_buyer, sell, by_seller, size, price = arguments
            signatures = [
                _sign(mark, order_digest(domain, Order(*order)))
                for mark, order in ((by_buyer, buy), (by_seller, sell))
            ]
            return buy, signatures[0], sell, signatures[1], size, price
        if step.name == "submitReport":
            hash_ = report_digest(domain, _report(arguments[0]))
            return arguments[0], [_sign(mark, hash_) for mark in arguments[1]]
        return arguments

    def _on_model(self, v: Any, step: VaultStep, sender: int, a: Any, contract: int) -> Any:
        name = step.name
        if step.contract == "callback":
            self.armed = step.inner
            return None
        if name == "set":
            v.world.feeds[contract].answer, v.world.feeds[contract].updated_at = a
            return None
        if name == "setMode":
            v.world.feeds[contract].reverts = bool(a[0])
            return None
        if name == "batch":
            return v.batch(sender, [self._inner(item, sender) for item in step.inner])
        if name == "fill":
            orders = Order(*a[0]), Order(*a[2])
            signers = [actor(mark.actor).address for mark in (a[1], a[3])]
            return v.fill(sender, orders[0], signers[0], orders[1], signers[1], a[4], a[5])
        if name == "submitReport":
            recovered = [actor(mark.actor).address for mark in a[1]]
            return v.submit_report(sender, _report(a[0]), recovered)
        if name == "cancel":
            return v.cancel(sender, Order(*a[0]))
        if name == "listCollateral":
            return v.list_collateral(sender, *a, self.decimals.get(a[0]))
        if name in ("liquidateFlash", "liquidateLegs"):
            *plain, data = a
            method = v.liquidate_flash if name == "liquidateFlash" else v.liquidate_legs
            out = method(sender, *plain, (lambda: self._called(v, sender)) if data else None)
            if data:
                self.armed = ()
            return out
        return getattr(v, _snake(name))(sender, *a)

    def _inner(self, item: VaultStep, sender: int) -> Any:
        def run(v: Any) -> bytes:
            made = self.action(replace(item, sender=sender))
            return made.output(made.on_model(v))

        return run

    def _called(self, v: Any, sender: int) -> None:
        """What the liquidator's contract was armed with, once."""
        for item in self.armed:
            self.action(replace(item, sender=sender)).on_model(v)


def _sign(mark: Any, hash_: bytes) -> Any:
    return actor(mark.actor).sign(hash_, compact=mark.compact) if isinstance(mark, Signed) else mark


def _report(a: Any) -> VolReport:
    u, nonce, stamp, confidence, rows, premium = a
    return VolReport(u, nonce, stamp, confidence, tuple(Slice(*row) for row in rows), premium)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class ChainSession(Steps, VaultSession):
    """A replay on model and node."""

    def __init__(self, chain: Any, deployment: Deployment) -> None:
        ModelSession.__init__(self, chain, deployment, Random(0))
        self.logs = []
        self.touched = set()
        self._words = {}
        self._cached = {}
        self.prepare(places_of(deployment), chain.vault_functions)

    def set_up(self, action: VaultAction) -> None:
        """Must be accepted by both, or refused by both in the same way."""
        on_model, on_chain = self.on_model(action), self.on_chain(action)
        if on_model.ok != on_chain.ok or (not on_model.ok and action.kind != "report"):
            raise SetUpFailed(f"{action.describe()}: model {on_model}, chain {on_chain}")


@contextmanager
def _faulty(fault: Fault) -> Iterator[None]:
    """``planted``, but memoised arrays stay for faults that cannot reach them: computing them anew
    after every action takes most of the time.
    """
    if fault not in SEQUENCE_FAULTS:
        with planted(fault):
            yield
        return
    with patch.object(fault.module, fault.place, fault.make(getattr(fault.module, fault.place))):
        yield


class PairSession(Steps, ModelSession):
    """A replay on the model with the fault (as "model") and on the model without ("chain")."""

    tolerance = NO_TOLERANCE

    def __init__(self, nowhere: Nowhere, deployment: Deployment, fault: Fault) -> None:
        super().__init__(nowhere, deployment, Random(0))
        self.fault = fault
        self.prepare(places_of(deployment), nowhere.vault_functions)
        right = copied(deployment)
        self.right = Vault(right.state, right.world)

    def set_up(self, action: VaultAction) -> None:
        """Must be accepted by both."""
        done = self.on_model(action), self.on_chain(action)
        if done[0].ok != done[1].ok or (not done[0].ok and action.kind != "report"):
            raise SetUpFailed(f"{action.describe()}: {done}")

    def on_model(self, action: VaultAction) -> Outcome:
        """With the fault."""
        with _faulty(self.fault):
            return super().on_model(action)

    def on_chain(self, action: VaultAction) -> Outcome:
        """Without it; gives back what it took of the armed callback, so that both had the same."""
        armed = self._armed_before
        self.right.world.timestamp = action.time
        now, self.armed = self.armed, armed
        outcome, result = attempt(self.chain.errors, action.on_model, self.right)
        self.armed = now
        return Outcome(True, action.output(result)) if outcome.ok else outcome

    def action(self, step: VaultStep) -> VaultAction:
        """Remembers what was armed before the action."""
        self._armed_before = self.armed
        return super().action(step)

    _armed_before: tuple[VaultStep, ...] = ()

    def observe_model(self) -> Observation:
        """Fields of the ledger, margins, token balances; with the fault."""
        with _faulty(self.fault):
            return self._observed(self.vault)

    def observe_chain(self) -> Observation:
        """The same without it."""
        return self._observed(self.right)

    def _observed(self, vault: Vault) -> Observation:
        out: dict[str, Value] = _fields(vault.state)
        for account, held in vault.state.accounts.items():
            if not (held.linear or held.options or held.cash_wad < 0):
                continue  # its margin is its cash and collateral, which are compared
            done, margin = attempt(self.chain.errors, vault.margin, account)
            out |= done.observation(f"margin[{account:#x}]")
            if done.ok:
                out |= views.margin(f"margin[{account:#x}]", views.from_model(views.MARGIN, margin))
        for token, holders in vault.world.balances.items():
            for holder, amount in holders.items():
                out[f"token[{token:#x}].balance[{holder:#x}]"] = amount
        return out

    def finish(self) -> list[Mismatch]:
        """Nothing more."""
        return []
