"""The pool with its configurator: what administrators change while positions are open.

Source: PoolConfigurator of @aave-dao/aave-v3-origin 3.6.0. Methods are named like its functions.
"""

from __future__ import annotations

from dataclasses import dataclass

from risk.targets.aave.math import PERCENT, percent_mul
from risk.targets.aave.pool import Pool
from risk.targets.aave.reserve import Rates, Reserve, require, supply_balance

ADMIN = "admin"
MAX_GRACE_SECONDS = 4 * 3_600
MAX_CAP = 2**36 - 1
MAX_BPS_WORD = 2**16 - 1
MAX_BORROW_RATE = 100_000  # bps
OPTIMAL_BOUNDS = (100, 9_900)


@dataclass
class Market(Pool):
    """See the module."""

    def _risk_admin(self, sender: str) -> None:
        require(sender == ADMIN, "CallerNotRiskOrPoolAdmin")

    def _unsupplied(self, reserve: Reserve) -> None:
        supplied = supply_balance(reserve.a.total, reserve.income(self.now))
        require(supplied == 0 and reserve.accrued == 0, "ReserveLiquidityNotZero")

    def configureReserveAsCollateral(
        self, sender: str, asset: str, ltv: int, threshold: int, bonus: int
    ) -> tuple[int, ...]:
        """LTV, liquidation threshold and bonus (all bps; bonus 10,500 means 5 %)."""
        self._risk_admin(sender)
        require(ltv <= threshold, "InvalidReserveParams")
        reserve = self.reserves[asset]
        config = reserve.config
        if threshold != 0:
            require(bonus > PERCENT, "InvalidReserveParams")
            require(percent_mul(threshold, bonus) <= PERCENT, "InvalidReserveParams")
        else:
            require(bonus == 0, "InvalidReserveParams")
            self._unsupplied(reserve)
        if config.frozen:
            reserve.pending_ltv = ltv
        else:
            reserve.pending_ltv = 0
            config.ltv = ltv
        config.threshold = threshold
        require(bonus <= MAX_BPS_WORD, "InvalidLiquidationBonus")
        config.bonus = bonus
        return ()

    def setReserveBorrowing(self, sender: str, asset: str, on: int) -> tuple[int, ...]:
        """Allow new debt."""
        self._risk_admin(sender)
        self.reserves[asset].config.borrowing = bool(on)
        return ()

    def setReserveActive(self, sender: str, asset: str, on: int) -> tuple[int, ...]:
        """Switch a reserve on, or off while nothing is supplied."""
        require(sender == ADMIN, "CallerNotPoolAdmin")
        if not on:
            self._unsupplied(self.reserves[asset])
        self.reserves[asset].config.active = bool(on)
        return ()

    def setReservePause(self, sender: str, asset: str, on: int, grace: int) -> tuple[int, ...]:
        """Stop everything; after it liquidations may wait ``grace`` seconds more."""
        require(sender == ADMIN, "CallerNotPoolOrEmergencyAdmin")
        reserve = self.reserves[asset]
        if not on and grace != 0:
            require(grace <= MAX_GRACE_SECONDS, "InvalidGracePeriod")
            reserve.grace_until = self.now + grace
        reserve.config.paused = bool(on)
        return ()

    def setReserveFreeze(self, sender: str, asset: str, on: int) -> tuple[int, ...]:
        """Stop supply and borrow; the LTV becomes 0 and stays so after the end of the freeze."""
        require(sender == ADMIN, "CallerNotRiskOrPoolOrEmergencyAdmin")
        reserve = self.reserves[asset]
        require(bool(on) != reserve.config.frozen, "InvalidFreezeState")
        reserve.config.frozen = bool(on)
        if on:
            _drop_ltv(reserve)
        return ()

    def setReserveLtvzero(self, sender: str, asset: str, on: int) -> tuple[int, ...]:
        """Take the LTV away, or give it back."""
        require(sender == ADMIN, "CallerNotRiskOrPoolOrEmergencyAdmin")
        reserve = self.reserves[asset]
        before = reserve.config.ltv
        if on:
            _drop_ltv(reserve)
        else:
            require(not reserve.config.frozen, "ReserveFrozen")
            if before == 0 and reserve.pending_ltv != 0:
                reserve.config.ltv, reserve.pending_ltv = reserve.pending_ltv, 0
        require(reserve.config.ltv != before, "InvalidLtvzeroState")
        return ()

    def setReserveFactor(self, sender: str, asset: str, factor: int) -> tuple[int, ...]:
        """The treasury's share of interest (bps), after interest at the old share."""
        self._risk_admin(sender)
        require(factor <= PERCENT, "InvalidReserveFactor")
        reserve = self.reserves[asset]
        self._updated(reserve)
        reserve.config.factor = factor
        reserve.update_rates(reserve.cache(), 0, 0)
        return ()

    def setReserveInterestRateData(
        self, sender: str, asset: str, optimal: int, base: int, slope1: int, slope2: int
    ) -> tuple[int, ...]:
        """A new rate curve (bps), after interest on the old one."""
        self._risk_admin(sender)
        reserve = self.reserves[asset]
        self._updated(reserve)
        low, high = OPTIMAL_BOUNDS
        require(low <= optimal <= high, "InvalidOptimalUsageRatio")
        require(slope1 <= slope2, "Slope2MustBeGteSlope1")
        require(base + slope1 + slope2 <= MAX_BORROW_RATE, "InvalidMaxRate")
        reserve.rates = Rates(optimal, base, slope1, slope2)
        reserve.update_rates(reserve.cache(), 0, 0)
        return ()

    def setBorrowCap(self, sender: str, asset: str, cap: int) -> tuple[int, ...]:
        """Largest total debt in whole units; 0 is none."""
        self._risk_admin(sender)
        require(cap <= MAX_CAP, "InvalidBorrowCap")
        self.reserves[asset].config.borrow_cap = cap
        return ()

    def setSupplyCap(self, sender: str, asset: str, cap: int) -> tuple[int, ...]:
        """Largest total supply in whole units; 0 is none."""
        self._risk_admin(sender)
        require(cap <= MAX_CAP, "InvalidSupplyCap")
        self.reserves[asset].config.supply_cap = cap
        return ()

    def setLiquidationProtocolFee(self, sender: str, asset: str, fee: int) -> tuple[int, ...]:
        """The treasury's share of liquidation bonuses (bps)."""
        self._risk_admin(sender)
        require(fee <= PERCENT, "InvalidLiquidationProtocolFee")
        self.reserves[asset].config.protocol_fee = fee
        return ()


def _drop_ltv(reserve: Reserve) -> None:
    if reserve.config.ltv != 0:
        reserve.pending_ltv, reserve.config.ltv = reserve.config.ltv, 0
