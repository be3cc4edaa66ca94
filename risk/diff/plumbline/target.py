"""Plumbline as a target: account-level cases in one simulated call each, sequences with real
transactions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from risk.chain import decode, layout, views
from risk.chain.node import project_root
from risk.diff.adapter import Observation, Outcome, Value
from risk.diff.plumbline import reach
from risk.diff.plumbline.cases import MarginCase, make_case
from risk.diff.plumbline.chain import (
    ADMIN,
    ANYBODY,
    SLOAD_READER,
    Block,
    Call,
    Chain,
    load_artifacts,
)
from risk.diff.plumbline.lone import LoneSession, Nowhere
from risk.diff.plumbline.model import array_words, attempt
from risk.diff.plumbline.session import VaultSession
from risk.diff.plumbline.setup import deploy_vault
from risk.diff.shrink import Replays
from risk.exact.state import State, World
from risk.exact.vault import Vault

PARAMS_POINTER = 0xBB << 152
CASE_FUNCTIONS = (
    "margin",
    "explain",
    "liquidationQuote",
    "oracleState",
    "computeArrays",
    "scenarioArray",
    "liquidate",
)

Plan = list[tuple[str, bytes, Callable[[list[Any]], dict[str, Value]]]]


class PlumblineTarget:
    """See ``risk/diff/adapter.py``.  ``node_options`` go to Anvil."""

    name = "plumbline"
    command = "plumbline verify"

    def __init__(self, **node_options: Any) -> None:
        self.chain = Chain(**node_options)
        self.vault = 0

    def open(self) -> None:
        """Start the node, deploy the libraries and one vault whose storage the cases override."""
        self.chain.open()
        cash = self.chain.deploy("MockToken", 6, 0, 0)
        self.vault = deploy_vault(self.chain, ADMIN, cash)
        self.chain.keep()
        self.feed_code = "0x" + self.chain.artifacts["MockFeed"].deployed_bytecode

    def open_alone(self) -> None:
        """Only the ABI is needed."""
        self.nowhere = Nowhere()

    def close(self) -> None:
        """Stop the node."""
        self.chain.close()

    def goals(self) -> Mapping[str, str]:
        """See ``reach.py``."""
        return reach.goals(load_artifacts(project_root()))

    def replays(self) -> Replays[Any, Any]:
        """How the shrinker records and replays its sequences."""
        from risk.diff.plumbline.replay import VaultReplays

        return VaultReplays(self)

    def make_case(self, seed: int, index: int) -> MarginCase:
        """See ``cases.make_case``."""
        return make_case(seed, index)

    # ── the model's side ─────────────────────────────────────────────────────────────────────────

    def case_on_model(self, case: MarginCase) -> Observation:
        """Views, arrays, views again, ``liquidate``, everything afterwards."""
        state, world = case.state.clone(), copy.deepcopy(case.world)
        world.vault = self.vault
        vault = Vault(state, world)
        out: dict[str, Value] = {}
        self._model_views(out, vault, case)
        done, _ = attempt(self.chain.errors, vault.compute_arrays, ANYBODY, case.options)
        out |= done.observation("computeArrays")
        for item in case.options if done.ok else []:
            for i, word in enumerate(array_words(vault.state, item)):
                out[f"array[{item:#010x}].word{i}"] = word
        self._model_margin(out, "cached", vault, case.account)
        done, result = attempt(
            self.chain.errors,
            vault.liquidate,
            case.sender,
            case.account,
            case.liquidator,
            case.fraction,
            case.max_payment,
        )
        out |= _liquidated(done)
        if done.ok:
            out |= views.named("liquidate", ("fraction", "payment"), result)
        for name, account in (("after", case.account), ("liquidator", case.liquidator)):
            self._model_margin(out, name, vault, account)
        return out | state_observation(vault.state)

    def _model_margin(self, out: dict[str, Value], name: str, vault: Vault, account: int) -> None:
        done, margin = attempt(self.chain.errors, vault.margin, account)
        out |= done.observation(f"{name}.margin")
        if done.ok:
            out |= views.margin(f"{name}.margin", views.from_model(views.MARGIN, margin))

    def _model_views(self, out: dict[str, Value], vault: Vault, case: MarginCase) -> None:
        self._model_margin(out, "fresh", vault, case.account)
        done, quote = attempt(self.chain.errors, vault.liquidation_quote, case.account)
        out |= done.observation("quote")
        if done.ok:
            out |= views.quote("quote", views.from_model(views.QUOTE, quote))
        done, explanation = attempt(self.chain.errors, vault.explain, case.account)
        out |= done.observation("explain")
        if done.ok:
            out |= views.explanation("explain", views.explanation_from_model(explanation))
        for u in range(len(vault.state.underlyings)):
            done, result = attempt(self.chain.errors, vault.oracle_state, u)
            out |= done.observation(f"oracle[{u}]")
            if done.ok:
                out |= views.named(f"oracle[{u}]", ("state", "price"), result)

    def case_events(self, model: Observation) -> Iterable[str]:
        """Liquidations, reverts, and the functions that every case asks."""
        yield from (f"call:{name}" for name in CASE_FUNCTIONS)
        if model["liquidate.ok"]:
            yield "liquidation"
        else:
            yield f"revert:{model['liquidate.error']!s}"
        for name in ("fresh.margin", "quote", "explain", "computeArrays"):
            if not model[f"{name}.ok"]:
                data = model[f"{name}.data"]
                assert isinstance(data, bytes)
                yield f"revert:{self.chain.errors.name(data)}"

    # ── the chain's side ─────────────────────────────────────────────────────────────────────────

    def case_on_chain(self, case: MarginCase) -> Observation:
        """The same in one ``eth_simulateV1``: storage overridden, five calls, then the storage read
        back raw.
        """
        f, reader, to = self.chain.vault_functions, self.chain.reader, self.chain.batch_reader
        first, second, third = self._plans(case)
        slots = sorted(
            {
                *decode.state_slots(case.state),
                *decode.all_account_slots(case.account),
                *decode.all_account_slots(case.liquidator),
            }
        )
        storage, code = self.overrides(case.state, case.world)
        answers = self.chain.simulate(
            [
                Block(
                    [
                        Call(to, reader.encode(self.vault, [data for _, data, _ in first])),
                        Call(self.vault, f["computeArrays"].encode(case.options)),
                        Call(to, reader.encode(self.vault, [data for _, data, _ in second])),
                        Call(
                            self.vault,
                            f["liquidate"].encode(
                                case.account, case.liquidator, case.fraction, case.max_payment
                            ),
                            case.sender,
                        ),
                        Call(to, reader.encode(self.vault, [data for _, data, _ in third])),
                    ],
                    case.spec.now,
                    storage,
                    code,
                ),
                Block(
                    [Call(self.vault, b"".join(s.to_bytes(32, "big") for s in slots))],
                    None,
                    {},
                    {self.vault: SLOAD_READER},
                ),
            ]
        )
        views_before, computed, views_cached, liquidated, views_after = answers[0]
        out = self._answers(first, views_before)
        out |= Outcome(computed.ok, computed.data).observation("computeArrays")
        cached = self._answers(second, views_cached)
        out |= {k: v for k, v in cached.items() if not k.startswith("array[") or computed.ok}
        out |= _liquidated(liquidated)
        if liquidated.ok:
            out |= views.named(
                "liquidate", ("fraction", "payment"), f["liquidate"].decode(liquidated.data)
            )
        out |= self._answers(third, views_after)
        words = {
            s: int.from_bytes(answers[1][0].data[32 * i : 32 * i + 32], "big")
            for i, s in enumerate(slots)
        }
        return out | state_observation(decode.decode_state(case.state, words))

    def overrides(
        self, state: State, world: World
    ) -> tuple[dict[int, dict[int, int]], dict[int, str]]:
        """Storage and code that make a deployed vault be in ``state`` surrounded by ``world``."""
        assert state.params is not None
        words = layout.to_words(layout.state_fields(state))
        words[layout.STATE_SLOT] |= PARAMS_POINTER
        storage = {self.vault: words}
        code = {PARAMS_POINTER: "0x00" + state.params.blob.hex()}
        for feed, item in world.feeds.items():
            storage[feed] = layout.feed_words(item)
            code[feed] = self.feed_code
        return storage, code

    def _plans(self, case: MarginCase) -> tuple[Plan, Plan, Plan]:
        f = self.chain.vault_functions
        account = case.account
        first: Plan = [
            (
                "fresh.margin",
                f["margin"].encode(account),
                lambda r: views.margin("fresh.margin", r[0]),
            )
        ]
        others: Plan = [
            ("quote", f["liquidationQuote"].encode(account), lambda r: views.quote("quote", r[0])),
            ("explain", f["explain"].encode(account), lambda r: views.explanation("explain", r[0])),
        ]
        for u in range(len(case.state.underlyings)):
            name = f"oracle[{u}]"
            first.append((name, f["oracleState"].encode(u), _namer(name, ("state", "price"))))
        second: Plan = [
            (f"array[{i:#010x}]", f["scenarioArray"].encode(i), _array_namer(f"array[{i:#010x}]"))
            for i in case.options
        ]
        # computing every array anew costs the most: these two do it in one case of four only
        (second if case.index % 4 else first).extend(others)
        second.append(
            (
                "cached.margin",
                f["margin"].encode(account),
                lambda r: views.margin("cached.margin", r[0]),
            )
        )
        third: Plan = [
            (
                "after.margin",
                f["margin"].encode(account),
                lambda r: views.margin("after.margin", r[0]),
            ),
            (
                "liquidator.margin",
                f["margin"].encode(case.liquidator),
                lambda r: views.margin("liquidator.margin", r[0]),
            ),
        ]
        return first, second, third

    def _answers(self, plan: Plan, result: Outcome) -> dict[str, Value]:
        out: dict[str, Value] = {}
        for (name, data, decode_result), answer in zip(
            plan, self.chain.decode_views(result), strict=True
        ):
            function = next(
                f for f in self.chain.vault_functions.values() if f.selector == data[:4]
            )
            if not name.startswith("array["):
                out |= Outcome(answer.ok, b"" if answer.ok else answer.data).observation(name)
            if answer.ok:
                out |= decode_result(function.decode(answer.data))
        return out

    # ── sequences ────────────────────────────────────────────────────────────────────────────────

    def start(self, seed: int, index: int) -> VaultSession:
        """A fresh vault with tokens, feeds, users and a market, on both sides."""
        self.chain.reset()
        return VaultSession(self.chain, seed, index)

    def start_alone(self, seed: int, index: int) -> LoneSession:
        """The same world without a chain."""
        return LoneSession(self.nowhere, seed, index)


def _liquidated(outcome: Outcome) -> dict[str, Value]:
    """Accepted, or the raw revert data and the error's name."""
    refused = Outcome(outcome.ok, b"" if outcome.ok else outcome.data, outcome.error)
    return {**refused.observation("liquidate"), "liquidate.error": outcome.error}


def _namer(prefix: str, names: Sequence[str]) -> Callable[[list[Any]], dict[str, Value]]:
    return lambda values: views.named(prefix, names, values)


def _array_namer(prefix: str) -> Callable[[list[Any]], dict[str, Value]]:
    return lambda values: {f"{prefix}.word{i}": word for i, word in enumerate(values[0])}


def state_observation(state: State) -> dict[str, Value]:
    """Every field of the state by name; empty accounts, which only one side may have touched, are
    left out.
    """
    return {f.name: f.value for f in layout.state_fields(state)}
