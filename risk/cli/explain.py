"""``plumbline explain``: the margin of an account as a table, from a deployment or from a vector
file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from risk.chain.views import DISTANCES, MARGIN, QUOTE, ROW
from risk.cli.output import guarded, stdout, write_json
from risk.errors import PlumblineError

WAD = 10**18
UINT256_MAX = 2**256 - 1
INT256_MAX = 2**255 - 1
KINDS = ("PERP", "FUTURE", "CALL", "PUT")


class ExplainError(PlumblineError):
    """What was asked cannot be explained."""


@dataclass
class Explained:
    """Everything the table shows; integers as the vault gives them."""

    title: str
    margin: dict[str, int]
    rows: list[dict[str, int]]
    distances: dict[str, int]
    quote: dict[str, int]
    names: dict[int, str] = field(default_factory=dict)  # instrument -> readable name


def explain_command(
    rpc: str | None,
    vault: str | None,
    account: str | None,
    vectors: Path | None,
    case: int,
    json: Path | None,
) -> int:
    """0: explained; 2: it could not be."""

    def body() -> int:
        if vectors is not None:
            explained = from_vectors(vectors, case)
        elif rpc and vault and account:
            explained = from_chain(rpc, vault, account)
        else:
            raise ExplainError("give --rpc, --vault and --account, or --vectors with --case")
        stdout().print(render(explained))
        write_json(json, as_json(explained))
        return 0

    return guarded(body)


# ── sources ──────────────────────────────────────────────────────────────────────────────────────


def parse_account(text: str) -> int:
    """OWNER (sub-account 0), OWNER:SUB with SUB in 0…255, or the 21 bytes of the id."""
    owner, colon, sub = text.partition(":")
    try:
        value = int(owner, 16)
        number = int(sub) if colon else 0
    except ValueError as error:
        raise ExplainError(f"account {text!r} is not hexadecimal") from error
    if not 0 <= number <= 255:
        raise ExplainError(f"account {text!r}: the sub-account must be 0 to 255")
    digits = len(owner.removeprefix("0x"))
    if digits == 40:
        return value << 8 | number
    if digits == 42 and not colon:
        return value
    raise ExplainError(
        f"account {text!r} has {digits} hex digits; an owner has 40, an account id 42"
    )


def parse_address(text: str, what: str) -> int:
    """Twenty bytes in hex."""
    digits = text.removeprefix("0x")
    try:
        value = int(digits, 16)
    except ValueError as error:
        raise ExplainError(f"{what} {text!r} is not hexadecimal") from error
    if len(digits) != 40:
        raise ExplainError(f"{what} {text!r} has {len(digits)} hex digits; an address has 40")
    return value


def from_chain(endpoint: str, vault: str, account: str) -> Explained:
    """Reads ``explain``, ``liquidationQuote`` and the strikes of a deployed vault."""
    from risk.chain.abi import Errors, functions
    from risk.chain.compile import compile_contracts
    from risk.chain.node import project_root
    from risk.chain.rpc import Rpc
    from risk.errors import RevertError

    parse_address(vault, "vault")
    number = parse_account(account)
    with Rpc.connect(endpoint) as client:
        if not client.code(vault):
            raise ExplainError(f"there is no contract at {vault}")
        artifacts = compile_contracts(project_root())
        f, errors = functions(artifacts["IVault"].abi), Errors(a.abi for a in artifacts.values())

        def view(name: str, *arguments: int) -> list[Any]:
            try:
                return f[name].decode(client.eth_call(vault, f[name].encode(*arguments)))
            except RevertError as error:
                raise ExplainError(f"{name} reverts: {errors.show(error.data)}") from error

        values = view("explain", number)[0]
        quote = view("liquidationQuote", number)[0]

        def strike(i: int) -> int:
            return int(view("strike", i >> 28, i >> 10 & 0xFFFF, i & 0x3FF)[0])

        names = {row[1]: instrument_name(row[1], strike) for row in values[1] if row[0]}
    return Explained(
        f"account {number:#044x}",
        dict(zip(MARGIN, values[0], strict=True)),
        [dict(zip(ROW, row, strict=True)) for row in values[1]],
        dict(zip(DISTANCES, values[2:], strict=True)),
        dict(zip(QUOTE, quote, strict=True)),
        names,
    )


def from_vectors(path: Path, case: int) -> Explained:
    """One case of a vector file, as it stands there."""
    from risk.vectors.format import load

    cases = load(path)["cases"]
    if case >= len(cases):
        raise ExplainError(f"{path} holds {len(cases)} cases; there is no case {case}")
    item = cases[case]
    out = item["outputs"]
    if "error" in out:
        raise ExplainError(f"case {case} has no margin: the model refuses with {out['error']}")
    strikes = {int(i["id"]): int(i.get("strike_wad", "0")) for i in item["inputs"]["instruments"]}

    def numbers(values: dict[str, Any]) -> dict[str, int]:
        return {k: int(v) for k, v in values.items()}

    rows = [numbers(row) for row in out["explanation"]["rows"]]
    return Explained(
        f"{path.name} case {case}: {item['title']}",
        numbers(out["margin"]),
        rows,
        numbers({k: out["explanation"][k] for k in DISTANCES}),
        numbers(out["quote"]),
        {
            row["id"]: instrument_name(row["id"], lambda i: strikes.get(i, 0))
            for row in rows
            if row["kind"]
        },
    )


def instrument_name(item: int, strike: Callable[[int], int]) -> str:
    """``CALL u0 2027-03-26 3000`` and the like."""
    kind = KINDS[item >> 26 & 3]
    name = f"{kind} u{item >> 28}"
    if kind == "PERP":
        return name
    day = datetime.fromtimestamp((item >> 10 & 0xFFFF) * 86_400, timezone.utc)
    name += f" {day:%Y-%m-%d}"
    return name if kind == "FUTURE" else f"{name} {money(strike(item))}"


# ── output ───────────────────────────────────────────────────────────────────────────────────────


def money(wad: int) -> str:
    """WAD with six decimals, rounded down; the extremes by name."""
    if wad == INT256_MAX:
        return "max"
    if wad == -INT256_MAX - 1:
        return "min"
    whole, rest = divmod(abs(wad), WAD)
    return f"{'-' if wad < 0 else ''}{whole:,}.{rest // 10**12:06d}"


def render(e: Explained) -> Group:
    """Equity and charges, then the rows, then what a liquidation would take."""
    head = Table("", "", title=e.title, show_header=False)
    head.columns[1].justify = "right"
    binding = e.margin["binding_scenario"]
    labels = [
        ("mark equity M", money(e.margin["mark_equity"])),
        ("equity E (after haircuts)", money(e.margin["equity"])),
        ("scan", money(e.margin["scan"])),
        ("binding scenario", "none" if binding == UINT256_MAX else str(binding)),
        ("short-option floor", money(e.margin["floor_charge"])),
        ("basis", money(e.margin["basis"])),
        ("liquidity charge on own size", money(e.margin["liq"])),
        ("liquidity charge on open interest", money(e.margin["liq_im"])),
        ("maintenance margin MM", money(e.margin["mm"])),
        ("initial margin IM", money(e.margin["im"])),
        ("health factor", money(e.margin["health_factor"])),
        ("E − IM", money(e.distances["distance_to_im"])),
        ("E − MM", money(e.distances["distance_to_mm"])),
        ("E − target", money(e.distances["distance_to_target"])),
    ]
    for label, value in labels:
        head.add_row(label, value)
    rows = Table("row", "value", "contribution to scan", title="where the scan comes from")
    for column in rows.columns[1:]:
        column.justify = "right"
    for row in e.rows:
        name = e.names.get(row["id"], "") if row["kind"] else f"collateral {row['id']}"
        rows.add_row(name, money(row["value"]), money(row["scan_contribution"]))
    total = sum(row["scan_contribution"] for row in e.rows)
    rows.add_row("sum", "", money(total), style="bold")
    fraction = e.quote["max_fraction_wad"]
    note = (
        "healthy: nothing can be liquidated"
        if fraction == 0
        else f"liquidatable: up to {money(fraction)} of everything; the whole account is priced "
        f"{money(e.quote['full_price_wad'])}, "
        f"reward {money(e.quote['reward_wad'])} per unit of MM"
    )
    return Group(head, rows, note)


def as_json(e: Explained) -> dict[str, Any]:
    """Every number as a decimal string."""

    def text(values: dict[str, int]) -> dict[str, str]:
        return {k: str(v) for k, v in values.items()}

    return {
        "title": e.title,
        "margin": text(e.margin),
        "rows": [{**text(row), "name": e.names.get(row["id"], "")} for row in e.rows],
        "distances": text(e.distances),
        "quote": text(e.quote),
    }
