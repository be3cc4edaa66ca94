"""Liquidation with a callback: what may happen in it, and that every check runs in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import pytest

from risk.exact.errors import ModelRevert as Revert
from risk.exact.vault import Vault
from tests.liquidation.scene import BTC_PERP, LONG, PERP, A, C, Contract, at_health, leg
from tests.support.vault_fixtures import PRICES, Market
from tests.support.vault_twin import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    NO_LIMIT,
    USD,
    WAD,
    account,
    key_address,
)


@pytest.fixture
def keeper(market: Market) -> Contract:
    """A contract without a penny in the vault, and a million in its pocket."""
    contract = Contract(market, cash=0)
    market.give(market.cash, contract.address, 10**6 * USD)
    return contract


def failing(market: Market) -> None:
    at_health(market, A, WAD * 9 // 10, **LONG)


def deposit(market: Market, keeper: Contract, units: int) -> tuple[Any, ...]:
    return "deposit", (keeper.account, market.cash, units * USD)


def debtor(market: Market, keeper: Contract) -> int:
    """A second account of the contract: 1 000 of cash, 150 of maintenance margin; Alice fails."""
    second, other = account(keeper.address, 1), account(BOB, 5)
    linear = [(BTC_PERP, WAD // 100, -600 * WAD)]
    market.put(second, cash=1_000 * WAD, linear=linear, mirror=other)
    market.state.accounts[other].cash_wad = 10**9 * WAD
    failing(market)
    return second


# ------------------------------------------------------------------------------- raising the cash


def test_cash_is_raised_in_the_callback(market: Market, keeper: Contract) -> None:
    failing(market)
    quoted = market.model.liquidation_quote(A)
    keeper.arm()
    refused = keeper.slice(A, WAD, NO_LIMIT)
    assert refused.name == "InsufficientMargin" and refused.args[0] == keeper.account
    keeper.arm(deposit(market, keeper, 100_000))
    fraction, payment = keeper.slice(A, WAD, NO_LIMIT)
    assert fraction == quoted.max_fraction_wad and payment > 0
    # what it was told: account, liquidator, fraction, payment, data
    seen = keeper.seen()
    words = [int.from_bytes(seen[i : i + 32], "big") for i in range(0, 128, 32)]
    assert words == [A, keeper.account, fraction, payment] and b"go" in seen


def test_without_data_nobody_is_called(market: Market, keeper: Contract) -> None:
    failing(market)
    keeper.arm(deposit(market, keeper, 100_000))
    args = (A, keeper.account, WAD, NO_LIMIT)
    refused = market.do(keeper.address, "liquidateFlash", *args, None, chain=(*args, b""))
    assert refused.name == "InsufficientMargin"


def test_D42_the_cash_must_stay(market: Market, keeper: Contract) -> None:
    """Deposit and withdraw again in the callback: the check comes after both."""
    failing(market)
    out = ("withdraw", (keeper.account, market.cash, 99_000 * USD, keeper.address))
    keeper.arm(deposit(market, keeper, 100_000), out)
    refused = keeper.slice(A, WAD, NO_LIMIT)
    assert refused.name == "InsufficientMargin" and refused.args[0] == keeper.account


def test_an_error_of_the_callback_is_the_error(market: Market, keeper: Contract) -> None:
    failing(market)
    keeper.arm(("deposit", (keeper.account, market.cash, 0)))
    assert keeper.slice(A, WAD, NO_LIMIT) == Revert("ZeroAmount")


def test_D35_limit_holds_before_the_callback(market: Market, keeper: Contract) -> None:
    failing(market)
    keeper.arm(deposit(market, keeper, 100_000))
    assert keeper.slice(A, WAD, 1).name == "PaymentAboveLimit"


# ---------------------------------------------------------------------------------- deferred checks


def test_B18_other_accounts_are_checked_at_the_end(market: Market, keeper: Contract) -> None:
    """A second account of the liquidator withdraws beyond its margin in the callback."""
    second = debtor(market, keeper)
    for units, outcome in ((1_000, "refused"), (100, "taken")):
        out = ("withdraw", (second, market.cash, units * USD, keeper.address))
        keeper.arm(deposit(market, keeper, 100_000), out)
        result = keeper.slice(A, WAD // 100, NO_LIMIT)
        if outcome == "refused":
            assert result.name == "InsufficientMargin" and result.args[0] == second
        else:
            assert result[0] == WAD // 100
        assert market.state.deferred == [] and not market.state.deferring


def test_B18_nested_liquidation_does_not_run_the_checks_early(
    market: Market, keeper: Contract
) -> None:
    """withdraw; liquidate again with its own callback; deposit: only the end counts."""
    second = debtor(market, keeper)
    out = ("withdraw", (second, market.cash, 1_000 * USD, keeper.address))
    back = ("deposit", (second, market.cash, 900 * USD))
    cash = deposit(market, keeper, 100_000)
    for nested in (b"", b"again"):
        again = keeper.nested(A, WAD // 100, NO_LIMIT, nested)
        keeper.arm(cash, out, again)
        refused = keeper.slice(A, WAD // 100, NO_LIMIT)
        assert refused.name == "InsufficientMargin" and refused.args[0] == second
        keeper.arm(cash, out, again, back)
        assert keeper.slice(A, WAD // 100, NO_LIMIT)[0] == WAD // 100
        out = ("withdraw", (second, market.cash, 800 * USD, keeper.address))


def test_B18_batch_inside_the_callback_waits_too(market: Market, keeper: Contract) -> None:
    second = debtor(market, keeper)
    out = (second, market.cash, 1_000 * USD, keeper.address)
    back = (second, market.cash, 900 * USD)
    f = market.functions

    def inner(v: Vault) -> Any:
        return v.withdraw(keeper.address, *out)

    batch = ("batch", ([inner],), ([f["withdraw"].encode(*out)],))
    cash = deposit(market, keeper, 100_000)
    keeper.arm(cash, batch)
    refused = keeper.slice(A, WAD // 100, NO_LIMIT)
    assert refused.name == "InsufficientMargin" and refused.args[0] == second
    keeper.arm(cash, batch, ("deposit", back))
    assert keeper.slice(A, WAD // 100, NO_LIMIT)[0] == WAD // 100


def test_B18_batch_around_a_liquidation_checks_last(market: Market, keeper: Contract) -> None:
    """The callback of a liquidation in a batch leaves its checks to the batch."""
    second = debtor(market, keeper)
    args = (A, keeper.account, WAD // 100, NO_LIMIT)
    back = (second, market.cash, 900 * USD)
    f = market.functions
    out = ("withdraw", (second, market.cash, 1_000 * USD, keeper.address))

    def first(v: Vault) -> Any:
        return v.liquidate_flash(keeper.address, *args, keeper.callback)

    def last(v: Vault) -> Any:
        return v.deposit(keeper.address, *back)

    def run(*calls: tuple[Callable[[Vault], Any], bytes]) -> Any:
        data = [c[1] for c in calls]
        before = market.model.batch

        def model(sender: int, calls: Any) -> None:
            before(sender, calls)

        market.model.batch = model  # type: ignore[method-assign]
        try:
            return market.do(keeper.address, "batch", [c[0] for c in calls], chain=(data,))
        finally:
            del market.model.batch

    flash = first, f["liquidateFlash"].encode(*args, b"go")
    keeper.arm(deposit(market, keeper, 100_000), out)
    refused = run(flash)
    assert refused.name == "InsufficientMargin" and refused.args[0] == second
    assert run(flash, (last, f["deposit"].encode(*back))) is None


def test_B18_views_do_not_answer_in_the_callback(market: Market, keeper: Contract) -> None:
    failing(market)
    call = market.functions["margin"].encode(A)
    data = keeper.functions["arm"].encode([market.world.vault], [call])
    market._from(keeper.address, keeper.address, data)
    args = (A, keeper.account, WAD, NO_LIMIT)
    refused = market.chain_only(keeper.address, "liquidateFlash", *args, b"go")
    assert market.error(refused) == "Reentrancy()"
    assert market.rpc.call("eth_getStorageAt", hex_(market.world.vault), "0x0", "latest")


def hex_(value: int) -> str:
    return f"0x{value:040x}"


# ------------------------------------------------------------------------- accounts that owe checks


def test_B10_nobody_is_filled_into_a_liquidation_in_one_batch(market: Market) -> None:
    """A standing order, filled beyond the margin of its owner with the check deferred, and a
    liquidation of everything before that check runs.
    """
    assert market.do(ALICE, "deposit", A, market.cash, 1_000 * USD) is None
    market.put(C, cash=10**8 * WAD)
    buy = market.order(ALICE, PERP, 100 * WAD, PRICES[0] * WAD)
    sell = market.order(CAROL, PERP, -100 * WAD, PRICES[0] * WAD)
    size, price = 100 * WAD, PRICES[0] * WAD
    signatures = market.sign(buy, ALICE), market.sign(sell, CAROL)
    sender = key_address(CAROL)
    f = market.functions
    fill = f["fill"].encode(astuple(buy), signatures[0], astuple(sell), signatures[1], size, price)
    args = (A, C, WAD, NO_LIMIT)
    legs = (A, C, [leg(PERP, WAD)], NO_LIMIT)

    def trade(v: Vault) -> Any:
        return v.fill(sender, buy, key_address(ALICE), sell, sender, size, price)

    for name, call in (
        ("liquidate", lambda v: v.liquidate(sender, *args)),
        ("liquidateLegs", lambda v: v.liquidate_legs(sender, *legs, None)),
        ("flag", lambda v: v.flag(sender, A)),
    ):
        given = {"liquidate": args, "liquidateLegs": (*legs, b""), "flag": (A,)}[name]
        data = [fill, f[name].encode(*given)]
        refused = market.do(CAROL, "batch", [trade, call], chain=(data,))
        assert refused == Revert("InitialMarginOwed", (A,))


# ----------------------------------------------------------------------------------------- who may


def test_D43_only_owner_and_trader_bring_positions_into_an_account(market: Market) -> None:
    market.put(C, cash=10**8 * WAD)
    failing(market)
    args = (A, C, WAD // 100, NO_LIMIT)
    one = (A, C, [leg(PERP, WAD // 10)], NO_LIMIT)

    def attempt() -> list[Any]:
        return [
            market.do(DAVE, "liquidate", *args),
            market.do(DAVE, "liquidateFlash", *args, None, chain=(*args, b"")),
            market.do(DAVE, "liquidateLegs", *one, None, chain=(*one, b"")),
        ]

    refused = Revert("NotAccountOwner", (C, key_address(DAVE)))
    assert attempt() == [refused] * 3
    assert market.do(CAROL, "setOperator", C, key_address(DAVE), 6) is None  # all but TRADE
    assert attempt() == [refused] * 3
    assert market.do(CAROL, "setOperator", C, key_address(DAVE), 1) is None
    assert not any(isinstance(x, Revert) for x in attempt())
    assert market.do(CAROL, "setOperator", C, key_address(DAVE), 0) is None
    assert attempt() == [refused] * 3


def test_legs_with_a_callback(market: Market, keeper: Contract) -> None:
    at_health(market, A, WAD * 8 // 10, **LONG)
    keeper.arm()
    assert keeper.take(A, [leg(PERP, 2 * WAD)], NO_LIMIT).name == "InsufficientMargin"
    keeper.arm(deposit(market, keeper, 100_000))
    payment = keeper.take(A, [leg(PERP, 2 * WAD)], NO_LIMIT)
    assert isinstance(payment, int)
    seen = keeper.seen()
    words = [int.from_bytes(seen[i : i + 32], "big") for i in range(0, 128, 32)]
    assert words == [A, keeper.account, 0, payment % 2**256]


def test_B18_what_the_owner_does_in_the_callback_answers_to_the_deferred_check(
    market: Market, keeper: Contract
) -> None:
    """The contract liquidates its own account and empties it in the callback: HF of the slice was
    judged before, the withdrawal is judged at the end.
    """
    own = account(keeper.address, 2)
    at_health(market, own, WAD * 9 // 10, **LONG)
    out = ("withdraw", (own, market.cash, 100 * USD, keeper.address))
    keeper.arm(deposit(market, keeper, 100_000), out)
    refused = keeper.slice(own, WAD, NO_LIMIT)
    assert refused.name == "InsufficientMargin" and refused.args[0] == own
    keeper.arm(deposit(market, keeper, 100_000), ("deposit", (own, market.cash, USD)))
    assert keeper.slice(own, WAD, NO_LIMIT)[0] > 0


@pytest.mark.parametrize("inner", ["liquidate", "liquidateFlash", "liquidateLegs", "flag"])
def test_B18_the_liquidator_is_not_liquidated_before_its_own_check(
    market: Market, keeper: Contract, inner: str
) -> None:
    """It took the slice without the margin; a second account of its owner would take it on, at a
    reward that the fund pays.
    """
    me, second = keeper.account, account(keeper.address, 1)
    market.put(second, cash=10**8 * WAD)
    at_health(market, A, 60 * WAD // 100, **LONG)
    steps: dict[str, tuple[object, ...]] = {
        "liquidate": (inner, (me, second, WAD, NO_LIMIT)),
        "liquidateFlash": (
            inner,
            (me, second, WAD, NO_LIMIT, None),
            (me, second, WAD, NO_LIMIT, b""),
        ),
        "liquidateLegs": (
            inner,
            (me, second, [leg(PERP, WAD)], NO_LIMIT, None),
            (me, second, [leg(PERP, WAD)], NO_LIMIT, b""),
        ),
        "flag": (inner, (me,)),
    }
    keeper.arm(steps[inner])
    assert keeper.slice(A, WAD, NO_LIMIT) == Revert("InitialMarginOwed", (me,))
    keeper.arm()
    assert keeper.slice(A, WAD, NO_LIMIT).name == "InsufficientMargin"
    assert market.state.deferred == []
