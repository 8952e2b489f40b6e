"""The demo of the imager: simulate a dithered visit, calibrate it to a mosaic, compare with the truth."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cal_pipeline.cli.commands import show
from cal_pipeline.cli.demo_runs import run_program
from cal_pipeline.core.text import format_count
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.mosaics import MosaicModel
from cal_pipeline.imager.product import MosaicProduct, RateProduct
from cal_pipeline.imager.reference_files import Reference, read_reference
from cal_pipeline.imager.simulate import VisitConfig, VisitFiles, read_truth, simulate_visit, standard_visit
from cal_pipeline.imager.simulate.photometry import measure_stars
from cal_pipeline.imager.simulate.sky import measure_distance_to_trail
from cal_pipeline.report.mosaic_plots import plot_mosaic, plot_stars

Floats = NDArray[np.float64]

TRAIL = 40.0
"""Peak of the trail of a satellite in one exposure [e/s]."""

MICROJANSKY_OF_AB_ZERO = 3631e6

CORRELATED_NOISE = 1.5
"""Noise of a sum of many pixels of a mosaic over that of as many independent ones.

For a drop as large as the pixel and many dithers (Fruchter & Hook 2002, PASP 114, 144, equation 10).
"""

ACCURACY = 0.01
"""Deviation from the true flux that is allowed beside four errors."""

APERTURE = 6.0
"""Radius of the aperture of stars [pixel]."""

HALF_TRAIL = 4.0
"""Distance from its middle beyond which a trail is fainter than 3 % of its peak [pixel]."""

SHOWN_STARS = 10

_SHOWN = r"(?:\d+ \w+ calibrated|dark of |flat of |mosaic )"


class StarComparison(NamedTuple):
    """Measured against true fluxes of the stars that the mosaic has whole.

    Parameters
    ----------
    flux, err, true : ndarray, shape (stars,)
        Measured flux, its error, and the truth [µJy], the brightest star first.
    distance : ndarray, shape (stars,)
        Distance of the centroid from the true place [pixel].
    on_trail : ndarray of bool, shape (stars,)
        Whether the trail crosses the aperture in one exposure.
    """

    flux: Floats
    err: Floats
    true: Floats
    distance: Floats
    on_trail: NDArray[np.bool_]

    @property
    def is_recovered(self) -> NDArray[np.bool_]:
        """Mask of the stars whose flux is the true one within its errors."""
        return np.abs(self.flux - self.true) <= 4.0 * self.err + ACCURACY * self.true


def run_imager_demo(folder: Path, size: int, seed: int) -> int:
    """Simulate a visit, calibrate it with the five pipelines, compare, and draw.

    Parameters
    ----------
    folder : Path
        Output folder.
    size : int
        Rows and columns of the detector.
    seed : int
        Seed of the simulation.

    Returns
    -------
    int
        Exit status: 0 if everything was recovered within its errors, else 1.
    """
    start = time.perf_counter()
    config = make_visit(size, seed)
    files = simulate_visit(config, folder / "visit.zarr", overwrite=True)
    trailed = next(number for number, plan in enumerate(config.exposures, start=1) if plan.trail > 0)
    calibrate(files)
    mosaics = MosaicProduct(folder / "mosaic.zarr")
    (name,) = mosaics.numbers
    mosaic = mosaics.open_image(name)
    stars = compare_stars(mosaic, files, trailed, config.star_sigma)
    _print_stars(stars)
    recovered = _compare_references(files) and bool(stars.is_recovered[~stars.on_trail].all())
    pictures = [f"{name}_mosaic.png", f"{name}_stars.png"]
    plot_mosaic(mosaic, folder / pictures[0], frame=RateProduct(folder / "rate.zarr").open_image(trailed))
    apart = {"on the trail": stars.on_trail}
    plot_stars(stars.true, stars.flux, stars.err, folder / pictures[1], f"{name}: stars of the mosaic", apart)
    show(f"{format_count(len(pictures), 'picture')} in {folder}: {', '.join(pictures)}")
    show(f"{'all recovered' if recovered else 'NOT all recovered'} in {time.perf_counter() - start:.0f} s")
    return 0 if recovered else 1


def make_visit(size: int, seed: int) -> VisitConfig:
    """Configure the standard visit with the trail of a satellite in the third image."""
    config = standard_visit(size=size, seed=seed)
    exposures = list(config.exposures)
    third = [position for position, plan in enumerate(exposures) if plan.exp_type == "SCI"][2]
    exposures[third] = replace(exposures[third], trail=TRAIL)
    return replace(config, exposures=exposures)


def calibrate(files: VisitFiles) -> None:
    """Run the five pipelines; products and reference files lie beside the visit.

    Raises
    ------
    CalibrationError
        If one fails.
    """
    folder = files.visit.parent
    rate, dark, flat, cal = (folder / name for name in ("rate.zarr", "dark.asdf", "flat.asdf", "cal.zarr"))
    references, own_dark = f"--references={files.references}", f"--steps.dark.override_dark={dark}"
    own_flat = f"--steps.flat_field.override_flat={flat}"
    runs = [
        ["detector1", files.visit, rate, references],
        ["preprocess_dark", rate, dark],
        ["preprocess_flatfield", rate, flat, own_dark],
        ["image2", rate, cal, references, own_dark, own_flat, "--steps.photom.skip=false"],
        ["image3", cal, folder / "mosaic.zarr"],
    ]
    for pipeline, source, output, *options in runs:
        log = folder / f"{pipeline}.log"
        settings = [f"--output_file={output}", "--overwrite=true", *map(str, options), f"--log-file={log}"]
        run_program("strun", [str(pipeline), str(source), *settings], _SHOWN)


def compare_stars(mosaic: MosaicModel, files: VisitFiles, exposure: int, sigma: float) -> StarComparison:
    """Measure the stars of a mosaic.

    Parameters
    ----------
    mosaic : MosaicModel
        The mosaic [µJy].
    files : VisitFiles
        The visit.
    exposure : int
        Number of the exposure with the trail.
    sigma : float
        Standard deviation of the image of a star [pixel].

    Returns
    -------
    StarComparison
    """
    truth = read_truth(files.visit, exposure).stars
    x, y = WCS(mosaic.meta["wcs"]).all_world2pix(truth.ra, truth.dec, 0)
    found = measure_stars(mosaic.data, x, y, sigma, APERTURE, err=mosaic.err)
    true = MICROJANSKY_OF_AB_ZERO * 10.0 ** (-0.4 * truth.magnitude)
    order = np.argsort(-true)
    order = order[np.isfinite(found.flux[order])]
    distance = np.hypot(found.x - x, found.y - y)
    shape = RateProduct(files.visit.with_name("rate.zarr")).open_image(exposure).data.shape
    on_trail = np.abs(measure_distance_to_trail(shape, truth.x, truth.y)) < APERTURE + HALF_TRAIL
    err = CORRELATED_NOISE * found.err
    return StarComparison(found.flux[order], err[order], true[order], distance[order], on_trail[order])


def _print_stars(stars: StarComparison) -> None:
    """Print a table of stars of all magnitudes, and the figures of all of them."""
    table = Table(title="recovered against true")
    for column in ("star", "measured [µJy]", "error", "true", "off [%]", "off / error", "place off [pixel]"):
        table.add_column(escape(column), justify="right", no_wrap=True)
    off = stars.flux - stars.true
    count = len(off)
    for k in np.unique(np.linspace(0, count - 1, min(SHOWN_STARS, count)).round().astype(int)):
        table.add_row(
            f"{k + 1}{' (trail)' if stars.on_trail[k] else ''}",
            f"{stars.flux[k]:.2f}",
            f"{stars.err[k]:.2f}",
            f"{stars.true[k]:.2f}",
            f"{100.0 * off[k] / stars.true[k]:+.2f}",
            f"{off[k] / stars.err[k]:+.1f}",
            f"{stars.distance[k]:.3f}",
        )
    console = Console()
    (console if console.is_terminal else Console(width=100)).print(table)
    clean = ~stars.on_trail
    show(
        f"{format_count(int(clean.sum()), 'star')} off the trail: "
        f"{100.0 * np.median((off / stars.true)[clean]):+.2f} % in the median, "
        f"scatter {(off / stars.err)[clean].std():.2f} errors, "
        f"{stars.is_recovered[clean].sum()} within {ACCURACY:.0%} and 4 errors"
    )
    if stars.on_trail.any():
        # The gradient at its core protects a star, and what crosses it there.
        worst = np.abs(off / stars.true)[stars.on_trail].max()
        show(f"{format_count(int(stars.on_trail.sum()), 'star')} on the trail: off by up to {worst:.1%}")


def _compare_references(files: VisitFiles) -> bool:
    """Compare dark and flat field with the truth, print the result, and tell whether they are right."""
    own_dark, true_dark = _read_pair(files, "dark", "dark.asdf")
    own_flat, true_flat = _read_pair(files, "flat", "flat_H.asdf")
    good = (own_dark.arrays["dq"] & (DQ.DO_NOT_USE | DQ.REFERENCE_PIXEL)) == 0
    pull = ((own_dark.arrays["data"] - true_dark.arrays["data"]) / own_dark.arrays["err"])[good].std()
    good = (own_flat.arrays["dq"] & (DQ.DO_NOT_USE | DQ.REFERENCE_PIXEL)) == 0
    ratio = (own_flat.arrays["data"] / true_flat.arrays["data"])[good]
    scatter = ratio.std() / np.median(ratio)
    show(f"dark: scatter {pull:.2f} errors about the truth; flat field: {scatter:.2%} rms")
    return bool(0.8 < pull < 1.2 and scatter < ACCURACY)


def _read_pair(files: VisitFiles, reftype: str, true_name: str) -> tuple[Reference, Reference]:
    """Read a reference file that was made, and the true one."""
    rates = RateProduct(files.visit.with_name("rate.zarr"))
    image = rates.open_image(rates.numbers[-1])
    n_rows, n_columns = image.data.shape
    paths = files.visit.with_name(f"{reftype}.asdf"), files.references / true_name
    made, true = (read_reference(path, reftype, image.meta, (n_rows, n_columns)) for path in paths)
    return made, true
