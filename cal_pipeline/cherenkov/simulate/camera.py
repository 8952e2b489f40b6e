"""Simulated calibration events of a camera, aggregated to statistics of the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from astropy.time import Time

from cal_pipeline.cherenkov.camera import FLATFIELD, LAYOUT, PEAK_TIME, PEDESTAL, STATISTICS
from cal_pipeline.cherenkov.hdf5 import write_tables

TELESCOPE = "tel_001"
TRUTH = f"/simulation/camera_truth/{TELESCOPE}"
"""Table of the true properties of the pixels."""

START_MJD = 60135.0
"""Time of the first event: 2023-07-10T00:00:00 TAI."""

CHUNK_SECONDS = 100.0
PULSE_TIME = 20.0
PEDESTAL_SPREAD = 0.5
"""Spread of the pedestals of the pixels, in counts per sample."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CameraModel:
    """Properties of a camera and of its calibration events.

    Attributes
    ----------
    n_pixels, n_channels : int
        Pixels, and gain channels (1 or 2).
    n_events : int
        Events of a chunk.
    n_pe : float
        Mean photoelectrons of a flat-field pulse in the mean pixel.
    gain : sequence of float
        Counts per photoelectron, by channel.
    gain_spread, qe_spread : float
        Relative spread of the gains and of the quantum efficiencies of the pixels.
    pedestal : float
        Counts per sample without light.
    pedestal_std : sequence of float
        Noise of a charge, in counts, by channel.
    time_jitter : float
        Spread of the times of the pulse between pixels, and between events of a pixel.
    broken_pixels : float
        Fraction of pixels without data.
    squared_excess_noise_factor : float
        F² = 1 + var(charge of one photoelectron)/mean².
    window_width : int
        Samples of a charge.
    """

    n_pixels: int = 1855
    n_channels: int = 2
    n_events: int = 2500
    n_pe: float = 80.0
    gain: Sequence[float] = (15.0, 1.0)
    gain_spread: float = 0.1
    qe_spread: float = 0.05
    pedestal: float = 400.0
    pedestal_std: Sequence[float] = (30.0, 8.0)
    time_jitter: float = 0.3
    broken_pixels: float = 0.01
    squared_excess_noise_factor: float = 1.222
    window_width: int = 12


@dataclass(frozen=True)
class CameraTruth:
    """True properties of the pixels.

    Attributes
    ----------
    gain, pedestal : array of float, shape (channels, pixels)
        Counts per photoelectron; counts per sample.
    n_pe, time_shift : array of float, shape (pixels,)
        Mean photoelectrons of a pulse; its time relative to the median pixel.
    broken : array of bool, shape (pixels,)
        True for pixels without data.
    """

    gain: Array
    pedestal: Array
    n_pe: Array
    time_shift: Array
    broken: npt.NDArray[np.bool_]


def _single_chunk(n_chunks: int) -> dict[str, list[tuple[float, float]]]:
    chunk = (0.0, n_chunks * CHUNK_SECONDS)
    return {PEDESTAL: [chunk], FLATFIELD: [chunk], PEAK_TIME: [chunk]}


def _same_chunks(n_chunks: int) -> dict[str, list[tuple[float, float]]]:
    chunks = [(n * CHUNK_SECONDS, (n + 1) * CHUNK_SECONDS) for n in range(n_chunks)]
    return {PEDESTAL: chunks, FLATFIELD: chunks, PEAK_TIME: chunks}


def _different_chunks(n_chunks: int) -> dict[str, list[tuple[float, float]]]:
    """Make chunks of one, two and all lengths; edges differ by less than a second, those at the ends by two."""
    end = n_chunks * CHUNK_SECONDS
    flatfield = [(n * CHUNK_SECONDS + 0.2, (n + 1) * CHUNK_SECONDS) for n in range(n_chunks)]
    inner = [n * CHUNK_SECONDS + 0.4 for n in range(2, n_chunks, 2)]
    pedestal = list(zip([-2.0, *inner], [*inner, end + 2.0], strict=True))
    return {PEDESTAL: pedestal, FLATFIELD: flatfield, PEAK_TIME: [(0.1, end + 0.3)]}


AGGREGATION_MODES = {
    "sims_single_chunk": _single_chunk,
    "obslike_same_chunks": _same_chunks,
    "obslike_different_chunks": _different_chunks,
}
"""Chunks (start and end in seconds) of each kind of events, by mode, for a number of chunks."""


def draw_camera(model: CameraModel, seed: int) -> CameraTruth:
    """Draw the pixels of a camera.

    Parameters
    ----------
    model : CameraModel
        Means and spreads.
    seed : int
        Seed.

    Returns
    -------
    CameraTruth

    Examples
    --------
    >>> draw_camera(CameraModel(n_pixels=100, broken_pixels=0.02), seed=1).broken.sum()
    np.int64(2)
    """
    rng = np.random.default_rng([seed, 0])
    channels, pixels = model.n_channels, model.n_pixels
    gains = np.asarray(model.gain[:channels], dtype=float)[:, None]
    spread = np.clip(1 + model.gain_spread * rng.standard_normal((channels, pixels)), 0.05, None)
    efficiency = np.clip(1 + model.qe_spread * rng.standard_normal(pixels), 0.05, None)
    shift = model.time_jitter * rng.standard_normal(pixels)
    broken = np.zeros(pixels, dtype=bool)
    broken[rng.permutation(pixels)[: round(model.broken_pixels * pixels)]] = True
    return CameraTruth(
        gain=gains * spread,
        pedestal=model.pedestal + PEDESTAL_SPREAD * rng.standard_normal((channels, pixels)),
        n_pe=model.n_pe * efficiency,
        time_shift=shift - np.median(shift),
        broken=broken,
    )


def simulate_statistics(
    model: CameraModel, truth: CameraTruth, kind: str, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Simulate the events of a chunk, and take their statistics.

    Parameters
    ----------
    model : CameraModel
        Camera and events.
    truth : CameraTruth
        Its pixels.
    kind : str
        Kind of the statistics, such as ``"flatfield_image"``.
    rng : Generator
        Source of random numbers.

    Returns
    -------
    median, std : array of float, shape (channels, pixels)
        NaN for broken pixels.
    """
    shape = (model.n_events, model.n_pixels)
    if kind == PEAK_TIME:
        time = PULSE_TIME + truth.time_shift + model.time_jitter * rng.standard_normal((model.n_channels, *shape))
        samples = list(time)
    else:
        # Both channels see one and the same cascade of electrons; each adds its own noise.
        light = _draw_light(model, truth, rng) if kind == FLATFIELD else np.zeros(shape)
        samples = [
            model.window_width * truth.pedestal[channel]
            + model.pedestal_std[channel] * rng.standard_normal(shape)
            + truth.gain[channel] * light
            for channel in range(model.n_channels)
        ]
    median = np.array([np.median(values, axis=0) for values in samples])
    std = np.array([values.std(axis=0) for values in samples])
    median[:, truth.broken] = std[:, truth.broken] = np.nan
    return median, std


def simulate_camera(
    path: Path,
    mode: str,
    model: CameraModel,
    n_chunks: int = 3,
    seed: int = 1,
    provenance: dict[str, Any] | None = None,
    tool: str = "calibpipe-produce-camcalib-test-data",
    overwrite: bool = False,
) -> CameraTruth:
    """Simulate a file of pixel statistics of one telescope, with the truth.

    Parameters
    ----------
    path : Path
        HDF5 file to write.
    mode : str
        One of :data:`AGGREGATION_MODES`.
    model : CameraModel
        Camera and events.
    n_chunks : int
        Chunks of flat-field events.
    seed : int
        Seed; the pixels are those of :func:`draw_camera`.
    provenance : dict, optional
        Provenance.
    tool : str
        Command that makes the file.
    overwrite : bool
        Replace the file.

    Returns
    -------
    CameraTruth
    """
    truth, tables = draw_camera(model, seed), {}
    number = list(AGGREGATION_MODES).index(mode) + 1
    for place, (kind, chunks) in enumerate(AGGREGATION_MODES[mode](n_chunks).items()):
        rows = [
            simulate_statistics(model, truth, kind, np.random.default_rng([seed, number, place, chunk]))
            for chunk in range(len(chunks))
        ]
        start, end = (START_MJD + np.array(edge) / 86400 for edge in zip(*chunks, strict=True))
        tables[f"{STATISTICS}/{kind}/{TELESCOPE}"] = Table(
            {
                "time_start": Time(start, format="mjd", scale="tai"),
                "time_end": Time(end, format="mjd", scale="tai"),
                "n_events": np.full(len(chunks), model.n_events),
                "median": np.array([median for median, _ in rows]),
                "std": np.array([std for _, std in rows]),
            }
        )
    tables[TRUTH] = Table({name: [values] for name, values in vars(truth).items()})
    tables[LAYOUT] = _make_layout()
    write_tables(path, tables, tool, provenance or {}, overwrite, fresh=True)
    return truth


def _draw_light(model: CameraModel, truth: CameraTruth, rng: np.random.Generator) -> Array:
    """Draw the charges of pulses, in units of the mean of one photoelectron."""
    electrons = rng.poisson(truth.n_pe, (model.n_events, model.n_pixels)).astype(float)
    excess = np.sqrt((model.squared_excess_noise_factor - 1) * electrons)
    light: Array = electrons + excess * rng.standard_normal(electrons.shape)
    return light


def _make_layout() -> Table:
    return Table(
        {
            "tel_id": [1],
            "type": ["LST"],
            "pos_x": np.zeros(1),
            "pos_y": np.zeros(1),
            "pos_z": np.zeros(1),
            "tel_description": ["LST_LST_LSTCam"],
        },
        units={"pos_x": "m", "pos_y": "m", "pos_z": "m"},
    )
