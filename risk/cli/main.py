"""Command line of Plumbline.  Nothing heavy is imported before a command runs, so ``--help`` is
quick.

Progress goes to stderr, results to stdout; the exit code is 0 only if all is well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risk.cli.bench import app as bench_app
from risk.cli.keeper import app as keeper_app
from risk.cli.mutate import app as mutate_app
from risk.cli.solcov import app as solcov_app
from risk.cli.watch import watch

app = typer.Typer(
    name="plumbline",
    help="Cross-margin vault and its bit-exact reference model: prove, measure, explain, deploy.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(bench_app, name="bench")
app.add_typer(keeper_app, name="keeper")
app.add_typer(mutate_app, name="mutate")
app.add_typer(solcov_app, name="solcov")
app.command()(watch)

Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON to FILE.")
]
Seed = Annotated[int, typer.Option(help="Same seed, same cases.")]


@app.command()
def verify(
    profile: Annotated[
        str, typer.Option(help="default, full, or for many seeds: model (no chain), chain.")
    ] = "default",
    cases: Annotated[
        int | None, typer.Option(min=0, help="Account-level cases (default 2000).")
    ] = None,
    sequences: Annotated[
        int | None, typer.Option(min=0, help="Random action sequences (default 200).")
    ] = None,
    actions: Annotated[
        int | None, typer.Option(min=1, help="Actions of each sequence (default 24).")
    ] = None,
    seed: Seed = 1,
    seeds: Annotated[
        int, typer.Option(min=1, help="Profiles model and chain: how many, from --seed on.")
    ] = 1,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes, each with its own Anvil.")
    ] = 2,
    only_case: Annotated[int | None, typer.Option(min=0, help="Repeat this one case.")] = None,
    only_sequence: Annotated[
        int | None, typer.Option(min=0, help="Repeat this one sequence.")
    ] = None,
    json: Json = None,
) -> None:
    """Compare contracts and reference model on a real Anvil, to the wei and the revert."""
    from risk.cli.verify import Sizes, verify_command
    from risk.diff.runner import Plan

    plan = Plan(seed, workers=workers, only_case=only_case, only_sequence=only_sequence)
    sizes = Sizes(cases, sequences, actions)
    raise typer.Exit(verify_command(plan, json, profile, seeds, sizes))


@app.command()
def diff(
    target: Annotated[
        str | None,
        typer.Argument(help="A built-in target, or path/to/adapter.py[:Class]. None: list them."),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="revm (in process), node (Anvil), batch (Anvil, batched views).")
    ] = "revm",
    fork: Annotated[
        str | None, typer.Option(metavar="URL[@BLOCK]", help="Start from this chain's state.")
    ] = None,
    seed: Seed = 1,
    sequences: Annotated[int, typer.Option(min=1, help="Random action sequences.")] = 200,
    actions: Annotated[int, typer.Option(min=1, help="Actions of each sequence.")] = 24,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 2,
    only_sequence: Annotated[
        int | None, typer.Option(min=0, help="Repeat this one sequence.")
    ] = None,
    guided: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Coverage-guided instead, for so long (node)."),
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="Folder of sequences kept between guided runs.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for findings.")] = Path("findings"),
    formats: Annotated[
        str, typer.Option(help="Of findings: text,pytest,foundry,json,sarif,html.")
    ] = "text,pytest,foundry,json,sarif,html",
    shrink_seconds: Annotated[
        float, typer.Option(min=0, help="Time to make a counterexample small.")
    ] = 120.0,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="HTML of the run, findings or not.")
    ] = None,
    bench: Annotated[
        bool, typer.Option("--bench", help="Measure the engines on our margin check instead.")
    ] = False,
    json: Json = None,
) -> None:
    """Compare any contract with a model; shrink a disagreement into a test (docs/auditing.md)."""
    from risk.cli.diff import Options, diff_command, list_command
    from risk.diff.runner import Plan

    if bench:
        from risk.cli.diff_bench import bench_command

        raise typer.Exit(bench_command(workers=workers, seed=seed, json=json))
    if target is None:
        raise typer.Exit(list_command())
    chosen = Options(
        target,
        "node" if guided is not None and engine == "revm" else engine,
        fork,
        Plan(seed, 0, sequences, actions, workers, only_sequence=only_sequence),
        json,
        report,
        out,
        tuple(name.strip() for name in formats.split(",") if name.strip()),
        shrink_seconds,
        guided,
        corpus,
    )
    raise typer.Exit(diff_command(chosen))


@app.command()
def diff_margin(
    cases: Annotated[int, typer.Option(min=1, help="Accounts; none is repeated.")] = 20_000,
    seed: Seed = 1,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 2,
    engine: Annotated[str, typer.Option(help="revm, batch or node.")] = "revm",
    positions: Annotated[str, typer.Option(help="Of each account, 0 to 128, or: mixed.")] = "16",
    cases_a_market: Annotated[
        int, typer.Option(min=1, help="After so many, a new market with new parameters.")
    ] = 10_000,
    scenarios: Annotated[int, typer.Option(min=0, max=64, help="K; 0: drawn.")] = 0,
    calm: Annotated[bool, typer.Option(help="Optional charges and rates off.")] = False,
    only_case: Annotated[int | None, typer.Option(min=0, help="Repeat this one case.")] = None,
    fresh: Annotated[bool, typer.Option(help="Forget finished chunks of an earlier run.")] = False,
    json: Json = None,
) -> None:
    """Compare the margin of many accounts in big markets, contract against model; resumable."""
    from risk.cli.diff_bench import MarginOptions, margin_command

    options = MarginOptions(
        cases=cases,
        seed=seed,
        workers=workers,
        engine=engine,
        positions=positions,
        cases_a_market=cases_a_market,
        scenarios=scenarios,
        calm=calm,
        only_case=only_case,
        fresh=fresh,
        json=json,
    )
    raise typer.Exit(margin_command(options))


@app.command()
def gas(json: Json = None) -> None:
    """Measure the gas table on a real Anvil and judge it against its gates."""
    from risk.cli.gas import gas_command

    raise typer.Exit(gas_command(json))


@app.command()
def explain(
    rpc: Annotated[
        str | None, typer.Option(help="Endpoint of a node: http(s)://… or a Unix socket.")
    ] = None,
    vault: Annotated[str | None, typer.Option(help="Address of the vault.")] = None,
    account: Annotated[
        str | None, typer.Option(help="OWNER, OWNER:SUB or the 21-byte account id in hex.")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Explain a case of this vector file instead.")
    ] = None,
    case: Annotated[int, typer.Option(min=0, help="Number of the case in the vector file.")] = 0,
    json: Json = None,
) -> None:
    """Say where the margin of an account comes from, row by row."""
    from risk.cli.explain import explain_command

    raise typer.Exit(explain_command(rpc, vault, account, vectors, case, json))


@app.command()
def deploy(
    config: Annotated[Path, typer.Option(help="Typed configuration file (TOML or JSON).")],
    rpc: Annotated[str | None, typer.Option(help="Endpoint to deploy to.")] = None,
    node: Annotated[
        str | None, typer.Option(help="Start a node of our own: anvil or ganache.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 takes a free one.")] = 0,
    serve: Annotated[bool, typer.Option(help="Keep that node running until interrupted.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where the deployment record goes.")] = None,
    replace: Annotated[bool, typer.Option(help="Overwrite an existing record.")] = False,
    key_file: Annotated[Path | None, typer.Option(help="Private key (hex) or keystore.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="Password of the keystore.")] = None,
    account: Annotated[str | None, typer.Option(help="Unlocked account of the node.")] = None,
    check: Annotated[bool, typer.Option(help="Check the configuration only.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Gas and cost on a private fork; sends nothing.")
    ] = False,
    complete_handover: Annotated[
        bool, typer.Option(help="Second half of a two-step hand-over.")
    ] = False,
    json: Json = None,
) -> None:
    """Deploy the whole system from one configuration file and record it."""
    from risk.cli.deploy import run_deploy
    from risk.deploy.cli import DeployOptions

    options = DeployOptions(
        config=config,
        rpc=rpc,
        node=node,
        port=port,
        serve=serve,
        out=out,
        replace=replace,
        key_file=key_file,
        password_file=password_file,
        account=account,
        json_output=json is not None,
        check=check,
        dry_run=dry_run,
        complete_handover=complete_handover,
    )
    raise typer.Exit(run_deploy(options, json))


@app.command()
def calibrate(
    data: Annotated[
        Path | None, typer.Option(help="Hourly prices (CSV, gzip or Parquet); none: generated.")
    ] = None,
    assets: Annotated[
        str | None, typer.Option(help="Underlyings of one group, with commas.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="Write the scenario set and its evidence as JSON.")
    ] = None,
    backtest: Annotated[
        Path | None, typer.Option(help="Also run the rolling margin backtest; JSON to this file.")
    ] = None,
    portfolios: Annotated[int, typer.Option(min=100, help="Hold-out portfolios.")] = 10_000,
    starts: Annotated[int, typer.Option(min=1, help="Starts of each adversarial search.")] = 1000,
    holdout_days: Annotated[int, typer.Option(min=30, help="Days kept from the fit.")] = 365,
    linear_only: Annotated[bool, typer.Option(help="Fit perps only, no options.")] = False,
    quick: Annotated[bool, typer.Option(help="A smaller fit: seconds, wider margins.")] = False,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Build the joint scenario set from prices and certify what its scan covers."""
    from risk.cli.calibrate import CalibrateOptions, calibrate_command

    options = CalibrateOptions(
        data=data,
        assets=assets,
        certificate=certificate,
        backtest=backtest,
        portfolios=portfolios,
        starts=starts,
        holdout_days=holdout_days,
        linear_only=linear_only,
        quick=quick,
        seed=seed,
    )
    raise typer.Exit(calibrate_command(options, json))


@app.command()
def var(
    data: Annotated[
        Path | None, typer.Option(help="Hourly prices (CSV, gzip or Parquet); none: generated.")
    ] = None,
    assets: Annotated[str | None, typer.Option(help="Only these, with commas.")] = None,
    positions: Annotated[
        Path | None, typer.Option(help="Book (CSV, Parquet or JSON); none: generated.")
    ] = None,
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
    from risk.cli.var import VarOptions, var_command

    options = VarOptions(
        data=data,
        assets=assets,
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
    )
    raise typer.Exit(var_command(options, json))


@app.command()
def backtest(
    data: Annotated[
        Path | None, typer.Option(help="Hourly prices (CSV, gzip or Parquet); none: generated.")
    ] = None,
    assets: Annotated[
        str | None, typer.Option(help="Underlyings of one group, with commas.")
    ] = None,
    days: Annotated[int, typer.Option(min=2, help="At most so many days.")] = 10_000,
    train_days: Annotated[int, typer.Option(min=60, help="Of data before the first day.")] = 180,
    refit_days: Annotated[int, typer.Option(min=1, help="Between refits of the shapes.")] = 90,
    per_kind: Annotated[int, typer.Option(min=1, help="Portfolios of each archetype.")] = 5,
    alpha: Annotated[float, typer.Option(help="Confidence that the margin claims.")] = 0.99,
    thorough: Annotated[
        bool, typer.Option(help="Refit as `calibrate` does: minutes each, tighter margins.")
    ] = False,
    event: Annotated[
        str | None, typer.Option(metavar="DAY", help="Show this margin period, e.g. 2025-10-10.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Keep margins and P&L (.npz).")] = None,
    load: Annotated[Path | None, typer.Option(help="Judge a kept history; no run.")] = None,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Rolling out-of-sample backtest of the on-chain margin, per portfolio archetype."""
    from risk.cli.backtest import BacktestOptions, backtest_command

    options = BacktestOptions(
        data=data,
        assets=assets,
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
    raise typer.Exit(backtest_command(options, json))


@app.command()
def stress(
    positions: Annotated[
        Path | None, typer.Option(help="Book (CSV, Parquet, JSON); none: --rpc, or generated.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Deployment configuration: market and risk parameters of the book."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="DAY", help="Time of that market (08:00 UTC of a date).")
    ] = None,
    price: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PRICE", help="Instead of the configured one.")
    ] = None,
    rpc: Annotated[str | None, typer.Option(help="Read the book from this node.")] = None,
    vault: Annotated[str | None, typer.Option(help="Its address.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="Or the deployment record: address, first block, names.")
    ] = None,
    block: Annotated[
        int | None, typer.Option(min=0, help="At the end of this block; none: the head.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Hourly prices: measured moves, expected bad debt, correlation."),
    ] = None,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Only this one, repeatable; none: no scenario.")
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MOVE", help="ETH=-0.2, ETH.vol=0.5, all=-0.1, vol=0.3."),
    ] = None,
    params: Annotated[
        Path | None, typer.Option(help="What if these were the parameters (.toml, .json, .hex).")
    ] = None,
    heatmap: Annotated[
        str | None, typer.Option(metavar="NAME", help="Spot × volatility of this one, or all.")
    ] = None,
    exposures: Annotated[bool, typer.Option(help="Delta, gamma, vega, funding, depth.")] = False,
    cascade: Annotated[
        bool, typer.Option(help="Follow the liquidations and their price impact.")
    ] = False,
    impact: Annotated[str, typer.Option(help="Price move of one depth sold.")] = "0.1",
    accounts: Annotated[int, typer.Option(min=1, help="Of the generated book.")] = 300,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Stress a whole book by the exact engine: who becomes liquidatable, what is owed."""
    from risk.cli.stress import StressOptions, stress_command

    options = StressOptions(
        positions=positions,
        config=config,
        at=at,
        price=price or (),
        rpc=rpc,
        vault=vault,
        record=record,
        block=block,
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


@app.command()
def efficiency(
    data: Annotated[
        Path | None, typer.Option(help="Hourly prices (CSV, gzip or Parquet); none: generated.")
    ] = None,
    assets: Annotated[str | None, typer.Option(help="Underlyings, with commas.")] = None,
    rolling: Annotated[
        Path | None, typer.Option(help="A stored history of margins instead of a new one.")
    ] = None,
    days: Annotated[int, typer.Option(min=2, help="At most so many days.")] = 10_000,
    per_kind: Annotated[int, typer.Option(min=1, help="Portfolios of each archetype.")] = 5,
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

    options = EfficiencyOptions(
        data=data,
        assets=assets,
        rolling=rolling,
        days=days,
        per_kind=per_kind,
        isolated=isolated,
        chart=chart,
        seed=seed,
    )
    raise typer.Exit(efficiency_command(options, json))


@app.command()
def recommend(
    data: Annotated[
        Path | None, typer.Option(help="Hourly prices (CSV, gzip or Parquet); none: generated.")
    ] = None,
    assets: Annotated[
        str | None, typer.Option(help="Underlyings in the order of the parameters, with commas.")
    ] = None,
    route: Annotated[
        str, typer.Option(help="steward: scales within its limits; timelock: a new fit.")
    ] = "steward",
    config: Annotated[
        Path | None, typer.Option(help="Deployment configuration: parameters in force, limits.")
    ] = None,
    previous: Annotated[
        Path | None, typer.Option(help="An earlier recommendation that is in force now.")
    ] = None,
    since_days: Annotated[
        int, typer.Option(min=1, help="Without --previous: age of the parameters in force.")
    ] = 30,
    governor: Annotated[str | None, typer.Option(help="Address of the governor.")] = None,
    timelock: Annotated[str | None, typer.Option(help="Address of the timelock.")] = None,
    anchor: Annotated[
        Path | None, typer.Option(help="Blob (hex) at the start of the steward's period.")
    ] = None,
    accounts: Annotated[int, typer.Option(min=1, help="Of the generated book.")] = 2_000,
    quick: Annotated[bool, typer.Option(help="A smaller fit.")] = False,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Propose risk parameters: diff, effect, exact integers, calldata; --json can be replayed."""
    from risk.cli.recommend import RecommendOptions, recommend_command

    options = RecommendOptions(
        data=data,
        assets=assets,
        route=route,
        config=config,
        previous=previous,
        since_days=since_days,
        governor=governor,
        timelock=timelock,
        anchor=anchor,
        accounts=accounts,
        quick=quick,
        seed=seed,
    )
    raise typer.Exit(recommend_command(options, json))


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="What `plumbline recommend --json` wrote.")],
    data: Annotated[
        Path | None, typer.Option(help="Its price file, where it lies elsewhere now.")
    ] = None,
    json: Json = None,
) -> None:
    """Make a recommendation again; 1 and a diff unless it is the same byte for byte."""
    from risk.cli.replay import replay_command

    raise typer.Exit(replay_command(file, data, json))


@app.command()
def report(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the page goes, one file.")],
    data: Annotated[
        Path | None, typer.Option(help="Hourly prices (CSV, gzip or Parquet); none: generated.")
    ] = None,
    positions: Annotated[
        Path | None, typer.Option(help="Book (CSV, Parquet, JSON); none: generated.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Deployment configuration: market, parameters in force, limits."),
    ] = None,
    rolling: Annotated[
        Path | None, typer.Option(help="A history kept by `backtest --save` instead of a new one.")
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MOVE", help="As in `stress`; none: all=-0.2, vol=0.5."),
    ] = None,
    days: Annotated[int | None, typer.Option(min=2, help="Of a new backtest.")] = None,
    accounts: Annotated[int, typer.Option(min=1, help="Of the generated book.")] = 300,
    date: Annotated[
        str | None, typer.Option(metavar="DAY", help="Of the report, e.g. 2026-01-01.")
    ] = None,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """One self-contained HTML page for a risk committee; generated data unless given."""
    from risk.cli.report import ReportOptions, report_command

    options = ReportOptions(
        out=out,
        data=data,
        positions=positions,
        config=config,
        rolling=rolling,
        what_if=tuple(what_if or ()),
        days=days,
        accounts=accounts,
        date=date,
        seed=seed,
    )
    raise typer.Exit(report_command(options, json))


@app.command()
def vectors(
    check: Annotated[
        Path | None, typer.Option(help="Check this file against model and chain.")
    ] = None,
    write: Annotated[Path | None, typer.Option(help="Write a new file of worked cases.")] = None,
    cases: Annotated[int, typer.Option(min=1, help="Cases to write.")] = 220,
    seed: Seed = 7,
    json: Json = None,
) -> None:
    """Worked margin cases for implementations in other languages: write or check them."""
    from risk.cli.vectors import vectors_command

    raise typer.Exit(vectors_command(check, write, cases, seed, json))


if __name__ == "__main__":
    app()
