"""Simulator of L0 sessions with a known sky; see `cal_pipeline.heterodyne.simulate`."""

from cal_pipeline.heterodyne.simulate import *  # noqa: F403
from cal_pipeline.heterodyne.simulate import __all__ as __all__
