"""Telescope profiles: site, frequency range, efficiencies by frontend, default load temperature."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Annotated

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.files.declared import (
    PATTERN,
    Each,
    FileProperty,
    Number,
    Tables,
    Text,
    interval,
    matches_pattern,
    read_declared,
)

PROFILES = Path(__file__).parent / "telescopes"
"""Folder of the profiles that come with the package."""

GENERIC = "generic"

_NAMES = Each(PATTERN, lone=True)
_FREQUENCIES = interval(Number(above=0.0, unit="Hz"))
_EFFICIENCY = Number(above=0.0, up_to=1.0)


class TelescopeProfileError(CalibrationError):
    """A telescope profile cannot be read, or has impossible values."""


@dataclass(frozen=True)
class Frontend:
    """A frontend of a telescope.

    Parameters
    ----------
    names : tuple of str
        Patterns of its name, with ``*`` for any text.
    frequency_range_hz : tuple of float
        Lowest and highest sky frequency [Hz].
    forward_efficiency, beam_efficiency : float
        Forward and main-beam efficiency.
    reference : str
        Source of the numbers.

    Examples
    --------
    >>> frontend = Frontend(("CHAI*",), (455e9, 495e9), 0.95, 0.75, "assumed")
    >>> frontend.covers(461e9), frontend.covers(809e9)
    (True, False)
    """

    names: Annotated[tuple[str, ...], _NAMES, "name"]
    frequency_range_hz: Annotated[tuple[float, float], _FREQUENCIES]
    forward_efficiency: Annotated[float, _EFFICIENCY]
    beam_efficiency: Annotated[float, _EFFICIENCY]
    reference: Annotated[str, Text()]

    def __post_init__(self) -> None:
        if self.beam_efficiency > self.forward_efficiency:
            raise ValueError(
                f"beam_efficiency is {self.beam_efficiency:g}, expected at most the forward_efficiency of "
                f"{self.forward_efficiency:g}, as the main beam is a part of forward"
            )

    def covers(self, frequency: float) -> bool:
        """Tell whether a sky frequency [Hz] lies in the range."""
        low, high = self.frequency_range_hz
        return low <= frequency <= high


@dataclass(frozen=True)
class Site:
    """Location of a telescope on the ground or in the air.

    Parameters
    ----------
    latitude_deg, longitude_deg : float
        Geographic coordinates, east positive [deg].
    altitude_m : float
        Altitude above sea level [m].

    Examples
    --------
    >>> open_profile(find_profile("CCAT")).site
    Site(latitude_deg=-22.985917, longitude_deg=-67.740278, altitude_m=5612.0)
    """

    latitude_deg: Annotated[float, Number(at_least=-90.0, up_to=90.0, unit="deg")]
    longitude_deg: Annotated[float, Number(at_least=-180.0, up_to=360.0, unit="deg")]
    altitude_m: Annotated[float, Number(unit="m")]


@dataclass(frozen=True)
class TelescopeProfile:
    """Profile of a telescope.

    Parameters
    ----------
    name : str
        Its name.
    aliases : tuple of str
        Patterns of the attribute ``telescope`` of its scans.
    frequency_range_hz : tuple of float
        Lowest and highest sky frequency [Hz].
    sha256 : str
        SHA-256 digest of the file.
    site : Site or None
        Location of the telescope.
    t_cold_default_K : float or None
        Temperature of the cold load if none was recorded [K].
    saturation_counts : float or None
        Smallest count that a saturated spectrometer delivers; such counts are missing [ct].
    frontends : tuple of Frontend
        Frontends of the telescope.

    Examples
    --------
    A frontend that two bands share is told apart by the frequency:

    >>> profile = open_profile(find_profile("CCAT"))
    >>> [profile.frontend("CHAI", frequency).beam_efficiency for frequency in (461e9, 809e9)]
    [0.75, 0.7]
    """

    name: Annotated[str, Text()]
    aliases: Annotated[tuple[str, ...], _NAMES]
    frequency_range_hz: Annotated[tuple[float, float], _FREQUENCIES]
    sha256: Annotated[str, FileProperty("sha256")]
    site: Annotated[Site | None, Site] = None
    t_cold_default_K: Annotated[float | None, Number(above=0.0, unit="K")] = None
    saturation_counts: Annotated[float | None, Number(above=0.0, unit="ct")] = None
    frontends: Annotated[tuple[Frontend, ...], Tables(Frontend), "frontend"] = ()

    def frontend(self, name: str | None, frequency: float) -> Frontend | None:
        """Find a frontend of the telescope.

        Parameters
        ----------
        name : str or None
            Its name, as recorded; case does not matter.
        frequency : float
            Sky frequency, which decides where the name is not recorded or suits several frontends
            [Hz].

        Returns
        -------
        Frontend or None
            None where the profile knows none.
        """
        candidates = self.frontends
        if name:
            candidates = tuple(f for f in candidates if any(matches_pattern(name, pattern) for pattern in f.names))
            if len(candidates) == 1:
                return candidates[0]
        return next((frontend for frontend in candidates if frontend.covers(frequency)), None)


def shipped_profiles() -> list[Path]:
    """List the paths of the shipped profiles; the generic one is last.

    Examples
    --------
    >>> shipped_profiles()[-1].name
    'generic.toml'
    """
    return list(_list_profiles(PROFILES))


@cache
def _list_profiles(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(folder.glob("*.toml"), key=lambda path: (path.stem == GENERIC, path.name)))


def find_profile(telescope: str | None) -> Path:
    """Find the shipped profile of a telescope.

    Parameters
    ----------
    telescope : str or None
        Attribute ``telescope`` of scans.

    Returns
    -------
    Path
        The generic profile for telescopes without one.

    Examples
    --------
    >>> find_profile("FYST").name, find_profile("ALMA").name
    ('ccat.toml', 'generic.toml')
    """
    for path in shipped_profiles():
        if any(matches_pattern(telescope, alias) for alias in open_profile(path).aliases):
            return path
    return PROFILES / f"{GENERIC}.toml"


def open_profile(path: str | PathLike[str]) -> TelescopeProfile:
    """Read a profile, once as long as the file does not change.

    Parameters
    ----------
    path : path
        TOML file.

    Returns
    -------
    TelescopeProfile

    Raises
    ------
    TelescopeProfileError
        If it cannot be read, lacks something, or holds what is not known or makes no sense.

    Examples
    --------
    >>> open_profile(find_profile("CCAT")).t_cold_default_K
    77.0
    """
    return read_declared(path, TelescopeProfile, TelescopeProfileError, "telescope profile")
