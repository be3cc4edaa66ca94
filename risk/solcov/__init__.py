"""Coverage of Solidity lines and branches by executed program counters of the real bytecode.

``collect`` watches the JSON-RPC client of a run and traces what may be new on the same node;
``build`` and ``points`` say what each program counter means; ``evaluate`` joins both.
"""
