"""Step ``prepare``: which subscans are compared, and the mean of each OFF."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.run.threads import in_threads
from cal_pipeline.core.text import count_of
from cal_pipeline.heterodyne.counts import Block, Counts
from cal_pipeline.heterodyne.errors import NoReferenceError
from cal_pipeline.heterodyne.l1_content import L1Arrays, pointing_arrays
from cal_pipeline.heterodyne.phases import MODES, beams, first_on, is_off, is_on, observing_mode
from cal_pipeline.heterodyne.physics.averages import mean_from_sum, sum_of_valid
from cal_pipeline.heterodyne.physics.planck import channel_frequencies
from cal_pipeline.heterodyne.physics.switching import interpolation_weights, nearest_off, reduction_groups
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.schema import SOURCE_COORDINATES
from cal_pipeline.heterodyne.stages import PairingStage
from cal_pipeline.steps.heterodyne.base import CalibrationStep
from cal_pipeline.steps.heterodyne.reference import FindReference

logger = logging.getLogger(__name__)


class PrepareStep(CalibrationStep):
    """Sort the subscans by observing mode, average the OFFs and pair them with the ONs."""

    class_alias = "prepare"

    spec = f"""
    mode = option('auto', {", ".join(repr(mode) for mode in MODES)}, default='auto') # Observing mode
    """

    mode: str

    def process_band(self, band: Band, scan: Scan) -> None:
        """Sort the subscans of a band and average its OFFs."""
        at = band.coordinates
        mode = (
            observing_mode(at.sobsmode, str(band.attributes.get("instmode", ""))) if self.mode == "auto" else self.mode
        )
        chopped = mode == "otf_chopped"
        beam = beams(at.sobsmode)
        observed = (beam != "") if chopped else np.ones(beam.shape, np.bool_)
        on, off = (_by_time(mask & observed, at.mjd) for mask in (is_on(at.sobsmode), is_off(at.sobsmode)))
        if on.size == 0 or off.size == 0:
            raise NoReferenceError(
                f"{band}: {on.size} ON and {off.size} OFF among the phases {sorted(set(at.sobsmode.tolist()))}, "
                f"expected at least one of each for mode {mode}"
            )
        taken = np.concatenate([on, off])
        _refuse_unknown(band, taken)
        _warn_of_left_out(band, taken)
        _warn_of_frequency_steps(band, on)
        if mode != "total_power" and (at.otf_lon is None or at.otf_lat is None):
            logger.warning("%s: otf_lon or otf_lat was not recorded; the positions of its dumps are NaN", band)
        counts = band.source_counts(scan.clock)
        counts.warn_of_absent_chunks()
        off_mean, off_dumps = _mean_offs(counts, off)
        valid = np.asarray(off_dumps.max(axis=0) > 0)
        if not valid.any():
            raise NoReferenceError(f"{band}: none of its {off.size} OFFs has a valid dump in any pixel")
        pairing = _reduction_groups(band, on, off, beam) if chopped else _interpolation(band, on, off, valid)
        band.pairing = PairingStage(
            mode, on, off, off_mean, off_dumps, *pairing, beam=beam[on] if chopped else np.full(on.size, "")
        )

    def describe_result(self, band: Band) -> str:
        """Describe the mode and the numbers of ONs and OFFs."""
        pairing = band.require_pairing()
        return f"mode {pairing.mode}, {count_of(pairing.on.size, 'ON')}, {count_of(pairing.off.size, 'OFF')}"

    @staticmethod
    def operation(band: Band) -> FindReference | None:
        """Return the work on samples; None without pairs of ON and OFF."""
        return FindReference(band, band.pairing) if band.pairing is not None else None

    @staticmethod
    def l1_arrays(band: Band) -> L1Arrays:
        """Return times, directions and recorded positions of the spectra."""
        return {} if band.pairing is None else pointing_arrays(band, band.pairing)


def _interpolation(
    band: Band, on: NDArray[np.int64], off: NDArray[np.int64], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Compute weights (R, A, S, O), moments (S, O) and pairs (R, A, S) for interpolated OFFs.

    The reference of an ON is interpolated in time between two OFFs.
    """
    mjd = band.coordinates.mjd
    weights = interpolation_weights(mjd[on], mjd[off], valid)
    time_weights = interpolation_weights(mjd[on], mjd[off], np.ones((1, 1, off.size), np.bool_))[0, 0]
    return weights, time_weights, nearest_off(mjd[on], mjd[off], valid)


def _reduction_groups(
    band: Band, on: NDArray[np.int64], off: NDArray[np.int64], beam: NDArray[np.str_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Compute weights (R, A, S, O), moments (S, O) and pairs (R, A, S) for chopped scans.

    The reference of an ON is one OFF of the same beam, dump by dump.
    """
    mjd, (_, _, n_receivers, n_arrays, _) = band.coordinates.mjd, band.coordinates.shape
    group = reduction_groups(mjd[on], mjd[off], beam[on], beam[off])
    if (group < 0).any():
        alone = sorted(set(beam[on[group < 0]].tolist()))
        raise NoReferenceError(
            f"{band}: no OFF of beam {' and '.join(alone)} among the phases "
            f"{sorted(set(band.coordinates.sobsmode.tolist()))}, expected at least one for each beam with an ON"
        )
    time_weights = np.zeros((on.size, off.size))
    time_weights[np.arange(on.size), group] = 1.0
    pixels = (n_receivers, n_arrays)
    return (
        np.broadcast_to(time_weights, (*pixels, *time_weights.shape)),
        time_weights,
        np.broadcast_to(group, (*pixels, on.size)),
    )


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


def _warn_of_left_out(band: Band, taken: NDArray[np.int64]) -> None:
    """Warn of unused subscans, since a misspelt phase would silently exclude data."""
    phases = band.coordinates.sobsmode
    left = np.setdiff1d(np.arange(phases.size), taken)
    if left.size:
        names = sorted({phases[subscan] or "''" for subscan in left.tolist()})
        logger.warning(
            "%s: %s of phase %s left out; ON, OFF, OTF-ON, OTF-OFF or, with a beam, SWA-ON and the like take part",
            band,
            count_of(left.size, "subscan"),
            ", ".join(names) + (" is" if left.size == 1 else " are"),
        )


def _warn_of_frequency_steps(band: Band, on: NDArray[np.int64]) -> None:
    """Warn when the frequency axis of an ON is more than half a channel off that of the first."""
    at = band.coordinates
    n_channels = at.shape[0]
    first, _ = channel_frequencies(n_channels, **at.frequency_axis(first_on(at.sobsmode, at.mjd)))
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


def _mean_offs(counts: Counts, off: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Compute mean and number of the valid dumps of each OFF, both (C, R, A, O)."""
    n_channels, _, n_receivers, n_arrays, _ = counts.shape
    shape = (n_channels, n_receivers, n_arrays, off.size)
    mean, number = np.empty(shape, order="F"), np.empty(shape, np.int32, order="F")
    column = {int(subscan): index for index, subscan in enumerate(off)}

    def add(block: Block) -> None:
        channels, members = block
        sums, dumps = sum_of_valid(counts.read(channels, members), axis=1)
        means = mean_from_sum(sums, dumps)
        for index, subscan in enumerate(members):
            mean[channels, ..., column[subscan]] = means[..., index]
            number[channels, ..., column[subscan]] = dumps[..., index]

    in_threads(add, counts.blocks(off.tolist()), int(np.prod(counts.shape)))
    return mean, number
