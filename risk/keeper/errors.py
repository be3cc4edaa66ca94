"""What stops a keeper, each with its exit code.

::

    PlumblineError
    └── KeeperError                  exit 1
        ├── ConfigError              2    the configuration file or an option is wrong
        ├── KeyError_                3    no key, wrong password, key of another address
        ├── WrongChain               4    chain id, vault code or libraries are not the expected
        ├── LockHeld                 5    another process uses this (chain, signer)
        ├── BalanceTooLow            6    not enough for one liquidation at the present fee
        ├── StateError               7    journal or database is corrupt or of another version
        ├── Divergence               10   book, model and chain disagree on an account
        └── Transient                75   the chain could not be reached in time; try again later

No message ever holds a secret: keys, passwords and endpoints with credentials are masked where they
enter (``config.py``, ``keys.py``).
"""

from __future__ import annotations

from risk.errors import PlumblineError


class KeeperError(PlumblineError):
    """Stops the keeper."""

    exit_code = 1


class ConfigError(KeeperError):
    """The configuration file or an option is wrong; the message names file, section and field."""

    exit_code = 2


class KeyError_(KeeperError):
    """No key, a wrong password, or a key that belongs to another address."""

    exit_code = 3


class WrongChain(KeeperError):
    """The node serves another chain, or the vault's code is not the expected one."""

    exit_code = 4


class LockHeld(KeeperError):
    """Another process holds the lock of this (chain, signer)."""

    exit_code = 5


class BalanceTooLow(KeeperError):
    """The signer cannot pay one liquidation at the present fee, of which ``needed_wei`` is what
    would do.
    """

    exit_code = 6

    def __init__(self, message: str, needed_wei: int = 0) -> None:
        self.needed_wei = needed_wei
        super().__init__(message)


class StateError(KeeperError):
    """The journal or the database is corrupt, or was written by another version."""

    exit_code = 7


class Divergence(KeeperError):
    """Book, model and chain disagree; the message holds both values."""

    exit_code = 10


class Transient(KeeperError):
    """The chain could not be reached within the limit; a later start may work."""

    exit_code = 75
