"""The first liquidation of docs/keeper.md: its commands are taken out of the page and typed in
order, in as many terminals as it has, and what they print is compared with what it says.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from eth_account import Account

from risk.chain.compile import compile_contracts
from risk.chain.events import EventDecoder
from risk.chain.node import project_root
from risk.chain.rpc import Rpc
from risk.chain.vault_abi import vault_abi
from risk.deploy.record import read_record

ROOT = project_root()
HEADING, END = "## First liquidation, on a local chain\n", "\nWhat to try next"
SECTION = (ROOT / "docs" / "keeper.md").read_text(encoding="utf-8").split(HEADING)[1].split(END)[0]
TERMINAL = re.compile(r"\*\*terminal (\d)\*\*", re.IGNORECASE)
LONG = 0x90F79BF6EB2C4F870365E785982E1F101E93B906 << 8  # account 3 of Anvil's mnemonic
LOOKING = ("plumbline keeper status", "plumbline watch")  # may be typed again
PATIENCE = 120.0  # seconds for one command on a busy machine


# ── the page ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Step:
    """A command, of one line or with a here-document, or (``shown``) lines that it prints."""

    terminal: int  # 0: every one
    text: str
    shown: bool = False

    @property
    def code(self) -> int:
        """The exit code that the page promises."""
        match = re.search(r"# exit code (\d+)", self.text)
        return int(match[1]) if match else 0

    @property
    def stays(self) -> bool:
        """Only Ctrl-C ends it."""
        return self.text.endswith((" --serve", " --live"))


def steps(section: str) -> Iterator[Step]:
    """In the order of the page; a step belongs to the terminal that the text named last."""
    terminal, shown, until = 0, False, ""
    lines: list[str] = []
    for line in section.splitlines():
        if line.startswith("```"):
            if shown:
                yield Step(terminal, "\n".join(lines), shown=True)
            lines, shown = [], not shown
        elif shown:
            lines.append(line)
        elif line.startswith("    "):
            lines.append(line[4:])
            here = re.search(r"<<'(\w+)'", line)
            until = here[1] if here else "" if line.strip() == until else until
            if not until:
                yield Step(terminal, "\n".join(lines))
                lines = []
        elif named := TERMINAL.findall(line):
            terminal = int(named[-1])


def found(wanted: str, lines: list[str]) -> int | str:
    """How many of ``lines`` hold those of ``wanted``, in order, others between them; or the first
    one of ``wanted`` that is not there. ``…`` stands for anything.
    """
    at = 0
    for want in wanted.splitlines():
        pattern = re.compile(".*".join(map(re.escape, want.split("…"))))
        while at < len(lines) and not pattern.fullmatch(lines[at].rstrip()):
            at += 1
        if at == len(lines):
            return want
        at += 1
    return at


def test_the_page_is_read() -> None:
    read = list(steps(SECTION))
    commands = [s for s in read if not s.shown]
    assert {s.terminal for s in read} == {0, 1, 2, 3}
    assert [s.terminal for s in commands if s.stays] == [1, 2]
    assert [s.code for s in commands if s.code] == [75]
    assert any("Account.encrypt" in s.text and s.text.endswith("\nEND") for s in commands)
    assert sum(s.shown for s in read) >= 6


def test_what_is_not_printed_is_noticed() -> None:
    assert found("a …\nb", ["x", "a 1", "c", "b", "d"]) == 4
    assert found("a …\nb", ["b", "a 1", "c"]) == "b"
    assert found("b", ["b 1"]) == "b"
    assert found("a … c", ["a b d"]) == "a … c"


# ── its terminals ────────────────────────────────────────────────────────────────────────────────


class Terminal:
    """A shell that keeps its folder, variables and umask, and what is on its screen."""

    def __init__(self, folder: Path, home: Path, name: str) -> None:
        self._screen, self._codes = home / f"screen-{name}", home / f"codes-{name}"
        self._codes.touch()
        self._typed = self._seen = 0
        self.busy = False
        with self._screen.open("ab") as out:
            self._shell = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                cwd=folder,
                # into a file Python would hold its lines back; a terminal has them at once
                env={**os.environ, "XDG_STATE_HOME": str(home), "PYTHONUNBUFFERED": "1"},
                # what runs in the background of a script inherits that Ctrl-C is ignored
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def type(self, command: str, *, stays: bool = False) -> None:
        assert self._shell.stdin is not None and not self.busy
        self.busy = stays
        self._shell.stdin.write(f"{command}\necho $? >> {self._codes}\n")
        self._shell.stdin.flush()
        self._typed += 1

    def code(self) -> int:
        """The exit code of the command typed last, once it has ended."""
        end = time.monotonic() + PATIENCE
        while self._running():
            assert time.monotonic() < end and self._shell.poll() is None, self.text()
            time.sleep(0.05)
        return int(self._codes.read_text().splitlines()[-1])

    def _running(self) -> bool:
        return len(self._codes.read_text().splitlines()) < self._typed

    def lacks(self, wanted: str) -> str | None:
        """The first line that is not below those found before; a program that goes on may still
        print it.
        """
        end = time.monotonic() + PATIENCE
        while isinstance(at := found(wanted, self.text().splitlines()[self._seen :]), str):
            if not self.busy or not self._running() or time.monotonic() > end:
                return at
            time.sleep(0.05)
        self._seen += at
        return None

    def text(self) -> str:
        return self._screen.read_text(encoding="utf-8")

    def interrupt(self) -> int:
        """Ctrl-C, and the exit code of what ended."""
        os.killpg(self._shell.pid, signal.SIGINT)
        self.busy = False
        return self.code()

    def close(self) -> None:
        """Nothing that was started here goes on."""
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.communicate()


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@pytest.mark.chain
@pytest.mark.slow
def test_the_commands_of_the_page_liquidate(tmp_path: Path) -> None:
    compile_contracts(ROOT)  # as after the first deployment: the time of the compiler is not meant
    rpc_port, page_port = free_ports(2)
    sandbox = tmp_path / "sandbox"

    def adapted(command: str) -> str:
        """This checkout, and ports that are free here, as the page says it is done."""
        command = command.replace("REPO=$HOME/plumbline", f"REPO={ROOT}")
        command = command.replace("$REPO/.venv/bin:", f"{Path(sys.executable).parent}:")
        command = command.replace("--port 8545", f"--port {rpc_port}")
        if command.startswith("plumbline watch"):
            command += f" --url http://127.0.0.1:{page_port}"
        if command.endswith("> keeper.toml"):
            command += f"; sed -i 's/:8545/:{rpc_port}/; s/= 9464/= {page_port}/' keeper.toml"
        return command

    read = list(steps(SECTION))
    with ExitStack() as opened:
        terminals: dict[int, Terminal] = {}

        def terminal(number: int) -> Terminal:
            """Terminal 1 makes the folder of the others."""
            if number not in terminals:
                made = Terminal(sandbox if terminals else tmp_path, tmp_path, str(number))
                opened.callback(made.close)
                terminals[number] = made
                for step in read:
                    if step.terminal == 0:
                        made.type(adapted(step.text))
                assert made.code() == 0
            return terminals[number]

        def type_in(step: Step) -> None:
            at = terminal(step.terminal)
            at.type(adapted(step.text), stays=step.stays)
            assert step.stays or at.code() == step.code, (step, at.text())

        typed: list[Step] = []  # since the page showed something
        for step in (s for s in read if s.terminal):
            if not step.shown:
                type_in(step)
                typed.append(step)
                continue
            screen = terminal(step.terminal)
            lacking = screen.lacks(wanted := step.text.replace(":8545", f":{rpc_port}"))
            if lacking and typed and all(t.text.startswith(LOOKING) for t in typed):
                for again in typed:  # the turn of the keeper that we have read about had not ended
                    type_in(again)
                lacking = screen.lacks(wanted)
            assert lacking is None, (lacking, screen.text())
            typed = []
        url = f"http://127.0.0.1:{rpc_port}"
        assert taken_over(url, sandbox) == [(LONG, int(address(sandbox), 16) << 8)]
        assert [terminals[n].interrupt() for n in (2, 1)] == [0, 0]
        said = "".join(t.text() for t in terminals.values())
        no_secret(said, sandbox)


def address(sandbox: Path) -> str:
    return (sandbox / "address").read_text().strip()


def taken_over(url: str, sandbox: Path) -> list[tuple[int, int]]:
    """Account and liquidator of every liquidation of the chain, from its own logs."""
    record = read_record(sandbox / "deployments" / "local-31337.json")
    decoder = EventDecoder(vault_abi(compile_contracts(ROOT)))
    place = {"address": record.vault, "fromBlock": "0x0", "toBlock": "latest"}
    with Rpc.connect(url) as rpc:
        events = [decoder.decode(log) for log in rpc.call("eth_getLogs", place)]
    taken = [e.arguments for e in events if e.name == "Liquidated"]
    return [(one["account"], one["liquidator"]) for one in taken]


def no_secret(said: str, sandbox: Path) -> None:
    """Neither key nor password was printed or left in a file that is not theirs."""
    password = (sandbox / "password").read_text().strip()
    key = bytes(Account.decrypt(json.loads((sandbox / "keeper.json").read_text()), password)).hex()
    assert len(password) == 32 and len(key) == 64
    kept = [p for p in sandbox.rglob("*") if p.is_file() and p.name != "password"]
    assert any(p.suffix == ".log" for p in kept) and any(p.suffix == ".sqlite" for p in kept)
    texts = [said.encode(), *(p.read_bytes() for p in kept)]
    for secret in (password.encode(), key.encode(), bytes.fromhex(key)):
        assert not [text for text in texts if secret in text]
