"""Properties of every pixel of the simulated detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.simulate.config import MAX_DEVIATION, Detector, Filter, VisitConfig
from cal_pipeline.imager.simulate.random_streams import Stream, make_generator

Map = NDArray[np.float32]

_DUST_SPOTS = 3


@dataclass(frozen=True, eq=False)
class DetectorMaps:
    """True properties of the pixels, as the reference files have them.

    All are float32, so that files of that type hold exactly these numbers.

    Parameters
    ----------
    gain, read_noise, bias, well : ndarray of float32, shape (ny, nx)
        Gain [e/adu], noise of a read [e], zero level [adu], reading above it at which pixels clip
        [adu].
    coeffs : ndarray of float32, shape (k, ny, nx)
        Coefficients of the polynomial that maps readings above the bias to charge over gain.
    dark : ndarray of float32, shape (ny, nx)
        Dark current [e/s]; 0 in dead and reference pixels.
    flats : dict of str to ndarray of float32, shape (ny, nx)
        Response by filter, with a median of 1; 0 in dead and reference pixels.
    dead, hot, reference : ndarray of bool, shape (ny, nx)
        Pixels without response, with a large dark current, and of the blind border.
    """

    gain: Map
    read_noise: Map
    bias: Map
    well: Map
    coeffs: Map
    dark: Map
    flats: dict[str, Map]
    dead: NDArray[np.bool_]
    hot: NDArray[np.bool_]
    reference: NDArray[np.bool_]

    @property
    def sensitive(self) -> NDArray[np.bool_]:
        """Pixels that collect charge."""
        return ~(self.dead | self.reference)

    @property
    def mask(self) -> NDArray[np.uint32]:
        """Data quality that is known beforehand; hot pixels are known from darks only."""
        flags = np.where(self.dead, int(DQ.DEAD | DQ.DO_NOT_USE), 0)
        return np.where(self.reference, int(DQ.REFERENCE_PIXEL), flags).astype(np.uint32)


def make_maps(config: VisitConfig) -> DetectorMaps:
    """Make the properties of the pixels of a visit's detector; they follow from its seed."""
    detector, seed = config.detector, config.seed
    reference = _find_border(detector)
    dead, hot = _choose_bad_pixels(detector, seed, reference)
    sensitive = ~(dead | reference)
    well = _vary(detector, seed, Stream.WELL, detector.well, detector.well_spread)
    bias = detector.bias + detector.bias_spread * _draw(detector, seed, Stream.BIAS)
    return DetectorMaps(
        gain=_vary(detector, seed, Stream.GAIN, detector.gain, detector.gain_spread),
        read_noise=_vary(detector, seed, Stream.READ_NOISE, detector.read_noise, detector.read_noise_spread),
        bias=bias.astype(np.float32),
        well=well,
        coeffs=_make_coeffs(detector, seed),
        dark=np.where(sensitive, _make_dark(detector, seed, hot), 0.0).astype(np.float32),
        flats={one.name: _make_flat(detector, seed, index, one, sensitive) for index, one in enumerate(config.filters)},
        dead=dead,
        hot=hot,
        reference=reference,
    )


def _draw(detector: Detector, seed: int, stream: Stream, *key: int) -> NDArray[np.float64]:
    """Draw a normal deviate for each pixel, of at most `MAX_DEVIATION`."""
    deviates = make_generator(seed, stream, *key).standard_normal(detector.shape)
    return np.clip(deviates, -MAX_DEVIATION, MAX_DEVIATION)


def _vary(detector: Detector, seed: int, stream: Stream, mean: float, spread: float) -> Map:
    """Give each pixel a value around the mean."""
    return np.asarray(mean * (1.0 + spread * _draw(detector, seed, stream)), np.float32)


def _find_border(detector: Detector) -> NDArray[np.bool_]:
    ny, nx = detector.shape
    reference = np.ones(detector.shape, bool)
    reference[detector.border : ny - detector.border, detector.border : nx - detector.border] = False
    return reference


def _choose_bad_pixels(
    detector: Detector, seed: int, reference: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Choose dead and hot pixels among those that see light; none is both."""
    chance = make_generator(seed, Stream.BAD_PIXELS).random(detector.shape)
    dead = ~reference & (chance < detector.dead_fraction)
    return dead, ~reference & ~dead & (chance > 1.0 - detector.hot_fraction)


def _make_coeffs(detector: Detector, seed: int) -> Map:
    factor = 1.0 + detector.linearity_spread * _draw(detector, seed, Stream.LINEARITY)
    coeffs = np.empty((len(detector.linearity), *detector.shape), np.float32)
    for order, value in enumerate(detector.linearity):
        coeffs[order] = value * factor if order > 1 else value
    return coeffs


def _make_dark(detector: Detector, seed: int, hot: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Make a dark current with a log-normal spread and hot pixels of 0.2 to 1 of the largest."""
    normal = _draw(detector, seed, Stream.DARK)
    sigma = np.sqrt(np.log1p(detector.dark_spread**2))
    dark = detector.dark * np.exp(sigma * normal - 0.5 * sigma**2)
    fraction = make_generator(seed, Stream.DARK, 1).uniform(0.2, 1.0, detector.shape)
    return np.where(hot, detector.hot_dark * fraction, dark)


def _make_flat(detector: Detector, seed: int, index: int, one: Filter, sensitive: NDArray[np.bool_]) -> Map:
    """Make the response in a filter: that of each pixel, vignetting, a gradient and dust."""
    ny, nx = detector.shape
    y, x = np.linspace(-1.0, 1.0, ny)[:, None], np.linspace(-1.0, 1.0, nx)
    random = make_generator(seed, Stream.FLAT_STRUCTURE, index)
    depth, angle = detector.flat_structure, random.uniform(0.0, 2.0 * np.pi)
    shape = 1.0 - depth * (0.5 * (x**2 + y**2) + 0.3 * (x * np.cos(angle) + y * np.sin(angle)))
    for x0, y0 in random.uniform(-0.8, 0.8, (_DUST_SPOTS, 2)):
        shape *= 1.0 - depth * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / 0.06**2)
    response = shape * (1.0 + detector.flat_spread * _draw(detector, seed, Stream.FLAT))
    return np.where(sensitive, response / np.median(response[sensitive]), 0.0).astype(np.float32)
