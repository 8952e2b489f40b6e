"""Reading the groups of an L0 session."""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.run.threads import map_in_threads
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.coordinates import Coordinates, check_values, find_observed, read_arrays, refuse
from cal_pipeline.heterodyne.counts import Counts
from cal_pipeline.heterodyne.load_axes import Axis, read_axis
from cal_pipeline.heterodyne.modes import determine_mode
from cal_pipeline.heterodyne.phases import CALIBRATION, COLD, HOT, SKY, ZERO, cold_phases, find_loads
from cal_pipeline.heterodyne.physics.averages import mean_from_sum, sum_of_valid
from cal_pipeline.heterodyne.physics.constants import TORR
from cal_pipeline.heterodyne.physics.loads import LoadInput, LoadMeans
from cal_pipeline.heterodyne.physics.quality import load_instability
from cal_pipeline.heterodyne.physics.spikes import CLIP_SIGMA, average_without_spikes, blank_spikes, radiometer_noise
from cal_pipeline.heterodyne.schema import (
    CALIBRATION_COORDINATES,
    NUMBER_ATTRIBUTES,
    SOURCE_COORDINATES,
    TAMB,
    TEXT_ATTRIBUTES,
)
from cal_pipeline.heterodyne.sky_record import SkyRecord, warn_of_odd_skies
from cal_pipeline.heterodyne.times import check_times, refuse_break

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]


def read_attributes(store: StorePath, group: str) -> dict[str, Any]:
    """Read the attributes of a scan or band, and check those that decide how it is calibrated.

    Parameters
    ----------
    store : StorePath
        The session.
    group : str
        Path of the group in it.

    Returns
    -------
    dict
        The attributes; None in place of a number that is none, with a warning.

    Raises
    ------
    LayoutError
        If there is no such group, or one of :data:`~cal_pipeline.heterodyne.schema.TEXT_ATTRIBUTES` is
        no text.
    """
    attributes = read_group_attributes(store, group)
    for name in TEXT_ATTRIBUTES:
        if not isinstance(attributes.get(name), (str, type(None))):
            raise LayoutError(f"{store}/{group}: attribute {name} is {attributes[name]!r}, expected text")
    for name, unit in NUMBER_ATTRIBUTES.items():
        value = attributes.get(name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not is_number:
            logger.warning(
                "%s/%s: attribute %s is %r, expected a number [%s]; it is left out",
                store,
                group,
                name,
                value,
                unit,
            )
            attributes[name] = None
    return attributes


def read_coordinates(store: StorePath, group: str, shape: tuple[int, ...], instmode: str = "") -> Coordinates:
    """Read and check what was recorded beside the counts of a ``source`` group.

    Parameters
    ----------
    store : StorePath
        The session.
    group : str
        Path of the ``source`` group in it.
    shape : tuple of int
        (C, D, R, A, S) of its counts.
    instmode : str
        Instrument mode of the scan.

    Returns
    -------
    Coordinates

    Raises
    ------
    LayoutError
        If an array is missing, has another shape or type than the format says, or holds a number
        that makes no sense at a subscan that needs it; or if subscans cannot have been observed at
        their times.
    """
    where = f"{store}/{group}"
    arrays = read_arrays(store, group, SOURCE_COORDINATES, shape)
    values = check_values(where, arrays, SOURCE_COORDINATES, instmode)
    phases, observed = values["sobsmode"], find_observed(values["sobsmode"], instmode)
    per_dump = determine_mode(phases, instmode).per_dump
    values["mjd"] = check_times(where, phases, values["mjd"], values["exptime"], observed, per_dump)
    _, n_dumps, n_receivers, n_arrays, _ = shape
    for name in ("otf_lon", "otf_lat"):
        if name in values and values[name].ndim == 1:
            values[name] = np.broadcast_to(values[name], (n_dumps, shape[4])).copy()
    values["pamb"] = values["pamb"] * TORR
    values["pixel"] = pixel_ids(values.pop("frontend_backends"), n_receivers, n_arrays, where)
    if "lloadsn" in values:
        values["lloadsn"] = np.where(np.isnan(values["lloadsn"]), -1.0, values["lloadsn"]).astype(np.int64)
    return Coordinates(shape=shape, **values)


def pixel_ids(
    recorded: NDArray[np.str_], n_receivers: int, n_arrays: int, where: str = "", level: int = logging.WARNING
) -> NDArray[np.str_]:
    """Work out the ids of the pixels, each of which is unique.

    Parameters
    ----------
    recorded : ndarray of str, shape (R·A,) or (S,)
        ``frontend_backends``: one id a pixel, at r·A + a; else one a subscan. Of the latter the
        distinct values in order of appearance are the ids if there are R·A of them, and a single
        value X gives X_0, X_1, ….
    n_receivers, n_arrays : int
        R and A.
    where : str
        Name of the group, for messages.
    level : int
        Level of the log line when ids are made unique.

    Returns
    -------
    ndarray of str, shape (R, A)

    Raises
    ------
    LayoutError
        If the ids of the subscans are neither one nor as many as there are pixels.

    Examples
    --------
    >>> pixel_ids(np.array(["HFAV", "HFAV", "HFAV"]), 2, 1).tolist()
    [['HFAV_0'], ['HFAV_1']]
    """
    n_pixels = n_receivers * n_arrays
    name = f"{where}/frontend_backends" if where else "frontend_backends"
    ids = recorded.tolist()
    repeated = sorted(item for item, count in Counter(ids).items() if count > 1)
    if len(ids) == n_pixels:
        unique = _made_unique(ids, set(repeated))
    else:
        unique = list(dict.fromkeys(ids))
        if len(unique) == 1:
            unique = _made_unique(unique * n_pixels, set(unique)) if n_pixels > 1 else unique
        elif len(unique) == n_pixels:
            repeated = []
        else:
            raise LayoutError(
                f"{name} names {len(unique)} pixels {unique}, "
                f"expected {n_pixels} ({n_receivers} receivers x {n_arrays} arrays), or one id for all subscans"
            )
    if repeated and n_pixels > 1:
        logger.log(level, "%s repeats %s; its pixels are called %s", name, ", ".join(repeated), ", ".join(unique))
    return np.array(unique).reshape(n_receivers, n_arrays)


def _made_unique(ids: list[str], repeated: set[str]) -> list[str]:
    """Append _0, _1, ... to repeated ids, skipping ids that exist already."""
    taken = set(ids)
    numbers = {name: itertools.count() for name in repeated}
    unique = []
    for name in ids:
        if name in repeated:
            name = next(f"{name}_{i}" for i in numbers[name] if f"{name}_{i}" not in taken)
        unique.append(name)
    return unique


def _names(pixel: NDArray[np.str_]) -> list[str]:
    """Pixel ids for a message."""
    return sorted(set(pixel.ravel().tolist()))


@dataclass(frozen=True)
class LoadRules:
    """Rules by which the counts on the loads are read and averaged.

    Parameters
    ----------
    channel_width : float
        Noise bandwidth of a channel [Hz].
    clip_sigma : float
        Distance from the median of its dumps beyond which a sample is a spike; 0: none is [sigma].
    t_cold_default : float or None
        Temperature of the cold load where none was recorded [K].
    saturation_counts : float or None
        Counts from here on are missing [ct].
    """

    channel_width: float
    clip_sigma: float = CLIP_SIGMA
    t_cold_default: float | None = None
    saturation_counts: float | None = None


@dataclass(frozen=True)
class LoadCounts:
    """Counts on the loads of a scan.

    Parameters
    ----------
    means : LoadMeans
        Mean counts, with the zero level subtracted.
    zero : ndarray, shape (C, R, A), or None
        Zero level [ct]; None if not recorded.
    instability : ndarray, shape (R, A)
        Relative change of the band-averaged counts on a load from dump to dump, the larger of hot
        and cold.
    t_cold_assumed : bool
        Whether the temperature of the cold load was not recorded, so that the telescope's profile
        gave it.
    spikes : ndarray of int, shape (R, A), or None
        Number of samples of hot and cold that were left out as spikes; None if they were not looked
        for.
    dropped : int
        Number of subscans that were left out, since their phase is unknown.
    mjd : ndarray, shape (N,)
        Times of the subscans on the loads (MJD) [d].
    """

    means: LoadMeans
    zero: Floats | None
    instability: Floats
    t_cold_assumed: bool
    spikes: NDArray[np.int64] | None
    dropped: int
    mjd: Floats


@dataclass(frozen=True)
class _LoadAverage:
    """Mean counts and integration time of a load, (C, R, A); instability and number of spikes, (R, A).

    `dumps` is the number of valid dumps of each of its subscans, (K, R, A), a mean over the channels.
    """

    mean: Floats
    time: Floats
    instability: Floats
    spikes: NDArray[np.int64]
    dumps: Floats

    def in_order(self, order: NDArray[np.int64]) -> _LoadAverage:
        """Bring the pixels into another order, of indices (R·A,)."""

        def sort(values: NDArray[Any]) -> NDArray[Any]:
            flat = values.reshape(*values.shape[:-2], -1)[..., order]
            return np.asfortranarray(flat.reshape(values.shape))

        return _LoadAverage(*map(sort, (self.mean, self.time, self.instability, self.spikes, self.dumps)))


def time_of_loads(store: StorePath, group: str) -> float:
    """Read the mean time of the hot and cold loads of a ``calibration`` group [d].

    Returns
    -------
    float
        NaN without loads, and where a time of theirs is unknown.

    Raises
    ------
    LayoutError
        If phases and times cannot be read, or make no sense.
    """
    wanted = {name: CALIBRATION_COORDINATES[name] for name in ("sobsmode", "mjd")}
    phases = open_reader(store, f"{group}/sobsmode")
    if phases.ndim != 1:
        raise LayoutError(f"{phases.name} has shape {phases.shape}, expected one axis (subscan)")
    shape = (1, 1, 1, 1, *phases.shape)
    values = check_values(f"{store}/{group}", read_arrays(store, group, wanted, shape), wanted)
    phase = np.char.upper(values["sobsmode"])
    _refuse_broken_times(f"{store}/{group}", values["mjd"], phase)
    return _mean_time(values["mjd"], phase)


def _mean_time(mjd: Floats, phase: NDArray[np.str_]) -> float:
    """Compute the mean time (MJD) of hot and cold loads, or of HOT and SKY without COLD [d]; NaN without any."""
    loads = find_loads(phase)
    return float(mjd[loads].mean()) if loads.any() else float("nan")


def _refuse_broken_times(where: str, mjd: Floats, phase: NDArray[np.str_]) -> None:
    """Refuse loads of which some were observed a day or more before or after the others."""
    loads = np.flatnonzero(find_loads(phase))
    order = loads[np.argsort(mjd[loads])]
    if order.size:
        refuse_break(f"{where}/mjd", order, mjd[order])


class CalibrationGroup:
    """Hot and cold loads of a scan (L0 group ``calibration``).

    Parameters
    ----------
    store : StorePath
        The session.
    group : str
        Path of the ``calibration`` group in it.
    scan_number : int
        Number of the scan.

    Attributes
    ----------
    mjd : float
        Mean time of the hot and cold loads [d].
    has_sky_for_cold : bool
        Whether there is no COLD beside HOT, but a SKY that can stand for it.
    """

    def __init__(self, store: StorePath, group: str, scan_number: int) -> None:
        self.scan_number = scan_number
        self.name = f"{store}/{group}"
        self._store, self._group = store, group
        self._counts = Counts(store, f"{group}/data_5d", StageClock())
        values = read_arrays(store, group, CALIBRATION_COORDINATES, self._counts.shape)
        self._phase = np.char.upper(values["sobsmode"])
        self._cold = cold_phases(self._phase)
        self.has_sky_for_cold = self._cold == SKY
        self._values = values
        _, _, n_receivers, n_arrays, _ = self._counts.shape
        self._pixel = pixel_ids(values["frontend_backends"], n_receivers, n_arrays, self.name, logging.DEBUG)
        self.mjd = _mean_time(values["mjd"], self._phase)

    def objection(self, shape: tuple[int, ...], pixel: NDArray[np.str_], single_load: bool = False) -> str | None:
        """Explain why these loads cannot calibrate counts (C, D, R, A, S) of `pixel`, or None.

        Parameters
        ----------
        shape : tuple of int
            Shape of the counts.
        pixel : ndarray of str, shape (R, A)
            Their pixels.
        single_load : bool
            Whether SKY may stand for COLD.
        """
        cold = self._cold if single_load else COLD
        absent = [names[0] for names in (HOT, cold) if not np.isin(self._phase, names).any()]
        if absent:
            advice = "; to let its SKY stand for COLD give --steps.loads.single_load=true"
            return (
                f"{self.name} has no {' and no '.join(absent)} (it has {sorted(set(self._phase.tolist()))})"
                f"{advice if self.has_sky_for_cold else ''}"
            )
        own = [self._counts.shape[i] for i in (0, 2, 3)]
        other = [shape[i] for i in (0, 2, 3)]
        if own != other:
            return f"{self.name} has {own} channels, receivers, arrays, expected {other}"
        if set(self._pixel.ravel()) != set(pixel.ravel()):
            return f"{self.name} has pixels {_names(self._pixel)} (frontend_backends), expected {_names(pixel)}"
        return None

    @cached_property
    def axis(self) -> Axis:
        """Frequency axis of the first HOT; NaN where it was not recorded, cannot be read or makes no sense."""
        return read_axis(self._store, self._group, self._counts.shape, int(np.isin(self._phase, HOT).argmax()))

    def means(self, pixel: NDArray[np.str_], clock: StageClock, rules: LoadRules) -> LoadCounts:
        """Compute the mean counts on the loads; those of SKY where it stands for COLD, whose temperature is then NaN.

        Parameters
        ----------
        pixel : ndarray of str, shape (R, A)
            Pixels of the scan to be calibrated; the loads are brought into their order.
        clock : StageClock
            Counts the time of reading under ``load``.
        rules : LoadRules
            What is missing or a spike, and what stands in for what was not recorded.

        Returns
        -------
        LoadCounts

        Raises
        ------
        LayoutError
            If a time, an integration time or a temperature of the loads makes no sense.
        DataReadError
            If the counts cannot be read.
        """
        self._values = check_values(self.name, self._values, CALIBRATION_COORDINATES)
        _refuse_broken_times(self.name, self._values["mjd"], self._phase)
        self._counts.clock = clock
        self._counts.saturate_at(rules.saturation_counts).warn_of_absent_chunks()
        left = self._phase[~np.isin(self._phase, CALIBRATION)].tolist()
        if left:
            names, expected = (", ".join(sorted(set(phases))) for phases in (left, CALIBRATION))
            subscans = format_count(len(left), "subscan")
            logger.warning("%s: %s of phase %s left out, expected %s", self.name, subscans, names, expected)
        order = self._order_of(pixel)
        phases = [HOT, self._cold, *([ZERO] if np.isin(self._phase, ZERO).any() else [])]
        samples = int(np.prod(self._counts.shape))
        hot, cold, *other = map_in_threads(lambda load: self._average(load, rules).in_order(order), phases, samples)
        zero = other[0].mean if other else None
        if zero is not None:
            if not np.isfinite(zero).any():
                raise LayoutError(
                    f"{self.name}/data_5d: no dump of ZERO is valid in any pixel, expected one; the zero level is then "
                    "unknown: mend it, or leave the subscan out where counts have none"
                )
            hot, cold = (replace(load, mean=load.mean - zero) for load in (hot, cold))
        if self.has_sky_for_cold:
            warn_of_odd_skies(self.name, cold.dumps)
        t_hot, _ = self._temperature("thot", HOT, None)
        t_cold, assumed = math.nan, False
        if not self.has_sky_for_cold:
            t_cold, assumed = self._temperature("tcold", COLD, rules.t_cold_default)
        times = (self._time_of(HOT), self._time_of(self._cold))
        inputs = (LoadInput(t_hot), LoadInput(t_cold))
        means = LoadMeans(hot.mean, cold.mean, hot.time, cold.time, *inputs, *times, cold.dumps.mean(axis=1))
        spikes = hot.spikes + cold.spikes if rules.clip_sigma else None
        mjd = self._values["mjd"][find_loads(self._phase)]
        return LoadCounts(means, zero, np.fmax(hot.instability, cold.instability), assumed, spikes, len(left), mjd)

    def read_ambient(self, phases: tuple[str, ...], of_scan: Floats) -> float:
        """Read the ambient temperature at a load.

        Parameters
        ----------
        phases : tuple of str
            Phases of the load.
        of_scan : ndarray, shape (S,)
            Ambient temperatures of the subscans to calibrate, for loads without one [K].

        Returns
        -------
        float
            Mean of the ``tamb`` of the load's subscans that make sense, else of those of the scan [K].

        Raises
        ------
        LayoutError
            If none of them makes sense.
        """
        wanted = {"tamb": replace(TAMB, required=False)}
        recorded = read_arrays(self._store, self._group, wanted, self._counts.shape).get("tamb")
        at_load = np.empty(0) if recorded is None else recorded[np.isin(self._phase, phases)]
        at_load_sound, of_scan_sound = (values[~TAMB.find_unsound(values)] for values in (at_load, of_scan))
        if at_load_sound.size:
            return float(at_load_sound.mean())
        found = f"{self.name}/tamb at {phases[0]} is {TAMB.describe(at_load) if at_load.size else 'absent'}"
        if of_scan_sound.size:
            if np.isfinite(at_load).any():
                logger.warning("%s, expected %s; tamb of the scan is taken", found, TAMB.expected)
            return float(of_scan_sound.mean())
        raise LayoutError(
            f"{found}, and tamb of the scan {TAMB.describe(of_scan)}; expected {TAMB.expected} in either, as the "
            f"coupling to the load is below 1{TAMB.guess_unit(np.append(at_load, of_scan))}"
        )

    def read_sky(self, dumps: Floats | None = None) -> SkyRecord:
        """Read the conditions of the SKYs.

        Parameters
        ----------
        dumps : ndarray, shape (K, A), optional
            Number of valid dumps of each of them, as in the means of the counts.

        Raises
        ------
        LayoutError
            If the elevation of one is absent or makes no sense.
        """
        names = ("elevation", "tamb", "pamb")
        wanted = {name: replace(SOURCE_COORDINATES[name], required=False) for name in names}
        recorded = read_arrays(self._store, self._group, wanted, self._counts.shape)
        sky = np.isin(self._phase, SKY)
        elevation, tamb, pamb = (recorded.get(name, np.full(sky.shape, math.nan))[sky] for name in names)
        spec = wanted["elevation"]
        if "elevation" not in recorded:
            raise LayoutError(
                f"{self.name}/elevation is absent, expected {spec.expected} at each SKY: SKY stands for COLD, and the "
                "input temperature of the sky depends on where the telescope looked"
            )
        unsound = spec.find_unsound(elevation)
        if unsound.any():
            refuse(f"{self.name}/elevation of SKY", spec, elevation[unsound], elevation)
        return SkyRecord(self.name, elevation, tamb, pamb, dumps)

    def _time_of(self, phases: tuple[str, ...]) -> float:
        """Compute the mean time (MJD) of a load [d]."""
        return float(self._values["mjd"][np.isin(self._phase, phases)].mean())

    def _order_of(self, pixel: NDArray[np.str_]) -> NDArray[np.int64]:
        own, wanted = self._pixel.ravel().tolist(), pixel.ravel().tolist()
        return np.array([own.index(name) for name in wanted])

    def _average(self, phases: tuple[str, ...], rules: LoadRules) -> _LoadAverage:
        """Average the valid dumps of a load, or of ZERO, in which no spikes are looked for."""
        subscans = np.flatnonzero(np.isin(self._phase, phases)).tolist()
        n_channels, n_dumps, *pixels = (self._counts.shape[i] for i in range(4))
        average = _LoadAverage(
            np.empty((n_channels, *pixels), order="F"),
            np.zeros((n_channels, *pixels), order="F"),
            np.empty(pixels),
            np.zeros(pixels, np.int64),
            np.empty((len(subscans), *pixels)),
        )
        exptime = self._values["exptime"][subscans]
        known = exptime[exptime > 0.0]
        noise = radiometer_noise(rules.channel_width, known.mean(keepdims=True) if known.size else np.zeros(1))
        clip_sigma = 0.0 if phases == ZERO else rules.clip_sigma
        level, samples = (np.zeros((len(subscans), n_dumps, *pixels)) for _ in range(2))
        for channels, counts in self._read_together(subscans):
            partial, valid = sum_of_valid(counts, axis=0)
            level += partial
            samples += valid
            together = counts.reshape(len(counts), -1, *pixels, 1)
            mean, number, spikes = average_without_spikes(together, clip_sigma, noise)
            average.mean[channels] = mean[..., 0]
            if spikes is not None:
                average.spikes[...] += spikes.sum(axis=(0, 1, 4))
                counts = blank_spikes(together, spikes).reshape(counts.shape)
            if number.min() == together.shape[1]:
                average.time[channels] = n_dumps * exptime.sum()
                continue
            for index, seconds in enumerate(exptime):
                average.time[channels] += seconds * np.isfinite(counts[:, index]).sum(axis=1)
        average.dumps[...] = samples.sum(axis=1) / n_channels
        # Dumps that lack channels would differ from the others without any instability.
        level[samples < samples.max(initial=0)] = 0.0
        whole = mean_from_sum(level, np.where(level != 0.0, samples, 0).astype(np.int64))
        average.instability[...] = load_instability(whole.reshape(-1, *pixels))
        return average

    def _read_together(self, subscans: list[int]) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield the counts (c, len(subscans), D, R, A) of subscans, some channels at a time."""
        blocks = list(self._counts.blocks(subscans))
        with self._counts.read_ahead(blocks):
            for _, parts in itertools.groupby(blocks, key=lambda block: block[0].start):
                read = [(channels, self._counts.read(channels, members)) for channels, members in parts]
                counts = read[0][1] if len(read) == 1 else np.concatenate([part for _, part in read], axis=-1)
                yield read[0][0], np.ascontiguousarray(np.moveaxis(counts, -1, 1))

    def _temperature(self, name: str, phases: tuple[str, ...], default: float | None) -> tuple[float, bool]:
        """Compute the mean physical temperature of a load [K]; `default` and True if none was recorded."""
        spec = CALIBRATION_COORDINATES[name]
        recorded = self._values[name][np.isin(self._phase, phases)]
        known = recorded[~np.isnan(recorded)]
        if "0" in spec.unknown:
            known = known[known != 0.0]
        if default is not None and known.size == 0:
            logger.warning(
                "%s/%s was not recorded; %g K is assumed, as the telescope's profile says", self.name, name, default
            )
            return default, True
        unsound = spec.find_unsound(recorded)
        if known.size == 0 or unsound.any():
            refuse(f"{self.name}/{name}", spec, recorded[unsound] if known.size else recorded, known)
        return float(known.mean()), False


class LoadChoice(NamedTuple):
    """Loads of a scan.

    Parameters
    ----------
    group : CalibrationGroup
        The loads.
    reason : str
        Reason for the choice.
    passed_over : tuple of str
        Better candidates that could not be taken, with the reason against each.
    """

    group: CalibrationGroup
    reason: str
    passed_over: tuple[str, ...]
