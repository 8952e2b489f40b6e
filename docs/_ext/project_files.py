"""Pages made from files of the project: the change log, and the citation."""

import sys
from pathlib import Path

import yaml
from docutils import nodes
from docutils.parsers.rst import Directive

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "changes"))

from assemble import FOLDER, format_notes, read_notes  # noqa: E402

NOTES = "<!-- notes of changes/ -->"
RELEASED = "<!-- CHANGES.md -->"


def write_change_log(app, docname, source):
    """Put the notes that wait for a release, and the sections of releases, in their places of the page."""
    if docname == "changelog":
        released = (ROOT / "CHANGES.md").read_text(encoding="utf-8").partition("\n")[2].strip()
        notes = format_notes(read_notes(FOLDER)) or "None."
        source[0] = source[0].replace(NOTES, notes).replace(RELEASED, released)


def format_bibtex(citation):
    """Write the metadata of CITATION.cff as an entry of BibTeX."""
    fields = {
        "author": " and ".join(f"{{{author['name']}}}" for author in citation["authors"]),
        "title": f"{{{citation['title']}}}",
        "version": str(citation["version"]),
    }
    if "date-released" in citation:
        fields["year"] = str(citation["date-released"])[:4]
    for key in ("doi", "url"):
        if key in citation:
            fields[key] = citation[key]
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@software{{{citation['title']},", *lines, "}"])


class Citation(Directive):
    """Shows the entry of BibTeX for this version."""

    def run(self):
        path = ROOT / "CITATION.cff"
        self.state.document.settings.env.note_dependency(str(path))
        text = format_bibtex(yaml.safe_load(path.read_text(encoding="utf-8")))
        return [nodes.literal_block(text, text, language="none")]


def setup(app):
    app.add_directive("citation", Citation)
    app.connect("source-read", write_change_log)
    return {"parallel_read_safe": True}
