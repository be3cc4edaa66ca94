"""Exact world, twin of ``contracts/margin/``."""
