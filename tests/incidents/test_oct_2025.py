"""10 October 2025, 19 billion USD of positions liquidated in a day: prices fell within minutes
while feeds and venues lagged, and venues that priced collateral by their own thin book printed it
far below its worth (USDe at 0.65, wBETH at a fraction of its ether).

The hours are real (``data/oct_2025_hours.csv``).  The book is made up: forty accounts, shocks of
±8 %, so leverage up to 9.6.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from risk.exact.margin import instrument_id as iid
from risk.exact.market import feed_reader
from risk.exact.market.feed_reader import OracleState
from risk.exact.params.risk_params import CollateralParams
from tests.attacks.defence import Defence
from tests.attacks.scene import model_market
from tests.incidents.scene import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    HOUR,
    KEEPER,
    NO_LIMIT,
    OWNER,
    PERP,
    UNIT,
    USD,
    WAD,
    Loss,
    account,
    clean_up,
    deposit,
    guarded,
    key_address,
    move,
    name,
    stated,
    take_out,
    trade,
    without_limits,
)
from tests.support.vault_fixtures import Market
from tests.waterfall.support import Holding, write

BITCOIN = iid.encode(1, iid.PERP, 0, 0)
MAKER = account(BOB)
HOURS = Path(__file__).parent / "data" / "oct_2025_hours.csv"


def hours() -> list[dict[str, Any]]:
    """high, low and close of both, by hour."""
    with HOURS.open() as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return [{k: v if k == "timestamp" else float(v) for k, v in row.items()} for row in rows]


# ------------------------------------------------------------------------------- the gap of prices

LONGS = [account(ALICE, sub) for sub in range(32)]
SHORTS = [MAKER, *(account(DAVE, sub) for sub in range(7))]
INSIDER = [account(CAROL, 1), account(CAROL, 2)]
STAKE = 200_000  # USD of the insider on the long side; the short owes for the stable price too
FUND = 50_000
GAP_BOUND = 6_000  # USD lost with the defence
GAP_AT_LEAST = 20_000  # USD lost without it


def open_book(m: Market, ether: float, bitcoin: float) -> None:
    """32 longs with leverage from 1.5 to 9.3 at these prices, three in four in ether; the other
    side in eight accounts with 20 % of margin; a keeper; a fund.
    """
    book: dict[int, Holding] = {}
    totals = {PERP: [0, 0], BITCOIN: [0, 0]}
    for n, i in enumerate(LONGS):
        instrument, price = (BITCOIN, bitcoin) if n % 4 == 3 else (PERP, ether)
        value = (20_000 + 5_000 * (n % 7)) * WAD  # of the position
        size = value * 100 // round(price * 100)
        quote = -(size * round(price * 100) // 100)
        cash = value * 10 // (15 + n * 78 // 31)
        book[i] = Holding(cash=cash, linear=[(instrument, size, quote)])
        totals[instrument][0] += size
        totals[instrument][1] += quote
    for n, i in enumerate(SHORTS):
        part = []
        for instrument, (size, quote) in totals.items():
            if n < len(SHORTS) - 1:
                size, quote = size // len(SHORTS), quote // len(SHORTS)
            else:
                size -= size // len(SHORTS) * n
                quote -= quote // len(SHORTS) * n
            part.append((instrument, -size, -quote))
        book[i] = Holding(cash=sum(q for _, _, q in part) // 5, linear=part)
    book[KEEPER] = Holding(cash=10**6 * WAD)
    write(m, book, insurance_wad=FUND * WAD)


def crash(m: Market) -> Loss:
    """From noon to the next morning: each hour its low, then its close; at 21:00 the feeds stand
    still while the market falls, and who sees it acts at the old price.
    """
    rows = hours()
    first = rows[0]
    m.set_params(without_limits())  # so that the stable price starts from these prices
    move(m, first["ETH_close"], first["BTC_close"])
    m.set_params(guarded(price_unit_e6=32))
    open_book(m, first["ETH_close"], first["BTC_close"])
    total = Loss()
    for last, row in pairwise(rows):
        m.world.timestamp += HOUR // 2
        if row["timestamp"].startswith("2025-10-10T21"):
            m.world.timestamp += 2 * HOUR // 3  # the last answer is 70 minutes old
            flee(m)
            straddle(m, last["ETH_close"])
        for point in ("low", "close"):
            move(m, row[f"ETH_{point}"], row[f"BTC_{point}"])
            total += clean_up(m, liquidatable(m), INSIDER)
    return total


def liquidatable(m: Market) -> list[int]:
    """Long or short, below maintenance margin at the snapshots."""
    margins = {i: m.model.margin(i) for i in (*LONGS, *SHORTS, *INSIDER)}
    return [i for i, x in margins.items() if x.equity < x.mm]


def flee(m: Market) -> None:
    """Every other long takes out what the old price lets him."""
    for sub in range(0, len(LONGS), 2):
        if m.model.margin(LONGS[sub]).has_obligations:
            take_out(m, ALICE, sub)


def straddle(m: Market, price: float) -> None:
    """Long and short of one owner at the old price: one of them will be bankrupt."""
    for i in INSIDER:
        deposit(m, CAROL, STAKE if i == INSIDER[0] else 3 * STAKE, i & 255)
    cents = round(price * 100)
    size = STAKE * 100 * WAD // cents * 100 // 105 * 1_000 // 80 * 10 // 13  # 5 % below the limit
    got = trade(m, (CAROL, INSIDER[0] & 255), (CAROL, INSIDER[1] & 255), size, cents * WAD // 100)
    assert name(got) in ("", "OracleNotUsable"), got


def _never_stale(original: Any) -> Any:
    """An old answer is as good as a new one."""

    def live(state: Any, world: Any, p: Any, u: int) -> Any:
        oracle_state, price, time = original(state, world, p, u)
        stale = oracle_state == OracleState.STALE
        return OracleState.FRESH if stale else oracle_state, price, time

    return live


STALENESS = Defence(
    crash,  # type: ignore[arg-type]
    "a stale market allows no withdrawal and no new risk",
    ((feed_reader, "live", _never_stale),),
)


def test_C24_oct_2025_gap(market: Market) -> None:
    with STALENESS.gone():
        without = crash(model_market())
    with_ = crash(market)
    assert with_.usd <= GAP_BOUND
    assert without.usd > GAP_AT_LEAST
    assert with_.haircuts == with_.lenders == 0
    stated("oct_2025_gap", without.usd, with_.usd)


# ---------------------------------------------------------------------------- the rate of one venue

RATE = 108 * 10**16  # ether in one token
PRINT = RATE * 65 // 100
TOKENS = 10
BORROWERS = [(key, sub) for key in (ALICE, DAVE) for sub in range(6)]
RATE_BOUND = 12_000  # USD lost with the defence: by the borrower who is insolvent at the print
RATE_AT_LEAST = 45_000  # USD lost without it


def print_low(m: Market, grace: int) -> Loss:
    """Twelve loans between 29.5 and 57 % of their collateral, whose rate feed prints −35 % for ten
    minutes while ether stands where it was.  Returns what the borrowers lose.
    """
    rows = {row["timestamp"][5:13]: row for row in hours()}
    token = list_rated(m, grace)
    assert m.do(BOB, "deposit", MAKER, m.cash, 10**6 * USD) is None
    assert m.do(CAROL, "deposit", KEEPER, m.cash, 10**6 * USD) is None
    move(m, rows["10-10T19"]["ETH_close"])
    for n, (key, sub) in enumerate(BORROWERS):
        i = account(key, sub)
        assert m.do(key, "deposit", i, token, TOKENS * WAD) is None
        loan = m.model.margin(i).mark_equity * (295 + 25 * n) // 1_000 // UNIT
        got = m.do(key, "withdraw", i, m.cash, loan, key_address(key))
        assert got == loan, got
    ether = rows["10-10T20"]["ETH_close"]
    move(m, ether)
    ids = [account(key, sub) for key, sub in BORROWERS]
    before = {i: m.model.margin(i).mark_equity for i in ids}
    assert all(m.model.margin(i).equity > m.model.margin(i).mm for i in ids)

    rate_feed = m.state.collaterals[-1].rate_feed
    for time, rate in ((0, PRINT), (600, RATE), (HOUR, RATE)):
        m.world.timestamp += time
        m.set_feed(rate_feed, rate)
        move(m, ether)
        assert m.state.collaterals[-1].rate_wad == rate
        for i in ids:
            if name(m.do(CAROL, "liquidate", i, KEEPER, WAD, NO_LIMIT)) == "NotFlagged":
                assert m.do(CAROL, "flag", i) is None
        if rate == PRINT:  # nobody borrows more on it either
            more = m.do(ALICE, "withdraw", ids[5], m.cash, USD, key_address(ALICE))
            assert name(more) == "InsufficientMargin"
    after = {i: m.compare_margin(i).mark_equity for i in ids}
    if grace:  # nobody but the one whose equity was negative at the print
        assert [i for i in ids if after[i] != before[i]] == ids[-1:]
    return Loss(owners=sum(before[i] - after[i] for i in ids))


def list_rated(m: Market, grace: int) -> int:
    """A token with a rate to ether, as staked ether has; returns it."""
    token, feed = m.new_token(18), m.new_feed(18, RATE)
    assert m.do(OWNER, "listCollateral", token, 0, feed, 18, chain=(token, 0, feed)) == 3
    p = without_limits()
    rated = CollateralParams(0, 18, 1_000, 10**6 * WAD, True)
    m.set_params(replace(p, collaterals=(*p.collaterals, rated), grace_seconds=grace))
    for key in (ALICE, DAVE):
        m.give(token, key, 100 * WAD)
    return token


def test_C25_oct_2025_rate(market: Market) -> None:
    without = print_low(model_market(), 0)
    with_ = print_low(market, HOUR)
    assert with_.usd <= RATE_BOUND
    assert without.usd > RATE_AT_LEAST
    stated("oct_2025_rate", without.usd, with_.usd)
