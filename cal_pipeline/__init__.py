"""Calibration pipeline for submillimetre heterodyne receivers, infrared imagers and Cherenkov telescopes.

Calibrate a session of a receiver (L0: a folder, a ZIP file or a URL) into an L1 store of antenna temperatures, then
work with its scans::

    from cal_pipeline import CalibrationPipeline, open_l1

    CalibrationPipeline.call("session.zarr", output_file="l1.zarr", steps={"loads": {"image_gain": 0.0}})
    session = open_l1("l1.zarr")
    session.table()
    session[25650].average(pixels=["HFAV_PX00"])
    session[25650].plot(x="lsrk")

Fit the rates of a visit of an imager, and read one of its images::

    from cal_pipeline import Detector1Pipeline

    product = Detector1Pipeline.call("visit.zarr", output_file="rate.zarr", references="visit.references")
    image = product.open_image(product.numbers[0])

Describe the atmosphere of a night for an array of Cherenkov telescopes (extra ``cherenkov``)::

    from cal_pipeline import MolecularAtmospherePipeline

    night = MolecularAtmospherePipeline.call(
        "meteo.ecsv", timestamp="2023-07-10", observatory_name="CTAO-North", database="sqlite:///calibpipe.db",
        steps={"atmospheric_model": {"macobac12_table_path": "macobac.ecsv"}},
    )
    night.atmospheric_model.extinction["350.0 nm"]

Exposures of imagers are in `cal_pipeline.imager`, their steps in `cal_pipeline.steps.imager`. Steps of receivers are
in `cal_pipeline.steps`, the formulas in `cal_pipeline.heterodyne.physics`, a simulator of sessions in
`cal_pipeline.simulate`, and all errors raised on purpose in `cal_pipeline.errors`. From the shell:
``calibrate --help``, ``strun cal_pipeline.CalibrationPipeline --help``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cal_pipeline import _deferred
from cal_pipeline._version import __version__

if TYPE_CHECKING:
    from cal_pipeline.heterodyne.opening import open_l0, open_l1
    from cal_pipeline.heterodyne.product import CalibratedSession
    from cal_pipeline.pipelines.calibration import CalibrationPipeline
    from cal_pipeline.pipelines.detector1 import Detector1Pipeline
    from cal_pipeline.pipelines.image2 import Image2Pipeline
    from cal_pipeline.pipelines.image3 import Image3Pipeline
    from cal_pipeline.pipelines.molecular_atmosphere import MolecularAtmospherePipeline
    from cal_pipeline.pipelines.preprocess import PreprocessDarkPipeline, PreprocessFlatfieldPipeline
    from cal_pipeline.pipelines.tuning import tune

__all__ = [
    "CalibratedSession",
    "CalibrationPipeline",
    "Detector1Pipeline",
    "Image2Pipeline",
    "Image3Pipeline",
    "MolecularAtmospherePipeline",
    "PreprocessDarkPipeline",
    "PreprocessFlatfieldPipeline",
    "__version__",
    "open_l0",
    "open_l1",
    "tune",
]

# Before stpipe and numba are imported, whichever module asks for them.
_deferred.install()

# Imported when they are first asked for: the command-line tools beside the pipeline start faster.
_LAZY = {
    "CalibratedSession": "cal_pipeline.heterodyne.product",
    "CalibrationPipeline": "cal_pipeline.pipelines.calibration",
    "Detector1Pipeline": "cal_pipeline.pipelines.detector1",
    "Image2Pipeline": "cal_pipeline.pipelines.image2",
    "Image3Pipeline": "cal_pipeline.pipelines.image3",
    "MolecularAtmospherePipeline": "cal_pipeline.pipelines.molecular_atmosphere",
    "PreprocessDarkPipeline": "cal_pipeline.pipelines.preprocess",
    "PreprocessFlatfieldPipeline": "cal_pipeline.pipelines.preprocess",
    "open_l0": "cal_pipeline.heterodyne.opening",
    "open_l1": "cal_pipeline.heterodyne.opening",
    "tune": "cal_pipeline.pipelines.tuning",
}


def __getattr__(name: str) -> Any:
    """Import a public class or function when it is first asked for."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'cal_pipeline' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names too that are not imported yet."""
    return sorted({*globals(), *__all__})
