"""Profiles of telescopes: how the files of one become L0."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from string import Formatter
from typing import Annotated, Any

from cal_pipeline.core.files.declared import (
    Each,
    Entry,
    FileProperty,
    Number,
    OneOf,
    Table,
    Tables,
    Text,
    WholeNumber,
    read_declared,
)
from cal_pipeline.heterodyne.ingest.errors import ProfileError
from cal_pipeline.heterodyne.ingest.fields import DOPPLER, MAP_FIELDS, PIXEL_FIELDS, SCAN_FIELDS, Field
from cal_pipeline.heterodyne.ingest.fits_fields import Request
from cal_pipeline.heterodyne.ingest.value_forms import Texts, ValueForm, Wanted
from cal_pipeline.heterodyne.ingest.values import Constant, Value
from cal_pipeline.heterodyne.phases import CALIBRATION, OFFS, ONS

PROFILES = Path(__file__).parent / "profiles"
"""Folder of the profiles that come with the package."""

PHASES = (*ONS, *OFFS, *CALIBRATION)
"""Phases of L0."""

IGNORE, FAIL = "IGNORE", "FAIL"

_CONDITIONS = Texts(Wanted(), empty=True)

Conditions = Mapping[str, tuple[str | float, ...]]
"""Values or patterns by key; all keys must have one of theirs."""


@dataclass(frozen=True)
class PhaseRule:
    """Observing phase of the rows with certain keys.

    Parameters
    ----------
    when : mapping of str to tuple
        Values or patterns by key.
    phase : str
        Phase of L0, ``"IGNORE"`` or ``"FAIL"``.
    reason : str
        Reason of a FAIL.
    """

    when: Annotated[Conditions, _CONDITIONS]
    phase: Annotated[str, OneOf((*PHASES, IGNORE, FAIL)), "is"]
    reason: Annotated[str, Text()] = ""

    def __post_init__(self) -> None:
        if self.phase == FAIL and not self.reason:
            raise ValueError("reason is missing: expected one for is = 'FAIL'")
        if self.reason and self.phase != FAIL:
            raise ValueError(f"reason is for is = 'FAIL', found {self.phase!r}")


@dataclass(frozen=True)
class TimeRule:
    """Meaning of recorded times.

    Parameters
    ----------
    scale : {"utc", "tai"}
        Time scale.
    moment : {"start", "middle", "end"}
        Moment of the row.
    """

    scale: Annotated[str, OneOf(("utc", "tai"))]
    moment: Annotated[str, OneOf(("start", "middle", "end")), "is"]


@dataclass(frozen=True)
class FrequencyRule:
    """Frame of recorded frequencies.

    Parameters
    ----------
    frame : {"topocentric", "source"}
        Frame.
    doppler : Value or None
        v/c: frequencies of the frame ``"source"`` times 1 + v/c are topocentric.
    """

    frame: Annotated[str, OneOf(("topocentric", "source"))] = "topocentric"
    doppler: Annotated[Value | None, ValueForm(DOPPLER)] = None

    def __post_init__(self) -> None:
        if (self.frame == "source") != (self.doppler is not None):
            found = "is missing: expected a value" if self.doppler is None else "is for frame = 'source', found one"
            raise ValueError(f"doppler {found} with frame {self.frame!r}")


@dataclass(frozen=True)
class GroupRule:
    """Rows that make a subscan.

    Parameters
    ----------
    dumps : {"row", "scan"}
        Whether each row of a table is a subscan, or consecutive rows of a phase are the dumps of one.
    loads_gap : float
        Longest break between calibration scans that become one [s].
    """

    dumps: Annotated[str, OneOf(("row", "scan"))] = "row"
    loads_gap: Annotated[float, Number(at_least=0.0, unit="s")] = 300.0


_ZERO = Constant(0.0)


class PixelId:
    """Format string of the id of a pixel."""

    def read(self, value: Any, at: Entry) -> str:
        """Return the format string."""
        text = Text("a format string such as 'PX{receiver:02d}'").read(value, at)
        try:
            parts = list(Formatter().parse(text))
        except ValueError as error:
            raise at.refusal(text, f"a format string: {error}") from error
        for _, name, spec, conversion in parts:
            if name is not None and (not name.strip() or conversion or "{" in (spec or "")):
                raise at.refusal(text, "a format string of keys, as in 'PX{receiver:02d}'")
            if re.search(r"\d{3}", spec or ""):
                raise at.refusal(text, "a format string of keys with widths up to 99")
        return text


@dataclass(frozen=True)
class PixelRule:
    """Place of a row among the pixels.

    Parameters
    ----------
    id : str
        Format string of the id, over keys and receiver, array and band.
    receiver, array, band : Value
        Pixel of an array, array, and band.
    """

    id: Annotated[str, PixelId()]
    receiver: Annotated[Value, ValueForm(PIXEL_FIELDS["receiver"])] = _ZERO
    array: Annotated[Value, ValueForm(PIXEL_FIELDS["array"])] = _ZERO
    band: Annotated[Value, ValueForm(PIXEL_FIELDS["band"])] = _ZERO

    @property
    def id_keys(self) -> tuple[str, ...]:
        """Keys of the id, but receiver, array and band."""
        names = (name for _, name, _, _ in Formatter().parse(self.id) if name)
        return tuple(dict.fromkeys(name for name in names if name not in PIXEL_FIELDS))


class HduName:
    """Name or number of an HDU."""

    def read(self, value: Any, at: Entry) -> str | int:
        """Return name or number."""
        if isinstance(value, str):
            return Text().read(value, at)
        number = WholeNumber().read(value, at) if isinstance(value, int) else -1
        if number < 0:
            raise at.refusal(value, "the name of an HDU or its number, from 0")
        return number


class FileName:
    """Regular expression on the name of a file."""

    def read(self, value: Any, at: Entry) -> re.Pattern[str]:
        """Return the expression."""
        try:
            return re.compile(Text().read(value, at))
        except re.error as error:
            raise at.refusal(value, f"a regular expression: {error}") from error


def _declare_values(fields: Mapping[str, Field]) -> Table[dict[str, Value]]:
    required = [name for name, item in fields.items() if item.required]
    return Table({name: ValueForm(item) for name, item in fields.items()}, dict, required)


class SchemaVersion:
    """Version of the schema of profiles."""

    def read(self, value: Any, at: Entry) -> int:
        """Return the version."""
        if value != 1 or isinstance(value, bool):
            raise at.refusal(value, "1")
        return 1


@dataclass(frozen=True, eq=False)
class Profile:
    """Profile of the files of a telescope.

    Parameters
    ----------
    schema : int
        Version of the schema, 1.
    name : str
        Name of the profile.
    reader : {"table", "image"}
        Kind of the files: a row of a binary table is a dump of a pixel, or a file is a subscan of a pixel.
    files : tuple of str
        Patterns of the names of files in a folder.
    hdu : str or int
        Name of the HDUs, or number of the one.
    counts : {"i32", "f4"}
        Type of the counts in L0.
    scan, map : mapping of str to Value
        Attributes of scans and numbers of rows, by field.
    pixel : PixelRule
        Place of a row among the pixels.
    phase : tuple of PhaseRule
        Phases; the first that holds.
    time : TimeRule
        Meaning of times.
    sha256 : str
        SHA-256 digest of the file.
    data : str
        Column of the counts; empty for images.
    file_name : re.Pattern or None
        Regular expression on the name of a file.
    missing : tuple of float
        Numbers that mean that there is none.
    match : mapping
        Values or patterns by key of the rows that are used.
    frequency : FrequencyRule
        Frame of frequencies.
    group : GroupRule
        Rows that make a subscan.
    carry : tuple of str
        Keys that become attributes.

    Examples
    --------
    >>> profile = open_profile("gbt_wband")
    >>> profile.reader, profile.hdu, profile.data, profile.counts, profile.loads_gap
    ('table', 'SINGLE DISH', 'DATA', 'i32', 300.0)
    """

    schema: Annotated[int, SchemaVersion()]
    name: Annotated[str, Text()]
    reader: Annotated[str, OneOf(("table", "image"))]
    files: Annotated[tuple[str, ...], Each(Text("a pattern of names of files"), lone=True)]
    hdu: Annotated[str | int, HduName()]
    counts: Annotated[str, OneOf(("i32", "f4"))]
    scan: Annotated[Mapping[str, Value], _declare_values(SCAN_FIELDS)]
    map: Annotated[Mapping[str, Value], _declare_values(MAP_FIELDS)]
    pixel: Annotated[PixelRule, PixelRule]
    phase: Annotated[tuple[PhaseRule, ...], Tables(PhaseRule)]
    time: Annotated[TimeRule, TimeRule]
    sha256: Annotated[str, FileProperty("sha256")]
    data: Annotated[str, Text("the name of a column")] = ""
    file_name: Annotated[re.Pattern[str] | None, FileName()] = None
    missing: Annotated[tuple[float, ...], Each(Number(), lone=True)] = ()
    match: Annotated[Conditions, _CONDITIONS] = field(default_factory=dict)
    frequency: Annotated[FrequencyRule, FrequencyRule] = field(default_factory=FrequencyRule)
    group: Annotated[GroupRule, GroupRule] = field(default_factory=GroupRule)
    carry: Annotated[tuple[str, ...], Each(Text("a key"))] = ()

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError("files is empty, expected at least one pattern")
        if (self.reader == "table") != bool(self.data):
            expected = "the column of the counts" if self.reader == "table" else "none for reader 'image'"
            raise ValueError(f"data is {self.data!r}, expected {expected}")
        if self.reader == "image" and self.group.dumps != "row":
            raise ValueError("group.dumps is 'scan', expected 'row' for reader 'image': a file is a subscan")
        for lon, lat in (("lon", "lat"), ("otf_lon", "otf_lat"), ("pixel_offset_lon", "pixel_offset_lat")):
            if (lon in self.map) != (lat in self.map):
                raise ValueError(f"map.{lat if lon in self.map else lon} is missing, expected both {lon} and {lat}")
        if "lon" in self.map and self.map.keys() & {"otf_lon", "pixel_offset_lon"}:
            raise ValueError("map.lon is given besides offsets, expected either of them")
        self._check_carried()

    def _check_carried(self) -> None:
        names = [name_attribute(key) for key in self.carry]
        for key, name in zip(self.carry, names, strict=True):
            if name in SCAN_FIELDS or name == "scan_number":
                raise ValueError(f"carry has {key!r}, expected other names than those of [scan]")
            if names.count(name) > 1:
                raise ValueError(f"carry has {key!r}, which becomes {name!r} as another does, expected distinct names")

    @property
    def dumps(self) -> str:
        """``"row"`` or ``"scan"``: rows that are the dumps of a subscan."""
        return self.group.dumps

    @property
    def loads_gap(self) -> float:
        """Longest break between calibration scans that become one [s]."""
        return self.group.loads_gap

    @cached_property
    def request(self) -> Request:
        """Keys to read from each file."""
        rules = [*self.scan.values(), *self.map.values(), self.pixel.receiver, self.pixel.array, self.pixel.band]
        rules += [self.frequency.doppler] if self.frequency.doppler is not None else []
        keys = [key for rule in rules for key in rule.keys]
        keys += [key for conditions in (self.match, *(rule.when for rule in self.phase)) for key in conditions]
        keys += [*self.pixel.id_keys, *self.carry]
        keys += ["number"] if self.file_name and "number" in self.file_name.groupindex else []
        return Request(self.reader, self.hdu, self.data, tuple(dict.fromkeys(keys)), self.file_name)


def name_attribute(key: str) -> str:
    """Return the name of the attribute that a carried key becomes.

    Examples
    --------
    >>> name_attribute("DATE-OBS")
    'date_obs'
    """
    return key.lower().replace("-", "_").replace(" ", "_")


def shipped_profiles() -> list[str]:
    """List the names of the profiles that come with the package.

    Examples
    --------
    >>> "gbt_wband" in shipped_profiles()
    True
    """
    return sorted(path.stem for path in PROFILES.glob("*.toml"))


def open_profile(name: str | PathLike[str]) -> Profile:
    """Read a profile, once as long as its file does not change.

    Parameters
    ----------
    name : str or path
        Name of a profile that comes with the package, or path of a TOML file.

    Returns
    -------
    Profile

    Raises
    ------
    ProfileError
        If there is none of this name, or the file cannot be read, lacks something, or holds what is
        not known or makes no sense.

    Examples
    --------
    >>> open_profile("gbt_wband").time
    TimeRule(scale='utc', moment='middle')
    """
    text = str(name)
    shipped = shipped_profiles()
    if text in shipped:
        return read_declared(PROFILES / f"{text}.toml", Profile, ProfileError, "profile")
    if not text.endswith(".toml") and not Path(text).is_file():
        near = difflib.get_close_matches(text, shipped, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(shipped)} or a file *.toml"
        raise ProfileError(f"there is no profile {text!r}; {hint}")
    return read_declared(name, Profile, ProfileError, "profile")
