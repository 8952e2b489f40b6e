"""Run the code of a page as a reader would paste it: python docs/examples/run_page.py docs/quickstart.rst FOLDER."""

import argparse
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

BLOCK = re.compile(r"^\.\. code-block:: (bash|python)\n\n((?:   .*\n|\n)+)", re.MULTILINE)


def read_blocks(page: Path, skip: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Read the language and text of each block of a page, except blocks with one of the texts in `skip`."""
    found = [(language, textwrap.dedent(text).strip()) for language, text in BLOCK.findall(page.read_text())]
    return [(language, text) for language, text in found if not any(word in text for word in skip)]


def run_block(language: str, text: str, folder: Path) -> str:
    """Run a block in a folder and return its standard output; a status other than 0 is an error."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "MPLBACKEND": "Agg"}
    command = ["bash", "-euo", "pipefail", "-c", text] if language == "bash" else [sys.executable, "-c", text]
    return subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def run_page(page: Path, folder: Path, skip: tuple[str, ...] = ()) -> str:
    """Run the blocks of a page one after another in a folder.

    Parameters
    ----------
    page : Path
        The page.
    folder : Path
        Current folder of the commands.
    skip : tuple of str
        Leave out blocks with one of these texts.

    Returns
    -------
    str
        Standard output of all blocks.

    Raises
    ------
    subprocess.CalledProcessError
        If a command ends with a status other than 0.
    """
    return "".join(run_block(language, text, folder) for language, text in read_blocks(page, skip))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(run_page(arguments.page, arguments.folder, skip=("pip install",)))
