"""What is known of survivors: committed decisions that the report applies.

A decision names a mutant by its ``id``, or by ``file``, ``before`` and ``after`` (the changed lines
with single spaces), which stays right when other lines of the file move.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from risk.mutate.errors import ConfigError
from risk.mutate.journal import Entry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHORTEST_REASON = 20


class Decision(BaseModel):
    """``equivalent``: no input tells the mutant from the original, and why.  ``explained``: it
    differs, and why no test should care; it counts as survived all the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    decision: Literal["equivalent", "explained"]
    reason: str
    id: str = ""
    file: str = ""
    before: str = ""
    after: str = ""

    def fits(self, entry: Entry) -> bool:
        """Whether it speaks of this mutant."""
        if self.id:
            return self.id == entry.mutant.id
        return (self.file, self.before, self.after) == (
            entry.mutant.file,
            entry.before,
            entry.after,
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    mutant: tuple[Decision, ...] = ()


def load_decisions(path: Path) -> tuple[Decision, ...]:
    """Decisions of a file; none where it does not exist.  Raises ``ConfigError``."""
    if not path.exists():
        return ()
    try:
        decisions = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).mutant
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    for item in decisions:
        if not item.id and not (item.file and item.before):
            raise ConfigError(f"{path}: a decision names neither an id nor file, before and after")
        if len(item.reason) < SHORTEST_REASON:
            raise ConfigError(f"{path}: {item.id or item.before}: the reason says too little")
    return decisions


def decide(entries: Iterable[Entry], decisions: Iterable[Decision]) -> dict[str, Decision]:
    """Decision by id of the mutant, for those that live."""
    known = tuple(decisions)
    out: dict[str, Decision] = {}
    for entry in entries:
        if entry.verdict in ("survived", "error"):
            found = next((d for d in known if d.fits(entry)), None)
            if found is not None:
                out[entry.mutant.id] = found
    return out
