"""Infrared imager: detector ramps to calibrated images.

Exposures are :class:`RampModel` and :class:`ImageModel`, their flags :class:`DQ`. Steps are in
`cal_pipeline.steps.imager`, pipelines in `cal_pipeline`, a simulator in
`cal_pipeline.imager.simulate`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cal_pipeline.imager.dq import DQ

if TYPE_CHECKING:
    from cal_pipeline.imager.models import ImageModel, RampModel

__all__ = ["DQ", "ImageModel", "RampModel"]


def __getattr__(name: str) -> Any:
    """Import a model when it is first asked for: commands and errors need none."""
    if name in __all__:
        return getattr(import_module("cal_pipeline.imager.models"), name)
    raise AttributeError(f"module 'cal_pipeline.imager' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names too that are not imported yet."""
    return sorted({*globals(), *__all__})
