"""Yield v2: the model agrees with the contracts, and the comparison sees planted faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from risk.diff.compare import compare
from risk.diff.coverage import Tally
from risk.diff.kit.adapter import Step
from risk.diff.kit.node import NodeEngine
from risk.diff.kit.revm import RevmEngine
from risk.diff.kit.target import AdapterSession, AdapterTarget
from risk.diff.runner import Plan, run_sequence
from risk.targets.yield_v2 import cauldron, fixed, ladle, rates, target, tokens, witch
from risk.targets.yield_v2.fixed import WAD
from risk.targets.yield_v2.names import PAIRS, SERIES

DAY = 86_400
ETHER = 10**18


@pytest.fixture(scope="module")
def yield_v2() -> Iterator[AdapterTarget]:
    opened = target(RevmEngine())
    opened.open()
    yield opened
    opened.close()


def plain_world(**changes: Any) -> dict[str, Any]:
    """Price 1, ratio 150 %, dust of 1, auctions of an hour from 50 % of the collateral."""
    pair = {
        "price": WAD,
        "ratio": 1_500_000,
        "max": 10**8,
        "min": 1,
        "dec": 18,
        "duration": 3600,
        "part": WAD // 3,
        "start": WAD // 2,
        "limit": 10**30,
    }
    rate = {"start": WAD, "per_second": WAD + 10**10 + 7}
    return {
        "maturity": [30 * DAY, 60 * DAY, 30 * DAY],
        "rates": {f"{base}/{kind}": rate for base in ("A0", "A1") for kind in ("RATE", "CHI")},
        "pairs": {f"{base}/{ilk}": {**pair, **changes} for base, ilk in PAIRS},
        "fee": 10**8 + 1,
        "reward": WAD // 100,
        "late": False,
    }


def play(
    yield_v2: AdapterTarget, steps: list[Step], **changes: Any
) -> tuple[AdapterSession, list[str], list[str]]:
    """Session, the outcome of each step, and where the first disagreement lies."""
    session = yield_v2.start_in(plain_world(**changes))
    outcomes = []
    for step in steps:
        model, chain = session.on_model(step), session.on_chain(step)
        outcomes.append(chain.error or "ok")
        _, differing = compare(model.observation("outcome"), chain.observation("outcome"))
        differing += compare(session.observe_model(), session.observe_chain())[1]
        if differing:
            return session, outcomes, [mismatch.where for mismatch in differing]
    return session, outcomes, []


# V0: alice S0/A1, V1: bob S0/A2, V2: bob S1/A1, V3: carol S2/A0
ODD = 100 * ETHER + 1
BORROW = [
    Step("pour", "alice", ("V0", "carol", 150 * ETHER + 3, ODD - 3 * ETHER), 7),
    Step("pour", "bob", ("V1", "bob", 200 * ETHER, 100 * ETHER), 5),
]
LIQUIDATE = [
    *BORROW,
    Step("set_price", "bob", ("A0", "A1", WAD * 9 // 10)),
    Step("auction", "bob", ("V0", "bob"), 3),
    Step("pay_base", "carol", ("V0", "carol", 0, 10 * ETHER + 1), 1001),
    Step("pay_fy_token", "carol", ("V0", "carol", 0, 11 * ETHER + 3), 501),
]
RIPE = [
    *BORROW,
    Step("mature", "bob", ("S0",), 30 * DAY),
    Step("fy_mature", "bob", ("S0",)),
    Step("close", "alice", ("V0", "alice", 0, -33 * ETHER - 1), 77_777),
    Step("debt_from_base", "bob", ("S0", 10**19 + 1), 77),
    Step("mint_with_underlying", "bob", ("S1", "bob", ETHER)),
    Step("redeem", "carol", ("S0", "carol", 7 * ETHER + 1), 77_777),
    Step("withdraw", "carol", ("S0", 5 * ETHER + 1, "bob", "carol"), 7),
    Step("level", "bob", ("V0",), 10 * DAY),
]


@pytest.mark.parametrize("steps", [LIQUIDATE, RIPE], ids=["liquidation", "after maturity"])
def test_scripts_agree(yield_v2: AdapterTarget, steps: list[Step]) -> None:
    _, outcomes, differing = play(yield_v2, steps)
    assert outcomes == ["ok"] * len(steps)
    assert not differing


def test_random_sequences_agree(yield_v2: AdapterTarget) -> None:
    tally = Tally()
    for index in range(6):
        assert run_sequence(yield_v2, Plan(seed=5, actions=60), index, tally), tally.counterexamples
    accepted = sum(n for kind, n in tally.action_kinds.items() if kind.endswith(":ok"))
    assert accepted >= 0.4 * tally.actions
    assert tally.events["liquidation"] >= 5  # long runs: over 5 % of what is accepted
    assert len({kind.split(":")[0] for kind in tally.action_kinds}) > 35


@pytest.mark.chain
def test_transactions_agree() -> None:
    opened = target(NodeEngine())
    opened.open()
    tally = Tally()
    try:
        for index in range(2):
            plan = Plan(seed=6, actions=25)
            assert run_sequence(opened, plan, index, tally), tally.counterexamples
    finally:
        opened.close()
    assert tally.actions == 50


# ── planted faults ───────────────────────────────────────────────────────────────────────────────


def _down(x: int, y: int) -> int:
    return fixed.wdiv(x, y)


def _truncated(product: int) -> int:
    return product // WAD


def _fee_on_base(self: ladle.Ladle, *arguments: Any) -> Any:
    """The fee for one second more."""
    sender, vault, to, ink, art, now = arguments
    return _pour(self, sender, vault, to, ink, art + (art > 0), now)


def _kept_limit(self: witch.Witch, auction: witch.Auction, ink: int) -> None:
    """Forgets to release collateral."""


def _whole_reward(self: witch.Witch, auction: witch.Auction, to: str, art: int, now: int) -> Any:
    cut, reward = _payout(self, auction, to, art, now)
    return cut + (reward > 0), reward - (reward > 0)


def _second_late(series: cauldron.Series, now: int) -> bool:
    return now > series.maturity


def _own_last(self: tokens.FYToken, spender: str, holder: str, amount: int) -> None:
    self.destroy(holder, amount)


def _never_recorded(self: tokens.Join, user: str, amount: int) -> None:
    self.token.transfer_from(self.name, user, self.name, amount)


_pour = ladle.Ladle.pour
_payout = witch.Witch._payout

FAULTS: dict[str, tuple[object, str, Callable[..., Any], list[Step]]] = {
    "debt bought rounded down": (cauldron, "wdivup", _down, RIPE),
    "growth of rates truncated": (rates, "wpow", lambda x, n: WAD + n * (x - WAD), RIPE),
    "squares truncated": (fixed, "_rounded", _truncated, RIPE),
    "withdrawal rounded down": (tokens, "wdivup", _down, RIPE),
    "one wei more debt": (ladle.Ladle, "pour", _fee_on_base, BORROW),
    "auctioned sum never falls": (witch.Witch, "_withdraw", _kept_limit, LIQUIDATE),
    "a wei of the reward": (witch.Witch, "_payout", _whole_reward, LIQUIDATE),
    "mature a second late": (cauldron.Cauldron, "is_mature", staticmethod(_second_late), RIPE),
    "burn spends no allowance": (tokens.FYToken, "burn", _own_last, LIQUIDATE),
    "join forgets its record": (tokens.Join, "join", _never_recorded, BORROW),
}
#: what a fault needs beside the script
EXTRA = {
    "mature a second late": [Step("level", "bob", ("V0",), 30 * DAY - 12)],
    "burn spends no allowance": [Step("approve", "carol", ("S0", "witch", 50 * ETHER))],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_found(
    yield_v2: AdapterTarget, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, wrong, steps = FAULTS[fault]
    extra = EXTRA.get(fault, [])
    at = len(BORROW)
    script = [*steps[:at], *extra, *steps[at:]]
    assert not play(yield_v2, script)[2]
    monkeypatch.setattr(owner, name, wrong)
    assert play(yield_v2, script)[2]


# ── what the model taught about the target (docs/targets/yield_v2.md) ────────────────────────────


def test_stirring_debt_between_collaterals_leaves_the_sums(yield_v2: AdapterTarget) -> None:
    """The debt moves, its share of the ceiling does not; then the receiver cannot repay."""
    steps = [
        BORROW[0],
        Step("give", "alice", ("V1", "alice")),
        Step("give", "bob", ("V1", "alice")),
        Step("pour", "alice", ("V1", "alice", 200 * ETHER, 0)),
        Step("stir", "alice", ("V0", "V1", 0, 90 * ETHER)),
        Step("pour", "alice", ("V1", "alice", 0, -ETHER)),
    ]
    session, outcomes, differing = play(yield_v2, steps)
    assert not differing
    assert outcomes[1] == 'Error("Only vault owner")'
    assert outcomes[2:5] == ["ok"] * 3
    assert outcomes[5] == 'Error("Result below zero")'
    seen = session.observe_chain()
    assert seen["A0/A2.debt.sum"] == 0
    assert seen["V1.art"] == 90 * ETHER


def test_rolling_to_a_mature_series_matures_the_old_one(yield_v2: AdapterTarget) -> None:
    """The level after a roll is taken with the old series' id, whatever its maturity."""
    steps = [
        Step("pour", "bob", ("V2", "bob", 300 * ETHER, 100 * ETHER)),
        Step("roll", "owner", ("V2", "S0", 0), 30 * DAY),
    ]
    session, outcomes, differing = play(yield_v2, steps)
    assert outcomes == ["ok", "ok"]
    assert not differing
    seen = session.observe_chain()
    assert seen["S1.rate"]
    assert not seen["S0.rate"]
    now = yield_v2.engine.time()
    maturity = seen["S1.maturity"]
    assert isinstance(maturity, int)
    assert maturity > now


def test_an_auction_of_no_debt_cannot_be_paid(yield_v2: AdapterTarget) -> None:
    """With a dust limit of 0, a third of a debt of 2 wei rounds down to 0: a division by zero."""
    steps = [
        Step("pour", "alice", ("V0", "alice", 3, 2)),
        Step("set_price", "bob", ("A0", "A1", WAD // 2)),
        Step("auction", "bob", ("V0", "bob")),
        Step("pay_base", "carol", ("V0", "carol", 0, 2)),
    ]
    session, outcomes, differing = play(yield_v2, steps, min=0)
    assert not differing
    assert outcomes == ["ok", "ok", "ok", "Panic(0x12)"]
    assert session.observe_chain()["V0.auction.art"] == 0


def test_only_one_redeem_records_chi(yield_v2: AdapterTarget) -> None:
    """The ERC-5095 redeem pays 1:1 until somebody else records chi."""
    steps = [
        *BORROW,
        Step("redeem_for", "carol", ("S0", ETHER, "carol", "carol"), 40 * DAY),
        Step("mint_with_underlying", "bob", ("S1", "bob", 1)),
    ]
    steps.insert(2, Step("transfer", "bob", ("A0", "join A0", 10 * ETHER)))
    steps.insert(3, Step("mint_with_underlying", "bob", ("S1", "bob", 10 * ETHER)))
    session, outcomes, differing = play(yield_v2, steps)
    assert not differing
    assert outcomes[4] == "ok"
    assert session.observe_chain()["S0.chi"] == 2**256 - 1


def test_series_of_the_lens_are_those_of_the_model(yield_v2: AdapterTarget) -> None:
    """Every word has a name: the two sides are zipped strictly, over all series."""
    session = yield_v2.start_in(plain_world())
    seen = session.observe_chain()
    assert all(seen[f"{series}.maturity"] for series in SERIES)
    assert len(seen) == len(session.observe_model())
