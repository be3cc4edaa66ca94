"""Exact world, twin of ``contracts/liquidation/``."""
