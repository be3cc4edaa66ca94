"""At constant prices nobody ends with more than he brought, whatever he does among his own
accounts.

One user trades between his sub-accounts at any price, deposits, withdraws, realises and liquidates
himself, on the model and on the chain in step. Collateral is counted in units and cash in wei, so
there is no tolerance.
"""

from __future__ import annotations

from random import Random

import pytest

from risk.diff.compare import compare
from risk.diff.plumbline.draw import chance, log_int
from risk.diff.plumbline.session import VaultAction, VaultSession
from risk.diff.plumbline.signing import Actor
from risk.diff.plumbline.target import PlumblineTarget
from risk.diff.plumbline.trades import fields
from risk.exact.margin import margin_engine
from risk.exact.market.report_hash import domain_separator
from risk.exact.state import Account
from risk.exact.trading.order_hash import Order, digest

pytestmark = pytest.mark.chain
WAD = 10**18
SUBS = 3


class Self:
    """One user alone with his sub-accounts."""

    def __init__(self, session: VaultSession, rng: Random) -> None:
        self.session, self.rng = session, rng
        self.make = session.proposer.make
        self.me: Actor = session.deployment.users[0]
        self.accounts = [self.me.address << 8 | sub for sub in range(SUBS)]
        self.nonce = 10**6

    def cash(self) -> int:
        """Everything he owns but collateral: wallet, cash, positions at the mark; WAD."""
        d, vault = self.session.deployment, self.session.vault
        total = vault.world.balances[d.cash][self.me.address] * 10 ** (18 - d.spec.cash_decimals)
        for account in self.accounts:
            held = vault.state.accounts.get(account, Account())
            bare = Account(held.cash_wad, linear=held.linear, options=held.options)
            total += margin_engine.compute(vault.state, account, bare).mark_equity
        return total

    def units(self) -> list[int]:
        """Native units of each collateral, in the wallet and in the accounts."""
        d, vault = self.session.deployment, self.session.vault
        return [
            vault.world.balances[token][self.me.address]
            + sum(vault.state.accounts.get(a, Account()).collateral[j] for a in self.accounts)
            for j, token in enumerate(d.tokens)
        ]

    def act(self) -> VaultAction:
        """Something he may try."""
        rng, d = self.rng, self.session.deployment
        account, other = rng.sample(self.accounts, 2)
        kind = rng.choice(
            ["trade"] * 5 + ["deposit", "withdraw", "withdraw", "realize", "liquidate"]
        )
        if kind == "trade":
            return self._trade(account, other)
        if kind == "deposit":
            scale = 10**d.spec.cash_decimals
            return self.make.deposit(account, d.cash, log_int(rng, 1, 10**4 * scale))
        if kind == "withdraw":
            token = rng.choice([d.cash, *d.tokens])
            amount = 2**256 - 1 if chance(rng, 40) else log_int(rng, 1, 10**24)
            args = (account, token, amount, self.me.address)
            return self.make.vault(
                "withdraw",
                "",
                self.me.address,
                "withdraw",
                args,
                lambda v: v.withdraw(self.me.address, *args),
            )
        if kind == "realize":
            return self.make.vault(
                "realizePnl", "", 1, "realizePnl", (account,), lambda v: v.realize_pnl(1, account)
            )
        call = (account, other, rng.choice([WAD, rng.randint(1, WAD)]), 2**255 - 1)
        return self.make.vault(
            "liquidate",
            "",
            self.me.address,
            "liquidate",
            call,
            lambda v: v.liquidate(self.me.address, *call),
        )

    def _trade(self, account: int, other: int) -> VaultAction:
        rng, d = self.rng, self.session.deployment
        item = rng.choice(d.spec.instruments())
        price_u = d.spec.underlyings[item >> 28].price_wad
        size = log_int(rng, 1, 10**5 * WAD * WAD // price_u)
        price = (
            price_u * rng.randint(1, 1500) // 1000
            if chance(rng, 30)
            else price_u // rng.choice([1, 20])
        )
        self.nonce += 1
        buy = Order(account, item, size, price, self.nonce, 2**40 - 1)
        sell = Order(other, item, -size, price, self.nonce, 2**40 - 1)
        domain = domain_separator(self.session.vault.world)
        signed = [self.me.sign(digest(domain, order)) for order in (buy, sell)]
        args = (fields(buy), signed[0], fields(sell), signed[1], size, price)
        me = self.me.address
        return self.make.vault(
            "fill", "", me, "fill", args, lambda v: v.fill(me, buy, me, sell, me, size, price)
        )


@pytest.mark.parametrize("seed", range(6))
def test_nobody_leaves_with_more_than_he_brought(target: PlumblineTarget, seed: int) -> None:
    session = target.start(500 + seed, seed)
    user = Self(session, Random(seed))
    cash, units = user.cash(), user.units()
    accepted = 0
    for _ in range(30):
        action = user.act()
        model, chain = session.on_model(action), session.on_chain(action)
        assert (model.ok, model.data) == (chain.ok, chain.data), action.describe()
        accepted += model.ok
        assert user.cash() <= cash
        assert user.units() == units
    assert compare(session.observe_model(), session.observe_chain())[1] == []
    assert list(session.invariants()) == []
    assert accepted >= 5
