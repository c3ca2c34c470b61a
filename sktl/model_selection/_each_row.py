"""Something of every image, with threads, and one error for all unreadable ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sktl.exceptions import UnreadableImageError
from sktl.images import ImageRows

T = TypeVar("T")

_MOST_NAMED = 20
# Decoding releases the interpreter lock; beyond this, the disk is the limit.
_MOST_THREADS = 8


def each_row(rows: ImageRows, compute: Callable[[int], T]) -> list[T]:
    """Return ``compute(i)`` for every row, in order."""

    def attempt(i: int) -> tuple[T | None, UnreadableImageError | None]:
        try:
            return compute(i), None
        except UnreadableImageError as error:
            return None, error

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
        found = list(pool.map(attempt, range(len(rows))))
    errors = [error for _, error in found if error is not None]
    if errors:
        named = "; ".join(map(str, errors[:_MOST_NAMED]))
        more = "; ..." if len(errors) > _MOST_NAMED else ""
        raise UnreadableImageError(
            f"{len(errors)} of {len(rows)} images cannot be read: {named}{more}. "
            "Remove them."
        ) from errors[0]
    return [value for value, _ in found]
