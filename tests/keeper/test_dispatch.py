"""The dispatcher on a chain in memory: every refusal, loss, stranger and reorg by itself."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from risk.errors import RpcError, TransportError
from risk.keeper.dispatch import Answer, Declined
from risk.keeper.dispatch.answers import classify
from risk.keeper.dispatch.fees import FeePolicy, Fees, bumped, first_fees, replacement_fees
from risk.keeper.errors import BalanceTooLow, StateError, Transient, WrongChain
from tests.keeper.dispatch_support import GWEI, SEND, FakeChain, Rig, finish, intent, ready


@pytest.fixture
def chain() -> FakeChain:
    return FakeChain()


# -------------------------------------------------------------------- the normal way


def test_an_intent_is_sent_mined_and_closed(chain: FakeChain, tmp_path: Path) -> None:
    rig = Rig(chain, tmp_path)
    assert rig.dispatcher.submit(intent(1)).declined is Declined.UNRESOLVED
    rig.tick()
    verdict = rig.dispatcher.submit(intent(1), chain.head())
    assert verdict.accepted and verdict.answer == "accepted" and verdict.nonce == 0
    assert rig.dispatcher.submit(intent(1)).declined is Declined.KEY_OPEN
    assert rig.dispatcher.submit(intent(2)).declined is Declined.WINDOW_FULL
    chain.mine()
    events = rig.dispatcher.tick(chain.head())
    assert [e.what.value for e in events] == ["sent", "mined"]
    assert events[1].cost_wei == 100_000 * 11 * GWEI
    assert rig.dispatcher.submit(intent(1)).declined is Declined.KEY_OPEN  # not confirmed
    assert rig.block() == [] and rig.block() == ["closed"]
    assert rig.dispatcher.slots == []
    assert rig.dispatcher.submit(intent(1)).accepted  # the same account fell ill again


def test_bytes_are_in_the_journal_before_they_are_sent(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    seen: list[bool] = []

    def look(method: str) -> None:
        if method == SEND:
            raw = rig.journal.slots.by_nonce[0].last.raw.hex()
            seen.append(raw in rig.journal.path.read_text())

    chain.before = look
    rig.dispatcher.submit(intent(1))
    assert seen == [True]


def test_the_pipeline_is_serial(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path, pipeline=3)
    assert [rig.dispatcher.submit(intent(i)).nonce for i in range(3)] == [0, 1, 2]
    assert rig.dispatcher.submit(intent(3)).declined is Declined.WINDOW_FULL
    finish(rig, 1)
    assert chain.effects() == [intent(i).data for i in range(3)]


# ------------------------------------------------------------------------- fees


def test_replacement_rises_with_the_base_fee_within_the_budget(
    chain: FakeChain, tmp_path: Path
) -> None:
    """Each attempt obeys the pool's 10 %; the worst case never exceeds the budget."""
    budget = 100_000 * 60 * GWEI
    rig = ready(chain, tmp_path)
    rig.dispatcher.submit(intent(1), budget_wei=budget)
    told: list[str] = []
    for _ in range(12):
        chain.base = chain.base * 9 // 8
        told += rig.block(empty=True)
    slot = rig.dispatcher.slots[0]
    assert told.count("replaced") == len(slot.attempts) - 1 >= 3
    assert told.count("stuck") == 1 and "refused" not in told
    for old, new in zip(slot.attempts, slot.attempts[1:], strict=False):
        assert new.fees.max_fee_wei * 8 >= old.fees.max_fee_wei * 9
        assert new.fees.tip_wei * 8 >= old.fees.tip_wei * 9
    assert all(a.worst_wei <= budget for a in slot.attempts)
    assert len({(a.purpose, a.gas_limit) for a in slot.attempts}) == 1
    chain.base = 10 * GWEI  # the spike is over: the nonce was kept
    finish(rig, 4)
    assert chain.effects() == [intent(1).data] and rig.dispatcher.slots == []


def test_no_fee_within_the_limits_is_declined_before_signing(
    chain: FakeChain, tmp_path: Path
) -> None:
    rig = ready(chain, tmp_path)
    declined = rig.dispatcher.submit(intent(1), budget_wei=100_000 * 11 * GWEI).declined
    assert declined is Declined.TOO_EXPENSIVE  # a base fee one eighth higher needs 12.25 gwei
    assert rig.dispatcher.submit(intent(1), budget_wei=100_000 * 13 * GWEI).accepted
    assert rig.dispatcher.slots[0].last.fees == Fees(13 * GWEI, GWEI)


def test_fee_rules() -> None:
    rules = FeePolicy(max_fee_cap_wei=100, budget_wei=10**6, max_tip_wei=9)
    assert bumped(rules, Fees(81, 1)) == Fees(92, 2)  # 91.125 up; at least one more
    assert first_fees(rules, 8, 2, 10, 10**6) == Fees(18, 2)
    assert first_fees(rules, 8, 2, 10, 115) == Fees(11, 2)  # budget: 11 a gas, needed 9 + 2
    assert first_fees(rules, 8, 2, 10, 109) is None
    assert first_fees(rules, 8, 50, 10, 10**6) == Fees(25, 9)
    assert replacement_fees(rules, Fees(89, 2), 8, 2, 10, 10**6) is None  # cap 100, needs 101
    assert replacement_fees(rules, Fees(20, 9), 8, 2, 10, 10**6) is None  # tip cap
    assert replacement_fees(rules, Fees(20, 2), 40, 5, 10, 10**6) == Fees(85, 5)
    for wrong in ({"bump_bps": 999}, {"budget_wei": 0}, {"max_tip_wei": 101}, {"base_fee_bps": 1}):
        with pytest.raises(ValueError):
            FeePolicy(**{"max_fee_cap_wei": 100, "budget_wei": 1, "max_tip_wei": 9, **wrong})


# ----------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("already known", Answer.KNOWN),  # geth
        ("transaction already imported", Answer.KNOWN),  # Anvil
        ("AlreadyKnown", Answer.KNOWN),  # Nethermind
        ("nonce too low: next nonce 5, tx nonce 4", Answer.NONCE_TOO_LOW),
        ("OldNonce, Current nonce: 5", Answer.NONCE_TOO_LOW),
        ("replacement transaction underpriced", Answer.REPLACEMENT_UNDERPRICED),
        ("could not replace existing tx", Answer.REPLACEMENT_UNDERPRICED),  # Erigon
        ("transaction underpriced: tip needed 1, tip permitted 0", Answer.FEE_TOO_LOW),
        ("max fee per gas less than block base fee", Answer.FEE_TOO_LOW),
        ("Insufficient funds for gas * price + value", Answer.INSUFFICIENT_FUNDS),
        ("Upfront cost exceeds account balance", Answer.INSUFFICIENT_FUNDS),  # Besu
        ("invalid chain id for signer", Answer.WRONG_CHAIN),
        ("intrinsic gas too low", Answer.NEVER_VALID),
        ("exceeds block gas limit", Answer.NEVER_VALID),
        ("txpool is full", Answer.BUSY),
        ("nonce too high", Answer.NONCE_GAP),
        ("unknown transaction type", Answer.OTHER),
        ("the moon is in the wrong place", Answer.OTHER),
    ],
)
def test_refusals_have_names(text: str, answer: Answer) -> None:
    assert classify(RpcError(SEND, -32000, text)) is answer
    assert classify(TransportError(text)) is Answer.UNKNOWN


@pytest.mark.parametrize("loss", ["lost before", "lost after"])
def test_nobody_knows_whether_it_arrived(chain: FakeChain, tmp_path: Path, loss: str) -> None:
    """Time-out of the sending: the same bytes again if the node does not have them; one effect."""
    rig = ready(chain, tmp_path)
    chain.faults[SEND] = [loss]
    verdict = rig.dispatcher.submit(intent(1))
    assert verdict.accepted and verdict.answer == "no answer"
    finish(rig)
    assert chain.effects() == [intent(1).data] and rig.dispatcher.slots == []
    assert len(set(chain.bytes_seen)) == 1


def test_known_refusals_of_a_sending_end_well(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    texts = ["already known", "nonce too low", "txpool is full", "nonce too high", "what?"]
    for number, text in enumerate(texts):
        chain.faults[SEND] = [text]
        assert rig.dispatcher.submit(intent(number)).accepted
        finish(rig)
        assert chain.effects() == [intent(n).data for n in range(number + 1)], text
        assert rig.dispatcher.slots == []


def test_an_underpriced_fee_is_raised_at_once(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    chain.faults[SEND] = ["transaction underpriced: gas tip cap 1", "transaction underpriced"]
    assert rig.dispatcher.submit(intent(1)).answer == "accepted"
    assert len(rig.dispatcher.slots[0].attempts) == 3
    finish(rig)
    assert chain.effects() == [intent(1).data]


def test_a_pool_that_wants_more_gets_it_within_the_budget(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    rig.dispatcher.submit(intent(1))
    rig.block(empty=True)
    chain.faults[SEND] = ["replacement transaction underpriced"] * 2
    told = rig.block(empty=True)
    assert told == ["replaced", "refused", "replaced", "refused", "replaced"]
    finish(rig)
    assert chain.effects() == [intent(1).data]


def test_what_can_never_be_valid_is_cancelled(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    chain.faults[SEND] = ["exceeds block gas limit"]
    assert rig.dispatcher.submit(intent(1)).accepted
    assert rig.block() == ["refused", "cancelling", "sent", "cancelled"]
    finish(rig)
    assert chain.effects() == [] and chain.used() == 1 and rig.dispatcher.slots == []


def test_balance(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path, pipeline=2)
    chain.balance = 100_000 * 12 * GWEI  # least fee: 12.25 gwei
    with pytest.raises(BalanceTooLow, match="has 1200000000000000 wei"):
        rig.dispatcher.submit(intent(1))
    assert rig.journal.slots.by_nonce == {}  # nothing was signed
    chain.balance = 100_000 * 30 * GWEI
    assert rig.dispatcher.submit(intent(1)).accepted
    assert rig.dispatcher.submit(intent(2)).declined is Declined.RESERVED
    chain.balance = 10**18
    chain.faults[SEND] = ["insufficient funds for gas * price + value: balance 1, tx cost 2"]
    with pytest.raises(BalanceTooLow):
        rig.dispatcher.submit(intent(2))
    finish(rig)  # the owner has paid in: the nonce that was signed goes out
    assert chain.effects() == [intent(1).data, intent(2).data]


def test_another_chain_id_stops(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    chain.faults[SEND] = ["invalid chain id for signer"]
    with pytest.raises(WrongChain):
        rig.dispatcher.submit(intent(1))


# ---------------------------------------------------------- nothing from a bad answer


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("eth_getTransactionCount", "lost before"),
        ("eth_getTransactionCount", "internal error"),
        ("eth_getTransactionCount", lambda result: None),
        ("eth_getTransactionReceipt", "indexing is in progress"),
        ("eth_getTransactionReceipt", lambda result: {"transactionHash": "0x" + "00" * 32}),
        ("eth_getTransactionReceipt", lambda result: {"status": "0x1"}),
        ("eth_getBlockByNumber", lambda result: None),
        ("eth_getBlockByNumber", lambda result: {**result, "hash": "0x" + "00" * 32}),
        ("eth_getBlockByNumber", lambda result: {}),
        ("eth_getBalance", lambda result: 5),
        ("eth_getTransactionByHash", "lost before"),
    ],
)
def test_a_bad_answer_changes_nothing(
    chain: FakeChain, tmp_path: Path, method: str, fault: Any
) -> None:
    rig = ready(chain, tmp_path)
    rig.dispatcher.submit(intent(1))
    chain.mine()
    before, sent = rig.journal.path.read_bytes(), len(chain.bytes_seen)
    chain.faults[method] = [fault]
    with pytest.raises(Transient) as caught:
        rig.tick()
    assert "secret" not in str(caught.value)
    assert rig.journal.path.read_bytes() == before and len(chain.bytes_seen) == sent
    finish(rig)
    assert chain.effects() == [intent(1).data] and rig.dispatcher.slots == []


def test_endpoints_stay_out_of_the_log(
    chain: FakeChain, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rig = ready(chain, tmp_path)
    chain.faults[SEND] = ["lost before"]
    rig.dispatcher.submit(intent(1))
    finish(rig)
    assert "no answer" in caplog.text and "secret" not in caplog.text


def test_a_corrupt_journal_sends_nothing(chain: FakeChain, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    rig.dispatcher.submit(intent(1))
    chain.pool.clear()
    sent = len(chain.bytes_seen)
    path = rig.journal.path
    path.write_bytes(path.read_bytes().replace(b'"nonce":0', b'"nonce":1'))
    with pytest.raises(StateError):
        rig.restart()
    assert len(chain.bytes_seen) == sent
