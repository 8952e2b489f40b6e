"""Make the tables and pictures of docs/ingest.rst, by following it: python docs/examples/ingest_tables.py FOLDER.

FOLDER holds the FITS files of the W-band receiver and of Argus, in folders wband_m82 and argus_ngc5908. They are no
part of the repository.
"""

import contextlib
import io
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from run_page import read_blocks

from cal_pipeline import CalibratedSession, open_l1
from cal_pipeline.cli import calibrate, simulate
from cal_pipeline.cli.demo_argus import compare_beams
from cal_pipeline.cli.demo_real import PACKAGE, compare_figures

DOCS = Path(__file__).parents[1]
FOLDERS = {"wband_m82": "AGBT15B_244_07", "argus_ngc5908": "AGBT21B_024_14"}
"""Folders of the files in FOLDER, and in the test data of dysh."""

PICTURES = ("m82.png", "ngc5908.png")
"""Pictures that the page makes."""

COMMANDS = {"calibrate": calibrate.main, "cal-simulate": simulate.main}
"""Commands on the page."""

COMPARED = ("gain", "T_rec, physical", "T_sys, counts")
"""Beginnings of the names of the figures for which the independent package has a value."""


def format_table(header: list[str], rows: list[list[str]]) -> str:
    """Format a list-table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (header, *rows):
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}".rstrip() for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def tabulate_wband(session: Path, product: CalibratedSession) -> str:
    """Tabulate gain and temperatures of both beams."""
    rows = [
        [str(beam), figure.name, *figure.cells]
        for beam, figures in enumerate(compare_figures(session, product))
        for figure in figures
        if figure.name.startswith(COMPARED)
    ]
    return format_table(["beam", "figure", PACKAGE, "cal_pipeline", "difference"], rows)


def tabulate_argus(session: Path, product: CalibratedSession) -> str:
    """Tabulate the system temperatures of all beams."""
    header = ["beam"]
    for mode in range(3):
        header += [f"mode {mode}, dysh [K]", "from L0 [K]"]
    header += ["``t_sys`` [K]", "T_vane - T_sky [K]", "``t_sys`` rescaled [K]"]
    rows = []
    for beam, figures in enumerate(compare_beams(session, product)):
        pairs = zip(figures.published, figures.found, strict=True)
        modes = [f"{value:.3f}" for pair in pairs for value in pair]
        rows.append(
            [str(beam), *modes, f"{figures.t_sys:.1f}", f"{figures.scale:.2f}", f"{figures.t_sys_rescaled:.3f}"]
        )
    return format_table(header, rows)


def make_tables(folder: Path) -> dict[str, str]:
    """Make all tables of sessions and products that were made as the page says.

    Parameters
    ----------
    folder : Path
        Folder in which the commands of the page were run.

    Returns
    -------
    dict of str
        Texts by the name of their file.
    """
    return {
        "ingest_wband.inc": tabulate_wband(folder / "m82.zarr", open_l1(folder / "m82_l1.zarr")),
        "ingest_argus.inc": tabulate_argus(folder / "ngc5908.zarr", open_l1(folder / "ngc5908_l1.zarr")),
    }


def link_files(data: Path, folder: Path) -> None:
    """Link the folders of the files under the names that they have in the test data of dysh."""
    for name, link in FOLDERS.items():
        (folder / link).symlink_to(next(data.rglob(name)).resolve())


def follow_page(folder: Path) -> list[tuple[str, str, str]]:
    """Run the blocks of the page in a folder, in this process.

    Parameters
    ----------
    folder : Path
        The folder, with the files.

    Returns
    -------
    list of tuple
        Language and text of each block, and what it printed.
    """
    before = Path.cwd()
    os.chdir(folder)
    try:
        return [(language, text, _run_block(language, text)) for language, text in read_blocks(DOCS / "ingest.rst")]
    finally:
        os.chdir(before)


def _run_block(language: str, text: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if language == "python":
            exec(compile(text, "docs/ingest.rst", "exec"), {})
        else:
            for line in text.replace("\\\n", " ").splitlines():
                program, *arguments = shlex.split(line, comments=True)
                status = COMMANDS[program](arguments)
                if status:
                    raise RuntimeError(f"{line} ended with exit status {status}")
    return printed.getvalue()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        link_files(Path(sys.argv[1]), Path(name))
        blocks = follow_page(Path(name))
        tables = make_tables(Path(name))
        for picture in PICTURES:
            shutil.copy2(Path(name) / picture, DOCS / "figures" / f"ingest_{picture}")
    tables["ingest_dry_run.txt"] = next(printed for _, text, printed in blocks if "--dry-run" in text)
    for name, text in tables.items():
        (DOCS / name).write_text(text, encoding="utf-8")
