"""Faults of one line, planted in the model or in the contract: the comparison finds each."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from risk.chain.compile import Artifact
from risk.chain.node import project_root
from risk.diff.adapter import Counterexample
from risk.diff.coverage import Tally
from risk.diff.kit.artifacts import from_sources
from risk.diff.kit.revm import RevmEngine
from risk.diff.kit.target import AdapterTarget
from risk.diff.runner import Plan, run_sequence
from risk.targets.morpho import adapter as morpho_adapter
from risk.targets.morpho.adapter import MorphoAdapter
from risk.targets.morpho.model import Morpho

PACKAGE = "risk.targets.morpho"
FILES = ("math", "surroundings", "model")  # in the order of their imports
SEQUENCES = 60
ACTIONS = 40

BORROWS = "state.total_borrow_assets, state.total_borrow_shares)"
SUPPLIES = "state.total_supply_assets, state.total_supply_shares)"

# name: (file, text that occurs once, text instead)
FAULTS: dict[str, tuple[str, str, str]] = {
    "supply mints shares rounded up": (
        "model",
        f"shares = to_shares_down(assets, {SUPPLIES}",
        f"shares = to_shares_up(assets, {SUPPLIES}",
    ),
    "withdrawal burns shares rounded down": (
        "model",
        f"shares = to_shares_up(assets, {SUPPLIES}",
        f"shares = to_shares_down(assets, {SUPPLIES}",
    ),
    "borrowing mints shares rounded down": (
        "model",
        f"shares = to_shares_up(assets, {BORROWS}",
        f"shares = to_shares_down(assets, {BORROWS}",
    ),
    "borrowing by shares pays assets rounded up": (
        "model",
        f"assets = to_assets_down(shares, {BORROWS}",
        f"assets = to_assets_up(shares, {BORROWS}",
    ),
    "repayment burns shares rounded up": (
        "model",
        f"shares = to_shares_down(assets, {BORROWS}",
        f"shares = to_shares_up(assets, {BORROWS}",
    ),
    "debt is rounded down for health": (
        "model",
        "borrowed = to_assets_up(",
        "borrowed = to_assets_down(",
    ),
    "at the boundary of health is unhealthy": (
        "model",
        "return max_borrow >= borrowed",
        "return max_borrow > borrowed",
    ),
    "seized collateral is quoted rounded down": (
        "model",
        "quoted = mul_div_up(",
        "quoted = mul_div_down(",
    ),
    "the incentive is taken off rounded down": (
        "model",
        "w_div_up(quoted, factor)",
        "mul_div_down(quoted, WAD, factor)",
    ),
    "a liquidation repays assets rounded down": (
        "model",
        "repaid = to_assets_up(",
        "repaid = to_assets_down(",
    ),
    "bad debt is rounded down": (
        "model",
        f"to_assets_up(shares, {BORROWS},",
        f"to_assets_down(shares, {BORROWS},",
    ),
    "suppliers do not bear bad debt": (
        "model",
        "state.total_supply_assets = half_word(state.total_supply_assets - to_uint128(assets))\n"
        "        state.total_borrow_shares",
        "state.total_borrow_shares",
    ),
    "a repayment of one more than the debt is refused": (
        "model",
        "to_uint128(max(0, state.total_borrow_assets - assets))",
        "half_word(state.total_borrow_assets - assets)",
    ),
    "fee shares at the price with the fee in it": (
        "model",
        "state.total_supply_assets - amount",
        "state.total_supply_assets",
    ),
    "a new fee counts for the interest before": (
        "model",
        "        self.accrue(market)  # with the fee so far\n",
        "",
    ),
    "the LLTV is checked before the interest rate model": (
        "model",
        '        _require(market.irm in self.irms, "IRM not enabled")\n'
        '        _require(market.lltv in self.lltvs, "LLTV not enabled")\n',
        '        _require(market.lltv in self.lltvs, "LLTV not enabled")\n'
        '        _require(market.irm in self.irms, "IRM not enabled")\n',
    ),
    "a signature expires at its deadline": (
        "model",
        "_require(self.now <= deadline",
        "_require(self.now < deadline",
    ),
    "the other root of a signature is refused": (
        "model",
        '("good", "high_s")',
        '("good",)',
    ),
    "a liquidator is paid after its callback": (
        "model",
        "        self._push(market.collateral_token, sender, seized)\n"
        "        self._call_back(sender, data)\n",
        "        self._call_back(sender, data)\n"
        "        self._push(market.collateral_token, sender, seized)\n",
    ),
    "the third Taylor term is too large": (
        "math",
        "third = mul_div_down(second, first, 3 * WAD)",
        "third = mul_div_down(second, first, 2 * WAD)",
    ),
    "one virtual share too many": ("math", "VIRTUAL_SHARES = 10**6", "VIRTUAL_SHARES = 10**6 + 1"),
    "the largest incentive is one wei higher": (
        "math",
        "MAX_LIQUIDATION_INCENTIVE_FACTOR = 115 * 10**16",
        "MAX_LIQUIDATION_INCENTIVE_FACTOR = 115 * 10**16 + 1",
    ),
    "the incentive is rounded up": (
        "math",
        "w_div_down(WAD, discount)",
        "w_div_up(WAD, discount)",
    ),
    "the rate is one wei higher": (
        "surroundings",
        "// SECONDS_A_YEAR",
        "// SECONDS_A_YEAR + 1",
    ),
}


def mutant(file: str, old: str, new: str) -> type[Morpho]:
    """The model with one text replaced, loaded beside the real one."""
    modules: dict[str, ModuleType] = {}
    for name in FILES:
        source = (project_root() / "risk/targets/morpho" / f"{name}.py").read_text()
        if name == file:
            assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {name}.py"
            source = source.replace(old, new)
        for loaded in modules:
            source = source.replace(f"{PACKAGE}.{loaded} import", f"morpho_mutant_{loaded} import")
        source = source.replace(
            f"from {PACKAGE} import surroundings",
            "import morpho_mutant_surroundings as surroundings",
        )
        module = ModuleType(f"morpho_mutant_{name}")
        sys.modules[module.__name__] = module
        exec(compile(source, f"{name}.py with a fault", "exec"), module.__dict__)
        modules[name] = module
    made: type[Morpho] = modules["model"].Morpho
    return made


def first_difference(
    adapter: MorphoAdapter, artifacts: Mapping[str, Artifact]
) -> Counterexample | None:
    """Runs sequences until one disagrees."""
    target = AdapterTarget(adapter, RevmEngine(), lambda: artifacts)
    target.open()
    tally = Tally()
    try:
        for index in range(SEQUENCES):
            if not run_sequence(target, Plan(seed=1, actions=ACTIONS), index, tally):
                return tally.counterexamples[0]
    finally:
        target.close()
    return None


@pytest.fixture(scope="module")
def artifacts() -> Mapping[str, Artifact]:
    return MorphoAdapter().artifacts()


@pytest.fixture(autouse=True)
def _no_mutants_left() -> Iterator[None]:
    yield
    for name in FILES:
        sys.modules.pop(f"morpho_mutant_{name}", None)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_model_is_found(fault: str, artifacts: Mapping[str, Artifact]) -> None:
    found = first_difference(MorphoAdapter(mutant(*FAULTS[fault])), artifacts)
    assert found is not None, f"{SEQUENCES} sequences of {ACTIONS} actions agree"
    assert found.mismatches


def test_a_model_loaded_like_a_mutant_agrees(artifacts: Mapping[str, Artifact]) -> None:
    """So that a fault is found for its own sake, not for how it is loaded."""
    unchanged = mutant("model", "return max_borrow >= borrowed", "return max_borrow >= borrowed")
    target = AdapterTarget(MorphoAdapter(unchanged), RevmEngine(), lambda: artifacts)
    target.open()
    tally = Tally()
    try:
        for index in range(8):
            assert run_sequence(target, Plan(seed=1, actions=ACTIONS), index, tally)
    finally:
        target.close()
    assert tally.values_compared > 50_000


def test_a_fault_of_the_contract_is_found(tmp_path: Path) -> None:
    """Bad debt rounded down in ``Morpho.liquidate``."""
    source = project_root() / "node_modules" / "@morpho-org" / "morpho-blue" / "src"
    shutil.copytree(source, tmp_path / "node_modules" / "@morpho-org" / "morpho-blue" / "src")
    ours = Path("tests/targets/contracts/MorphoSurroundings.sol")
    (tmp_path / ours).parent.mkdir(parents=True)
    shutil.copy(project_root() / ours, tmp_path / ours)
    contract = tmp_path / morpho_adapter.SOURCES[0]
    text = contract.read_text()
    old = "badDebtShares.toAssetsUp(market[id].totalBorrowAssets"
    assert text.count(old) == 1
    contract.write_text(text.replace(old, old.replace("Up", "Down")))
    faulty = from_sources(
        tmp_path,
        morpho_adapter.SOURCES,
        solc=morpho_adapter.SOLC,
        evm_version=morpho_adapter.EVM_VERSION,
        remappings=morpho_adapter.REMAPPINGS,
    )
    found = first_difference(MorphoAdapter(), faulty)
    assert found is not None
    assert "liquidate" in found.title
    assert found.mismatches[0].where.endswith("total_supply_assets")
    assert found.mismatches[0].difference == 1
