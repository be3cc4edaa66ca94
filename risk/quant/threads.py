"""One thread for what must end in the same last digits on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums inside do not depend on the machine's cores.

    A limit binds only libraries that are loaded, and k-means with one thread or two ends in other
    last digits: scikit-learn is loaded first, or the first calibration of a process would differ
    from the later ones.
    """
    import sklearn.cluster  # noqa: F401
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
