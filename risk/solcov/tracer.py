"""Traces requests again on the node that has just answered them, and keeps what ran.

Anvil runs JavaScript tracers inside the node, so only the set of program counters crosses the
connection.  Frames are told apart by depth; the code of a frame is the code at the address on the
stack of the instruction that opened it (for ``DELEGATECALL`` that is the library).  A frame opened
by ``CREATE`` is told by its creation code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from risk.chain.rpc import Rpc, from_hex, to_hex

Json = Any

TOP = "top"
CREATED = "init:"
# frames: program counters `p` and the edges `e` of conditional jumps, "pc>next", by code `o`
TRACER = """{f:[],o:{},k:null,
step:function(log){
 var d=log.getDepth(),s=this.f,n=s.length;
 if(d>n){var k=this.k===null?"top":this.k,c=this.o[k];
  if(!c){c=this.o[k]={p:{},e:{}};}
  s.push({c:c,j:-1});n++;}
 else{while(d<n){s.pop();n--;}}
 var t=s[n-1],pc=log.getPC();
 t.c.p[pc]=1;
 if(t.j>=0){t.c.e[t.j+">"+pc]=1;t.j=-1;}
 var op=log.op.toNumber();
 if(op===0x57){t.j=pc;}
 else if(op>=0xf0){
  if(op===0xf1||op===0xf2||op===0xf4||op===0xfa){this.k=log.stack.peek(1).toString(16);}
  else if(op===0xf0||op===0xf5){
   var q=Number(log.stack.peek(1).valueOf()),z=Number(log.stack.peek(2).valueOf());
   this.k="init:"+toHex(log.memory.slice(q,q+z));}}
},
fault:function(){},
result:function(ctx){
 var r={},e=ctx.error?String(ctx.error):"",o=ctx.output?toHex(ctx.output):"0x";
 for(var k in this.o){r[k]=[Object.keys(this.o[k].p).map(Number),Object.keys(this.o[k].e)];}
 return {frames:r,error:e,output:o};
}}"""

_MAIN = "0x" + "7b1d" * 10
_SENDER = "0x" + "7b2e" * 10
_WORD = 32
# forwards calldata after the first word to the address in it; returns whether that succeeded
_RELAY = "0x60203603602060003760006000602036036000600060003560601c5af160005260206000f3"
_GAS = 1 << 45


@dataclass(frozen=True)
class Frame:
    """What ran of one piece of code: counters and edges (counter, next counter)."""

    counters: frozenset[int]
    edges: frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Trace:
    """Frames by ``TOP``, address (``0x`` and 40 digits) or ``init:0x…``; how the call ended."""

    frames: Mapping[str, Frame]
    failed: bool
    output: bytes

    @property
    def size(self) -> int:
        """Number of different program counters."""
        return sum(len(frame.counters) for frame in self.frames.values())


def trace_transaction(rpc: Rpc, tx_hash: str) -> Trace:
    """A mined transaction; its parent state must still be there.  Raises ``RpcError``."""
    return _trace(rpc.call("debug_traceTransaction", tx_hash, {"tracer": TRACER}))


def trace_call(
    rpc: Rpc,
    request: Mapping[str, Json],
    block: Json = "latest",
    overrides: Mapping[str, Json] | None = None,
    block_overrides: Mapping[str, Json] | None = None,
) -> Trace:
    """A call with the parameters of ``eth_call``.  Raises ``RpcError``."""
    options: dict[str, Json] = {"tracer": TRACER}
    if overrides:
        options["stateOverrides"] = overrides
    if block_overrides:
        options["blockOverrides"] = block_overrides
    return _trace(rpc.call("debug_traceCall", dict(request), block, options))


def trace_simulated(rpc: Rpc, block: Mapping[str, Json], state: Json = "latest") -> Trace:
    """All calls of one block of ``eth_simulateV1``, each on the state that the ones before left.

    Calls of a plan run from one contract that a state override places, through a relay at the
    address of each sender, so ``msg.sender`` is right; ``tx.origin`` is not.  The output is one
    word a call: 1 if it succeeded.
    """
    calls = block["calls"]
    code, data = _plan(calls)
    overrides = {address: dict(entry) for address, entry in block.get("stateOverrides", {}).items()}
    for call in calls:
        overrides.setdefault(str(call.get("from", _SENDER)), {})["code"] = _RELAY
    overrides[_MAIN] = {"code": to_hex(code)}
    request = {"from": _SENDER, "to": _MAIN, "data": to_hex(data), "gas": hex(_GAS)}
    return trace_call(rpc, request, state, overrides, block.get("blockOverrides"))


def _plan(calls: Sequence[Mapping[str, Json]]) -> tuple[bytes, bytes]:
    """Code and calldata that make ``calls`` one after the other through the relays."""
    code, data = bytearray(), bytearray()
    results = _WORD * len(calls)
    for i, call in enumerate(calls):
        payload = bytes.fromhex(f"{int(call['to'], 16):040x}") + bytes(12)
        payload += from_hex(call.get("data", call.get("input", "0x")))
        # CALLDATACOPY(results, len(data), len(payload))
        code += _push(len(payload)) + _push(len(data)) + _push(results) + b"\x37"
        # POP(CALL(gas, sender, 0, results, len(payload), 32 i, 32))
        code += _push(_WORD) + _push(_WORD * i) + _push(len(payload)) + _push(results) + _push(0)
        code += b"\x73" + bytes.fromhex(f"{int(call.get('from', _SENDER), 16):040x}") + b"\x5a\xf1"
        code += b"\x50"
        data += payload
    return bytes(code + _push(results) + _push(0) + b"\xf3"), bytes(data)


def _push(value: int) -> bytes:
    return b"\x63" + value.to_bytes(4, "big")


def _trace(answer: Mapping[str, Json]) -> Trace:
    frames = {}
    for key, (counters, edges) in answer["frames"].items():
        if key != TOP and not key.startswith(CREATED):
            key = f"0x{int(key, 16) & (1 << 160) - 1:040x}"
        pairs = (edge.split(">") for edge in edges)
        frames[key] = Frame(frozenset(counters), frozenset((int(at), int(to)) for at, to in pairs))
    return Trace(frames, bool(answer["error"]), from_hex(answer["output"]))
