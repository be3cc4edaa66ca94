"""A time limit around what might never return: a model with an endless loop, a constructor."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from risk.diff.kit.errors import TargetHung


@contextlib.contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Raises ``TargetHung`` inside the block once ``seconds`` are over.

    Python code only: a native call (revm) is interrupted when it returns, and has its gas limit.
    Without effect outside the main thread and where there are no alarms (Windows).
    """
    usable = hasattr(signal, "setitimer") and (
        threading.current_thread() is threading.main_thread()
    )
    if not usable or seconds <= 0:
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TargetHung(f"{what} did not return within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
