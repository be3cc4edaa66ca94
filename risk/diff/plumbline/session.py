"""A stateful sequence: one fresh vault, driven action by action on both sides and compared
completely after each.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from risk.chain import decode, layout, views
from risk.chain.keccak import keccak
from risk.chain.rebuild import rebuild
from risk.chain.vault_abi import vault_abi
from risk.diff.adapter import Mismatch, Observation, Outcome, Value
from risk.diff.compare import compare
from risk.diff.plumbline import samples
from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.chain import Chain, Sent
from risk.diff.plumbline.model import array_words, attempt
from risk.diff.plumbline.model_session import ModelSession
from risk.diff.plumbline.setup import deploy_world
from risk.exact.state import Account, State

__all__ = ["VaultAction", "VaultSession"]


class VaultSession(ModelSession):
    """See ``risk/diff/adapter.py``.  The model's half is ``ModelSession``."""

    chain: Chain

    def __init__(self, chain: Chain, seed: int, index: int) -> None:
        rng = Random(f"world {seed} {index}")
        super().__init__(chain, deploy_world(chain, rng), rng)
        self.logs: list[dict[str, Any]] = []
        self.touched: set[int] = set()
        self._words: dict[int, int] = {}
        self._cached: dict[int, list[int]] = {}
        self.start(rng)

    def set_up(self, action: VaultAction) -> None:
        """Set-up goes through both sides too and must be accepted by both."""
        on_model, on_chain = self.on_model(action), self.on_chain(action)
        if not on_model.ok or not on_chain.ok or on_model.data != on_chain.data:
            raise RuntimeError(
                f"set-up step {action.describe()}: model {on_model}, chain {on_chain}"
            )

    # ── acting ───────────────────────────────────────────────────────────────────────────────────

    def on_chain(self, action: VaultAction) -> Outcome:
        """A real transaction in a block of the action's time."""
        to = action.contract or self.deployment.vault
        data = action.calldata()
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
            done, answer = attempt(self.chain.errors, self.vault.oracle_state, u)
            out |= done.observation(f"oracle[{u}]")
            if done.ok:
                out |= views.named(f"oracle[{u}]", ("state", "price"), answer)
        for name, _, values in samples.of(self):
            out |= views.named(name, [str(i) for i in range(len(values))], values)
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
        sampled = samples.of(self)
        calls += [(name, data) for name, data, _ in sampled]
        answers = self._views([data for _, data in calls])
        for (name, data), answer in zip(calls, answers, strict=True):
            if name.startswith("view."):
                out |= samples.decoded(f, name, data, answer)
                continue
            out |= Outcome(answer.ok, b"" if answer.ok else answer.data).observation(name)
            if answer.ok and name.startswith("oracle"):
                out |= views.named(name, ("state", "price"), f["oracleState"].decode(answer.data))
            elif answer.ok and name.startswith("margin"):
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
        options = self.instruments(options=True)
        arrays = {i: layout.array_slots(i, self.state.underlyings[i >> 28].epoch) for i in options}
        slots = sorted(self.touched) + [s for group in arrays.values() for s in group]
        self._words = self.chain.read_words(self.deployment.vault, slots)
        count = 2 if self._scenarios() <= 32 else 4
        self._cached = {}
        for item, group in arrays.items():
            words = [self._words[s] for s in group]
            if words[0] >> 208 & 0xFFFFFF == layout.array_tag(
                self.state.underlyings[item >> 28].epoch
            ):
                self._cached[item] = words[:count] + [0] * (4 - count)

    def counted(self, action: VaultAction, outcome: Outcome) -> Iterable[str]:
        """Also the views that are sampled."""
        yield from super().counted(action, outcome)
        for name, _, _ in samples.of(self):
            yield f"call:{name.removeprefix('view.')}"

    def _scenarios(self) -> int:
        params = self.state.params
        return 0 if params is None else params.scenario_count

    def finish(self) -> list[Mismatch]:
        """The state rebuilt from the events alone must be the model's."""
        rebuilt = rebuild(vault_abi(self.chain.artifacts), self.logs)
        state, blob = rebuilt.state, self.vault.risk_params()
        # configuration that no event carries
        state.interest_time = self.state.interest_time  # the time of blocks, not of events
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
