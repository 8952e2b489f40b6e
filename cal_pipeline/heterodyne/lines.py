"""Lines that may come from the image sideband."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.files.declared import Each, FileProperty, Number, Tables, Text, read_declared
from cal_pipeline.core.files.selection import cfg_folder

LIGHT_KMS = 299792.458
"""Speed of light [km/s]."""

REACH_KMS = 100.0
"""Largest difference of the velocity of a line from that of the source [km/s]; the motion of the Earth is within it."""


class LinesError(CalibrationError):
    """The file of lines cannot be used."""


@dataclass(frozen=True)
class Species:
    """Lines of an atom, ion or molecule.

    Parameters
    ----------
    name : str
        Its name.
    reference : str
        Source of the frequencies.
    rest_freq_hz : tuple of float
        Rest frequencies [Hz].
    """

    name: Annotated[str, Text()]
    reference: Annotated[str, Text()]
    rest_freq_hz: Annotated[tuple[float, ...], Each(Number(above=0.0, unit="Hz"))]


@dataclass(frozen=True)
class Lines:
    """Strong lines of the sky.

    Parameters
    ----------
    species : tuple of Species
        What they are lines of.
    sha256 : str
        SHA-256 digest of the file.
    """

    species: Annotated[tuple[Species, ...], Tables(Species)]
    sha256: Annotated[str, FileProperty("sha256")]

    @property
    def rest_freq_hz(self) -> NDArray[np.float64]:
        """Rest frequencies of all lines, shape (N,) [Hz]."""
        return np.concatenate([species.rest_freq_hz for species in self.species])


def read_lines() -> Lines:
    """Read ``cfg/lines.toml``, once as long as it does not change.

    Returns
    -------
    Lines

    Raises
    ------
    LinesError
        If the file cannot be read, or holds what is not known.

    Examples
    --------
    >>> bool(np.isin(461.0407682e9, read_lines().rest_freq_hz))  # CO(4-3)
    True
    """
    return read_declared(cfg_folder() / "lines.toml", Lines, LinesError)


def find_lines(
    rest_freq_hz: NDArray[np.float64], frequencies: NDArray[np.float64], velocity_kms: float
) -> NDArray[np.bool_]:
    """Find the channels in which lines of a source may be.

    Parameters
    ----------
    rest_freq_hz : ndarray, shape (N,)
        Rest frequencies of the lines [Hz].
    frequencies : ndarray, shape (C,)
        Frequencies of the channels [Hz].
    velocity_kms : float
        Velocity of the source [km/s].

    Returns
    -------
    ndarray of bool, shape (C,)
        True within `REACH_KMS` of the velocity, in the radio convention nu = nu_0·(1 - v/c).

    Examples
    --------
    100 km/s are ten channels of 1 MHz at 30 GHz:

    >>> channels = 30e9 + 1e6 * np.arange(-500, 501)
    >>> np.flatnonzero(find_lines(np.array([30e9]), channels, 0.0))[[0, -1]].tolist()
    [490, 510]
    """
    near = np.zeros(frequencies.shape, np.bool_)
    low, high = (1.0 - (velocity_kms + reach) / LIGHT_KMS for reach in (REACH_KMS, -REACH_KMS))
    within = (rest_freq_hz * high >= frequencies.min()) & (rest_freq_hz * low <= frequencies.max())
    for line in rest_freq_hz[within].tolist():
        near |= (frequencies >= line * low) & (frequencies <= line * high)
    return near
