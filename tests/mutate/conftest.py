"""A small project to mutate: one contract, settings of its own, no node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from risk.chain.node import project_root
from risk.mutate.compiler import Project, Solc, open_project
from risk.mutate.config import Compile, Config, Scope, Stage

BANK = """// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

library Rounding {
    function mulDivDown(uint256 x, uint256 y, uint256 d) internal pure returns (uint256) {
        return x * y / d;
    }

    function mulDivUp(uint256 x, uint256 y, uint256 d) internal pure returns (uint256) {
        return (x * y + d - 1) / d;
    }
}

contract Bank {
    uint256 public constant FEE = 30;
    mapping(uint256 => uint256) public held; // not an index of anything: held[0] is "é"
    int256[4] public drift;

    error TooMuch(uint256 asked);

    function pay(uint256 from, uint256 to, uint256 amount) external returns (bool) {
        if (amount > held[from]) revert TooMuch(amount);
        require(from != to, "same");
        held[from] -= amount;
        held[to] += Rounding.mulDivDown(amount, 10_000 - FEE, 10_000);
        return !(amount == 0) && to < 100;
    }

    function move(uint256 i, int256 by) external {
        drift[i] = -by;
        assembly {
            if iszero(lt(i, 4)) { revert(0, 0) }
            sstore(0x20, add(sdiv(by, 3), 7))
        }
    }

    function larger(uint256 a, uint256 b) external pure returns (uint256) {
        return a > b ? a : b;
    }
}
"""


def bank_config(*stages: Stage) -> Config:
    """Everything a project without Brownie must say."""
    settings = Compile(
        soljson=str(project_root() / "node_modules" / "solc" / "soljson.js"),
        folders=("src",),
        evm_version="shanghai",
        remappings=(),
        optimizer={"enabled": True, "runs": 200},
    )
    return Config(scope=Scope(include=("src/*",)), compile=settings, stage=stages)


def write_bank(root: Path, text: str = BANK) -> Path:
    """A project with one file."""
    (root / "src").mkdir(parents=True, exist_ok=True)
    (root / "src" / "Bank.sol").write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def solc() -> Iterator[Solc]:
    """One warm compiler for all tests."""
    with Solc(project_root() / "node_modules" / "solc" / "soljson.js") as compiler:
        yield compiler


@pytest.fixture
def bank(tmp_path: Path, solc: Solc) -> Project:
    """The small project, known to the compiler."""
    return open_project(write_bank(tmp_path), bank_config(), solc)
