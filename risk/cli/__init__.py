"""The ``plumbline`` command.  ``main`` holds the options only; each command's body is imported when
it runs.
"""
