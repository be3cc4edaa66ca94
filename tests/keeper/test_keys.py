"""The key is found, checked against its address, and appears nowhere."""

from __future__ import annotations

import copy
import getpass
import json
import logging
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from risk.keeper.errors import KeyError_
from risk.keeper.keys import KeySource, Signer, load_signer
from tests.keeper.dispatch_support import ROOT, SECRET, FakeChain, Rig, intent, signer

PASSWORD = "correct horse battery staple"
WRONG = "wrong horse"
FORMS = (SECRET.hex(), SECRET.hex()[:16], repr(SECRET), str(int.from_bytes(SECRET, "big")))
ADDRESS = signer().address


def secret_file(folder: Path, text: str = SECRET.hex(), mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keystore") / "keystore.json"
    path.write_text(json.dumps(Account.encrypt(SECRET, PASSWORD, kdf="pbkdf2", iterations=10)))
    return path


def spills(error: BaseException) -> list[str]:
    """Everything that a traceback with local variables could show, of our own frames."""
    shown = ["".join(traceback.format_exception(error)), repr(error)]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "/risk/" in frame.f_code.co_filename:
            shown += [repr(value) for value in frame.f_locals.values()]
    assert (error.__cause__ is None and error.__suppress_context__) or error.__context__ is None
    return shown


def check_silent(shown: list[str]) -> None:
    for text in shown:
        for form in (*FORMS, PASSWORD, WRONG):
            assert form not in text


def test_a_secret_file(tmp_path: Path) -> None:
    for text in (SECRET.hex(), "0x" + SECRET.hex() + "\n"):
        source = KeySource(secret_file=secret_file(tmp_path, text))
        assert load_signer(source, ADDRESS.lower()).address == ADDRESS


def test_a_keystore_with_each_source_of_its_password(
    keystore: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = secret_file(tmp_path, PASSWORD + "\n")
    monkeypatch.setenv("KEEPER_PASSWORD", PASSWORD)
    asked: list[str] = []

    def prompt(text: str) -> str:
        asked.append(text)
        return PASSWORD

    for source in (
        KeySource(keystore=keystore, password_file=password),
        KeySource(keystore=keystore, password_env="KEEPER_PASSWORD"),
        KeySource(keystore=keystore),
    ):
        loaded = load_signer(source, ADDRESS, prompt=prompt)
        transaction = {
            "type": 2,
            "chainId": 1,
            "nonce": 0,
            "gas": 21_000,
            "value": 0,
            "to": ADDRESS,
        }
        raw = loaded.sign({**transaction, "maxFeePerGas": 2, "maxPriorityFeePerGas": 1})
        assert Account.recover_transaction(raw) == ADDRESS
    assert len(asked) == 1 and "keystore.json" in asked[0]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_file_that_others_may_read_is_refused(keystore: Path, tmp_path: Path, mode: int) -> None:
    file = secret_file(tmp_path, mode=mode)
    for source in (
        KeySource(secret_file=file),
        KeySource(keystore=keystore, password_file=file),
    ):
        with pytest.raises(KeyError_, match="chmod 600") as caught:
            load_signer(source, ADDRESS)
        check_silent(spills(caught.value))


@pytest.mark.parametrize(
    "text",
    ["", SECRET.hex()[:-1], SECRET.hex() + "00", "zz" + SECRET.hex()[2:], "0" * 64, "f" * 64],
)
def test_what_is_no_key_is_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeyError_, match="not a private key") as caught:
        load_signer(KeySource(secret_file=secret_file(tmp_path, text)), ADDRESS)
    check_silent(spills(caught.value))


@pytest.mark.parametrize(
    "content", [SECRET.hex(), json.dumps({"key": SECRET.hex()}), f'"{SECRET.hex()}"']
)
def test_a_key_in_place_of_a_keystore_is_not_shown(tmp_path: Path, content: str) -> None:
    with pytest.raises(KeyError_, match="not a keystore") as caught:
        load_signer(KeySource(keystore=secret_file(tmp_path, content)), ADDRESS, prompt=str)
    check_silent(spills(caught.value))


def test_wrong_password(keystore: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = secret_file(tmp_path, WRONG)
    monkeypatch.setenv("KEEPER_PASSWORD", WRONG)
    for source in (
        KeySource(keystore=keystore, password_file=file),
        KeySource(keystore=keystore, password_env="KEEPER_PASSWORD"),
        KeySource(keystore=keystore),
    ):
        with pytest.raises(KeyError_, match="wrong password") as caught:
            load_signer(source, ADDRESS, prompt=lambda text: WRONG)
        check_silent(spills(caught.value))


def test_the_key_of_another_address(keystore: Path, tmp_path: Path) -> None:
    other = "0x" + "11" * 20
    for source in (KeySource(secret_file=secret_file(tmp_path)), KeySource(keystore=keystore)):
        with pytest.raises(KeyError_, match=f"{ADDRESS}, configured is {other}") as caught:
            load_signer(source, other, prompt=lambda text: PASSWORD)
        check_silent(spills(caught.value))


def test_missing_sources(keystore: Path, tmp_path: Path) -> None:
    missing = tmp_path / "nothing"
    for make in (
        lambda: KeySource(),
        lambda: KeySource(keystore=keystore, secret_file=missing),
        lambda: KeySource(keystore=keystore, password_file=missing, password_env="X"),
        lambda: KeySource(secret_file=missing, password_env="X"),
    ):
        with pytest.raises(KeyError_):
            make()
    for source, text in (
        (KeySource(secret_file=missing), "No such file"),
        (KeySource(secret_file=tmp_path), "not a regular file"),
        (KeySource(keystore=missing), "cannot be read"),
        (KeySource(keystore=keystore, password_env="PLUMBLINE_NOT_SET"), "is not set"),
    ):
        with pytest.raises(KeyError_, match=text):
            load_signer(source, ADDRESS)


def test_nobody_can_be_asked_without_a_terminal(keystore: Path) -> None:
    """In a session of its own a process has none. What comes through a pipe is not read: it would
    have been typed for all to see.
    """
    code = (
        "import sys; from pathlib import Path\n"
        "from risk.keeper.keys import KeySource, load_signer\n"
        "from risk.keeper.errors import KeyError_\n"
        "try: load_signer(KeySource(keystore=Path(sys.argv[1])), sys.argv[2])\n"
        "except KeyError_ as error: print(error); sys.exit(error.exit_code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(keystore), ADDRESS],
        cwd=ROOT,
        input=PASSWORD + "\n",
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == (
        f"Password of {keystore}: nobody can be asked without a terminal; "
        "set [signer] password_file or password_env\n"
    )


def test_nothing_was_typed(keystore: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(text: str) -> str:
        raise EOFError

    monkeypatch.setattr(getpass, "getpass", ended)
    with pytest.raises(KeyError_, match=r"keystore\.json: none was given"):
        load_signer(KeySource(keystore=keystore), ADDRESS)


def test_the_signer_shows_its_address_only() -> None:
    own = signer()
    check_silent([repr(own), str(own), f"{own!r}", repr([own]), repr({"signer": own})])
    assert ADDRESS in repr(own)
    leaks: list[Any] = [pickle.dumps, copy.copy, copy.deepcopy]
    for leak in leaks:
        with pytest.raises(KeyError_, match="stays in its process"):
            leak(own)
    with pytest.raises(TypeError):
        vars(own)


def test_a_whole_run_logs_no_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Everything that the dispatcher logs and writes, at the lowest level."""
    caplog.set_level(logging.DEBUG)
    chain = FakeChain()
    rig = Rig(chain, tmp_path)
    rig.tick()
    rig.dispatcher.submit(intent(1))
    rig.restart()
    for _ in range(6):
        rig.block()
    assert chain.effects() == [intent(1).data] and "mined" in caplog.text
    check_silent([caplog.text, rig.journal.path.read_text(), repr(vars(rig.dispatcher))])
    assert isinstance(vars(rig.dispatcher._sender)["_signer"], Signer)
