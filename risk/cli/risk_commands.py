"""Commands that measure risk from prices and positions.

Only options and texts; what a command does is in the file of its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risk.cli.deployment import chosen_assets
from risk.cli.options import (
    Accounts,
    AssetsConfig,
    Book,
    BookBlock,
    BookRecord,
    BookRpc,
    BookVault,
    Data,
    GroupAssets,
    Json,
    MostDays,
    PerKind,
    Seed,
    exits,
)

app = typer.Typer()


@app.command(
    short_help="Build the joint scenario set and certify what it covers.",
    epilog=exits(
        "at least 99.9 % of the hold-out portfolios are covered",
        "fewer, or the contracts differ from the model",
    ),
)
def calibrate(
    data: Data = None,
    assets: GroupAssets = None,
    config: AssetsConfig = None,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the scenario set and its evidence as JSON."),
    ] = None,
    backtest: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also run the rolling margin backtest; JSON to this file."
        ),
    ] = None,
    portfolios: Annotated[int, typer.Option(min=100, help="Hold-out portfolios.")] = 10_000,
    starts: Annotated[int, typer.Option(min=1, help="Starts of each adversarial search.")] = 1000,
    holdout_days: Annotated[int, typer.Option(min=30, help="Days kept from the fit.")] = 365,
    linear_only: Annotated[bool, typer.Option(help="Fit perps only, no options.")] = False,
    quick: Annotated[bool, typer.Option(help="A smaller fit: seconds, wider margins.")] = False,
    on_chain: Annotated[
        bool,
        typer.Option(help="Also read the margins of the hold-out portfolios from a vault."),
    ] = False,
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ASSETS", help="Margin group (with commas); repeated: a set for each group."
        ),
    ] = None,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Build the joint scenario set from prices and certify what its scan covers."""
    from risk.cli.calibrate import CalibrateOptions, calibrate_command
    from risk.cli.output import guarded

    def run() -> int:
        options = CalibrateOptions(
            data=data,
            assets=chosen_assets(assets, config),
            certificate=certificate,
            backtest=backtest,
            portfolios=portfolios,
            starts=starts,
            holdout_days=holdout_days,
            linear_only=linear_only,
            quick=quick,
            seed=seed,
            on_chain=on_chain,
            groups=tuple(group or ()),
        )
        return calibrate_command(options, json)

    raise typer.Exit(guarded(run))


@app.command(
    short_help="VaR and ES of a book by every method, with bands.",
    epilog=exits("measured"),
)
def var(
    data: Data = None,
    assets: Annotated[str | None, typer.Option(help="Only these, with commas.")] = None,
    config: AssetsConfig = None,
    positions: Book = None,
    rpc: BookRpc = None,
    vault: BookVault = None,
    record: BookRecord = None,
    block: BookBlock = None,
    account: Annotated[
        str | None, typer.Option(help="Only this account of a book with many.")
    ] = None,
    archetype: Annotated[str, typer.Option(help="Kind of the generated book.")] = "mixed",
    notional: Annotated[int, typer.Option(min=1, help="Of the generated book.")] = 1_000_000,
    alpha: Annotated[float, typer.Option(help="Confidence of VaR and ES.")] = 0.99,
    horizon: Annotated[int, typer.Option(help="Hours.")] = 24,
    confidence: Annotated[float, typer.Option(help="Of the bands.")] = 0.95,
    paths: Annotated[int, typer.Option(min=1000, help="Of the Monte Carlo.")] = 20_000,
    repetitions: Annotated[int, typer.Option(min=20, help="Of the bootstrap bands.")] = 1_000,
    forecast: Annotated[
        str | None, typer.Option(help="Judge a learnt volatility forecast: ridge, boosting.")
    ] = None,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """VaR and ES of a book by every method, with confidence bands and full option repricing."""
    from risk.cli.chain_book import ChainOptions
    from risk.cli.output import guarded
    from risk.cli.var import VarOptions, var_command

    def run() -> int:
        options = VarOptions(
            data=data,
            assets=chosen_assets(assets, config),
            positions=positions,
            account=account,
            archetype=archetype,
            notional=notional,
            alpha=alpha,
            horizon=horizon,
            confidence=confidence,
            paths=paths,
            repetitions=repetitions,
            forecast=forecast,
            seed=seed,
            config=config,
            chain=ChainOptions(rpc, vault, record, block),
        )
        return var_command(options, json)

    raise typer.Exit(guarded(run))


@app.command(
    short_help="Rolling out-of-sample backtest of the on-chain margin.",
    epilog=exits("no archetype is short of coverage", "one is"),
)
def backtest(
    data: Data = None,
    assets: GroupAssets = None,
    config: AssetsConfig = None,
    days: MostDays = 10_000,
    train_days: Annotated[int, typer.Option(min=60, help="Of data before the first day.")] = 180,
    refit_days: Annotated[int, typer.Option(min=1, help="Between refits of the shapes.")] = 90,
    per_kind: PerKind = 5,
    alpha: Annotated[float, typer.Option(help="Confidence that the margin claims.")] = 0.99,
    thorough: Annotated[
        bool, typer.Option(help="Refit as `calibrate` does: minutes each, tighter margins.")
    ] = False,
    event: Annotated[
        str | None, typer.Option(metavar="DAY", help="Show this margin period, e.g. 2025-10-10.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep margins and P&L (.npz).")
    ] = None,
    load: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Judge a kept history; no run.")
    ] = None,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Rolling out-of-sample backtest of the on-chain margin, per portfolio archetype."""
    from risk.cli.backtest import BacktestOptions, backtest_command
    from risk.cli.output import guarded

    def run() -> int:
        options = BacktestOptions(
            data=data,
            assets=chosen_assets(assets, config),
            days=days,
            train_days=train_days,
            refit_days=refit_days,
            per_kind=per_kind,
            alpha=alpha,
            thorough=thorough,
            event=event,
            save=save,
            load=load,
            seed=seed,
        )
        return backtest_command(options, json)

    raise typer.Exit(guarded(run))


@app.command(
    short_help="Stress a whole book: who becomes liquidatable, what is owed.",
    epilog=exits("done, whatever it found"),
)
def stress(
    positions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Book (CSV, Parquet, JSON); none: --rpc, or generated."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Deployment configuration: market and risk parameters of the book."
        ),
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="DAY", help="Time of that market (08:00 UTC of a date).")
    ] = None,
    price: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PRICE", help="Instead of the configured one.")
    ] = None,
    rpc: BookRpc = None,
    vault: BookVault = None,
    record: BookRecord = None,
    block: BookBlock = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Hourly prices: measured moves, expected bad debt, correlation."
        ),
    ] = None,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Only this one, repeatable; none: no scenario.")
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MOVE", help="ETH=-0.2, ETH.vol=0.5, all=-0.1, vol=0.3."),
    ] = None,
    params: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What if these were the parameters (.toml, .json, .hex)."
        ),
    ] = None,
    heatmap: Annotated[
        str | None, typer.Option(metavar="NAME", help="Spot × volatility of this one, or all.")
    ] = None,
    exposures: Annotated[bool, typer.Option(help="Delta, gamma, vega, funding, depth.")] = False,
    cascade: Annotated[
        bool, typer.Option(help="Follow the liquidations and their price impact.")
    ] = False,
    impact: Annotated[str, typer.Option(help="Price move of one depth sold.")] = "0.1",
    accounts: Accounts = 300,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Stress a whole book by the exact engine: who becomes liquidatable, what is owed."""
    from risk.cli.chain_book import ChainOptions
    from risk.cli.stress import StressOptions, stress_command

    options = StressOptions(
        positions=positions,
        config=config,
        at=at,
        price=price or (),
        chain=ChainOptions(rpc, vault, record, block),
        data=data,
        scenario=scenario or (),
        what_if=what_if or (),
        params=params,
        heatmap=heatmap,
        exposures=exposures,
        cascade=cascade,
        impact=impact,
        accounts=accounts,
        seed=seed,
    )
    raise typer.Exit(stress_command(options, json))


@app.command(
    short_help="Compare our margin with other rule sets.",
    epilog=exits("compared, also where ours is dearer"),
)
def efficiency(
    data: Data = None,
    assets: Annotated[str | None, typer.Option(help="Underlyings, with commas.")] = None,
    config: AssetsConfig = None,
    rolling: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A stored history of margins instead of a new one."),
    ] = None,
    days: MostDays = 10_000,
    per_kind: PerKind = 5,
    isolated: Annotated[
        bool, typer.Option(help="Also ours with every position alone (fits the shapes again).")
    ] = True,
    chart: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Coverage against capital, as SVG.")
    ] = None,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Compare our margin with other rule sets: capital and the coverage that it buys."""
    from risk.cli.efficiency import EfficiencyOptions, efficiency_command
    from risk.cli.output import guarded

    def run() -> int:
        options = EfficiencyOptions(
            data=data,
            assets=chosen_assets(assets, config),
            rolling=rolling,
            days=days,
            per_kind=per_kind,
            isolated=isolated,
            chart=chart,
            seed=seed,
        )
        return efficiency_command(options, json)

    raise typer.Exit(guarded(run))
