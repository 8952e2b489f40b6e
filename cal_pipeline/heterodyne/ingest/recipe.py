"""Recipe of an ingest: how the scans of a telescope's files are written in a run."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.observation import WrittenObservation
from cal_pipeline.core.run.planned import PlannedDataset, PlannedObservation, PlannedRecipe
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.text import format_count, make_printable
from cal_pipeline.heterodyne.ingest.collect import Collected
from cal_pipeline.heterodyne.ingest.record import DIGEST, IngestedSession, ScanInputs
from cal_pipeline.heterodyne.ingest.rows import GroupPlan, IngestFailure, ScanPlan
from cal_pipeline.heterodyne.ingest.write_scan import write_scan
from cal_pipeline.heterodyne.kinds import INGESTED

logger = logging.getLogger(__name__)

_MB = 1e6


class IngestRecipe(PlannedRecipe):
    """Recipe that writes the scans of a telescope's files.

    Parameters
    ----------
    collected : Collected
        The files, and plans of their scans.
    inputs : mapping of int to ScanInputs
        Inputs by scan.
    failures : mapping of int to IngestFailure
        Scans that are known to fail.
    """

    input_key = "files"

    def __init__(
        self, collected: Collected, inputs: Mapping[int, ScanInputs], failures: Mapping[int, IngestFailure]
    ) -> None:
        super().__init__(INGESTED, collected.profile.sha256)
        self._collected, self._inputs, self._failures = collected, inputs, failures

    def open_observation(self, dataset: PlannedDataset, number: int) -> PlannedObservation:
        """Return a scan with its plan.

        Raises
        ------
        CalibrationError
            If it is known to fail; of the class that was recorded.
        """
        if number in self._failures:
            raise_failure(self._failures[number])
        plan = self._collected.plans[number]
        return PlannedObservation(number, plan, sum(int(np.prod(group.shape)) for _, group in each_group(plan)))

    def write_observation(
        self, observation: PlannedObservation, root: StorePath, provenance: dict[str, Any]
    ) -> WrittenObservation:
        """Write a scan, with the digest of its inputs among its attributes."""
        plan, inputs, collected = observation.plan, self._inputs[observation.number], self._collected
        marked = replace(plan, attributes={**plan.attributes, DIGEST: inputs.digest})
        try:
            with observation.clock("write"):
                written = write_scan(marked, collected.rows, collected.profile, root, collected.stamps)
        except CalibrationError as error:
            error.file = error.file or self._find_file(plan.number, str(error))
            raise
        warnings = (*plan.warnings, *written.warnings)
        for warning in warnings:
            logger.warning("%s", name_scan(plan.number, warning))
        summary = describe_scan(plan, written.n_bytes)
        return WrittenObservation(summary, n_bytes=written.n_bytes, entry=inputs.as_entry(warnings))

    def _find_file(self, number: int, message: str) -> str:
        """Find the one file of a scan that a message names; empty for none or several."""
        named = [path for path in self._collected.files_of(number) if path in message]
        return named[0] if len(named) == 1 else ""

    def open_product(self, location: str) -> IngestedSession:
        """Open the session."""
        return IngestedSession(location)


def raise_failure(failure: IngestFailure) -> NoReturn:
    """Raise a failure that was found before the run, as an error of its class.

    Raises
    ------
    CalibrationError
        Always.

    Examples
    --------
    >>> raise_failure(IngestFailure(131, "m82.fits", "FitsFileError", "m82.fits is truncated"))
    Traceback (most recent call last):
        ...
    cal_pipeline.heterodyne.ingest.recipe.FitsFileError: m82.fits is truncated
    """
    kind = type(failure.error_class, (CalibrationError,), {"__module__": __name__})
    error = kind(failure.message)
    error.file = failure.file
    raise error


def each_group(plan: ScanPlan) -> Iterator[tuple[str, GroupPlan]]:
    """Yield the groups of a scan with their paths in it, such as ``"source"`` or ``"band_0/source"``."""
    for band in plan.bands:
        for name, group in band.groups.items():
            yield (f"{band.name}/{name}" if band.name else name), group


def name_scan(number: int, message: str) -> str:
    """Put the number of a scan before a message that does not name it, and escape the message.

    Examples
    --------
    >>> name_scan(131, "3 dumps are missing"), name_scan(131, "scan 131: 3 dumps are missing")
    ('scan 131: 3 dumps are missing', 'scan 131: 3 dumps are missing')
    """
    text = make_printable(message)
    return text if f"scan {number}" in text else f"scan {number}: {text}"


def describe_scan(plan: ScanPlan, n_bytes: int) -> str:
    """Describe a scan in a log line.

    Parameters
    ----------
    plan : ScanPlan
        The scan.
    n_bytes : int
        Size of its counts [bytes].

    Returns
    -------
    str
        As in ``"scan 131: 3 OFF, 3 ON, 2 pixels x 16384 channels, 2.4 MB"``, for each band.
    """
    bands = [f"{f'{band.name}: ' if band.name else ''}{describe_groups(band.groups)}" for band in plan.bands]
    return f"scan {plan.number}: {'; '.join(bands)}, {n_bytes / _MB:.1f} MB"


def describe_groups(groups: Mapping[str, GroupPlan]) -> str:
    """Describe the groups of a band: subscans by phase, pixels and channels."""
    phases = [text for group in groups.values() for text in describe_phases(group)]
    shapes = dict.fromkeys((group.shape[2] * group.shape[3], group.shape[0]) for group in groups.values())
    sizes = [f"{format_count(pixels, 'pixel')} x {format_count(channels, 'channel')}" for pixels, channels in shapes]
    return ", ".join([*phases, *sizes])


def describe_phases(group: GroupPlan) -> list[str]:
    """Count the subscans of a group by phase, in the order of their appearance."""
    _, phases = group.coordinates["sobsmode"]
    return [f"{number} {make_printable(phase)}" for phase, number in Counter(map(str, phases)).items()]
