"""``one_blas_thread``: linear algebra of the size of embeddings, on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run the linear algebra of numpy and scipy on one thread.

    The matrices of a logistic regression are too thin to share out: threads that wait
    for one another make it up to 5 times slower (benchmarks/blas_threads.py), and
    more where torch's threads have just run, or beside a busy process. The last bits
    of a sum also depend on the number of threads, and those of a model should not.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        yield
