"""What an auditor gets: text, JSON, SARIF, HTML, and what stands in the generated tests."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from risk.diff.adapter import Mismatch
from risk.diff.coverage import Tally
from risk.diff.findings import FORMATS, finding_of, html, regression, sarif, write_findings
from risk.diff.findings.code import checksum
from risk.diff.findings.finding import fingerprint_of, line_of
from risk.diff.findings.recording import Deployed, create_address
from risk.diff.kit.errors import DiffError
from risk.diff.runner import Plan, run_sequence
from risk.diff.shrink import shrink
from tests.diff.bank import CONTRACTS, Bank, bank_target

PLAN = Plan(seed=1, actions=60)


@pytest.fixture(scope="module")
def found() -> Iterator[tuple[Any, Any, Tally]]:
    """(open target, shrunk sequence, tally of the run)"""
    target = bank_target("faulty")
    target.open()
    tally = Tally()
    for index in range(4):
        run_sequence(target, PLAN, index, tally)
    yield target, shrink(target, PLAN, 3), tally
    target.close()


@pytest.fixture(scope="module")
def files(found: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Text by format."""
    target, shrunk, tally = found
    paths = write_findings(tmp_path_factory.mktemp("findings"), target, shrunk, tally)
    assert len({path.stem.removeprefix("test_").removesuffix(".t") for path in paths}) == 1
    return {name: path.read_text() for name, path in zip(FORMATS, paths, strict=True)}


def test_text_tells_everything(files: dict[str, str], found: Any) -> None:
    text, shrunk = files["text"], found[1]
    amount = shrunk.steps[-1].arguments[-1]
    assert f"2 actions of {shrunk.recorded}" in text
    assert '"rates": [0]' in text
    assert "1. alice.put(0, 1) -> both returns 1" in text
    assert "2. alice.send(0, alice, 1) -> model returns 1, chain returns 0" in text
    assert "model  1 (0x1)" in text and "chain  0 (0x0)" in text and "chain - model  -1" in text
    assert "first diverging quantity  outcome.data" in text
    assert re.search(r"outcome\.data\n +model  0x0+1 \(1\)\n +chain  0x0+ \(0\)\n.*-1\n", text)
    assert f"fee = ceil({amount} x " in text
    assert re.search(r"Bank\.send \(tests/diff/contracts/\w+/Bank\.sol:\d+\)", text)


def test_json_keeps_every_digit(found: Any) -> None:
    target, shrunk, _ = found
    finding = finding_of(target, shrunk)
    finding.differences = [Mismatch("state.x", 2**255 + 1, -3), Mismatch("state.y", b"\1", True)]
    plain = json.loads(json.dumps(sarif.plain(finding)))
    x, y = plain["differences"]
    assert (int(x["model"]), int(x["chain"])) == (2**255 + 1, -3)
    assert int(x["difference"]) == -3 - 2**255 - 1
    assert (y["model"], y["chain"]) == ("0x01", True)
    assert plain["figures"]["actions"] == 2


def test_sarif_has_what_the_standard_requires(files: dict[str, str]) -> None:
    """SARIF 2.1.0: required properties of each object that is used, and the references between
    them."""
    log = json.loads(files["sarif"])
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert isinstance(driver["name"], str) and driver["name"]
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(set(ids)) == len(ids)
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"] and rule["fullDescription"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    (result,) = run["results"]
    assert ids[result["ruleIndex"]] == result["ruleId"]
    assert result["kind"] == "fail" and result["level"] == "error"
    assert "alice.send(0, alice, 1)" in result["message"]["text"]
    (location,) = result["locations"]
    physical = location["physicalLocation"]
    uri = physical["artifactLocation"]["uri"]
    assert not uri.startswith("/") and " " not in uri
    line = physical["region"]["startLine"]
    assert "function send(" in Path(uri).read_text().splitlines()[line - 1]
    assert location["logicalLocations"][0]["fullyQualifiedName"] == "Bank.send"
    assert re.fullmatch(r"[0-9a-f]{32}", result["partialFingerprints"]["plumblineFinding/v1"])


def test_fingerprints_are_those_of_the_fault() -> None:
    """The same for every sequence that shows the fault, another for another function."""
    target = bank_target("faulty")
    target.open()
    try:
        prints = {finding_of(target, shrink(target, PLAN, i)).fingerprint for i in (3, 5)}
    finally:
        target.close()
    assert prints == {fingerprint_of("bank", "outcome.data", "Bank.send")}
    assert prints != {fingerprint_of("bank", "outcome.data", "Bank.put")}


# ── HTML ─────────────────────────────────────────────────────────────────────────────────────────


class Page(HTMLParser):
    """Tags that are opened and closed in order, references, text."""

    VOID = frozenset({"meta", "br", "link", "img", "hr", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not {"src", "href", "onclick"} & {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_html_is_one_file_with_everything(files: dict[str, str], found: Any) -> None:
    _, _, tally = found
    page = Page(files["html"])
    assert "script" not in page.seen and "link" not in page.seen and "url(" not in files["html"]
    text = " ".join(page.words)
    for kind in ("put", "take", "send", "grow"):
        assert kind in page.words
    assert f"{tally.actions:,}" in page.words
    assert "Insufficient" in page.words  # an error that was reached
    assert "alice.send(0, alice, 1)" in text and "outcome.data" in text


def test_html_charts_are_drawn_to_scale(files: dict[str, str], found: Any) -> None:
    _, _, tally = found
    drawing = re.findall(r"<svg.*?</svg>", files["html"], re.S)[0]
    rows = ElementTree.fromstring(drawing).findall("rect")
    widths = {
        kind: (float(a.attrib["width"]), float(b.attrib["width"]))
        for kind, a, b in zip(sorted(Bank.kinds), rows[::2], rows[1::2], strict=True)
    }
    for kind, (ok, refused) in widths.items():
        counts = tally.action_kinds[f"{kind}:ok"], tally.action_kinds[f"{kind}:revert"]
        top = max(
            tally.action_kinds[f"{k}:ok"] + tally.action_kinds[f"{k}:revert"] for k in Bank.kinds
        )
        assert ok == pytest.approx(500 * counts[0] / top, abs=0.1)
        assert refused == pytest.approx(500 * counts[1] / top, abs=0.1)


def test_html_escapes_what_contracts_say(found: Any) -> None:
    target, shrunk, _ = found
    finding = finding_of(target, shrunk)
    finding.steps = ["1. <script>alert(1)</script>"]
    page = html.report(Tally(), [finding])
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_html_without_findings() -> None:
    tally = Tally(sequences=3, actions=60)
    assert "0 mismatches" in html.report(tally, [])


# ── the recording and the tests made from it ─────────────────────────────────────────────────────


def test_recording_knows_where_contracts_come_from(found: Any) -> None:
    target, shrunk, _ = found
    recording = finding_of(target, shrunk).recording
    assert recording is not None
    (deployed,) = (e for e in recording.setup if isinstance(e, Deployed))
    assert (deployed.artifact, deployed.nonce) == ("Bank", 0)
    assert int.from_bytes(deployed.arguments, "big") == shrunk.world["fee_bps"]
    assert [d.name for d in recording.demands] == ["fees[0]", "balance[0][alice]"]
    assert recording.demands[0].word == 1  # the second value that assets() returns
    assert target.start_in(shrunk.world) is not None  # the target works as before


@pytest.mark.parametrize(
    "nonce, address",
    [  # vectors of the Ethereum yellow paper's rule for one sender, from go-ethereum's tests
        (0, 0x333C3310824B7C685133F2BEDB2CA4B8B4DF633D),
        (1, 0x8BDA78331C916A08481428E4B07C96D3E916D165),
        (2, 0xC9DDEDF451BC62CE88BF9292AFB13DF35B670699),
    ],
)
def test_create_addresses(nonce: int, address: int) -> None:
    assert create_address(0x970E8128AB834E8EAC17AB8E3812F010678CF791, nonce) == address


def test_addresses_have_checksums() -> None:
    for text in (  # examples of EIP-55
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    ):
        assert checksum(int(text, 16)) == text


def test_a_difference_that_no_view_shows_has_no_test(tmp_path: Path) -> None:
    """The adapter adds up two views: there is no word to demand."""

    class Sums(Bank):
        def observe_model(self, model: Any) -> dict[str, Any]:
            return {"all": sum(a.fees + 3 * a.total + 7 for a in model.assets)}

        def observe_chain(self, chain: Any) -> dict[str, Any]:
            seen = super().observe_chain(chain)
            total, fees = (
                sum(v for k, v in seen.items() if k.startswith(n)) for n in ("total", "fees")
            )
            count = sum(k.startswith("fees") for k in seen)
            return {"all": fees + 3 * total + 7 * count}

    target = bank_target("faulty", returns=False)
    target.adapter = Sums(returns=False)
    target.open()
    try:
        shrunk = shrink(target, PLAN, 3)
        paths = write_findings(tmp_path, target, shrunk, Tally(), ["text", "pytest", "foundry"])
        with pytest.raises(regression.NotTestable, match=r"no view shows state\.all"):
            regression.pytest_file(finding_of(target, shrunk))
    finally:
        target.close()
    assert [path.suffix for path in paths] == [".txt"]
    assert "no foundry test: no view shows state.all" in paths[0].read_text()


def test_unknown_formats_are_refused(found: Any, tmp_path: Path) -> None:
    with pytest.raises(DiffError, match="no format 'pdf'"):
        write_findings(tmp_path, found[0], found[1], Tally(), ["pdf"])


def test_lines_of_functions() -> None:
    source = (CONTRACTS / "mended" / "Bank.sol").read_text()
    lines = source.splitlines()
    assert "function take(" in lines[line_of(source, "take") - 1]
    assert "balanceOf" in lines[line_of(source, "balanceOf") - 1]
    assert line_of(source, "nothing") == 1
