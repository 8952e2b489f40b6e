"""Errors of the scans of heterodyne receivers."""

from __future__ import annotations

from cal_pipeline.core.errors import DataReadError, LayoutError, ObservationError, StoreError


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


class ScanNotFoundError(StoreError, KeyError):
    """A session has no scan of the number that is asked for; of one that failed the message says why."""

    def __str__(self) -> str:
        # That of KeyError would be quoted.
        return Exception.__str__(self)


def describe_failed_read(error: Exception) -> ObservationError:
    """Return the error for a group that cannot be read; it may be kept, as it holds no traceback.

    Parameters
    ----------
    error : Exception
        What reading raised.

    Returns
    -------
    ObservationError
        One of the same class, if that is one of this package; else it names the class.

    Examples
    --------
    >>> describe_failed_read(OSError("disk gone"))
    DataReadError('OSError: disk gone')
    """
    if isinstance(error, ObservationError):
        return type(error)(str(error))
    kind = DataReadError if isinstance(error, OSError) else LayoutError
    return kind(f"{type(error).__name__}: {error}")
