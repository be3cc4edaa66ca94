"""The configuration of a campaign: what to mutate, how to compile, what may kill.  TOML; see
docs/mutation.md.
"""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from risk.chain.compile import compiler_settings
from risk.mutate.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Scope(_Strict):
    """Which files are mutated; patterns of ``fnmatch`` on paths relative to the project."""

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()


class Compile(_Strict):
    """How to compile.  What is left out comes from ``brownie-config.yaml`` of the project.

    ``optimizer`` is that of the deployed code and decides what is equivalent; ``kill_optimizer``
    compiles what the stages run.
    """

    soljson: str = "node_modules/solc/soljson.js"
    folders: tuple[str, ...] = ("contracts", "interfaces")
    evm_version: str | None = None
    remappings: tuple[str, ...] | None = None
    via_ir: bool = False
    optimizer: dict[str, Any] | None = None
    kill_optimizer: dict[str, Any] = {"enabled": False}


class Stage(_Strict):
    """One step of the kill chain.

    Args:
        name: unique; stands in verdicts and reports.
        kind: ``cases`` and ``sequences`` of a differential target, ``pytest`` in a fork of the warm
            worker, or any ``command`` in a copy of the project.
        paths: mutated files for which the stage runs (patterns); empty: all.
        except_paths: files of those for which it does not, because an earlier stage ran the same.
        seconds: limit; a mutant that takes longer is counted as timed out.
        target: ``module:factory`` of a target (cases, sequences).
        seed, count, actions: cases or sequences to run, actions of each sequence.
        files: test files or folders (pytest).
        command: program and arguments (command); exit code 0 lets the mutant live, ``kill_codes``
            kill it, anything else is an error of the stage.
        artifacts: ``module:function`` that makes a pytest run use given artifacts.
    """

    name: str
    kind: Literal["cases", "sequences", "pytest", "command"]
    paths: tuple[str, ...] = ()
    except_paths: tuple[str, ...] = ()
    seconds: float = Field(default=60.0, gt=0)
    target: str = ""
    seed: int = 1
    first: int = Field(default=0, ge=0)
    count: int = Field(default=0, ge=0)
    actions: int = Field(default=24, ge=1)
    files: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    kill_codes: tuple[int, ...] = (1,)
    artifacts: str = ""

    def applies(self, file: str) -> bool:
        """Whether a mutant of ``file`` goes through this stage."""
        return (not self.paths or matches(file, self.paths)) and not matches(
            file, self.except_paths
        )


class Config(_Strict):
    """A whole campaign."""

    scope: Scope
    compile: Compile = Compile()
    stage: tuple[Stage, ...]

    def in_scope(self, file: str) -> bool:
        """Whether ``file`` is mutated."""
        return matches(file, self.scope.include) and not matches(file, self.scope.exclude)


def matches(file: str, patterns: tuple[str, ...]) -> bool:
    """Any pattern fits; ``*`` also crosses folders."""
    return any(fnmatchcase(file, pattern) for pattern in patterns)


def load_config(path: Path) -> Config:
    """Raises ``ConfigError`` with the place of the fault."""
    try:
        with path.open("rb") as file:
            config = Config.model_validate(tomllib.load(file))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {where}: {first['msg']}") from error
    names = [stage.name for stage in config.stage]
    if len(set(names)) != len(names):
        raise ConfigError(f"{path}: two stages have the same name")
    for stage in config.stage:
        needed = {"pytest": stage.files, "command": stage.command}.get(stage.kind, stage.target)
        if not needed:
            raise ConfigError(f"{path}: stage {stage.name} does not say what to run")
    return config


def solc_settings(root: Path, config: Compile) -> dict[str, Any]:
    """``evmVersion``, ``remappings``, ``viaIR`` and the deployed code's ``optimizer``.  Without
    metadata, so that equal code is equal.
    """
    if config.evm_version and config.optimizer is not None and config.remappings is not None:
        base: dict[str, Any] = {}
    else:
        base = compiler_settings(root)
    return {
        "evmVersion": config.evm_version or base["evmVersion"],
        "remappings": list(config.remappings or base.get("remappings", ())),
        "viaIR": config.via_ir or bool(base.get("viaIR", False)),
        "optimizer": config.optimizer or base["optimizer"],
        "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
    }
