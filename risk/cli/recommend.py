"""``plumbline recommend``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from risk.cli.efficiency import GENERATED_HOURS, prices, tell
from risk.cli.output import guarded, stdout, write_json

if TYPE_CHECKING:
    from risk.quant.data import PriceTable
    from risk.quant.recommend import Governor, InForce
    from risk.quant.replay import Source
    from risk.quant.scenarios.calibrate import Settings
    from risk.quant.scenarios.factors import Factors


@dataclass(frozen=True)
class RecommendOptions:
    """The options of the command as they came."""

    data: Path | None
    assets: str | None
    route: str
    config: Path | None
    previous: Path | None
    since_days: int
    governor: str | None
    timelock: str | None
    anchor: Path | None
    accounts: int
    quick: bool
    seed: int


def recommend_command(options: RecommendOptions, json: Path | None) -> int:
    """0: a proposal, or nothing to change; 2: the run failed or the governor would refuse."""
    return guarded(lambda: _recommend(options, json))


def _recommend(options: RecommendOptions, json: Path | None) -> int:
    from risk.quant.recommend_effect import BookSize
    from risk.quant.replay import Request, make
    from risk.quant.scenarios import factors

    settings = _settings(options)
    table = prices(options.data, options.assets or _names(options.config), options.seed)
    f = factors.build(table)
    request = Request(
        _source(options, table),
        int(f.times[-1]),
        _in_force(options, f, settings),
        options.route,
        _governor(options),
        settings,
        BookSize(options.accounts, options.seed),
    )
    value = make(request, table, tell)
    write_json(json, value)
    _show(value["outcome"])
    return 0


def _settings(options: RecommendOptions) -> Settings:
    from dataclasses import replace

    from risk.quant.scenarios.calibrate import Settings

    if options.quick:
        return Settings.quick(options.seed)
    whole = Settings()
    return replace(whole, plan=replace(whole.plan, seed=options.seed))


def _names(config: Path | None) -> str | None:
    if config is None:
        return None
    from risk.deploy.config import load_config

    return ",".join(u.name for u in load_config(config).underlyings)


def _source(options: RecommendOptions, table: PriceTable) -> Source:
    from risk.quant.replay import Source

    if options.data is None:
        return Source(table.assets, None, options.seed, GENERATED_HOURS)
    return Source(table.assets, str(options.data))


def _in_force(options: RecommendOptions, f: Factors, settings: Settings) -> InForce:
    """An earlier recommendation, a deployment's configuration, or a fresh calibration."""
    from risk.quant.errors import QuantError
    from risk.quant.recommend import InForce, start
    from risk.quant.replay import in_force
    from risk.quant.scenarios import factors

    if options.previous is not None:
        return in_force(options.previous)
    then = len(f.times) - 1 - 24 * options.since_days
    if then < f.first + 30 * 24:
        raise QuantError(
            f"the prices do not reach back {options.since_days} days and a month before that"
        )
    if options.config is not None:
        from risk.deploy.config import load_config
        from risk.deploy.quantise import quantise

        tau = factors.vol_scale(f, f.first, then - factors.PERIOD + 1)
        scale = factors.Scale(factors.price_scale(f, then), tau)
        return InForce(quantise(load_config(options.config)), scale)
    tell(f"nothing in force: calibrating as of {options.since_days} days ago")
    return start(f, then, settings)


def _governor(options: RecommendOptions) -> Governor:
    from risk.cli.explain import parse_address
    from risk.quant.errors import QuantError
    from risk.quant.recommend import Governor

    values: dict[str, Any] = {}
    if options.config is not None:
        from risk.deploy.config import load_config

        found = load_config(options.config).governance
        if found is not None:
            values = {
                "steward_bps": int(found.steward_limit * 10_000),
                "min_steps": found.min_steps,
                "step_seconds": found.step_seconds,
                "delay_seconds": found.timelock_delay_seconds,
            }
    for name in ("governor", "timelock"):
        given = getattr(options, name)
        if given is not None:
            values[name] = parse_address(given, name)
    if options.anchor is not None:
        try:
            values["anchor"] = bytes.fromhex(options.anchor.read_text().strip().removeprefix("0x"))
        except ValueError as error:
            raise QuantError(f"{options.anchor}: is not hex: {error}") from error
    return Governor(**values)


def _show(outcome: dict[str, Any]) -> None:
    out = stdout()
    scales, effect = outcome["scales"], outcome["effect"]
    if outcome["nothing_changes"]:
        out.print("Nothing changes.")
        return
    table = Table("", "now", "by the rule", "proposed", title=f"scales, by the {outcome['route']}")
    for label in ("price", "vol"):
        columns = [scales[f"{label}_scale_{k}"] for k in ("now", "by_rule", "proposed")]
        for i, row in enumerate(zip(*columns, strict=True)):
            table.add_row(f"{label} {i}", *(f"{v:.5f}" for v in row))
    out.print(table)
    table = Table("", "now", "proposed", "newly", title=f"{effect['accounts']:,} accounts")
    for name in ("im", "mm"):
        keys = (f"below_{name}_now", f"below_{name}_proposed", f"newly_below_{name}")
        table.add_row(f"below {name.upper()}", *(f"{effect[k]:,}" for k in keys))
        sums = (int(effect[f"{name}_{k}_wad"]) // 10**18 for k in ("now", "proposed"))
        change = f"{effect[f'{name}_change_bps'] / 100:+.2f} %"
        table.add_row(f"Σ {name.upper()}", *(f"{v:,}" for v in sums), change)
    for side in ("covered", "aggregate_overcharge"):
        shares = [f"{outcome['coverage'][k][side]:.2%}" for k in ("now", "proposed")]
        table.add_row(f"ES, sampled portfolios: {side.replace('_', ' ')}", *shares, "")
    out.print(table)
    ramp = outcome["ramp"]
    out.print(
        f"{len(outcome['changes'])} fields change, {outcome['lanes_cut_by_the_steward_limit']} cut "
        f"by the steward's limit; {ramp['steps']} steps, at least "
        f"{ramp['shortest_seconds'] / 3600:.0f} h"
    )
    if not outcome["calldata"]:
        out.print("no calldata: give --governor and --timelock")
    for call in outcome["calldata"]:
        out.print(
            f"{call['sender']} → {call['to'] or 'address not given'} {call['function']}, "
            f"{len(call['data']) // 2 - 1} bytes"
        )
