"""One scene for a worker; every test finds it as it was made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keeper_faults.home import Home, Zygote
from tests.keeper_faults.proxy import Proxy
from tests.keeper_faults.scene import Scene


@pytest.fixture(scope="session")
def built() -> Iterator[Scene]:
    made = Scene.new()
    yield made
    made.close()


@pytest.fixture
def scene(built: Scene) -> Scene:
    built.reset()
    return built


@pytest.fixture
def proxy(scene: Scene) -> Iterator[Proxy]:
    with Proxy(scene.node.url) as opened:
        yield opened


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    opened = Zygote()
    yield opened
    opened.close()


@pytest.fixture
def home(scene: Scene, proxy: Proxy, zygote: Zygote, tmp_path: Path) -> Iterator[Home]:
    """A keeper's files; it reads and sends through the proxy."""
    with Home(scene, tmp_path / "home", [proxy.url], zygote, [proxy.secret]) as made:
        yield made
