"""Schedules that follow the share of time used, not the number of steps.

On a shared machine nobody knows how many steps fit before a deadline. A schedule over
elapsed time always reaches its end.
"""

from __future__ import annotations

import time


class Deadline:
    """Progress from 0 to 1 between now and a moment in the future.

    Parameters
    ----------
    end : float
        Unix time at which progress reaches 1.
    done : float, default=0.0
        Progress made by an earlier, interrupted run.
    """

    def __init__(self, end: float, done: float = 0.0):
        self.start, self.end, self.done = time.time(), end, done

    def progress(self) -> float:
        """Return the share of the schedule that has passed, at most 1."""
        share = (time.time() - self.start) / max(self.end - self.start, 1e-9)
        return min(1.0, self.done + (1 - self.done) * share)


def one_cycle(progress: float, warmup: float = 0.05, hold: float = 0.35) -> float:
    """Return the factor of the learning rate: up, level, then linearly to zero."""
    if progress < warmup:
        return max(progress, 1e-3) / warmup
    if progress < hold:
        return 1.0
    return (1 - progress) / (1 - hold)


def image_size(progress: float, sizes: str) -> int:
    """Return the side of the images at this point.

    Parameters
    ----------
    progress : float
        Share of the schedule that has passed.
    sizes : str
        For example ``"0:32,0.3:48,0.8:64"``: from each share on, the side to use.
    """
    steps = [tuple(map(float, step.split(":"))) for step in sizes.split(",")]
    return int(max(step for step in steps if step[0] <= progress)[1])
