"""Exact world, twin of ``contracts/params/``."""
