"""Truth of a simulated visit: rates, hits, clipping and stars of each exposure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.schema import ProductArray, ProductSchema
from cal_pipeline.imager.simulate.ramps import ExposureModel, Hits
from cal_pipeline.imager.simulate.sky import StarTable

_HIT, _STAR = (("hit",),), (("star",),)

TRUTH = ProductSchema(
    {
        "rate": ProductArray((("y", "x"),), "float64", "electron / s", "Light times flat field, plus dark"),
        "first_clipped": ProductArray(
            (("integration", "y", "x"),), "uint16", "", "First group with a clipped read; the number of groups if none"
        ),
        "hit_integration": ProductArray(_HIT, "int64", "", "Integration of a hit, counted from 0"),
        "hit_read": ProductArray(_HIT, "int64", "", "First read with the charge of a hit, counted from 1"),
        "hit_y": ProductArray(_HIT, "int64", "", "Row of a hit, counted from 0"),
        "hit_x": ProductArray(_HIT, "int64", "", "Column of a hit, counted from 0"),
        "hit_charge": ProductArray(_HIT, "float64", "electron", "Charge of a hit"),
        "star_ra": ProductArray(_STAR, "float64", "deg", "Right ascension of a star"),
        "star_dec": ProductArray(_STAR, "float64", "deg", "Declination of a star"),
        "star_magnitude": ProductArray(_STAR, "float64", "mag", "AB magnitude of a star above the atmosphere"),
        "star_x": ProductArray(_STAR, "float64", "pixel", "Place of a star along x, counted from 0"),
        "star_y": ProductArray(_STAR, "float64", "pixel", "Place of a star along y, counted from 0"),
        "star_rate": ProductArray(_STAR, "float64", "electron / s", "Rate of a star where the response is 1"),
    }
)


@dataclass(frozen=True, eq=False)
class ExposureTruth:
    """Truth of an exposure.

    Parameters
    ----------
    rate : ndarray of float64, shape (y, x)
        Light times flat field, plus dark [e/s]; 0 in dead and reference pixels.
    first_clipped : ndarray of uint16, shape (I, y, x)
        First group with a clipped read, counted from 0; G where there is none.
    hits : Hits
        Cosmic-ray hits.
    stars : StarTable
        Stars in and around the field.

    Examples
    --------
    >>> from cal_pipeline.imager.simulate import Detector, ExposurePlan, VisitConfig, simulate_visit
    >>> plan = ExposurePlan("DARK", n_groups=3, hits=0.0)
    >>> files = simulate_visit(VisitConfig([plan], Detector(size=16)), "one_dark.zarr")
    >>> truth = read_truth(files.visit, 1)
    >>> truth.hits.charge.size, truth.stars.rate.size, int(truth.first_clipped.min())
    (0, 0, 3)
    """

    rate: NDArray[np.float64]
    first_clipped: NDArray[np.uint16]
    hits: Hits
    stars: StarTable


def truth_path(visit: str | Path) -> Path:
    """Return the path of the truth of a visit.

    Examples
    --------
    >>> truth_path("night/visit.zarr").name
    'visit.truth.zarr'
    """
    path = Path(visit)
    return path.with_name(f"{path.name.removesuffix('.zarr')}.truth.zarr")


def exposure_name(number: int) -> str:
    """Return the name of the group of an exposure."""
    return f"exp_{number:06d}"


def write_truth(root: StorePath, model: ExposureModel, first_clipped: NDArray[np.uint16], hits: Hits) -> None:
    """Write the truth of an exposure as a group of the store of truths."""
    name = exposure_name(model.number)
    write_group(root, name, {"exposure_number": model.number, "exp_type": model.plan.exp_type})
    arrays: dict[str, NDArray[Any]] = {"rate": model.rate, "first_clipped": first_clipped}
    arrays |= {f"hit_{field}": getattr(hits, field) for field in Hits._fields}
    arrays |= {f"star_{entry.name}": getattr(model.stars, entry.name) for entry in fields(StarTable)}
    group = root.child(name)
    for key, values in arrays.items():
        TRUTH.write_array(group, key, values, 1, set(arrays))


def read_truth(visit: str | Path, number: int) -> ExposureTruth:
    """Read the truth of an exposure.

    Parameters
    ----------
    visit : str or Path
        The simulated visit, not its truth.
    number : int
        Number of the exposure.

    Raises
    ------
    LayoutError
        If there is no truth of that exposure.

    Examples
    --------
    >>> from cal_pipeline.imager.simulate import Detector, ExposurePlan, VisitConfig, simulate_visit
    >>> plan = ExposurePlan("SCI", n_groups=3, rate=100.0)
    >>> files = simulate_visit(VisitConfig([plan], Detector(size=32, dead_fraction=0.0)), "one.zarr")
    >>> truth = read_truth(files.visit, 1)
    >>> truth.rate.shape, round(float(truth.rate[4:-4, 4:-4].mean()))
    ((32, 32), 100)
    """
    root = LocalStorePath(truth_path(visit))

    def read(key: str) -> NDArray[Any]:
        return open_reader(root, f"{exposure_name(number)}/{key}").read()

    hits = Hits(*(read(f"hit_{field}") for field in Hits._fields))
    stars = StarTable(*(read(f"star_{entry.name}") for entry in fields(StarTable)))
    return ExposureTruth(read("rate"), read("first_clipped"), hits, stars)
