"""Tangential projections of images, the map from one to another, and the grid common to several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError, ObservationError

Floats = NDArray[np.float64]

EDGE_TOLERANCE = 1e-6
"""Part of a pixel by which a footprint may exceed the grid."""

MOST_EMPTY = 100
"""Largest number of grid pixels per pixel of the images: more is an error in a pointing."""

_TYPES = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
_NUMBERS = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
_UNITS = {"deg": 1.0, "arcmin": 1.0 / 60.0, "arcsec": 1.0 / 3600.0, "rad": math.degrees(1.0)}
_DEFAULTS = {"WCSAXES": 2, "LONPOLE": 180.0}
_WITHOUT_EFFECT = {"LATPOLE", "WCSNAME", "MJDREF", "MJDREFI", "MJDREFF", "DATE-OBS", "MJD-OBS"}
_EXPECTED = "the keywords of a TAN projection: CTYPE, CRVAL, CRPIX, CD, CUNIT, RADESYS"


@dataclass(frozen=True)
class Projection:
    """Tangential (gnomonic) projection of an image.

    Attributes
    ----------
    crval : tuple of float
        Right ascension and declination of the tangential point [deg].
    crpix : tuple of float
        Column and row of the tangential point; the centre of the first pixel is (1, 1).
    cd : tuple of tuple of float
        Offsets to the east and to the north (rows) per column and row [deg].
    radesys : str
        Reference system of the sky coordinates.
    equinox : float or None
        Equinox, of reference systems that have one [yr].

    Notes
    -----
    Calabretta and Greisen, A&A 395, 1077 (2002), section 5.1.3.

    Examples
    --------
    >>> Projection((150.0, 2.0), (64.5, 64.5), ((-1e-5, 0.0), (0.0, 1e-5))).moved(2, 0).crpix
    (66.5, 64.5)
    """

    crval: tuple[float, float]
    crpix: tuple[float, float]
    cd: tuple[tuple[float, float], tuple[float, float]]
    radesys: str = "ICRS"
    equinox: float | None = None

    def moved(self, columns: float, rows: float) -> Projection:
        """Return the projection with the tangential point moved by columns and rows."""
        return replace(self, crpix=(self.crpix[0] + columns, self.crpix[1] + rows))


class Grid(NamedTuple):
    """Pixel grid on the sky.

    Attributes
    ----------
    projection : Projection
        Projection.
    shape : tuple of int
        Numbers of rows and columns.
    """

    projection: Projection
    shape: tuple[int, int]


def parse_projection(keywords: Mapping[str, Any], where: str = "wcs") -> Projection:
    """Read a projection from the FITS keywords of the attribute ``wcs``.

    CUNIT, RADESYS and EQUINOX have the defaults of the FITS standard: degrees, ICRS, none.

    Parameters
    ----------
    keywords : mapping
        FITS keywords and their values.
    where : str
        Name of the exposure, for error messages.

    Returns
    -------
    Projection

    Raises
    ------
    LayoutError
        If a keyword is missing, has an impossible value, or belongs to another or a distorted
        projection.

    Examples
    --------
    >>> keywords = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0}
    >>> keywords |= {"CRPIX1": 64.5, "CRPIX2": 64.5, "CD1_1": -1e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-5}
    >>> parse_projection(keywords).crpix
    (64.5, 64.5)
    """
    if not isinstance(keywords, Mapping):
        raise LayoutError(f"{where}: found {keywords!r}, expected {_EXPECTED}")
    for name, expected in _TYPES.items():
        if keywords.get(name) != expected:
            raise LayoutError(f"{where}: {name}: found {keywords.get(name)!r}, expected {expected!r}")
    value = {name: _parse_number(keywords, name, where) for name in _NUMBERS}
    known = {*_TYPES, *_NUMBERS, *_DEFAULTS, *_WITHOUT_EFFECT, "CUNIT1", "CUNIT2", "RADESYS", "EQUINOX"}
    if foreign := sorted(str(name) for name in keywords if name not in known):
        raise LayoutError(f"{where}: found {', '.join(foreign)}, expected only {_EXPECTED}")
    for name, default in _DEFAULTS.items():
        if keywords.get(name, default) != default:
            raise LayoutError(f"{where}: {name}: found {keywords[name]!r}, expected {default}")
    units = [_parse_unit(keywords, name, where) for name in ("CUNIT1", "CUNIT2")]
    cd = tuple((value[f"CD{i}_1"] * units[i - 1], value[f"CD{i}_2"] * units[i - 1]) for i in (1, 2))
    crval = (value["CRVAL1"] * units[0], value["CRVAL2"] * units[1])
    if abs(crval[1]) > 90.0:
        raise LayoutError(f"{where}: CRVAL2: found {crval[1]} deg, expected -90 to 90 deg")
    if cd[0][0] * cd[1][1] == cd[0][1] * cd[1][0]:
        raise LayoutError(f"{where}: CD: found {cd}, expected a matrix with an inverse")
    radesys = keywords.get("RADESYS", "ICRS")
    if not isinstance(radesys, str):
        raise LayoutError(f"{where}: RADESYS: found {radesys!r}, expected a name like 'ICRS'")
    equinox = _parse_number(keywords, "EQUINOX", where) if "EQUINOX" in keywords else None
    return Projection(crval, (value["CRPIX1"], value["CRPIX2"]), (cd[0], cd[1]), radesys, equinox)


def _parse_number(keywords: Mapping[str, Any], name: str, where: str) -> float:
    """Read a finite number."""
    value = keywords.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise LayoutError(f"{where}: {name}: found {value!r}, expected a number; needed are {_EXPECTED}")
    return float(value)


def _parse_unit(keywords: Mapping[str, Any], name: str, where: str) -> float:
    """Read a unit of angle; return its degrees."""
    unit = keywords.get(name, "deg")
    if unit not in _UNITS:
        raise LayoutError(f"{where}: {name}: found {unit!r}, expected one of {', '.join(_UNITS)}")
    return _UNITS[unit]


def format_projection(projection: Projection) -> dict[str, str | float]:
    """Write a projection as FITS keywords, in degrees.

    Parameters
    ----------
    projection : Projection
        Projection.

    Returns
    -------
    dict
        FITS keywords, which :func:`parse_projection` and ``astropy.wcs.WCS`` read.

    Examples
    --------
    >>> projection = Projection((150.0, 2.0), (64.5, 64.5), ((-1e-5, 0.0), (0.0, 1e-5)))
    >>> parse_projection(format_projection(projection)) == projection
    True
    """
    numbers = (*projection.crval, *projection.crpix, *projection.cd[0], *projection.cd[1])
    keywords: dict[str, str | float] = {**_TYPES, "CUNIT1": "deg", "CUNIT2": "deg"}
    keywords.update(zip(_NUMBERS, numbers, strict=True))
    keywords["RADESYS"] = projection.radesys
    if projection.equinox is not None:
        keywords["EQUINOX"] = projection.equinox
    return keywords


def map_pixels(source: Projection, target: Projection, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Map pixel positions of one projection to another.

    Parameters
    ----------
    source, target : Projection
        Projections of the positions given and sought.
    x, y : ndarray
        Columns and rows, broadcast against each other; the centre of the first pixel is (0, 0).

    Returns
    -------
    x, y : ndarray
        Columns and rows in `target`, NaN for positions 90 degrees or more from its tangential point.
    area : ndarray
        Area of a `source` pixel there [pixels of `target`].

    Notes
    -----
    Two gnomonic projections of a sphere are two perspective pictures from its centre. The map from
    one to the other is therefore linear in homogeneous coordinates: (x', y', 1) w = H (x, y, 1),
    with the area det(H)/w³; and it maps straight lines to straight lines.

    Examples
    --------
    >>> source = Projection((150.0, 2.0), (64.5, 64.5), ((-1e-5, 0.0), (0.0, 1e-5)))
    >>> coarse = Projection((150.0, 2.0), (33.0, 32.5), ((-2e-5, 0.0), (0.0, 2e-5)))
    >>> [value.round(6).tolist() for value in map_pixels(source, coarse, np.array([63.5]), np.array([0.0]))]
    [[32.0], [-0.25], [0.25]]
    """
    if (source.crval, source.cd) == (target.crval, target.cd):
        # Exact, so that whole pixels stay whole.
        columns, rows = np.broadcast_arrays(
            x + (target.crpix[0] - source.crpix[0]), y + (target.crpix[1] - source.crpix[1])
        )
        return columns, rows, np.ones(columns.shape)
    matrix = np.linalg.solve(_directions(target), _directions(source))
    w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    w = np.where(w > 0.0, w, np.nan)
    columns, rows = ((row[0] * x + row[1] * y + row[2]) / w for row in matrix[:2])
    return columns, rows, np.abs(np.linalg.det(matrix)) / w**3


def _directions(projection: Projection) -> Floats:
    """Return the matrix (3, 3) that turns (x, y, 1) into a direction on the sky, of any length."""
    ra, dec = np.radians(projection.crval)
    axes = np.array(
        [
            [-np.sin(ra), -np.sin(dec) * np.cos(ra), np.cos(dec) * np.cos(ra)],
            [np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec) * np.sin(ra)],
            [0.0, np.cos(dec), np.sin(dec)],
        ]
    )  # columns: east, north, tangential point
    cd = np.radians(projection.cd)
    plane = np.eye(3)
    plane[:2, :2] = cd
    plane[:2, 2] = -cd @ (np.array(projection.crpix) - 1.0)
    return np.asarray(axes @ plane)


def _map_corners(source: Projection, shape: tuple[int, int], target: Projection) -> tuple[Floats, Floats]:
    """Map the four corners of an image, at the outer edges of its pixels; NaN beyond the horizon."""
    rows, columns = shape
    x = np.array([-0.5, columns - 0.5, -0.5, columns - 0.5])
    y = np.array([-0.5, -0.5, rows - 0.5, rows - 0.5])
    return map_pixels(source, target, x, y)[:2]


def compute_grid(projections: Sequence[Projection], shapes: Sequence[tuple[int, int]]) -> Grid:
    """Compute the grid that several images are resampled to.

    The grid has the projection of the first image, with CRPIX moved by whole pixels so that the
    outer pixel edges of all images just fit, to 1e-6 pixel.

    Parameters
    ----------
    projections : sequence of Projection
        Projections of the images, that of the lowest exposure number first.
    shapes : sequence of tuple of int
        Numbers of rows and columns of the images.

    Returns
    -------
    Grid

    Raises
    ------
    ObservationError
        If reference systems differ, or images lie so far from each other that the grid would be
        empty but for one pixel in a hundred.

    Examples
    --------
    >>> first = Projection((150.0, 2.0), (64.5, 64.5), ((-1e-5, 0.0), (0.0, 1e-5)))
    >>> grid = compute_grid([first, first.moved(2.5, -3)], [(128, 128), (128, 128)])
    >>> grid.shape, grid.projection.crpix
    ((131, 131), (67.5, 64.5))
    """
    first = projections[0]
    systems = {(projection.radesys, projection.equinox) for projection in projections}
    if len(systems) > 1:
        names = ", ".join(
            sorted(f"{system}{'' if equinox is None else f' {equinox:g}'}" for system, equinox in systems)
        )
        raise ObservationError(f"wcs: RADESYS: found {names}, expected one reference system for all images of a mosaic")
    footprints = [find_footprint(Grid(*image), first) for image in zip(projections, shapes, strict=True)]
    n_pixels = sum(rows * columns for rows, columns in shapes)
    if None in footprints:
        raise ObservationError("wcs: CRVAL: found pointings 90 degrees or more apart, expected overlapping images")
    rows, columns = (
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*filter(None, footprints), strict=True)
    )
    grid = cut_grid(Grid(first, shapes[0]), rows, columns)
    if grid.shape[0] * grid.shape[1] > MOST_EMPTY * n_pixels:
        raise ObservationError(
            f"wcs: CRVAL: found a mosaic of {grid.shape[1]} x {grid.shape[0]} pixels, mostly empty, of {len(shapes)} "
            f"images, expected at most {MOST_EMPTY} times their {n_pixels} pixels"
        )
    return grid


def cut_grid(grid: Grid, rows: slice, columns: slice) -> Grid:
    """Cut a rectangle out of a grid.

    Parameters
    ----------
    grid : Grid
        Grid.
    rows, columns : slice
        Rows and columns, with start and stop.

    Examples
    --------
    >>> grid = Grid(Projection((150.0, 2.0), (64.5, 64.5), ((-1e-5, 0.0), (0.0, 1e-5))), (128, 128))
    >>> part = cut_grid(grid, slice(100, 128), slice(0, 128))
    >>> part.shape, part.projection.crpix
    ((28, 128), (64.5, -35.5))
    """
    return Grid(
        grid.projection.moved(-columns.start, -rows.start), (rows.stop - rows.start, columns.stop - columns.start)
    )


def find_footprint(image: Grid, target: Projection) -> tuple[slice, slice] | None:
    """Find the pixels of another projection that an image touches.

    Parameters
    ----------
    image : Grid
        Pixels of the image.
    target : Projection
        Projection of the pixels sought.

    Returns
    -------
    rows, columns : slice
        Smallest rectangle of pixels around the image, which may lie outside of any array. None if
        part of the image is 90 degrees or more from the tangential point.

    Examples
    --------
    >>> image = Grid(Projection((150.0, 2.0), (64.5, 64.5), ((-1e-5, 0.0), (0.0, 1e-5))), (128, 128))
    >>> find_footprint(image, image.projection.moved(0.5, -10))
    (slice(-10, 118, None), slice(0, 129, None))
    """
    columns, rows = _map_corners(image.projection, image.shape, target)
    if not np.isfinite(rows).all():
        return None
    return _surround(rows), _surround(columns)


def _surround(corners: Floats) -> slice:
    """Return the pixels that positions of corners span."""
    start = math.floor(corners.min() + 0.5 + EDGE_TOLERANCE)
    return slice(start, math.ceil(corners.max() - 0.5 - EDGE_TOLERANCE) + 1)


def find_part(image: Grid, target: Grid) -> tuple[slice, slice]:
    """Find the part of an image that a rectangle of sky needs, with two pixels more on every side.

    Parameters
    ----------
    image : Grid
        Pixels of the image.
    target : Grid
        Pixels to be covered.

    Returns
    -------
    rows, columns : slice
        Rows and columns of the image; empty if it lies outside.

    Examples
    --------
    >>> image = Grid(Projection((150.0, 2.0), (64.5, 64.5), ((-1e-5, 0.0), (0.0, 1e-5))), (128, 128))
    >>> find_part(image, cut_grid(image, slice(10, 20), slice(0, 128)))
    (slice(8, 22, None), slice(0, 128, None))
    """
    needed = find_footprint(target, image.projection)
    whole = slice(0, image.shape[0]), slice(0, image.shape[1])
    if needed is None:
        return whole
    if any(part.stop <= 0 or part.start >= all_.stop for part, all_ in zip(needed, whole, strict=True)):
        return slice(0, 0), slice(0, 0)
    # Corners of pixels are found from their neighbours: the pixels at the edges of a part have two.
    rows, columns = (
        slice(max(part.start - 2, 0), min(part.stop + 2, all_.stop)) for part, all_ in zip(needed, whole, strict=True)
    )
    return rows, columns
