"""Tables of pages that are made from the code."""

from __future__ import annotations

from docutils import nodes
from docutils.statemachine import StringList


def make_table(directive, rows):
    """Make the nodes of a table; the first row is its header, cells may hold markup."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for first, *rest in rows:
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in rest)]
    container = nodes.container()
    directive.state.nested_parse(StringList(lines, source=directive.name), directive.content_offset, container)
    return container.children
