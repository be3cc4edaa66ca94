"""Accounts in the model: load, change, store (the contract's twin runs in every vault test)."""

from __future__ import annotations

import pytest

from risk.exact.accounts import account_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id
from risk.exact.state import Account, Linear, Option, State

WAD = 10**18
ID = 0xABC << 8 | 3
PERP = instrument_id.encode(2, instrument_id.PERP, 0, 0)
CALL = instrument_id.encode(2, instrument_id.CALL, 21_000, 17)


def test_identifier_fields() -> None:
    assert instrument_id.underlying(CALL) == 2
    assert instrument_id.kind(CALL) == instrument_id.CALL
    assert instrument_id.expiry_day(CALL) == 21_000
    assert instrument_id.strike_index(CALL) == 17
    assert instrument_id.bucket_key(CALL) == 2 << 16 | 21_000
    assert instrument_id.strike_key(CALL) == instrument_id.strike_key(CALL | 1 << 26)
    assert instrument_id.expiry(CALL) == 21_000 * 86_400 + 28_800


def test_linear_is_appended_changed_and_removed() -> None:
    a = Account()
    assert account_lib.add_linear(ID, a, PERP, 5, -7) == (0, 5, -7)
    assert account_lib.add_linear(ID, a, PERP + (1 << 28), 1, 0) == (0, 1, 0)
    assert account_lib.add_linear(ID, a, PERP, -5, 3) == (5, 0, -4)  # a claim stays
    assert [x.size_wad for x in a.linear] == [0, 1]
    assert account_lib.add_linear(ID, a, PERP, 0, 4) == (0, 0, 0)
    assert [x.instrument for x in a.linear] == [PERP + (1 << 28)]
    assert account_lib.add_linear(ID, a, PERP, 0, 0) == (0, 0, 0)
    assert len(a.linear) == 1


def test_option_is_appended_changed_and_removed() -> None:
    a = Account(options=[Option(CALL + i, WAD) for i in range(4)])
    assert account_lib.add_option(ID, a, CALL + 1, -WAD) == (WAD, 0)
    assert [x.instrument - CALL for x in a.options] == [0, 3, 2]  # the last takes its place
    assert account_lib.add_option(ID, a, CALL + 9, -1) == (0, -1)
    assert account_lib.find_option(a, CALL + 9) == 3
    assert account_lib.find_option(a, CALL + 8) == 4


@pytest.mark.parametrize("bad", [2**95, -(2**95) - 1])
def test_sizes_fit_their_fields(bad: int) -> None:
    expected = ModelRevert("SizeOutOfRange", (ID, PERP))
    for d_size, d_quote in ((bad, 0), (0, bad << 32)):
        with pytest.raises(ModelRevert) as caught:
            account_lib.add_linear(ID, Account(), PERP, d_size, d_quote)
        assert caught.value == expected
    with pytest.raises(ModelRevert) as caught:
        account_lib.add_option(ID, Account(), CALL, bad)
    assert caught.value == ModelRevert("SizeOutOfRange", (ID, CALL))
    good = bad - 1 if bad > 0 else bad + 1
    assert account_lib.add_option(ID, Account(), CALL, good) == (0, good)


def test_store_refuses_and_load_copies() -> None:
    state = State(owner=1, cash_token=2, cash_decimals=6)
    many = Account(
        cash_wad=2**127,
        linear=[Linear(i, 1, 0) for i in range(60)],
        options=[Option(i, 1) for i in range(69)],
    )
    with pytest.raises(ModelRevert) as caught:
        account_lib.store(state, ID, many)
    assert caught.value == ModelRevert("TooManyPositions", (ID, 128))  # before the cash
    many.options.pop()
    with pytest.raises(ModelRevert) as caught:
        account_lib.store(state, ID, many)
    assert caught.value == ModelRevert("CashOutOfRange", (ID,))
    many.cash_wad = -(2**127)
    account_lib.store(state, ID, many)
    loaded = account_lib.load(state, ID)
    loaded.options[0].size_wad = loaded.linear[0].size_wad = 9
    loaded.collateral[3] = 1
    assert state.accounts[ID].options[0].size_wad == state.accounts[ID].linear[0].size_wad == 1
    assert account_lib.collateral_mask(loaded) == 8
    assert account_lib.collateral_mask(state.accounts[ID]) == 0
    assert account_lib.load(state, 77) == Account()


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        (Account(), False),
        (Account(cash_wad=-1), True),
        (Account(cash_wad=1, options=[Option(CALL, 1)]), False),
        (Account(options=[Option(CALL, 1), Option(CALL + 1, -1)]), True),
        (Account(linear=[Linear(PERP, 0, 5)]), False),
        (Account(linear=[Linear(PERP, -1, 0)]), True),
    ],
)
def test_obligations(a: Account, expected: bool) -> None:
    assert account_lib.has_obligations(a) is expected
