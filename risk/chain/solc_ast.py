"""Walking solc's syntax trees, as standard JSON gives them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Node = dict[str, Any]


def children(node: Node) -> Iterator[Node]:
    """Direct children, in the order of the keys."""
    for value in node.values():
        if isinstance(value, dict) and "nodeType" in value:
            yield value
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict) and "nodeType" in item:
                    yield item
