"""Errors of the ingest of FITS files."""

from __future__ import annotations

from cal_pipeline.core.errors import CalibrationError


class ProfileError(CalibrationError):
    """Profile of a telescope's files that cannot be used."""


class FitsFileError(CalibrationError):
    """FITS file that does not hold what its profile says.

    Parameters
    ----------
    message : str
        Message with file, key, what was found and what was expected.
    file : str
        Path of the file; empty if not given.
    """

    def __init__(self, message: str, file: str = "") -> None:
        super().__init__(message)
        self.file = file


class IngestError(CalibrationError):
    """Scan that its files do not make, or files of which no scan can be made."""
