"""Telescope profiles: site, frequency range, efficiencies by frontend, default load temperature."""

from __future__ import annotations

import difflib
import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

from cal_pipeline.core.errors import CalibrationError

PROFILES = Path(__file__).parent / "telescopes"
"""Folder of the profiles that come with the package."""

GENERIC = "generic"


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
    """

    names: tuple[str, ...]
    frequency_range_hz: tuple[float, float]
    forward_efficiency: float
    beam_efficiency: float
    reference: str

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
    """

    latitude_deg: float
    longitude_deg: float
    altitude_m: float


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
    site : Site or None
        Location of the telescope.
    t_cold_default_K : float or None
        Temperature of the cold load if none was recorded [K].
    frontends : tuple of Frontend
        Frontends of the telescope.
    sha256 : str
        SHA-256 digest of the file.
    """

    name: str
    aliases: tuple[str, ...]
    frequency_range_hz: tuple[float, float]
    site: Site | None
    t_cold_default_K: float | None
    frontends: tuple[Frontend, ...]
    sha256: str

    @classmethod
    def read(cls, path: str | PathLike[str]) -> TelescopeProfile:
        """Read a profile.

        Parameters
        ----------
        path : path
            TOML file.

        Raises
        ------
        TelescopeProfileError
            If it cannot be read, lacks something, or holds what is not known or makes no sense.
        """
        try:
            text = Path(path).read_bytes()
            tree = tomllib.loads(text.decode("utf-8"))
        except (OSError, ValueError) as error:
            raise TelescopeProfileError(f"telescope profile {path} cannot be read: {error}") from error
        known = {"name", "aliases", "frequency_range_hz", "site", "t_cold_default_K", "frontend"}
        _check_keys(path, "", tree, known, {"name", "aliases", "frequency_range_hz"})
        site, cold, frontends = tree.get("site"), tree.get("t_cold_default_K"), tree.get("frontend", [])
        if not isinstance(frontends, list):
            raise TelescopeProfileError(f"telescope profile {path}: frontend is one table, expected [[frontend]]")
        return cls(
            name=_text(path, "name", tree["name"]),
            aliases=_patterns(path, "aliases", tree["aliases"]),
            frequency_range_hz=_range(path, "frequency_range_hz", tree["frequency_range_hz"]),
            site=None if site is None else _site(path, site),
            t_cold_default_K=None if cold is None else _number(path, "t_cold_default_K", cold, low=0.0),
            frontends=tuple(_frontend(path, k, entry) for k, entry in enumerate(frontends)),
            sha256=hashlib.sha256(text).hexdigest(),
        )

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
            candidates = tuple(f for f in candidates if any(_matches(name, pattern) for pattern in f.names))
            if len(candidates) == 1:
                return candidates[0]
        return next((frontend for frontend in candidates if frontend.covers(frequency)), None)


def shipped_profiles() -> list[Path]:
    """List the shipped profiles; the generic one is last."""
    return sorted(PROFILES.glob("*.toml"), key=lambda path: (path.stem == GENERIC, path.name))


def find_profile(telescope: str | None) -> Path:
    """Find the shipped profile by the attribute ``telescope`` of scans; else the generic one."""
    for path in shipped_profiles():
        if any(_matches(telescope or "", alias) for alias in open_profile(path).aliases):
            return path
    return PROFILES / f"{GENERIC}.toml"


def open_profile(path: str | PathLike[str]) -> TelescopeProfile:
    """Read a profile, once as long as the file does not change."""
    path = Path(path).absolute()
    return _open_cached(path, path.stat().st_mtime_ns) if path.is_file() else TelescopeProfile.read(path)


@lru_cache(maxsize=16)
def _open_cached(path: Path, mtime_ns: int) -> TelescopeProfile:
    return TelescopeProfile.read(path)


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name.strip().upper(), pattern.upper())


def _site(path: str | PathLike[str], entry: Any) -> Site:
    names = {"latitude_deg", "longitude_deg", "altitude_m"}
    _check_keys(path, "site.", entry, names, names)
    return Site(
        latitude_deg=_number(path, "site.latitude_deg", entry["latitude_deg"], -90.0, 90.0, or_low=True),
        longitude_deg=_number(path, "site.longitude_deg", entry["longitude_deg"], -180.0, 360.0, or_low=True),
        altitude_m=_number(path, "site.altitude_m", entry["altitude_m"]),
    )


def _frontend(path: str | PathLike[str], index: int, entry: Any) -> Frontend:
    where = f"frontend[{index}]."
    names = {"name", "frequency_range_hz", "forward_efficiency", "beam_efficiency", "reference"}
    _check_keys(path, where, entry, names, names)
    efficiency = {
        name: _number(path, where + name, entry[name], low=0.0, high=1.0)
        for name in ("forward_efficiency", "beam_efficiency")
    }
    if efficiency["beam_efficiency"] > efficiency["forward_efficiency"]:
        raise TelescopeProfileError(
            f"telescope profile {path}: {where}beam_efficiency is {efficiency['beam_efficiency']:g}, expected at most "
            f"the forward_efficiency of {efficiency['forward_efficiency']:g}, as the main beam is a part of forward"
        )
    return Frontend(
        names=_patterns(path, where + "name", entry["name"]),
        frequency_range_hz=_range(path, where + "frequency_range_hz", entry["frequency_range_hz"]),
        reference=_text(path, where + "reference", entry["reference"]),
        **efficiency,
    )


def _check_keys(path: str | PathLike[str], where: str, entry: Any, known: set[str], needed: set[str]) -> None:
    if not isinstance(entry, Mapping):
        names = ", ".join(sorted(known))
        raise TelescopeProfileError(
            f"telescope profile {path}: {where.rstrip('.')} is {entry!r}, expected a table of {names}"
        )
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(sorted(known))}"
            raise TelescopeProfileError(f"telescope profile {path}: {where}{key} is not known; {hint}")
    missing = sorted(needed - set(entry))
    if missing:
        names = ", ".join(where + name for name in missing)
        raise TelescopeProfileError(f"telescope profile {path}: {names} is missing")


def _text(path: str | PathLike[str], name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TelescopeProfileError(f"telescope profile {path}: {name} is {value!r}, expected text")
    return value


def _patterns(path: str | PathLike[str], name: str, value: Any) -> tuple[str, ...]:
    """One name or several."""
    return tuple(_text(path, name, item) for item in (value if isinstance(value, list) else [value]))


def _number(
    path: str | PathLike[str],
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    or_low: bool = False,
) -> float:
    """Check a finite number above `low` (or equal, if allowed) and up to `high`."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not (low < value <= high or (or_low and value == low)):
        lowest = f" {'from' if or_low else 'above'} {low:g}" if math.isfinite(low) else ""
        bounds = lowest + (f" up to {high:g}" if math.isfinite(high) else "")
        raise TelescopeProfileError(f"telescope profile {path}: {name} is {value!r}, expected a finite number{bounds}")
    return float(value)


def _range(path: str | PathLike[str], name: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise TelescopeProfileError(f"telescope profile {path}: {name} is {value!r}, expected [lowest, highest] in Hz")
    low, high = (_number(path, name, item, low=0.0) for item in value)
    if not low < high:
        raise TelescopeProfileError(f"telescope profile {path}: {name} is {value!r}, expected [lowest, highest] in Hz")
    return low, high
