"""Forward model of a ramp: charge, hits, non-linear response, clipping, zero levels, noise of reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.imager.simulate.config import ExposurePlan, VisitConfig
from cal_pipeline.imager.simulate.detector_maps import DetectorMaps
from cal_pipeline.imager.simulate.errors import VisitError
from cal_pipeline.imager.simulate.random_streams import Stream, make_generator
from cal_pipeline.imager.simulate.sky import StarTable, make_scene, place_stars

Array = NDArray[np.float64]

BLOCK_SAMPLES = 1 << 20
"""Samples of a block of rows, which is a chunk of the data too."""

_TOLERANCE = 1e-7
_MOST_STEPS = 50


class Hits(NamedTuple):
    """Cosmic-ray hits.

    Parameters
    ----------
    integration : ndarray of int64, shape (hits,)
        Integration, counted from 0.
    read : ndarray of int64, shape (hits,)
        First read, counted from 1, that has the charge.
    y, x : ndarray of int64, shape (hits,)
        Pixel of the exposure's array.
    charge : ndarray of float64, shape (hits,)
        Charge [e].
    """

    integration: NDArray[np.int64]
    read: NDArray[np.int64]
    y: NDArray[np.int64]
    x: NDArray[np.int64]
    charge: Array


class RampBlock(NamedTuple):
    """Rows of one integration.

    Parameters
    ----------
    data : ndarray, shape (G, rows, x)
        Readings [adu], of the type of the visit's data.
    first_clipped : ndarray of uint16, shape (rows, x)
        First group with a clipped read, counted from 0; G where there is none.
    hits : Hits
        Hits on these rows.
    """

    data: NDArray[Any]
    first_clipped: NDArray[np.uint16]
    hits: Hits


@dataclass(frozen=True, eq=False)
class ExposureModel:
    """All that determines the ramps of an exposure.

    Parameters
    ----------
    config : VisitConfig
        The visit.
    number : int
        Number of the exposure, from 1.
    maps : DetectorMaps
        Properties of the pixels of the whole detector.
    stars : StarTable
        Stars of the exposure.
    rate : ndarray of float64, shape (y, x)
        True rate of the pixels of the exposure's array [e/s]: light times flat field, plus dark.
    zero_levels : ndarray of float64, shape (I, reads, amplifiers)
        Zero level of each amplifier in each read since the reset [adu].
    """

    config: VisitConfig
    number: int
    maps: DetectorMaps
    stars: StarTable
    rate: Array
    zero_levels: Array

    @property
    def plan(self) -> ExposurePlan:
        """Plan of the exposure."""
        return self.config.exposures[self.number - 1]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Integrations, groups, rows and columns."""
        return self.plan.n_integrations, len(self.plan.reads()), *self.rate.shape

    @property
    def block_rows(self) -> int:
        """Rows of a block."""
        _, groups, ny, nx = self.shape
        return min(max(1, BLOCK_SAMPLES // (groups * nx)), ny)


def model_exposure(config: VisitConfig, number: int, maps: DetectorMaps) -> ExposureModel:
    """Compute light, rate and zero levels of an exposure.

    Parameters
    ----------
    config : VisitConfig
        The visit.
    number : int
        Number of the exposure, from 1.
    maps : DetectorMaps
        Properties of the pixels of the visit's detector.
    """
    plan = config.exposures[number - 1]
    part = config.slices(plan)
    stars = place_stars(config, plan)
    scene = make_scene(config, plan, stars)
    response = maps.flats[plan.filter][part] if plan.filter in maps.flats else maps.sensitive[part]
    rate = scene * response + maps.dark[part]
    levels = make_generator(config.seed, Stream.ZERO_LEVELS, number).standard_normal(
        (plan.n_integrations, plan.reads()[-1][-1], config.detector.amplifiers)
    )
    return ExposureModel(config, number, maps, stars, rate, config.detector.reference_noise * levels)


def simulate_block(model: ExposureModel, integration: int, block: int) -> RampBlock:
    """Simulate a block of rows of one integration.

    Parameters
    ----------
    model : ExposureModel
        The exposure.
    integration, block : int
        Integration and block of rows, both counted from 0.

    Raises
    ------
    VisitError
        If the reading of a charge cannot be found.
    """
    plan, config = model.plan, model.config
    random = make_generator(config.seed, Stream.RAMPS, model.number, integration, block)
    first = block * model.block_rows
    rate = model.rate[first : first + model.block_rows]
    pixels = _cut_pixels(model, first, first + rate.shape[0])
    groups = {read: index for index, group in enumerate(plan.reads()) for read in group}
    sums = np.zeros((len(plan.reads()), *rate.shape))
    first_clipped = np.full(rate.shape, len(plan.reads()), np.uint16)
    charge, hits = np.zeros(rate.shape), []
    for read in range(1, max(groups) + 1):
        charge += random.poisson(rate * plan.frame_time) if config.photon_noise else rate * plan.frame_time
        y, x, electrons = _draw_hits(random, plan, pixels.sensitive)
        np.add.at(charge, (y, x), electrons)
        hits.append(Hits(np.full(len(y), integration), np.full(len(y), read), y + first, x, electrons))
        if read in groups:
            reading, clipped = _respond(pixels, charge / pixels.gain)
            reading += model.zero_levels[integration, read - 1, pixels.amplifier]
            sums[groups[read]] += reading + pixels.noise * random.standard_normal(rate.shape)
            first_clipped[clipped] = np.minimum(first_clipped[clipped], groups[read])
    means = sums / np.array([len(group) for group in plan.reads()])[:, None, None] + pixels.bias
    return RampBlock(_digitize(means, config.dtype), first_clipped, join_hits(hits))


class _Pixels(NamedTuple):
    """Properties of the pixels of a block; the noise of a read and the well in adu, the amplifier by column."""

    gain: Array
    coeffs: Array
    well: Array
    noise: Array
    bias: Array
    sensitive: NDArray[np.bool_]
    amplifier: NDArray[np.int64]


def _cut_pixels(model: ExposureModel, first: int, last: int) -> _Pixels:
    """Cut rows of an exposure's array from the maps of the detector."""
    maps, (rows, columns) = model.maps, model.config.slices(model.plan)
    part = slice(rows.start + first, rows.start + last), columns
    gain, noise = maps.gain[part].astype(np.float64), maps.read_noise[part].astype(np.float64)
    nx = model.rate.shape[1]
    return _Pixels(
        gain=gain,
        coeffs=maps.coeffs[:, *part].astype(np.float64),
        well=maps.well[part].astype(np.float64),
        noise=noise / gain,
        bias=maps.bias[part].astype(np.float64),
        sensitive=maps.sensitive[part],
        amplifier=np.arange(nx) * model.config.detector.amplifiers // nx,
    )


def join_hits(parts: list[Hits]) -> Hits:
    """Join lists of hits."""
    return Hits(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _draw_hits(
    random: np.random.Generator, plan: ExposurePlan, sensitive: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Draw rows, columns and charges of the hits of one interval on sensitive pixels."""
    number = random.poisson(plan.hits * plan.frame_time * sensitive.size)
    y, x = (random.integers(0, length, number) for length in sensitive.shape)
    low, high = np.log(plan.hit_charge)
    electrons = np.exp(random.uniform(low, high, number))
    felt = sensitive[y, x]
    return y[felt], x[felt], electrons[felt]


def _respond(pixels: _Pixels, linear: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Turn charge over gain into a reading above the bias; tell where it clips."""
    capacity = _evaluate(pixels.coeffs, pixels.well)[0]
    clipped = linear >= capacity
    readings = _find_readings(pixels.coeffs, np.minimum(linear, capacity))
    return np.where(clipped, pixels.well, readings), clipped


def _evaluate(coeffs: Array, x: Array) -> tuple[Array, Array]:
    """Evaluate a polynomial and its derivative."""
    value, slope = coeffs[-1].copy(), np.zeros(x.shape)
    for order in range(len(coeffs) - 2, -1, -1):
        slope = slope * x + value
        value = value * x + coeffs[order]
    return value, slope


def _find_readings(coeffs: Array, linear: Array) -> Array:
    """Find the readings that a polynomial maps to given values, by Newton's method."""
    x = linear.copy()
    for _ in range(_MOST_STEPS):
        value, slope = _evaluate(coeffs, x)
        step = (value - linear) / slope
        x -= step
        if np.abs(step).max() < _TOLERANCE:  # convergence is quadratic: the next step would be nothing
            return x
    raise VisitError("the polynomial of the linearity cannot be inverted; choose a flatter one")


def _digitize(values: Array, dtype: str) -> NDArray[Any]:
    """Round to integers of the type and clip to its range; floats stay as they are."""
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
