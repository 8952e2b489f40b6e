"""Errors of scans, stores and parameters."""

from __future__ import annotations


class CalibrationError(Exception):
    """Base of all errors that this package raises on purpose."""


class StoreError(CalibrationError):
    """A store cannot be opened, read or written as asked."""


class NoInputError(CalibrationError):
    """A pipeline or step is run without any data."""


class OutputExistsError(StoreError):
    """An output exists and may not be replaced; the message says so with ``overwrite=True``."""


class RunInterruptedError(KeyboardInterrupt):
    """A run was interrupted; the message says what was kept."""


class ScanError(CalibrationError):
    """A scan cannot be calibrated; the others can."""


class LayoutError(ScanError):
    """An array of a scan is missing or has another shape or type than the format says."""


class DataReadError(ScanError):
    """Counts cannot be read from the store."""


class NoLoadsError(ScanError):
    """No hot and cold load belongs to a scan."""


class NoReferenceError(ScanError):
    """A scan has no ON, or no OFF to compare it with."""


class BadChannelsError(ScanError):
    """The loads can calibrate no channel of a scan."""


class FrequencyRangeError(ScanError):
    """No atmosphere table holds the frequencies and the pressure of a scan."""


class NotFiniteError(ScanError):
    """Water vapour, samples or their noise come out as no numbers."""


class MissingInputError(ScanError):
    """A step lacks what an earlier step makes."""


class IncompleteWriteError(ScanError):
    """Not everything that was written is in the store."""


class InternalError(ScanError):
    """A fault of this package shows in a scan; please report the message with the scan it names."""
