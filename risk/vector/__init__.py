"""The bridge between the two worlds: exact margins of many accounts at once, in numpy.

Numpy is allowed here, I/O is not.  ``exact`` gives the integers of ``risk.exact.margin`` bit for
bit; floats occur in it only where every sum is a whole number below 2^53, which the docstrings
prove and the code checks.  ``certified`` decides in float64 with a proven bound and never guesses:
what the bound leaves open goes to ``exact``.  Nothing in ``risk.exact`` imports this package.

Method, proofs and figures: docs/vector.md.
"""
