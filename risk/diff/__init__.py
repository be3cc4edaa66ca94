"""Differential testing: a target (chain) and its model are driven side by side and every value is
compared.

Nothing in this folder knows Plumbline's vault; ``risk/diff/plumbline/`` is one target among others.
"""
