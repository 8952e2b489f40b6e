"""The calibration pipeline: its steps and their order."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cal_pipeline.core.observation import Lacks, WrittenObservation
from cal_pipeline.core.parameters.values import plain_numbers
from cal_pipeline.core.pipeline import ObservationPipeline, specify_run
from cal_pipeline.core.run.threads import BlockThreads
from cal_pipeline.core.store.compare import Comparison
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import MARKER, Key
from cal_pipeline.core.store.records import ObservationRecord
from cal_pipeline.heterodyne.compare import compare_l1_stores
from cal_pipeline.heterodyne.history import SkyEntries, SkyHistory, sky_entries
from cal_pipeline.heterodyne.identity import find_changes
from cal_pipeline.heterodyne.kinds import refuse_product
from cal_pipeline.heterodyne.lacks import find_lacks
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.heterodyne.sources import EXPECTED_INPUT
from cal_pipeline.heterodyne.summary import format_timing, name_values, summarize_scan, worst_verdict
from cal_pipeline.report.quality_table import refuse_foreign_table, write_quality_table
from cal_pipeline.steps import (
    AtmosphereStep,
    CalibrateStep,
    DbsStep,
    GainStep,
    LoadsStep,
    PrepareStep,
    SkychopdiffStep,
    SkydiffStep,
)
from cal_pipeline.steps.heterodyne.base import HeterodyneStep
from cal_pipeline.steps.heterodyne.writing import write_scan

logger = logging.getLogger(__name__)


class CalibrationPipeline(HeterodyneStep, ObservationPipeline):
    """Calibrate the scans of an L0 session to antenna temperatures T_A* and write them as L1.

    Parameters are those in `spec` and, as ``steps={"loads": {...}, ...}``, those of the steps.

    Examples
    --------
    Simulate a session of a double-sideband receiver with a line of 1 K, below 0.5 mm of water, and
    calibrate it:

    >>> from cal_pipeline import CalibrationPipeline
    >>> from cal_pipeline.simulate import Line, preset, simulate
    >>> line = Line(t_peak=1.0, fwhm_hz=1e9)
    >>> written = simulate(preset("ccat_chai", channels=64, pixels=1, mode="otf", lines=(line,)), "session.zarr")
    >>> steps = {"loads": {"image_gain": 1.0}}
    >>> product = CalibrationPipeline.call("session.zarr", output_file="l1.zarr", steps=steps)
    >>> scan = product.open_scan(product.numbers[0])
    >>> spectrum = scan.spectra.where(scan.flags == 0).mean(("dump", "subscan")).squeeze()
    >>> f"{float(spectrum[30:34].mean()):.1f} K, {float(scan.pwv):.2f} mm"
    '1.0 K, 0.50 mm'
    """

    class_alias = "calibration_pipeline"

    spec = f"""
    scans     = force_list(default=None)     # Scans to calibrate, as in 25650,25660:25670 (default: all)
    l0_digest = boolean(default=True)        # Record the SHA-256 digest of the L0 objects that were used
    {specify_run(CalibratedSession.kind, follows=True)}
    """

    step_defs = {
        "loads": LoadsStep,
        "gain": GainStep,
        "prepare": PrepareStep,
        "atmosphere": AtmosphereStep,
        "calibrate": CalibrateStep,
        "dbs": DbsStep,
        "skychopdiff": SkychopdiffStep,
        "skydiff": SkydiffStep,
    }

    conversions = {"scans": partial(plain_numbers, noun="scan")}
    coercions = {"scans": lambda value: [str(item) for item in value]}

    input_noun = "session"
    example_input = "session.zarr"
    expected_input = EXPECTED_INPUT
    input_key = "l0_store"
    not_replayed = ("skydiff",)
    inputs_chosen_by = "loads"

    scans: list[Any] | None
    l0_digest: bool

    def open_input(self, location: str) -> Session:
        """Open the L0 session."""
        return self._note_digests(Session(location))

    def select(self, dataset: Session) -> list[int]:
        """Select the scans to calibrate."""
        return dataset.select(self.scans)

    def open_growing(self, location: str, complete: Sequence[Key]) -> Session:
        """Open an L0 session that is still being written: loads of scans that are not complete are not taken."""
        return self._note_digests(Session(location, [int(number) for number in complete]))

    def _note_digests(self, session: Session) -> Session:
        """Let the objects of a session be digested as they are read, if digests are asked for."""
        if self.l0_digest:
            session.root.note_digests()
        return session

    def check_growing(self, root: StorePath) -> None:
        """Refuse an L1 store; a session without scans is one that begins."""
        if MARKER in read_group_attributes(root, ""):
            refuse_product(root)

    def select_complete(self, dataset: Session, numbers: Sequence[Key]) -> list[Key]:
        """Select the scans to calibrate among complete ones: those with a source."""
        asked = [int(number) for number in self.filter_asked(numbers)]
        return list(dataset.filter_observed(asked))

    def find_lacks(self, root: StorePath, number: Key) -> Lacks:
        """Find what a scan that is being written lacks."""
        return find_lacks(root, self.product_kind.group_name(number))

    def open_observation(self, dataset: Session, number: int) -> Scan:
        """Open a scan of the session."""
        return dataset.open_scan(number)

    def open_product(self, location: str) -> CalibratedSession:
        """Open the L1 store."""
        return CalibratedSession(location)

    def write_observation(self, observation: Scan, root: StorePath, provenance: dict[str, Any]) -> WrittenObservation:
        """Compute the spectra of a scan and write them."""
        written = write_scan(observation, root, provenance, tuple(self.step_defs.values()), self.l0_digest)
        attributes = [band.attributes for band in written]
        values = name_values(observation, attributes)
        verdict = worst_verdict(attributes)
        return WrittenObservation(summarize_scan(observation, attributes), verdict, values, observation.n_bytes)

    def carry(self, observation: Scan) -> list[SkyEntries] | None:
        """Return the blank skies of a scan after the step ``skydiff``."""
        return sky_entries(observation) or None

    def carries(self) -> bool:
        """Tell whether the skies of scans are compared."""
        return not self.skydiff.skip

    def find_changes(self, observation: Scan, records: Sequence[ObservationRecord]) -> list[str]:
        """Name what a scan is calibrated from that is no longer as recorded."""
        return find_changes(observation, records)

    def describe_timing(self, observation: Scan) -> str:
        """Format the timing line of a scan."""
        return format_timing(observation)

    def start_history(self) -> SkyHistory:
        """Make the memory of the blank skies of a run."""
        return SkyHistory()

    def check_output(self, root: StorePath) -> None:
        """Refuse a file in the place of the table of quality figures."""
        refuse_foreign_table(root)

    def finish_product(self, product: CalibratedSession) -> None:
        """Write the table of quality figures beside the product."""
        write_quality_table(product)

    def refuse_report(self, root: StorePath) -> None:
        """Refuse a file in the place of the report."""
        from cal_pipeline.report.beside import refuse_foreign_report

        refuse_foreign_report(root)

    def write_report(self, product: CalibratedSession) -> None:
        """Write the report of the session beside the product."""
        from cal_pipeline.report.beside import write_report_beside
        from cal_pipeline.report.receiver_report import write_report

        with BlockThreads(self.threads) as threads:
            logger.info("report: %s", threads.run(write_report_beside, product, write_report))

    def compare(
        self, first: str | Path, second: str | Path, numbers: Sequence[int], leave_out: Sequence[str]
    ) -> Comparison:
        """Compare scans of two L1 stores, whatever the origins of their parameters."""
        return compare_l1_stores(first, second, numbers, leave_out, origins=False)

    def describe_by_parameters(self) -> dict[str, Any]:
        """Return the observing mode that the step ``prepare`` was given."""
        mode: dict[str, Any] = self.prepare.describe_by_parameters()
        return mode
