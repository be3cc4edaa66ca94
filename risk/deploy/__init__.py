"""From one typed configuration file to a deployed vault and its record.

``config`` (what a person writes) → ``quantise`` (exact parameters) → ``deployer`` over a ``Sender``
→ ``record``.
"""
