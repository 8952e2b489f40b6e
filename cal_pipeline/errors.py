"""Everything that this package raises on purpose, to import from one place."""

from cal_pipeline.core.errors import (
    CalibrationError,
    DataReadError,
    IncompleteWriteError,
    InternalError,
    LayoutError,
    MissingInputError,
    NoInputError,
    ObservationError,
    OutputExistsError,
    ReadBackError,
    RunInterruptedError,
    StoreError,
    StoreLockedError,
)
from cal_pipeline.heterodyne.errors import (
    BadChannelsError,
    FrequencyRangeError,
    NoLoadsError,
    NoReferenceError,
    NotFiniteError,
    ScanNotFoundError,
)
from cal_pipeline.heterodyne.ingest.errors import FitsFileError, IngestError, ProfileError
from cal_pipeline.imager.errors import (
    ExposureTableError,
    ExposureTypeError,
    NoReferenceFileError,
    ReferenceFileError,
    ReferencesFolderError,
)

ScanError = ObservationError
"""Observation of a heterodyne receiver that cannot be calibrated; the others can."""

__all__ = [
    "BadChannelsError",
    "CalibrationError",
    "DataReadError",
    "ExposureTableError",
    "ExposureTypeError",
    "FitsFileError",
    "FrequencyRangeError",
    "IncompleteWriteError",
    "IngestError",
    "InternalError",
    "LayoutError",
    "MissingInputError",
    "NoInputError",
    "NoLoadsError",
    "NoReferenceError",
    "NoReferenceFileError",
    "NotFiniteError",
    "ObservationError",
    "OutputExistsError",
    "ProfileError",
    "ReadBackError",
    "ReferenceFileError",
    "ReferencesFolderError",
    "RunInterruptedError",
    "ScanError",
    "ScanNotFoundError",
    "StoreError",
    "StoreLockedError",
]
