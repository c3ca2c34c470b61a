"""The directive ``backbone-table``: the registry of sktl as a table."""

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

import sktl

_COLUMNS = (
    ("name", 24),
    ("family", 14),
    ("year", 6),
    ("size", 7),
    ("embedding", 9),
    ("parameters", 10),
    ("mult-adds", 9),
    ("top-1", 6),
    ("file", 8),
    ("stages", 26),
)


class BackboneTable(SphinxDirective):
    """List the backbones of a task or source, or those named, oldest first."""

    option_spec = {
        "task": directives.unchanged,
        "source": directives.unchanged,
        "names": directives.unchanged,
    }

    def run(self):
        """Return the table."""
        if "names" in self.options:
            names = self.options["names"].split()
        else:
            names = sktl.list_backbones(
                source=self.options.get("source"), task=self.options.get("task")
            )
        infos = [sktl.get_backbone(name) for name in names]
        infos.sort(key=lambda info: (info.year, info.family, info.n_parameters))
        # Networks that users have registered do not belong in the manual.
        rows = [_cells(info) for info in infos if info.source != "module"]
        return [_table([title for title, _ in _COLUMNS], rows)]


def _cells(info) -> list:
    height, width = info.recipe.size
    size = str(height) if height == width else f"{height} x {width}"
    return [
        nodes.literal(text=info.name),
        info.family,
        str(info.year),
        size,
        str(info.n_features),
        _count(info.n_parameters),
        "" if info.gflops is None else _count(1e9 * info.gflops),
        "" if info.top1 is None else f"{info.top1:.1f}",
        "" if info.weight_mb is None else f"{info.weight_mb:.3g} MB",
        _stages(info.stages),
    ]


def _count(n: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if n >= size:
            return f"{n / size:.3g} {letter}"
    return f"{n / 1e3:.0f} k"


def _stages(stages: tuple[str, ...]) -> str:
    """Write ``stage1, stage2, stage3`` as ``stage1-3``."""
    numbered = [name for name in stages if name.startswith("stage")]
    if len(numbered) < 2:
        return ", ".join(stages)
    first = stages.index(numbered[0])
    span = f"{numbered[0]}-{numbered[-1].removeprefix('stage')}"
    rest = [name for name in stages if name not in numbered]
    return ", ".join([*stages[:first], span, *rest[first:]])


def _table(titles: list[str], rows: list[list]) -> nodes.table:
    group = nodes.tgroup(cols=len(titles))
    group += [nodes.colspec(colwidth=width) for _, width in _COLUMNS]
    head, body = nodes.thead(), nodes.tbody()
    head += _row(titles)
    body += [_row(cells) for cells in rows]
    group += [head, body]
    table = nodes.table(classes=["backbones"])
    table += group
    return table


def _row(cells: list) -> nodes.row:
    row = nodes.row()
    for cell in cells:
        paragraph = nodes.paragraph()
        paragraph += nodes.Text(cell) if isinstance(cell, str) else cell
        entry = nodes.entry()
        entry += paragraph
        row += entry
    return row


def setup(app):
    """Register the directive with Sphinx."""
    app.add_directive("backbone-table", BackboneTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
