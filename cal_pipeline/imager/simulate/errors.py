"""The error of the simulator of the imager."""

from __future__ import annotations

from cal_pipeline.core.errors import CalibrationError


class VisitError(CalibrationError, ValueError):
    """A visit that cannot be simulated; the message names the wrong setting and its limits.

    Examples
    --------
    >>> from cal_pipeline.imager.simulate import Detector
    >>> Detector(size=0)
    Traceback (most recent call last):
    cal_pipeline.imager.simulate.errors.VisitError: size (0, 0) must be at least 1 pixel along each axis
    """


def require(condition: bool, message: str) -> None:
    """Raise `VisitError` with `message` unless `condition` holds."""
    if not condition:
        raise VisitError(message)
