"""Reading the groups of an L0 session."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.errors import LayoutError
from cal_pipeline.models.chunks import ZarrArray
from cal_pipeline.models.clock import StageClock
from cal_pipeline.models.counts import Counts
from cal_pipeline.models.scan import Coordinates
from cal_pipeline.models.schema import (
    CALIBRATION_COORDINATES,
    SOURCE_COORDINATES,
    Coordinate,
)
from cal_pipeline.models.storage import Place
from cal_pipeline.models.threads import in_threads
from cal_pipeline.physics.averages import mean_from_sum, sum_of_valid
from cal_pipeline.physics.constants import TORR
from cal_pipeline.physics.loads import LoadMeans
from cal_pipeline.physics.quality import load_instability

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

HOT = ("HOT",)
COLD = ("COLD", "COL")
ZERO = ("ZERO",)


def read_coordinates(store: Place, group: str, shape: tuple[int, ...]) -> Coordinates:
    """Read what was recorded beside the counts of a ``source`` group.

    Parameters
    ----------
    store : Place
        The session.
    group : str
        Path of the ``source`` group in it.
    shape : tuple of int
        (C, D, R, A, S) of its counts.

    Returns
    -------
    Coordinates

    Raises
    ------
    LayoutError
        If an array is missing, or has another shape or type than the format says.
    """
    values = _read_arrays(store, group, SOURCE_COORDINATES, shape)
    _, n_dumps, n_receivers, n_arrays, _ = shape
    for name in ("otf_lon", "otf_lat"):
        if name in values and values[name].ndim == 1:
            values[name] = np.broadcast_to(values[name], (n_dumps, shape[4])).copy()
    values["pamb"] = values["pamb"] * TORR
    values["pixel"] = pixel_ids(values.pop("frontend_backends"), n_receivers, n_arrays)
    return Coordinates(shape=shape, **values)


def pixel_ids(recorded: NDArray[np.str_], n_receivers: int, n_arrays: int) -> NDArray[np.str_]:
    """Pixel ids by receiver and array, shape (R, A).

    Recorded is one id a pixel, at r·A + a, or one a subscan: then the ids in the order they appear,
    or the same one for all pixels.
    """
    n_pixels = n_receivers * n_arrays
    if len(recorded) != n_pixels:
        distinct = list(dict.fromkeys(recorded.tolist()))
        if len(distinct) not in (1, n_pixels):
            raise LayoutError(
                f"frontend_backends names {len(distinct)} pixels {distinct}, "
                f"expected {n_pixels} ({n_receivers} receivers x {n_arrays} arrays)"
            )
        recorded = np.array(distinct if len(distinct) == n_pixels else distinct * n_pixels)
    return recorded.reshape(n_receivers, n_arrays)


def _read_arrays(store: Place, group: str, wanted: dict[str, Coordinate], shape: tuple[int, ...]) -> dict[str, Any]:
    """Read the coordinate arrays of a group and check their shapes and types."""
    present = set(store.members(group))
    missing = [name for name, spec in wanted.items() if spec.required and name not in present]
    if missing:
        held = sorted(name for name in present if name != "zarr.json")
        raise LayoutError(f"{store}/{group} lacks {', '.join(missing)}; it holds {', '.join(held)}")
    names = [name for name in wanted if name in present]
    found = dict(zip(names, store.each(lambda name: ZarrArray(store, f"{group}/{name}"), names), strict=True))
    lengths = {"dump": shape[1], "subscan": shape[4], "pixel": shape[2] * shape[3]}

    def read(name: str) -> NDArray[Any]:
        array, spec = found[name], wanted[name]
        allowed = [tuple(lengths[axis] for axis in dims) for dims in spec.dims]
        if array.shape not in allowed:
            raise LayoutError(
                f"{store}/{group}/{name} has shape {array.shape}, expected "
                f"{' or '.join(str(s) for s in allowed)} ({' or '.join(str(d) for d in spec.dims)}), "
                f"as data_5d has shape {shape}"
            )
        try:
            content = array.read()
        except Exception as error:
            raise LayoutError(f"{array.name} cannot be read: {type(error).__name__}: {error}") from error
        return _as_type(content, spec, array.name)

    return dict(zip(names, store.each(read, names), strict=True))


def _as_type(array: NDArray[Any], spec: Coordinate, name: str) -> NDArray[Any]:
    """Numbers as float64, text as NumPy strings without blanks around them."""
    if spec.kind == "text":
        return np.array([str(item).strip() for item in array.ravel()], dtype=np.str_).reshape(array.shape)
    if array.dtype.kind not in "iuf":
        raise LayoutError(f"{name} is of type {array.dtype}, expected numbers ({spec.unit or 'no unit'})")
    return array.astype(np.float64)


def _names(pixel: NDArray[np.str_]) -> list[str]:
    """Pixel ids for a message."""
    return sorted(set(pixel.ravel().tolist()))


@dataclass(frozen=True)
class LoadCounts:
    """What the loads of a scan delivered.

    Parameters
    ----------
    means : LoadMeans
        Mean counts, without the zero level.
    zero : ndarray, shape (C, R, A), or None
        The zero level, where it was recorded [ct].
    instability : ndarray, shape (R, A)
        Relative change of the band-averaged counts on a load from dump to dump, the larger of hot and cold.
    """

    means: LoadMeans
    zero: Floats | None
    instability: Floats


def time_of_loads(store: Place, group: str) -> float:
    """Mean time of the hot and cold loads of a ``calibration`` group [d]; NaN without any.

    Raises
    ------
    LayoutError
        If phases and times cannot be read.
    """
    phase, mjd = (ZarrArray(store, f"{group}/{name}") for name in ("sobsmode", "mjd"))
    try:
        loads = np.isin(np.char.strip(np.char.upper(phase.read().astype(np.str_))), (*HOT, *COLD))
        return float(mjd.read()[loads].mean()) if loads.any() else float("nan")
    except (ValueError, RuntimeError, OSError, IndexError) as error:
        raise LayoutError(f"{store}/{group}: its times cannot be read: {type(error).__name__}: {error}") from error


class CalibrationGroup:
    """Hot and cold loads of a scan (L0 group ``calibration``).

    Parameters
    ----------
    store : Place
        The session.
    group : str
        Path of the ``calibration`` group in it.
    scan_number : int
        Number of the scan.

    Attributes
    ----------
    mjd : float
        Mean time of the hot and cold loads [d].
    """

    def __init__(self, store: Place, group: str, scan_number: int) -> None:
        self.scan_number = scan_number
        self.name = f"{store}/{group}"
        self._counts = Counts(store, f"{group}/data_5d", StageClock())
        values = _read_arrays(store, group, CALIBRATION_COORDINATES, self._counts.shape)
        self._phase = np.char.upper(values["sobsmode"])
        self._values = values
        self._pixel = pixel_ids(values["frontend_backends"], *self._counts.shape[2:4])
        loads = np.isin(self._phase, (*HOT, *COLD))
        self.mjd = float(values["mjd"][loads].mean()) if loads.any() else float("nan")

    def objection(self, shape: tuple[int, ...], pixel: NDArray[np.str_]) -> str | None:
        """Why these loads cannot calibrate counts of `shape` (C, D, R, A, S) from `pixel`; None if they can."""
        absent = [names[0] for names in (HOT, COLD) if not np.isin(self._phase, names).any()]
        if absent:
            return f"{self.name} has no {' and no '.join(absent)} (it has {sorted(set(self._phase.tolist()))})"
        own = [self._counts.shape[i] for i in (0, 2, 3)]
        other = [shape[i] for i in (0, 2, 3)]
        if own != other:
            return f"{self.name} has {own} channels, receivers, arrays, expected {other}"
        if set(self._pixel.ravel()) != set(pixel.ravel()):
            return f"{self.name} has pixels {_names(self._pixel)}, expected {_names(pixel)}"
        return None

    def means(self, pixel: NDArray[np.str_], clock: StageClock, t_cold_default: float | None = None) -> LoadCounts:
        """Mean counts on the loads.

        Parameters
        ----------
        pixel : ndarray of str, shape (R, A)
            Pixels of the scan to be calibrated; the loads are brought into their order.
        clock : StageClock
            Counts the time of reading under ``load``.
        t_cold_default : float, optional
            Temperature of the cold load where none was recorded [K].

        Returns
        -------
        LoadCounts
        """
        self._counts.clock = clock
        self._counts.warn_of_absent_chunks()
        order = self._order_of(pixel)
        phases = [HOT, COLD, ZERO] if np.isin(self._phase, ZERO).any() else [HOT, COLD]
        samples = int(np.prod(self._counts.shape))
        found = in_threads(lambda load: self._mean(load, order), phases, samples)
        (hot, hot_time, hot_change), (cold, cold_time, cold_change) = found[:2]
        zero = found[2][0] if len(found) > 2 else None
        if zero is not None:
            hot, cold = hot - zero, cold - zero
        t_hot = self._temperature("thot", HOT, None)
        t_cold = self._temperature("tcold", COLD, t_cold_default)
        times = (self._time_of(HOT), self._time_of(COLD))
        means = LoadMeans(hot, cold, hot_time, cold_time, t_hot, t_cold, *times)
        return LoadCounts(means, zero, np.fmax(hot_change, cold_change))

    def _time_of(self, phases: tuple[str, ...]) -> float:
        """Mean time of a load [d]."""
        return float(self._values["mjd"][np.isin(self._phase, phases)].mean())

    def _order_of(self, pixel: NDArray[np.str_]) -> NDArray[np.int64]:
        own, wanted = self._pixel.ravel().tolist(), pixel.ravel().tolist()
        if own == wanted or len(set(own)) != len(own):
            return np.arange(len(own))
        return np.array([own.index(name) for name in wanted])

    def _mean(self, phases: tuple[str, ...], order: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
        """Mean over valid dumps and subscans and the time in it, (C, R, A), and how unstable it is, (R, A)."""
        subscans = np.flatnonzero(np.isin(self._phase, phases)).tolist()
        n_channels, n_dumps, *pixels = (self._counts.shape[i] for i in range(4))
        shape = (n_channels, *pixels)
        total, time, number = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64)
        level, samples = (np.zeros((n_dumps, *pixels, len(subscans))) for _ in range(2))
        for channels, members in self._counts.blocks(subscans):
            block = self._counts.read(channels, members)
            for index, subscan in enumerate(members):
                partial, dumps = sum_of_valid(block[..., index], axis=1)
                total[channels] += partial
                number[channels] += dumps
                time[channels] += dumps * self._values["exptime"][subscan]
                column = subscans.index(subscan)
                partial, valid = sum_of_valid(block[..., index], axis=0)
                level[..., column] += partial
                samples[..., column] += valid
        mean = mean_from_sum(total, number)
        # Dumps that lack channels would differ from the others without any instability.
        level[samples < samples.max(initial=0)] = 0.0
        whole = mean_from_sum(level, np.where(level != 0.0, samples, 0).astype(np.int64))
        change = load_instability(np.moveaxis(whole, -1, 0).reshape(-1, *pixels))
        flat = (shape[0], -1)
        return (
            np.asfortranarray(mean.reshape(flat)[:, order].reshape(shape)),
            np.asfortranarray(time.reshape(flat)[:, order].reshape(shape)),
            change.ravel()[order].reshape(change.shape),
        )

    def _temperature(self, name: str, phases: tuple[str, ...], default: float | None) -> float:
        """Mean physical temperature of a load, or what is known of the telescope where none was recorded [K]."""
        recorded = self._values[name][np.isin(self._phase, phases)]
        valid = recorded[np.isfinite(recorded)]
        if default is not None and (valid.size == 0 or not (valid != 0).any()):
            logger.warning(
                "%s/%s was not recorded; %g K is assumed, as the telescope's profile says", self.name, name, default
            )
            return default
        if valid.size == 0 or (valid <= 0).any():
            raise LayoutError(f"{self.name}/{name} is {recorded.tolist()} K, expected temperatures above 0 K")
        return float(valid.mean())
