"""Errors that this package raises on purpose."""

from __future__ import annotations


class CalibrationError(Exception):
    """Base of all errors that this package raises on purpose.

    Attributes
    ----------
    exit_status : int
        Exit status of a command that ends with the error.
    file : str
        Input file that it concerns, for records of failures; empty if unknown, or for several.
    """

    exit_status: int = 1
    file: str = ""


class UsageError(CalibrationError):
    """Invalid command line."""


class StoreError(CalibrationError):
    """A store cannot be opened, read or written as asked."""


class NoInputError(CalibrationError):
    """A pipeline or step is run without any data."""


class OutputExistsError(StoreError):
    """An output exists and may not be replaced; the message says so with ``overwrite=True``."""


class StoreLockedError(StoreError):
    """Another run is writing an output, or has taken it over; the message names its host, process and start."""


class RunInterruptedError(KeyboardInterrupt):
    """A run was interrupted; the message says what was kept."""


class ObservationError(CalibrationError):
    """An observation cannot be calibrated; the others can."""


class LayoutError(ObservationError):
    """An array of an observation is missing or has another shape or type than the format says."""


class DataReadError(ObservationError):
    """Counts cannot be read from the store."""


class MissingInputError(ObservationError):
    """A step lacks what an earlier step makes."""


class IncompleteWriteError(ObservationError):
    """Not everything that was written is in the store."""


class ReadBackError(ObservationError):
    """Stored data differ from the data written."""


class InternalError(ObservationError):
    """A fault of this package; please report the message, with the observation named in it."""
