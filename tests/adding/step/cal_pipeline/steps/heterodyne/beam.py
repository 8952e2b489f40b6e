"""Step ``beam``: scales T_A* to the temperature of a source that fills the main beam."""

from __future__ import annotations

from cal_pipeline.core.run.stream import Operation
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.schema import L1Arrays
from cal_pipeline.heterodyne.stages import BeamStage
from cal_pipeline.steps.heterodyne.base import CalibrationStep
from cal_pipeline.steps.heterodyne.block import SpectrumBlock


class BeamStep(CalibrationStep):
    """Multiply T_A* by forward efficiency over main-beam efficiency."""

    class_alias = "beam"

    spec = """
    skip       = boolean(default=True)                  # Do not scale to the main beam
    efficiency = float(min=0.01, max=1.0, default=1.0)  # Main-beam efficiency
    """

    efficiency: float

    def process_band(self, band: Band, scan: Scan) -> None:
        """Work out the factor of each array of a band."""
        calibration = band.coupling or band.require_calibration()
        factor = band.require_loads().forward_efficiency / self.efficiency
        band.beam = BeamStage(self.efficiency, factor, calibration.sigma * factor[:, None])

    @staticmethod
    def operation(band: Band) -> ScaleToBeam | None:
        """Return the work on samples; None without a factor."""
        return ScaleToBeam(band.beam) if band.beam is not None else None

    @staticmethod
    def l1_arrays(band: Band) -> L1Arrays:
        """Return the noise on the scale of the main beam."""
        return {} if band.beam is None else {"sigma": band.beam.sigma}


class ScaleToBeam(Operation[SpectrumBlock]):
    """Scale calibrated dumps to the main beam."""

    def __init__(self, beam: BeamStage) -> None:
        self._factor = beam.factor

    def apply(self, block: SpectrumBlock) -> None:
        """Scale the dumps of a spectrum."""
        block.dumps = [dumps._replace(kelvin=dumps.kelvin * self._factor) for dumps in block.dumps]
