"""``one_blas_thread``: linear algebra on embeddings runs best on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run the linear algebra of numpy and scipy on one thread.

    The matrices of a logistic regression are too thin to split. Threads that wait for
    each other make it up to 5 times slower (benchmarks/blas_threads.py), and slower
    still if torch's threads have just run or another process is busy. The number of
    threads also changes the last bits of a sum, and a model should not depend on it.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        yield
