"""Step ``skydiff``: keeps the blank-sky spectra of a scan for comparison with earlier scans."""

from __future__ import annotations

import numpy as np

from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.physics.diagnostics import average_pairs, pair_offs, sky_spectra
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.stages import SkydiffStage
from cal_pipeline.steps.heterodyne.base import CalibrationStep


class SkydiffStep(CalibrationStep):
    """Make spectra of blank sky, for comparison between scans.

    Differences are computed when scans are written, in order of time.

    Examples
    --------
    The skies in the example of :class:`~cal_pipeline.CalibrationPipeline` differ by less than 1 K; each
    is more than 100 K colder than the hot load:

    >>> from cal_pipeline.steps import LoadsStep, PrepareStep, SkydiffStep
    >>> scan = SkydiffStep.call(PrepareStep.call(LoadsStep.call("session.zarr")), skip=False)
    >>> skies = np.median(scan.bands[0].skydiff.spectra, axis=(0, 1, 2))
    >>> bool(np.all(skies < -100.0)), bool(np.ptp(skies) < 1.0)
    (True, True)
    """

    class_alias = "skydiff"
    depends_on = ("loads", "gain", "pairing", "coupling")

    spec = """
    skip = boolean(default=True)        # Do not compare the blank sky of different scans
    n    = integer(min=1, default=1)    # Number of earlier OFFs to compare each OFF with
    """

    n: int

    def check_parameters(self) -> None:
        """Refuse a number of earlier OFFs for a step that does not run."""
        if self.parent is not None and self.given_or_default("skip"):
            self.refuse_idle("n", "skip", "give skip = False with it")

    def describe_result(self, band: Band) -> str:
        """Describe the number of sky spectra."""
        skies = band.skydiff.offs.size if band.skydiff else 0
        return f"{format_count(skies, 'sky', 'skies')}, each to compare with {format_count(self.n, 'earlier OFF')}"

    def process_band(self, band: Band, scan: Scan) -> None:
        """Make the sky spectra of a band: one per OFF, or per reduction group of a chopped scan."""
        loads, pairing = band.require_loads(), band.require_pairing()
        counts, times, offs = np.stack(band.mean_offs(), axis=-1), band.coordinates.mjd[pairing.off], pairing.off
        if pairing.per_dump:
            first, second = pair_offs(pairing.reduction_group, *band.outputs)
            counts, times = (average_pairs(values, first, second) for values in (counts, times))
            offs = offs[first]
        spectra = sky_spectra(counts, loads.means.hot, loads.solution.gamma, band.bad_channel)
        band.skydiff = SkydiffStage(self.n, offs, times, spectra)
