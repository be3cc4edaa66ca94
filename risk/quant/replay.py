"""A recommendation file that can be made again: the request, hashes, the outcome.

The *request* holds everything that decides the outcome: data (file and content hash, or the
generator's seed), parameters and scales in force, route, limits, settings with their seed, book:
size and seed of a generated one, or the whole of one that was read from a chain, with the number
and hash of its block (`risk.quant.book_json`), so that no node is needed to make the outcome again.
`again` makes the outcome from it and compares the two as canonical JSON, byte for byte. Hashes of
the code and of requirements.lock say where to look when they differ; they are no part of the
comparison.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from risk.exact.params.risk_params import RiskParams
from risk.quant import book_json
from risk.quant.book_market import RiskBook
from risk.quant.data import PriceTable, read_prices
from risk.quant.errors import DataError, QuantError
from risk.quant.generate import generate
from risk.quant.recommend import Governor, InForce, recommend
from risk.quant.recommend_effect import BookSize
from risk.quant.scenarios import factors
from risk.quant.scenarios.calibrate import Settings
from risk.quant.scenarios.exact import Policy
from risk.quant.scenarios.factors import Factors, Scale
from risk.quant.scenarios.fit import Plan
from risk.quant.threads import one_thread

Tell = Callable[[str], None]
Reread = Callable[[RiskBook], RiskBook]

FORMAT: Final = "plumbline recommendation 2"
ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = "requirements.lock"
LEAST_ROWS: Final = factors.WARM_UP + 60 * 24  # as `factors.build` needs
CODE: Final = ("risk/quant", "risk/exact", "risk/vector", "risk/deploy", "risk/chain")


@dataclass(frozen=True)
class Source:
    """Where prices come from: `path`, or None for the generator with `seed` and `hours`."""

    assets: tuple[str, ...]
    path: str | None = None
    seed: int = 1
    hours: int = 0

    def table(self, override: Path | None = None) -> PriceTable:
        """Reads or generates them; `override` is another place of the same file."""
        if self.path is not None:
            file = override or self.path
            return read_prices(file, list(self.assets), min_rows=LEAST_ROWS)
        whole = generate(self.seed, self.hours)
        close = whole.close[:, [whole.column(name) for name in self.assets]]
        return PriceTable(self.assets, whole.times, {"close": close}, source="generated")


@dataclass(frozen=True, eq=False)
class Request:
    """What decides a recommendation. `at` is the time of its last price, Unix seconds."""

    source: Source
    at: int
    now: InForce
    route: str
    governor: Governor
    settings: Settings
    book: BookSize | RiskBook

    def to_json(self) -> dict[str, Any]:
        """Floats are written so that they come back exactly (17 digits)."""
        governor = asdict(self.governor)
        anchor = self.governor.anchor
        governor["anchor"] = None if anchor is None else "0x" + anchor.hex()
        governor["governor"] = f"0x{self.governor.governor:040x}"
        governor["timelock"] = f"0x{self.governor.timelock:040x}"
        return {
            "source": asdict(self.source) | {"assets": list(self.source.assets)},
            "at": self.at,
            "now": {
                "blob": "0x" + self.now.params.blob.hex(),
                "price_scale": [float(v) for v in self.now.scale.price],
                "vol_scale": [float(v) for v in self.now.scale.vol],
                "columns": list(self.now.owners),
            },
            "route": self.route,
            "governor": governor,
            "settings": asdict(self.settings),
            "book": (
                book_json.to_json(self.book)
                if isinstance(self.book, RiskBook)
                else asdict(self.book)
            ),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Request:
        """The inverse; KeyError, TypeError or ValueError where the value is malformed."""
        governor, settings, now = value["governor"], value["settings"], value["now"]
        anchor = governor["anchor"]
        return Request(
            source=Source(**{**value["source"], "assets": tuple(value["source"]["assets"])}),
            at=int(value["at"]),
            now=InForce(
                RiskParams.decode(_bytes(now["blob"])),
                Scale(np.array(now["price_scale"]), np.array(now["vol_scale"])),
                tuple(int(i) for i in now["columns"]),
            ),
            route=value["route"],
            governor=Governor(
                **{
                    **governor,
                    "anchor": None if anchor is None else _bytes(anchor),
                    "governor": int(governor["governor"], 16),
                    "timelock": int(governor["timelock"], 16),
                }
            ),
            settings=Settings(
                **{
                    **settings,
                    "plan": Plan(**settings["plan"]),
                    "policy": Policy(**settings["policy"]),
                }
            ),
            book=(
                book_json.from_json(value["book"])
                if "state" in value["book"]
                else BookSize(**value["book"])
            ),
        )


@dataclass(frozen=True)
class Replayed:
    """`differences`: path, recorded, made again. `remarks`: hashes that moved."""

    outcome: dict[str, Any]
    differences: tuple[str, ...]
    remarks: tuple[str, ...]


def make(request: Request, table: PriceTable, tell: Tell = lambda _: None) -> dict[str, Any]:
    """The whole file as a JSON value."""
    return {
        "format": FORMAT,
        "hashes": hashes(table),
        "request": request.to_json(),
        "outcome": _outcome(request, table, tell),
    }


def _outcome(request: Request, table: PriceTable, tell: Tell) -> dict[str, Any]:
    f = factors.build(table)
    with one_thread():
        return recommend(
            f,
            row_at(f, request.at),
            request.now,
            request.route,
            request.governor,
            request.settings,
            request.book,
            tell,
        )


def row_at(f: Factors, time: int) -> int:
    """Row of the factors at that time."""
    row = int(np.searchsorted(f.times, time))
    if row == f.times.size or int(f.times[row]) != time:
        raise QuantError(f"the prices have no row at {time}")
    if row < f.first + 2 * factors.PERIOD:
        raise QuantError(f"too little history before {time}")
    return row


def load(file: Path) -> dict[str, Any]:
    """A recommendation file; `DataError` where it is none."""
    try:
        value = json.loads(file.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(file, f"is not JSON: {error}") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise DataError(file, f"is not a {FORMAT!r} file")
    return value


def again(
    file: Path,
    data: Path | None = None,
    tell: Tell = lambda _: None,
    reread: Reread | None = None,
) -> Replayed:
    """Makes the outcome of a file again. `data`: the price file, where it lies elsewhere now.

    `reread` reads the book of a vault at a block, given what the file says of it; then that is
    compared with the recorded book first, block hash included.
    """
    value = load(file)
    try:
        request, recorded, before = (
            Request.from_json(value["request"]),
            value["outcome"],
            dict(value["hashes"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(file, f"has a malformed request: {error!r}") from error
    if reread is not None:
        differing = _other_book(file, request, reread)
        if differing:
            return Replayed({}, differing, ())
    table = request.source.table(data)
    present = hashes(table)
    if before.get("data_sha256") != present["data_sha256"]:
        line = f"hashes.data_sha256: {before.get('data_sha256')} → {present['data_sha256']}"
        return Replayed({}, (line,), ())
    remarks = tuple(
        f"{name}: {before.get(name)} → {now}"
        for name, now in present.items()
        if before.get(name) != now
    )
    outcome = _outcome(request, table, tell)
    if canonical(outcome) == canonical(recorded):
        return Replayed(outcome, (), remarks)
    return Replayed(outcome, tuple(differences(recorded, outcome, "outcome")), remarks)


def _other_book(file: Path, request: Request, reread: Reread) -> tuple[str, ...]:
    """Where the recorded book is not that of the node."""
    if not isinstance(request.book, RiskBook):
        raise DataError(file, "its book was generated, not read from a chain")
    recorded = book_json.to_json(request.book)
    found = book_json.to_json(reread(request.book))
    if canonical(recorded) == canonical(found):
        return ()
    return tuple(differences(recorded, found, "request.book"))


def in_force(file: Path) -> InForce:
    """What an earlier recommendation put in force, once its ramp is over."""
    value = load(file)
    try:
        outcome = value["outcome"]
        scales = outcome["scales_reached"]
        return InForce(
            RiskParams.decode(_bytes(outcome["blob"])),
            Scale(np.array(scales["price"]), np.array(scales["vol"])),
            tuple(int(i) for i in value["request"]["now"]["columns"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(file, f"has a malformed outcome: {error!r}") from error


def canonical(value: Any) -> bytes:
    """One spelling of a JSON value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def differences(old: Any, new: Any, path: str) -> Iterator[str]:
    """`path: recorded → made again` of every leaf that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from differences(a, b, f"{path}[{i}]")
    elif canonical(old) != canonical(new):
        yield f"{path}: {_short(old)} → {_short(new)}"


def _short(value: Any) -> str:
    text = canonical(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}…"


def hashes(table: PriceTable) -> dict[str, str]:
    """Data (contents, whatever the file format), lock file, code that takes part."""
    return {
        "data_sha256": table.sha256(),
        "lock_sha256": _file_hash(ROOT / LOCK),
        "code_sha256": code_hash(),
    }


def code_hash(root: Path = ROOT) -> str:
    """Every Python file of the packages that take part: path and contents, in order."""
    digest = hashlib.sha256(b"plumbline code 1\n")
    for folder in CODE:
        for file in sorted((root / folder).rglob("*.py")):
            digest.update(f"{file.relative_to(root).as_posix()}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _file_hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "none"


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
