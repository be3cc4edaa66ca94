"""ATTACKS H64 and H65 on the program itself: whatever ends a keeper ends it with the documented
exit code, with a message that names the reason and no secret, and the next one goes on from there.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

import pytest

from risk.chain import layout
from risk.chain.keccak import mapping_slot
from risk.keeper.dispatch.journal import Journal
from risk.keeper.store import store_path
from tests.keeper_faults import proxy as faults
from tests.keeper_faults.home import PASSWORD, Home
from tests.keeper_faults.proxy import SEND, Proxy
from tests.keeper_faults.scene import CHAIN_ID, KEEPER, RIVAL, Scene

pytestmark = pytest.mark.chain

Prepare = Callable[[Home], None]


def unknown_field(home: Home) -> None:
    home.configure(chain={"endpiont": "http://x"})


def password_in_url(home: Home) -> None:
    home.configure(chain={"endpoints": [f"http://me:{home.secrets[0]}@127.0.0.1:1/"]})


def wrong_password(home: Home) -> None:
    home.password("Tr0ub4dor&3")
    home.secrets.append("Tr0ub4dor&3")


def readable_password(home: Home) -> None:
    (home.folder / "password").chmod(0o644)


def key_of_another(home: Home) -> None:
    home.configure(signer={"address": RIVAL.address})


def key_in_the_config(home: Home) -> None:
    home.configure(signer={"address": home.secrets[0]})


def other_chain_id(home: Home) -> None:
    home.configure(chain={"id": 1})


def other_code(home: Home) -> None:
    home.configure(vault={"code_hash": "0x" + "5a" * 32})


def no_vault_there(home: Home) -> None:
    home.configure(vault={"address": RIVAL.address})


def other_journal(home: Home) -> None:
    """Of a chain with another genesis: a local net that was started anew."""
    with Journal(home.journal, chain_id=CHAIN_ID, signer=KEEPER.address, genesis="0x" + "11" * 32):
        pass


def corrupt_journal(home: Home) -> None:
    with Journal(
        home.journal, chain_id=CHAIN_ID, signer=KEEPER.address, genesis=home.scene.genesis
    ):
        pass
    text = bytearray(home.journal.read_bytes())
    text[40] ^= 1
    home.journal.write_bytes(bytes(text))


def corrupt_store(home: Home) -> None:
    path = store_path(home.folder / "state", CHAIN_ID, home.scene.vault, live=True)
    path.parent.mkdir()
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 32)


REFUSED: list[tuple[Prepare, int, str]] = [
    (unknown_field, 2, "endpiont"),
    (password_in_url, 2, "endpoints"),
    (key_in_the_config, 2, "address"),
    (wrong_password, 3, "wrong password"),
    (readable_password, 3, "0644"),
    (key_of_another, 3, KEEPER.address),
    (other_chain_id, 4, "31337"),
    (other_code, 4, "5a5a5a"),
    (no_vault_there, 4, ""),
    (other_journal, 4, "genesis"),
    (corrupt_journal, 7, "corrupt"),
    (corrupt_store, 7, "sqlite"),
]


def shown(value: object) -> str:
    """Part of a test's name, the same in every process."""
    return str(getattr(value, "__name__", value))[:40]


@pytest.mark.parametrize(("prepare", "code", "named"), REFUSED, ids=shown)
def test_H64_refused(
    home: Home, scene: Scene, proxy: Proxy, prepare: Prepare, code: int, named: str
) -> None:
    """With somebody to liquidate, so that nothing but the refusal keeps it from sending."""
    scene.crash()
    prepare(home)
    outcome = home.live().end()
    assert outcome.code == code, outcome.said[-3_000:]
    assert named in outcome.said and "Traceback" not in outcome.said
    assert not proxy.sent and not scene.mined_by()
    home.audit_secrets(outcome)


def test_H64_as_a_user_starts_it(home: Home) -> None:
    """A process of its own: the exit code is the program's, not only the function's."""
    wrong_password(home)
    outcome = home.cold(*home.args("--live"))
    assert outcome.code == 3 and "wrong password" in outcome.said
    assert PASSWORD not in outcome.said
    home.audit_secrets(outcome)


def test_H64_two_processes_with_one_key(home: Home, scene: Scene) -> None:
    """The second ends with 5 and has touched nothing; the first goes on."""
    first = home.live()
    home.until(lambda: home.counter("heads") > 0, life=first)
    scene.crash()
    second = home.live().end()
    assert second.code == 5 and str(first.pid) in second.said
    home.until(home.clean, life=first)
    assert first.stop().code == 0
    home.audit()
    third = home.live()  # the lock went with its holder
    assert third.stop().code == 0


def test_H64_no_chain_for_too_long(home: Home, scene: Scene, proxy: Proxy) -> None:
    home.configure(chain={"give_up_seconds": 1.5, "request_timeout_seconds": 0.7})
    scene.crash()
    life = home.live()
    home.until(lambda: bool(proxy.sent), mine=False, life=life)
    proxy.add(faults.silence)
    outcome = life.end()
    assert outcome.code == 75, outcome.said[-3_000:]
    proxy.heal()
    home.configure()
    life = home.live()
    home.until(home.clean, life=life)
    assert life.stop().code == 0
    home.audit()


@pytest.mark.parametrize("when", ["in the pool", "while sending"])
def test_H64_sigterm_in_flight(home: Home, scene: Scene, proxy: Proxy, when: str) -> None:
    """It finishes the step, ends with 0, and the next life resolves what was open."""
    if when == "while sending":
        proxy.add(faults.delay(0.4), SEND)
    scene.crash()
    life = home.live()
    home.until(lambda: bool(proxy.sent), mine=False, life=life)
    outcome = life.stop()
    assert outcome.code == 0, outcome.said[-3_000:]
    assert home.open_nonces()
    proxy.heal()
    life = home.live()
    home.until(home.clean, life=life)
    assert life.stop().code == 0
    home.audit()


def test_H64_torn_record(home: Home, scene: Scene, proxy: Proxy) -> None:
    """The machine lost power in the middle of a write: the tail is cut off, and all goes on."""
    scene.crash()
    life = home.live()
    home.until(lambda: bool(proxy.sent), mine=False, life=life)
    life.kill()
    whole = home.journal.read_bytes()
    home.journal.write_bytes(whole + b'000001f4 0123456789abcdef {"t":"sig')
    life = home.live()
    home.until(home.clean, life=life)
    outcome = life.stop()
    assert outcome.code == 0 and "torn record" in outcome.said
    assert home.journal.read_bytes().startswith(whole)
    home.audit()


def test_H65_book_and_chain_disagree(home: Home, scene: Scene, proxy: Proxy) -> None:
    """A word of an account changes behind the book's back: exit 10 with both values."""
    home.configure(book={"reconcile_every_blocks": 1})
    life = home.live()
    home.until(lambda: home.counter("reconciliations") > 0, life=life)
    victim = scene.sound[0]
    slot = mapping_slot(victim, layout.ACCOUNTS)
    old = scene.rpc.call("eth_getStorageAt", scene.vault, hex(slot), "latest")
    cash = scene.cash(victim)
    word = int(old, 16) + 7
    scene.rpc.call("anvil_setStorageAt", scene.vault, f"0x{slot:064x}", f"0x{word:064x}")
    assert scene.cash(victim) == cash + 7
    scene.mine()
    outcome = life.end()
    assert outcome.code == 10, outcome.said[-3_000:]
    assert re.search(rf"{cash} in the book and {cash + 7} on the chain", outcome.said)
    assert f"{victim:#044x}" in outcome.said and not proxy.sent
    home.audit_secrets()


def test_H64_hang_up_does_not_matter(home: Home, scene: Scene) -> None:
    """SIGINT as SIGTERM."""
    life = home.live()
    home.until(lambda: home.counter("heads") > 0, life=life)
    life.signal(signal.SIGINT)
    assert life.end().code == 0
    home.audit_secrets()
    assert not scene.mined_by()
