"""The directive ``measured``: a committed benchmark result as a table.

``.. measured:: search`` shows ``benchmarks/results/search.json``. The content of the
directive comes before the table. If the file does not exist, nothing is shown, so a
page may mention a benchmark before its result is committed.
"""

import json
from pathlib import Path

from result_tables import shown, source
from sphinx.util.docutils import SphinxDirective

_RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


class Measured(SphinxDirective):
    """Show a committed result, or nothing if there is none."""

    required_arguments = 1
    has_content = True

    def run(self):
        """Return the text, the table and its source."""
        name = self.arguments[0]
        path = _RESULTS / f"{name}.json"
        self.env.note_dependency(str(path))
        if not path.exists():
            return []
        result = json.loads(path.read_text())
        lines = [*self.content, "", *shown(name, result), "", *source(name, result)]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app):
    """Register the directive with Sphinx."""
    app.add_directive("measured", Measured)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
