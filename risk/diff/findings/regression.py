"""Regression tests to paste: concrete calls, the model's values as constants."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from risk.diff.findings.code import Calls, source_name
from risk.diff.findings.finding import Finding
from risk.diff.findings.recording import Deployed, Event, Placed, Recording, Sent, undemanded
from risk.diff.kit.engine import GENESIS_TIME
from risk.diff.kit.errors import DiffError


class NotTestable(DiffError):
    """Nothing that differs can be asked of a contract, or the target's calls are not recorded."""


def environment() -> Environment:
    """Templates of this package; text formats, so nothing is escaped."""
    return Environment(
        loader=PackageLoader("risk.diff.findings", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def foundry_file(finding: Finding) -> str:
    """A ``.t.sol`` file without dependencies. Raises ``NotTestable``."""
    return _render(finding, "foundry.t.sol.j2", _solidity)


def pytest_file(finding: Finding) -> str:
    """A test file for pytest and for ``brownie test``. Raises ``NotTestable``."""
    if finding.regression:
        return finding.regression
    return _render(finding, "pytest.py.j2", _python)


def _render(finding: Finding, template: str, line_of: Any) -> str:
    recording = finding.recording
    if recording is None:
        raise NotTestable(f"{finding.target} does not record its calls")
    if not (recording.demands or _outcome_differs(recording)):
        names = ", ".join(undemanded(finding.differences, recording.demands)) or finding.kind
        raise NotTestable(f"no view shows {names} as it is; the adapter computes it")
    calls = Calls(recording, finding.artifacts)
    missing = next((e for e in recording.setup if isinstance(e, Deployed) and e.nonce < 0), None)
    if missing is not None:
        raise NotTestable(f"the address of {missing.artifact or 'a contract'} is not CREATE's")
    setup = [line_of(calls, event) for event in _needed(recording)]
    steps = [
        {
            "number": number,
            "text": done.step.describe(),
            "time": done.sent.time,
            "block": done.sent.number,
            "sender": done.sent.call.sender,
            "to": done.sent.call.to,
            "value": done.sent.call.value,
            "data": done.sent.call.data,
            "readable": calls.readable(done.sent.call.data),
            "ok": done.model.ok,
            "error": done.model.error,
            "expected": done.data,
        }
        for number, done in enumerate(recording.done, 1)
    ]
    demands = [
        {
            "name": d.name,
            "to": d.call.to,
            "sender": d.call.sender,
            "data": d.call.data,
            "readable": calls.readable(d.call.data),
            "word": d.word,
            "model": d.model,
            "chain": d.chain,
        }
        for d in recording.demands
    ]
    made = environment().get_template(template)
    values: dict[str, Any] = {
        "f": finding,
        "setup": setup,
        "steps": steps,
        "demands": demands,
        "calls": calls,
        "names": calls.names,
        "end": {"time": recording.time, "block": recording.number},
        "start": min([GENESIS_TIME, *(done.sent.time for done in recording.done)]),
        "constants": [],
        "contract": "".join(word.capitalize() for word in finding.stem.split("_")),
    }
    body = made.render(values)
    return made.render({**values, "constants": calls.names.used(body)})


def _needed(recording: Recording) -> list[Event]:
    """The set-up without ether for roles that nothing mentions."""
    calls = [e.call for e in recording.setup if isinstance(e, Sent)]
    calls += [d.sent.call for d in recording.done] + [d.call for d in recording.demands]
    actors = {c.sender for c in calls} | {c.to for c in calls}
    actors |= {e.sender for e in recording.setup if isinstance(e, Deployed)}
    data = b"".join(c.data for c in calls)
    return [
        e
        for e in recording.setup
        if not isinstance(e, Placed)
        or e.code is not None
        or e.storage
        or e.address in actors
        or e.address.to_bytes(20, "big") in data
    ]


def _outcome_differs(recording: Recording) -> bool:
    """A step refused by one side only, or with data that a test can demand."""
    return any(
        d.model.ok != d.sent.result.ok or (d.data is not None and d.data != d.sent.result.data)
        for d in recording.done
    )


def _solidity(calls: Calls, event: Event) -> list[str]:
    """Statements that repeat an event of the set-up."""
    who = calls.names.solidity
    if isinstance(event, Placed):
        out = []
        if event.code is not None:
            out.append(f'vm.etch({who(event.address)}, hex"{event.code.hex()}");')
        if event.balance is not None:
            out.append(f"vm.deal({who(event.address)}, {event.balance});")
        for slot, word in event.storage.items():
            store = f"bytes32(uint256({slot})), bytes32(uint256({word}))"
            out.append(f"vm.store({who(event.address)}, {store});")
        return out
    when = f"when({event.time}, {event.number});"
    if isinstance(event, Sent):
        call = event.call
        data = calls.solidity(call.data)
        return [
            f"{when} // {calls.readable(call.data)}",
            f"must({who(call.sender)}, {who(call.to)}, {call.value}, {data});",
        ]
    if event.artifact:
        code = f'abi.encodePacked(vm.getCode("{source_name(event)}"), hex"{event.arguments.hex()}")'
    else:
        code = f'hex"{event.creation.hex()}"'
    return [when, f"create({who(event.sender)}, {event.nonce}, {code}, {who(event.address)});"]


def _python(calls: Calls, event: Event) -> list[str]:
    """Statements that repeat an event of the set-up."""
    who = calls.names.python
    if isinstance(event, Placed):
        out = []
        if event.code is not None:
            out.append(f'rpc("anvil_setCode", {who(event.address)}, "0x{event.code.hex()}")')
        if event.balance is not None:
            out.append(f'rpc("anvil_setBalance", {who(event.address)}, hex({event.balance}))')
        for slot, word in event.storage.items():
            store = f'"0x{slot:064x}", "0x{word:064x}"'
            out.append(f'rpc("anvil_setStorageAt", {who(event.address)}, {store})')
        return out
    if isinstance(event, Sent):
        call = event.call
        head = f"{event.time}, {who(call.sender)}, {who(call.to)}, {call.value}"
        return [
            f'accepted, data = send({head}, "0x{call.data.hex()}")',
            f'assert accepted, f"set-up: {calls.readable(call.data)} was refused: {{data}}"',
        ]
    if event.artifact:
        code = f'creation("{event.artifact}") + "{event.arguments.hex()}"'
    else:
        code = f'"0x{event.creation.hex()}"'
    place = f"{event.time}, {who(event.sender)}, {event.nonce}"
    return [f"create({place}, {code}, {who(event.address)})"]
