"""L0 sessions with a known sky.

`simulate(preset("sofia_lfa", channels=256), "session.zarr")` writes a session and its truth;
`read_truth` reads the latter.
"""

from cal_pipeline.heterodyne.simulate.conditions import Atmosphere
from cal_pipeline.heterodyne.simulate.config import (
    FLAT_BANDPASS,
    Bandpass,
    GaussianSource,
    Line,
    Receiver,
    Scan,
    SessionConfig,
    Source,
    StandingWave,
    Telescope,
)
from cal_pipeline.heterodyne.simulate.errors import SimulationError
from cal_pipeline.heterodyne.simulate.faults import (
    DeadChannels,
    Drift,
    Faults,
    GainJump,
    MissingDumps,
    NoisyChannels,
    RandomSpurs,
    Spikes,
    Spur,
)
from cal_pipeline.heterodyne.simulate.imperfections import ChopPhaseOffset, Cloud, Imbalance, SkyWave, WarmLayer
from cal_pipeline.heterodyne.simulate.layers import AirColumn, Layers
from cal_pipeline.heterodyne.simulate.presets import PRESETS, preset
from cal_pipeline.heterodyne.simulate.sequence import Loads, Otf, OtfChopped, Phase, Sequence, TotalPower
from cal_pipeline.heterodyne.simulate.truth import Truth, read_truth, truth_path
from cal_pipeline.heterodyne.simulate.writer import Written, simulate

__all__ = [
    "FLAT_BANDPASS",
    "PRESETS",
    "AirColumn",
    "Atmosphere",
    "Bandpass",
    "ChopPhaseOffset",
    "Cloud",
    "DeadChannels",
    "Drift",
    "Faults",
    "GainJump",
    "GaussianSource",
    "Imbalance",
    "Layers",
    "Line",
    "Loads",
    "MissingDumps",
    "NoisyChannels",
    "Otf",
    "OtfChopped",
    "Phase",
    "RandomSpurs",
    "Receiver",
    "Scan",
    "Sequence",
    "SessionConfig",
    "SimulationError",
    "SkyWave",
    "Source",
    "Spikes",
    "Spur",
    "StandingWave",
    "Telescope",
    "TotalPower",
    "Truth",
    "WarmLayer",
    "Written",
    "preset",
    "read_truth",
    "simulate",
    "truth_path",
]
