"""Step ``camera_test_data``: simulated statistics of the pixels of a camera."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.products import refuse_existing
from cal_pipeline.cherenkov.simulate.camera import AGGREGATION_MODES, CameraModel, simulate_camera
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.steps.cherenkov.base import CherenkovStep

logger = logging.getLogger(__name__)


def split_names(value: Any) -> Any:
    """Split names that are joined by commas; a list stays.

    Examples
    --------
    >>> split_names("a, b"), split_names(["a"])
    (['a', 'b'], ['a'])
    """
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class CameraTestDataStep(CherenkovStep):
    """Simulate pedestal and flat-field events of a camera, as statistics of its pixels with the truth.

    The input is the folder of the products: for each mode an HDF5 file ``PREFIX_MODE.h5`` with the statistics in
    chunks, the layout of the array, and the true pixels in ``/simulation/camera_truth/tel_001``; paths are returned.
    Pixels differ in gain, quantum efficiency, pedestal and time; broken ones have no data. The photoelectrons of a
    pulse are common to the channels, their noise is not. Equal seeds give equal arrays.

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import CameraTestDataStep
    >>> paths = CameraTestDataStep.call("camera", n_pixels=20, n_events=50, aggregation_modes="sims_single_chunk")
    >>> [path.name for path in paths]
    ['statsagg_test_data_sims_single_chunk.h5']
    """

    class_alias = "camera_test_data"

    spec = """
    prefix            = string(default="statsagg_test_data")  # Beginning of the names of the files
    aggregation_modes = string_list(default=list("sims_single_chunk", "obslike_same_chunks", "obslike_different_chunks"))  # Chunks: one, equal ones, different ones for each kind of events
    n_pixels      = integer(min=1, default=1855)            # Pixels of the camera
    n_channels    = integer(min=1, max=2, default=2)        # Gain channels
    n_chunks      = integer(min=1, default=3)               # Chunks of flat-field events, 100 s each
    n_events      = integer(min=2, default=2500)            # Events of a chunk
    n_pe          = float(min=0.0, default=80.0)            # Mean photoelectrons of a flat-field pulse
    gain          = float_list(default=list(15.0, 1.0))     # Counts per photoelectron, by channel
    gain_spread   = float(min=0.0, default=0.1)             # Relative spread of the gains of the pixels
    qe_spread     = float(min=0.0, default=0.05)            # Relative spread of their quantum efficiencies
    pedestal      = float(default=400.0)                    # Counts per sample without light
    pedestal_std  = float_list(default=list(30.0, 8.0))     # Noise of a charge of 12 samples, in counts, by channel
    time_jitter   = float(min=0.0, default=0.3)             # Spread of pulse times between pixels, and between events
    broken_pixels = float(min=0.0, max=1.0, default=0.01)   # Fraction of pixels without data
    seed          = integer(min=0, default=1)               # Seed of the random numbers
    """  # noqa: E501

    conversions = {**CherenkovStep.conversions, "aggregation_modes": split_names}

    tool = Tool(
        "calibpipe-produce-camcalib-test-data",
        "CamCalibTestDataTool",
        source="output_dir",
        unused=frozenset(
            {
                "pedestal_input_url",
                "flatfield_input_url",
                "process_pedestal_config",
                "process_flatfield_config",
                "agg_stats_sky_pedestal_image_config",
                "agg_stats_flatfield_image_config",
                "agg_stats_flatfield_peak_time_config",
                "allowed_tels",
                "skip_r1_calibration",
            }
        ),
    )
    example_input = "camera_test_data"

    prefix: str
    aggregation_modes: list[str]
    n_pixels: int
    n_channels: int
    n_chunks: int
    n_events: int
    n_pe: float
    gain: list[float]
    gain_spread: float
    qe_spread: float
    pedestal: float
    pedestal_std: list[float]
    time_jitter: float
    broken_pixels: float
    seed: int

    def check_parameters(self) -> None:
        """Refuse unknown modes, and lists that are shorter than the camera has channels."""
        for mode in self.aggregation_modes:
            if mode not in AGGREGATION_MODES:
                raise ConfigurationError(
                    f"aggregation_modes has {mode!r}; expected some of {', '.join(AGGREGATION_MODES)}"
                )
        if not self.aggregation_modes:
            raise ConfigurationError(f"aggregation_modes is empty; expected some of {', '.join(AGGREGATION_MODES)}")
        for name in ("gain", "pedestal_std"):
            values = getattr(self, name)
            if len(values) < self.n_channels or min(values) < 0:
                raise ConfigurationError(f"{name} is {values}; expected {self.n_channels} positive values (n_channels)")

    def make_products(self, source: Any) -> list[Path]:
        """Simulate the files of all modes."""
        folder = Path(source)
        paths = {mode: folder / f"{self.prefix}_{mode}.h5" for mode in dict.fromkeys(self.aggregation_modes)}
        for path in paths.values():
            refuse_existing(path, self.overwrite)
        model = CameraModel(
            **{name: getattr(self, name) for name in vars(CameraModel()) if hasattr(self, name)},
        )
        for mode, path in paths.items():
            provenance = self.make_provenance([])
            simulate_camera(path, mode, model, self.n_chunks, self.seed, provenance, self.tool.command, self.overwrite)
            logger.info("%s: %s written", self.class_alias, path)
        return list(paths.values())
