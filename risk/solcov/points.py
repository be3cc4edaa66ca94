"""What there is to reach: statements and branches of the syntax trees.

A statement is a Solidity or Yul statement that does something (blocks do not).  A branch has two or
more *sides*; each side is known by the edge that its conditional jump takes.  solc's code generator
(without ``viaIR``) gives the jump the source range of the construct itself, so the range identifies
it in every contract that contains a copy.  Which way the jump goes (libsolidity/codegen
ContractCompiler.cpp, ExpressionCompiler.cpp, libyul CodeTransform.cpp):

=================  ======================  =======================
construct          jump                    fall through
=================  ======================  =======================
if, Yul if         condition false         condition true
?:                 condition true          condition false
&&                 left false              left true
||                 left true               left false
for, while, Yul    leaves                  goes round
do … while         goes round              leaves
Yul case           this case               a later one, or default
require, assert    told by ``evaluate``    told by ``evaluate``
try                success                 a catch clause
=================  ======================  =======================
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from risk.chain.solc_ast import children
from risk.solcov.build import Compiled

Json = Any

JUMP, FALL = "jump", "fall"
_SIDES = {
    "IfStatement": ("if", "false", "true"),
    "YulIf": ("if", "false", "true"),
    "Conditional": ("?:", "true", "false"),
    "&&": ("&&", "left false", "left true"),
    "||": ("||", "left true", "left false"),
    "ForStatement": ("for", "leaves", "enters"),
    "YulForLoop": ("for", "leaves", "enters"),
    "WhileStatement": ("while", "leaves", "enters"),
    "DoWhileStatement": ("do", "repeats", "leaves"),
    "YulCase": ("case", "this", "other"),
    "TryStatement": ("try", "success", "failure"),
    "require": ("require", "jump", "fall through"),
    "assert": ("assert", "jump", "fall through"),
}
_STATEMENTS = {
    "ExpressionStatement",
    "VariableDeclarationStatement",
    "Return",
    "RevertStatement",
    "EmitStatement",
    "IfStatement",
    "ForStatement",
    "WhileStatement",
    "DoWhileStatement",
    "TryStatement",
    "Break",
    "Continue",
    "YulExpressionStatement",
    "YulAssignment",
    "YulVariableDeclaration",
    "YulIf",
    "YulSwitch",
    "YulForLoop",
    "YulBreak",
    "YulContinue",
    "YulLeave",
}
_CONTAINERS = {"Block", "UncheckedBlock", "YulBlock", "InlineAssembly"}


@dataclass(frozen=True)
class Side:
    """One way out of a branch: the edge (``jump`` or ``fall``) of its conditional jump."""

    branch: tuple[int, int]
    edge: str


@dataclass
class Branch:
    """A construct with several ways out; ``names`` maps the edge to a readable name."""

    start: int
    end: int
    kind: str
    line: int
    names: Mapping[str, str]
    function: str


@dataclass
class Statement:
    """A statement.  ``entry`` is the side of a branch that leads to it and to nothing else first;
    such a statement runs exactly when that side is taken.
    """

    start: int
    end: int
    line: int
    function: str
    entry: Side | None


@dataclass
class Source:
    """Statements and branches of one file, by range (bytes)."""

    path: str
    text: bytes
    statements: dict[tuple[int, int], Statement] = field(default_factory=dict)
    branches: dict[tuple[int, int], Branch] = field(default_factory=dict)
    _lines: list[int] = field(default_factory=list)
    _starts: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lines = [0] + [i + 1 for i, byte in enumerate(self.text) if byte == 10]

    def line(self, offset: int) -> int:
        """Line number, from 1, of a byte offset."""
        return bisect.bisect_right(self._lines, offset)

    def line_text(self, line: int) -> str:
        """A line without the white space around it."""
        return self.text.split(b"\n")[line - 1].decode().strip()

    def snippet(self, start: int, end: int, limit: int = 90) -> str:
        """Source of a range on one line, cut to ``limit`` characters."""
        text = " ".join(self.text[start:end].decode("utf-8", "replace").split())
        return text if len(text) <= limit else text[: limit - 1] + "…"

    def statement_at(self, start: int, end: int) -> Statement | None:
        """The innermost statement whose range holds ``start`` to ``end``."""
        if not self._starts:
            # outer before inner where both start at the same byte
            self._starts = sorted(self.statements, key=lambda r: (r[0], -r[1]))
        at = bisect.bisect_right(self._starts, start, key=lambda r: r[0])
        while at:
            at -= 1
            found = self._starts[at]
            if found[1] >= end:
                return self.statements[found]
        return None


def sources(
    compiled: Compiled, prefix: str = "contracts/", skip: str = "contracts/test/"
) -> dict[str, Source]:
    """Everything to reach in the files below ``prefix`` but not below ``skip``."""
    out: dict[str, Source] = {}
    for path, tree in compiled.trees.items():
        if path.startswith(prefix) and not path.startswith(skip):
            source = Source(path, compiled.texts[path])
            _Walker(source).visit(tree, "", None)
            out[path] = source
    return out


class _Walker:
    def __init__(self, source: Source) -> None:
        self.source = source

    def visit(self, node: Json, function: str, entry: Side | None) -> None:
        """Adds what ``node`` and its children hold; ``entry`` leads to ``node`` first of all."""
        kind = node.get("nodeType", "")
        if kind in ("FunctionDefinition", "ModifierDefinition"):
            function = node.get("name") or node.get("kind", "")
        if kind in _CONTAINERS:
            self._block(node, function, entry)
            return
        if kind in _STATEMENTS:
            self._statement(node, function, entry)
        branch = self._branch(node, kind, function)
        if branch is None:
            for child in children(node):
                self.visit(child, function, None)
            return
        bodies = self._bodies(node, kind, branch, entry)
        for child in children(node):
            self.visit(child, function, bodies.get(id(child)))

    def _block(self, node: Json, function: str, entry: Side | None) -> None:
        items = [node["AST"]] if node["nodeType"] == "InlineAssembly" else node["statements"]
        for item in items:
            self.visit(item, function, entry)
            # an empty block or a function in assembly comes before nothing that runs
            if item["nodeType"] != "YulFunctionDefinition":
                entry = None

    def _statement(self, node: Json, function: str, entry: Side | None) -> None:
        start, end = _range(node)
        line = self.source.line(start)
        self.source.statements[(start, end)] = Statement(start, end, line, function, entry)

    def _branch(self, node: Json, kind: str, function: str) -> Branch | None:
        name = _branch_name(node, kind)
        if name is None:
            return None
        start, end = _range(node)
        word, jump, fall = _SIDES[name]
        line = self.source.line(start)
        branch = Branch(start, end, word, line, {JUMP: jump, FALL: fall}, function)
        self.source.branches[(start, end)] = branch
        return branch

    def _bodies(
        self, node: Json, kind: str, branch: Branch, entry: Side | None
    ) -> dict[int, Side | None]:
        """Which child runs first on which side."""
        key = (branch.start, branch.end)
        jump, fall = Side(key, JUMP), Side(key, FALL)
        out: dict[int, Side | None] = {}

        def lead(child: Json, side: Side | None) -> None:
            if child is not None:
                out[id(child)] = side

        if kind == "IfStatement":
            lead(node["trueBody"], fall)
            lead(node.get("falseBody"), jump)
        elif kind == "YulIf":
            lead(node["body"], fall)
        elif kind == "ForStatement":
            lead(node.get("initializationExpression"), entry)
            if node.get("condition") is not None:
                lead(node["body"], fall)
        elif kind == "WhileStatement":
            lead(node["body"], fall)
        elif kind == "YulForLoop":
            lead(node["pre"], entry)
            lead(node["body"], fall)
        elif kind == "YulCase":
            lead(node["body"], jump)
        return out


def _branch_name(node: Json, kind: str) -> str | None:
    if kind == "BinaryOperation":
        return node["operator"] if node["operator"] in ("&&", "||") else None
    if kind == "FunctionCall":
        name = node["expression"].get("name")
        builtin = node["expression"].get("referencedDeclaration", 0) < 0
        return name if name in ("require", "assert") and builtin else None
    if kind == "YulCase":
        return None if node["value"] == "default" else kind
    return kind if kind in _SIDES else None


def _range(node: Json) -> tuple[int, int]:
    start, length, _ = (int(part) for part in node["src"].split(":"))
    return start, start + length
