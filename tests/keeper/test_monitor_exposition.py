"""The metrics page against the grammar of the text format, read by a parser of its own."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.keeper.monitor.exposition import Family, Sample, counter, gauge, render

_LINE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r"(?:\{(?P<labels>.*)\})?"
    r" (?P<value>NaN|[+-]Inf|-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
)
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')


def unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text)


def parse(page: str) -> dict[str, tuple[str, str, dict[tuple[tuple[str, str], ...], float]]]:
    """name -> kind, help, values by labels. Fails where a line is not of the grammar or lines of a
    family do not stand together under their HELP and TYPE."""
    assert page == "" or page.endswith("\n")
    found: dict[str, tuple[str, str, dict[tuple[tuple[str, str], ...], float]]] = {}
    helps: dict[str, str] = {}
    current = ""
    for line in page.split("\n")[:-1]:
        if line.startswith("# HELP "):
            name, text = line[7:].split(" ", 1)
            assert name not in helps
            helps[name] = unescape(text)
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name in helps and name not in found and kind in ("counter", "gauge")
            found[name] = (kind, helps[name], {})
            current = name
        else:
            match = _LINE.fullmatch(line)
            assert match, line
            assert match["name"] == current
            labels, rest = [], match["labels"] or ""
            while rest:
                pair = _PAIR.match(rest)
                assert pair, line
                labels.append((pair[1], unescape(pair[2])))
                rest = rest[pair.end() :]
            key = tuple(sorted(labels))
            assert key not in found[current][2]
            found[current][2][key] = float(match["value"])
    return found


def test_a_page_as_the_specification_writes_it() -> None:
    page = render(
        [
            counter(
                "x_requests_total",
                "Requests \\ answers\nof the day.",
                Sample(3, {"path": 'a"b\\c\nd'}),
                Sample(0.5, {"path": ""}),
            ),
            gauge("x_height", "Newest block.", Sample(2**70)),
            gauge("x_nothing", "Not known."),
        ]
    )
    assert page == (
        "# HELP x_requests_total Requests \\\\ answers\\nof the day.\n"
        "# TYPE x_requests_total counter\n"
        'x_requests_total{path="a\\"b\\\\c\\nd"} 3\n'
        'x_requests_total{path=""} 0.5\n'
        "# HELP x_height Newest block.\n"
        "# TYPE x_height gauge\n"
        "x_height 1180591620717411303424\n"
    )


@settings(max_examples=50, deadline=None)
@given(
    help_text=st.text(),
    labels=st.lists(st.text(), unique=True, min_size=1, max_size=5),
    value=st.one_of(st.integers(-(2**256), 2**256), st.floats()),
)
def test_any_text_and_any_number_come_back(
    help_text: str, labels: list[str], value: float | int
) -> None:
    samples = tuple(Sample(value, {"of": label}) for label in labels)
    kind, text, values = parse(render([Family("a_b", "gauge", help_text, samples)]))["a_b"]
    assert (kind, text) == ("gauge", help_text)
    assert set(values) == {(("of", label),) for label in labels}
    for got in values.values():
        assert got == float(value) or (math.isnan(got) and math.isnan(value))


def test_a_lone_surrogate_does_not_break_the_page() -> None:
    page = render([gauge("a", "b", Sample(1, {"error": "bad \udc80 byte"}))])
    assert page.encode() and parse(page)["a"][2] == {(("error", "bad ? byte"),): 1.0}


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "a\n", "ä"])
def test_a_name_that_the_format_does_not_allow(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        gauge(name, "")


@pytest.mark.parametrize("label", ["", "1a", "a:b", "a-b", "__name__", 'a="b",c'])
def test_a_label_that_the_format_does_not_allow(label: str) -> None:
    with pytest.raises(ValueError, match="no label"):
        gauge("a", "", Sample(1, {label: "x"}))


def test_counters_and_only_they_end_in_total() -> None:
    with pytest.raises(ValueError, match="_total"):
        counter("a", "")
    with pytest.raises(ValueError, match="_total"):
        gauge("a_total", "")


def test_nothing_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        gauge("a", "", Sample(1, {"b": "c", "d": "e"}), Sample(2, {"d": "e", "b": "c"}))
    with pytest.raises(ValueError, match="twice"):
        render([gauge("a", ""), gauge("a", "")])
