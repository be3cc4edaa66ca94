"""Worked margin cases for implementations in other languages; format: docs/vectors.md."""
