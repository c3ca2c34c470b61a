"""Choosing between strategies, backbones and heads, and judging them honestly."""

from sktl.model_selection._compare import compare
from sktl.model_selection._comparison import Comparison
from sktl.model_selection._descriptors import ColorHistogram, SmallPixels
from sktl.model_selection._duplicates import duplicate_groups
from sktl.model_selection._log_evidence import log_evidence
from sktl.model_selection._prime import Priming, prime
from sktl.model_selection._ranking import BackboneRanking, rank_backbones
from sktl.model_selection._strategy_grid import strategy_grid

__all__ = [
    "BackboneRanking",
    "ColorHistogram",
    "Comparison",
    "Priming",
    "SmallPixels",
    "compare",
    "duplicate_groups",
    "log_evidence",
    "prime",
    "rank_backbones",
    "strategy_grid",
]
