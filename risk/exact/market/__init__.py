"""Exact world, twin of ``contracts/market/``."""
