"""What the liquidation tests share: holdings with a chosen health factor, and a liquidator's
contract.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from risk.chain.abi import functions
from risk.exact.margin.margin_engine import Margin
from tests.support.vault_fixtures import EXPIRIES, Market
from tests.support.vault_twin import ALICE, BOB, CAROL, DAVE, WAD, account, iid

A, B, C, D = (account(k) for k in (ALICE, BOB, CAROL, DAVE))
PERP = iid.encode(0, iid.PERP, 0, 0)
BTC_PERP = iid.encode(1, iid.PERP, 0, 0)
FUTURE = iid.encode(0, iid.FUTURE, EXPIRIES[1], 0)
NONE = -(2**255)
LONG = {"linear": [(PERP, 10 * WAD, -30_000 * WAD)]}


def option(i: int, kind: int = iid.CALL, day: int = EXPIRIES[1]) -> int:
    """Instrument of the strike 1 500 + 50·i of ether."""
    return iid.encode(0, kind, day, i)


def leg(instrument: int, size: int) -> int:
    """One leg as ``liquidateLegs`` takes it."""
    return instrument << 96 | size % 2**96


def at_health(market: Market, account_id: int, health: int, **holding: object) -> Margin:
    """Write the holding to ``account_id`` (mirrored by Bob) with the cash that makes E =
    ⌊health·MM⌋.
    """
    market.put(account_id, cash=0, mirror=B, **holding)  # type: ignore[arg-type]
    # cash below zero is an obligation that everybody here has anyway, so MM does not depend on it
    market.state.accounts[account_id].cash_wad = -(10**30)
    m = market.model.margin(account_id)
    cash = health * m.mm // WAD - (m.equity + 10**30)
    set_cash(market, account_id, cash)
    market.state.accounts[B].cash_wad = 10**9 * WAD
    market.settle_totals()
    market.write_state()
    margin = market.compare_margin(account_id)
    assert isinstance(margin, Margin)
    return margin


def set_cash(market: Market, account_id: int, cash: int) -> None:
    """Recorded cash, totals with it."""
    market.state.accounts[account_id].cash_wad = cash
    market.settle_totals()
    market.write_state()


def set_insurance(market: Market, units: int) -> None:
    """The fund, in units of cash."""
    market.state.insurance_wad = units * WAD
    market.settle_totals()
    market.write_state()


class Contract:
    """A liquidator's contract (LiquidationCallbackMock) that owns its accounts, on both sides."""

    def __init__(self, market: Market, cash: int = 10**8 * WAD) -> None:
        self.market = market
        self.address = market.deploy("LiquidationCallbackMock")
        self.account = account(self.address)
        self.functions = functions(market.artifacts["LiquidationCallbackMock"].abi)
        market.rpc.call("anvil_setBalance", f"0x{self.address:040x}", hex(10**24))
        market.put(self.account, cash=cash)
        self.steps: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = []

    def arm(self, *steps: tuple[Any, ...]) -> None:
        """What it does when it is called back: (function, arguments of the model[, of the
        contract]).
        """
        self.steps = [(s[0], s[1], s[2] if len(s) > 2 else s[1]) for s in steps]
        vault = self.market.world.vault
        calls = [self.market.functions[name].encode(*args) for name, _, args in self.steps]
        data = self.functions["arm"].encode([vault] * len(calls), calls)
        self.market._from(self.address, self.address, data)

    def callback(self) -> None:
        """The same in the model."""
        for name, args, _ in self.steps:
            snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
            getattr(self.market.model, snake)(self.address, *args)

    def seen(self) -> bytes:
        """What the last callback was given, ABI-encoded."""
        f = self.functions["seen"]
        call = {"to": f"0x{self.address:040x}", "data": "0x" + f.encode().hex()}
        answer: bytes = f.decode(bytes.fromhex(self.market.rpc.call("eth_call", call)[2:]))[0]
        return answer

    def slice(self, of: int, fraction: int, limit: int, *, by: int | None = None) -> Any:
        """``liquidateFlash`` with a callback."""
        args = (of, self.account if by is None else by, fraction, limit)
        return self.market.do(
            self.address, "liquidateFlash", *args, self.callback, chain=(*args, b"go")
        )

    def take(self, of: int, legs: Sequence[int], limit: int) -> Any:
        """``liquidateLegs`` with a callback."""
        args = (of, self.account, list(legs), limit)
        return self.market.do(
            self.address, "liquidateLegs", *args, self.callback, chain=(*args, b"go")
        )

    def nested(self, of: int, fraction: int, limit: int, data: bytes = b"") -> tuple[Any, ...]:
        """A step: ``liquidateFlash`` inside the callback, itself with an empty callback."""
        args = (of, self.account, fraction, limit)
        inner: Callable[[], None] | None = (lambda: None) if data else None
        return "liquidateFlash", (*args, inner), (*args, data)


def legs(market: Market, items: Sequence[int], limit: int, **options: Any) -> Any:
    """Carol takes these legs of Alice's account."""
    args = (options.get("of", A), options.get("by", C), list(items), limit)
    return market.do(options.get("sender", CAROL), "liquidateLegs", *args, None, chain=(*args, b""))
