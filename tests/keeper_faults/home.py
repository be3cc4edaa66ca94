"""A keeper's files on a disk of its own, its processes, and the audit of what they left behind.

The keeper is the program itself, `plumbline keeper run --live`. Processes are forked from one that
has imported everything (`life`), because a second of imports before each of hundreds of deaths
would be most of the time; `cold` starts the program as a user does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from eth_account import Account as Keys

from risk.chain.keccak import keccak
from risk.chain.node import project_root
from risk.chain.rpc import from_hex, to_hex
from risk.keeper.dispatch import journal_path
from risk.keeper.dispatch.journal import decode
from risk.keeper.dispatch.slots import CANCEL, SIGNING
from risk.keeper.errors import StateError
from risk.keeper.snapshot import Counts, Snapshot
from risk.keeper.store import read_report, store_path
from tests.keeper_faults.scene import CHAIN_ID, KEEPER, LONGS, RIVAL, SECRET, Scene
from tests.support.vault_twin import ALICE, account

PASSWORD = "correct horse battery staple"
PATIENCE = 120.0  # seconds until something is said to hang


@dataclass
class Outcome:
    """A process that ended: exit code (negative: the signal), everything that it printed."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


@dataclass
class Life:
    """A keeper that runs."""

    pid: int
    out: Path
    err: Path
    wait: Callable[[], int]
    code: int | None = None

    @property
    def said(self) -> str:
        """What it has printed until now."""
        return self.out.read_text(errors="replace") + self.err.read_text(errors="replace")

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self) -> Outcome:
        """Waits for its end."""
        if self.code is None:
            self.code = self.wait()
        return Outcome(self.code, self.out.read_text(), self.err.read_text(errors="replace"))

    def stop(self) -> Outcome:
        """SIGTERM once it runs (before, it would end as any program does), and its end."""
        end = time.monotonic() + PATIENCE
        while "keeper runs" not in self.said and alive(self.pid):
            assert time.monotonic() < end, "it does not start"
            time.sleep(0.01)
        if self.code is None:
            self.signal(signal.SIGTERM)
        return self.end()

    def kill(self) -> Outcome:
        """SIGKILL, and its end."""
        self.signal(signal.SIGKILL)
        return self.end()


class Zygote:
    """The process that forks keepers, see `life`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.keeper_faults.life"],
            cwd=project_root(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._hear() == "ready"

    def _hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def _tell(self, what: Mapping[str, Any]) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return self._hear()

    def live(
        self,
        args: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        death: tuple[str, int] | None = None,
    ) -> Life:
        """A keeper with these arguments; `death`: see `life`."""
        folder.mkdir(exist_ok=True)
        number = len(list(folder.glob("*.out")))
        out, err = folder / f"{number}.out", folder / f"{number}.err"
        out.touch()
        err.touch()
        order = {"args": list(args), "env": dict(env), "out": str(out), "err": str(err)}
        pid = int(self._tell({**order, "death": death}))
        return Life(pid, out, err, lambda: self._wait(pid))

    def _wait(self, pid: int) -> int:
        answer = self._tell({"wait": pid, "seconds": PATIENCE})
        assert answer != "hangs", f"process {pid} did not end within {PATIENCE:g} s"
        return int(answer)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@dataclass
class Home:
    """Configuration, key and state of one keeper. `change` goes into the file's sections."""

    scene: Scene
    folder: Path
    urls: Sequence[str]
    zygote: Zygote
    secrets: list[str] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    money: int = 0  # cash of everybody who may be party to a liquidation, at the beginning

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        key = SECRET.hex()
        self.secrets += [key, PASSWORD, str(int(key, 16))]
        wallet = Keys.encrypt(SECRET, PASSWORD, kdf="pbkdf2", iterations=1)
        (self.folder / "wallet.json").write_text(json.dumps(wallet))
        self.password(PASSWORD)
        self.configure()
        self.money = self.party_cash()

    def __enter__(self) -> Home:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for life in self.lives:
            if life.code is None:
                life.kill()
        if kind is not None:
            for life in self.lives[-2:]:
                print(f"--- keeper {life.pid}: {life.code}", life.said[-6_000:], sep="\n")

    def password(self, text: str) -> None:
        path = self.folder / "password"
        path.write_text(text + "\n")
        path.chmod(0o600)

    # ---------------------------------------------------------- configuration

    def configure(self, **change: Mapping[str, Any]) -> None:
        """Writes `keeper.toml`; each argument is a section, its fields replace the tests' own."""
        code = self.scene.rpc.code(self.scene.vault)
        sections: dict[str, dict[str, Any]] = {
            "chain": {
                "id": CHAIN_ID,
                "endpoints": list(self.urls),
                "request_timeout_seconds": 2.0,
                "max_lag_blocks": 1_000,
                "max_head_age_seconds": 0,
                "poll_seconds": 0.02,
                "retry_cap_seconds": 0.1,
                "give_up_seconds": 60.0,
            },
            "vault": {
                "address": self.scene.vault,
                "deployed_block": 0,
                "code_hash": to_hex(keccak(code)),
                "loader": "logs",
            },
            "signer": {
                "address": KEEPER.address,
                "keystore": "wallet.json",
                "password_file": "password",
            },
            "profit": {"native_price_cash": "3000", "slippage_bps": 100},
            "fees": {
                "max_fee_cap_gwei": "500",
                "budget_native": "0.5",
                "tip_gwei": "1",
                "max_tip_gwei": "100",
            },
            "dispatch": {"confirmations": 2, "pipeline": 2},
            "book": {"behind_blocks": 0, "ring_blocks": 16, "survey_every_blocks": 1},
            "state": {"folder": "state", "log_file": "keeper.log", "log_level": "debug"},
            "monitor": {"enabled": False},
        }
        for name, fields in change.items():
            sections.setdefault(name, {}).update(fields)
        lines = ["version = 1", ""]
        for name, fields in sections.items():
            lines.append(f"[{name}]")
            lines += [f"{k} = {json.dumps(v)}" for k, v in fields.items() if v is not None]
            lines.append("")
        (self.folder / "keeper.toml").write_text("\n".join(lines))

    @property
    def env(self) -> dict[str, str]:
        return {"XDG_STATE_HOME": str(self.folder.parent / "xdg")}

    def args(self, *more: str) -> list[str]:
        return ["keeper", "run", "--config", str(self.folder / "keeper.toml"), *more]

    @property
    def journal(self) -> Path:
        return journal_path(self.folder / "state", CHAIN_ID, KEEPER.address)

    # -------------------------------------------------------------- processes

    def live(self, *more: str, death: tuple[str, int] | None = None) -> Life:
        """The keeper runs."""
        args = self.args(*(more or ("--live",)))
        life = self.zygote.live(args, self.env, self.folder / "lives", death)
        self.lives.append(life)
        return life

    def cold(self, *args: str) -> Outcome:
        """The program as a user starts it, to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "risk.cli.main", *args],
            cwd=project_root(),
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def until(
        self, done: Callable[[], bool], *, mine: bool = True, life: Life | None = None
    ) -> None:
        """Blocks come until it is done; a keeper that dies meanwhile is an error."""
        end = time.monotonic() + PATIENCE
        pause = 0.02
        while not done():
            assert time.monotonic() < end, "it never happened"
            if life is not None and not alive(life.pid):
                raise AssertionError(f"the keeper ended with {life.end().code}")
            if mine:
                self.scene.mine()
            time.sleep(pause)
            pause = min(0.15, pause * 1.3)

    def clean(self) -> bool:
        """Nobody is liquidatable, and every nonce of ours is closed."""
        return not self.scene.liquidatable() and not self.open_nonces()

    # ---------------------------------------------------------------- telling

    @property
    def liquidator(self) -> int:
        """The keeper's account in the vault."""
        return account(KEEPER)

    def snapshot(self) -> Snapshot | None:
        """What the keeper last wrote for people; None before the first time."""
        vault = self.scene.vault
        path = store_path(self.folder / "state", CHAIN_ID, vault, live=True)
        try:
            return read_report(path, chain_id=CHAIN_ID, vault=vault, rows=1).snapshot
        except StateError:
            if alive(self.lives[-1].pid):
                return None  # it is being made
            raise

    def counter(self, name: str) -> int:
        """A counter of the present life."""
        found = self.snapshot()
        return 0 if found is None else found.counters.get(f"{name}_total", 0)

    def accounts(self) -> Counts:
        """Accounts by state, as last written."""
        found = self.snapshot()
        assert found is not None
        return found.accounts

    def height(self) -> int:
        """The last block that was worked on."""
        found = self.snapshot()
        return -1 if found is None or found.head is None else found.head.number

    # ------------------------------------------------------------------ audit

    def records(self) -> list[Mapping[str, Any]]:
        """The journal; raises where a line does not follow from the one before."""
        return self.whole_records()[1:]

    def whole_records(self) -> list[Mapping[str, Any]]:
        """The same with the header."""
        return (
            [] if not self.journal.exists() else decode(self.journal.read_bytes(), self.journal)[0]
        )

    def pooled(self) -> dict[int, dict[str, Any]]:
        """Our transactions in the node's pool, by nonce."""
        content = self.scene.rpc.call("txpool_content")
        found: dict[int, dict[str, Any]] = {}
        for part in ("pending", "queued"):
            for who, mine in content[part].items():
                if who.lower() == KEEPER.address.lower():
                    found |= {int(nonce): tx for nonce, tx in mine.items()}
        return found

    def open_nonces(self) -> set[int]:
        """Nonces that the journal has signed and not closed."""
        live: set[int] = set()
        for record in self.records():
            if record["t"] in SIGNING or record["t"] == "reopened":
                live.add(record["nonce"])
            elif record["t"] in ("closed", "abandoned"):
                live.discard(record["nonce"])
        return live

    def party_cash(self) -> int:
        """WAD; liquidations move cash between these and nowhere else."""
        weak = [account(ALICE, i) for i in range(LONGS)]
        return sum(self.scene.cash(n) for n in (*weak, account(KEEPER), account(RIVAL)))

    def audit(
        self,
        *,
        strangers: Sequence[int] = (),
        rivals: Sequence[int] = (),
        reverted: range = range(1),
    ) -> None:
        """What must be true at the end of every scenario, whatever happened in between.

        `strangers` are nonces that another program used with our key, `rivals` the accounts that
        the competitor has taken, `reverted` how many of our transactions may have been mined
        without effect: a second one for the same account would be one.
        """
        scene = self.scene
        assert scene.liquidatable() == []
        expected = Counter(n for n in scene.weak if n not in rivals)
        assert scene.taken() == expected, "liquidated not at all, or twice"
        assert scene.taken(RIVAL) == Counter(rivals)
        self._audit_nonces(strangers)
        hashes = [tx["hash"] for tx in scene.mined_by().values()]
        receipts = scene.rpc.batch([("eth_getTransactionReceipt", [h]) for h in hashes])
        assert sum(r["status"] == "0x0" for r in receipts) in reverted
        assert self.party_cash() == self.money
        scene.book(scene.source()).reconcile()
        self.audit_secrets()

    def _audit_nonces(self, strangers: Sequence[int]) -> None:
        """Each nonce was mined once, with bytes that the journal had; no money beyond a bound."""
        records = self.records()
        signed = [r for r in records if r["t"] in SIGNING]
        first = {r["nonce"]: r for r in records if r["t"] == "signed"}
        by_hash = {r["hash"]: r for r in signed}
        assert all(to_hex(keccak(from_hex(r["raw"]))) == r["hash"] for r in signed)
        mined = self.scene.mined_by()
        start = self.scene.nonce
        assert sorted(mined) == list(range(start, start + len(mined)))
        payments = {e["tx"]: e["paymentWad"] for e in self.scene.liquidations()}
        liquidate = self.scene.market.functions["liquidate"]
        for nonce, tx in mined.items():
            if nonce in strangers:
                assert tx["hash"] not in by_hash
                continue
            assert tx["hash"] in by_hash, f"nonce {nonce} was mined with bytes that no journal has"
            record = by_hash[tx["hash"]]
            assert record["nonce"] == nonce
            data = from_hex(first[nonce]["data"])
            wanted = b"" if record["purpose"] in (CANCEL, "fill") else data
            assert from_hex(tx["input"]) == wanted
            if tx["hash"] in payments and data[:4] == liquidate.encode(0, 0, 0, 0)[:4]:
                bound = int.from_bytes(data[4 + 96 : 4 + 128], "big", signed=True)
                assert payments[tx["hash"]] <= bound
        assert not self.open_nonces()

    def audit_secrets(self, *outcomes: Outcome) -> None:
        """No key, password or credential in anything that was printed or kept."""
        needles = [s.lower().encode() for s in self.secrets]
        kept = [p for p in self.folder.rglob("*") if p.is_file()]
        mine = {"keeper.toml", "password", "wallet.json"}
        texts = {str(p): p.read_bytes() for p in kept if p.name not in mine}
        texts |= {f"outcome {i}": o.said.encode() for i, o in enumerate(outcomes)}
        for name, text in texts.items():
            for needle in needles:
                assert needle not in text.lower(), f"a secret in {name}"


def alive(pid: int) -> bool:
    """It has not ended; a process that nobody waited for yet has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
