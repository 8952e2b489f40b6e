"""Step ``prepare``: which subscans are compared, and the mean of each OFF."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.errors import NoReferenceError
from cal_pipeline.heterodyne.modes import MODES, Mode, mode_named
from cal_pipeline.heterodyne.physics.opacity import airmass
from cal_pipeline.heterodyne.physics.planck import channel_frequencies
from cal_pipeline.heterodyne.physics.spikes import CLIP_SIGMA
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.schema import SOURCE_COORDINATES, L1Arrays
from cal_pipeline.heterodyne.stages import PairingStage
from cal_pipeline.heterodyne.times import find_odd_times
from cal_pipeline.steps.heterodyne.base import CalibrationStep
from cal_pipeline.steps.heterodyne.offs import OffSurvey
from cal_pipeline.steps.heterodyne.reference import FindReference

logger = logging.getLogger(__name__)


class _Specification:
    """Specification of the step, whose options are the modes that are registered when it is read."""

    def __get__(self, step: object, kind: type | None = None) -> str:
        options = ", ".join(repr(name) for name in ("auto", *MODES))
        return f"mode = option({options}, default='auto') # Observing mode"


class PrepareStep(CalibrationStep):
    """Sort the subscans by observing mode, average the OFFs and pair them with the ONs.

    Examples
    --------
    Rows of the map in the example of :class:`~cal_pipeline.CalibrationPipeline`, between three OFFs;
    the nearer OFF has the larger weight:

    >>> from cal_pipeline.steps import PrepareStep
    >>> pairing = PrepareStep.call("session.zarr").bands[0].pairing
    >>> pairing.on.tolist(), pairing.off.tolist()
    ([1, 2, 4, 5], [0, 3, 6])
    >>> pairing.time_weights[0].round(2).tolist()
    [0.67, 0.33, 0.0]
    """

    class_alias = "prepare"
    depends_on = ("loads.zero", "loads.solution.gamma", "loads.clip_sigma", "loads.saturation_counts", "bad_channel")

    spec = _Specification()

    mode: str

    def process_band(self, band: Band, scan: Scan) -> None:
        """Sort the subscans of a band and average its OFFs."""
        at = band.coordinates
        mode = band.mode if self.mode == "auto" else mode_named(self.mode)
        on, off = (_by_time(mask, at.mjd) for mask in (mode.find_ons(at.sobsmode), mode.find_offs(at.sobsmode)))
        if on.size == 0 or off.size == 0:
            raise NoReferenceError(
                f"{band}: {on.size} ON and {off.size} OFF among the phases {sorted(set(at.sobsmode.tolist()))} of "
                f"{band.store}/{band.group}/source/sobsmode, expected at least one of each for mode {mode.name}"
            )
        taken = np.concatenate([on, off])
        _refuse_unknown(band, taken)
        _warn_of_left_out(band, mode, taken)
        _warn_of_frequency_steps(band, on)
        if mode.has_dump_positions and (at.otf_lon is None or at.otf_lat is None):
            logger.warning("%s: otf_lon or otf_lat was not recorded; the positions of its dumps are NaN", band)
        counts = band.source_counts(scan.clock)
        counts.warn_of_absent_chunks()
        clip_sigma = CLIP_SIGMA if band.loads is None else band.loads.clip_sigma
        # The dumps of a chopped OFF are compared each with its own ON, not with each other.
        survey = OffSurvey(band, counts, off, 0.0 if mode.per_dump else clip_sigma, with_noise=not mode.per_dump)
        means, noise = survey.run()
        valid = np.asarray(means.dumps.max(axis=0) > 0)
        if not valid.any():
            raise NoReferenceError(
                f"{band}: none of its {off.size} OFFs has a valid dump in any pixel, expected one in {counts.name}"
            )
        try:
            pairing = mode.pair(at.sobsmode, at.mjd, on, off, valid)
        except NoReferenceError as error:
            raise NoReferenceError(f"{band}: {error}") from error
        dumps = means.dumps.max(axis=(0, 1, 2))
        odd = _warn_of_odd_times(band, mode, taken, off, dumps)
        _warn_of_empty_offs(band, off[dumps == 0])
        band.pairing = PairingStage(mode.name, on, off, means.mean, means.dumps, *pairing, means.spikes, *noise, odd)

    def describe_result(self, band: Band) -> str:
        """Describe the mode and the numbers of ONs and OFFs."""
        pairing = band.require_pairing()
        return f"mode {pairing.mode}, {format_count(pairing.on.size, 'ON')}, {format_count(pairing.off.size, 'OFF')}"

    @staticmethod
    def operation(band: Band) -> FindReference | None:
        """Return the work on samples; None without pairs of ON and OFF."""
        return FindReference(band, band.pairing) if band.pairing is not None else None

    @staticmethod
    def l1_arrays(band: Band) -> L1Arrays:
        """Return times, directions and recorded positions of the spectra."""
        return {} if band.pairing is None else _pointing_arrays(band, band.pairing)


def _pointing_arrays(band: Band, pairing: PairingStage) -> L1Arrays:
    """Collect times, directions and recorded positions of the spectra; per dump in OTF scans."""
    at, on, mode = band.coordinates, pairing.on[band.outputs[0]], mode_named(pairing.mode)
    arrays: L1Arrays = {"mjd": at.mjd[on], "elevation": at.elevation[on]}
    shape = (at.shape[1], on.size)
    for name in ("otf_lon", "otf_lat", "pixel_offset_lon", "pixel_offset_lat"):
        recorded = getattr(at, name)
        if recorded is not None:
            arrays[name] = recorded[..., on]
        elif mode.has_dump_positions and name in ("otf_lon", "otf_lat"):
            arrays[name] = np.full(shape, np.nan)
    if mode.has_dump_positions:
        arrays["otf_airmass"] = np.broadcast_to(airmass(at.elevation[on]), shape)
    return arrays


def _by_time(mask: NDArray[np.bool_], mjd: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the subscans of `mask` in time order, whatever their order in the store."""
    chosen = np.flatnonzero(mask)
    return chosen[np.argsort(mjd[chosen], kind="stable")]


def _refuse_unknown(band: Band, subscans: NDArray[np.int64]) -> None:
    """Refuse subscans with unsound values, which take part only because the mode was given."""
    for name in ("mjd", "exptime", "elevation", "pamb"):
        unknown = subscans[np.isnan(getattr(band.coordinates, name)[subscans])]
        if unknown.size:
            raise LayoutError(
                f"{band}: {name} of subscans {unknown.tolist()} is unknown or beyond its limits, expected "
                f"{SOURCE_COORDINATES[name].expected}; mode 'auto' leaves these subscans out"
            )


def _warn_of_left_out(band: Band, mode: Mode, taken: NDArray[np.int64]) -> None:
    """Warn of unused subscans, since a misspelt phase would silently exclude data."""
    phases = band.coordinates.sobsmode
    left = np.setdiff1d(np.arange(phases.size), taken)
    if left.size:
        names = sorted({phases[subscan] or "''" for subscan in left.tolist()})
        logger.warning(
            "%s: %s of phase %s left out; %s take part",
            band,
            format_count(left.size, "subscan"),
            ", ".join(names) + (" is" if left.size == 1 else " are"),
            mode.describe_phases(),
        )


def _warn_of_empty_offs(band: Band, empty: NDArray[np.int64]) -> None:
    """Warn of OFFs that are in no reference."""
    if empty.size:
        logger.warning("%s: OFFs without a valid dump in any pixel are left out: subscans %s", band, empty.tolist())


def _warn_of_odd_times(
    band: Band, mode: Mode, taken: NDArray[np.int64], off: NDArray[np.int64], dumps: NDArray[np.int32]
) -> int:
    """Warn of odd times, and return the number of warnings.

    The number of valid dumps is known of the OFFs; an ON has one at least.
    """
    at = band.coordinates
    least = np.ones(at.mjd.size, np.int64)
    least[off] = np.maximum(dumps, 1)
    where, date = f"{band.store}/{band.group}/source", band.attributes.get("date_obs")
    odd = find_odd_times(where, np.sort(taken), at.sobsmode, at.mjd, at.exptime, least, mode.per_dump, date)
    for words in odd:
        logger.warning("%s: %s", band, words)
    return len(odd)


def _warn_of_frequency_steps(band: Band, on: NDArray[np.int64]) -> None:
    """Warn when the frequency axis of an ON is more than half a channel off that of the first."""
    at = band.coordinates
    n_channels = at.shape[0]
    first, _ = channel_frequencies(n_channels, **at.frequency_axis(band.first_on))
    width = abs(at.freq_res[on]).min()
    for subscan in on:
        axis, _ = channel_frequencies(n_channels, **at.frequency_axis(subscan))
        step = np.abs(axis - first).max()
        if step > 0.5 * width:
            logger.warning(
                "%s: the frequency axis of subscan %d is %.3g channels off that of the first ON, which is used",
                band,
                subscan,
                step / width,
            )
