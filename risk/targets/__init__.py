"""Contracts of others with a reference model of ours: the built-in targets of the auditor's kit."""
