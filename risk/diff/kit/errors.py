"""What can be wrong with a target, so that a fault of the set-up is never taken for a finding.

::

    PlumblineError
    └── DiffError                 the tool cannot go on; never a mismatch
        ├── ArtifactError         no build output where the adapter says, or not of a known form
        ├── AbiMismatch           the ABI lacks a function, or arguments or answers do not fit it
        ├── DeployFailed          a constructor or a set-up call reverted
        ├── TargetOutOfGas        a call used up its gas limit
        ├── TargetHung            an engine did not answer within its time limit
        ├── NotDeterministic      the same steps gave different observations
        └── AdapterError          the adapter or its model raised what is not a refusal
"""

from __future__ import annotations

from risk.errors import PlumblineError


class DiffError(PlumblineError):
    """The differential run cannot go on; this is not a finding."""


class ArtifactError(DiffError):
    """Build output is missing, or is not what Foundry, Hardhat, Brownie or solc write."""


class AbiMismatch(DiffError):
    """The ABI lacks a function, or values do not fit it."""


class DeployFailed(DiffError):
    """A constructor or a set-up call reverted; the message holds the decoded reason."""


class TargetOutOfGas(DiffError):
    """A call used up its gas limit, so what it would have done is unknown."""


class TargetHung(DiffError):
    """An engine did not answer within its time limit."""


class NotDeterministic(DiffError):
    """The same steps gave different observations, so no comparison means anything."""


class AdapterError(DiffError):
    """The adapter or its model raised something that is not ``Refused``."""
