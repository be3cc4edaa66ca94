"""Errors of the mutation tester."""

from __future__ import annotations

from risk.errors import PlumblineError


class MutateError(PlumblineError):
    """The campaign cannot be done as asked."""


class ConfigError(MutateError):
    """The configuration cannot be read or contradicts itself."""


class CompilerDied(MutateError):
    """The compiler process ended or answered nonsense."""


class BaselineError(MutateError):
    """A stage finds a fault in contracts without any: its verdicts would be worthless."""


class Disagreement(MutateError):
    """Model and chain disagree before a stage could compare them (set-up of a sequence)."""
