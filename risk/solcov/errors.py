"""Errors of the coverage tools."""

from __future__ import annotations

from risk.errors import PlumblineError


class SolcovError(PlumblineError):
    """Coverage cannot be collected or judged: missing or foreign data, a bad table."""
