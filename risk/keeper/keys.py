"""The signing key: where it comes from, and that it never gets out.

Two sources: an encrypted keystore (JSON, Web3 Secret Storage) with its password from a file, an
environment variable or a prompt; or a file with the key in hex that nobody but its owner may read.
Errors name files and variables, never their content, and no frame of a traceback holds a secret:
functions that see one answer None instead of raising.
"""

from __future__ import annotations

import getpass
import json
import os
import stat
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from risk.keeper.errors import KeyError_

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_LONGEST = 65_536  # bytes of a key, password or keystore file


@dataclass(frozen=True)
class KeySource:
    """Where the key is: `keystore` or `secret_file`; with a keystore at most one of the two
    password sources, neither for a prompt.
    """

    keystore: Path | None = None
    secret_file: Path | None = None
    password_file: Path | None = None
    password_env: str | None = None

    def __post_init__(self) -> None:
        if (self.keystore is None) == (self.secret_file is None):
            raise KeyError_("give a keystore or a secret file, and not both")
        if self.password_file is not None and self.password_env is not None:
            raise KeyError_("give a password file or a password variable, not both")
        if self.keystore is None and (self.password_file or self.password_env):
            raise KeyError_("a password is for a keystore: a secret file has none")


class Signer:
    """A key that signs and shows nothing but its address. It can be neither copied nor pickled."""

    __slots__ = ("_account", "address")

    def __init__(self, account: LocalAccount) -> None:
        self._account = account
        self.address: str = str(account.address)

    def sign(self, transaction: Mapping[str, Any]) -> bytes:
        """Raw bytes of a signed transaction; the fields are those of eth-account."""
        return bytes(self._account.sign_transaction(dict(transaction)).raw_transaction)

    def __repr__(self) -> str:
        return f"Signer({self.address})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise KeyError_(f"the key of {self.address} stays in its process")


def ask(text: str) -> str:
    """What somebody types at the terminal, unseen. Raises `KeyError_` where there is no terminal
    or nothing was typed.
    """
    try:
        with warnings.catch_warnings():
            # getpass would warn, and then read what it cannot hide
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(text)
    except getpass.GetPassWarning:
        raise KeyError_(
            f"{text.rstrip(': ')}: nobody can be asked without a terminal; set [signer] "
            "password_file or password_env"
        ) from None
    except EOFError:
        raise KeyError_(f"{text.rstrip(': ')}: none was given") from None


def load_signer(source: KeySource, expected: str, *, prompt: Callable[[str], str] = ask) -> Signer:
    """The signer of `source`, which must be that of address `expected`.

    Raises `KeyError_`: file missing, readable by others (secret and password files), not a key,
    wrong password or nobody to ask for it, or the key of another address.
    """
    check_source(source)
    if source.secret_file is not None:
        account = _from_secret(source.secret_file)
        if account is None:
            raise KeyError_(f"{source.secret_file}: not a private key (64 hex digits)")
    else:
        assert source.keystore is not None
        account = _from_keystore(source, prompt)
    if str(account.address).lower() != expected.lower():
        where = source.secret_file or source.keystore
        raise KeyError_(f"{where}: the key is that of {account.address}, configured is {expected}")
    return Signer(account)


def check_source(source: KeySource) -> None:
    """Raises `KeyError_` unless the files and the variable of `source` are there, and private where
    they must be. Nobody is asked, and no key is read.
    """
    for private in (source.secret_file, source.password_file):
        if private is not None:
            check_private(private)
    if source.password_env is not None and source.password_env not in os.environ:
        raise KeyError_(f"environment variable {source.password_env} is not set")
    if source.keystore is not None:
        _document(source.keystore)


def check_private(path: Path) -> None:
    """Raises `KeyError_` unless `path` is a file of ours that nobody else may read or write."""
    try:
        found = path.stat()
    except OSError as error:
        raise KeyError_(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise KeyError_(f"{path}: not a regular file")
    if os.name != "posix":
        return
    if found.st_uid not in (os.geteuid(), 0):
        raise KeyError_(f"{path}: belongs to user {found.st_uid}")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise KeyError_(f"{path}: mode {mode:04o} lets others in; chmod 600 {path.name}")


def _from_keystore(source: KeySource, prompt: Callable[[str], str]) -> LocalAccount:
    assert source.keystore is not None
    document = _document(source.keystore)
    account = _decrypt(source, document, prompt)
    if account is None:
        raise KeyError_(f"{source.keystore}: wrong password, or not a keystore")
    return account


def _document(path: Path) -> dict[str, Any]:
    """The keystore's JSON, which is no secret."""
    text = _read(path)
    if text is None:
        raise KeyError_(f"{path}: cannot be read")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    # a key pasted into the wrong field would be a string or a number: it is not shown
    if not isinstance(found, dict) or not ("crypto" in found or "Crypto" in found):
        text = found = None
        raise KeyError_(f"{path}: not a keystore")
    return found


def _decrypt(
    source: KeySource, document: dict[str, Any], prompt: Callable[[str], str]
) -> LocalAccount | None:
    """None for a wrong password and everything else; only that nobody can be asked gets out."""
    try:
        if source.password_file is not None:
            password = (_read(source.password_file) or "").rstrip("\r\n")
        elif source.password_env is not None:
            password = os.environ[source.password_env]
        else:
            password = prompt(f"Password of {source.keystore}: ")
        from eth_account import Account  # slow to import

        return _account(bytes(Account.decrypt(document, password)))
    except KeyError_:  # of the prompt: there is no password yet
        raise
    except Exception:
        return None


def _from_secret(path: Path) -> LocalAccount | None:
    """None unless the file holds 64 hex digits of a valid key."""
    try:
        return _account(bytes.fromhex((_read(path) or "").strip().removeprefix("0x")))
    except Exception:
        return None


def _account(secret: bytes) -> LocalAccount | None:
    if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < _SECP256K1_ORDER:
        return None
    from eth_account import Account  # slow to import

    account: LocalAccount = Account.from_key(secret)
    return account


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST).decode()
    except (OSError, UnicodeDecodeError):
        return None
