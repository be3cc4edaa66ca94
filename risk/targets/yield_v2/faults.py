"""Faults of one expression planted in Yield's Solidity, and the action at which each is found.

``python -m risk.targets.yield_v2.faults`` compiles the changed contracts in memory (nothing is
written) and runs the same sequences against each until one disagrees. A text after it selects the
faults with that text in their names.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from risk.chain.compile import Artifact, artifacts_of, run_solc, standard_json
from risk.chain.node import project_root
from risk.diff.coverage import Tally
from risk.diff.kit.artifacts import find_compiler
from risk.diff.kit.errors import ArtifactError
from risk.diff.kit.revm import RevmEngine
from risk.diff.kit.target import AdapterTarget
from risk.diff.runner import Plan, run_sequence
from risk.targets.yield_v2.adapter import REMAPPINGS, SOLC, YieldAdapter

FOLDER = "node_modules/@yield-protocol/vault-v2/contracts"


class Fault(NamedTuple):
    """``old`` occurs in the contract's source; the ``nth`` of them becomes ``new``."""

    name: str
    contract: str
    old: str
    new: str
    nth: int = 1


FAULTS = (
    Fault("debt from base rounded down", "Cauldron", ".wdivup(", ".wdiv("),
    Fault("dust of exactly the least refused", "Cauldron", ".art >= dust", ".art > dust"),
    Fault("ceiling reached exactly refused", "Cauldron", "sum <= line", "sum < line"),
    Fault("level of 0 refused", "Cauldron", "series_) >= 0", "series_) > 0"),
    Fault("mature a second late", "Cauldron", "timestamp) >= series_", "timestamp) > series_"),
    Fault("slurp leaves the debt", "Cauldron", "-(art.i128())", "0"),
    Fault("share of the vault rounded down", "Witch", ".wdivup(", ".wdiv("),
    Fault("auction at a level of 0", "Witch", "(vaultId) >= 0", "(vaultId) > 0"),
    Fault("auctioned sum of a cleared one stays", "Witch", "sum -= auction_.ink", "sum -= 0", 2),
    Fault("reward to nobody else", "Witch", "auctioneer != to", "auctioneer == to"),
    Fault("principal rounded down", "FYToken", ".wdivup(", ".wdiv("),
    Fault("a gift to the join counts twice", "Join", "amount - available", "amount"),
)


def planted(fault: Fault) -> Mapping[str, Artifact]:
    """Artifacts of the changed source. Raises ``ArtifactError`` where ``old`` is not there."""
    root = project_root()
    path = f"{FOLDER}/{fault.contract}.sol"
    pieces = (root / path).read_text(encoding="utf-8").split(fault.old)
    if len(pieces) <= fault.nth:
        raise ArtifactError(f"{path} has no {fault.old!r} number {fault.nth}")
    head, tail = fault.old.join(pieces[: fault.nth]), fault.old.join(pieces[fault.nth :])
    settings: dict[str, Any] = {
        "evmVersion": "shanghai",
        "optimizer": {"enabled": True, "runs": 200},
        "remappings": list(REMAPPINGS),
    }
    launcher, environment = find_compiler(SOLC)
    request = standard_json({path: head + fault.new + tail}, settings)
    return artifacts_of(run_solc(launcher, request, root, environment), {path})


def search(fault: Fault, plan: Plan) -> Tally:
    """Sequences until one disagrees, or all of the plan."""
    right = YieldAdapter().artifacts()
    wrong = {**right, fault.contract: planted(fault)[fault.contract]}
    target = AdapterTarget(YieldAdapter(), RevmEngine(), lambda: wrong)
    target.open()
    tally = Tally()
    try:
        for index in range(plan.sequences):
            if not run_sequence(target, plan, index, tally):
                break
    finally:
        target.close()
    return tally


def main(text: str = "") -> int:
    """Print a line for each fault with ``text`` in its name; 1 where one was not found."""
    missed = 0
    for fault in (f for f in FAULTS if text in f.name):
        tally = search(fault, Plan(seed=4, sequences=150, actions=60))
        found = tally.counterexamples
        missed += not found
        where = f"{found[0].title}: {found[0].mismatches[0].where}" if found else "NOT FOUND"
        print(f"{fault.contract}: {fault.name}: {tally.actions} actions: {where}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
