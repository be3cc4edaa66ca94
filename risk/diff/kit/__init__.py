"""The auditor's kit: adapters for contracts of one's own, engines to run them on.

Nothing here knows Plumbline's vault. Start with ``adapter.py``; docs/auditing.md is the tutorial.
"""
