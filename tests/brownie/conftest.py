"""Fixtures of a Brownie user: the whole system on the connected network, traders with keys.

`brownie test --network anvil` runs this folder; plain pytest does not collect it.
"""

import pytest
from brownie import MockFeed, MockToken, Vault, accounts, chain
from eip712.messages import EIP712Domain, EIP712Message
from eth_pydantic_types import abi

from risk.deploy.brownie_tasks import sender_of
from risk.deploy.config import load_config
from risk.deploy.deployer import deploy

USDC = 10**6
WAD = 10**18
PERP, FUTURE, CALL, PUT = range(4)


class Order(EIP712Message):
    """`ITrading.Order`, as wallets sign it."""

    account: abi.uint168
    instrument: abi.uint32
    sizeWad: abi.int96
    limitPriceWad: abi.uint128
    nonce: abi.uint64
    expiry: abi.uint40
    flags: abi.uint8
    triggerPriceWad: abi.uint128
    createdAt: abi.uint40
    slippageBps: abi.uint16

    def fields(self):
        """The struct for the contract call."""
        return [
            self.account,
            self.instrument,
            self.sizeWad,
            self.limitPriceWad,
            self.nonce,
            self.expiry,
            self.flags,
            self.triggerPriceWad,
            self.createdAt,
            self.slippageBps,
        ]


class System:
    """Contracts of one deployment, and the few things every test does with them."""

    def __init__(self, record):
        self.record = record
        self.vault = Vault.at(record.vault)
        self.cash = MockToken.at(record.cash_token)
        self.feeds = [MockFeed.at(u.feed) for u in record.underlyings]
        self.collaterals = [MockToken.at(c.token) for c in record.collaterals]
        self._nonce = 0
        Order.eip712_domain = EIP712Domain(
            name="Plumbline",
            version="1",
            chainId=record.chain_id,
            verifyingContract=record.vault,
        )

    def instrument(self, underlying, kind, expiry=0, strike=0):
        """Instrument id; `expiry` and `strike` are indices into the listing."""
        if kind == PERP:
            return underlying << 28
        day = self.record.underlyings[underlying].expiries[expiry].day
        return underlying << 28 | kind << 26 | day << 10 | strike

    def strike_wad(self, underlying, expiry, strike):
        """A listed strike."""
        return int(self.record.underlyings[underlying].expiries[expiry].strikes_wad[strike])

    def deposit(self, trader, token, amount, sub=0):
        """Mints and deposits native units; returns the account."""
        account = account_of(trader, sub)
        token.mint(trader, amount, {"from": trader})
        token.approve(self.vault, amount, {"from": trader})
        self.vault.deposit(account, token, amount, {"from": trader})
        return account

    def order(self, trader, instrument, size, limit, sub=0):
        """An order and its signature."""
        self._nonce += 1
        order = Order(
            account=account_of(trader, sub),
            instrument=instrument,
            sizeWad=size,
            limitPriceWad=limit,
            nonce=self._nonce,
            expiry=chain.time() + 3600,
            flags=0,
            triggerPriceWad=0,
            createdAt=0,
            slippageBps=0,
        )
        signed = trader.sign_message(order)
        return order.fields(), signed.signature

    def trade(self, buyer, seller, instrument, size, price):
        """Fills two fresh orders against each other; anybody may send it."""
        buy, buy_signature = self.order(buyer, instrument, size, price)
        sell, sell_signature = self.order(seller, instrument, -size, price)
        relayer = {"from": accounts[0]}
        return self.vault.fill(buy, buy_signature, sell, sell_signature, size, price, relayer)

    def move_price(self, underlying, price_wad):
        """The feed jumps, and the vault takes the new snapshot."""
        self.feeds[underlying].set(price_wad // 10**10, chain[-1].timestamp, {"from": accounts[0]})
        self.vault.refresh([underlying], {"from": accounts[0]})

    def positions(self, account):
        """instrument -> signed size of everything the account holds."""
        _, _, linear, options = self.vault.accountState(account)
        sizes = {word >> 224: (word >> 128) & (2**96 - 1) for word in linear}
        sizes |= {word >> 96: word & (2**96 - 1) for word in options}
        return {i: s - 2**96 if s >> 95 else s for i, s in sizes.items()}

    def margin(self, account):
        """`IMargin.Margin` by field name."""
        return dict(zip(MARGIN_FIELDS, self.vault.margin(account), strict=True))


MARGIN_FIELDS = (
    "markEquity",
    "equity",
    "scan",
    "floorCharge",
    "basis",
    "liq",
    "liqIm",
    "mm",
    "im",
    "healthFactor",
    "hasObligations",
    "bindingScenario",
)


def account_of(trader, sub=0):
    """168-bit account id."""
    return int(trader.address, 16) << 8 | sub


@pytest.fixture(scope="module")
def system(module_isolation):
    """The whole system of configs/local.toml, deployed once a module.

    `module_isolation` resets the chain, so nothing deployed may outlive a module.
    """
    return System(deploy(load_config("configs/local.toml"), sender_of("0")))


@pytest.fixture(scope="module")
def traders(system):
    """Three people with keys: orders are signed off chain."""
    people = []
    for _ in range(3):
        person = accounts.add()
        accounts[0].transfer(person, "100 ether")
        people.append(person)
    return people


@pytest.fixture(autouse=True)
def isolation(system, traders, fn_isolation):
    """Every test starts from the fresh deployment."""
