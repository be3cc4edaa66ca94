"""The report of a campaign: figures, tables, every survivor with its diff."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from risk.mutate.journal import Entry
from risk.mutate.survivors import Decision

VERDICTS = ("killed", "timed out", "survived", "error", "equivalent", "duplicate", "stillborn")


@dataclass(frozen=True)
class Score:
    """Counts of one group.  ``error``: no stage killed it and one of them crashed, which counts as
    alive.
    """

    counts: Mapping[str, int]

    def __getitem__(self, verdict: str) -> int:
        return self.counts.get(verdict, 0)

    @property
    def total(self) -> int:
        """Mutants that count: neither equivalent nor duplicate nor stillborn."""
        return self["killed"] + self["timed out"] + self["survived"] + self["error"]

    @property
    def dead(self) -> int:
        """Killed or timed out."""
        return self["killed"] + self["timed out"]

    @property
    def share(self) -> float:
        """Dead of those that count, in per cent; 100 where none counts."""
        return 100.0 * self.dead / self.total if self.total else 100.0


class Report:
    """Verdicts of a sample with the decisions on its survivors applied."""

    def __init__(self, entries: Sequence[Entry], decisions: Mapping[str, Decision]) -> None:
        self.entries = list(entries)
        self.decisions = dict(decisions)

    def verdict(self, entry: Entry) -> str:
        """Of the journal, or equivalent by decision."""
        found = self.decisions.get(entry.mutant.id)
        if found is not None and found.decision == "equivalent":
            return "equivalent"
        return entry.verdict

    def score(self, entries: Iterable[Entry] | None = None) -> Score:
        """Of a group, or of all."""
        return Score(
            Counter(self.verdict(e) for e in (self.entries if entries is None else entries))
        )

    def by(self, key: Callable[[Entry], str]) -> dict[str, Score]:
        """A score for each value of ``key``, sorted by it."""
        groups: dict[str, list[Entry]] = {}
        for item in self.entries:
            groups.setdefault(key(item), []).append(item)
        return {name: self.score(groups[name]) for name in sorted(groups)}

    def stages(self) -> dict[str, int]:
        """Kills of each stage, in the order in which they first kill."""
        return dict(Counter(e.stage for e in self.entries if e.verdict in ("killed", "timed out")))

    @property
    def alive(self) -> list[Entry]:
        """Survived or undecided, and not equivalent."""
        return [e for e in self.entries if self.verdict(e) in ("survived", "error")]

    @property
    def unexplained(self) -> list[Entry]:
        """Alive without a decision."""
        return [e for e in self.alive if e.mutant.id not in self.decisions]

    @property
    def seconds(self) -> float:
        """Work of all workers together."""
        return sum(e.seconds for e in self.entries)

    # ── forms ────────────────────────────────────────────────────────────────────────────────────

    def as_json(self, sources: Mapping[str, str]) -> dict[str, Any]:
        """Everything."""
        score = self.score()
        return {
            "mutants": len(self.entries),
            "counted": score.total,
            "score_percent": round(score.share, 2),
            **{verdict.replace(" ", "_"): score[verdict] for verdict in VERDICTS},
            "unexplained": len(self.unexplained),
            "seconds": round(self.seconds, 1),
            "by_file": {n: dict(s.counts) for n, s in self.by(_file).items()},
            "by_kind": {n: dict(s.counts) for n, s in self.by(_kind).items()},
            "kills_by_stage": self.stages(),
            "equivalent_by_decision": [
                {**e.as_json(), "reason": self.decisions[e.mutant.id].reason}
                for e in self.entries
                if e.mutant.id in self.decisions and self.verdict(e) == "equivalent"
            ],
            "survivors": [
                {
                    **e.as_json(),
                    "diff": _diff(e, sources),
                    "reason": self._reason(e),
                }
                for e in self.alive
            ],
        }

    def markdown(self, sources: Mapping[str, str]) -> str:
        """Tables and survivors."""
        score = self.score()
        out = ["# Mutation score", ""]
        out.append(
            f"**{score.share:.1f} %** of {score.total} mutants killed: {score['killed']} killed, "
            f"{score['timed out']} timed out, {score['survived']} survived, {score['error']} "
            f"undecided; left out: {score['equivalent']} equivalent, {score['duplicate']} "
            f"duplicates, {score['stillborn']} stillborn. {self.seconds / 60:.0f} minutes of work."
        )
        for title, key in (("file", _file), ("kind", _kind)):
            out += ["", *_table(title, self.by(key))]
        out += ["", "| stage | kills |", "|---|---|"]
        out += [f"| {name} | {count} |" for name, count in self.stages().items()]
        if self.alive:
            out += ["", "## Survivors"]
        for entry in self.alive:
            out += ["", f"### {entry.mutant.id}: {entry.mutant.kind}, {_place(entry)}", ""]
            reason = self._reason(entry) or "no decision yet"
            out += [f"{entry.verdict}: {reason}", "", "```diff", _diff(entry, sources), "```"]
            if entry.evidence:
                out += ["", entry.evidence]
        return "\n".join(out) + "\n"

    def _reason(self, entry: Entry) -> str:
        found = self.decisions.get(entry.mutant.id)
        return "" if found is None else found.reason


def _file(entry: Entry) -> str:
    return entry.mutant.file


def _kind(entry: Entry) -> str:
    return entry.mutant.kind


def _place(entry: Entry) -> str:
    return f"{entry.mutant.file}:{entry.mutant.line}"


def _diff(entry: Entry, sources: Mapping[str, str]) -> str:
    return entry.mutant.diff(sources[entry.mutant.file].encode())


def _table(title: str, groups: Mapping[str, Score]) -> list[str]:
    names = ("killed", "timed out", "survived", "error", "equivalent", "duplicate", "stillborn")
    out = [f"| {title} | score | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for name, score in groups.items():
        cells = " | ".join(str(score[v]) for v in names)
        out.append(f"| {name} | {score.share:.1f} % | {cells} |")
    return out
