"""Errors of the scans of heterodyne receivers."""

from __future__ import annotations

from cal_pipeline.core.errors import ObservationError


class NoLoadsError(ObservationError):
    """No hot and cold load belongs to a scan."""


class NoReferenceError(ObservationError):
    """A scan has no ON, or no OFF to compare it with."""


class BadChannelsError(ObservationError):
    """The loads can calibrate no channel of a scan."""


class FrequencyRangeError(ObservationError):
    """No atmosphere table holds the frequencies and the pressure of a scan."""


class NotFiniteError(ObservationError):
    """Water vapour, samples or their noise come out as no numbers."""
