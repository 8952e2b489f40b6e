"""Writing of a scan: the arrays that the steps make, and the spectra that they work on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.run.stream import Operation, Stream
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.heterodyne.errors import NotFiniteError
from cal_pipeline.heterodyne.identity import identify_input, list_input
from cal_pipeline.heterodyne.l1_attributes import band_attributes
from cal_pipeline.heterodyne.physics.calibration import count_without_factor
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.schema import L1, Described, L1Arrays
from cal_pipeline.heterodyne.tally import Tally
from cal_pipeline.steps.heterodyne.base import CalibrationStep
from cal_pipeline.steps.heterodyne.block import SpectrumBlock

_WORTH_A_THREAD = 2**22
"""Samples of a scan from which on its files are fsynced while its quality is judged."""

Steps = Sequence[type[CalibrationStep]]
"""Steps in processing order, which is that of their work on samples."""


class WrittenBand(NamedTuple):
    """Band that was written: its attributes in L1, and the statistics of its samples."""

    attributes: dict[str, Any]
    tally: Tally


def write_scan(
    scan: Scan, root: StorePath, provenance: dict[str, Any], steps: Steps, l0_digest: bool = True
) -> list[WrittenBand]:
    """Write a calibrated scan as an L1 group.

    Parameters
    ----------
    scan : Scan
        The scan, with what the steps have made.
    root : StorePath
        Destination of the scan.
    provenance : dict
        Engine, parameters and time of the run.
    steps : sequence of type
        Steps whose arrays are written and whose work on samples is done, in this order.
    l0_digest : bool
        Whether the provenance records the digest of the L0 objects of the scan and of its loads.

    Returns
    -------
    list of WrittenBand
        In the order of the bands.

    Raises
    ------
    NotFiniteError
        If no sample of the scan is good, or good ones have no noise or system temperature.
    DataReadError
        If an object of L0 cannot be read.
    """
    groups = [root.child(band.name) if band.name else root for band in scan.bands]
    # Listed before the samples are read: the stamps of what is written meanwhile are not those of what was read, and a
    # run that resumes would take the scan for one made from it. Digests were noted by the time that they are asked for.
    objects = list_input(scan)
    tallies = [_write_arrays(*each, scan, steps) for each in zip(scan.bands, groups, strict=True)]
    identity = identify_input(scan, l0_digest, objects)
    of_bands = zip(scan.bands, groups, tallies, strict=True)
    written = [_write_attributes(*each, scan, provenance | identity) for each in of_bands]
    _refuse_without_samples(scan, tallies)
    if scan.bands[0].name:
        write_group(root, "", {"scan_number": scan.number, "bands": [band.name for band in scan.bands]})
    return written


def assess_scan(scan: Scan, steps: Steps) -> list[dict[str, Any]]:
    """Compute the attributes that the bands of a calibrated scan would have in L1, without writing anything.

    Parameters
    ----------
    scan : Scan
        The scan, with what the steps have made.
    steps : sequence of type
        Steps whose work on samples is done, in this order.

    Returns
    -------
    list of dict
        Attributes of each band as :func:`write_scan` records them, without their provenance of the run.

    Raises
    ------
    NotFiniteError
        If no sample of the scan is good, or good ones have no noise or system temperature.
    DataReadError
        If an object of L0 cannot be read.
    """
    tallies = [Tally(**_stream_samples(band, scan, steps).run(None, set())) for band in scan.bands]
    with scan.clock("write"):
        attributes = [band_attributes(band, scan, tally, {}) for band, tally in zip(scan.bands, tallies, strict=True)]
    _refuse_without_samples(scan, tallies)
    return attributes


def _write_attributes(
    band: Band,
    group: StorePath,
    tally: Tally,
    scan: Scan,
    provenance: dict[str, Any],
) -> WrittenBand:
    """Write the metadata of the group of a band."""
    # The disk works while the quality is judged; a small scan has too little for it, and is fsynced once, at its end.
    is_small = scan.n_samples < _WORTH_A_THREAD
    with nullcontext() if is_small else _in_background(group.make_durable), scan.clock("write"):
        attributes = band_attributes(band, scan, tally, provenance)
        write_group(group, "", attributes)
    return WrittenBand(attributes, tally)


def operations_of(band: Band, steps: Steps) -> list[Operation[SpectrumBlock]]:
    """Collect the work of the steps on the samples of a band; none before it is calibrated.

    Parameters
    ----------
    band : Band
        The band.
    steps : sequence of type
        Steps. Those with work on samples have a static method ``operation``, which returns it for a
        band, or None.
    """
    if band.calibration is None:
        return []
    found = [step.operation(band) for step in steps if hasattr(step, "operation")]
    return [operation for operation in found if operation is not None]


def l1_arrays(band: Band, steps: Steps) -> L1Arrays:
    """Collect the L1 arrays of a band, except those that operations write.

    Parameters
    ----------
    band : Band
        The band; arrays of a skipped step are absent.
    steps : sequence of type
        Steps. Those with arrays have a static method ``l1_arrays``, which returns them for a band;
        those of a later step replace those of an earlier one.
    """
    arrays: L1Arrays = {"pixel": band.coordinates.pixel}
    for step in steps:
        if hasattr(step, "l1_arrays"):
            arrays |= step.l1_arrays(band)
    return arrays


def _write_arrays(band: Band, group: StorePath, scan: Scan, steps: Steps) -> Tally:
    """Write all arrays of a band concurrently; return the statistics of its samples."""
    stream = _stream_samples(band, scan, steps)
    with scan.clock("write"):
        arrays = l1_arrays(band, steps)

    def write_small(name: str, made: NDArray[Any] | Callable[[], NDArray[Any]] | Described) -> None:
        source, attributes = made if isinstance(made, Described) else (made, {})
        with scan.clock("write"):
            values = np.asarray(source() if callable(source) else source)
            L1.write_array(group, name, values, stream.rows, set(arrays), attributes)

    return Tally(**stream.run(group, set(arrays), [partial(write_small, *item) for item in arrays.items()]))


def _stream_samples(band: Band, scan: Scan, steps: Steps) -> Stream[SpectrumBlock]:
    """Make the stream of the samples of a band through the work of the steps."""
    operations = operations_of(band, steps)
    n_spectra = band.outputs[0].size if operations else 0
    counts = band.source_counts(scan.clock)
    return Stream(counts, n_spectra, operations, SpectrumBlock, scan.clock, "calibrate")


def _refuse_without_samples(scan: Scan, tallies: list[Tally]) -> None:
    """Refuse a scan none of whose samples is a number, and say why there is none."""
    calibrated = [(band, tally) for band, tally in zip(scan.bands, tallies, strict=True) if band.calibration]
    total = sum(tally.n_samples * band.coordinates.pixel.size for band, tally in calibrated)
    blank = sum(int(np.sum(tally.n_blank)) for _, tally in calibrated if tally.n_blank is not None)
    if not calibrated or blank < total:
        return
    bad = sum(int(np.sum(tally.flagged["BAD_CHANNEL"])) for _, tally in calibrated)
    unknown = sum(_n_without_factor(band) for band, _ in calibrated)
    raise NotFiniteError(
        f"scan {scan.number}: none of its {total} samples of T_A* is a number: {bad} are of bad channels (by the "
        f"loads, or a transmission below min_transmission), in {unknown} the factor from counts to kelvin is not "
        f"finite, in {total - bad - unknown} ON or reference is missing (or T_A* exceeds the numbers). Expected at "
        "least one; look at the counts of its ONs and OFFs, at its loads, elevation and PWV, and the efficiencies given"
    )


def _n_without_factor(band: Band) -> int:
    """Count samples in good channels without a finite factor from counts to kelvin."""
    calibration = band.require_calibration()
    channels = count_without_factor(calibration.factor, calibration.bad_channel, *band.outputs)
    return channels * band.coordinates.shape[1]


@contextmanager
def _in_background(task: Callable[[], None]) -> Iterator[None]:
    """Run a task concurrently with the block, at whose end its errors are raised."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(task)
        yield
        future.result()
