"""The vector file: JSON, every number a decimal string, one case a line.  Reading builds model
state from the inputs alone.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from risk.errors import PlumblineError
from risk.exact.custody import interest_lib
from risk.exact.params.risk_params import CollateralParams, RiskParams, UnderlyingParams
from risk.exact.state import Account, Bucket, Collateral, Linear, Option, State, Underlying
from risk.files import write_text

VERSION = "1.1"
ACCOUNT_ID = 0xA11CE << 8


class VectorError(PlumblineError):
    """The file is no vector file of this version."""


def load(path: Path) -> dict[str, Any]:
    """The document; raises ``VectorError`` naming what is wrong."""
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise VectorError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise VectorError(f"{path} is no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        found = document.get("version") if isinstance(document, dict) else None
        raise VectorError(f"{path}: version is {found!r}, this program reads {VERSION!r}")
    if not isinstance(document.get("cases"), list):
        raise VectorError(f"{path}: field 'cases' is no list")
    return document


def save(path: Path, document: dict[str, Any]) -> None:
    """One case a line; the whole file or nothing."""
    head = {k: v for k, v in document.items() if k != "cases"}
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in document["cases"])
    text = json.dumps(head, indent=1)[:-2] + ',\n "cases": [\n' + lines + "\n]}\n"
    write_text(path, text)


def strings(value: Any) -> Any:
    """Every integer (and boolean, as 0 or 1) inside lists, tuples and dictionaries as a decimal
    string.
    """
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, dict):
        return {k: strings(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [strings(v) for v in value]
    return value


def record(item: Any, *leave_out: str) -> dict[str, Any]:
    """Fields of a dataclass in order."""
    return {f.name: getattr(item, f.name) for f in fields(item) if f.name not in leave_out}


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────


def inputs_of(state: State, account: Account) -> dict[str, Any]:
    """What the margin of ``account`` depends on."""
    params = state.params
    assert params is not None
    positions: list[Linear | Option] = [*account.linear, *account.options]
    used = sorted({p.instrument for p in positions})
    return {
        "risk_params": {
            **record(params, "underlyings", "collaterals"),
            # no margin depends on the group: it is written only where there is one
            "underlyings": [record(u, *([] if u.group else ["group"])) for u in params.underlyings],
            "collaterals": [record(c) for c in params.collaterals],
        },
        "risk_params_blob": params.blob.hex(),
        "underlyings": [
            {
                "price_wad": u.price_wad,
                "epoch": u.epoch,
                "time": u.time,
                "open_interest_wad": u.open_interest_wad,
                "funding_e12": u.funding_e12,
                "stable_price_wad": u.stable_price_wad,
                "stable_apart": u.stable_apart,
            }
            for u in state.underlyings
        ],
        "buckets": [
            {
                "underlying": key >> 16,
                "expiry_day": key & 0xFFFF,
                **record(b, "listed", "report_time"),
            }
            for key, b in sorted(state.buckets.items())
            if any(i >> 28 << 16 | i >> 10 & 0xFFFF == key for i in used if i >> 26 & 3)
        ],
        "instruments": [_instrument(state, i) for i in used],
        "collaterals": [
            {"decimals": c.decimals, "underlying": c.underlying, "rate_wad": c.rate_wad}
            for c in state.collaterals
        ],
        "account": {
            "cash_wad": interest_lib.touched(state, account.cash_wad, account.interest_index),
            "collateral": account.collateral[: len(state.collaterals)],
            "linear": [record(p) for p in account.linear],
            "options": [record(p) for p in account.options],
        },
    }


def _instrument(state: State, item: int) -> dict[str, Any]:
    kind = ("PERP", "FUTURE", "CALL", "PUT")[item >> 26 & 3]
    out: dict[str, Any] = {"id": item, "kind": kind, "underlying": item >> 28}
    if kind != "PERP":
        out["expiry_day"] = item >> 10 & 0xFFFF
    if kind in ("CALL", "PUT"):
        strikes = state.buckets[item >> 28 << 16 | item >> 10 & 0xFFFF].strikes_wad
        out |= {"strike_index": item & 0x3FF, "strike_wad": strikes[item & 0x3FF]}
    return out


def state_of(inputs: dict[str, Any]) -> State:
    """Model state with the account at ``ACCOUNT_ID``; raises ``VectorError`` where blob and fields
    disagree.
    """
    state = State(owner=0, cash_token=0, cash_decimals=6, params=_params(inputs))
    for u in inputs["underlyings"]:
        values = _ints(u)
        apart = bool(values.pop("stable_apart"))
        item = Underlying(feed=0, feed_decimals=8, stable_apart=apart)
        for name, value in values.items():
            setattr(item, name, value)
        state.underlyings.append(item)
    for b in inputs["buckets"]:
        values = _ints({k: v for k, v in b.items() if k != "strikes_wad"})
        key = values.pop("underlying") << 16 | values.pop("expiry_day")
        state.buckets[key] = Bucket(
            listed=True, strikes_wad=[int(s) for s in b["strikes_wad"]], **values
        )
    for j, c in enumerate(inputs["collaterals"]):
        state.collaterals.append(Collateral(token=j + 1, **_ints(c)))
    given = inputs["account"]
    account = Account(cash_wad=int(given["cash_wad"]))
    for j, amount in enumerate(given["collateral"]):
        account.collateral[j] = int(amount)
    account.linear = [Linear(**_ints(p)) for p in given["linear"]]
    account.options = [Option(**_ints(p)) for p in given["options"]]
    state.accounts[ACCOUNT_ID] = account
    return state


def _params(inputs: dict[str, Any]) -> RiskParams:
    given = inputs["risk_params"]
    blob = bytes.fromhex(inputs["risk_params_blob"])
    plain: dict[str, Any] = {k: int(v) for k, v in given.items() if isinstance(v, str)}
    params = RiskParams(
        **plain,
        weights_bps=tuple(int(w) for w in given["weights_bps"]),
        underlyings=tuple(UnderlyingParams(**_values(u)) for u in given["underlyings"]),
        collaterals=tuple(CollateralParams(**_values(c)) for c in given["collaterals"]),
    )
    if params.blob != blob:
        raise VectorError("risk_params and risk_params_blob say different things")
    return params


def _values(record_: dict[str, Any]) -> dict[str, Any]:
    """Fields of a parameter record: lists of lanes, one flag, integers."""
    out: dict[str, Any] = {}
    for key, value in record_.items():
        if isinstance(value, list):
            out[key] = tuple(int(v) for v in value)
        else:
            out[key] = bool(int(value)) if key == "has_rate" else int(value)
    return out


def _ints(values: dict[str, str]) -> dict[str, int]:
    return {k: int(v) for k, v in values.items()}
