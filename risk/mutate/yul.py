"""Mutations of inline assembly, from the Yul part of solc's AST."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from risk.chain.solc_ast import Node, children
from risk.mutate.source import Source, Span, span

Change = tuple[str, Span, str]  # kind, range, replacement

SWAPS: dict[str, tuple[tuple[str, str], ...]] = {
    "add": (("arithmetic", "sub"),),
    "sub": (("arithmetic", "add"),),
    "mul": (("arithmetic", "div"),),
    "div": (("arithmetic", "mul"),),
    "mod": (("arithmetic", "div"),),
    "shl": (("arithmetic", "shr"),),
    "shr": (("arithmetic", "shl"),),
    "and": (("arithmetic", "or"),),
    "or": (("arithmetic", "and"),),
    "xor": (("arithmetic", "or"),),
    "sdiv": (("sign", "div"), ("arithmetic", "mul")),
    "smod": (("sign", "mod"),),
    "sar": (("sign", "shr"),),
    "lt": (("comparison", "gt"),),
    "gt": (("comparison", "lt"),),
    "slt": (("comparison", "sgt"), ("sign", "lt")),
    "sgt": (("comparison", "slt"), ("sign", "gt")),
}
# a < b is "not b < a" but for equality
BOUNDARY = {"lt": "gt", "gt": "lt", "slt": "sgt", "sgt": "slt"}
ORDERED = {
    "sub",
    "div",
    "sdiv",
    "mod",
    "smod",
    "shl",
    "shr",
    "sar",
    "lt",
    "gt",
    "slt",
    "sgt",
    "exp",
}
BUILTIN_FREE = {"add", "mul", "and", "or", "xor", "eq", "mstore", "sstore", "mload", "sload"}


def assembly_changes(source: Source, block: Node) -> Iterator[Change]:
    """Every change below a ``YulBlock``."""
    for node in _walk(block):
        kind = node["nodeType"]
        if kind == "YulFunctionCall":
            yield from _call(source, node)
        elif kind == "YulLiteral" and node.get("kind") == "number":
            yield from _number(source, node)
        elif kind in ("YulExpressionStatement", "YulAssignment"):
            yield "statement", span(node), "{}"
        elif kind == "YulIf":
            yield from _if(source, node)


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in children(node):
        yield from _walk(child)


def _call(source: Source, node: Node) -> Iterator[Change]:
    name, args = node["functionName"]["name"], node["arguments"]
    at = span(node["functionName"])
    for kind, other in SWAPS.get(name, ()):
        yield kind, at, other
    if name in BOUNDARY:
        inner = ", ".join(source.of(a) for a in args)
        yield "comparison", span(node), f"iszero({BOUNDARY[name]}({inner}))"
    if name == "eq":
        yield "comparison", span(node), f"iszero({source.of(node)})"
    if name == "iszero":
        yield "boolean", span(node), source.of(args[0])
    if name == "signextend":
        yield "sign", span(node), source.of(args[1])
    if name in ORDERED or (name not in BUILTIN_FREE and name not in _BUILTINS and len(args) > 1):
        for left, right in itertools.pairwise(args):
            yield from swapped(source, left, right)


def swapped(source: Source, left: Node, right: Node) -> Iterator[Change]:
    """Two neighbours exchanged, where their texts differ."""
    a, b = source.of(left), source.of(right)
    if a != b:
        at = Span(span(left).start, span(right).end)
        middle = source.text(Span(span(left).end, span(right).start))
        yield "arguments", at, b + middle + a


def _number(source: Source, node: Node) -> Iterator[Change]:
    value = int(node["value"], 0)
    at = span(node)
    for other in sorted({value + 1, value - 1, 2 * value, 0} - {value}):
        if 0 <= other < 2**256:
            yield "constant", at, hex(other) if source.of(node).startswith("0x") else str(other)


def _if(source: Source, node: Node) -> Iterator[Change]:
    at = span(node["condition"])
    statements = node["body"]["statements"]
    last = statements[-1] if statements else None
    refuses = (
        last is not None
        and last["nodeType"] == "YulExpressionStatement"
        and last["expression"].get("functionName", {}).get("name") == "revert"
    )
    if refuses:
        yield "require", at, "0"
    else:
        yield "statement", at, "0"
    yield "boolean", at, f"iszero({source.of(node['condition'])})"


# builtins with more than one argument whose order is not worth a mutant
_BUILTINS = {
    "addmod", "byte", "calldatacopy", "call", "callcode", "codecopy", "create", "create2",
    "delegatecall", "extcodecopy", "keccak256", "log0", "log1", "log2", "log3", "log4",
    "mstore8", "mulmod", "return", "returndatacopy", "revert", "signextend", "staticcall",
    "tstore",
}  # fmt: skip
