"""The in-process engine: revm through pyrevm. The fastest; no node, no JSON.

pyrevm keeps one journal for the life of an EVM. ``commit`` breaks its depth counter (0.3.7: every
later call halts with CallTooDeep), so nothing is ever committed: the journal is the state.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from risk.chain.rpc import address_hex
from risk.diff.kit.engine import CHAIN_ID, GENESIS_TIME, Call, Log, Probe, Result
from risk.diff.kit.errors import DeployFailed, DiffError, TargetOutOfGas

_REVERT = re.compile(r"Revert \{ gas_used: (\d+), output: 0x([0-9a-f]*) \}")
_HALT = re.compile(r"Halt \{ reason: (.*), gas_used: (\d+) \}", re.S)
_NO_GAS_LIMIT = 2**63
DEPLOY_GAS = 300_000_000


class RevmEngine:
    """See ``engine.Engine``."""

    name = "revm"

    def __init__(self, hardfork: str = "shanghai") -> None:
        self.hardfork = hardfork
        self._evm: Any = None
        self._time = GENESIS_TIME
        self._number = 1
        self._marks: list[list[Any]] = []

    def open(self) -> None:
        try:
            import pyrevm
        except ImportError as error:
            raise DiffError(
                "the in-process engine needs pyrevm, which has no wheel for this Python; "
                "use --engine batch or --engine node"
            ) from error
        self._pyrevm = pyrevm
        self._time, self._number, self._marks = GENESIS_TIME, 1, []
        env = pyrevm.Env(
            cfg=pyrevm.CfgEnv(chain_id=CHAIN_ID, limit_contract_code_size=0xFFFFFF),
            block=self._block(),
        )
        self._evm = pyrevm.EVM(env=env, spec_id=self.hardfork.upper())

    def close(self) -> None:
        self._evm = None

    def _block(self) -> Any:
        return self._pyrevm.BlockEnv(
            number=self._number, timestamp=self._time, basefee=0, gas_limit=_NO_GAS_LIMIT
        )

    def deploy(self, creation: bytes, sender: int) -> int:
        try:
            address = self._evm.deploy(address_hex(sender), creation, gas=DEPLOY_GAS)
        except RuntimeError as error:
            result = _failed(str(error))
            if "Gas" in result.halt:
                raise TargetOutOfGas(f"a constructor used up {DEPLOY_GAS:,} gas") from error
            raise DeployFailed(result.data.hex()) from error
        self._mined()
        return int(address, 16)

    def transact(self, call: Call) -> Result:
        result = self._call(call, logs=True)
        self._mined()
        return result

    def _mined(self) -> None:
        self._number += 1
        self._evm.reset_transient_storage()
        self._evm.set_block_env(self._block())

    def _call(self, call: Call, logs: bool = False) -> Result:
        try:
            data = self._evm.message_call(
                caller=address_hex(call.sender),
                to=address_hex(call.to),
                calldata=call.data,
                value=call.value,
                gas=call.gas,
            )
        except RuntimeError as error:
            return _failed(str(error))
        if not logs:
            return Result(True, data)
        outcome = self._evm.result
        return Result(True, data, "", outcome.gas_used, _logs(outcome))

    def call(self, calls: Sequence[Call]) -> list[Result]:
        results = []
        for call in calls:
            mark = self._evm.snapshot()
            results.append(self._call(call))
            self._evm.revert(mark)
        return results

    def probe(self, probes: Sequence[Probe]) -> list[Result]:
        results = []
        for probe in probes:
            mark = self._evm.snapshot()
            for address, words in probe.storage.items():
                self._write(address_hex(address), words)
            results.append(self._call(probe.call))
            self._evm.revert(mark)
        return results

    def place(
        self, address: int, code: bytes | None, storage: Mapping[int, int], balance: int | None
    ) -> None:
        where = address_hex(address)
        if code is not None:
            self._evm.insert_account_info(where, self._pyrevm.AccountInfo(nonce=1, code=code))
        if balance is not None:
            self._evm.set_balance(where, balance)
        self._write(where, storage)

    def _write(self, where: str, words: Mapping[int, int]) -> None:
        """Storage words that a revert takes back: pyrevm journals only what it has loaded before
        (0.3.7: the word of a slot nobody read stays for good).
        """
        load, insert = self._evm.storage, self._evm.insert_account_storage
        for slot, word in words.items():
            load(where, slot)
            insert(where, slot, word)

    def storage(self, address: int, slots: Sequence[int]) -> list[int]:
        return [int(self._evm.storage(address_hex(address), slot) or 0) for slot in slots]

    def code(self, address: int) -> bytes:
        return bytes(self._evm.get_code(address_hex(address)) or b"")

    def warp(self, seconds: int) -> None:
        self._time += seconds
        self._evm.set_block_env(self._block())

    def time(self) -> int:
        return self._time

    def snapshot(self) -> object:
        mark = [self._evm.snapshot(), self._time, self._number]
        self._marks.append(mark)
        return mark

    def revert(self, mark: object) -> None:
        # a checkpoint serves once, and each that stays open deepens the journal
        while self._marks and self._marks[-1] is not mark:
            self._evm.revert(self._marks.pop()[0])
        if not self._marks:
            raise DiffError("revert to a mark that an earlier revert dropped")
        top = self._marks[-1]
        self._evm.revert(top[0])
        top[0] = self._evm.snapshot()
        self._time, self._number = top[1], top[2]
        self._evm.set_block_env(self._block())

    def executed(self) -> Mapping[int, frozenset[int]] | None:
        """None: pyrevm's step trace goes through Python's ``print`` piece by piece, 0.6 ms a step
        (measured); the node engine is the faster one for that.
        """
        return None


def _failed(text: str) -> Result:
    """From the text of pyrevm's exception, which is all it gives."""
    if match := _REVERT.search(text):
        return Result(False, bytes.fromhex(match[2]), "", int(match[1]))
    if match := _HALT.search(text):
        return Result(False, b"", match[1].partition("(")[0], int(match[2]))
    raise DiffError(f"revm failed: {text}")


def _logs(outcome: Any) -> tuple[Log, ...]:
    return tuple(
        Log(
            int(log.address, 16),
            tuple(int(topic, 16) for topic in log.topics),
            bytes(log.data[1]) if isinstance(log.data, tuple) else bytes(log.data),
        )
        for log in outcome.logs
    )
