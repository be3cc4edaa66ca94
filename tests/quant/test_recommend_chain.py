"""The calldata of a recommendation, sent to a deployed governor and timelock as it stands."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from risk.errors import RevertError
from risk.exact.params.risk_params import RiskParams
from risk.quant import recommend as rec
from risk.quant.errors import QuantError
from risk.quant.governor_chain import governor_at
from risk.quant.recommend import Governor, InForce
from risk.quant.scenarios.factors import Scale
from tests.governance.support import (
    CONFIG,
    DELAY,
    PROPOSER,
    STEWARD,
    STRANGER,
    GovernedVault,
    base_params,
    governed_vault,
)

NOW = InForce(base_params(), Scale(np.array([0.03, 0.03]), np.array([0.05, 0.05])))
SENDERS = {"steward": STEWARD, "proposer": PROPOSER, "executor": STRANGER}

pytestmark = pytest.mark.chain


@pytest.fixture
def governed() -> Iterator[GovernedVault]:
    """Listed, priced; the governor owns the vault, no ramp. Leaves no trace."""
    g = governed_vault()
    snapshot = g.rpc.call("evm_snapshot")
    saved, store, roles = g.clone(), copy.deepcopy(g.gov.store), copy.deepcopy(g.gov.roles)
    yield g
    g.rpc.call("evm_revert", snapshot)
    g.restore(saved)
    g.gov.vault, g.gov.store, g.gov.roles = g.model, store, roles


def limits(g: GovernedVault) -> Governor:
    """As the deployed governor has them."""
    return Governor(
        steward_bps=CONFIG.steward_bps,
        min_steps=CONFIG.min_steps,
        step_seconds=CONFIG.step_seconds,
        delay_seconds=DELAY,
        governor=g.governor,
        timelock=g.timelock,
    )


def send(g: GovernedVault, row: dict[str, Any], sender: int | None = None) -> None:
    """One transaction of the recommendation, byte for byte; raises where the chain refuses."""
    to, data = int(row["to"], 16), bytes.fromhex(row["data"][2:])
    who = SENDERS[row["sender"]] if sender is None else sender
    call = {"from": f"0x{who:040x}", "to": row["to"], "data": row["data"], "gas": hex(30_000_000)}
    g.rpc.call("eth_call", call, "latest", {}, {"time": hex(g.world.timestamp)})
    g.send(who, to, data)


def finish(g: GovernedVault) -> int:
    """Anybody takes the steps; their number."""
    steps = 0
    while g.view("ramp")[1]:
        g.warp(CONFIG.step_seconds)
        assert g.call(STRANGER, g.governor, g.own_functions["poke"]) is None
        steps += 1
        assert steps <= 1_000
    return steps


def test_limits_and_anchor_are_read_at_a_block(governed: GovernedVault) -> None:
    node = str(governed.rpc.transport.endpoint)
    block = governed.rpc.block_number()
    time = governed.world.timestamp
    governor = limits(governed)
    before = governor_at(node, governed.governor, governed.timelock, block, time)
    assert before == governor, "no period is running: no anchor"
    proposed = steered(1.4, governor)
    (row,) = rec.calldata(proposed.blob, rec.STEWARD, governor)
    send(governed, row)
    with pytest.raises(QuantError, match=r"a ramp of the governor is running .* step 0 of \d+"):
        governor_at(node, governed.governor, governed.timelock, governed.rpc.block_number(), time)
    finish(governed)
    later, now = governed.rpc.block_number(), governed.world.timestamp
    _, since = governed.view("stewardPeriod")
    within, over = since + CONFIG.steward_period - 1, since + CONFIG.steward_period
    found = governor_at(node, governed.governor, governed.timelock, later, within)
    assert found == replace(governor, anchor=NOW.params.blob)
    # what goes beyond the anchor's limit is refused as the contract refuses it
    again = InForce(proposed, NOW.scale)
    cut = rec.steered(again, Scale(NOW.scale.price * 1.4, NOW.scale.vol * 1.4), found)[0]
    assert cut == proposed, "every lane stands at the limit of the period already"
    assert governor_at(node, governed.governor, 0, later, over).anchor is None
    assert now > since
    with pytest.raises(QuantError, match="there is no governor at 0x0000"):
        governor_at(node, 0x77, 0, later, now)
    with pytest.raises(QuantError, match="there is no timelock at 0x0000"):
        governor_at(node, governed.governor, 0x77, later, now)


def steered(goal: float, governor: Governor) -> RiskParams:
    scale = Scale(NOW.scale.price * goal, NOW.scale.vol * goal)
    return rec.steered(NOW, scale, governor)[0]


def test_the_stewards_call_puts_the_proposal_in_force(governed: GovernedVault) -> None:
    governor = limits(governed)
    proposed = steered(1.4, governor)  # every lane at its limit
    told = rec.ramp(NOW.params, proposed, rec.STEWARD, governor)
    (row,) = rec.calldata(proposed.blob, rec.STEWARD, governor)
    assert governed.blob() == NOW.params.blob
    send(governed, row)
    start, target, step, steps, _, _ = governed.view("ramp")
    assert (target, step, steps) == (proposed.blob, 0, told["steps"])
    assert told["jumps_at_once"] == (start != NOW.params.blob)
    assert finish(governed) == told["steps"]
    assert governed.blob() == proposed.blob
    assert governed.blob() != NOW.params.blob


def test_the_contract_says_the_same_of_the_diff(governed: GovernedVault) -> None:
    governor = limits(governed)
    proposed = steered(0.95, governor)
    (changes,) = governed.view("diff", NOW.params.blob, proposed.blob)
    rows = rec.changed_fields(NOW.params.blob, proposed.blob)
    assert [(c >> 16, c >> 8 & 0xFF) for c in changes] == [(r["word"], r["shift"]) for r in rows]
    assert [rec.CLASSES[c & 0xFF] for c in changes] == [r["class"] for r in rows]
    governed.view("checkSteward", NOW.params.blob, NOW.params.blob, proposed.blob)


def test_only_the_steward_may_send_it_and_one_lane_more_is_refused(
    governed: GovernedVault,
) -> None:
    governor = limits(governed)
    proposed = steered(1.4, governor)
    (row,) = rec.calldata(proposed.blob, rec.STEWARD, governor)
    with pytest.raises(RevertError) as refused:
        send(governed, row, STRANGER)
    assert governed.errors.name(refused.value.data) == "AccessControlUnauthorizedAccount"
    u = proposed.underlyings[0]
    beyond = replace(u, price_lanes=(u.price_lanes[0] - 1, *u.price_lanes[1:]))
    more = replace(proposed, underlyings=(beyond, proposed.underlyings[1]))
    (row,) = rec.calldata(more.blob, rec.STEWARD, governor)
    with pytest.raises(RevertError) as refused:
        send(governed, row)
    assert governed.errors.name(refused.value.data) == "StewardLimit"


def test_the_timelocks_calls_put_the_proposal_in_force(governed: GovernedVault) -> None:
    """Schedule, wait, execute: weights and lanes of a set that no steward could propose."""
    governor = limits(governed)
    old = NOW.params
    underlyings = tuple(
        replace(u, price_lanes=tuple(lane * 3 // 2 for lane in u.price_lanes))
        for u in old.underlyings
    )
    weights = tuple(w - 300 for w in old.weights_bps)
    proposed = replace(old, weights_bps=weights, underlyings=underlyings)
    told = rec.ramp(old, proposed, rec.TIMELOCK, governor)
    schedule, execute = rec.calldata(proposed.blob, rec.TIMELOCK, governor)
    send(governed, schedule)
    with pytest.raises(RevertError) as refused:
        send(governed, execute)
    assert governed.errors.name(refused.value.data) == "TimelockUnexpectedOperationState"
    assert governed.blob() == old.blob
    governed.warp(execute["not_before_seconds"])
    send(governed, execute)
    start, target, _, steps, _, _ = governed.view("ramp")
    assert (target, steps) == (proposed.blob, told["steps"])
    assert told["jumps_at_once"] and start != old.blob, "what only loosens jumps"
    assert finish(governed) == told["steps"]
    assert governed.blob() == proposed.blob
