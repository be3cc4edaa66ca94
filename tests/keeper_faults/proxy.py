"""An HTTP server between a keeper and Anvil that spoils what passes through it.

Each request is forwarded over a connection of its own thread, unless a `Rule` says otherwise. A
rule names methods and what happens to them; it can be put in and taken out while a keeper runs.
`seen` keeps what was asked, when, and which rule had it, so that a test can prove that a fault was
injected and that nothing was sent.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import urlsplit

Json = Any
Entry = dict[str, Json]
SEND = "eth_sendRawTransaction"


@dataclass
class Exchange:
    """One request on its way. `entries` are the calls, one or a batch."""

    handler: BaseHTTPRequestHandler
    proxy: Proxy
    body: bytes
    entries: list[Entry]
    single: bool

    def forward(self) -> bytes:
        """The node's answer to `entries` as they are now."""
        out = self.entries[0] if self.single else self.entries
        return self.proxy.ask(json.dumps(out).encode())

    def answers(self) -> list[Entry]:
        """The same, parsed, in the order of the entries."""
        found = json.loads(self.forward())
        by_id = {a["id"]: a for a in ([found] if self.single else found)}
        return [by_id[e["id"]] for e in self.entries]

    def reply(self, answers: Sequence[Entry]) -> None:
        """HTTP 200 with these answers."""
        self.raw(json.dumps(answers[0] if self.single and answers else list(answers)).encode())

    def raw(
        self,
        body: bytes,
        status: int = 200,
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Anything else."""
        h = self.handler
        h.send_response(status)
        h.send_header("Content-Type", "application/json")
        h.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in (headers or {}).items():
            h.send_header(name.replace("_", "-"), value)
        h.end_headers()
        h.wfile.write(body)
        if length is not None:
            self.hang_up()

    def hang_up(self) -> None:
        """The connection is gone without another byte."""
        h = self.handler
        h.close_connection = True
        try:
            h.wfile.flush()
            h.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


Fault = Callable[[Exchange], None]


@dataclass
class Rule:
    """`fault` has every request with one of `methods` (None: any), `times` times (None: always)."""

    fault: Fault
    methods: Collection[str] | None = None
    times: int | None = None
    name: str = ""
    hits: int = 0

    def takes(self, methods: Collection[str]) -> bool:
        if self.times is not None and self.hits >= self.times:
            return False
        return self.methods is None or any(m in self.methods for m in methods)


@dataclass(frozen=True)
class Seen:
    """A request: monotonic seconds, its methods, the rule that had it (empty: forwarded)."""

    at: float
    methods: tuple[str, ...]
    rule: str


@dataclass
class Proxy:
    """See the module. `secret` stands in path and query of `url`."""

    node: str
    secret: str = "pr0xy-s3cr3t"
    rules: list[Rule] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)  # raw transactions that were asked to be sent
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Proxy:
        outer = self
        self.stopped = threading.Event()
        self.local = threading.local()
        parts = urlsplit(self.node)
        self.place = (parts.hostname or "", parts.port or 80)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # one packet for header and body

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    outer.handle(self, body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # a keeper that was killed leaves broken connections

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def port(self) -> int:
        return int(self.server.server_port)

    @property
    def url(self) -> str:
        """An address full of secrets, as providers give them out."""
        return f"http://127.0.0.1:{self.port}/v2/{self.secret}?key={self.secret}"

    # ---------------------------------------------------------------- faults

    def add(
        self,
        fault: Fault,
        *methods: str,
        times: int | None = None,
        name: str = "",
    ) -> Rule:
        """A rule; later ones come first."""
        rule = Rule(fault, methods or None, times, name or getattr(fault, "__name__", "fault"))
        with self.lock:
            self.rules.insert(0, rule)
        return rule

    def heal(self) -> None:
        """No rule any more."""
        with self.lock:
            self.rules.clear()

    # --------------------------------------------------------------- passing

    def ask(self, body: bytes) -> bytes:
        """The node's answer; every thread has its own connection."""
        for last in (False, True):
            wire = getattr(self.local, "wire", None)
            if wire is None:
                wire = self.local.wire = http.client.HTTPConnection(*self.place, timeout=60)
            try:
                wire.request("POST", "/", body, {"Content-Type": "application/json"})
                return bytes(wire.getresponse().read())
            except (OSError, http.client.HTTPException):
                wire.close()
                self.local.wire = None
                if last:
                    raise
        raise AssertionError("unreachable")

    def handle(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """One request."""
        parsed = json.loads(body)
        single = isinstance(parsed, dict)
        entries = [parsed] if single else parsed
        methods = tuple(e["method"] for e in entries)
        with self.lock:
            rule = next((r for r in self.rules if r.takes(methods)), None)
            if rule is not None:
                rule.hits += 1
            self.seen.append(Seen(time.monotonic(), methods, rule.name if rule else ""))
            self.sent += [e["params"][0] for e in entries if e["method"] == SEND]
        exchange = Exchange(handler, self, body, entries, single)
        if rule is None:
            exchange.raw(self.ask(body))
        else:
            rule.fault(exchange)

    # --------------------------------------------------------------- reading

    def count(self, method: str) -> int:
        """How often a method was asked for."""
        return Counter(m for s in self.seen for m in s.methods)[method]

    def forget(self) -> None:
        """Start the records anew."""
        with self.lock:
            self.seen.clear()
            self.sent.clear()


# ── faults: nothing comes, or not all of it ──────────────────────────────────────────────────────


def delay(seconds: float) -> Fault:
    """The right answer, late."""

    def late(x: Exchange) -> None:
        x.proxy.stopped.wait(seconds)
        x.raw(x.forward())

    return late


def silence(x: Exchange) -> None:
    """No answer until the caller has gone."""
    x.proxy.stopped.wait(30)
    x.hang_up()


def disconnect(x: Exchange) -> None:
    """The node never heard of it."""
    x.hang_up()


def disconnect_after(x: Exchange) -> None:
    """The node has it, the caller learns nothing."""
    x.forward()
    x.hang_up()


def cut_off(x: Exchange) -> None:
    """Less than Content-Length promised."""
    body = x.forward()
    x.raw(body[: len(body) // 2], length=len(body))


def cut_json(x: Exchange) -> None:
    """Half of the text, as if that were all."""
    body = x.forward()
    x.raw(body[: len(body) // 2])


def status(code: int, **headers: str) -> Fault:
    """Another HTTP status, with a page for people."""

    def page(x: Exchange) -> None:
        x.raw(b"<html>busy</html>", code, headers=headers)

    page.__name__ = f"HTTP {code}"
    return page


def error_200(x: Exchange) -> None:
    """HTTP 200, and an error for every call."""
    failure = {"code": -32603, "message": "Internal error"}
    x.reply([{"jsonrpc": "2.0", "id": e["id"], "error": failure} for e in x.entries])


def error_200_whole(x: Exchange) -> None:
    """HTTP 200, and one error without an id, even for a batch."""
    failure = {"code": -32600, "message": "batch refused"}
    x.raw(json.dumps({"jsonrpc": "2.0", "id": None, "error": failure}).encode())


def html_200(x: Exchange) -> None:
    """A gateway's page with status 200."""
    x.raw(b"<html><body>maintenance</body></html>")


def short_batch(x: Exchange) -> None:
    """The last answer of a batch is missing; single calls get an empty object."""
    x.raw(b"{}") if x.single else x.reply(x.answers()[:-1])


def doubled_batch(x: Exchange) -> None:
    """The first answer stands in the place of the last, too."""
    found = x.answers()
    x.reply([*found[:-1], found[0]])


def shuffled(seed: int = 1) -> Fault:
    """A batch in another order: the protocol allows it, so nothing may go wrong."""
    rng = Random(seed)

    def shuffle(x: Exchange) -> None:
        found = x.answers()
        rng.shuffle(found)
        x.reply(found)

    return shuffle


# ── faults: lies ─────────────────────────────────────────────────────────────────────────────────


def lie(change: Callable[[Entry, Json], Json], *methods: str) -> Fault:
    """`change(entry, result)` is told instead of the result of these methods."""

    def tell(x: Exchange) -> None:
        told = []
        for entry, answer in zip(x.entries, x.answers(), strict=True):
            if entry["method"] in methods and "error" not in answer:
                answer = {**answer, "result": change(entry, answer["result"])}
            told.append(answer)
        x.reply(told)

    return tell


def says(value: Json, *methods: str) -> Fault:
    """Always this result for these methods."""
    return lie(lambda entry, result: value, *methods)


def stuck_at(height: int) -> Fault:
    """A node that stopped there, and knows nothing of what came after; it admits no error: logs of
    later blocks are empty, later blocks and receipts are null.
    """
    top = hex(height)

    def old(x: Exchange) -> None:
        for entry in x.entries:
            entry["params"] = [
                top if p in ("latest", "pending") else p for p in entry.get("params", [])
            ]
        told = []
        for entry, answer in zip(x.entries, x.answers(), strict=True):
            found = answer.get("result")
            if entry["method"] == "eth_blockNumber":
                found = top
            elif isinstance(found, dict):
                place = found.get("blockNumber") or found.get("number")
                if place is not None and int(place, 16) > height:
                    found = None
            elif isinstance(found, list) and entry["method"] == "eth_getLogs":
                found = [log for log in found if int(log["blockNumber"], 16) <= height]
            told.append({**answer, "result": found} if "result" in answer else answer)
        x.reply(told)

    old.__name__ = f"stuck at {height}"
    return old


def silent_since(first: int) -> Fault:
    """A provider that pretends consistently that no contract has done anything since the block
    below ``first``: headers of the true chain with empty blooms, no logs, and storage, code and
    calls of that older block, at the time of the block that was asked for.
    """
    zero = "0x" + "00" * 256
    known: dict[str, tuple[int, str]] = {}  # hash -> number and time

    def node(x: Exchange, method: str, *params: Json) -> Json:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        return json.loads(x.proxy.ask(json.dumps(body).encode()))["result"]

    def place(x: Exchange, block: str) -> tuple[int, str]:
        if block not in known:
            found = node(x, "eth_getBlockByHash", block, False)
            known[block] = int(found["number"], 16), found["timestamp"]
        return known[block]

    def pretend(x: Exchange) -> None:
        for entry in x.entries:
            params = entry.get("params", [])
            at = params[1] if len(params) > 1 else None
            if entry["method"] == "eth_getStorageAt":
                at = params[2]
            if not isinstance(at, dict):
                continue
            number, time = place(x, at["blockHash"])
            if number < first:
                continue
            old = {"blockNumber": hex(first - 1)}
            entry["params"] = [old if p is at else p for p in params]
            if entry["method"] == "eth_call":
                state = params[2] if len(params) > 2 else {}
                entry["params"] = [params[0], old, state, {"time": time}]
        told = []
        for entry, answer in zip(x.entries, x.answers(), strict=True):
            found = answer.get("result")
            if isinstance(found, dict) and "logsBloom" in found and "parentHash" in found:
                if int(found["number"], 16) >= first:
                    answer = {**answer, "result": {**found, "logsBloom": zero}}
            elif entry["method"] == "eth_getLogs":
                kept = [log for log in found if int(log["blockNumber"], 16) < first]
                answer = {**answer, "result": kept}
            told.append(answer)
        x.reply(told)

    pretend.__name__ = f"silent since {first}"
    return pretend


def _fork(text: str) -> str:
    """Another hash, the same for the same hash."""
    return text[:-8] + f"{int(text[-8:], 16) ^ 0xDEADBEEF:08x}"


def other_branch(x: Exchange) -> None:
    """Every block by number has a hash of its own: a provider on another branch."""

    def change(entry: Entry, result: Json) -> Json:
        return result and {**result, "hash": _fork(result["hash"])}

    lie(change, "eth_getBlockByNumber")(x)


no_logs = says([], "eth_getLogs")
no_logs.__name__ = "no logs"


def other_receipt(x: Exchange) -> None:
    """The receipt of another transaction, successful, where there is none or another."""

    def change(entry: Entry, result: Json) -> Json:
        head = json.loads(
            x.proxy.ask(
                b'{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber",'
                b'"params":["latest",false]}'
            )
        )["result"]
        made = dict(result or {})
        made |= {
            "transactionHash": _fork(entry["params"][0]),
            "blockNumber": head["number"],
            "blockHash": head["hash"],
            "status": "0x1",
            "gasUsed": "0x5208",
            "effectiveGasPrice": "0x1",
        }
        return made

    lie(change, "eth_getTransactionReceipt")(x)
