"""The ranking: one row for each contender, its interval drawn on a common scale."""

from __future__ import annotations

import numpy as np

WIDTH, HEIGHT, MARGIN = 120, 18, 6


def ranking_facts(comparison) -> dict:
    """Return rows with the places of their intervals."""
    ends = [
        value
        for row in comparison.table
        for value in (row["low"], row["score"], row["high"])
        if np.isfinite(value)
    ]
    low, high = min(ends), max(ends)
    reach = max(high - low, 1e-9)

    def place(value: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (value - low) / reach

    rows = []
    for rank, row in enumerate(comparison.table):
        known = np.isfinite(row["low"]) and np.isfinite(row["high"])
        rows.append(
            {
                **row,
                "rank": rank + 1,
                "known": known,
                "x": place(row["score"]),
                "x_low": place(row["low"]) if known else None,
                "x_high": place(row["high"]) if known else None,
                "best": row["name"] == comparison.best_name_,
            }
        )
    return {
        "rows": rows,
        "width": WIDTH,
        "height": HEIGHT,
        "scoring": comparison.scoring,
        "confidence": comparison.confidence,
        "n_splits": len(comparison.splits_),
        "low": low,
        "high": high,
        "flat": any(row["low"] == row["high"] for row in comparison.table),
        "warnings": list(comparison.warnings_),
        "seconds": comparison.seconds_,
    }
