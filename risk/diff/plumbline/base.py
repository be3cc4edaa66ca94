"""What all proposals share: the session, choosing accounts and senders, following up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING

from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.draw import chance
from risk.diff.plumbline.setup import ActionMaker, Deployment
from risk.diff.plumbline.signing import Actor, actor
from risk.exact.errors import ModelRevert
from risk.exact.margin.margin_engine import Margin
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, Linear, Option, State

if TYPE_CHECKING:
    from risk.diff.plumbline.model_session import ModelSession

WAD = 10**18
UINT256_MAX = 2**256 - 1
INT256_MAX = 2**255 - 1
STRANGER = 0x57A46E2

Position = Linear | Option
Step = Callable[[Random], VaultAction | None]


class Base:
    """``next`` holds what a proposal wants to follow; a step that returns None is skipped."""

    def __init__(self, session: ModelSession) -> None:
        self.session = session
        self.make = ActionMaker(session)
        self.next: list[Step] = []
        self.armed: list[VaultAction] = []  # what the liquidator's contract will do when called
        self.only: int = 0  # the one user whose accounts are chosen (while a batch is made)

    @property
    def _d(self) -> Deployment:
        return self.session.deployment

    @property
    def _state(self) -> State:
        return self.session.state

    @property
    def _params(self) -> RiskParams | None:
        return self.session.state.params

    def then(self, *steps: Step) -> None:
        """Do these next, before anything else."""
        self.next[:0] = steps

    def _account(self, rng: Random) -> int:
        """Any of the users' sub-accounts, now and then one that was never used."""
        if self.only:
            return self.only << 8 | rng.choice([0, 1, 1, 2])
        if chance(rng, 4):
            return rng.choice(self._d.users).address << 8 | rng.randrange(2, 5)
        account: int = rng.choice(self._d.accounts)
        return account

    def _held(self, account: int) -> Account:
        return self._state.accounts.get(account, Account())

    def _sender(self, rng: Random, account: int, right: int) -> int:
        """The owner, or somebody to whom he gave the right."""
        if self.only:
            return self.only
        able = [
            who
            for (number, who), bits in self._state.operators.items()
            if number == account and bits & right
        ]
        if able and chance(rng, 45):
            return rng.choice(sorted(able))
        return account >> 8

    def _intruder(self, rng: Random, account: int) -> int:
        """Somebody who should have no right over the account: a stranger, another user, an
        operator.
        """
        partial = [w for (n, w), bits in self._state.operators.items() if n == account and bits]
        if partial and chance(rng, 50):  # has some right, perhaps not this one
            return rng.choice(sorted(partial))
        others = [u.address for u in self._d.users if u.address != account >> 8]
        operators = [o.address for o in self._d.operators]
        return rng.choice([STRANGER, *others, *operators])

    def _key_of(self, address: int) -> Actor:
        """The key pair of an address; an address without one gets a key that is not its own."""
        for item in (*self._d.users, *self._d.operators):
            if item.address == address:
                return item
        return actor("stranger")

    def _margin(self, account: int) -> Margin | None:
        try:
            return self.session.vault.margin(account)
        except ModelRevert:
            return None

    def _failing(self) -> list[int]:
        """Accounts with E < MM at the snapshots."""
        margins = ((n, self._margin(n)) for n in self._exposed())
        return [n for n, m in margins if m is not None and m.equity < m.mm]

    def _bankrupt(self) -> list[int]:
        """Accounts with M < 0 at the snapshots."""
        margins = ((n, self._margin(n)) for n in self._exposed())
        return [n for n, m in margins if m is not None and m.mark_equity < 0]

    def _exposed(self) -> list[int]:
        """Accounts that can fail at all."""
        accounts = self._state.accounts.items()
        return [n for n, a in accounts if a.cash_wad < 0 or a.linear or a.options]

    def _listed(self) -> int:
        """Underlyings that have risk parameters."""
        return 0 if self._params is None else len(self._params.underlyings)

    def _pick(self, rng: Random, items: Iterable[int], default: int) -> int:
        chosen = sorted(items)
        return rng.choice(chosen) if chosen else default

    # ── given by other parts of the proposer ─────────────────────────────────────────────────────

    def anything(self, rng: Random) -> VaultAction:
        """See ``Proposer``."""
        raise NotImplementedError

    def trade(self, rng: Random, bad: bool) -> VaultAction:
        """See ``Proposer``."""
        raise NotImplementedError

    def cancel(self, rng: Random, bad: bool) -> VaultAction:
        """See ``Proposer``."""
        raise NotImplementedError

    def accrual(self, wait: int) -> VaultAction:
        """See ``AccountProposals``."""
        raise NotImplementedError

    def settle(self, rng: Random, bad: bool) -> VaultAction:
        """See ``SettlementProposals``."""
        raise NotImplementedError

    def flag(self, rng: Random, bad: bool) -> VaultAction:
        """See ``LiquidationProposals``."""
        raise NotImplementedError

    def slice_of(
        self, name: str, sender: int, account: int, liquidator: int, fraction: int, limit: int
    ) -> VaultAction:
        """See ``LiquidationProposals``."""
        raise NotImplementedError

    def after_ruin(self, account: int, rng: Random) -> VaultAction | None:
        """See ``WaterfallProposals``."""
        raise NotImplementedError

    def batch_of(self, sender: int, inner: Sequence[VaultAction]) -> VaultAction:
        """See ``BatchProposals``."""
        raise NotImplementedError

    def socialisation(self, account: int) -> VaultAction:
        """See ``WaterfallProposals``."""
        raise NotImplementedError


def positions(a: Account) -> list[Position]:
    """Perps, futures, options, in storage order."""
    return [*a.linear, *a.options]
