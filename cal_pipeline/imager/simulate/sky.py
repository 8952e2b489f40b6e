"""Light that falls on the simulated detector: pointing, stars, sky and lamp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from cal_pipeline.imager.simulate.config import ExposurePlan, VisitConfig

Array = NDArray[np.float64]

_REACH = 8.0
"""Half width of the drawn image of a star, in standard deviations."""

_TRAIL_SLOPE = 0.35
_TRAIL_SIGMA = 1.5


@dataclass(frozen=True)
class Pointing:
    """Gnomonic (TAN) projection of the sky onto a detector array.

    Parameters
    ----------
    ra, dec : float
        Point of tangency [deg].
    x, y : float
        Its place in the array, pixels counted from 0.
    scale : float
        Side of a pixel [deg].
    angle : float
        Angle from north to the y axis, through east [deg].

    Examples
    --------
    >>> pointing = Pointing(ra=150.0, dec=60.0, x=31.5, y=31.5, scale=1e-4, angle=0.0)
    >>> [float(np.round(value, 6)) for value in pointing.to_pixels(*pointing.to_sky(10.0, 20.0))]
    [10.0, 20.0]
    """

    ra: float
    dec: float
    x: float
    y: float
    scale: float
    angle: float

    def _axes(self) -> tuple[Array, Array, Array]:
        """Return unit vectors to the point of tangency, to the east and to the north."""
        ra, dec = np.radians([self.ra, self.dec])
        centre = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
        east = np.array([-np.sin(ra), np.cos(ra), 0.0])
        return centre, east, np.cross(centre, east)

    def _matrix(self) -> Array:
        """Return the matrix from pixels to offsets to the east and north [deg]."""
        c, s = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        return self.scale * np.array([[-c, s], [s, c]])

    def to_sky(self, x: float, y: float) -> tuple[float, float]:
        """Compute right ascension and declination [deg] of a place in the array."""
        centre, east, north = self._axes()
        to_east, to_north = np.radians(self._matrix() @ [x - self.x, y - self.y])
        direction = centre + to_east * east + to_north * north
        dec = np.arctan2(direction[2], np.hypot(direction[0], direction[1]))
        return float(np.degrees(np.arctan2(direction[1], direction[0])) % 360.0), float(np.degrees(dec))

    def to_pixels(self, ra: float, dec: float) -> tuple[float, float]:
        """Compute the place in the array, pixels counted from 0, of a direction [deg]."""
        direction = Pointing(ra, dec, 0.0, 0.0, 1.0, 0.0)._axes()[0]
        centre, east, north = self._axes()
        on_plane = np.degrees([direction @ east, direction @ north]) / (direction @ centre)
        x, y = np.linalg.solve(self._matrix(), on_plane)
        return float(x + self.x), float(y + self.y)

    def keywords(self) -> dict[str, Any]:
        """Return the projection as FITS keywords."""
        matrix = self._matrix()
        return {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRVAL1": self.ra,
            "CRVAL2": self.dec,
            "CRPIX1": self.x + 1.0,  # FITS counts from 1
            "CRPIX2": self.y + 1.0,
            **{f"CD{i + 1}_{j + 1}": float(matrix[i, j]) for i in range(2) for j in range(2)},
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "RADESYS": "ICRS",
        }


def point_exposure(config: VisitConfig, plan: ExposurePlan) -> Pointing:
    """Compute the projection of an exposure onto the array that it reads."""
    rows, columns = config.slices(plan)
    return _point(config, plan.offset, rows.start, columns.start)


def _point(config: VisitConfig, offset: tuple[float, float], first_row: int, first_column: int) -> Pointing:
    ny, nx = config.detector.shape
    x, y = (nx - 1) / 2.0, (ny - 1) / 2.0
    scale, angle = config.pixel_scale / 3600.0, config.position_angle
    field = Pointing(config.ra, config.dec, x, y, scale, angle)
    ra, dec = field.to_sky(x + offset[0], y + offset[1])
    return Pointing(ra, dec, x - first_column, y - first_row, scale, angle)


@dataclass(frozen=True, eq=False)
class StarTable:
    """Stars of an exposure.

    Parameters
    ----------
    ra, dec : ndarray of float64, shape (stars,)
        Coordinates [deg].
    magnitude : ndarray of float64, shape (stars,)
        AB magnitude above the atmosphere.
    x, y : ndarray of float64, shape (stars,)
        Place in the exposure's array, pixels counted from 0.
    rate : ndarray of float64, shape (stars,)
        Rate behind the atmosphere, summed over pixels, where the response is 1 [e/s].
    """

    ra: Array
    dec: Array
    magnitude: Array
    x: Array
    y: Array
    rate: Array


def place_stars(config: VisitConfig, plan: ExposurePlan) -> StarTable:
    """Compute places and rates of the stars of an exposure; without stars the table is empty."""
    ny, nx = config.detector.shape
    field = _point(config, (0.0, 0.0), 0, 0)
    pointing = point_exposure(config, plan)
    stars = list(config.stars) if plan.has_stars and plan.exp_type != "DARK" else []
    sky = np.array([field.to_sky(star.x + (nx - 1) / 2.0, star.y + (ny - 1) / 2.0) for star in stars]).reshape(-1, 2)
    pixels = np.array([pointing.to_pixels(ra, dec) for ra, dec in sky]).reshape(-1, 2)
    magnitude = np.array([star.magnitude for star in stars])
    rate = np.zeros(len(stars))
    if stars:
        chosen = config.find_filter(plan.filter)
        rate = 10.0 ** (0.4 * (chosen.zero_point - magnitude - chosen.extinction * plan.airmass))
    return StarTable(sky[:, 0], sky[:, 1], magnitude, pixels[:, 0], pixels[:, 1], rate)


def make_scene(config: VisitConfig, plan: ExposurePlan, stars: StarTable) -> Array:
    """Compute the light on each pixel of an exposure before the flat field.

    Parameters
    ----------
    config : VisitConfig
        The visit.
    plan : ExposurePlan
        The exposure.
    stars : StarTable
        Its stars.

    Returns
    -------
    ndarray of float64, shape (y, x)
        Rates [e/s] where the response is 1.
    """
    rows, columns = config.slices(plan)
    shape = rows.stop - rows.start, columns.stop - columns.start
    scene = np.zeros(shape)
    scene += plan.rate[rows, columns] if isinstance(plan.rate, np.ndarray) else _uniform_rate(config, plan)
    for x, y, rate in zip(stars.x, stars.y, stars.rate, strict=True):
        _add_star(scene, x, y, rate, config.star_sigma)
    if plan.trail:
        distance = measure_distance_to_trail(shape, np.arange(shape[1]), np.arange(shape[0])[:, None])
        scene += plan.trail * np.exp(-0.5 * (distance / _TRAIL_SIGMA) ** 2)
    return scene


def measure_distance_to_trail(shape: tuple[int, int], x: NDArray[Any], y: NDArray[Any]) -> Array:
    """Compute the signed distance of places on the detector from the middle of a trail.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the detector.
    x, y : ndarray
        Places [pixel], counted from 0.

    Returns
    -------
    ndarray
        Distance [pixel].

    Examples
    --------
    >>> float(measure_distance_to_trail((64, 64), np.array(32.0), np.array(32.0)))
    0.0
    """
    distance: Array = (y - shape[0] / 2.0 - _TRAIL_SLOPE * (x - shape[1] / 2.0)) / np.hypot(1.0, _TRAIL_SLOPE)
    return distance


def _uniform_rate(config: VisitConfig, plan: ExposurePlan) -> float:
    if plan.rate is not None:
        return float(plan.rate)
    if plan.exp_type == "DARK":
        return 0.0
    chosen = config.find_filter(plan.filter)
    return chosen.lamp if plan.exp_type == "FLAT" else chosen.sky


def _add_star(scene: Array, x: float, y: float, rate: float, sigma: float) -> None:
    """Add a round Gaussian, integrated over each pixel."""
    profiles, parts = [], []
    for centre, length in ((y, scene.shape[0]), (x, scene.shape[1])):
        low = min(max(int(np.floor(centre - _REACH * sigma)), 0), length)
        high = min(max(int(np.ceil(centre + _REACH * sigma)) + 1, low), length)
        edges = np.arange(low, high + 1) - 0.5
        profiles.append(0.5 * np.diff(erf((edges - centre) / (np.sqrt(2.0) * sigma))))
        parts.append(slice(low, high))
    scene[tuple(parts)] += rate * np.outer(*profiles)
