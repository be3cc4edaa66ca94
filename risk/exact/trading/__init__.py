"""Exact world, twin of ``contracts/trading/``."""
