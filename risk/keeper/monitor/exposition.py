"""The text format of Prometheus (version 0.0.4), as far as a keeper needs it: counters and gauges.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format. A name or
label that the format does not allow is a mistake of the program and raises ``ValueError``; a value
of a label may be any text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

Number = int | float


@dataclass(frozen=True)
class Sample:
    """One line. Integers beyond 2^53 lose digits at the reader, who keeps float64."""

    value: Number
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """All lines of one name. The name of a counter ends in ``_total``, that of a gauge does not."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: tuple[Sample, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a metric")
        if (self.kind == "counter") != self.name.endswith("_total"):
            raise ValueError(f"{self.name}: counters, and only they, end in _total")
        seen: set[tuple[tuple[str, str], ...]] = set()
        for sample in self.samples:
            key = tuple(sorted(sample.labels.items()))
            if key in seen:
                raise ValueError(f"{self.name}: the same labels twice: {key}")
            seen.add(key)
            for label in sample.labels:
                if not _LABEL.fullmatch(label) or label.startswith("__"):
                    raise ValueError(f"{self.name}: {label!r} is no label")


def counter(name: str, text: str, *samples: Sample) -> Family:
    """A number that only grows while the process lives."""
    return Family(name, "counter", text, samples)


def gauge(name: str, text: str, *samples: Sample) -> Family:
    """A number that goes up and down."""
    return Family(name, "gauge", text, samples)


def render(families: Iterable[Family]) -> str:
    """The page. A family without samples is left out; a name may come once (``ValueError``)."""
    lines: list[str] = []
    names: set[str] = set()
    for family in families:
        if family.name in names:
            raise ValueError(f"{family.name} comes twice")
        names.add(family.name)
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [f"{family.name}{_labels(s.labels)} {_number(s.value)}" for s in family.samples]
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _quoted(text: str) -> str:
    # a lone surrogate has no UTF-8 and would break the whole page
    sound = text.encode("utf-8", "replace").decode()
    return _escaped(sound).replace('"', '\\"')


def _number(value: Number) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "+Inf" if value > 0 else "-Inf"
    return repr(value)
