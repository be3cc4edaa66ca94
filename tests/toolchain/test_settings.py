"""The settings that several tools need agree, and the locks can be used on any machine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


def brownie() -> Any:
    return yaml.safe_load((ROOT / "brownie-config.yaml").read_text())


def test_forge_compiles_like_brownie() -> None:
    compiler = brownie()["compiler"]
    forge = tomllib.loads((ROOT / "foundry.toml").read_text())["profile"]["default"]
    assert forge["evm_version"] == compiler["evm_version"]
    assert forge["optimizer"] == compiler["solc"]["optimizer"]["enabled"]
    assert forge["optimizer_runs"] == compiler["solc"]["optimizer"]["runs"]
    assert forge["remappings"] == compiler["solc"]["remappings"]
    assert forge.get("via_ir", False) == compiler["solc"].get("viaIR", False)
    assert (ROOT / forge["solc"]).exists()


def test_one_solc_version_everywhere() -> None:
    wanted = brownie()["compiler"]["solc"]["version"]
    package = json.loads((ROOT / "package.json").read_text())
    assert package["devDependencies"]["solc"] == wanted
    assert f"solc_version={wanted}" in (ROOT / "tools" / "setup.sh").read_text()


def test_no_entry_that_crashes_brownie() -> None:
    config = brownie()
    networks = config.get("networks", {})
    assert "default" not in networks
    assert "cmd_settings" not in networks.get("development", {})
    assert "dependencies" not in config


def test_pins_are_exact() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    for group in ("dependencies", "devDependencies"):
        for name, version in package[group].items():
            # an alias (another version beside the main one) and a release candidate are exact too
            assert re.fullmatch(r"(npm:[a-z0-9-]+@)?\d+\.\d+\.\d+(-[0-9a-z.]+)?", version), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    for pin in [*project["dependencies"], *(p for group in extras for p in group)]:
        assert re.match(r"[a-z0-9-]+==[0-9a-z.]+($| ;)", pin), pin


@pytest.mark.parametrize("name", ["package-lock.json", "requirements.lock", "tools/uv.lock"])
def test_locks_hold_no_path_and_no_foreign_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "file:" not in text
    assert not re.search(r"(?:^|[\s\"'=])/[a-z]+/", text)
    addresses = set(re.findall(r"https?://([^/\"\s]+)", re.sub(r'"url": "[^"]*"', "", text)))
    assert addresses <= {"registry.npmjs.org"}


def test_every_direct_pin_is_in_the_lock() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    for pin in [*project["dependencies"], *(p for group in extras for p in group)]:
        assert f"\n{pin.split(' ;')[0]} " in lock, f"{pin}: run `make lock`"


def test_npm_lock_matches_package_json() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    for group in ("dependencies", "devDependencies"):
        for name, version in package[group].items():
            assert locked[f"node_modules/{name}"]["version"] == version.rpartition("@")[2]
