"""Links from listings of sources back to the documentation.

The extension names all objects of a listing after the module under which the first one was documented: with a
function of the package, or an inherited member, among them, links to the others would lead nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

from sphinx.application import Sphinx

_LISTINGS = "_modules/"
_LINK = re.compile(r'(class="viewcode-back" href="[^"#]*#)([^"]+)"')


def name_anchor(anchor: str, module: str, known: Container[str]) -> str:
    """Name the anchor of an object of a module: as it is known, or with the module in place of another one."""
    if anchor in known:
        return anchor
    parts = anchor.split(".")
    names = (".".join([module, *parts[k:]]) for k in range(1, len(parts)))
    return next((name for name in names if name in known), anchor)


def mend_links(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Mend the links of a listing."""
    if pagename.startswith(_LISTINGS) and "body" in context:
        known = app.env.get_domain("py").data["objects"]
        module = pagename.removeprefix(_LISTINGS).replace("/", ".")
        context["body"] = _LINK.sub(
            lambda link: f'{link[1]}{name_anchor(link[2], module, known)}"',
            context["body"],
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Mend the links of each listing."""
    app.connect("html-page-context", mend_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
