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
from cal_pipeline.report.plots import plot_sky_fit, plot_spectrum

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
    """Draw spectrum and sky fit of M82."""
    product = CalibrationPipeline.call(
        str(session), config_file=str(DOCS.parent / "cfg" / "gbt_wband.asdf"), output_file=str(folder / "m82.zarr")
    )
    scan = product.open_scan(product.numbers[0]).load()
    plot_spectrum(scan, 0, 0, folder / "gbt_spectrum.png", smooth=64)
    plot_sky_fit(scan, folder / "gbt_sky.png")
    for name in ("gbt_spectrum.png", "gbt_sky.png"):
        store(folder / name, name)


with tempfile.TemporaryDirectory() as name:
    draw_tables(Path(name))
    draw_simulations(Path(name))
    if len(sys.argv) > 1:
        draw_real_data(Path(sys.argv[1]), Path(name))
