"""The committed vector file: the model and the contracts give what stands there, and a wrong digit
is noticed.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from risk.chain.node import project_root
from risk.diff.plumbline.target import PlumblineTarget
from risk.vectors.check import CheckResult, check_chain, check_model
from risk.vectors.format import VectorError, load, state_of, strings
from risk.vectors.generate import make_vector

FILE = project_root() / "vectors" / "margin_v1.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return load(FILE)


def test_the_file_is_large_and_varied(document: dict[str, Any]) -> None:
    cases = document["cases"]
    assert len(cases) >= 200
    assert [int(c["case"]) for c in cases] == list(range(len(cases)))
    counts = {len(c["inputs"]["risk_params"]["weights_bps"]) for c in cases}
    assert counts == {1, 31, 32, 33, 64}
    sizes = [
        len(c["inputs"]["account"]["linear"]) + len(c["inputs"]["account"]["options"])
        for c in cases
    ]
    assert min(sizes) == 0
    assert max(sizes) == 128
    assert any("error" in c["outputs"] for c in cases)
    assert any(c["outputs"].get("quote", {}).get("max_fraction_wad", "0") != "0" for c in cases)


def test_every_number_is_a_decimal_string(document: dict[str, Any]) -> None:
    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)
        else:
            assert isinstance(value, str), value

    walk(document)


def test_model_and_chain_agree_with_the_file(
    target: PlumblineTarget, document: dict[str, Any]
) -> None:
    result = CheckResult()
    for case in document["cases"]:
        check_model(case, result)
        check_chain(target, case, result)
    assert result.differences == []
    assert result.values > 50_000


def test_the_generator_gives_the_same_file_again(document: dict[str, Any]) -> None:
    seed = int(document["seed"])
    for index in (0, 17, 50, 151):
        assert strings(make_vector(seed, index)) == document["cases"][index]


@pytest.mark.parametrize(
    "path", ["outputs.margin.scan", "intermediates.arrays.0.lanes.0", "outputs.quote.reward_wad"]
)
def test_a_wrong_digit_is_noticed(document: dict[str, Any], path: str) -> None:
    case = next(
        c
        for c in document["cases"]
        if c["intermediates"].get("arrays") and "error" not in c["outputs"]
    )
    wrong = copy.deepcopy(case)
    *inner, last = path.split(".")
    place: Any = wrong
    for key in inner:
        place = place[int(key)] if isinstance(place, list) else place[key]
    key = int(last) if isinstance(place, list) else last
    place[key] = str(int(place[key]) + 1)
    result = CheckResult()
    check_model(wrong, result)
    assert len(result.differences) == 1


def test_blob_and_fields_must_agree(document: dict[str, Any]) -> None:
    inputs = copy.deepcopy(document["cases"][3]["inputs"])
    inputs["risk_params"]["im_factor_bps"] = "19999"
    with pytest.raises(VectorError, match="different things"):
        state_of(inputs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ('{"version": "0.9"}', "version is '0.9'"),
        ("[]", "version is None"),
        ('{"version": "1.1"}', "cases"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(VectorError, match=message):
        load(file)
    with pytest.raises(VectorError, match="No such file"):
        load(tmp_path / "none.json")
