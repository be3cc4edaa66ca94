"""What goes wrong in a deployment, in words a person can act on and without secrets."""

from __future__ import annotations

from risk.errors import ChainError, PlumblineError


class DeployError(PlumblineError):
    """Base class of everything ``risk.deploy`` refuses."""


class ConfigError(DeployError):
    """The configuration is refused; one line per problem, each naming the field and its limit."""

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source = source
        self.problems = problems
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {p}" for p in problems)]))


class KeyFileError(DeployError):
    """The deployer's key is missing, malformed or belongs to somebody else."""


class PreflightError(DeployError):
    """The chain is not what the configuration says.  Nothing has been sent."""


class TransactionError(DeployError, ChainError):
    """A transaction of the deployment was refused or reverted.  No record is written; the journal
    stays, and the same command goes on from there.
    """

    def __init__(self, step: str, reason: str) -> None:
        self.step = step
        super().__init__(f"{step}: {reason}")


class VerificationError(DeployError):
    """All was sent, but the chain does not hold what was asked for.  No record is written."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(
            "\n".join(["the deployment does not read back", *(f"  {p}" for p in problems)])
        )


class RecordError(DeployError):
    """The deployment record cannot be written or read."""


class JournalError(DeployError):
    """The journal of an unfinished deployment cannot be used, or belongs to another one."""
