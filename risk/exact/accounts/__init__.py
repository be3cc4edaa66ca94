"""Exact world, twin of ``contracts/accounts/``."""
