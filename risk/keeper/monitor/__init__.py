"""What people and their machines see of a keeper: metrics, a page, margin calls.

``Monitor`` is an ``Observer`` of the loop (``risk/keeper/snapshot.py``)::

    monitor = Monitor(host=…, port=…, webhook=url or None, chain_id=…, vault=…, earlier=last)
    monitor.start()          # ConfigError where the port is taken
    monitor.seen(snapshot, sweep)
    monitor.close()

It only ever reads what it is shown, so it can neither slow the loop down nor make it fail.
"""

from __future__ import annotations

from risk.keeper.monitor.margin_calls import Crossings, Line, MarginCall
from risk.keeper.monitor.monitor import Monitor
from risk.keeper.monitor.webhook import Delivery, Webhook

__all__ = ["Crossings", "Delivery", "Line", "MarginCall", "Monitor", "Webhook"]
