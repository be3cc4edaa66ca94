"""The gas bench: builds portfolios with real trades, then measures one cold transaction each.

Views are sent as transactions too (nothing is warm); their figure is the gas of the call frame: gas
used minus the intrinsic gas of the transaction.  They write nothing, so there is no refund to hide
behind.  Everything else is the gas that the receipt says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from risk.diff.plumbline.chain import ADMIN, ANYBODY, Chain, Sent
from risk.diff.plumbline.session import VaultAction
from risk.diff.plumbline.setup import Deployment, deploy_world, setup_actions
from risk.diff.plumbline.signing import Actor, actor
from risk.diff.plumbline.trades import fields
from risk.diff.plumbline.world import WAD, WorldSpec
from risk.errors import ChainError
from risk.exact.market.report_hash import domain_separator
from risk.exact.trading.order_hash import Order, digest
from risk.exact.vault import Vault
from risk.gas.gates import EIP7825
from risk.gas.market import PRICES, gas_world, portfolio, portfolio_4u, portfolio_wide

CASH = 10**6 * 10**6  # one million, six decimals
FOREVER = 2**40 - 1
INT256_MAX = 2**255 - 1
TX_BASE = 21_000

Progress = Callable[[str], None]


def intrinsic(data: bytes) -> int:
    """Gas of a transaction before its first instruction (EIP-2028)."""
    return TX_BASE + sum(4 if byte == 0 else 16 for byte in data)


class Bench:
    """One deployed market and the accounts in it."""

    def __init__(self, chain: Chain, scenarios: int, *, wide: bool = False) -> None:
        self.chain = chain
        self.spec: WorldSpec = gas_world(scenarios, wide=wide)
        self.deployment: Deployment = deploy_world(
            chain, spec=self.spec, signers=1, token="TestToken"
        )
        self.vault = Vault(
            self.deployment.state, self.deployment.world
        )  # the model keeps time for the set-up only
        self.now = self.spec.now
        self.nonce = 0
        self.f = chain.vault_functions
        for action in setup_actions(self, None):
            self._set_up(action)

    def _set_up(self, action: VaultAction) -> None:
        self.vault.world.timestamp = self.now = action.time
        action.on_model(self.vault)
        self.send(
            action.sender,
            action.contract or self.deployment.vault,
            action.calldata(),
        )

    # ── transactions ─────────────────────────────────────────────────────────────────────────────

    def send(self, sender: int, to: int, data: bytes) -> Sent:
        """A transaction that must succeed, one second after the last."""
        self.now += 1
        sent = self.chain.transact(sender, to, data, self.now, output=False)
        if not sent.outcome.ok:
            raise ChainError(f"transaction reverted: {self.chain.errors.show(sent.outcome.data)}")
        return sent

    def vault_call(self, sender: int, name: str, *arguments: Any) -> Sent:
        """A call of the vault that must succeed."""
        return self.send(sender, self.deployment.vault, self.f[name].encode(*arguments))

    def view_gas(self, name: str, *arguments: Any) -> int:
        """Call-frame gas of a view, cold."""
        data = self.f[name].encode(*arguments)
        return self.send(ANYBODY, self.deployment.vault, data).gas_used - intrinsic(data)

    def margin(self, account: int) -> list[int]:
        """The margin as the chain has it now (``eth_call``)."""
        answer = self.chain.call(self.deployment.vault, self.f["margin"].encode(account))
        if not answer.ok:
            raise ChainError(f"margin reverted: {self.chain.errors.show(answer.data)}")
        values: list[int] = self.f["margin"].decode(answer.data)[0]
        return values

    # ── building ─────────────────────────────────────────────────────────────────────────────────

    def account(self, name: str, cash: int = CASH) -> tuple[int, Actor]:
        """A new owner with ``cash`` native units in sub-account 0."""
        owner = actor("gas " + name)
        self.fund(owner, self.deployment.cash, cash)
        self.vault_call(owner.address, "deposit", owner.address << 8, self.deployment.cash, cash)
        return owner.address << 8, owner

    def fund(self, owner: Actor, token: int, amount: int) -> None:
        """Mint and approve."""
        t = self.deployment.token_functions
        self.send(owner.address, token, t["mint"].encode(owner.address, amount))
        self.send(owner.address, token, t["approve"].encode(self.deployment.vault, 2**256 - 1))

    def open_positions(
        self, name: str, legs: Sequence[tuple[int, int]], cash: int = CASH
    ) -> tuple[int, int]:
        """Two accounts that traded ``legs`` with each other at the marks: (long side, mirror)."""
        account, owner = self.account(name, cash)
        mirror, other = self.account(name + " mirror", cash)
        for item, size in legs:
            self.trade(item, size, account, owner, mirror, other)
        return account, mirror

    def trade(
        self, item: int, size: int, account: int, owner: Actor, mirror: int, other: Actor
    ) -> Sent:
        """``account`` gets ``size`` from ``mirror`` at about the fair price."""
        self.nonce += 1
        price = self._price(item)
        mine = Order(account, item, size, price, self.nonce, FOREVER)
        theirs = Order(mirror, item, -size, price, self.nonce, FOREVER)
        sides = [(mine, owner), (theirs, other)]
        (buy, buyer), (sell, seller) = sides if size > 0 else sides[::-1]
        domain = domain_separator(self.deployment.world)
        return self.vault_call(
            ANYBODY,
            "fill",
            fields(buy),
            buyer.sign(digest(domain, buy)),
            fields(sell),
            seller.sign(digest(domain, sell)),
            abs(size),
            price,
        )

    def _price(self, item: int) -> int:
        u = item >> 28
        return self.spec.underlyings[u].price_wad // (1 if item >> 26 & 3 < 2 else 25)

    def move_price(self, u: int, permille: int) -> None:
        """The feed of ``u`` moves to ``permille`` of its first price."""
        answer = self.spec.underlyings[u].answer * permille // 1000
        data = self.deployment.feed_functions["set"].encode(answer, self.now + 1)
        self.send(ADMIN, self.deployment.feeds[u], data)

    def cache(self, legs: Sequence[tuple[int, int]]) -> None:
        """Compute the arrays of the options among ``legs``."""
        self.vault_call(ANYBODY, "computeArrays", [item for item, _ in legs if item >> 26 & 3 >= 2])

    def lean(self, account: int, owner: Actor) -> None:
        """Withdraw cash until equity stands just above the initial margin."""
        margin = self.margin(account)
        spare = (margin[1] - margin[8]) // 10**12 - 1
        self.vault_call(
            owner.address, "withdraw", account, self.deployment.cash, spare, owner.address
        )


# ── the measurements ─────────────────────────────────────────────────────────────────────────────


def measure(progress: Progress = lambda _: None) -> dict[str, int]:
    """Every figure of the table."""
    figures: dict[str, int] = {}
    chain = Chain()
    chain.open()
    try:
        bench = Bench(chain, 32)
        progress("margin")
        _margins(bench, figures)
        progress("refresh, trade, deposit")
        _actions(bench, figures)
        progress("liquidation")
        for count in (16, 64, 128):
            legs = portfolio(bench.spec, count)
            figures[f"liquidate_{count}"] = _liquidation(bench, legs, cached=True)
        progress("legs, accrual, deleveraging, settlement")
        figures["liquidate_legs_16_4"] = _legs(bench)
        figures["accrue"] = _accrual(bench)
        figures["adl_4"] = _deleveraging(bench)
        figures["settle_16"] = _settlement(bench)
        for name in ("Vault", *(n for n in chain.libraries if n != "BatchReader")):
            figures[f"bytecode_{name}"] = chain.artifacts[name].size
    finally:
        chain.close()
    progress("liquidation, nothing cached, 64 scenarios")
    figures["liquidate_uncached_128_k64"] = _uncached(wide=False)
    progress("the same over sixteen underlyings and 127 expiries")
    figures["liquidate_uncached_wide_k64"] = _uncached(wide=True)
    return figures


def _margins(bench: Bench, figures: dict[str, int]) -> None:
    cash_only, _ = bench.account("cash only")
    figures["margin_cached_0"] = bench.view_gas("margin", cash_only)
    perp, _ = bench.open_positions("perp", portfolio(bench.spec, 0))
    figures["margin_cached_perp"] = bench.view_gas("margin", perp)
    for count in (16, 32, 64, 128):
        account, _ = bench.open_positions(f"options {count}", portfolio(bench.spec, count))
        figures[f"margin_cached_{count}"] = bench.view_gas("margin", account)
    legs = portfolio_4u(bench.spec)
    account, _ = bench.open_positions("four underlyings", legs)
    owner = actor("gas four underlyings")
    for token, collateral in zip(bench.deployment.tokens, bench.spec.collaterals, strict=True):
        amount = 10**4 * 10**collateral.decimals // PRICES[collateral.underlying]
        bench.fund(owner, token, amount)
        bench.vault_call(owner.address, "deposit", account, token, amount)
    figures["margin_cached_16_4u3c"] = bench.view_gas("margin", account)
    for count in (16, 64):  # a new epoch; the slots hold the arrays of the last one
        bench.move_price(0, 1020 if count == 16 else 1000)
        bench.vault_call(ANYBODY, "refresh", [0])
        owner = actor(f"gas options {count}")
        account = owner.address << 8
        figures[f"margin_first_view_{count}"] = bench.view_gas("margin", account)
        sent = bench.vault_call(
            owner.address, "withdraw", account, bench.deployment.cash, 1, owner.address
        )
        figures[f"margin_first_{count}"] = sent.gas_used


def _actions(bench: Bench, figures: dict[str, int]) -> None:
    bench.move_price(0, 1015)
    figures["refresh_1u"] = bench.vault_call(ANYBODY, "refresh", [0]).gas_used
    count = len(bench.spec.underlyings)
    for u in range(count):
        bench.move_price(u, 1000 if u == 0 else 1015)
    figures[f"refresh_{count}u"] = bench.vault_call(ANYBODY, "refresh", list(range(count))).gas_used
    legs = portfolio(bench.spec, 16)
    bench.cache(legs)
    owner, other = actor("gas options 16"), actor("gas options 16 mirror")
    sent = bench.trade(legs[2][0], WAD // 10, owner.address << 8, owner, other.address << 8, other)
    figures["trade_mirror_16"] = sent.gas_used
    bench.fund(owner, bench.deployment.cash, CASH)
    sent = bench.vault_call(
        owner.address, "deposit", owner.address << 8, bench.deployment.cash, CASH // 2
    )
    figures["deposit_16"] = sent.gas_used


def _liquidation(bench: Bench, legs: Sequence[tuple[int, int]], *, cached: bool) -> int:
    """Price falls until the account fails; somebody with cash only takes the largest slice."""
    name = f"failing {len(legs)}"
    bench.move_price(0, 1000)
    _refresh_if_due(bench)
    # a perp large enough to make a fall hurt, held at the edge of the initial margin
    account, _ = bench.open_positions(name, [(legs[0][0], 40 * WAD), *legs[1:]])
    bench.lean(account, actor("gas " + name))
    liquidator, keeper = bench.account(f"keeper {len(legs)}", 20 * CASH)
    bench.move_price(0, 950)
    if cached:
        bench.vault_call(ANYBODY, "refresh", [0])
        bench.cache(legs)
    else:
        for u in {item >> 28 for item, _ in legs} - {0}:
            bench.move_price(u, 1015)
    sent = bench.vault_call(keeper.address, "liquidate", account, liquidator, WAD, INT256_MAX)
    return sent.gas_used


def _failing(bench: Bench, name: str, legs: Sequence[tuple[int, int]], permille: int) -> int:
    """An account at the edge of its initial margin when the first underlying falls."""
    bench.move_price(0, 1000)
    _refresh_if_due(bench)
    account, _ = bench.open_positions(name, legs)
    bench.lean(account, actor("gas " + name))
    bench.move_price(0, permille)
    bench.vault_call(ANYBODY, "refresh", [0])
    bench.cache(legs)
    return account


def _legs(bench: Bench) -> int:
    """Four legs of an account of 16 positions."""
    legs = portfolio(bench.spec, 15)
    legs = [(legs[0][0], 40 * WAD), *legs[1:]]
    account = _failing(bench, "failing legs", legs, 950)
    liquidator, keeper = bench.account("keeper of legs", 20 * CASH)
    held = [(legs[0][0], WAD)]
    held += sorted((item, size) for item, size in legs[1:] if size > 0)[:3]
    words = [item << 96 | size % 2**96 for item, size in sorted(held)]
    sent = bench.vault_call(
        keeper.address, "liquidateLegs", account, liquidator, words, INT256_MAX, b""
    )
    return sent.gas_used


def _accrual(bench: Bench) -> int:
    """Indices and totals to now, while somebody owes."""
    owner = actor("gas borrower")
    token, collateral = bench.deployment.tokens[0], bench.spec.collaterals[0]
    amount = 10**5 * 10**collateral.decimals // PRICES[collateral.underlying]
    bench.fund(owner, token, amount)
    account, cash = owner.address << 8, bench.deployment.cash
    bench.vault_call(owner.address, "deposit", account, token, amount)
    bench.vault_call(owner.address, "withdraw", account, cash, 10**10, owner.address)
    bench.now += 60
    return bench.vault_call(ANYBODY, "accrue").gas_used


def _deleveraging(bench: Bench) -> int:
    """A bankrupt perp closed against four holders."""
    perp = portfolio(bench.spec, 0)[0][0]
    bench.move_price(0, 1000)
    _refresh_if_due(bench)
    account, owner = bench.account("bankrupt")
    others = [bench.account(f"winner {i}", 20 * CASH) for i in range(4)]
    for other, key in others:
        bench.trade(perp, 10 * WAD, account, owner, other, key)
    bench.lean(account, owner)
    bench.move_price(0, 500)
    bench.vault_call(ANYBODY, "refresh", [0])
    deficit = -bench.margin(account)[0]
    if deficit <= 0:
        raise ChainError("the account is not bankrupt")
    totals = bench.f["totals"]
    answer = bench.chain.call(bench.deployment.vault, totals.encode())
    theta = (deficit - totals.decode(answer.data)[1]) // 40 + 10**6  # the fund pays first
    sent = bench.vault_call(
        ANYBODY, "autoDeleverage", account, perp, sorted(a for a, _ in others), theta
    )
    return sent.gas_used


def _settlement(bench: Bench) -> int:
    """An account of 15 options of one expiry and a perp after it."""
    legs = portfolio(bench.spec, 128)
    day = legs[1][0] >> 10 & 0xFFFF
    mine = [legs[0], *[leg for leg in legs[1:] if leg[0] >> 10 & 0xFFFF == day][:15]]
    if len(mine) != 16:
        raise ChainError(f"only {len(mine) - 1} options of one expiry")
    bench.move_price(0, 1000)
    _refresh_if_due(bench)
    bench.now += 3_700  # the draw on the insurance fund and the jump tripped the circuit breaker
    bench.move_price(0, 1000)
    account, _ = bench.open_positions("expiring", mine)
    bench.now = max(bench.now, day * 86_400 + 8 * 3_600)
    bench.move_price(0, 1000)
    bench.vault_call(ANYBODY, "observe", 0, day)
    return bench.vault_call(ANYBODY, "settle", [account]).gas_used


def _refresh_if_due(bench: Bench) -> None:
    sent = bench.chain.transact(
        ANYBODY, bench.deployment.vault, bench.f["refresh"].encode([0]), bench.now + 1
    )
    bench.now += 1
    if not sent.outcome.ok and sent.outcome.error != "RefreshNotNeeded":
        raise ChainError(f"refresh reverted: {sent.outcome.error}")


def _uncached(*, wide: bool) -> int:
    """The heaviest accounts that 64 scenarios allow, snapshots out of date as well.

    Refresh, arrays and liquidation in one transaction, on a node that enforces the protocol's gas
    limit of a transaction.

    128 positions in one underlying, or (``wide``) as many options as the work limit allows over
    sixteen underlyings with an expiry of its own each. Where the transaction does not fit, the
    figure is above the limit: gas used says too little, because calls get 63/64 of what is left.
    """
    for limited in (True, False):
        chain = Chain(tx_gas_limit=limited, gas_limit=60_000_000)
        chain.tx_gas = EIP7825 if limited else 60_000_000
        chain.open()
        try:
            bench = Bench(chain, 64, wide=wide)
            legs = portfolio_wide(bench.spec) if wide else portfolio(bench.spec, 128)
            used = _liquidation(bench, legs, cached=False)
            return used if limited else max(used, EIP7825 + 1)
        except ChainError:
            if not limited:
                raise
        finally:
            chain.close()
    raise AssertionError("unreachable")
