"""Errors of the Cherenkov family, with the exit statuses that its commands promise."""

from __future__ import annotations

from cal_pipeline.core.errors import CalibrationError

FALLBACK = 100
"""Exit status of a command that made its products by a fallback, worth another try later."""

CONFIGURATION, STORAGE, CORRUPTED, MISSING, TOO_FEW = 101, 102, 104, 105, 106
"""Exit statuses after errors of the configuration, of storage and of the input."""


class ConfigurationError(CalibrationError):
    """The configuration asks for what does not exist or contradicts itself."""

    exit_status = CONFIGURATION


class StorageError(CalibrationError):
    """A product or a row of the database cannot be read, written or replaced."""

    exit_status = STORAGE


class CorruptedInputError(CalibrationError):
    """An input has other content than its format says."""

    exit_status = CORRUPTED


class MissingInputError(CalibrationError):
    """An input, or the part of it that is needed, is not there."""

    exit_status = MISSING


class TooFewEventsError(CalibrationError):
    """There are too few events (months, stars) for a result."""

    exit_status = TOO_FEW
