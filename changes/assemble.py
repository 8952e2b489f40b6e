"""Move the change notes of this folder to CHANGES.md, or check them.

``python changes/assemble.py --check`` checks names and texts. ``python changes/assemble.py 0.2.0`` adds all
notes to the section of version 0.2.0 in CHANGES.md, dates the section and deletes the notes.
"""

from __future__ import annotations

import argparse
import datetime
import difflib
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
CHANGES = FOLDER.parent / "CHANGES.md"
TITLE = "# Changes\n"
ROOMS = {
    "pipeline": "Pipeline",
    "steps": "Steps",
    "physics": "Physics",
    "data": "Data",
    "workers": "Workers",
    "commands": "Commands",
    "simulate": "Simulator",
    "references": "Reference files",
    "framework": "Framework and modules",
    "docs": "Documentation",
    "packaging": "Packaging",
}
"""Heading of each room, in the order of CHANGES.md."""
WIDTH = 100
_VERSIONED = {
    FOLDER.parent / "cal_pipeline" / "_version.py": r'^__version__ = "(.+)"$',
    FOLDER.parent / "CITATION.cff": r"^version: (.+)$",
}
"""Where the version stands, and how it is found there."""
_KEPT = ("README.md", Path(__file__).name)


class ChangeError(Exception):
    """Report a change note or a section of CHANGES.md that cannot be used."""


def check_note(name: str, text: str) -> str:
    """Check the name and the text of a note.

    Parameters
    ----------
    name : str
        File name.
    text : str
        Content of the file.

    Returns
    -------
    str
        The room of the note.

    Raises
    ------
    ChangeError
        If the name names no room, or the text is not one wrapped paragraph.

    Examples
    --------
    >>> check_note("workers-retry.md", "A scan is retried when its worker dies.")
    'workers'
    """
    found = re.fullmatch(r"([a-z]+)-[a-z0-9]+(?:-[a-z0-9]+)*\.md", name)
    if not found:
        raise ChangeError(
            f"changes/{name}: expected <room>-<short-name>.md with lower-case letters, digits and hyphens, "
            "for example docs-glossary.md"
        )
    room = found[1]
    if room not in ROOMS:
        near = difflib.get_close_matches(room, ROOMS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(ROOMS)}"
        raise ChangeError(f"changes/{name}: there is no room {room!r}; {hint}")
    paragraph = text.strip()
    if not paragraph:
        raise ChangeError(f"changes/{name} is empty; describe the change in a sentence")
    if re.search(r"\n\s*\n|^\s*([*#+-]|\d+\.) ", paragraph, flags=re.MULTILINE):
        raise ChangeError(f"changes/{name}: expected one paragraph without headings or list markers")
    longest = max(map(len, paragraph.splitlines()))
    if longest > WIDTH:
        raise ChangeError(f"changes/{name} has a line of {longest} characters; wrap it at {WIDTH} columns")
    return room


def read_notes(folder: Path) -> dict[str, str]:
    """Read all notes of a folder.

    Parameters
    ----------
    folder : Path
        Folder of the notes.

    Returns
    -------
    dict
        Text of each note by file name, sorted by name.

    Raises
    ------
    ChangeError
        If a file is no valid note; all faults are listed.
    """
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    paths = sorted(path for path in files if path.name not in _KEPT)
    notes, faults = {}, []
    for path in paths:
        notes[path.name] = path.read_text(encoding="utf-8")
        try:
            check_note(path.name, notes[path.name])
        except ChangeError as error:
            faults.append(str(error))
    if faults:
        raise ChangeError("\n".join(faults))
    return notes


def assemble(changes: str, notes: Mapping[str, str], version: str, date: str) -> str:
    """Add notes to the section of a version, and date the section.

    Parameters
    ----------
    changes : str
        Content of CHANGES.md.
    notes : mapping of str to str
        Text of each note by file name.
    version : str
        Version that is released.
    date : str
        Date of the release, as in 2026-12-31.

    Returns
    -------
    str
        New content of CHANGES.md.

    Raises
    ------
    ChangeError
        If the version was released before, another one waits to be, or nothing has changed.
    """
    if not changes.startswith(TITLE):
        raise ChangeError(f"CHANGES.md begins with {changes[:20]!r}, expected {TITLE!r}")
    if released := re.search(rf"^## {re.escape(version)} \((?!unreleased\)).*\)$", changes, flags=re.MULTILINE):
        raise ChangeError(f"CHANGES.md has the section {released[0]!r} already; give a new version")
    unreleased = re.findall(r"^## (.+) \(unreleased\)$", changes, flags=re.MULTILINE)
    if others := [name for name in unreleased if name != version]:
        raise ChangeError(
            f"CHANGES.md has the section '## {others[0]} (unreleased)', expected version {version} there; release "
            f"{others[0]} first, or rename its section"
        )
    begun = f"## {version} (unreleased)\n"
    heading = f"## {version} ({date})\n"
    if begun not in changes:
        if not notes:
            raise ChangeError(f"there are no notes in changes/ and no section {begun.strip()!r} in CHANGES.md")
        return f"{TITLE}\n{heading}\n{format_notes(notes)}{changes.removeprefix(TITLE)}"
    before, _, rest = changes.partition(begun)
    own, mark, older = rest.partition("\n## ")
    added = f"\n\n{format_notes(notes)}" if notes else "\n"
    return f"{before}{heading}{own.rstrip()}{added}{mark}{older}"


def format_notes(notes: Mapping[str, str]) -> str:
    """Write notes as Markdown lists under the headings of their rooms.

    Parameters
    ----------
    notes : mapping of str to str
        Text of each note by file name.

    Returns
    -------
    str
        The lists, ended by a newline.

    Examples
    --------
    >>> print(format_notes({"docs-glossary.md": "A glossary."}), end="")
    ### Documentation
    <BLANKLINE>
    * A glossary.
    """
    texts: dict[str, list[str]] = {room: [] for room in ROOMS}
    for name, text in notes.items():
        texts[check_note(name, text)].append("* " + textwrap.indent(text.strip(), "  ").lstrip())
    return "\n".join(f"### {ROOMS[room]}\n\n" + "\n".join(items) + "\n" for room, items in texts.items() if items)


def check_version(version: str) -> None:
    """Check that a version is the one that the package has.

    Parameters
    ----------
    version : str
        Version that is released.

    Raises
    ------
    ChangeError
        If the package or the citation has another version.
    """
    for path, pattern in _VERSIONED.items():
        found = re.search(pattern, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if found is None or found[1] != version:
            has = f"has version {found[1]}" if found else "names no version"
            raise ChangeError(f"{path.relative_to(FOLDER.parent)} {has}, expected {version}; set it there first")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments; those of the process if not given.

    Returns
    -------
    int
        0, or 1 if a note or CHANGES.md cannot be used.
    """
    parser = argparse.ArgumentParser(description="Move the change notes of this folder to CHANGES.md, or check them.")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--check", action="store_true", help="check names and texts; change nothing")
    task.add_argument("version", nargs="?", help="version that is released, as in 0.2.0")
    today = datetime.datetime.now(datetime.UTC).date()
    parser.add_argument("--date", type=datetime.date.fromisoformat, default=today, help="date of the release (today)")
    given = parser.parse_args(arguments)
    try:
        notes = read_notes(FOLDER)
        if not given.check:
            check_version(given.version)
            text = CHANGES.read_text(encoding="utf-8")
            CHANGES.write_text(assemble(text, notes, given.version, given.date.isoformat()), encoding="utf-8")
            for name in notes:
                (FOLDER / name).unlink()
    except ChangeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
