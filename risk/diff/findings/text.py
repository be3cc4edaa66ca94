"""The readable counterexample."""

from __future__ import annotations

import json

from risk.diff.findings.finding import Finding, as_rows


def render(finding: Finding) -> str:
    """World, actions, both values in decimal and hexadecimal, what diverges first, and why."""
    out = [finding.title, "=" * len(finding.title), ""]
    figures = finding.figures
    out.append(
        f"{figures['actions']} actions of {figures['actions_recorded']}, "
        f"{figures['instruments']} instruments, after {figures['replays']} replays in "
        f"{figures['seconds']} s"
        + ("" if figures["complete"] else " (the budget ended the search)")
    )
    world = finding.world if isinstance(finding.world, str) else json.dumps(finding.world)
    out += ["", "world", *(f"  {line}" for line in world.splitlines())]
    out += ["", "actions", *(f"  {line}" for line in finding.steps)]
    if finding.place:
        where = f"{finding.place.file}:{finding.place.line}"
        out += ["", f"function  {finding.place.contract}.{finding.place.function} ({where})"]
    out += ["", f"first diverging quantity  {finding.first.where}", "", "differences"]
    for row in as_rows(finding.differences):
        out += [f"  {row['where']}", f"    model  {row['model']}", f"    chain  {row['chain']}"]
        if row["difference"]:
            out.append(f"    chain - model  {row['difference']}")
    if finding.explanation:
        out += ["", "the model's explanation", *(f"  {line}" for line in finding.explanation)]
    if finding.notes:
        out += ["", *(f"note: {line}" for line in finding.notes)]
    return "\n".join([*out, "", f"again: {finding.rerun}", ""])
