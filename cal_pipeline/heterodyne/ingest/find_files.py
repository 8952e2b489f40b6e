"""Files of a telescope in folders, and the profile that they fit."""

from __future__ import annotations

import difflib
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from functools import lru_cache
from os import PathLike
from pathlib import Path

import numpy as np

from cal_pipeline.core.text import format_count, list_few, make_printable
from cal_pipeline.heterodyne.ingest.errors import FitsFileError, IngestError, ProfileError
from cal_pipeline.heterodyne.ingest.fits_fields import read_segments
from cal_pipeline.heterodyne.ingest.headers import read_headers
from cal_pipeline.heterodyne.ingest.phase_rules import describe_keys, find_rows
from cal_pipeline.heterodyne.ingest.profile import Profile, open_profile, shipped_profiles
from cal_pipeline.heterodyne.ingest.row_keys import RowKeys

logger = logging.getLogger(__name__)

Paths = Sequence[str | PathLike[str]]


def find_files(paths: Paths, profile: Profile) -> list[str]:
    """Find the files of a telescope.

    Parameters
    ----------
    paths : sequence of path
        Files, which are taken whatever their names, and folders, which are searched on all levels for the
        patterns of the profile; links are followed.
    profile : Profile
        The profile.

    Returns
    -------
    list of str
        Paths of the files, sorted, each of them once: by its own name rather than by that of a link.

    Raises
    ------
    IngestError
        If there is no such file or folder, or a folder holds no file of the profile.
    """
    return _find(paths, profile.files, f"profile {profile.name}")


def _find(paths: Paths, patterns: Sequence[str], whose: str) -> list[str]:
    if not paths:
        raise IngestError("no file or folder is given, expected at least one")
    listed: list[str] = []
    for path in map(str, paths):
        if not os.path.isdir(path) and not os.path.exists(path):
            there = "is a link to nothing" if os.path.islink(path) else f"is not there{_suggest_name(path)}"
            raise _fault(path, there)
        files = _search_folder(path, patterns) if os.path.isdir(path) else [path]
        if not files:
            raise _fault(path, f"holds no file of {whose}, expected names like {list_few(patterns)}")
        listed += files
    found: dict[str, list[str]] = defaultdict(list)
    for file, real in resolve_files(listed):
        found[real].append(file)
    # Folders list their files in no order: which name is taken depends on the names only.
    return sorted(min(names, key=lambda name: (os.path.islink(name), name)) for names in found.values())


def resolve_files(files: Iterable[str]) -> list[tuple[str, str]]:
    """Follow the links of files; each folder of many files is resolved once.

    Parameters
    ----------
    files : iterable of str
        Paths.

    Returns
    -------
    list of tuple
        Each path with the real one.
    """
    resolve = lru_cache(maxsize=None)(os.path.realpath)
    pairs = []
    for file in files:
        folder, name = os.path.split(file)
        pairs.append((file, os.path.realpath(file) if os.path.islink(file) else os.path.join(resolve(folder), name)))
    return pairs


def _search_folder(folder: str, patterns: Sequence[str]) -> list[str]:
    def warn(error: OSError) -> None:
        logger.warning("folder %s cannot be read: %s; its files are left out", error.filename, error.strerror)

    found, seen = [], {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, onerror=warn, followlinks=True):
        # A link may lead back to a folder above.
        real = {name: os.path.realpath(os.path.join(place, name)) for name in sorted(folders)}
        folders[:] = [name for name in real if real[name] not in seen]
        seen.update(real.values())
        found += [os.path.join(place, name) for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
    return found


def _fault(path: str, text: str) -> IngestError:
    return IngestError(f"{make_printable(path) or repr(path)} {text}")


def _suggest_name(path: str) -> str:
    parent = Path(path).parent
    names = os.listdir(parent) if os.access(parent, os.R_OK) and parent.is_dir() else []
    near = difflib.get_close_matches(Path(path).name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def choose_profile(paths: Paths) -> Profile:
    """Choose the profile that comes with the package and fits the first file.

    Parameters
    ----------
    paths : sequence of path
        Files and folders.

    Returns
    -------
    Profile
        The one with a `match` that holds for a row of the first file that can be read. A profile without
        `match` is for any telescope and is not chosen.

    Raises
    ------
    IngestError
        If there is no such file or folder, or a folder holds no file of any profile.
    ProfileError
        If no profile fits, or several do; the message says why, or names them.
    """
    profiles = [open_profile(name) for name in shipped_profiles()]
    patterns = sorted({pattern for profile in profiles for pattern in profile.files})
    first = _find_readable(_find(paths, patterns, "a profile of this package"))
    reasons = {profile.name: describe_misfit(first, profile) for profile in profiles}
    fitting = [profile for profile in profiles if not reasons[profile.name]]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = " or ".join(profile.name for profile in fitting)
        raise ProfileError(f"{make_printable(first)} fits several profiles; choose {names}")
    listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise ProfileError(f"{make_printable(first)} fits none of the profiles that come with the package ({listed})")


def _find_readable(files: Sequence[str]) -> str:
    """Return the first file that is a FITS file: one that is damaged decides nothing."""
    reasons = []
    for path in files:
        try:
            next(read_headers(path))
            return path
        except FitsFileError as error:
            reasons.append(str(error))
    more = f" (and {format_count(len(files) - 1, 'more file')})" if len(files) > 1 else ""
    raise ProfileError(f"no profile fits: {reasons[0]}{more}")


def describe_misfit(path: str, profile: Profile) -> str:
    """Describe why a file does not fit a profile; empty if it does.

    Parameters
    ----------
    path : str
        The file.
    profile : Profile
        The profile.

    Returns
    -------
    str
    """
    if not profile.match:
        return "for any telescope, if named"
    keys = RowKeys([path], [read_segments(path, profile.request)])
    if not len(keys):
        return "its table has no rows"
    if find_rows(keys, profile.match).any():
        return ""
    if (keys.fault >= 0).all() and not any(keys.column(key).there.any() for key in profile.match):
        return keys.faults[0].removeprefix(make_printable(path)).lstrip(": ")
    failed = [key for key, wanted in profile.match.items() if not find_rows(keys, {key: wanted}).any()]
    wanted = [*map(str, profile.match[failed[0]])] if failed else []
    expected = f", expected {' or '.join(wanted)}" if wanted else ", never together as expected"
    return describe_keys(keys, failed[:1] or profile.match, int(np.argmin(keys.fault >= 0))) + expected
