"""README and documents against the files: the tree, the targets of `make`, links, commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from risk.chain.node import project_root
from tests.support.command_tree import nodes
from tests.support.documents import Call, calls, documents

ROOT = project_root()
README = (ROOT / "README.md").read_text(encoding="utf-8")
BRANCH = re.compile(r"^( {4,})(\S+?(?:, \S+?)*)(?: {2,}|$)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
BUILT = {"build", "reports", "node_modules", "findings", "deployments"}  # in .gitignore


def tree() -> set[str]:
    """Paths below the heading "The tree", folders without their slash."""
    section = README.split("## The tree\n")[1].split("\n## ")[0]
    found: set[str] = set()
    stack: list[tuple[int, str]] = []
    for line in section.splitlines():
        match = BRANCH.match(line)
        if match is None:
            continue
        depth, names = len(match.group(1)), match.group(2).split(", ")
        while stack and stack[-1][0] >= depth:
            stack.pop()
        above = stack[-1][1] if stack else ""
        found |= {above + name.rstrip("/") for name in names}
        if names[-1].endswith("/"):
            stack.append((depth, above + names[-1]))
    return found


def folders_of_sources() -> set[str]:
    """Every package of `risk/` and every folder of contracts; twins and templates lie in these."""
    packages = {p.parent for p in (ROOT / "risk").rglob("__init__.py")}
    packages |= {p.parent for p in (ROOT / "contracts").rglob("*.sol")}
    return {str(p.relative_to(ROOT)) for p in packages}


def test_everything_in_the_tree_is_there() -> None:
    found = tree()
    assert len(found) > 50
    assert not sorted(path for path in found if not (ROOT / path).exists())


def test_every_package_is_in_the_tree() -> None:
    """Apart from twins of contracts/ in risk/exact/ and the single targets."""
    alike = ("risk/exact/", "risk/targets/")
    wanted = {p for p in folders_of_sources() if not p.startswith(alike)}
    assert not sorted(wanted - tree())


def test_every_folder_at_the_top_is_in_the_tree() -> None:
    tops = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")}
    tops = {name for name in tops if not name.endswith(".egg-info")} - BUILT
    assert not sorted(tops - {path.partition("/")[0] for path in tree()})


def test_twins_lie_where_the_contracts_do() -> None:
    exact = {p.parent.name for p in (ROOT / "risk" / "exact").glob("*/__init__.py")}
    assert exact <= {p.name for p in (ROOT / "contracts").iterdir() if p.is_dir()}


def test_make_targets() -> None:
    """Each has a text for `make`, is phony, and the README's list of them knows it."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.M))
    told = set(re.findall(r"^([a-z][a-z-]*):.* ## \S", makefile, re.M))
    phony = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.M)[0].split())
    assert rules == told == phony
    section = README.split("## Two commands\n")[1].split("\n## ")[0]
    listed = set(re.findall(r"`([a-z][a-z-]*)`", section))
    listed |= set(re.findall(r"^    make ([a-z-]+)", section, re.M))
    assert listed - {"make"} <= rules
    # what only those who work on the project itself need is in the list of `make`
    inner = {"help", "setup", "test-brownie", "lint-triage", "lock", "clean", "distclean"}
    assert rules - listed == inner


def test_make_targets_name_files_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\btests/[\w/]+(?:\.py)?", makefile))
    assert any(path.endswith(".py") for path in named)
    assert not sorted(path for path in named if not (ROOT / path).exists())


def test_every_document_is_listed() -> None:
    section = README.split("## Documents\n")[1].split("\n## ")[0]
    listed = set(LINK.findall(section))
    docs = {str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md")}
    assert not sorted(docs - listed)


@pytest.mark.parametrize("path", documents(ROOT), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    links = LINK.findall(path.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert not [link for link in local if not (path.parent / link).exists()]


def wrong(call: Call) -> str | None:
    """What the program would not understand of this call."""
    known = {node.path: node for node in nodes()}
    path: tuple[str, ...] = ()
    while len(path) < len(call.words) and (*path, call.words[len(path)]) in known:
        path = (*path, call.words[len(path)])
    node = known[path]
    rest = call.words[len(path) :]
    if node.group and rest and not rest[0].startswith(("-", "…")):
        return f"{call.place}: there is no command {rest[0]}"
    flags = {o for p in node.parameters if getattr(p, "is_flag", False) for o in p.opts}
    options = {o for p in node.parameters for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    words = iter(rest)
    for word in words:
        for part in word.strip("[]").split("/") if word.lstrip("[").startswith("--") else ():
            name, equals, _ = part.partition("=")
            name = name.rstrip(".,;:)")
            if name not in options:
                return f"{call.place}: plumbline {node.name} has no {name}"
            if name not in flags and not equals and part == word:
                next(words, None)  # its value
    return None


def test_every_command_of_the_documents_is_understood() -> None:
    found = [call for path in documents(ROOT) for call in calls(path, ROOT)]
    assert len(found) > 50
    assert not [problem for problem in map(wrong, found) if problem]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("calibrat",), "there is no command calibrat"),
        (("mutate", "walk"), "there is no command walk"),
        (("var", "--speed", "3"), "plumbline var has no --speed"),
        (("keeper", "status", "[--yaml]"), "plumbline keeper status has no --yaml"),
    ],
)
def test_a_wrong_command_would_be_noticed(words: tuple[str, ...], problem: str) -> None:
    assert (wrong(Call("x:1", words)) or "").endswith(problem)
