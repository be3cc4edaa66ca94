"""Mutations of Solidity, from solc's AST: exact byte ranges and types.

Only what ends in code is mutated: bodies of functions and modifiers, and the values of constants
and state variables.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from risk.chain.solc_ast import Node, children
from risk.mutate.mutant import Mutant
from risk.mutate.source import Source, Span, span, walk
from risk.mutate.yul import Change, assembly_changes, swapped

ARITHMETIC = {
    "+": "-", "-": "+", "*": "/", "/": "*", "%": "*", "**": "*",
    "<<": ">>", ">>": "<<", "&": "|", "|": "&", "^": "|",
}  # fmt: skip
COMPARISON = {
    "<": ("<=", ">"),
    "<=": ("<", ">"),
    ">": (">=", "<"),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
}
LOGICAL = {"&&": "||", "||": "&&"}
ROUNDING = (("Up", "Down"), ("Down", "Up"), ("Ceil", "Floor"), ("Floor", "Ceil"))
_INTEGER = re.compile(r"^u?int\d*$")
_SIGNED = re.compile(r"^int\d+$")


def mutants_of(source: Source, tree: Node) -> list[Mutant]:
    """Every mutant of a file; ``tree`` is its ``SourceUnit``.  Sorted by place, no two alike."""
    ties = set(_ties(source, tree))
    found: dict[str, Mutant] = {}
    for root in _code(tree):
        for kind, at, text in _changes(source, root):
            original = source.text(at)
            if text == original or (at, text) in ties:
                continue
            line = source.line(at.start)
            mutant = Mutant(source.name, kind, at.start, at.length, text, original, line)
            found.setdefault(mutant.id, mutant)
    return sorted(found.values(), key=lambda m: (m.start, m.length, m.kind, m.replacement))


def _code(tree: Node) -> Iterator[Node]:
    """What ends in code: bodies (and what modifiers and base constructors are called with), and
    values of variables of a contract or a file.
    """
    for node in walk(tree):
        if node["nodeType"] in ("FunctionDefinition", "ModifierDefinition"):
            if node.get("body"):
                yield node["body"]
            yield from node.get("modifiers", ())
        elif node["nodeType"] == "VariableDeclaration" and node.get("value"):
            yield node["value"]


_STRICTER = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}


def _ties(source: Source, tree: Node) -> Iterator[tuple[Span, str]]:
    """Changes that matter only where both values are equal, and then choose between them:
    ``a > b ? a : b`` with >= for >.  Equivalent, so they are not made.
    """
    for node in walk(tree):
        if node["nodeType"] != "Conditional":
            continue
        condition = node["condition"]
        if condition["nodeType"] != "BinaryOperation" or condition["operator"] not in _STRICTER:
            continue
        left, right = condition["leftExpression"], condition["rightExpression"]
        chosen = {source.of(node["trueExpression"]), source.of(node["falseExpression"])}
        at = source.between(left, right, condition["operator"])
        if at is not None and chosen == {source.of(left), source.of(right)}:
            yield at, _STRICTER[condition["operator"]]


def _changes(source: Source, root: Node) -> Iterator[Change]:
    yield from _at(source, root)
    for child in children(root):
        yield from _changes(source, child)


def _at(source: Source, node: Node) -> Iterator[Change]:
    match node["nodeType"]:
        case "BinaryOperation":
            yield from _binary(source, node)
        case "Assignment":
            yield from _assignment(source, node)
        case "UnaryOperation":
            yield from _unary(source, node)
        case "Literal" if node.get("kind") == "number":
            yield from _number(source, node)
        case "ExpressionStatement" | "EmitStatement":
            yield "statement", _with_semicolon(source, node), "{}"
        case "Continue" | "Break":
            yield "statement", _with_semicolon(source, node), "{}"
        case "IfStatement":
            yield from _if(source, node)
        case "RevertStatement":
            yield "require", _with_semicolon(source, node), "{}"
        case "Conditional":
            at = span(node["condition"])
            yield "boolean", at, f"!({source.text(at)})"
        case "FunctionCall":
            yield from _call(source, node)
        case "IndexAccess":
            yield from _index(source, node)
        case "Return" if node.get("expression"):
            yield from _returned(source, node["expression"])
        case "InlineAssembly":
            yield from assembly_changes(source, node["AST"])


def _with_semicolon(source: Source, node: Node) -> Span:
    """The range of a statement; solc leaves the semicolon out."""
    at = span(node)
    end = at.end
    while end < len(source.data) and source.data[end : end + 1].isspace():
        end += 1
    return Span(at.start, end + 1) if source.data[end : end + 1] == b";" else at


def _is_integer(node: Node) -> bool:
    return bool(_INTEGER.match(_type(node)))


def _type(node: Node) -> str:
    return str(node.get("typeDescriptions", {}).get("typeString", ""))


def _is_one(node: Node) -> bool:
    return node["nodeType"] == "Literal" and node.get("value") == "1"


def _binary(source: Source, node: Node) -> Iterator[Change]:
    left, right, sign = node["leftExpression"], node["rightExpression"], node["operator"]
    at = source.between(left, right, sign)
    if at is None:
        return
    if sign in ARITHMETIC:
        yield "arithmetic", at, ARITHMETIC[sign]
    for other in COMPARISON.get(sign, ()):
        yield "comparison", at, other
    if sign in LOGICAL:
        yield "boolean", at, LOGICAL[sign]
        for operand in (left, right):
            yield "boolean", span(operand), f"!({source.of(operand)})"
    if sign in "+-" and _is_one(right):
        yield "rounding", span(node), source.of(left)
    if sign == "+" and _is_one(left):
        yield "rounding", span(node), source.of(right)
    if sign in ("-", "/", "%", "**") and _is_integer(node) and _type(left) == _type(right):
        yield from swapped(source, left, right)


def _assignment(source: Source, node: Node) -> Iterator[Change]:
    sign = node["operator"]
    left, right = node["leftHandSide"], node["rightHandSide"]
    if sign != "=" and sign[:-1] in ARITHMETIC:
        at = source.between(left, right, sign)
        if at is not None:
            yield "arithmetic", at, ARITHMETIC[sign[:-1]] + "="
            yield "arithmetic", at, "="
    elif _SIGNED.match(_type(right)) and right["nodeType"] != "Literal":
        yield "sign", span(right), f"-({source.of(right)})"


def _unary(source: Source, node: Node) -> Iterator[Change]:
    sign, inner = node["operator"], node["subExpression"]
    if sign == "!":
        yield "boolean", span(node), source.of(inner)
    elif sign == "-":
        yield "sign", span(node), source.of(inner)
    elif sign == "~":
        yield "arithmetic", span(node), source.of(inner)
    elif sign in ("++", "--"):
        other = "--" if sign == "++" else "++"
        text = source.of(inner)
        yield "arithmetic", span(node), other + text if node["prefix"] else text + other


def _number(source: Source, node: Node) -> Iterator[Change]:
    text, at = source.of(node), span(node)
    plain = text.replace("_", "")
    try:
        value = int(plain, 0)
    except ValueError:  # 1e18, 2 days, 0.5 ether
        for other in (f"({text} + 1)", f"({text} - 1)", f"(2 * {text})", "0"):
            yield "constant", at, other
        return
    if plain.startswith("0x") and len(plain) == 42:  # an address
        return
    for number in sorted({value + 1, value - 1, 2 * value, 0} - {value}):
        if number >= 0:
            yield "constant", at, hex(number) if plain.startswith("0x") else str(number)


def _if(source: Source, node: Node) -> Iterator[Change]:
    at = span(node["condition"])
    text = source.text(at)
    refuses = _refuses(node["trueBody"])
    if refuses:
        yield "require", at, "false"
    else:
        yield "statement", at, "false"
    yield "boolean", at, f"!({text})"


def _refuses(body: Node) -> bool:
    """The body ends in a revert."""
    if body["nodeType"] == "Block":
        statements = body["statements"]
        return bool(statements) and _refuses(statements[-1])
    if body["nodeType"] == "RevertStatement":
        return True
    call = body.get("expression", {}) if body["nodeType"] == "ExpressionStatement" else {}
    return bool(call) and call.get("expression", {}).get("name") == "revert"


def _call(source: Source, node: Node) -> Iterator[Change]:
    called, args = node["expression"], node["arguments"]
    if node.get("kind") == "typeConversion":
        return
    name = called.get("memberName") or called.get("name") or ""
    where = _name_span(source, called, name)
    for old, new in ROUNDING:
        if name.endswith(old) and where is not None and _is_rounding(name):
            yield "rounding", where, name.removesuffix(old) + new
    if name in ("require", "assert") and args:
        yield "require", span(args[0]), "true"
    if name in ("min", "max") and where is not None:
        yield "comparison", where, "max" if name == "min" else "min"
    for place, (left, right) in enumerate(itertools.pairwise(args)):
        if _same_kind(left, right) and not _symmetric(name, place):
            yield from swapped(source, left, right)
    for argument in args:
        if _SIGNED.match(_type(argument)) and argument["nodeType"] in (
            "Identifier",
            "MemberAccess",
        ):
            yield "sign", span(argument), f"-{source.of(argument)}"


_SYMMETRIC = {"min", "max", "saturatingAdd", "saturatingMul", "mulWadUp", "mulWadDown", "mulmod"}


def _symmetric(name: str, place: int) -> bool:
    """Exchanging arguments ``place`` and ``place + 1`` changes nothing: x·y/d, min(x, y) …"""
    return name in _SYMMETRIC or (place == 0 and name.startswith(("mulDiv", "fullMulDiv")))


def _is_rounding(name: str) -> bool:
    return name.startswith(("mul", "div", "_mul", "_div", "fullMulDiv")) or name in (
        "floorWad",
        "ceilWad",
    )


def _name_span(source: Source, called: Node, name: str) -> Span | None:
    """Where the name of a called function stands: the end of ``a.b.name`` or all of ``name``."""
    at = span(called)
    text = source.text(at)
    if not name or not text.endswith(name):
        return None
    return Span(at.end - len(name.encode()), at.end)


def _same_kind(left: Node, right: Node) -> bool:
    a, b = _type(left), _type(right)
    literal = a.startswith("int_const") or b.startswith("int_const")
    return a == b or (literal and _is_number(a) and _is_number(b))


def _is_number(name: str) -> bool:
    return name.startswith("int_const") or bool(_INTEGER.match(name))


def _index(source: Source, node: Node) -> Iterator[Change]:
    index = node.get("indexExpression")
    if index is None:
        return
    base = _type(node["baseExpression"])
    at, text = span(index), source.of(index)
    if index["nodeType"] == "Literal":
        yield "index", at, f"{text} + 1"
        return
    if "mapping(" in base and not _is_integer(index):
        return
    yield "index", at, f"{text} + 1"
    yield "index", at, f"{text} ^ 1"


def _returned(source: Source, value: Node) -> Iterator[Change]:
    if _SIGNED.match(_type(value)) and value["nodeType"] != "Literal":
        yield "sign", span(value), f"-({source.of(value)})"
    elif _type(value) == "bool" and value["nodeType"] not in ("Literal", "BinaryOperation"):
        yield "boolean", span(value), f"!({source.of(value)})"
