"""The keeper: a book of all accounts fed by events, a planner, a dispatcher that survives.

``types.py`` holds what the parts hand each other; docs/keeper.md is the runbook.
"""
