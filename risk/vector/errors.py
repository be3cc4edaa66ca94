"""Errors of the vectorised engine."""

from __future__ import annotations

from risk.errors import PlumblineError


class VectorError(PlumblineError):
    """Input that the engine cannot take as a whole (single accounts fall back, they never raise
    it).
    """
