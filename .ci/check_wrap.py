"""Check that the prose of the documentation is wrapped: ``python .ci/check_wrap.py FILE ...``."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

WIDTH = 100


def find_long_lines(text: str) -> list[str]:
    """Find lines of more than 100 characters outside of formulas, tables and code fences.

    Parameters
    ----------
    text : str
        A page in reStructuredText or Markdown.

    Returns
    -------
    list of str
        The lines.

    Examples
    --------
    >>> find_long_lines(100 * "x"), len(find_long_lines(101 * "x"))
    ([], 1)
    """
    prose = re.sub(r"\.\. math::\n\n(?:   .*\n|\n)+", "", text)
    prose = re.sub(r"^```.*?^```", "", prose, flags=re.DOTALL | re.MULTILINE)
    return [line for line in prose.splitlines() if len(line) > WIDTH and "|" not in line]


def main(names: Sequence[str]) -> int:
    """Print long lines of files; return 1 if there are any.

    Parameters
    ----------
    names : sequence of str
        Paths of the files.
    """
    found = [(name, line) for name in names for line in find_long_lines(Path(name).read_text(encoding="utf-8"))]
    for name, line in found:
        print(f"{name}: {len(line)} characters, wrap at {WIDTH}: {line}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
