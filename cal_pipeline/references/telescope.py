"""Profiles of telescopes: site, frequency range, efficiencies by frontend, default load temperature."""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

from cal_pipeline.errors import CalibrationError

PROFILES = Path(__file__).parent / "telescopes"
"""Folder of the profiles that come with the package."""

GENERIC = "generic"


class TelescopeProfileError(CalibrationError):
    """A telescope profile cannot be read, or says what makes no sense."""


@dataclass(frozen=True)
class Frontend:
    """A frontend of a telescope.

    Parameters
    ----------
    name : str
        Pattern of its name, in which ``*`` stands for anything.
    frequency_range_hz : tuple of float
        Lowest and highest sky frequency [Hz].
    forward_efficiency, beam_efficiency : float
        Forward and main-beam efficiency.
    reference : str
        Where the numbers come from.
    """

    name: str
    frequency_range_hz: tuple[float, float]
    forward_efficiency: float
    beam_efficiency: float
    reference: str

    def covers(self, frequency: float) -> bool:
        """Whether a sky frequency [Hz] lies in the range."""
        low, high = self.frequency_range_hz
        return low <= frequency <= high


@dataclass(frozen=True)
class Site:
    """Where a telescope stands or flies.

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
    """What is known of a telescope.

    Parameters
    ----------
    name : str
        Its name.
    aliases : tuple of str
        Patterns of the attribute ``telescope`` of its scans.
    frequency_range_hz : tuple of float
        Lowest and highest sky frequency [Hz].
    site : Site or None
        Where it stands.
    t_cold_default_K : float or None
        Temperature of the cold load where none was recorded [K].
    frontends : tuple of Frontend
        Its frontends.
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
        site = tree.get("site")
        names = {"latitude_deg", "longitude_deg", "altitude_m"}
        if site is not None:
            _check_keys(path, "site.", site, names, names)
        cold = tree.get("t_cold_default_K")
        return cls(
            name=str(tree["name"]),
            aliases=tuple(str(alias) for alias in tree["aliases"]),
            frequency_range_hz=_range(path, "frequency_range_hz", tree["frequency_range_hz"]),
            site=None if site is None else Site(**{n: _number(path, f"site.{n}", site[n]) for n in sorted(names)}),
            t_cold_default_K=None if cold is None else _number(path, "t_cold_default_K", cold, low=0.0),
            frontends=tuple(_frontend(path, k, entry) for k, entry in enumerate(tree.get("frontend", []))),
            sha256=hashlib.sha256(text).hexdigest(),
        )

    def frontend(self, name: str | None, frequency: float) -> Frontend | None:
        """A frontend of the telescope.

        Parameters
        ----------
        name : str or None
            Its name, as recorded; case does not matter.
        frequency : float
            Sky frequency, by which it is found where its name is not recorded [Hz].

        Returns
        -------
        Frontend or None
            None where the profile knows none.
        """
        for frontend in self.frontends:
            if _matches(name, frontend.name) if name else frontend.covers(frequency):
                return frontend
        return None


def shipped_profiles() -> list[Path]:
    """Profiles that come with the package; the one for all others is last."""
    return sorted(PROFILES.glob("*.toml"), key=lambda path: (path.stem == GENERIC, path.name))


def find_profile(telescope: str | None) -> Path:
    """The shipped profile of a telescope, by the attribute ``telescope`` of its scans; else the generic one."""
    for path in shipped_profiles():
        if any(_matches(telescope or "", alias) for alias in open_profile(path).aliases):
            return path
    return PROFILES / f"{GENERIC}.toml"


def open_profile(path: str | PathLike[str]) -> TelescopeProfile:
    """Read a profile, once as long as the file does not change."""
    path = Path(path)
    return _open_cached(path, path.stat().st_mtime_ns) if path.is_file() else TelescopeProfile.read(path)


@lru_cache(maxsize=16)
def _open_cached(path: Path, mtime_ns: int) -> TelescopeProfile:
    return TelescopeProfile.read(path)


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name.strip().upper(), pattern.upper())


def _frontend(path: str | PathLike[str], index: int, entry: Mapping[str, Any]) -> Frontend:
    where = f"frontend[{index}]."
    names = {"name", "frequency_range_hz", "forward_efficiency", "beam_efficiency", "reference"}
    _check_keys(path, where, entry, names, names)
    efficiency = {
        name: _number(path, where + name, entry[name], low=0.0, high=1.0)
        for name in ("forward_efficiency", "beam_efficiency")
    }
    span = _range(path, where + "frequency_range_hz", entry["frequency_range_hz"])
    return Frontend(str(entry["name"]), span, **efficiency, reference=str(entry["reference"]))


def _check_keys(
    path: str | PathLike[str], where: str, entry: Mapping[str, Any], known: set[str], needed: set[str]
) -> None:
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(sorted(known))}"
            raise TelescopeProfileError(f"telescope profile {path}: {where}{key} is not known; {hint}")
    missing = sorted(needed - set(entry))
    if missing:
        raise TelescopeProfileError(
            f"telescope profile {path}: {', '.join(where + name for name in missing)} is missing"
        )


def _number(
    path: str | PathLike[str], name: str, value: Any, low: float = -float("inf"), high: float = float("inf")
) -> float:
    """A number above `low` and up to `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low < value <= high:
        raise TelescopeProfileError(
            f"telescope profile {path}: {name} is {value!r}, expected a number above {low:g} and up to {high:g}"
        )
    return float(value)


def _range(path: str | PathLike[str], name: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise TelescopeProfileError(f"telescope profile {path}: {name} is {value!r}, expected [lowest, highest] in Hz")
    low, high = (_number(path, name, item, low=0.0) for item in value)
    if not low < high:
        raise TelescopeProfileError(f"telescope profile {path}: {name} is {value!r}, expected [lowest, highest] in Hz")
    return low, high
