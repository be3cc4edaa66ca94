"""Exact world, twin of ``contracts/custody/``."""
