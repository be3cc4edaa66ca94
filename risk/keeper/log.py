"""Structured logs: one JSON object a line, to stderr and to a file that rotates.

Every line has ``time`` (UTC), ``level``, ``logger``, ``message``, and whatever the caller gave as
``extra``. Secrets are cut out of the finished line, so it does not matter which library wrote them.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from risk.keeper.errors import ConfigError

ROOT = "plumbline.keeper"
MASK = "***"
FILE_BYTES, FILES = 50_000_000, 5
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message",
    "asctime",
    "taskName",
}


class Redactor:
    """Replaces known secrets in a text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # the longest first: one secret may hold another
        self._secrets = sorted({s for s in secrets if s}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return text


class JsonLines(logging.Formatter):
    """See the module."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in vars(record).items():
            if key not in _STANDARD and key not in line:
                line[key] = value
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return self._redact(json.dumps(line, default=_plain, ensure_ascii=False))


def set_up(
    level: str, file: Path | None, secrets: Iterable[str], *, stream: TextIO | None = None
) -> Redactor:
    """Logs of the keeper go to ``stream`` (stderr) and ``file``; returns what cuts secrets out.

    ``ConfigError`` where the file cannot be written. Calling it again replaces the handlers.
    """
    redact = Redactor(secrets)
    root = logging.getLogger(ROOT)
    tear_down()
    handlers: list[logging.Handler] = [logging.StreamHandler(stream or sys.stderr)]
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(
                logging.handlers.RotatingFileHandler(
                    file, maxBytes=FILE_BYTES, backupCount=FILES, encoding="utf-8"
                )
            )
        except OSError as error:
            raise ConfigError(f"[state] log_file: {file}: {error.strerror}") from None
    for handler in handlers:
        handler.setFormatter(JsonLines(redact))
        root.addHandler(handler)
    root.setLevel(level.upper())
    root.propagate = False
    return redact


def tear_down() -> None:
    """Closes what ``set_up`` opened."""
    root = logging.getLogger(ROOT)
    for handler in list(root.handlers):
        root.removeHandler(handler)
        if not isinstance(handler, logging.StreamHandler) or isinstance(
            handler, logging.FileHandler
        ):
            handler.close()
    root.propagate = True


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value)
