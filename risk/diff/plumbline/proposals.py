"""What a sequence does next: mostly sensible actions, about a third that must be refused.  Looks at
the model only.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from risk.diff.plumbline.chain import ADMIN
from risk.diff.plumbline.draw import chance, log_int, weighted
from risk.diff.plumbline.market_proposals import STRANGER, MarketProposals
from risk.diff.plumbline.params_blob import Params
from risk.diff.plumbline.trades import Trades
from risk.diff.plumbline.world import make_underlying_params
from risk.exact.errors import ModelRevert

if TYPE_CHECKING:
    from risk.diff.plumbline.session import VaultAction, VaultSession

UINT256_MAX = 2**256 - 1
INT256_MAX = 2**255 - 1
WAD = 10**18


class Proposer(MarketProposals):
    """Chooses actions for one session."""

    def __init__(self, session: VaultSession) -> None:
        super().__init__(session)
        self.trades = Trades(session)
        self.count = 0

    def propose(self, rng: Random) -> VaultAction:
        """The next action."""
        self.count += 1
        if self.next and chance(rng, 85):
            return self.next.pop(0)(rng)
        self.next.clear()
        if self.count <= 6:  # positions first
            return self.trade(rng, chance(rng, 12))
        bad = chance(rng, 33)
        if not bad and self._unhealthy() and chance(rng, 60):
            return self.liquidate(rng, bad)
        kind = weighted(
            rng,
            [
                (self.trade, 34),
                (self.deposit, 7),
                (self.withdraw, 10),
                (self.price, 15),
                (self.crash, 6),
                (self.refresh, 4),
                (self.report, 7),
                (self.arrays, 4),
                (self.liquidate, 5),
                (self.realize, 4),
                (self.insure, 2),
                (self.cancel, 4),
                (self.wait, 3),
                (self.admin, 3),
            ],
        )
        return kind(rng, bad)

    def _account(self, rng: Random) -> int:
        account: int = rng.choice(self._d.accounts)
        return account

    def _unhealthy(self) -> list[int]:
        out = []
        for account in self.session.state.accounts:
            try:
                margin = self.session.vault.margin(account)
            except ModelRevert:
                continue
            if margin.equity < margin.mm:
                out.append(account)
        return out

    # ── custody ──────────────────────────────────────────────────────────────────────────────────

    def deposit(self, rng: Random, bad: bool) -> VaultAction:
        """Cash or collateral; wrong: stranger, unknown token, nothing, beyond cap or balance."""
        account = self._account(rng)
        j = rng.randrange(-1, len(self._d.tokens))
        token = self._d.cash if j < 0 else self._d.tokens[j]
        unit = 10 ** (self._d.spec.cash_decimals if j < 0 else self._d.spec.collaterals[j].decimals)
        amount, sender = log_int(rng, max(1, unit // 1000), unit * (10**5 if j < 0 else 50)), None
        if bad:
            kind = rng.randrange(5)
            if kind == 0:
                sender = rng.choice([STRANGER, rng.choice(self._d.users).address])
            elif kind == 1:
                token = rng.choice([STRANGER, 0, self._d.feeds[0]])
            elif kind == 2:
                amount = 0
            else:
                amount = rng.choice([10**9 * unit + 1, 2**128, UINT256_MAX])
        return self.make.deposit(account, token, amount, sender)

    def withdraw(self, rng: Random, bad: bool) -> VaultAction:
        """Some, all there is, or more; wrong: stranger, unknown token, nothing, too much, bad
        recipient.
        """
        account = self._account(rng)
        state = self.session.state
        held = state.accounts.get(account)
        j = rng.randrange(-1, len(self._d.tokens))
        if not bad and (held is None or j < 0 or held.collateral[j] == 0):
            j = -1
        token = self._d.cash if j < 0 else self._d.tokens[j]
        scale = 10 ** (18 - self._d.spec.cash_decimals)
        balance = (
            0 if held is None else (max(0, held.cash_wad) // scale if j < 0 else held.collateral[j])
        )
        amount = weighted(
            rng,
            [
                (log_int(rng, 1, max(1, balance)), 5),
                (UINT256_MAX, 2),
                (balance + log_int(rng, 1, 10**9), 1),
            ],
        )
        sender = to = account >> 8
        if bad:
            kind = rng.randrange(6)
            if kind == 0:
                sender = rng.choice([STRANGER, rng.choice(self._d.users).address])
            elif kind == 1:
                token = rng.choice([STRANGER, 0])
            elif kind == 2:
                amount = 0
            elif kind == 3:
                to = rng.choice([0, self._d.vault])
            else:
                amount = rng.choice([balance + 1, balance * 3 + 10**6, 2**128, UINT256_MAX - 1])
        args = (account, token, amount, to)
        return self.make.vault(
            "withdraw",
            f"{amount} of {token:#x} from {account:#x}",
            sender,
            "withdraw",
            args,
            lambda v: v.withdraw(sender, *args),
        )

    def realize(self, rng: Random, bad: bool) -> VaultAction:
        """Anybody's PnL, also of accounts that do not exist."""
        account = STRANGER << 8 if bad else self._account(rng)
        return self.make.vault(
            "realizePnl",
            f"{account:#x}",
            STRANGER,
            "realizePnl",
            (account,),
            lambda v: v.realize_pnl(STRANGER, account),
        )

    def insure(self, rng: Random, bad: bool) -> VaultAction:
        """Money for the insurance fund; wrong: nothing, or by somebody who has none."""
        sender = rng.choice(self._d.users).address
        amount = log_int(rng, 1, 10**4 * 10**self._d.spec.cash_decimals)
        if bad:
            sender, amount = rng.choice([(sender, 0), (STRANGER, amount), (sender, UINT256_MAX)])
        return self.make.vault(
            "fundInsurance",
            str(amount),
            sender,
            "fundInsurance",
            (amount,),
            lambda v: v.fund_insurance(sender, amount),
        )

    # ── trading, liquidation, administration ─────────────────────────────────────────────────────

    def trade(self, rng: Random, bad: bool) -> VaultAction:
        """See ``trades.py``."""
        return self.trades.fill(rng, bad)

    def cancel(self, rng: Random, bad: bool) -> VaultAction:
        """See ``trades.py``."""
        return self.trades.cancel(rng, bad)

    def crash(self, rng: Random, bad: bool) -> VaultAction:
        """A violent move, a refresh, and liquidations while somebody fails."""
        d = self._d
        u = rng.randrange(len(d.feeds))
        answer = (
            d.spec.underlyings[u].answer * rng.choice([200, 400, 600, 1700, 2500, 4000]) // 1000
        )
        self.next = [lambda r: self.refresh_of([u])] + [self._liquidate_failing] * 2
        return self.make.feed(u, max(1, answer))

    def _liquidate_failing(self, rng: Random) -> VaultAction:
        return self.liquidate(rng, False) if self._unhealthy() else self.trade(rng, False)

    def liquidate(self, rng: Random, bad: bool) -> VaultAction:
        """Somebody who fails if there is one; bad: healthy, own account, stranger, no fraction, too
        dear.
        """
        failing = self._unhealthy()
        account = rng.choice(failing) if failing else self._account(rng)
        liquidator = rng.choice([a for a in self._d.accounts if a != account])
        fraction = weighted(rng, [(WAD, 6), (rng.randint(1, WAD), 4), (1, 1)])
        limit, sender = INT256_MAX, liquidator >> 8
        if bad:
            kind = rng.randrange(5)
            if kind == 0:
                liquidator, sender = account, account >> 8
            elif kind == 1:
                sender = STRANGER
            elif kind == 2:
                fraction = rng.choice([0, WAD + 1, UINT256_MAX])
            elif kind == 3:
                limit = -(2**255)
            else:
                account = self._account(rng)
        args = (account, liquidator, fraction, limit)
        return self.make.vault(
            "liquidate",
            f"{account:#x} by {liquidator:#x} fraction {fraction}",
            sender,
            "liquidate",
            args,
            lambda v: v.liquidate(sender, *args),
        )

    def admin(self, rng: Random, bad: bool) -> VaultAction:
        """New risk parameters; bad: by a stranger, or malformed."""
        d = self._d
        spec = d.spec
        params: Params = spec.params
        if chance(rng, 60):
            u = rng.randrange(len(spec.underlyings))
            common = list(params.underlyings[u].price_lanes)
            params.underlyings[u] = make_underlying_params(
                rng, params.scenarios, spec.underlyings[u].price_wad, common
            )
        params.im_factor_bps = rng.randint(params.target_bps, 20_000)
        blob, sender = params.blob(), ADMIN
        if bad:
            if chance(rng, 30):
                sender = STRANGER
            else:
                broken = bytearray(blob)
                broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
                blob = rng.choice([bytes(broken), blob[:-32], blob + bytes(32), b"", blob[:31]])
        return self.make.vault(
            "setRiskParams",
            f"{len(blob)} bytes",
            sender,
            "setRiskParams",
            (blob,),
            lambda v: v.set_risk_params(sender, blob),
        )
