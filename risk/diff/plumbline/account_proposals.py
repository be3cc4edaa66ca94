"""Proposals about accounts: money in and out, operators, nonces, transfers, interest."""

from __future__ import annotations

from random import Random

from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.base import STRANGER, UINT256_MAX, Base
from risk.diff.plumbline.draw import chance, log_int, weighted
from risk.exact.accounts import rights


class AccountProposals(Base):
    """What owners, their operators and intruders may try."""

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
                sender = self._intruder(rng, account)
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
        held = self._held(account)
        j = rng.randrange(-1, len(self._d.tokens))
        if not bad and (j < 0 or held.collateral[j] == 0):
            j = -1
        token = self._d.cash if j < 0 else self._d.tokens[j]
        scale = 10 ** (18 - self._d.spec.cash_decimals)
        balance = max(0, held.cash_wad) // scale if j < 0 else held.collateral[j]
        amount = weighted(
            rng,
            [
                (log_int(rng, 1, max(1, balance)), 5),
                (UINT256_MAX, 2),
                (balance + log_int(rng, 1, 10**9), 1),
            ],
        )
        sender = self._sender(rng, account, rights.WITHDRAW)
        to = rng.choice([account >> 8, sender])
        if bad:
            kind = rng.randrange(6)
            if kind == 0:
                sender = self._intruder(rng, account)
            elif kind == 1:
                token = rng.choice([STRANGER, 0])
            elif kind == 2:
                amount = 0
            elif kind == 3:
                to = rng.choice([0, self._d.vault])
            else:
                amount = rng.choice([balance + 1, balance * 3 + 10**6, 2**128, UINT256_MAX - 1])
        return self.withdrawal(sender, account, token, amount, to)

    def withdrawal(
        self, sender: int, account: int, token: int, amount: int, to: int
    ) -> VaultAction:
        """The call itself."""
        args = (account, token, amount, to)
        return self.make.vault(
            "withdraw",
            f"{amount} of {token:#x} from {account:#x}",
            sender,
            "withdraw",
            args,
            lambda v: v.withdraw(sender, *args),
        )

    def transfer(self, rng: Random, bad: bool) -> VaultAction:
        """To another sub-account of the owner; wrong: to somebody else, to itself, by an intruder,
        too much.
        """
        source = self._account(rng)
        target = source ^ rng.choice([1, 1, 2, 3])
        held = self._held(source)
        j = rng.randrange(-1, len(self._d.tokens))
        if j >= 0 and held.collateral[j] == 0 and not bad:
            j = -1
        token = self._d.cash if j < 0 else self._d.tokens[j]
        scale = 10 ** (18 - self._d.spec.cash_decimals)
        balance = max(0, held.cash_wad) // scale if j < 0 else held.collateral[j]
        amount = rng.choice([log_int(rng, 1, max(1, balance)), UINT256_MAX, max(1, balance // 2)])
        sender = self._sender(rng, source, rights.WITHDRAW)
        if bad:
            kind = rng.randrange(6)
            if kind == 0:
                target = rng.choice([u.address for u in self._d.users]) << 8
            elif kind == 1:
                target = source
            elif kind == 2:
                sender = self._intruder(rng, source)
            elif kind == 3:
                token = rng.choice([STRANGER, 0])
            elif kind == 4:
                amount = 0
            else:
                amount = rng.choice([balance + 10**12, 2**127 // scale + 1])
        args = (source, target, token, amount)
        return self.make.vault(
            "transfer",
            f"{amount} of {token:#x} from {source:#x} to {target:#x}",
            sender,
            "transfer",
            args,
            lambda v: v.transfer(sender, *args),
        )

    def operator(self, rng: Random, bad: bool) -> VaultAction:
        """Rights given or taken; wrong: by somebody else, or rights that do not exist."""
        account = self._account(rng)
        who = rng.choice([*self._d.operators, *self._d.users]).address
        bits, sender = rng.choice([7, 1, 2, 4, 3, rng.randrange(8), 0]), account >> 8
        if bad:
            if chance(rng, 50):
                sender = self._intruder(rng, account)
            else:
                bits = rng.choice([8, 15, 2**255, UINT256_MAX])
        return self.rights_of(sender, account, who, bits)

    def rights_of(self, sender: int, account: int, who: int, bits: int) -> VaultAction:
        """The call itself."""
        args = (account, who, bits)
        return self.make.vault(
            "setOperator",
            f"{who:#x} gets {bits} over {account:#x}",
            sender,
            "setOperator",
            args,
            lambda v: v.set_operator(sender, *args),
        )

    def min_nonce(self, rng: Random, bad: bool) -> VaultAction:
        """A higher lowest nonce (rarely above those in use); wrong: not higher, by an intruder."""
        account = self._account(rng)
        current = self._state.min_nonce.get(account, 0)
        nonce = current + rng.choice([1, 1, 1, 2])
        sender = self._sender(rng, account, rights.MANAGE)
        if bad:
            if chance(rng, 40):
                sender = self._intruder(rng, account)
            else:
                nonce = rng.choice([current, max(0, current - 1), 0])
        return self.raise_nonce(sender, account, nonce)

    def raise_nonce(self, sender: int, account: int, nonce: int) -> VaultAction:
        """The call itself."""
        return self.make.vault(
            "raiseMinNonce",
            f"{account:#x} to {nonce}",
            sender,
            "raiseMinNonce",
            (account, nonce),
            lambda v: v.raise_min_nonce(sender, account, nonce),
        )

    def accrue(self, rng: Random, bad: bool) -> VaultAction:
        """Interest to now, after a moment or a long time."""
        del bad
        return self.accrual(rng.choice([1, 1, 60, 3_600, 20_000]))

    def accrual(self, wait: int) -> VaultAction:
        """The call itself; also a way to let time pass."""
        return self.make.vault(
            "accrue", f"after {wait} s", STRANGER, "accrue", (), lambda v: v.accrue(STRANGER), wait
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
