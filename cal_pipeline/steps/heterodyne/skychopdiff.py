"""Step ``skychopdiff``: compares the chop phases of the OFFs of a chopped scan."""

from __future__ import annotations

from cal_pipeline.core.run.stream import Operation, Target
from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.physics.diagnostics import chop_phase_differences, mean_reference
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.schema import L1
from cal_pipeline.heterodyne.stages import ChopStage
from cal_pipeline.steps.heterodyne.base import CalibrationStep
from cal_pipeline.steps.heterodyne.block import SpectrumBlock


class SkychopdiffStep(CalibrationStep):
    """Select the OFFs for the comparison of chop phases.

    Differences are computed from the counts while spectra are written.

    Examples
    --------
    The third of four chop phases is 5 K too high at the receiver's input; a line in one of two sidebands
    would have to be more than twice as strong:

    >>> import xarray
    >>> from cal_pipeline import CalibrationPipeline
    >>> from cal_pipeline.simulate import ChopPhaseOffset, preset, simulate
    >>> offset = ChopPhaseOffset((0.0, 0.0, 5.0, 0.0))
    >>> night = preset("sofia_lfa", channels=64, pixels=1, mode="otf_chopped", chop_phase_offset=offset)
    >>> written = simulate(night, "chopped.zarr")
    >>> steps = {"skychopdiff": {"skip": False}}
    >>> product = CalibrationPipeline.call("chopped.zarr", output_file="chop_phases.zarr", steps=steps)
    >>> found = xarray.open_zarr(product.path, group="scan_000001/skychopdiff", consolidated=False)
    >>> [round(float(found[f"spectrum_0_{phase}"].mean())) for phase in (1, 2, 3)]
    [0, -12, 0]
    """

    class_alias = "skychopdiff"
    depends_on = ("pairing", "calibration", "coupling")

    spec = """
    skip = boolean(default=True)   # Do not compare the chop phases on blank sky
    """

    def describe_result(self, band: Band) -> str:
        """Describe the number of OFFs to compare."""
        return f"chop phases of {format_count(band.chop.ons.size if band.chop else 0, 'OFF')} to compare"

    def process_band(self, band: Band, scan: Scan) -> None:
        """Choose the OFFs of a band."""
        pairing = band.require_pairing()
        band.require_calibration()
        if not pairing.per_dump:
            self.not_applicable(f"{band} is of mode {pairing.mode}, it has no chop phases")
            return
        band.chop = ChopStage(*band.outputs)

    @staticmethod
    def operation(band: Band) -> CompareChopPhases | None:
        """Return the work on samples; None without chop phases to compare."""
        return CompareChopPhases(band, band.chop) if band.chop is not None else None


class CompareChopPhases(Operation[SpectrumBlock]):
    """Write the differences of chop phases 1 … D - 1 of the OFFs of each spectrum."""

    def __init__(self, band: Band, chop: ChopStage) -> None:
        self._band, self._factor = band, band.require_calibration().factor
        self._on = band.require_pairing().on[chop.ons]

    def begin(self, target: Target) -> None:
        """Create the arrays of each spectrum."""
        band, (n_channels, n_dumps, *pixels, _) = self._band, target.shape
        attributes = {
            "on_indices": self._on.tolist(),
            "on_mjds": band.coordinates.mjd[self._on].tolist(),
            "n_spectra_per_on": [n_dumps - 1] * self._on.size,
        }
        signal, pixel = band.require_loads().sidebands.signal, band.coordinates.pixel
        coordinates = {"signal_freqs": signal, "pixel": pixel}
        L1.create_diagnostic(target.group, "skychopdiff", coordinates, target.rows, attributes)
        names = [[f"skychopdiff/spectrum_{subscan}_{j}" for j in range(1, n_dumps)] for subscan in self._on]
        shape, chunks = (n_channels, *pixels), (min(target.rows, n_channels), *pixels)
        present = {"signal_freqs", "pixel"}
        self._arrays = [[L1.create_array(target.group, name, shape, chunks, present) for name in row] for row in names]

    def apply(self, block: SpectrumBlock) -> None:
        """Compare the chop phases of the OFFs of a spectrum, both beams averaged."""
        first = self._band.ons_of(block.output)[0]
        factor = self._factor[block.rows, ..., first]
        block.chop_differences = chop_phase_differences(mean_reference(block.references), factor)

    def write(self, block: SpectrumBlock) -> None:
        """Write the differences of a spectrum."""
        assert block.chop_differences is not None
        for j, array in enumerate(self._arrays[block.output]):
            array.write_chunk((block.number, 0, 0), block.chop_differences[:, j])
