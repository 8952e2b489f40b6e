"""Step ``skychopdiff``: compares the chop phases of the OFFs of a chopped scan."""

from __future__ import annotations

from cal_pipeline.models.scan import Band, ChopStage, Scan
from cal_pipeline.steps.base import CalibrationStep
from cal_pipeline.text import count_of


class SkychopdiffStep(CalibrationStep):
    """Select the OFFs for the comparison of chop phases.

    Differences are computed from the counts while spectra are written.
    """

    class_alias = "skychopdiff"

    spec = """
    skip = boolean(default=True)   # Do not compare the chop phases on blank sky
    """

    def describe_result(self, band: Band) -> str:
        """Say how many OFFs are compared."""
        return f"chop phases of {count_of(band.chop.ons.size if band.chop else 0, 'OFF')} to compare"

    def process_band(self, band: Band, scan: Scan) -> None:
        """Choose the OFFs of a band."""
        reference = band.require_reference()
        band.require_calibration()
        if not reference.per_dump:
            self.not_applicable(f"{band} is of mode {reference.mode}, it has no chop phases")
            return
        band.chop = ChopStage(*band.outputs)
