"""JSON, and SARIF 2.1.0 for code scanning (OASIS standard, §3.13 ``sarifLog`` and below)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from risk.diff.adapter import Value
from risk.diff.findings.finding import Finding

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def plain(finding: Finding) -> dict[str, Any]:
    """The finding as JSON; numbers as decimal strings (JSON readers lose digits of large ones)."""
    return {
        "target": finding.target,
        "kind": finding.kind,
        "fingerprint": finding.fingerprint,
        "title": finding.title,
        "world": finding.world,
        "steps": finding.steps,
        "first_diverging": finding.first.where,
        "differences": [
            {
                "where": m.where,
                "model": _value(m.model),
                "chain": _value(m.chain),
                "difference": None if m.difference is None else str(m.difference),
            }
            for m in finding.differences
        ],
        "explanation": finding.explanation,
        "location": vars(finding.place) if finding.place else None,
        "figures": finding.figures,
        "rerun": finding.rerun,
        "notes": finding.notes,
    }


def _value(value: Value) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)


def log(findings: Sequence[Finding]) -> dict[str, Any]:
    """A SARIF log of one run. Rules are the kinds of quantities that diverge."""
    kinds = sorted({finding.kind for finding in findings})
    driver = {
        "name": "plumbline diff",
        "version": _version(),
        "rules": [
            {
                "id": f"model-mismatch/{kind}",
                "name": "ModelMismatch",
                "shortDescription": {"text": f"{kind} of contract and model differ"},
                "fullDescription": {
                    "text": "The same actions lead to different values in the contract and in the "
                    "reference model."
                },
                "defaultConfiguration": {"level": "error"},
            }
            for kind in kinds
        ],
    }
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "utf16CodeUnits",
                "results": [_result(finding, kinds) for finding in findings],
            }
        ],
    }


def _result(finding: Finding, kinds: Sequence[str]) -> dict[str, Any]:
    first = finding.first
    lines = [
        f"{finding.title}.",
        f"{first.where}: model {_value(first.model)}, chain {_value(first.chain)}.",
        *finding.steps,
    ]
    result: dict[str, Any] = {
        "ruleId": f"model-mismatch/{finding.kind}",
        "ruleIndex": kinds.index(finding.kind),
        "level": "error",
        "kind": "fail",
        "message": {"text": "\n".join(lines)},
        "locations": [],
        "partialFingerprints": {"plumblineFinding/v1": finding.fingerprint},
        "properties": {"figures": finding.figures, "world": json.dumps(finding.world)},
    }
    if place := finding.place:
        result["locations"] = [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(place.file)},
                    "region": {"startLine": place.line},
                },
                "logicalLocations": [
                    {
                        "name": place.function,
                        "fullyQualifiedName": f"{place.contract}.{place.function}",
                        "kind": "function",
                    }
                ],
            }
        ]
    return result


def _uri(file: str) -> str:
    """A relative reference with forward slashes, characters outside RFC 3986 escaped."""
    from urllib.parse import quote

    return quote(file.replace("\\", "/"))


def _version() -> str:
    try:
        return version("plumbline")
    except PackageNotFoundError:
        return "0"
