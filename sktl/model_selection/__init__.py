"""Choosing between strategies, backbones and heads, and judging them honestly."""

from sktl.model_selection._compare_candidates import compare
from sktl.model_selection._comparison import Comparison
from sktl.model_selection._duplicates import duplicate_groups, duplicate_pairs
from sktl.model_selection._plain_features import ColorHistogram, SmallPixels
from sktl.model_selection._prime import prime
from sktl.model_selection._rank_backbones import BackboneRanking, rank_backbones

# Imported as themselves: for sktl.inspection, not part of the public API.
from sktl.model_selection._scores import bounds_of as bounds_of
from sktl.model_selection._scores import read_scoring as read_scoring
from sktl.model_selection._strategy_grid import strategy_grid

__all__ = [
    "BackboneRanking",
    "ColorHistogram",
    "Comparison",
    "SmallPixels",
    "compare",
    "duplicate_groups",
    "duplicate_pairs",
    "prime",
    "rank_backbones",
    "strategy_grid",
]
