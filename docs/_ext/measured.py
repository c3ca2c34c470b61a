"""The directive ``measured-digits``: a committed benchmark result, as a table."""

import json
from pathlib import Path

from sphinx.util.docutils import SphinxDirective

_RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "transfer_digits.json"
_COLUMNS = {
    "pixels": "pixels",
    "lenet5 untrained": "lenet5 untrained, standardised",
    "lenet5": "lenet5, standardised",
}


class MeasuredDigits(SphinxDirective):
    """Show accuracy by number of labels, for pixels and for embeddings."""

    def run(self):
        """Return the table."""
        self.env.note_dependency(str(_RESULT))
        result = json.loads(_RESULT.read_text())
        scores = {
            (row["labels_per_class"], row["head"], row["features"]): (
                f"{row['accuracy_mean']:.1f} ± {row['accuracy_std']:.1f}"
            )
            for row in result["table"]
        }
        lines = [
            ".. list-table::",
            "   :header-rows: 1",
            "",
            "   * - labels per class",
            "     - head",
            *[f"     - {title}" for title in _COLUMNS],
        ]
        for labels, head in sorted({key[:2] for key in scores}):
            lines += [f"   * - {labels}", f"     - {head}"]
            lines += [f"     - {scores[labels, head, f]}" for f in _COLUMNS.values()]
        lines += [
            "",
            f"Accuracy in percent on all other digits, mean ± standard deviation of "
            f"{result['draws']} draws, ``benchmarks/transfer_digits.py``, "
            f"{result['date']}.",
        ]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app):
    """Register the directive with Sphinx."""
    app.add_directive("measured-digits", MeasuredDigits)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
