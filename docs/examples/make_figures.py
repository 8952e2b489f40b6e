"""Make the pictures of the documentation: python docs/examples/make_figures.py [gbt_wband_m82.zarr].

Those of the Green Bank Telescope need the session named, which is not part of the repository.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from run_page import run_page

from cal_pipeline import CalibrationPipeline
from cal_pipeline.cli.demo_real import PACKAGE, compare_figures, draw_real_scan

DOCS = Path(__file__).parents[1]
FIGURES = DOCS / "figures"
BIN = Path(sys.executable).parent
WATER = {"ccat": ("0.3", "0.5", "1"), "gbt": ("3", "5", "10"), "sofia": ("0.005", "0.01", "0.02")}


def store(picture: Path, name: str) -> None:
    """Store a picture with a palette of 64 colours, a quarter of its size."""
    Image.open(picture).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(FIGURES / name, optimize=True)


def draw_tables(folder: Path) -> None:
    """Draw the transmission of the shipped atmosphere tables."""
    for site, pwv in WATER.items():
        picture = folder / f"atm_{site}.png"
        subprocess.run([BIN / "atm-table", "plot", site, "-o", picture, "--pwv", *pwv], check=True)
        store(picture, picture.name)


def draw_simulations(folder: Path) -> None:
    """Draw the spectra of the quickstart and of the demo."""
    run_page(DOCS / "quickstart.rst", folder, skip=("pip install", "cal-demo"))
    store(folder / "spectrum.png", "quickstart_spectrum.png")
    subprocess.run([BIN / "cal-demo", folder / "demo"], check=True)
    store(folder / "demo" / "ccat_chai_scan1_spectrum.png", "demo_spectrum.png")


def draw_real_data(session: Path, folder: Path) -> None:
    """Draw spectrum and sky fit of M82, and list its figures."""
    product = CalibrationPipeline.call(
        str(session), config_file=str(DOCS.parent / "cfg" / "gbt_wband.asdf"), output_file=str(folder / "m82.zarr")
    )
    draw_real_scan(product, folder)
    store(folder / "gbt_spectrum_beam0.png", "gbt_spectrum.png")
    store(folder / "gbt_sky.png", "gbt_sky.png")
    lines = [".. list-table::", "   :header-rows: 1", "", "   * - beam", "     - figure", f"     - {PACKAGE}"]
    lines += ["     - cal_pipeline", "     - difference"]
    for beam, figures in enumerate(compare_figures(session, product)):
        for figure in figures:
            lines += [f"   * - {beam}", f"     - {figure.name}", *(f"     - {cell}".rstrip() for cell in figure.cells)]
    (DOCS / "real_data_figures.inc").write_text("\n".join(lines) + "\n", encoding="utf-8")


with tempfile.TemporaryDirectory() as name:
    draw_tables(Path(name))
    draw_simulations(Path(name))
    if len(sys.argv) > 1:
        draw_real_data(Path(sys.argv[1]), Path(name))
