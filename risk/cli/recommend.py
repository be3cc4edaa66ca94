"""``plumbline recommend``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from risk.cli.chain_book import NOWHERE, ChainOptions, addresses_of, names_of, read_book
from risk.cli.output import guarded, stdout, tell, write_json
from risk.cli.price_source import GENERATED_HOURS, prices

if TYPE_CHECKING:
    from risk.quant.book_market import RiskBook
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
    chain: ChainOptions = NOWHERE  # where the book and the parameters are read


def recommend_command(options: RecommendOptions, json: Path | None) -> int:
    """0: a proposal, or nothing to change; 2: the run failed or the governor would refuse."""
    return guarded(lambda: _recommend(options, json))


def _recommend(options: RecommendOptions, json: Path | None) -> int:
    from risk.quant.recommend_effect import BookSize
    from risk.quant.replay import Request, make
    from risk.quant.scenarios import factors

    settings = _settings(options)
    listed = _names(options)
    book = _book(options, listed)
    chosen, columns = choose(options.assets, listed if book is None else book.underlyings)
    table = prices(options.data, None if chosen is None else ",".join(chosen), options.seed)
    f = factors.build(table)
    if book is not None:
        tell(_moments(int(f.times[-1]), book))
    request = Request(
        source(options, table),
        int(f.times[-1]),
        in_force(options, f, settings, columns, book),
        options.route,
        governor(options, book),
        settings,
        BookSize(options.accounts, options.seed) if book is None else book,
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


def _names(options: RecommendOptions) -> tuple[str, ...]:
    """Underlyings of the parameters in force, in their order, where something says them."""
    if options.chain.record is not None:
        return names_of(options.chain.record)
    if options.config is None:
        return ()
    from risk.deploy.config import load_config

    return tuple(u.name for u in load_config(options.config).underlyings)


def choose(
    assets: str | None, listed: Sequence[str]
) -> tuple[tuple[str, ...] | None, tuple[int, ...] | None]:
    """(assets whose prices are read, their places in the parameters), in the order of `listed`.

    Without `listed` the assets are taken to be all of them, in order. `QuantError` for an asset
    that is not listed.
    """
    from risk.quant.errors import QuantError

    asked = None if assets is None else tuple(name.strip() for name in assets.split(","))
    if not listed:
        return asked, None
    for name in asked or ():
        if name not in listed:
            raise QuantError(f"--assets: no {name!r} in the parameters; {', '.join(listed)} are")
    places = tuple(i for i, name in enumerate(listed) if asked is None or name in asked)
    return tuple(listed[i] for i in places), places


def _book(options: RecommendOptions, listed: Sequence[str]) -> RiskBook | None:
    """The vault's book at the block, with the parameters in force; None without --rpc."""
    if not options.chain.given:
        return None
    from risk.quant.errors import QuantError

    names = listed or (options.assets.split(",") if options.assets else ())
    if not names:
        raise QuantError(
            "which underlyings the vault has is not known: give --record, --config, or all of them "
            "in their order with --assets"
        )
    return read_book(options.chain, [name.strip() for name in names])


def _moments(last: int, book: RiskBook) -> str:
    from datetime import datetime, timezone

    price, block = (
        datetime.fromtimestamp(t, timezone.utc).strftime("%Y-%m-%dT%H:%MZ")
        for t in (last, int(book.about["time"]))
    )
    return f"the prices end at {price}, the block is of {block}"


def source(options: RecommendOptions, table: PriceTable) -> Source:
    from risk.quant.replay import Source

    if options.data is None:
        return Source(table.assets, None, options.seed, GENERATED_HOURS)
    return Source(table.assets, str(options.data))


def in_force(
    options: RecommendOptions,
    f: Factors,
    settings: Settings,
    columns: tuple[int, ...] | None = None,
    book: RiskBook | None = None,
) -> InForce:
    """An earlier recommendation, what the vault has, a deployment's configuration, or a fresh
    calibration. `columns`: places of the assets in the parameters, None where they are all."""
    from risk.quant import replay
    from risk.quant.errors import QuantError
    from risk.quant.recommend import InForce, start
    from risk.quant.scenarios import factors

    if options.previous is not None:
        return replay.in_force(options.previous)
    then = len(f.times) - 1 - 24 * options.since_days
    if then < f.first + 30 * 24:
        raise QuantError(
            f"the prices do not reach back {options.since_days} days and a month before that"
        )
    if book is None and options.config is None:
        tell(f"nothing in force: calibrating as of {options.since_days} days ago")
        return start(f, then, settings)
    tau = factors.vol_scale(f, f.first, then - factors.PERIOD + 1)
    scale = factors.Scale(factors.price_scale(f, then), tau)
    if book is not None:
        if book.state.params is None:
            raise QuantError("the vault has no risk parameters at that block")
        return InForce(book.state.params, scale, columns)
    assert options.config is not None
    from risk.deploy.config import load_config
    from risk.deploy.quantise import quantise

    return InForce(quantise(load_config(options.config)), scale, columns)


def governor(options: RecommendOptions, book: RiskBook | None = None) -> Governor:
    """Limits, addresses and anchor. Of a book that was read from a vault: those that the governor
    has at the same block, where its address is known; `--anchor` goes before."""
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
    for name, address in addresses_of(options.chain.record).items():
        values[name] = address
    for name in ("governor", "timelock"):
        given = getattr(options, name)
        if given is not None:
            values[name] = parse_address(given, name)
    if book is not None and options.chain.rpc is not None and "governor" in values:
        from dataclasses import asdict

        from risk.quant.governor_chain import governor_at

        about = book.about
        timelock = values.get("timelock", 0)
        known = governor_at(
            options.chain.rpc, values["governor"], timelock, about["block"], about["time"]
        )
        values = asdict(known)
        tell(
            f"limits of the governor at block {about['block']}"
            + (", a steward's period is running" if known.anchor is not None else "")
        )
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
    if outcome["underlyings_left_as_they_are"]:
        numbers = ", ".join(str(i) for i in outcome["underlyings_left_as_they_are"])
        out.print(f"no prices: the lanes of underlying {numbers} stay as they are")
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
