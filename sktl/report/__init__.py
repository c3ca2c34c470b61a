"""One self-contained HTML page about a comparison or a model, with images."""

from sktl.report._write import write_comparison_report, write_model_report

__all__ = ["write_comparison_report", "write_model_report"]
