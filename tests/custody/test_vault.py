"""The vault as a whole: construction, ownership, views of configuration and market, sizes."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from risk.chain.abi import codec
from risk.chain.rpc import from_hex, to_hex
from risk.errors import RevertError
from risk.exact.errors import ModelRevert as Revert
from tests.market.market_twin import address, key_address
from tests.support.vault_fixtures import EXPIRIES, STRIKES, Market
from tests.support.vault_twin import ALICE, BOB, OWNER, WAD, account, iid

SIZE_LIMIT = 23_500
CALL = iid.encode(0, iid.CALL, EXPIRIES[1], 30)


def test_every_contract_leaves_room_to_grow(market: Market) -> None:
    names = ("Vault", *market.libraries)
    assert len(names) == 19
    for name in names:
        assert market.artifacts[name].size <= SIZE_LIMIT, name


def test_libraries_link_in_one_pass(market: Market) -> None:
    """A library needs only those that were deployed before it: there is no cycle."""
    before: set[str] = set()
    for name in market.libraries:
        assert set(market.artifacts[name].libraries) <= before, name
        before.add(name)


def create(market: Market, owner: int, token: int) -> str:
    """Outcome of a vault's construction: "" or the readable error."""
    data = market.artifacts["Vault"].linked(market.libraries)
    data += codec("address").encode(owner) + codec("address").encode(token)
    call = {"from": address(OWNER), "data": to_hex(data), "gas": hex(30_000_000)}
    try:
        return "" if from_hex(market.rpc.call("eth_call", call, "latest")) else "empty"
    except RevertError as error:
        return market.errors.show(error.data)


def test_construction_checks_the_cash_token(market: Market) -> None:
    assert create(market, OWNER, market.new_token(18)) == ""
    assert create(market, OWNER, market.new_token(0)) == ""
    tall, mute = market.new_token(19), market.new_token(6, 32)
    assert create(market, OWNER, tall).startswith("DecimalsOutOfRange")
    assert create(market, OWNER, market.new_token(2**255)).startswith("DecimalsOutOfRange")
    for token in (mute, 0xDEAD):
        assert create(market, OWNER, token).startswith("TokenInvalid")


def test_only_the_owner_configures(market: Market) -> None:
    refused = Revert("Unauthorized")
    blob = market.model.risk_params()
    assert market.do(ALICE, "listUnderlying", 1) == refused
    assert market.do(ALICE, "listCollateral", 1, 0, 0, 18, chain=(1, 0, 0)) == refused
    assert market.do(ALICE, "listExpiry", 0, EXPIRIES[0], [WAD]) == refused
    assert market.do(ALICE, "setRiskParams", blob) == refused
    assert market.do(ALICE, "setSigners", [1], 1) == refused


def test_ownership_is_handed_over_in_two_steps(market: Market) -> None:
    assert market.chain_only(OWNER, "completeOwnershipHandover", key_address(ALICE)) is not None
    assert market.chain_only(ALICE, "requestOwnershipHandover") is None
    assert market.read("owner") == [OWNER]
    assert market.chain_only(BOB, "completeOwnershipHandover", key_address(ALICE)) is not None
    assert market.chain_only(OWNER, "completeOwnershipHandover", key_address(ALICE)) is None
    market.state.owner = key_address(ALICE)
    assert market.do(OWNER, "setSigners", [1], 1) == Revert("Unauthorized")
    assert market.do(ALICE, "setSigners", [1], 1) is None


def test_views_of_market_and_configuration(market: Market) -> None:
    m, read = market.model, market.read
    for u in (0, 1):
        assert tuple(read("snapshot", u)[0]) == astuple(m.snapshot(u))
        assert tuple(read("oracleState", u)) == m.oracle_state(u)
        assert tuple(read("reportStatus", u)) == m.report_status(u)
        for day in (*EXPIRIES, 5):
            fields, time = read("slice", u, day)
            assert (tuple(fields), time) == (astuple(m.slice(u, day)[0]), m.slice(u, day)[1])
    assert read("strike", 0, EXPIRIES[0], 3) == [STRIKES[3]] == [m.strike(0, EXPIRIES[0], 3)]
    for index in (len(STRIKES), 1_024 + 3, 65_535):
        assert read("strike", 0, EXPIRIES[0] - 1, index) == [0]
    assert tuple(read("listedCounts")) == m.listed_counts() == (2, 3)
    assert tuple(read("cashToken")) == m.cash_token()
    assert [read("signers")[0], read("signers")[1]] == [list(m.signers()[0]), m.signers()[1]]
    assert read("riskParams")[1] == m.risk_params()
    for j in range(3):
        c = m.collateral_info(j)
        assert read("collateralInfo", j) == [
            c.token,
            c.decimals,
            c.underlying,
            c.rate_feed,
            c.rate_wad,
            c.total_held,
        ]


@pytest.mark.parametrize("name", ["snapshot", "oracleState", "pnlPool", "reportStatus"])
def test_views_of_what_is_not_listed(market: Market, name: str) -> None:
    for u in (2, 16, 255):
        with pytest.raises(RevertError) as caught:
            market.read(name, u)
        assert caught.value.data == market.errors.encode("UnknownUnderlying", (u,))
    with pytest.raises(RevertError) as caught:
        market.read("collateralInfo", 3)
    assert caught.value.data == market.errors.encode("UnknownToken", (0,))


def test_arrays_are_cached_per_epoch(market: Market) -> None:
    assert market.read("scenarioArray", CALL)[0] == [0, 0, 0, 0]
    market.do(BOB, "computeArrays", [CALL, CALL])
    words = market.read("scenarioArray", CALL)[0]
    assert words[0] and words[1]
    market.do(BOB, "computeArrays", [CALL])
    assert market.gas_used < 60_000  # nothing to compute
    market.report(0)
    assert market.read("scenarioArray", CALL)[0] == [0, 0, 0, 0]


def test_gas_of_reading_cash_alone_and_of_deposits(market: Market) -> None:
    mine = account(ALICE)
    market.put(mine, cash=WAD, options=[(CALL + i, WAD) for i in range(16)], mirror=account(BOB))
    market.do(ALICE, "deposit", mine, market.cash, 1)
    assert market.gas_used <= 90_000
    market.do(ALICE, "deposit", mine, market.weth, 1)
    market.do(ALICE, "deposit", mine, market.weth, 1)
    assert market.gas_used <= 90_000
