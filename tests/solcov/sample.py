"""A small contract whose coverage is known, on a node, with a collector watching."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from risk.chain.compile import compiler_settings, link
from risk.chain.keccak import keccak
from risk.chain.node import project_root
from risk.chain.rpc import Rpc, to_hex
from risk.errors import RevertError
from risk.solcov.build import Compiled, Unit, compile_sources
from risk.solcov.evaluate import Coverage, evaluate
from risk.solcov.store import read

PATH = "contracts/Sample.sol"
SOURCE = """// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

error Zero();
error Big(uint256 x);

library Inner {
    function half(uint256 x) internal pure returns (uint256) {
        if (x == 0) revert Zero();
        return x / 2;
    }

    function unused(uint256 x) internal pure returns (uint256) {
        return x * 3;
    }
}

library Outer {
    function store(uint256[] storage list, uint256 x) external returns (uint256) {
        if (x > 100 || list.length > 2) {
            revert Big(x);
        }
        list.push(x);
        return list.length;
    }
}

contract A {
    uint256[] internal list;
    uint256 public immutable start;
    address internal immutable owner;

    constructor(uint256 start_) {
        if (start_ > 5) revert Big(start_);
        start = start_;
        owner = msg.sender;
    }

    modifier onlyOwner() {
        if (msg.sender != owner) revert Zero();
        _;
    }

    function pick(uint256 x, uint256 y) external view returns (uint256) {
        if (x > 1 && y > 1) {
            return start;
        }
        return x > y ? x : y;
    }

    function add(uint256 x) external onlyOwner returns (uint256) {
        uint256 before = list.length;
        uint256 length = Outer.store(list, Inner.half(x));
        require(length == before + 1, "length");
        return length;
    }

    function sum(uint256 n) external pure returns (uint256 s) {
        for (uint256 i = 0; i < n; ++i) {
            s += i;
        }
        assembly {
            if gt(s, 10) {
                s := 10
            }
            switch s
            case 0 {
                s := 7
            }
            case 1 {
                s := 8
            }
            default {
                s := add(s, 1)
            }
        }
    }

    function guarded(uint256 x) external returns (bool) {
        try this.add(x) {
            return true;
        } catch {
            return false;
        }
    }

    function burn(uint256 n) external pure returns (uint256 s) {
        for (uint256 i = 0; i < n; ++i) {
            unchecked {
                s += i * i;
            }
        }
        if (s == 2) revert Big(n);
        if (s > 1) s = 1;
    }
}

contract B {
    function half(uint256 x) external pure returns (uint256) {
        return Inner.half(x);
    }
}
"""


@lru_cache(maxsize=1)
def compiled() -> Compiled:
    """The sample, with the settings of the project: the optimiser is on."""
    settings = compiler_settings(project_root())
    version = settings.pop("version")
    assert settings["optimizer"]["enabled"]
    return compile_sources({PATH: SOURCE}, settings, version, project_root())


def unit(name: str, kind: str) -> Unit:
    """One unit of the sample."""
    return next(u for u in compiled().units if (u.name, u.kind) == (name, kind))


def call_data(signature: str, *words: int) -> bytes:
    """Call data of unsigned integers."""
    return keccak(signature.encode())[:4] + b"".join(w.to_bytes(32, "big") for w in words)


class Sample:
    """The sample deployed by the first account of a node."""

    def __init__(self, rpc: Rpc, start: int = 1) -> None:
        self.rpc = rpc
        self.sender: str = rpc.call("eth_accounts")[0]
        self.outer = self.create(unit("Outer", "creation").code)
        self.b = self.create(unit("B", "creation").code)
        self.a = self.create(linked(self.outer) + start.to_bytes(32, "big"))

    def create(self, code: bytes) -> str:
        """Address of a new contract."""
        return str(self._send({"data": to_hex(code)})["contractAddress"])

    def send(self, signature: str, *words: int, to: str | None = None) -> bool:
        """Whether a transaction to A (or ``to``) succeeded."""
        request = {"to": to or self.a, "data": to_hex(call_data(signature, *words))}
        return bool(self._send(request)["status"] == "0x1")

    def call(self, signature: str, *words: int, to: str | None = None) -> int | None:
        """What a view of A (or ``to``) answers; None for a revert."""
        try:
            answer = self.rpc.eth_call(
                to or self.a, call_data(signature, *words), sender=self.sender
            )
        except RevertError:
            return None
        return int.from_bytes(answer, "big")

    def _send(self, request: dict[str, Any]) -> dict[str, Any]:
        request |= {"from": self.sender, "gas": hex(20_000_000)}
        return self.rpc.receipt(self.rpc.send(request))


def linked(outer: str) -> bytes:
    """Creation code of A with the address of its library."""
    a = unit("A", "creation")
    text = a.code.hex()
    for at in a.links:
        text = text[: 2 * at] + outer[2:] + text[2 * at + 40 :]
    return bytes.fromhex(link(text, {}))


def coverage(folder: Path) -> Coverage:
    """Coverage of the sample from what was collected in ``folder``."""
    hits, _ = read(folder, compiled().by_key)
    return evaluate(compiled(), hits)


def missed(result: Coverage, functions: Sequence[str]) -> set[str]:
    """What was missed in these functions: source text of lines, ``text [side]`` of branches."""
    return {
        f"{m.text} [{m.side}]" if m.side else m.text
        for f in result.files
        for m in f.missed
        if m.function in functions
    }
