"""What SharePool should do, in plain Python integers. Rounding: always against the user."""

from risk.diff.kit.adapter import Refused

WAD = 10**18
RATE_PER_SECOND = 3 * 10**9
LOAN_TO_VALUE = 8 * 10**17


class SharePoolModel:
    def __init__(self, now):
        self.now = self.updated_at = now
        self.total_assets = self.total_shares = 0
        self.shares, self.debt = {}, {}

    def accrue(self):
        elapsed = self.now - self.updated_at
        self.total_assets += self.total_assets * RATE_PER_SECOND * elapsed // WAD
        self.updated_at = self.now

    def to_assets(self, shares):
        return shares * self.total_assets // self.total_shares if self.total_shares else 0

    def limit(self, user):
        return self.to_assets(self.shares.get(user, 0)) * LOAN_TO_VALUE // WAD

    def check(self, user):
        if self.debt.get(user, 0) > self.limit(user):
            raise Refused("Unhealthy", self.debt.get(user, 0), self.limit(user))

    def deposit(self, user, assets):
        self.accrue()
        if self.total_shares and not self.total_assets:
            raise Refused("Panic", 0x12)  # division by zero
        shares = assets * self.total_shares // self.total_assets if self.total_shares else assets
        self.total_assets += assets
        self.total_shares += shares
        self.shares[user] = self.shares.get(user, 0) + shares
        return shares

    def redeem(self, user, shares):
        self.accrue()
        owned = self.shares.get(user, 0)
        if owned < shares:
            raise Refused("InsufficientShares", owned, shares)
        assets = self.to_assets(shares)
        self.shares[user] = owned - shares
        self.total_shares -= shares
        self.total_assets -= assets
        self.check(user)
        return assets

    def borrow(self, user, assets):
        self.accrue()
        self.debt[user] = self.debt.get(user, 0) + assets
        self.check(user)
        return ()

    def repay(self, user, assets):
        self.accrue()
        debt = self.debt.get(user, 0)
        self.debt[user] = 0 if assets > debt else debt - assets
        return ()
