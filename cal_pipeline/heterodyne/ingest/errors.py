"""Errors of the ingest of FITS files."""

from __future__ import annotations

from cal_pipeline.core.errors import CalibrationError


class ProfileError(CalibrationError):
    """Profile of a telescope's files that cannot be used."""


class FitsFileError(CalibrationError):
    """FITS file that does not hold what its profile says."""


class IngestError(CalibrationError):
    """Scan that its files do not make, or files of which no scan can be made."""
