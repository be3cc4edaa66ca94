"""The loop's numbers, and the parts that it drives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from risk.keeper.ports import Follower, HeadSource, Planning, Scanning, Sending, Simulating
from risk.keeper.purse import Purse


@dataclass(frozen=True)
class Settings:
    """Times in seconds, distances in blocks. ``native_wad``: price of 10^18 wei in cash (WAD), or
    None with the index of the underlying whose feed says it. ``full_reconcile_accounts``: compared
    in one turn of a full comparison.
    """

    poll_seconds: float = 1.0
    retry_cap_seconds: float = 30.0
    give_up_seconds: float = 900.0
    behind_blocks: int = 0
    reconcile_every_blocks: int = 25
    reconcile_accounts: int = 200
    reconcile_margins: int = 5
    full_reconcile_every_blocks: int = 1_800
    full_reconcile_accounts: int = 1_000
    survey_every_blocks: int = 5
    native_wad: int | None = 0
    native_underlying: int = 0


@dataclass(frozen=True)
class Parts:
    """``sender`` None is a dry run, and then there is no ``purse``. ``tip`` asks the chain for the
    priority fee to expect; may raise ``Transient``.
    """

    source: HeadSource
    book: Follower
    scanner: Scanning
    planner: Planning
    simulator: Simulating
    sender: Sending | None = None
    purse: Purse | None = None
    tip: Callable[[], int] | None = None
