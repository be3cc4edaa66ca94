"""Reads ``/data.json`` of a running keeper."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from risk.keeper.errors import ConfigError, Transient
from risk.keeper.snapshot import Snapshot
from risk.keeper.source.http import masked

MAX_BODY = 1 << 24
Data = Mapping[str, Any]


def reader(url: str, timeout: float) -> Callable[[], Data]:
    """Something that asks the keeper at ``url`` (its page's address) anew with each call and raises
    ``Transient`` where it does not say what a keeper says. ``ConfigError`` for a bad address.
    """
    name = masked(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https") or not url.isascii():
        raise ConfigError(f"{name}: not an http(s) address")
    path = parts.path.removesuffix("/data.json").rstrip("/") + "/data.json"
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection

    def read() -> Data:
        connection = kind(host, port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            body = answer.read(MAX_BODY + 1)
        except (OSError, http.client.HTTPException) as error:
            raise Transient(f"{name}: no answer ({type(error).__name__})") from None
        finally:
            connection.close()
        if answer.status == 503:
            raise Transient(f"{name}: the keeper has no head yet")
        if answer.status != 200:
            raise Transient(f"{name}: HTTP {answer.status}")
        return checked(body, name)

    return read


def checked(body: bytes, name: str) -> Data:
    """The object, if it is a snapshot that this program can read; else ``Transient``."""
    try:
        if len(body) > MAX_BODY:
            raise ValueError(f"more than {MAX_BODY} bytes")
        data = json.loads(body)
        if not isinstance(data, dict):
            raise ValueError("no object")
        Snapshot.from_json(data)
    except (ValueError, RecursionError) as error:
        raise Transient(f"{name}: not the answer of a keeper: {error}") from None
    return data
