"""How the reference model refuses: one exception that carries what a Solidity custom error carries.

The differential runner compares ``name`` and ``args`` with the selector and the decoded arguments
of the revert data.
"""

from __future__ import annotations

PANIC_ARITHMETIC = 0x11  # checked arithmetic overflowed
PANIC_DIVISION = 0x12  # division or modulo by zero
PANIC_INDEX = 0x32  # array index out of range


class ModelRevert(Exception):
    """The twin of a Solidity revert.

    ``name`` is the name of the custom error without its parameter list (``"Panic"`` for a compiler
    panic), ``args`` its arguments in order: integers of any width, booleans as 0 or 1, addresses
    and bytesN as their integer value.
    """

    name: str
    args: tuple[int, ...]

    def __init__(self, name: str, args: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.name = name
        self.args = args

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.args))})"

    def __repr__(self) -> str:
        return f"ModelRevert({self.name!r}, {self.args!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ModelRevert):
            return NotImplemented
        return self.name == other.name and self.args == other.args

    def __hash__(self) -> int:
        return hash((self.name, self.args))

    def __reduce__(self) -> tuple[type[ModelRevert], tuple[str, tuple[int, ...]]]:
        return type(self), (self.name, self.args)


def panic(code: int) -> ModelRevert:
    """The revert of a compiler check, ``Panic(uint256)``."""
    return ModelRevert("Panic", (code,))
