"""The error of the simulator."""

from __future__ import annotations

# The one thing but the constants that the simulator shares with the rest of the package.
from cal_pipeline.core.errors import CalibrationError


class SimulationError(CalibrationError, ValueError):
    """A session that cannot be simulated; the message names the wrong setting and its limits.

    Examples
    --------
    >>> from cal_pipeline.simulate import preset
    >>> preset("alma")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    cal_pipeline.heterodyne.simulate.errors.SimulationError: unknown preset 'alma': choose from ccat_chai, ...
    """


def require(condition: bool, message: str) -> None:
    """Raise `SimulationError` with `message` unless `condition` holds."""
    if not condition:
        raise SimulationError(message)
