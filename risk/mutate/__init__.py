"""Mutation testing of Solidity: plant one fault at a time, see whether any check notices.  See
docs/mutation.md.
"""
