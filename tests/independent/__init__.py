"""The calibration of one scan, written down as naively as the specification reads.

This is a second opinion for tests: nothing here is shared with ``cal_pipeline``. Whole arrays are held in
memory and loops run over subscans, pixels and channels where that is plainer. Axes: C channel, D dump,
R receiver, A array, S subscan.

Where the specification leaves a choice, the choice is named in a comment starting with ``CHOICE``.
"""

from .basics import PHYSICS, running_mean
from .beams import chop_differences, couple, sky_entries
from .counts import I32_MIN, PA_PER_TORR, name_pixels
from .monitors import t_rec_jump
from .options import Options
from .references import interpolation_weights
from .scale_error import TERMS
from .scan import evaluate_scan
from .table import look_up, read_atmosphere

__all__ = [
    "I32_MIN",
    "PA_PER_TORR",
    "PHYSICS",
    "TERMS",
    "Options",
    "chop_differences",
    "couple",
    "evaluate_scan",
    "interpolation_weights",
    "look_up",
    "name_pixels",
    "read_atmosphere",
    "running_mean",
    "sky_entries",
    "t_rec_jump",
]
