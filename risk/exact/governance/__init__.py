"""Exact world, twin of ``contracts/governance/``."""
