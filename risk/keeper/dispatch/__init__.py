"""Signed transactions that survive: journal, dispatcher, and what they say.

::

    path = journal_path(folder, chain_id, signer.address)
    journal = Journal(path, chain_id=chain_id, signer=signer.address, genesis=genesis)
    dispatcher = Dispatcher(rpc, signer, journal, DispatchPolicy(chain_id, FeePolicy(…)), relay)
    events = dispatcher.tick(head)          # every head; the first one resolves an earlier run
    verdict = dispatcher.submit(intent, head)
"""

from __future__ import annotations

from risk.keeper.dispatch.answers import Answer
from risk.keeper.dispatch.dispatcher import Dispatcher
from risk.keeper.dispatch.fees import FeePolicy, Fees
from risk.keeper.dispatch.journal import Journal, journal_path
from risk.keeper.dispatch.policy import Declined, DispatchPolicy, Event, Verdict, What
from risk.keeper.dispatch.view import Wire, read_head

__all__ = [
    "Answer",
    "Declined",
    "DispatchPolicy",
    "Dispatcher",
    "Event",
    "FeePolicy",
    "Fees",
    "Journal",
    "Verdict",
    "What",
    "Wire",
    "journal_path",
    "read_head",
]
