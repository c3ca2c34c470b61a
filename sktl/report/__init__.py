"""One self-contained HTML page about images, the models compared, and the answer."""

from sktl.report._write import write_comparison_report, write_model_report

__all__ = ["write_comparison_report", "write_model_report"]
