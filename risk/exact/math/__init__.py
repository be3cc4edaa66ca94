"""Exact world, twin of ``contracts/math/``."""
