"""A finding of our vault: both sides explained, and a test that replays world and steps."""

from __future__ import annotations

import pprint
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk.chain import views
from risk.chain.node import project_root
from risk.diff.adapter import Value
from risk.diff.compare import show
from risk.diff.coverage import Tally
from risk.diff.findings.finding import (
    Finding,
    Place,
    figures_of,
    fingerprint_of,
    line_of,
)
from risk.diff.plumbline.model import attempt
from risk.diff.plumbline.replay_steps import VAULT, VaultStep
from risk.diff.plumbline.replay_worlds import VaultWorld
from risk.diff.runner import step_once
from risk.diff.shrink import Shrunk

if TYPE_CHECKING:
    from risk.diff.plumbline.replay import VaultReplays

ACCOUNT = re.compile(r"(?:margin|quote|account)\w*\[(0x[0-9a-f]+)\]")
INTERFACES = "interfaces"

TEST = """\"\"\"{title}

Fails while contracts and model disagree, passes once they agree. Found by:
    {rerun}
\"\"\"

from risk.diff.plumbline.params_blob import CollateralParams, Params, Tail, UnderlyingParams
from risk.diff.plumbline.replay import VaultReplays
from risk.diff.plumbline.replay_steps import At, Place, Signed, VaultStep
from risk.diff.plumbline.replay_worlds import VaultWorld
from risk.diff.plumbline.target import PlumblineTarget
from risk.diff.plumbline.world import BucketSpec, CollateralSpec, UnderlyingSpec, WorldSpec

__all__ = ["At", "CollateralSpec", "CollateralParams", "BucketSpec", "Place"]

WORLD = {world}

STEPS = {steps}


def test_{stem}() -> None:
    target = PlumblineTarget()
    target.open()
    try:
        failure = VaultReplays(target).replay(WORLD, STEPS)
    finally:
        target.close()
    # {first}
    assert failure is None, failure
"""


def finding_of(replays: VaultReplays, shrunk: Shrunk[VaultWorld, VaultStep]) -> Finding:
    """Replays the shrunk sequence once more."""
    session, counts, lines = replays.start(shrunk.world), Tally(), []
    for number, step in enumerate(shrunk.steps, 1):
        _, _, title = step_once(session, session.action(step), counts)
        lines.append(f"{'set-up ' if step.funding else ''}{number}. {title}")
    last = shrunk.steps[-1]
    finding = Finding(
        "plumbline",
        shrunk.kind,
        fingerprint_of("plumbline", shrunk.kind, last.name),
        f"plumbline: {last.name}: {shrunk.kind} differs from the model",
        shrunk.world.describe(),
        lines,
        list(shrunk.mismatches),
        list(_explained(session, shrunk)),
        _place(last),
        figures_of(shrunk),
        shrunk.rerun,
        notes=["a Foundry test would need the linked libraries; the pytest replays the sequence"],
    )
    first = finding.first
    finding.regression = TEST.format(
        title=finding.title,
        rerun=finding.rerun,
        world=pprint.pformat(shrunk.world, width=100, sort_dicts=False),
        steps=pprint.pformat(shrunk.steps, width=100, sort_dicts=False),
        stem=finding.stem,
        first=f"{first.where}: model {show(first.model)}, chain {show(first.chain)}",
    )
    return finding


def _explained(session: Any, shrunk: Shrunk[Any, Any]) -> Iterator[str]:
    """``explain`` of each account that differs, both sides in the order of the formula, up to what
    diverges first.
    """
    accounts = {int(a, 16) for m in shrunk.mismatches for a in ACCOUNT.findall(m.where)}
    function = session.chain.vault_functions["explain"]
    for account in sorted(accounts):
        done, explanation = attempt(session.chain.errors, session.vault.explain, account)
        answer = session.chain.call(session.deployment.vault, function.encode(account))
        if not done.ok or not answer.ok:
            yield f"explain({account:#x}): model {done.error or 'ok'}, chain {answer.error or 'ok'}"
            continue
        model = views.explanation("", views.explanation_from_model(explanation))
        chain = views.explanation("", function.decode(answer.data)[0])
        yield from _side_by_side(account, model, chain)


def _side_by_side(account: int, model: dict[str, Value], chain: dict[str, Value]) -> Iterator[str]:
    yield f"explain({account:#x}), model and chain"
    for name, value in model.items():
        same = value == chain.get(name)
        mark = "" if same else "   <- first diverging quantity"
        other = "" if same else f", {show(chain.get(name))}"
        if value or not same:
            yield f"  {name.lstrip('.')}: {show(value)}{other}{mark}"
        if not same:
            return


def _place(step: VaultStep) -> Place | None:
    """The function in the interfaces, which name every function of the vault."""
    if step.contract != VAULT:
        return None
    root = project_root()
    for file in sorted((root / INTERFACES).rglob("*.sol")):
        text = file.read_text(encoding="utf-8")
        if re.search(rf"\bfunction\s+{step.name}\b", text):
            where = Path(file).relative_to(root).as_posix()
            return Place(where, line_of(text, step.name), "Vault", step.name)
    return None
