"""A progress bar over the images that have to be computed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(
    total: int, verbose: int, label: str | None
) -> Iterator[Callable[[int], object]]:
    """Yield a function that takes how many more images are done."""
    if not verbose:
        yield lambda n: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=label or "embedding", unit="image") as bar:
        yield bar.update
