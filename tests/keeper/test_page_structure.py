"""The page without a browser: one file, nothing from outside, nothing that makes HTML of text."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import pytest

from risk.keeper.monitor.server import PAGE, page
from risk.keeper.monitor.terminal import BUCKETS
from risk.keeper.ports import Bucket
from risk.keeper.snapshot import VERSION

HTML = PAGE.read_text(encoding="utf-8")
VOID = {"meta", "link", "br", "input", "img", "hr"}


class Tree(HTMLParser):
    """Tags with their attributes; fails where one is not closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self.inside: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self._open:
            self.inside[self._open[-1]] = self.inside.get(self._open[-1], "") + data

    def whole(self) -> Tree:
        assert self._open == []
        return self


@pytest.fixture(scope="module")
def tree() -> Tree:
    made = Tree()
    made.feed(HTML)
    made.close()
    return made.whole()


def test_nothing_comes_from_outside(tree: Tree) -> None:
    for tag, attributes in tree.tags:
        assert "src" not in attributes, tag
        href = attributes.get("href", "#")
        assert href.startswith("#") or href == "data:,", href
        assert not any(name.startswith("on") for name in attributes), tag  # handlers
        assert "style" not in attributes, tag  # the policy forbids them
    assert not re.search(r"https?:|//[a-z0-9.-]+\.[a-z]{2,}|@import|url\(", HTML)
    assert re.findall(r"fetch\((.*?),", HTML) == ['"data.json"']


def test_text_is_never_made_html(tree: Tree) -> None:
    script = tree.inside["script"]
    for name in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "createContextualFragment",
        "DOMParser",
        "srcdoc",
        "eval(",
        "Function(",
        "javascript:",
        ".href",
        ".src",
    ):
        assert name not in script, name
    attributes = re.findall(r"setAttribute\(\"([a-z-]+)\"", script)
    assert set(attributes) == {"aria-hidden", "role"}
    assert script.count("setAttribute(") == len(attributes)


def test_what_the_script_looks_for_is_there_once(tree: Tree) -> None:
    ids = [a["id"] for _, a in tree.tags if "id" in a]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r"""(?:\$|fill|facts)\("([a-z-]+)\"""", tree.inside["script"]))
    assert len(wanted) > 20 and wanted <= set(ids)
    for _, attributes in tree.tags:
        for name in ("for", "aria-labelledby"):
            assert attributes.get(name, ids[0]) in ids


def test_it_is_accessible_without_style(tree: Tree) -> None:
    tags = [tag for tag, _ in tree.tags]
    attributes = dict(tree.tags)
    assert attributes["html"] == {"lang": "en"}
    assert tags.count("h1") == 1 and tags.count("main") == 1
    headings = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in itertools.pairwise(headings))
    labelled = {a["for"] for tag, a in tree.tags if tag == "label"}
    assert all(a["id"] in labelled for tag, a in tree.tags if tag == "input")
    assert all("aria-labelledby" in a for tag, a in tree.tags if tag == "section")
    viewport = [a["content"] for _, a in tree.tags if a.get("name") == "viewport"]
    assert viewport == ["width=device-width, initial-scale=1"]  # zooming is not forbidden
    assert sum(a.get("role") == "status" for _, a in tree.tags) == 2


def test_both_colour_schemes_define_the_same_colours(tree: Tree) -> None:
    style = tree.inside["style"]
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    light, dark = (set(re.findall(r"(--[a-z-]+):", block)) for block in blocks[:2])
    assert light == dark and len(light) > 10
    assert set(re.findall(r"var\((--[a-z-]+)", style)) <= light | {"--w"}


def test_words_and_version_are_those_of_the_keeper(tree: Tree) -> None:
    script = tree.inside["script"]
    assert f"VERSION = {VERSION}," in script
    (block,) = re.findall(r"const BUCKETS = \{(.*?)\};", script, re.DOTALL)
    on_page = dict(re.findall(r'(\w+): "(.*?)"', block))
    assert on_page == {bucket.value: BUCKETS[bucket] for bucket in Bucket}


def test_a_page_with_another_script_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two:
        @staticmethod
        def read_text(encoding: str) -> str:
            return HTML.replace("</body>", "<script>1</script></body>")

    monkeypatch.setattr("risk.keeper.monitor.server.PAGE", Two)
    with pytest.raises(ValueError, match="2 <script>"):
        page()
