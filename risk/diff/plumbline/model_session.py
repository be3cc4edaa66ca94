"""The model's half of a sequence: world, set-up, proposals, outcomes and invariants.

``VaultSession`` adds the chain; ``LoneSession`` runs without one (``make campaign``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Protocol

from risk.chain.abi import Errors, Function
from risk.diff.adapter import Outcome
from risk.diff.compare import NO_TOLERANCE
from risk.diff.plumbline import invariants
from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.model import attempt
from risk.diff.plumbline.setup import Deployment, setup_actions
from risk.diff.plumbline.twin import copy_state, twin_of
from risk.exact.errors import ModelRevert
from risk.exact.state import State
from risk.exact.vault import Vault

OBSERVED = ("margin", "liquidationQuote", "oracleState")  # after every action


class Tools(Protocol):
    """What the model's half needs of a chain: how to encode."""

    errors: Errors
    vault_functions: dict[str, Function]


class ModelSession:
    """World, model and proposer of one sequence."""

    deployment: Deployment
    tolerance: Mapping[str, int] = NO_TOLERANCE

    def __init__(self, chain: Any, deployment: Deployment, rng: Random) -> None:
        # imported here: proposals build on this module
        from risk.diff.plumbline.proposals import Proposer

        self.chain = chain
        self.deployment = deployment
        self.vault = Vault(deployment.state, deployment.world)
        self.proposer = Proposer(self)
        self.before: State = deployment.state
        self.last: VaultAction | None = None
        self.last_ok = False
        self._instruments: tuple[object, list[int]] = ((), [])

    def start(self, rng: Random) -> None:
        """The set-up; sometimes the sequence begins before it is complete."""
        steps = setup_actions(self, rng)
        for action in steps:
            if action.kind == "params" and self.deployment.probe_early:
                self.proposer.begin_early(action, steps)
                return
            self.set_up(action)

    def set_up(self, action: VaultAction) -> None:
        """One step of the set-up, which must be accepted."""
        outcome = self.on_model(action)
        if not outcome.ok:
            raise RuntimeError(f"set-up step {action.describe()}: {outcome}")

    @property
    def state(self) -> State:
        """The model's state."""
        return self.vault.state

    @property
    def now(self) -> int:
        """Time of the last block."""
        return self.vault.world.timestamp

    def instruments(self, *, options: bool = False) -> list[int]:
        """Ids of everything listed, expired or not; ``options`` leaves out perps and futures."""
        buckets = self.state.buckets
        key = (
            len(self.state.underlyings),
            len(buckets),
            sum(len(b.strikes_wad) for b in buckets.values()),
        )
        if self._instruments[0] != key:
            ids = [u << 28 for u in range(len(self.state.underlyings))]
            for bucket_key, bucket in sorted(buckets.items()):
                base = bucket_key >> 16 << 28 | (bucket_key & 0xFFFF) << 10
                ids.append(base | 1 << 26)
                for i in range(len(bucket.strikes_wad)):
                    ids += [base | 2 << 26 | i, base | 3 << 26 | i]
            self._instruments = (key, ids)
        ids = self._instruments[1]
        return [i for i in ids if i >> 26 & 3 >= 2] if options else ids

    # ── acting ───────────────────────────────────────────────────────────────────────────────────

    def propose(self, rng: Random) -> VaultAction:
        """The next action; sees the model's state only."""
        return self.proposer.propose(rng)

    def on_model(self, action: VaultAction) -> Outcome:
        """Apply to the model at the action's block time."""
        self.before, self.last = copy_state(self.state), action
        self.vault.world.timestamp = action.time
        outcome, result = attempt(self.chain.errors, action.on_model, self.vault)
        self.last_ok = outcome.ok
        return Outcome(True, action.output(result)) if outcome.ok else outcome

    def outcome_of(self, action: VaultAction) -> str:
        """What the model would answer: name of the error, "" where it accepts; nothing changes."""
        twin = twin_of(self.vault)
        twin.world.timestamp = action.time
        try:
            action.on_model(twin)
        except ModelRevert as refusal:
            return refusal.name
        return ""

    def counted(self, action: VaultAction, outcome: Outcome) -> Iterable[str]:
        """Names for the coverage table."""
        counts: Counter[str] = Counter(action.names())
        for name in counts:
            yield f"call:{name}"
        for name in OBSERVED:
            yield f"call:{name}"
        if outcome.ok and action.kind in ("liquidate", "liquidateFlash", "liquidateLegs"):
            yield "liquidation"

    def invariants(self) -> Iterable[str]:
        """See ``invariants.py``."""
        return invariants.broken(self)
