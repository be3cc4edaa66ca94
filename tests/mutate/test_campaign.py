"""A whole campaign on the small project: resumable, deterministic, and its report."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from risk.mutate import journal
from risk.mutate.campaign import Campaign, Options, generate, run_campaign
from risk.mutate.config import Stage, load_config
from risk.mutate.errors import BaselineError, ConfigError
from risk.mutate.journal import Entry
from risk.mutate.mutant import Mutant
from risk.mutate.report import Report
from risk.mutate.survivors import Decision, decide, load_decisions
from risk.mutate.worker import Verdict
from tests.mutate.conftest import BANK, bank_config, write_bank

FILE = "src/Bank.sol"

# a "suite" that knows two lines of the contract and nothing else
SUITE = """
import pathlib, sys
text = pathlib.Path("src/Bank.sol").read_text()
known = ("if (amount > held[from]) revert TooMuch(amount);", "held[from] -= amount;")
sys.exit(0 if all(line in text for line in known) else 1)
"""


def _stage(code: str = SUITE) -> Stage:
    return Stage(name="suite", kind="command", command=(sys.executable, "-c", code), seconds=20)


def _run(root: Path, options: Options, stage: Stage | None = None) -> Campaign:
    config = bank_config(stage or _stage())
    quiet = lambda *_: None  # noqa: E731
    return run_campaign(root, config, options, root / "build" / "verdicts.jsonl", quiet, quiet)


def test_campaign_report_and_resumption(tmp_path: Path) -> None:
    root = write_bank(tmp_path)
    campaign = _run(root, Options(count=5, workers=2))
    sample = campaign.sample()
    assert sum(e.counts for e in sample) == 5
    for item in sample:
        if item.counts:
            line = item.before in (
                "if (amount > held[from]) revert TooMuch(amount);",
                "held[from] -= amount;",
            )
            assert item.verdict == ("killed" if line else "survived"), item
    report = Report(sample, {})
    score = report.score()
    assert (score.total, score["killed"]) == (5, sum(e.verdict == "killed" for e in sample))
    assert sum(report.stages().values()) == score["killed"]
    # a killed run: half of the verdicts are gone, the last line is torn
    path = root / "build" / "verdicts.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[: len(lines) // 2]) + "\n" + lines[-1][:40])
    again = _run(root, Options(count=5, workers=1))
    assert again.resumed == len(lines) // 2
    assert [(e.mutant.id, e.verdict) for e in again.sample()] == [
        (e.mutant.id, e.verdict) for e in sample
    ]
    # survivors are asked again where tests were added
    known = "import sys; sys.exit('FEE = 30;' not in open('src/Bank.sol').read())"
    alive = {e.mutant.id for e in sample if e.verdict == "survived"}
    third = _run(root, Options(count=5, workers=1, again=frozenset({"survived"})), _stage(known))
    assert third.resumed == len(again.entries) - len(alive)
    verdicts = journal.read(path)
    assert len(verdicts) == len({e.mutant.id for e in verdicts})
    fees = [e for e in third.sample() if e.before.startswith("uint256 public constant FEE")]
    assert all(e.verdict == "killed" for e in fees if e.counts)


def test_a_stage_that_fails_without_a_mutant_stops_the_run(tmp_path: Path) -> None:
    broken = _stage("import sys; sys.exit(1)")
    with pytest.raises(BaselineError, match="stage suite finds a fault without a mutant"):
        _run(write_bank(tmp_path), Options(count=1, workers=1), broken)


def test_verdicts_of_another_text_do_not_count(tmp_path: Path) -> None:
    root = write_bank(tmp_path)
    project, mutants = generate(root, bank_config(_stage()))
    path = root / "verdicts.jsonl"
    verdict = Verdict("killed", "suite", "", 1.0)
    journal.append(path, journal.entry(mutants[0], verdict, project.sources[FILE]))
    assert len(journal.valid(journal.read(path), project.sources)) == 1
    changed = {FILE: BANK.replace("FEE = 30", "FEE = 40")}
    assert not journal.valid(journal.read(path), changed)


# ── report and decisions ─────────────────────────────────────────────────────────────────────────


def _entry(number: int, verdict: str, kind: str = "sign") -> Entry:
    at = BANK.encode().index(b"FEE = 30") + 6
    mutant = Mutant(FILE, kind, at, 2, str(31 + number), "30", 1)
    return journal.entry(mutant, Verdict(verdict, "suite", "why", 2.0), BANK)


def _decision(entry: Entry, kind: str) -> Decision:
    return Decision.model_validate(
        {
            "decision": kind,
            "reason": "long enough to be a reason",
            "file": FILE,
            "before": entry.before,
            "after": entry.after,
        }
    )


def test_score_and_decisions() -> None:
    verdicts = ["killed", "killed", "timed out", "survived", "survived", "survived", "error",
                "equivalent", "duplicate", "stillborn"]  # fmt: skip
    entries = [_entry(i, verdict) for i, verdict in enumerate(verdicts)]
    plain = Report(entries, {})
    assert (plain.score().total, plain.score().dead) == (7, 3)
    decisions = (_decision(entries[3], "equivalent"), _decision(entries[4], "explained"))
    decided = Report(entries, decide(entries, decisions))
    assert (decided.score().total, decided.score().dead) == (6, 3)
    assert decided.score().share == pytest.approx(50.0)
    assert [e.mutant.id for e in decided.alive] == [entries[i].mutant.id for i in (4, 5, 6)]
    assert [e.mutant.id for e in decided.unexplained] == [entries[i].mutant.id for i in (5, 6)]
    result = decided.as_json({FILE: BANK})
    assert result["score_percent"] == 50.0
    assert len(result["survivors"]) == 3
    assert json.dumps(result)
    text = decided.markdown({FILE: BANK})
    assert "**50.0 %** of 6 mutants killed" in text
    assert "-    uint256 public constant FEE = 30;" in text
    assert "+    uint256 public constant FEE = 36;" in text


def test_a_decision_does_not_excuse_a_killed_mutant_nor_its_neighbour() -> None:
    killed, other = _entry(0, "killed"), _entry(1, "survived")
    assert not decide([killed, other], [_decision(killed, "equivalent")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[mutant]]\ndecision = "equivalent"\nreason = "long enough for it"', "names neither"),
        ('[[mutant]]\nid = "a"\ndecision = "equivalent"\nreason = "short"', "says too little"),
        ('[[mutant]]\nid = "a"\ndecision = "fine"\nreason = "long enough for it"', "decision"),
        ("[[mutant", "Expected"),
    ],
)  # fmt: skip
def test_decisions_that_say_nothing(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "decisions.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_decisions(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[scope]\ninclude = 3\n", "scope.include"),
        ("[scope]\ninclude = ['a']\n[[stage]]\nname = 'x'\nkind = 'pytest'\n", "what to run"),
        ("[scope]\ninclude = ['a']\n[[stage]]\nname = 'x'\nkind = 'magic'\n", "stage.0.kind"),
        ("[scope]\ninclude = ['a']\nstage = []\n", "scope.stage"),
    ],
)
def test_a_configuration_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mutation.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_the_configuration_of_this_project_is_sound() -> None:
    root = Path(__file__).resolve().parents[2]
    config = load_config(root / "configs" / "mutation.toml")
    load_decisions(root / "configs" / "mutation-survivors.toml")
    for stage in config.stage:
        assert all((root / file).exists() for file in stage.files), stage.name
    for path in (root / "contracts").rglob("*.sol"):
        name = path.relative_to(root).as_posix()
        if config.in_scope(name):
            assert [s for s in config.stage if s.applies(name)], f"no stage can kill {name}"
