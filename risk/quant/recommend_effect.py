"""What a proposal does: to every account of a book, and to the coverage of sampled portfolios.

The first are whole wei of `risk.vector.exact`, bit-identical to the model; the second floats.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State
from risk.quant import archetypes
from risk.quant.scenarios import exact, factors
from risk.quant.scenarios.book import Book, value_changes
from risk.quant.scenarios.calibrate import Settings
from risk.quant.scenarios.coverage import expected_shortfall, scan, summarise
from risk.quant.scenarios.factors import Factors, Scale

BPS: Final = 10_000
WORST: Final = 10  # accounts named in the effect


@dataclass(frozen=True)
class BookSize:
    """The generated book that the effect is measured on: so many traders, and their makers."""

    accounts: int = 2_000
    seed: int = 1


def fill_book(state: State, book: Book, time: int, size: BookSize) -> None:
    """Traders of all archetypes with whole notionals of 1,000 to 1,000,000 and their makers, who
    hold the other side; E/MM at the parameters in force as in `risk.quant.makers`."""
    from risk.quant import makers
    from risk.quant.book_market import finish

    sizes, _ = archetypes.sample_all(book, size.accounts, size.seed)
    rng = np.random.default_rng([size.seed, 31])
    notional = np.round(np.exp(rng.uniform(np.log(1e3), np.log(1e6), size.accounts)))
    ids = exact.instruments(book, time)
    traders = {
        exact.ACCOUNT + (i + 1 << 8): exact.account_of(sizes[i], book, state, ids, int(notional[i]))
        for i in range(size.accounts)
    }
    makers.close(state, traders, rng)
    finish(state)


def drawn(f: Factors, at: int, book: Book, params: RiskParams, size: BookSize) -> State:
    """A vault at the prices of row `at` under `params`, without collaterals, filled by
    `fill_book`."""
    time = int(f.times[at]) // exact.DAY * exact.DAY + 8 * 3600
    prices = [float(p) for p in f.price[at]]
    state = exact.make_state(book, prices, time, replace(params, collaterals=()))
    fill_book(state, book, time, size)
    return state


def effect(state: State, proposed: RiskParams) -> dict[str, Any]:
    """Who falls below IM or MM under `proposed` at unchanged prices, and what margin does; every
    account of `state`, whole wei. This is the end of the ramp at today's prices."""
    from risk.vector import exact as engine
    from risk.vector.accounts import AccountBatch
    from risk.vector.market import MarketTable

    later = state.clone()
    later.params = proposed
    for u in later.underlyings:
        u.epoch += 1  # arrays of the old parameters are void
    sides = []
    for side in (state, later):
        table = MarketTable.from_state(side)
        batch = AccountBatch.from_state(table, side)
        sides.append((batch.ids, engine.margins(table, batch, side)))
    (ids, now), (_, then) = sides
    refused = sorted({*now.errors, *then.errors})
    judged = np.ones(len(now), dtype=np.bool_)
    judged[refused] = False
    out: dict[str, Any] = {"accounts": len(now), "not_judged": len(refused)}
    for name, a, b in (("im", now.initial, then.initial), ("mm", now.health, then.health)):
        out[f"below_{name}_now"] = int(((a < 0) & judged).sum())
        out[f"below_{name}_proposed"] = int(((b < 0) & judged).sum())
        out[f"newly_below_{name}"] = int(((a >= 0) & (b < 0) & judged).sum())
        before, after = (_values(m.values(name), judged) for m in (now, then))
        out[f"{name}_now_wad"], out[f"{name}_proposed_wad"] = str(sum(before)), str(sum(after))
        out[f"{name}_change_bps"] = (
            (sum(after) - sum(before)) * BPS // sum(before) if sum(before) else 0
        )
    room = zip(ids, then.values("equity"), then.values("mm"), judged, then.obliged, strict=True)
    rows = sorted((e - mm, account) for account, e, mm, ok, bound in room if ok and bound)
    out["closest_to_liquidation"] = [
        {"account": f"0x{account:042x}", "equity_minus_mm_wad": str(gap)}
        for gap, account in rows[:WORST]
    ]
    return out


def _values(values: list[int], judged: Any) -> list[int]:
    return [v for v, ok in zip(values, judged, strict=True) if ok]


def evidence(
    f: Factors,
    at: int,
    book: Book,
    goal: Scale,
    now: RiskParams,
    proposed: RiskParams,
    settings: Settings,
) -> dict[str, Any]:
    """How both sets cover the ES of sampled portfolios at the proposed scales; float Scan."""
    sample = factors.shapes(
        f, f.first, at - factors.PERIOD + 1, goal.vol, every=max(settings.thin, 6)
    )
    changes = value_changes(book, *factors.shocks(sample, goal), aged=True)
    sizes, _ = archetypes.sample_all(book, 1_400, settings.plan.seed + 7_000)
    es = expected_shortfall(sizes, changes, settings.plan.alpha)
    out = {}
    for name, params in (("now", now), ("proposed", proposed)):
        x, v, weights = exact.quantised_shocks(params)
        required = scan(sizes, value_changes(book, x, v, aged=False), weights)
        found = asdict(summarise(required, es))
        out[name] = {
            key: float(f"{value:.6g}") if isinstance(value, float) else value
            for key, value in found.items()
        }
    return out
