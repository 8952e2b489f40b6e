"""Choice of reference files: the folder they lie in, and which of them suits an exposure."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import asdf

from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.text import list_few
from cal_pipeline.imager.errors import NoReferenceFileError, ReferenceFileError, ReferencesFolderError
from cal_pipeline.imager.layout import check_attributes
from cal_pipeline.imager.times import parse_time

logger = logging.getLogger(__name__)

REFERENCES_VARIABLE = "CAL_PIPELINE_REFERENCES"
"""Environment variable that names the folder of reference files."""

_KEYS = ("instrument", "detector", "filter")

_SOUGHT = ("instrument", "detector", "date_obs")
"""Attributes without which no file can be chosen."""


@dataclass(frozen=True)
class ReferenceHeader:
    """Entries of a reference file's meta by which it is chosen, as they are written; None for what is absent.

    Parameters
    ----------
    path : Path
        The file.
    reftype, instrument, detector, filter, useafter : object
        Entries of its meta.
    """

    path: Path
    reftype: Any
    instrument: Any
    detector: Any
    filter: Any
    useafter: Any

    def suits(self, attributes: Mapping[str, Any]) -> bool:
        """Tell whether the file is of the instrument, the detector and, if it names one, the filter of an exposure."""
        return (
            self.instrument == attributes.get("instrument")
            and self.detector == attributes.get("detector")
            and self.filter in (None, attributes.get("filter"))
        )

    @property
    def time(self) -> datetime:
        """Time from which on the file counts.

        Raises
        ------
        ReferenceFileError
            If ``useafter`` is no time.
        """
        try:
            return parse_time(self.useafter)
        except (ValueError, OverflowError) as error:
            raise ReferenceFileError(
                f"reference file {self.path} has meta.useafter {self.useafter!r:.80}, expected an ISO 8601 time in UTC"
            ) from error

    def __str__(self) -> str:
        entries = ((key, getattr(self, key)) for key in (*_KEYS, "useafter"))
        return f"{self.path.name} ({', '.join(f'{key} {value}' for key, value in entries if value is not None)})"


def find_references_folder(given: str | os.PathLike[str] | None) -> Path | None:
    """Find the folder of reference files.

    Parameters
    ----------
    given : path or None
        Parameter ``references``; if it is None or empty, the environment variable
        ``CAL_PIPELINE_REFERENCES`` counts.

    Returns
    -------
    Path or None
        None if neither names a folder.

    Raises
    ------
    ReferencesFolderError
        If there is no such folder.

    Examples
    --------
    >>> find_references_folder("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    cal_pipeline.imager.errors.ReferencesFolderError: references: there is no folder ...nowhere
    """
    where, origin = given, "references"
    if not where:
        where, origin = os.environ.get(REFERENCES_VARIABLE, ""), REFERENCES_VARIABLE
    if not where:
        return None
    if is_url(where):
        raise ReferencesFolderError(f"{origin} is {normalize_location(where)}, expected a folder on this computer")
    folder = Path(normalize_location(where)).absolute()
    if not folder.is_dir():
        raise ReferencesFolderError(f"{origin}: there is no folder {folder}")
    return folder


def choose_reference(folder: Path | None, reftype: str, attributes: Mapping[str, Any]) -> Path:
    """Choose the reference file for an exposure.

    Parameters
    ----------
    folder : Path or None
        Folder of the reference files, searched without the folders in it.
    reftype : str
        Type of the file.
    attributes : dict
        Attributes of the exposure: ``instrument``, ``detector``, ``filter`` and ``date_obs``.

    Returns
    -------
    Path
        Of the files of the type, the instrument, the detector and, where the file names one, the
        filter, the one with the latest ``useafter`` that is not after ``date_obs``.

    Raises
    ------
    NoReferenceFileError
        If there is none; says what was sought, and what is in the folder.
    ReferenceFileError
        If two files suit equally, or a suitable one has no time.
    LayoutError
        If the exposure lacks an attribute.
    """
    check_attributes(attributes, "exposure", required=_SOUGHT)
    found = find_reference(folder, reftype, attributes)
    if found is None:
        raise NoReferenceFileError(_describe_failed_search(folder, reftype, attributes))
    return found


def find_reference(folder: Path | None, reftype: str, attributes: Mapping[str, Any]) -> Path | None:
    """Find the reference file for an exposure as `choose_reference` does; None without any."""
    if folder is None:
        return None
    check_attributes(attributes, "exposure", required=_SOUGHT)
    observed = parse_time(attributes["date_obs"])
    headers = list_references(folder)
    suited = [header for header in headers if header.reftype == reftype and header.suits(attributes)]
    timely = sorted((header for header in suited if header.time <= observed), key=lambda header: header.time)
    if not timely:
        return None
    latest = timely[-1]
    if len(timely) > 1 and timely[-2].time == latest.time:
        raise ReferenceFileError(
            f"two reference files of type {reftype} suit equally: {timely[-2].path} and {latest.path} have useafter "
            f"{latest.useafter}; change that of one, or name a file with override_{reftype}"
        )
    return latest.path


def list_references(folder: Path) -> list[ReferenceHeader]:
    """List the reference files in a folder, in alphabetical order; each is read once as long as it does not change.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    list of ReferenceHeader
        ASDF files whose meta has a ``reftype``. One that cannot be read is left out, with a warning.

    Raises
    ------
    ReferencesFolderError
        If the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(
                (entry.path, entry.stat().st_mtime_ns, entry.stat().st_size)
                for entry in entries
                if entry.name.endswith(".asdf") and not entry.name.startswith(".") and entry.is_file()
            )
    except OSError as error:
        raise ReferencesFolderError(f"references: {folder} cannot be listed: {error.strerror or error}") from error
    return [header for stamp in found if (header := _read_header(*stamp)) is not None]


@lru_cache(maxsize=4096)
def _read_header(path: str, mtime_ns: int, size: int) -> ReferenceHeader | None:
    """Read the header of a reference file; None for a file of another kind."""
    try:
        tree = asdf.util.load_yaml(path, tagged=True)
    except Exception as error:  # asdf and yaml raise their own kinds
        logger.warning("reference file %s is left out, it cannot be read: %s", path, " ".join(str(error).split()))
        return None
    meta = tree.get("meta") if isinstance(tree, Mapping) else None
    if not isinstance(meta, Mapping) or meta.get("reftype") is None:
        return None
    return ReferenceHeader(Path(path), *(meta.get(name) for name in ("reftype", *_KEYS, "useafter")))


def _describe_failed_search(folder: Path | None, reftype: str, attributes: Mapping[str, Any]) -> str:
    sought = ", ".join(f"{key} {attributes.get(key)}" for key in _KEYS)
    text = f"no reference file of type {reftype} for {sought}, useafter not after {attributes['date_obs']}"
    remedy = f"name one with override_{reftype}, or skip the step"
    if folder is None:
        return f"{text}: no folder is named; set references or {REFERENCES_VARIABLE}, {remedy}"
    headers = list_references(folder)
    same = [str(header) for header in headers if header.reftype == reftype]
    types = [f"{number} {name}" for name, number in sorted(Counter(str(header.reftype) for header in headers).items())]
    offer = f"of this type there are {list_few(same)}" if same else f"it holds {list_few(types, 12) or 'none'}"
    return f"{text} in {folder}: {offer}; {remedy}"
