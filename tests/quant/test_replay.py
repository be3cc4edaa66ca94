"""A recommendation file is made again byte for byte, or says what differs; and the commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from risk.chain.node import project_root
from risk.cli.main import app
from risk.exact.params.risk_params import RiskParams
from risk.quant import replay
from risk.quant.data import PriceTable, write_prices
from risk.quant.errors import DataError, QuantError
from risk.quant.recommend import STEWARD, TIMELOCK, Governor, InForce, start
from risk.quant.recommend_effect import BookSize
from risk.quant.replay import Request, Source, again, differences, in_force, load, make
from risk.quant.scenarios import factors
from tests.quant.test_recommend import SETTINGS


@pytest.fixture(scope="module")
def prices(market: PriceTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = PriceTable(market.assets[:2], market.times, {"close": market.close[:, :2]})
    return write_prices(table, tmp_path_factory.mktemp("prices") / "prices.parquet")


@pytest.fixture(scope="module")
def request_of(prices: Path, market: PriceTable) -> Callable[[str], Request]:
    source = Source(market.assets[:2], str(prices))
    f = factors.build(source.table())
    now = start(f, len(f.times) - 1 - 30 * 24, SETTINGS)

    def build(route: str) -> Request:
        governor = Governor(governor=5, timelock=6, anchor=now.params.blob)
        return Request(source, int(f.times[-1]), now, route, governor, SETTINGS, BookSize(60, 2))

    return build


@pytest.fixture(scope="module")
def files(
    request_of: Callable[[str], Request], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder, out = tmp_path_factory.mktemp("recommendations"), {}
    for route in (STEWARD, TIMELOCK):
        request = request_of(route)
        out[route] = folder / f"{route}.json"
        out[route].write_text(json.dumps(make(request, request.source.table()), indent=2))
    return out


def tampered(file: Path, out: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    value = json.loads(file.read_text())
    change(value)
    out.write_text(json.dumps(value))
    return out


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_a_request_survives_its_json(request_of: Callable[[str], Request]) -> None:
    request = request_of(TIMELOCK)
    text = json.dumps(request.to_json())
    back = Request.from_json(json.loads(text))
    assert json.dumps(back.to_json()) == text
    assert back.settings == request.settings
    assert back.governor == request.governor
    assert back.now.params == request.now.params
    assert back.now.scale.price.tolist() == request.now.scale.price.tolist()


@pytest.mark.parametrize("route", [STEWARD, TIMELOCK])
def test_the_same_again(files: dict[str, Path], route: str) -> None:
    found = again(files[route])
    assert (found.differences, found.remarks) == ((), ())
    assert found.outcome == json.loads(files[route].read_text())["outcome"]


def test_another_process_makes_the_same(files: dict[str, Path], tmp_path: Path) -> None:
    """There the calibration is the first thing that runs; here another one ran before it."""
    out = tmp_path / "out.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "risk.cli.main", "replay", str(files[TIMELOCK])),
            *("--json", str(out)),
        ],
        cwd=project_root(),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(out.read_text())["same"] is True


FIRST_AND_SECOND = """
from risk.quant.data import PriceTable
from risk.quant.generate import generate
from risk.quant.scenarios import factors
from risk.quant.scenarios.calibrate import Settings, calibrate
from risk.quant.scenarios.fit import Plan

plan = Plan(iterations=5, rounds=1, seed=3)
settings = Settings(plan, training=3000, linear=200, validation=100, adversaries=0)
g = generate(7, 4000)
f = factors.build(PriceTable(g.assets[:2], g.times, {"close": g.close[:, :2]}))
for _ in range(2):
    print(calibrate(f, len(f.times) - 1, settings).scenarios.shapes.tobytes().hex())
"""


def test_the_first_calibration_of_a_process_is_as_the_second() -> None:
    """Were the library loaded inside the limit, k-means of the first would have all cores, and
    other last digits (`threads.one_thread`).
    """
    done = subprocess.run(
        [sys.executable, "-c", FIRST_AND_SECOND],
        cwd=project_root(),
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    first, second = done.stdout.split()
    assert first == second


def test_one_changed_integer_is_found(files: dict[str, Path], tmp_path: Path) -> None:
    def change(value: dict[str, Any]) -> None:
        value["outcome"]["effect"]["mm_now_wad"] += "0"
        value["outcome"]["changes"][3]["proposed"] = "7"

    file = tampered(files[STEWARD], tmp_path / "t.json", change)
    code, output = run("replay", str(file))
    assert code == 1
    assert "outcome.effect.mm_now_wad: " in output
    assert 'outcome.changes[3].proposed: "7" →' in output
    assert output.count("→") == 2


def test_another_seed_is_another_outcome(files: dict[str, Path], tmp_path: Path) -> None:
    def change(value: dict[str, Any]) -> None:
        value["request"]["book"]["seed"] = 3

    file = tampered(files[STEWARD], tmp_path / "t.json", change)
    code, output = run("replay", str(file))
    assert code == 1
    assert "outcome.effect.mm_now_wad" in output


def test_other_prices_are_refused_before_anything_is_computed(
    files: dict[str, Path], market: PriceTable, tmp_path: Path
) -> None:
    close = market.close[:, :2].copy()
    close[-1, 0] *= 1.0001
    moved = write_prices(
        PriceTable(market.assets[:2], market.times, {"close": close}), tmp_path / "p.parquet"
    )
    code, output = run("replay", str(files[STEWARD]), "--data", str(moved))
    assert code == 1
    assert output.startswith("hashes.data_sha256: ")
    code, output = run("replay", str(files[STEWARD]), "--data", str(tmp_path / "none.parquet"))
    assert code == 2


def test_the_same_prices_elsewhere_will_do(
    files: dict[str, Path], prices: Path, tmp_path: Path
) -> None:
    """In another format, too: the hash is of the contents."""
    copy = write_prices(Source(("BTC", "ETH"), str(prices)).table(), tmp_path / "copy.csv.gz")
    assert again(files[STEWARD], copy).differences == ()


def test_other_code_is_remarked_and_not_a_difference(
    files: dict[str, Path], tmp_path: Path
) -> None:
    def change(value: dict[str, Any]) -> None:
        value["hashes"]["code_sha256"] = "other"

    found = again(tampered(files[STEWARD], tmp_path / "t.json", change))
    assert found.differences == ()
    assert [r.split(":")[0] for r in found.remarks] == ["code_sha256"]


def test_code_hash_sees_every_byte_and_every_name(tmp_path: Path) -> None:
    (tmp_path / "risk" / "quant").mkdir(parents=True)
    file = tmp_path / "risk" / "quant" / "a.py"
    file.write_text("x = 1\n")
    first = replay.code_hash(tmp_path)
    file.write_text("x = 2\n")
    second = replay.code_hash(tmp_path)
    file.rename(file.with_name("b.py"))
    assert len({first, second, replay.code_hash(tmp_path)}) == 3


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a 'plumbline recommendation 2' file"),
        ('{"format": "plumbline recommendation 2"}', "malformed request"),
    ],
)
def test_what_is_no_recommendation_is_named(tmp_path: Path, text: str, match: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(DataError, match=match):
        again(file)
    code, output = run("replay", str(file))
    assert code == 2
    assert "x.json" in output


def test_the_next_one_starts_where_this_one_ends(files: dict[str, Path]) -> None:
    value = load(files[STEWARD])
    now: InForce = in_force(files[STEWARD])
    assert now.params == RiskParams.decode(bytes.fromhex(value["outcome"]["blob"][2:]))
    assert now.scale.price.tolist() == value["outcome"]["scales_reached"]["price"]


def test_a_time_that_is_not_in_the_prices(request_of: Callable[[str], Request]) -> None:
    f = factors.build(request_of(STEWARD).source.table())
    with pytest.raises(QuantError, match="no row at"):
        replay.row_at(f, int(f.times[-1]) + 1)
    with pytest.raises(QuantError, match="too little history"):
        replay.row_at(f, int(f.times[10]))


def test_differences_name_the_leaf() -> None:
    old = {"a": [1, {"b": 2}], "c": 1.0, "d": [1]}
    new = {"a": [1, {"b": 3}], "c": 1, "d": [1, 2], "e": None}
    assert list(differences(old, new, "x")) == [
        "x.a[1].b: 2 → 3",
        "x.c: 1.0 → 1",
        "x.d: [1] → [1,2]",
    ]


def test_recommend_and_replay_from_the_command_line(
    prices: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "r.json"
    arguments = ["recommend", "--data", str(prices), "--previous", str(files[STEWARD])]
    code, output = run(
        *arguments, "--accounts", "50", "--governor", "0x" + "ab" * 20, "--json", str(out)
    )
    assert code == 0, output
    assert load(out)["request"]["governor"]["governor"] == "0x" + "ab" * 20
    code, output = run("replay", str(out))
    assert code == 0, output
    code, output = run(*arguments, "--governor", "0x12", "--json", str(tmp_path / "no.json"))
    assert code == 2
    assert "an address has 40" in output
    assert not (tmp_path / "no.json").exists()


def test_recommend_for_a_deployment(market: PriceTable, tmp_path: Path) -> None:
    """Parameters in force, names and their order from its configuration."""
    order = [market.column(name) for name in ("LINK", "BTC", "ETH")]
    table = PriceTable(("LINK", "BTC", "ETH"), market.times, {"close": market.close[:, order]})
    file, out = write_prices(table, tmp_path / "prices.parquet"), tmp_path / "r.json"
    config = project_root() / "configs" / "local.toml"
    code, output = run(
        *("recommend", "--data", str(file), "--config", str(config), "--accounts", "40"),
        *("--json", str(out)),
    )
    assert code == 0, output
    value = load(out)
    assert value["request"]["source"]["assets"] == ["ETH", "BTC", "LINK"]
    from risk.deploy.config import load_config
    from risk.deploy.quantise import quantise

    assert value["request"]["now"]["blob"] == "0x" + quantise(load_config(config)).blob.hex()
