"""The L2 sequencer's uptime feed: down, grace, broken.  Chain and model side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from risk.exact.accounts import account_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id, margin_logic
from risk.exact.market import sequencer
from risk.exact.state import Account, Linear, State, World
from tests.market.market_twin import BROKEN, GUZZLES, WAD, WORKS, Twin

GRACE = 3_600
UP, DOWN = 0, 1
ALICE = 0xA11CE << 8
PERP = instrument_id.encode(1, instrument_id.PERP, 0, 0)


@pytest.fixture
def l2(market: Twin) -> Twin:
    """An uptime feed that says up since long ago; an hour of grace."""
    assert market.state.params is not None
    market.set_params(replace(market.state.params, sequencer_grace_seconds=GRACE))
    feed = market.new_feed(0, UP, market.world.timestamp - 10 * GRACE)
    set_feed(market, feed)
    return market


def set_feed(t: Twin, feed: int) -> None:
    def model(state: State, _: World) -> None:
        state.sequencer_feed = feed

    assert t.act(model, "setSequencerFeed", feed) is None


def require(t: Twin) -> ModelRevert | None:
    """``requireLive`` on both sides at the same second; the two views agree with it."""
    assert t.state.params is not None
    p = t.state.params
    now = t.world.timestamp
    want = None
    try:
        sequencer.require_live(t.state, t.world, p)
    except ModelRevert as error:
        want = error
    live = sequencer.is_live(t.state, t.world, p)
    holds = sequencer.holds_liquidations(t.state, t.world, p)
    assert live is (want is None)
    assert t.view("sequencer") == [live, holds]
    t.world.timestamp = now  # the block of the view is the one to ask
    data = t.simulate("requireSequencer")
    assert data == (None if want is None else t.errors.encode(want.name, want.args))
    t.world.timestamp = now + 1
    return want


def holds(t: Twin) -> bool:
    assert t.state.params is not None
    return sequencer.holds_liquidations(t.state, t.world, t.state.params)


def say(t: Twin, answer: int, since: int, mode: int = WORKS) -> None:
    t.set_feed(t.state.sequencer_feed, answer, since, mode)


def test_without_a_feed_it_is_live(market: Twin) -> None:
    assert require(market) is None and not holds(market)


def test_up_for_long(l2: Twin) -> None:
    assert require(l2) is None and not holds(l2)


@pytest.mark.parametrize("answer", [DOWN, -1, 2, 2**255 - 1])
def test_down(l2: Twin, answer: int) -> None:
    """Anything but 0."""
    say(l2, answer, l2.world.timestamp)
    assert holds(l2)
    l2.refuse("SequencerDown", (), require(l2))


@pytest.mark.parametrize("left", [GRACE, 1, 0])
def test_grace_to_the_second(l2: Twin, left: int) -> None:
    since = l2.world.timestamp - GRACE + left
    say(l2, UP, since)
    assert holds(l2) is (left > 0)
    outcome = require(l2)
    if left:
        l2.refuse("SequencerGrace", (since + GRACE,), outcome)
    else:
        assert outcome is None


@pytest.mark.parametrize("mode", BROKEN)
def test_a_broken_feed_refuses_new_risk_and_holds_no_liquidation(l2: Twin, mode: int) -> None:
    say(l2, UP, l2.world.timestamp - 10 * GRACE, mode)
    assert not holds(l2)
    l2.refuse("SequencerDown", (), require(l2))


@pytest.mark.parametrize("since", [0, 10**12])
def test_an_impossible_time_is_a_broken_feed(l2: Twin, since: int) -> None:
    """startedAt 0 is what Chainlink's proxy answers before its first round on some chains."""
    say(l2, UP, since)
    assert not holds(l2)
    l2.refuse("SequencerDown", (), require(l2))


def test_a_slow_feed_is_not_a_broken_one(l2: Twin) -> None:
    say(l2, UP, l2.world.timestamp - 10 * GRACE, GUZZLES)
    assert require(l2) is None


@pytest.mark.parametrize(("answer", "grace"), [(DOWN, GRACE), (UP, 2**24 - 1)])
def test_a_stuck_feed_holds_liquidations_for_a_day_only(l2: Twin, answer: int, grace: int) -> None:
    """Whatever it says and however long the grace is; new risk stays refused."""
    assert l2.state.params is not None
    l2.set_params(replace(l2.state.params, sequencer_grace_seconds=grace))
    since = l2.world.timestamp
    say(l2, answer, since)
    l2.world.timestamp = since + sequencer.MAX_OUTAGE
    assert holds(l2) and require(l2) is not None
    l2.world.timestamp = since + sequencer.MAX_OUTAGE + 1
    assert not holds(l2) and require(l2) is not None


# ------------------------------------------------------------------------------- initial margin


def check(t: Twin) -> Any:
    return t.act(
        lambda s, w: margin_logic.require_initial(s, w, [ALICE]), "requireInitial", [ALICE]
    )


def give(t: Twin, **fields: Any) -> None:
    account_lib.store(t.state, ALICE, Account(**fields))
    t.write_state()


@pytest.mark.parametrize("market_down", [False, True])
def test_obligations_need_a_live_sequencer(l2: Twin, market_down: bool) -> None:
    """Before any market is read; without obligations nobody asks."""
    give(l2, cash_wad=10**6 * WAD, linear=[Linear(PERP, WAD, -60_000 * WAD)])
    feed = l2.state.underlyings[1].feed
    l2.set_feed(feed, l2.world.feeds[feed].answer)
    assert check(l2) is None
    say(l2, DOWN, l2.world.timestamp)
    l2.set_feed(feed, 0 if market_down else l2.world.feeds[feed].answer)
    l2.refuse("SequencerDown", (), check(l2))
    give(l2, cash_wad=WAD)
    assert check(l2) is None
