"""Plumbline: the reference model of the vault and the tools around it."""

from __future__ import annotations

__version__ = "0.1.0"
