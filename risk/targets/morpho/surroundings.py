"""What Morpho stands on, as models: tokens, interest rate models, oracles.

The contracts are Morpho's own mocks (ERC20Mock, IrmMock, OracleMock) and those of
``tests/targets/contracts/MorphoSurroundings.sol``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from risk.diff.kit.adapter import Refused
from risk.targets.morpho.math import UINT256_MAX, w_div_down, word

SECONDS_A_YEAR = 365 * 86_400

# habits of the odd token
NORMAL, RETURNS_NOTHING, RETURNS_FALSE, REVERTS, RETURNS_TWO = range(5)
MODES = (NORMAL, RETURNS_NOTHING, RETURNS_FALSE, REVERTS, RETURNS_TWO)

BROKEN = UINT256_MAX  # a rate at which RateIrm reverts

# interest rate models, by their number in a market's parameters
NO_IRM, UTILISATION_IRM, RATE_IRM, EMPTY_IRM, SPARE_IRM = range(5)
IRM_NAMES = ("none", "utilisation", "rate", "empty", "spare")

ODD_TOKEN = 0  # the first token of every world
NOWHERE = 99  # number of a token or an oracle that is an address without code


@dataclass
class Token:
    """Balances and allowances to Morpho; ``code`` is False for an address without code."""

    balance: dict[str, int] = field(default_factory=dict)
    allowance: dict[str, int] = field(default_factory=dict)
    total_supply: int = 0
    mode: int = NORMAL
    code: bool = True

    def copy(self) -> Token:
        return Token(
            dict(self.balance), dict(self.allowance), self.total_supply, self.mode, self.code
        )

    def set_balance(self, who: str, amount: int) -> None:
        """ERC20Mock.setBalance: whoever asks. The total supply has to stay a word."""
        self.total_supply = word(self.total_supply + amount - self.balance.get(who, 0))
        self.balance[who] = amount

    def safe_transfer(self, holder: str, to: str, amount: int) -> None:
        """SafeTransferLib.safeTransfer by ``holder``."""
        self._check_code()
        poor = self.balance.get(holder, 0) < amount
        self._check_answer(poor, "transfer reverted", "transfer returned false")
        self._move(holder, to, amount)

    def safe_transfer_from(self, holder: str, spender: str, amount: int) -> None:
        """SafeTransferLib.safeTransferFrom by ``spender`` to itself. The allowance falls even where
        it is the largest word.
        """
        self._check_code()
        allowed = self.allowance.get(holder, 0)
        poor = allowed < amount or self.balance.get(holder, 0) < amount
        self._check_answer(poor, "transferFrom reverted", "transferFrom returned false")
        self.allowance[holder] = allowed - amount
        self._move(holder, spender, amount)

    def _check_code(self) -> None:
        if not self.code:
            raise Refused("Error", "no code")

    def _check_answer(self, poor: bool, reverted: str, returned_false: str) -> None:
        if self.mode == RETURNS_FALSE:  # without a look at the amounts
            raise Refused("Error", returned_false)
        if poor or self.mode == REVERTS:
            raise Refused("Error", reverted)
        if self.mode == RETURNS_TWO:
            raise Refused()  # no bool: the ABI decoder reverts without data

    def _move(self, holder: str, to: str, amount: int) -> None:
        self.balance[holder] = self.balance.get(holder, 0) - amount
        self.balance[to] = self.balance.get(to, 0) + amount


def borrow_rate(irm: int, supply_assets: int, borrow_assets: int, rate: int) -> int:
    """WAD per second, rounded down, of an interest rate model; ``rate`` is RateIrm's.

    IrmMock: x % utilisation is x % a year. Refused: empty where there is no code, "rate unknown"
    where RateIrm is broken.
    """
    if irm in (UTILISATION_IRM, SPARE_IRM):
        if supply_assets == 0:
            return 0
        return w_div_down(borrow_assets, supply_assets) // SECONDS_A_YEAR
    if irm == RATE_IRM:
        if rate == BROKEN:
            raise Refused("Error", "rate unknown")
        return rate
    raise Refused()
