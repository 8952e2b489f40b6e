"""Formulas as MathML: browsers draw them without scripts, fonts or other hosts."""

from __future__ import annotations

from docutils import nodes
from docutils.writers.html5_polyglot import HTMLTranslator
from sphinx.application import Sphinx
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator


def visit_formula(translator: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML; what cannot be converted is a warning with the place of the formula."""
    if node.get("number"):
        translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.math_output, translator.math_options = "mathml", ""
    HTMLTranslator.visit_math(translator, node)


def depart_formula(translator: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Close nothing: the formula is written in one piece."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Make MathML the way in which HTML pages show formulas."""
    renderer = (visit_formula, depart_formula)
    app.add_html_math_renderer("mathml", inline_renderers=renderer, block_renderers=renderer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
