"""What ``plumbline keeper …`` does; each command returns its exit code (errors.py).

0 clean · 1 unexpected · 2 configuration · 3 key · 4 chain or code · 5 lock · 6 balance · 7 state ·
10 divergence · 75 the chain could not be reached in time.
"""

from __future__ import annotations

import json as json_module
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from risk.errors import PlumblineError
from risk.keeper import log as logs
from risk.keeper.config import KeeperConfig, load_config, require_inputs, vault_place
from risk.keeper.errors import ConfigError, KeeperError, StateError

log = logging.getLogger("plumbline.keeper.cli")


def run_command(path: Path, *, live: bool, once: bool = False) -> int:
    """``plumbline keeper run``. Ends with 0 on SIGTERM and SIGINT, after the step under way."""

    def really(config: KeeperConfig) -> bool:
        return live or not config.dry_run

    def body(config: KeeperConfig) -> int:
        from risk.keeper.assemble import assemble
        from risk.keeper.ground import Stopped

        with stopping() as stop:
            try:
                with assemble(config, live=really(config), stop=stop) as keeper:
                    log.info(
                        "keeper runs",
                        extra={
                            "mode": "live" if really(config) else "dry run",
                            "vault": keeper.ground.place.address,
                            "signer": config.signer.address,
                            "endpoints": config.shown_urls,
                            "page": keeper.page,
                        },
                    )
                    keeper.loop.run(once=once)
            except Stopped:
                log.info("stopped before it ran")
        return 0

    return guarded(path, body, logged=lambda config: require_inputs(config, live=really(config)))


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()

    def told(number: int, _frame: FrameType | None) -> None:
        log.info("asked to stop", extra={"signal": signal.Signals(number).name})
        stop.set()

    before = {s: signal.signal(s, told) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def guarded(
    path: Path,
    body: Callable[[KeeperConfig], int],
    *,
    logged: Callable[[KeeperConfig], None] | None = None,
) -> int:
    """Exit code of ``body``. A failure is ``error: …`` on stderr, without secrets. ``logged``
    raises where inputs are missing, before the log makes its file; None: there is no log.
    """
    redact = logs.Redactor()
    try:
        config = load_config(path)
        redact = logs.Redactor(config.secrets)
        if logged is not None:
            logged(config)
            redact = logs.set_up(config.state.log_level, config.state.log_file, config.secrets)
        return body(config)
    except KeeperError as error:
        print(redact(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except PlumblineError as error:
        print(redact(f"error: {error}"), file=sys.stderr)
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(redact(f"error: {place}{error.strerror or error}"), file=sys.stderr)
        return 1
    except Exception as error:
        # the text of an unknown error may hold anything; the log, which is redacted, has the trace
        log.critical("unexpected failure", exc_info=error)
        print(f"error: unexpected {type(error).__name__}, see the log", file=sys.stderr)
        return 1
    finally:
        logs.tear_down()


# ── status ───────────────────────────────────────────────────────────────────────────────────────


def status_command(path: Path, *, json: bool, dry_run: bool | None = None) -> int:
    """``plumbline keeper status``: 0 where the keeper is well, 75 where its head is stale or it has
    stopped with an error, and the code of what is wrong with file or database otherwise.
    """

    def body(config: KeeperConfig) -> int:
        from risk.keeper.store import Report, read_report, store_path

        place = vault_place(config)
        found: list[Report] = []
        problem: StateError | None = None
        for live in (True, False):
            if dry_run is not None and dry_run is live:
                continue
            at = store_path(config.state.folder, config.chain.id, place.address, live=live)
            try:
                found.append(read_report(at, chain_id=config.chain.id, vault=place.address))
            except StateError as error:
                if at.exists():
                    raise
                problem = problem or error
        if not found:
            raise problem or StateError("there is no database")
        report = max(found, key=lambda r: r.snapshot.written if r.snapshot else 0.0)
        if json:
            print(json_module.dumps(_status_json(report), indent=2))
        else:
            print("\n".join(_status_lines(report)))
        snapshot = report.snapshot
        well = snapshot is not None and not snapshot.stale() and not snapshot.suspended
        return 0 if well else 75

    return guarded(path, body)


def _status_json(report: Any) -> dict[str, Any]:
    snapshot = report.snapshot
    return {
        "snapshot": snapshot.to_json() if snapshot else None,
        "transactions": report.transactions,
        "intents": report.intents,
        "errors": report.errors,
    }


def _status_lines(report: Any) -> list[str]:
    s = report.snapshot
    if s is None:
        return ["a database, and no snapshot yet"]
    now = time.time()
    state = "stopped: " + s.stopped if s.stopped else "stale" if s.stale(now) else "running"
    mode = "live" if s.live else "dry run"
    out = [
        f"keeper      {state} ({mode}), written {now - s.written:.0f} s ago",
        f"vault       {s.vault} on chain {s.chain_id}",
        f"signer      {s.signer}",
    ]
    if s.suspended:
        out.append(f"suspended   {s.suspended}")
    if s.head is not None:
        out.append(f"head        {s.head.number} {s.head.hash}, {s.head_age(now):.0f} s old")
    a = s.accounts
    out.append(
        f"accounts    {a.total}: {a.unhealthy} unhealthy, {a.unknown} unknown, "
        f"{a.healthy} healthy, of which {a.warned} below initial margin"
    )
    out += [f"  {name:<26}{line.count}" for name, line in s.buckets.items()]
    for item in s.endangered[:10]:
        factor = "-" if item.health_factor is None else f"{item.health_factor:.4f}"
        out.append(
            f"  {item.account} {item.status:<9} E/MM {factor:>8} {item.binding} {item.bucket}"
        )
    out.append(f"nonces      {len(s.nonces)} not final")
    out += [f"  {n.nonce} {n.status} {n.key} {n.hash}" for n in s.nonces]
    if s.balance_wei is not None:
        out.append(f"balance     {s.balance_wei / 1e18:.6f} native")
    if s.live:
        out += [
            f"{name:<11} {used / 1e18:.6f} native in 24 hours"
            + (f", limit {limit / 1e18:.6f}" if limit is not None else "")
            for name, used, limit in (
                ("spent", s.spent_wei, s.spend_limit_wei),
                ("lost", s.lost_wei, s.loss_limit_wei),
            )
        ]
    out.append(f"reconciled  block {s.reconciled_block or '-'}")
    if report.transactions:
        out.append("transactions, newest first")
        out += [
            f"  {_stamp(t['time'])} {t['what']:<10} nonce {t['nonce']} {t['key']} {t['hash']}"
            for t in report.transactions[:10]
        ]
    if report.errors:
        out.append("errors, newest first")
        out += [f"  {_stamp(e['time'])} {e['kind']}: {e['message']}" for e in report.errors[:5]]
    return out


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def resume_command(path: Path) -> int:
    """Tells the keeper of this configuration to forget what the last day has cost (``purse.py``);
    it does so at its next head, or its next start.
    """

    def body(config: KeeperConfig) -> int:
        from risk.keeper.purse import ask_to_resume

        ask_to_resume(config.state.folder, config.chain.id, config.signer.address)
        print("asked; the keeper forgets the fees of the last day at its next head")
        return 0

    return guarded(path, body)


# ── drill ────────────────────────────────────────────────────────────────────────────────────────


def drill_command(path: Path, *, shocks: list[str], block: int | None, json: Path | None) -> int:
    """``plumbline keeper drill``: 0 where nobody liquidatable remained, 1 where somebody did."""

    def body(config: KeeperConfig) -> int:
        from risk.files import write_text
        from risk.keeper.drill import drill
        from risk.keeper.drill_report import parse_shock

        try:
            wanted = [parse_shock(text) for text in shocks]
        except ValueError as error:
            raise ConfigError(f"--shock: {error}") from None
        report = drill(config, wanted, block=block)
        print("\n".join(report.lines()))
        if json is not None:
            write_text(json, json_module.dumps(report.to_json(), indent=2) + "\n")
        return 0 if report.clean else 1

    return guarded(path, body, logged=lambda config: require_inputs(config, live=False))
