"""Visit with all that a reduction needs: dithered images, blank skies, darks and flat fields."""

from __future__ import annotations

from typing import Any

import numpy as np

from cal_pipeline.imager.simulate.config import Detector, ExposurePlan, Filter, Star, VisitConfig
from cal_pipeline.imager.simulate.errors import require
from cal_pipeline.imager.simulate.random_streams import Stream, make_generator

_STAR_SPACING = 32
"""Side of the cells of the field that have a star each [pixel]."""

_MOST_STARS = 400
_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))
_FIRST_DITHER = 0.04
_SKY_CHANGE = 0.04


def standard_visit(
    *,
    size: int = 256,
    seed: int = 1,
    dithers: int = 5,
    skies: int = 3,
    darks: int = 5,
    flats: int = 9,
    detector: Detector | None = None,
    **exposure: Any,
) -> VisitConfig:
    """Configure a visit: darks, flat fields, a dither pattern on a field of stars, blank skies.

    Parameters
    ----------
    size : int
        Rows and columns of the detector.
    seed : int
        Seed of all random numbers, the places and magnitudes of the stars included.
    dithers, skies, darks, flats : int
        Number of exposures of each type.
    detector : Detector, optional
        The detector instead of the usual one of `size`.
    **exposure
        Parameters that all exposures share, of :class:`ExposurePlan`.

    Returns
    -------
    VisitConfig

    Raises
    ------
    VisitError
        If a parameter is out of range.

    Examples
    --------
    >>> visit = standard_visit(size=64, skies=1, darks=2, flats=0, dithers=2, n_groups=5)
    >>> [plan.exp_type for plan in visit.exposures]
    ['DARK', 'DARK', 'SCI', 'SCI', 'SKY']
    """
    numbers = {"dithers": dithers, "skies": skies, "darks": darks, "flats": flats}
    for name, number in numbers.items():
        require(number >= 0, f"{name} {number} must not be negative")
    chosen = detector or Detector(size=size)
    side = min(chosen.shape)
    exposures = [ExposurePlan("DARK", target="DARK", **exposure)] * darks
    exposures += [ExposurePlan("FLAT", target="LAMP", **exposure)] * flats
    exposures += [ExposurePlan("SCI", offset=_spiral(k, side), **exposure) for k in range(dithers)]
    # The sky changes slowly, and its exposures lie far from the field.
    sky = Filter("H").sky
    exposures += [
        ExposurePlan(
            "SKY", target="SKY", offset=(20.0 * side, 0.1 * k * side), rate=sky * (1.0 + _SKY_CHANGE * k), **exposure
        )
        for k in range(skies)
    ]
    return VisitConfig(exposures, chosen, stars=_make_stars(chosen, seed), seed=seed)


def _spiral(k: int, side: int) -> tuple[float, float]:
    """Return the k-th offset of a spiral whose steps are no whole pixels."""
    radius = _FIRST_DITHER * side * np.sqrt(k)
    return round(radius * np.cos(k * _GOLDEN_ANGLE), 2), round(radius * np.sin(k * _GOLDEN_ANGLE), 2)


def _make_stars(detector: Detector, seed: int) -> tuple[Star, ...]:
    """Place stars of 100 to 5000 e/s in cells of the field, so that their images do not touch."""
    ny, nx = detector.shape
    rows, columns = max(1, ny // _STAR_SPACING), max(1, nx // _STAR_SPACING)
    random = make_generator(seed, Stream.STARS)
    cells = random.permutation(rows * columns)[:_MOST_STARS]
    jitter = random.uniform(-0.2, 0.2, (len(cells), 2))
    rates = 10.0 ** random.uniform(2.0, 3.7, len(cells))
    magnitudes = Filter("H").zero_point - 2.5 * np.log10(rates)
    return tuple(
        Star(
            x=float(((cell % columns + 0.5 + dx) / columns - 0.5) * nx),
            y=float(((cell // columns + 0.5 + dy) / rows - 0.5) * ny),
            magnitude=float(magnitude),
        )
        for cell, (dx, dy), magnitude in zip(cells, jitter, magnitudes, strict=True)
    )
