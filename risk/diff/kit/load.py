"""From what stands on the command line to a target: built-in targets, adapter files, engines."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from risk.diff.kit.adapter import Adapter
from risk.diff.kit.engine import Engine
from risk.diff.kit.errors import AdapterError, DiffError
from risk.diff.kit.target import AdapterTarget

ENGINES = ("revm", "batch", "node")


def built_in() -> list[str]:
    """Names of the targets that come with the project."""
    from risk import targets

    return sorted(m.name for m in pkgutil.iter_modules(targets.__path__) if m.ispkg)


def engine_of(
    name: str, hardfork: str = "shanghai", *, fork: str | None = None, trace: bool = False
) -> Engine:
    """An engine by name. ``fork`` is the URL of a node whose state to start from, or
    ``URL@BLOCK``; ``trace`` collects program counters. Both need a node. Raises ``DiffError``.
    """
    if name == "revm":
        if fork is not None or trace:
            raise DiffError("a fork and coverage guidance need --engine node")
        from risk.diff.kit.revm import RevmEngine

        return RevmEngine(hardfork)
    if name == "node":
        from risk.diff.kit.node import NodeEngine

        return NodeEngine(hardfork, fork=fork, trace=trace)
    if name == "batch":
        from risk.diff.kit.batch import BatchEngine

        return BatchEngine(hardfork, fork=fork, trace=trace)
    raise DiffError(f"no engine {name!r}; there are {', '.join(ENGINES)}")


def load_target(
    spec: str, engine: str = "revm", fork: str | None = None, trace: bool = False
) -> AdapterTarget:
    """A target by the name of a built-in one, or by ``path/to/adapter.py`` with one ``Adapter``
    subclass in it (``path/to/adapter.py:Name`` where there are several).

    Raises ``AdapterError`` with what is wrong with the file.
    """
    if spec in built_in():
        package = importlib.import_module(f"risk.targets.{spec}")
        target: AdapterTarget = package.target(engine_of(engine, fork=fork, trace=trace))
        # the adapter chooses the EVM rules; engines are cheap before ``open``
        if target.adapter.hardfork != "shanghai":
            chosen = engine_of(engine, target.adapter.hardfork, fork=fork, trace=trace)
            target = package.target(chosen)
    else:
        adapter = adapter_from_file(spec)
        target = AdapterTarget(adapter, engine_of(engine, adapter.hardfork, fork=fork, trace=trace))
    target.command = f"plumbline diff {spec} --engine {engine}" + (
        f" --fork {fork}" if fork else ""
    )
    return target


def adapter_from_file(spec: str) -> Adapter[Any]:
    """The adapter of a file. Raises ``AdapterError``."""
    name, _, wanted = spec.partition(":")
    path = Path(name)
    if not path.is_file():
        raise AdapterError(
            f"no target {spec!r}: neither a file nor one of {', '.join(built_in()) or '(none)'}"
        )
    module = _import(path)
    found = {
        label: value
        for label, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Adapter)
        and value.__module__ == module.__name__
    }
    if wanted:
        found = {label: value for label, value in found.items() if label == wanted}
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise AdapterError(
            f"{path} must define one subclass of Adapter (it has: {names}); "
            "choose with path/to/adapter.py:Name"
        )
    (adapter,) = found.values()
    try:
        made: Adapter[Any] = adapter()
    except TypeError as error:  # abstract methods that are missing
        raise AdapterError(f"{path}: {error}") from error
    return made


def _import(path: Path) -> ModuleType:
    """The file as a module, its folder on the path, so that a model may lie beside it."""
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    label = f"plumbline_adapter_{path.stem}"
    spec = importlib.util.spec_from_file_location(label, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[label] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise AdapterError(f"{path} cannot be imported: {error!r}") from error
    return module
