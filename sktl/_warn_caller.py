"""``warn_caller``: warn about the user's line, through however many calls it came."""

import sys
import warnings

_PASSED_OVER = {"sktl", "sklearn", "skorch", "joblib"}


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn, and point at the line that called sktl, directly or in a search."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals["__name__"].split(".")[0] in _PASSED_OVER:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
