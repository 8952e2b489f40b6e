"""Words of code that stay on one line: a browser would break ``--option`` after its dashes."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

LONGEST = 20
"""Longest word that stays whole [characters]; it fits a line of a phone."""

_WORD = re.compile(rf'<span class="pre">((?:[^<&]|&\w+;){{1,{LONGEST}}})</span>')


def keep_words(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Mark the words of code in the body of a page that stay whole, for the style sheet."""
    if "body" in context:
        context["body"] = _WORD.sub(r'<span class="pre short">\1</span>', context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Mark the words of each page."""
    app.connect("html-page-context", keep_words)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
