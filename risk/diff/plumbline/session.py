"""A stateful sequence: one fresh vault, driven action by action on both sides and compared
completely after each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from risk.chain.abi import Function
from risk.chain.keccak import keccak
from risk.chain.rebuild import rebuild
from risk.diff.adapter import Mismatch, Observation, Outcome, Value
from risk.diff.compare import compare
from risk.diff.plumbline import decode, layout, views
from risk.diff.plumbline.chain import Chain, Sent
from risk.diff.plumbline.invariants import broken
from risk.diff.plumbline.model import array_words, attempt
from risk.diff.plumbline.setup import Deployment, deploy_world, setup_actions
from risk.exact.state import Account, State
from risk.exact.vault import Vault


@dataclass(frozen=True)
class VaultAction:
    """One transaction.  ``contract`` 0 is the vault; anything else is a feed or token of the
    world.
    """

    kind: str
    text: str
    sender: int
    time: int
    function: Function
    arguments: tuple[Any, ...]
    on_model: Callable[[Vault], Any]
    contract: int = 0

    def describe(self) -> str:
        """Kind and the interesting arguments."""
        return f"{self.kind}: {self.text}"


class VaultSession:
    """See ``risk/diff/adapter.py``."""

    def __init__(self, chain: Chain, seed: int, index: int) -> None:
        # imported here: proposals build VaultActions of this module
        from risk.diff.plumbline.proposals import Proposer

        self.chain = chain
        rng = Random(f"world {seed} {index}")
        self.deployment: Deployment = deploy_world(chain, rng)
        self.vault = Vault(self.deployment.state, self.deployment.world)
        self.proposer = Proposer(self)
        self.logs: list[dict[str, Any]] = []
        self.touched: set[int] = set()
        self._words: dict[int, int] = {}
        self._cached: dict[int, list[int]] = {}
        self.setup_values = 0
        for action in setup_actions(self, rng):
            self._set_up(action)

    @property
    def state(self) -> State:
        """The model's state."""
        return self.vault.state

    @property
    def now(self) -> int:
        """Time of the last block."""
        return self.vault.world.timestamp

    def _set_up(self, action: VaultAction) -> None:
        """Set-up goes through both sides too and must be accepted by both."""
        on_model, on_chain = self.on_model(action), self.on_chain(action)
        if not on_model.ok or not on_chain.ok or on_model.data != on_chain.data:
            raise RuntimeError(
                f"set-up step {action.describe()}: model {on_model}, chain {on_chain}"
            )

    # ── acting ───────────────────────────────────────────────────────────────────────────────────

    def propose(self, rng: Random) -> VaultAction:
        """The next action; sees the model's state only."""
        return self.proposer.propose(rng)

    def on_model(self, action: VaultAction) -> Outcome:
        """Apply to the model at the action's block time."""
        self.vault.world.timestamp = action.time
        outcome, result = attempt(self.chain.errors, action.on_model, self.vault)
        if not outcome.ok:
            return outcome
        if action.contract or not action.function.outputs:
            return Outcome(True)
        values = result if isinstance(result, tuple) else (result,)
        return Outcome(True, action.function.encode_outputs(*values))

    def on_chain(self, action: VaultAction) -> Outcome:
        """A real transaction in a block of the action's time."""
        to = action.contract or self.deployment.vault
        data = action.function.encode(*action.arguments)
        wants_output = bool(action.function.outputs) and not action.contract
        sent: Sent = self.chain.transact(action.sender, to, data, action.time, output=wants_output)
        self.logs += [log for log in sent.logs if int(log["address"], 16) == self.deployment.vault]
        return sent.outcome

    # ── observing ────────────────────────────────────────────────────────────────────────────────

    def observe_model(self) -> Observation:
        """Every field of the ledger, margins of all accounts, cached arrays, token balances, live
        prices.
        """
        self._read_chain()
        out: dict[str, Value] = _fields(self.state)
        for account in self.state.accounts:
            done, margin = attempt(self.chain.errors, self.vault.margin, account)
            out |= done.observation(f"margin[{account:#x}]")
            if done.ok:
                out |= views.margin(f"margin[{account:#x}]", views.from_model(views.MARGIN, margin))
            done, quote = attempt(self.chain.errors, self.vault.liquidation_quote, account)
            out |= done.observation(f"quote[{account:#x}]")
            if done.ok:
                out |= views.quote(f"quote[{account:#x}]", views.from_model(views.QUOTE, quote))
        for u in range(len(self.state.underlyings)):
            state, price = self.vault.oracle_state(u)
            out |= views.named(f"oracle[{u}]", ("state", "price"), (state, price))
        for item in self._cached:
            for i, word in enumerate(array_words(self.state, item)):
                out[f"array[{item:#010x}].word{i}"] = word
        for token, holders in self.vault.world.balances.items():
            for holder, amount in holders.items():
                out[f"token[{token:#x}].balance[{holder:#x}]"] = amount
        return out

    def observe_chain(self) -> Observation:
        """The same from storage, views and token contracts."""
        out: dict[str, Value] = _fields(decode.decode_state(self.state, self._words))
        f = self.chain.vault_functions
        calls: list[tuple[str, bytes]] = []
        for account in self.state.accounts:
            calls.append((f"margin[{account:#x}]", f["margin"].encode(account)))
            calls.append((f"quote[{account:#x}]", f["liquidationQuote"].encode(account)))
        for u in range(len(self.state.underlyings)):
            calls.append((f"oracle[{u}]", f["oracleState"].encode(u)))
        for (name, _), answer in zip(calls, self._views([data for _, data in calls]), strict=True):
            if name.startswith("oracle"):
                out |= views.named(name, ("state", "price"), f["oracleState"].decode(answer.data))
                continue
            out |= Outcome(answer.ok, b"" if answer.ok else answer.data).observation(name)
            if answer.ok and name.startswith("margin"):
                out |= views.margin(name, f["margin"].decode(answer.data)[0])
            elif answer.ok:
                out |= views.quote(name, f["liquidationQuote"].decode(answer.data)[0])
        for item, words in self._cached.items():
            for i, word in enumerate(words):
                out[f"array[{item:#010x}].word{i}"] = word
        return out | self._token_balances()

    def _views(self, calls: list[bytes]) -> list[Outcome]:
        to, reader = self.chain.batch_reader, self.chain.reader
        return self.chain.decode_views(
            self.chain.call(to, reader.encode(self.deployment.vault, calls))
        )

    def _token_balances(self) -> dict[str, Value]:
        out: dict[str, Value] = {}
        balance = self.deployment.balance_of
        for token, holders in self.vault.world.balances.items():
            data = self.chain.reader.encode(token, [balance.encode(holder) for holder in holders])
            answers = self.chain.decode_views(self.chain.call(self.chain.batch_reader, data))
            for holder, answer in zip(holders, answers, strict=True):
                out[f"token[{token:#x}].balance[{holder:#x}]"] = balance.decode(answer.data)[0]
        return out

    def _read_chain(self) -> None:
        """Storage words of everything the model knows, of everything it ever knew, and of all
        scenario arrays.
        """
        self.touched |= set(decode.state_slots(self.state))
        options = [i for i in self.deployment.spec.instruments() if i >> 26 & 3 >= 2]
        arrays = {i: layout.array_slots(i, self.state.underlyings[i >> 28].epoch) for i in options}
        slots = sorted(self.touched) + [s for group in arrays.values() for s in group]
        self._words = self.chain.read_words(self.deployment.vault, slots)
        count = 2 if self.deployment.spec.params.scenarios <= 32 else 4
        self._cached = {}
        for item, group in arrays.items():
            words = [self._words[s] for s in group]
            if words[0] >> 208 & 0xFFFFFF == layout.array_tag(
                self.state.underlyings[item >> 28].epoch
            ):
                self._cached[item] = words[:count] + [0] * (4 - count)

    def invariants(self) -> Iterable[str]:
        """See ``invariants.py``."""
        return broken(self.state, self.vault.world, self.deployment)

    def finish(self) -> list[Mismatch]:
        """The state rebuilt from the events alone must be the model's."""
        rebuilt = rebuild(self.chain.artifacts["Vault"].abi, self.logs)
        state, blob = rebuilt.state, self.vault.risk_params()
        # configuration that no event carries
        state.cash_token, state.cash_decimals = self.state.cash_token, self.state.cash_decimals
        for ours, theirs in zip(state.collaterals, self.state.collaterals, strict=False):
            ours.rate_feed_decimals = theirs.rate_feed_decimals
        model = self.state.clone()
        for account in state.accounts.keys() | model.accounts.keys():
            state.accounts.setdefault(account, Account())
            model.accounts.setdefault(account, Account())
        _, mismatches = compare(_fields(model), _fields(state), "rebuilt.")
        if rebuilt.params_hash != int.from_bytes(keccak(blob), "big"):
            mismatches.append(Mismatch("rebuilt.params", blob, rebuilt.params_hash))
        return mismatches


def _fields(state: State) -> dict[str, Value]:
    return {f.name: f.value for f in layout.state_fields(state)}
