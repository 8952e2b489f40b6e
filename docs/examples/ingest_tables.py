"""Make the tables of docs/ingest.rst: python docs/examples/ingest_tables.py FOLDER.

FOLDER holds the FITS files of the W-band receiver and of Argus, which are not part of the repository.
"""

import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path

from cal_pipeline import CalibrationPipeline, CalibratedSession
from cal_pipeline.cli import calibrate
from cal_pipeline.cli.demo_argus import ZENITH_OPACITY, compare_beams
from cal_pipeline.cli.demo_real import PACKAGE, compare_figures
from cal_pipeline.ingest import ingest

DOCS = Path(__file__).parents[1]
FOLDERS = {"gbt_wband": "AGBT15B_244_07", "gbt_argus": "AGBT21B_024_14"}
"""Folders of the files in the test data of dysh, by the profile."""

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


def show_dry_run(data: Path) -> str:
    """Return what the dry run on the W-band files prints, with the folder as a user names it."""
    printed, before = io.StringIO(), Path.cwd()
    try:
        os.chdir(data)
        with contextlib.redirect_stdout(printed):
            calibrate.main(["ingest", FOLDERS["gbt_wband"], "-o", "m82.zarr", "--dry-run"])
    finally:
        os.chdir(before)
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()) + "\n"


def make_tables(data: Path, folder: Path) -> dict[str, str]:
    """Ingest and calibrate the files, and make all tables.

    Parameters
    ----------
    data : Path
        Folder with the folders of the files, all levels down.
    folder : Path
        Folder for sessions and products.

    Returns
    -------
    dict of str
        Texts by the name of their file.
    """
    products = {}
    for profile, steps in {"gbt_wband": {}, "gbt_argus": {"atmosphere": {"zenith_opacity": ZENITH_OPACITY}}}.items():
        session = folder / f"{profile}.zarr"
        ingest([data], session, profile=profile)
        output = str(folder / f"{profile}_l1.zarr")
        products[profile] = session, CalibrationPipeline.call(str(session), output_file=output, steps=steps)
    return {
        "ingest_wband.inc": tabulate_wband(*products["gbt_wband"]),
        "ingest_argus.inc": tabulate_argus(*products["gbt_argus"]),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        tables = make_tables(Path(sys.argv[1]), Path(name))
        for name, folder in FOLDERS.items():
            source = "wband_m82"
    for name, text in tables.items():
        (DOCS / name).write_text(text, encoding="utf-8")
