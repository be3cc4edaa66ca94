"""``plumbline var``."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from risk.cli.chain_book import NOWHERE, ChainOptions, names_of, read_book
from risk.cli.output import guarded, stdout, tell, write_json
from risk.cli.price_source import prices

if TYPE_CHECKING:
    from risk.quant.bands import Band
    from risk.quant.book_market import RiskBook
    from risk.quant.book_var import Measured
    from risk.quant.data import PriceTable
    from risk.quant.forecast_ml import Forecast
    from risk.quant.holdings import Holding

PLACES = Decimal("0.000001")


@dataclass(frozen=True)
class VarOptions:
    """The options of the command as they came."""

    data: Path | None
    assets: str | None
    positions: Path | None
    account: str | None
    archetype: str
    notional: int
    alpha: float
    horizon: int
    confidence: float
    paths: int
    repetitions: int
    forecast: str | None
    seed: int
    config: Path | None = None
    chain: ChainOptions = NOWHERE  # where the book is read


def var_command(options: VarOptions, json: Path | None) -> int:
    """0: measured; 2: the data or an option was refused, and nothing is written."""
    return guarded(lambda: _var(options, json))


def _var(options: VarOptions, json: Path | None) -> int:
    from risk.quant.book_var import Settings, measure, sample
    from risk.quant.report.inputs import today

    settings = Settings(
        alpha=options.alpha,
        horizon=options.horizon,
        confidence=options.confidence,
        paths=options.paths + options.paths % 2,
        repetitions=options.repetitions,
        seed=options.seed,
    )
    book = _chain_book(options)
    assets = options.assets if book is None else ",".join(book.underlyings)
    table = prices(options.data, assets, options.seed)
    if book is None:
        holdings = _holdings(options, table)
    else:
        holdings = _of_chain(options, book)
    tell(f"{len(holdings)} positions, {len(table.times):,} hours of {', '.join(table.assets)}")
    s = sample(table, holdings, settings, None if book is None else today(book, table.assets))
    measured = measure(s, settings)
    out: dict[str, Any] = {
        "data": {"source": table.source, "sha256": table.sha256(), "hours": len(table.times)},
        "convention": "losses positive; alpha is the confidence; amounts in the quote currency",
        "alpha": settings.alpha,
        "confidence": settings.confidence,
        "horizon_hours": settings.horizon,
        "book": {
            "about": {"source": "file or drawn"} if book is None else dict(book.about),
            "positions": [h.to_json() for h in holdings],
            "gross_notional": s.book.gross,
            "deltas": dict(zip(table.assets, s.book.deltas().tolist(), strict=True)),
        },
        "methods": [m.to_json() for m in measured],
    }
    stdout().print(_table(measured, settings.alpha, settings.confidence, settings.horizon))
    if options.forecast is not None:
        found = _forecast(options, table)
        out["forecast"] = found.to_json()
        verdict = "accepted" if found.accepted else "rejected"
        stdout().print(f"forecast by {found.model}: {verdict}, {found.days} days out of sample")
        for reason in found.reasons:
            stdout().print(f"  {reason}")
    write_json(json, out)
    return 0


def _forecast(options: VarOptions, table: PriceTable) -> Forecast:
    from risk.quant import forecast_ml
    from risk.quant.errors import QuantError

    if options.forecast == "ridge":
        return forecast_ml.forecast(table, forecast_ml.Settings(model="ridge"))
    if options.forecast == "boosting":
        return forecast_ml.forecast(table, forecast_ml.Settings(model="boosting"))
    raise QuantError(f"unknown model {options.forecast!r}; there are ridge and boosting")


def _holdings(options: VarOptions, table: PriceTable) -> tuple[Holding, ...]:
    if options.positions is not None:
        from risk.quant.holdings import read_holdings

        time = int(table.times[-1])
        return read_holdings(options.positions, table.assets, time, options.account)
    tell(f"no --positions: a generated book, {options.archetype}")
    return generated_book(options, table)


def _chain_book(options: VarOptions) -> RiskBook | None:
    """The vault's book at the block, of the underlyings asked for; None without --rpc."""
    if not options.chain.given:
        return None
    from risk.quant.errors import QuantError
    from risk.quant.restrict import restrict

    if options.positions is not None:
        raise QuantError("give positions from a file or from a chain, not both")
    asked = [name.strip() for name in options.assets.split(",")] if options.assets else []
    names = _vault_names(options) or asked
    if not names:
        raise QuantError(
            "which underlyings the vault has is not known: give --record, --config, or all of them "
            "in their order with --assets"
        )
    book = read_book(options.chain, names)
    if asked:
        book = restrict(book, asked)
    left = book.about.get("left_out")
    if left:
        tell(
            f"left out with {', '.join(left['underlyings'])}: {left['accounts']} of "
            f"{left['of_accounts']} accounts, who hold them"
        )
    return book


def _vault_names(options: VarOptions) -> list[str]:
    if options.chain.record is not None:
        return list(names_of(options.chain.record))
    if options.config is None:
        return []
    from risk.deploy.config import load_config

    return [u.name for u in load_config(options.config).underlyings]


def _of_chain(options: VarOptions, book: RiskBook) -> tuple[Holding, ...]:
    """One account, or all of them netted: on a chain positions sum to zero, so that is what the
    collateral risks."""
    from risk.quant.errors import QuantError
    from risk.quant.report.inputs import as_portfolio

    only = None
    if options.account is not None:
        named = {book.label(number): number for number in book.state.accounts}
        if options.account.lower() not in named:
            raise QuantError(f"no account {options.account!r} in the vault at that block")
        only = (named[options.account.lower()],)
    else:
        tell("all accounts together: positions sum to zero, what is left is the collateral's risk")
    held = as_portfolio(book, only)
    if not held:
        raise QuantError(
            "the book is empty: nothing with a price is left when all accounts are netted; "
            "pick one with --account"
            if only is None
            else f"the book is empty: account {options.account} holds nothing with a price"
        )
    return held


def generated_book(options: VarOptions, table: PriceTable) -> tuple[Holding, ...]:
    """One seeded portfolio of an archetype at the last prices, at listed strikes and expiries."""
    from risk.quant import archetypes
    from risk.quant.holdings import DAY, Holding
    from risk.quant.scenarios import factors
    from risk.quant.scenarios.book import make_book

    f = factors.build(table)
    book = make_book(f.implied[-1])
    row = archetypes.sample(options.archetype, book, 1, options.seed)[0]
    out = []
    for j in range(book.size):
        if not row[j]:
            continue
        u = int(book.owner[j])
        spot = float(f.price[-1, u])
        units = Decimal(options.notional * float(row[j]) / spot).quantize(PLACES)
        if not units:
            continue
        asset = table.assets[u]
        if book.linear[j]:
            out.append(Holding(asset, "perp", units))
            continue
        strike = Decimal(float(book.strike[j]) * spot).quantize(PLACES)
        expiry = int(table.times[-1]) + int(book.days[j] * DAY)
        out.append(Holding(asset, "call" if book.call[j] else "put", units, strike, expiry))
    return tuple(out)


def _table(measured: tuple[Measured, ...], alpha: float, confidence: float, horizon: int) -> Table:
    out = Table(
        title=f"loss over {horizon} h at {alpha:.1%}; bands at {confidence:.0%}; quote currency"
    )
    for name in ("method", "VaR", "band of VaR", "ES", "band of ES", "observations"):
        out.add_column(name, no_wrap=True)
    for m in measured:
        if m.risk is None:
            out.add_row(m.method, "–", m.failed or "", "–", "", f"{m.observations:,}")
            continue
        out.add_row(
            m.method,
            f"{m.risk.var:,.0f}",
            _band(m.var_band),
            f"{m.risk.es:,.0f}",
            _band(m.es_band),
            f"{m.observations:,}",
        )
    return out


def _band(band: Band | None) -> str:
    return "" if band is None else f"{band.low:,.0f} … {band.high:,.0f}"
