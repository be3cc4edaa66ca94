"""A node with a vault in use."""

from tests.support.book_ground import archive, furnished  # noqa: F401
