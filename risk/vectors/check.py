"""Checks a vector file: the reference model and the contracts must both give what stands there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from risk.chain import views
from risk.diff.plumbline.chain import Block, Call
from risk.diff.plumbline.target import PlumblineTarget
from risk.exact.state import State, World
from risk.vectors.format import ACCOUNT_ID, load, state_of, strings
from risk.vectors.work import work_out

Progress = Callable[[int], None]


@dataclass
class CheckResult:
    """What was compared, and every difference in words."""

    cases: int = 0
    values: int = 0
    differences: list[str] = field(default_factory=list)

    def compare(self, where: str, written: Any, found: Any) -> None:
        """Leaf by leaf."""
        if isinstance(written, dict) and isinstance(found, dict) and written.keys() == found.keys():
            for key in written:
                self.compare(f"{where}.{key}", written[key], found[key])
        elif isinstance(written, list) and isinstance(found, list) and len(written) == len(found):
            for i, (a, b) in enumerate(zip(written, found, strict=True)):
                self.compare(f"{where}[{i}]", a, b)
        else:
            self.values += 1
            if written != found:
                self.differences.append(f"{where}: file {written}, found {found}")


def check_file(path: Path, progress: Progress = lambda _: None) -> CheckResult:
    """Every case of ``path`` against the model, then against the chain."""
    document, result = load(path), CheckResult()
    target = PlumblineTarget()
    target.open()
    try:
        for case in document["cases"]:
            check_model(case, result)
            check_chain(target, case, result)
            result.cases += 1
            progress(result.cases)
    finally:
        target.close()
    return result


def check_model(case: dict[str, Any], result: CheckResult) -> None:
    """Intermediates and outputs by the model, from the inputs as written."""
    middle, outputs = work_out(state_of(case["inputs"]), ACCOUNT_ID)
    name = f"case {case['case']}"
    result.compare(f"{name} intermediates", case["intermediates"], strings(middle))
    result.compare(f"{name} outputs", case["outputs"], strings(outputs))


def check_chain(target: PlumblineTarget, case: dict[str, Any], result: CheckResult) -> None:
    """Outputs and array words by the contracts, from the inputs as written."""
    state = state_of(case["inputs"])
    f, chain = target.chain.vault_functions, target.chain
    options = [o.instrument for o in state.accounts[ACCOUNT_ID].options]
    calls = [f[name].encode(ACCOUNT_ID) for name in ("margin", "explain", "liquidationQuote")]
    reads = [f["scenarioArray"].encode(item) for item in options]
    storage, code = _overrides(target, state)
    answers = chain.simulate(
        [
            Block(
                [
                    Call(chain.batch_reader, chain.reader.encode(target.vault, calls)),
                    Call(target.vault, f["computeArrays"].encode(options)),
                    Call(chain.batch_reader, chain.reader.encode(target.vault, reads)),
                ],
                max(u.time for u in state.underlyings),
                storage,
                code,
            )
        ]
    )[0]
    name = f"case {case['case']} on chain"
    margin, explanation, quote = chain.decode_views(answers[0])
    outputs = case["outputs"]
    if "error" in outputs:
        expected = chain.errors.encode(outputs["error"], [int(a) for a in outputs["error_args"]])
        result.compare(f"{name} error", expected.hex(), margin.data.hex())
        return
    values = f["margin"].decode(margin.data)[0]
    result.compare(
        f"{name} margin", outputs["margin"], strings(dict(zip(views.MARGIN, values, strict=True)))
    )
    values = f["explain"].decode(explanation.data)[0]
    found = {"rows": [dict(zip(views.ROW, row, strict=True)) for row in values[1]]}
    found |= dict(zip(views.DISTANCES, values[2:], strict=True))
    result.compare(f"{name} explanation", outputs["explanation"], strings(found))
    values = f["liquidationQuote"].decode(quote.data)[0]
    result.compare(
        f"{name} quote", outputs["quote"], strings(dict(zip(views.QUOTE, values, strict=True)))
    )
    for item, answer in zip(
        case["intermediates"]["arrays"], chain.decode_views(answers[2]), strict=True
    ):
        words = f["scenarioArray"].decode(answer.data)[0]
        result.compare(f"{name} array {item['instrument']}", item["words"], strings(words))


def _overrides(
    target: PlumblineTarget, state: State
) -> tuple[dict[int, dict[int, int]], dict[int, str]]:
    return target.overrides(state, World(vault=target.vault))
