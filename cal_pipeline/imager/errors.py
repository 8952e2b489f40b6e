"""Errors of the exposures of imagers."""

from __future__ import annotations

from cal_pipeline.core.errors import CalibrationError, ObservationError


class ReferenceFileError(ObservationError):
    """A reference file cannot be used for an exposure."""


class NoReferenceFileError(ReferenceFileError):
    """No reference file suits an exposure."""


class ReferencesFolderError(CalibrationError):
    """The folder of reference files is not there."""


class ExposureTypeError(ObservationError):
    """The table of exposure types does not know the type of an exposure."""


class ExposureTableError(CalibrationError):
    """A table of exposure types cannot be used."""
