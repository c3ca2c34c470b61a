"""``Crew``: a few threads and the results they hand over; none outlives the work."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_END = object()
_IDLE_SECONDS = 1.0


class Crew:
    """Threads that hand over results through bounded queues, and stop together.

    An exception in a thread is raised in the one that collects; leaving ``collect``,
    by an interrupt for instance, stops all threads after the item they are at. While
    nothing comes, ``idle`` is called every second.
    """

    def __init__(self, capacity: int, idle: Callable[[], None] | None = None):
        self._idle = idle
        self._results: queue.Queue = queue.Queue(capacity)
        self._stop = threading.Event()

    def collect(self, tasks: Sequence[Callable[[], Iterator[Any]]]) -> Iterator[Any]:
        """Run each task in a thread of its own and yield what they yield."""
        threads = [
            threading.Thread(
                target=self._work, args=(task,), name=f"sktl-engine-{i}", daemon=True
            )
            for i, task in enumerate(tasks)
        ]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                try:
                    item, error = self._results.get(timeout=_IDLE_SECONDS)
                except queue.Empty:
                    if self._idle is not None:
                        self._idle()
                    continue
                if error is not None:
                    raise error
                if item is _END:
                    running -= 1
                else:
                    yield item
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _work(self, task: Callable[[], Iterator[Any]]) -> None:
        try:
            for item in task():
                if not self.put(self._results, (item, None)):
                    return
        except BaseException as error:
            self.put(self._results, (None, error))
        finally:
            self.put(self._results, (_END, None))

    def put(self, target: queue.Queue, item: Any) -> bool:
        """Put ``item`` as soon as there is room; False if the work has stopped."""
        while not self._stop.is_set():
            try:
                target.put(item, timeout=0.05)
            except queue.Full:
                continue
            return True
        return False

    def get(self, source: queue.Queue) -> Any:
        """Return the next item; None if the work has stopped."""
        while not self._stop.is_set():
            try:
                return source.get(timeout=0.05)
            except queue.Empty:
                continue
        return None
