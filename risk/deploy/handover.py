"""The second half of a two-step hand-over of the vault.

The new owner calls ``requestOwnershipHandover()`` on the vault (from the very account that will
own it, so a mistyped address can never get it); within 48 hours the old owner completes it here.
"""

from __future__ import annotations

from risk.chain.abi import Errors, functions
from risk.deploy.artifacts import vault_abi
from risk.deploy.deployer import Progress
from risk.deploy.errors import DeployError, PreflightError, TransactionError
from risk.deploy.preflight import timestamp
from risk.deploy.readback import read_owner
from risk.deploy.record import DeploymentRecord, StepRecord
from risk.deploy.sender import Sender, wait_for
from risk.errors import RevertError

STEP = "complete the hand-over"


def complete_handover(
    record: DeploymentRecord, sender: Sender, progress: Progress = lambda _: None
) -> DeploymentRecord:
    """The record with its new owner, which the caller writes.

    ``PreflightError`` where nobody waits, the key is not the owner's, or the new owner has not
    asked (any more).  Harmless when repeated: a hand-over that has happened is only recorded.
    """
    pending = record.pending_owner
    if pending is None:
        raise DeployError(f"no hand-over is pending; the record says {record.owner} owns the vault")
    sender.rpc.require_chain_id(record.chain_id)
    calls = functions(vault_abi(sender.artifact))

    def read(name: str, *arguments: int) -> int:
        data = sender.rpc.eth_call(record.vault, calls[name].encode(*arguments))
        return int(calls[name].decode(data)[0])

    steps = list(record.steps)
    if read("owner") != int(pending, 16):
        if read("owner") != int(sender.address, 16):
            raise PreflightError(f"the vault does not belong to {sender.address}")
        expires = read("ownershipHandoverExpiresAt", int(pending, 16))
        if expires <= timestamp(sender):
            raise PreflightError(
                f"{pending} has not called requestOwnershipHandover() within the last 48 hours"
            )
        progress(STEP)
        try:
            data = calls["completeOwnershipHandover"].encode(int(pending, 16))
            sent = sender.send(record.vault, data)
        except RevertError as error:
            reason = Errors([vault_abi(sender.artifact)]).show(error.data)
            raise TransactionError(STEP, f"reverted: {reason}") from error
        receipt = wait_for(sender.rpc, "eth_getTransactionReceipt", sent)
        if int(receipt["status"], 16) != 1:
            raise TransactionError(STEP, f"transaction {sent} failed on chain")
        steps.append(
            StepRecord(
                step=STEP,
                transaction=receipt["transactionHash"],
                block=int(receipt["blockNumber"], 16),
                gas_used=int(receipt["gasUsed"], 16),
            )
        )
    read_owner(record.vault, pending, sender)
    return record.model_copy(update={"owner": pending, "pending_owner": None, "steps": steps})
