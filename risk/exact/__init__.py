"""Exact world: the reference model in Python integers.  No floats, no numpy, no I/O.

Every module here stands beside the Solidity file of the same name under ``contracts/`` and defines
the same functions (``snake_case`` for ``camelCase``).
"""
