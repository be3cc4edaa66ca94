"""Talking to nodes and compilers: the only package that knows a chain exists."""
