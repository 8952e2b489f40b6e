"""Files of an ingest, and all that is known of their scans before any counts are read."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cal_pipeline.core.inputs import select_numbers
from cal_pipeline.core.run.progress_bar import progress_bar
from cal_pipeline.core.text import format_count, list_few, make_printable
from cal_pipeline.heterodyne.ingest.digests import FileStamp, digest_files, stamp_files
from cal_pipeline.heterodyne.ingest.errors import IngestError
from cal_pipeline.heterodyne.ingest.find_files import choose_profile, find_files
from cal_pipeline.heterodyne.ingest.plan import plan_scans
from cal_pipeline.heterodyne.ingest.profile import open_profile
from cal_pipeline.heterodyne.ingest.record import InputFile, ScanInputs
from cal_pipeline.heterodyne.ingest.rows import IngestFailure, LeftOut, RowTable, ScanPlan
from cal_pipeline.heterodyne.ingest.tabulate import tabulate
from cal_pipeline.heterodyne.kinds import INGESTED

if TYPE_CHECKING:
    from cal_pipeline.heterodyne.ingest.profile import Profile

logger = logging.getLogger(__name__)

AUTO = "auto"
"""Name that stands for the shipped profile which fits the files."""

_MOST_MESSAGES = 3

_MOST_REASONS = 5
"""Reasons in the log for which rows are left out; they may hold a value of each row."""


@dataclass(frozen=True)
class Collected:
    """Scans of some files, planned.

    Parameters
    ----------
    name : str
        Folder or file that they are in, for messages.
    profile : Profile
        Profile of the files.
    rows : RowTable
        Rows of all files.
    plans : mapping of int to ScanPlan
        Plans of scans that are asked for and can be written.
    failures : mapping of int to IngestFailure
        Failures of other scans that are asked for.
    of_files : tuple of IngestFailure
        Failures of files of which no scan is known.
    left_out : tuple of LeftOut
        Rows that are not used.
    not_asked : frozenset of int
        Other scans.
    merged : mapping of int to int
        Number of the scan that another one became part of.
    stamps : mapping of str to FileStamp
        Sizes and times of the files, as they were listed.
    """

    name: str
    profile: Profile
    rows: RowTable
    plans: Mapping[int, ScanPlan]
    failures: Mapping[int, IngestFailure]
    of_files: tuple[IngestFailure, ...]
    left_out: tuple[LeftOut, ...]
    not_asked: frozenset[int]
    merged: Mapping[int, int]
    stamps: Mapping[str, FileStamp]

    @property
    def asked(self) -> list[int]:
        """Scans that are asked for, ascending."""
        return sorted({*self.plans, *self.failures})

    def files_of(self, number: int) -> list[str]:
        """Return the paths of the files of a planned scan."""
        return [self.rows.files[index] for index in self.plans[number].files]


def collect(paths: Sequence[str | Path], profile: str | Path = AUTO, scans: Any = None) -> Collected:
    """Find the files of an ingest, tabulate their rows and plan the scans.

    Parameters
    ----------
    paths : sequence of str or Path
        Files and folders.
    profile : str or Path
        Name of a shipped profile or file; ``"auto"``: the shipped one that fits.
    scans : sequence or str, optional
        Numbers and inclusive ranges of the scans that are asked for, as in ``"131,140:150"``; all if not
        given.

    Returns
    -------
    Collected

    Raises
    ------
    ProfileError
        If the profile cannot be used.
    IngestError
        If no file holds a scan.
    StoreError
        If a scan of `scans` is in no file.
    """
    places = [os.fspath(path) for path in paths]
    chosen = choose_profile(places) if str(profile) == AUTO else open_profile(profile)
    files = find_files(places, chosen)
    stamps = stamp_files(files)
    table = tabulate(files, chosen)
    planned = plan_scans(table.rows, chosen)
    nameless = _refuse_numbers(planned.scans)
    failures, of_files = _sort_failures([*table.failures, *planned.failures, *nameless], planned.merged)
    plans = {number: plan for number, plan in planned.scans.items() if number not in failures}
    known = sorted({*plans, *failures})
    name = _name_place(places)
    if not known:
        raise IngestError(_describe_nothing(name, chosen, len(files), table.left_out, of_files))
    wanted = _select(scans, known, {**_find_recorded(table.rows, known), **planned.merged}, name)
    return Collected(
        name,
        chosen,
        table.rows,
        {number: plan for number, plan in plans.items() if number in wanted},
        {number: failure for number, failure in failures.items() if number in wanted},
        of_files,
        tuple(table.left_out),
        frozenset(known) - wanted,
        planned.merged,
        stamps,
    )


def _name_place(places: Sequence[str]) -> str:
    """Return the one path that is given, or the folder that all of them are in."""
    if len(places) == 1:
        return places[0]
    try:
        return os.path.commonpath(places) or "."
    except ValueError:  # absolute and relative paths
        return "."


def _refuse_numbers(numbers: Iterable[int]) -> list[IngestFailure]:
    """Refuse scans whose numbers have more digits than the names of groups."""
    expected = f"found a scan of this number, expected at most six digits, as in {INGESTED.group_pattern}"
    return [
        IngestFailure(number, "", IngestError.__name__, f"scan {number}: {expected}")
        for number in numbers
        if INGESTED.key_of(INGESTED.group_name(number)) != number
    ]


def _sort_failures(
    failures: Sequence[IngestFailure], merged: Mapping[int, int]
) -> tuple[dict[int, IngestFailure], tuple[IngestFailure, ...]]:
    """Gather failures by scan, one for each, and those of files of which no scan is known."""
    by_scan: dict[int, list[IngestFailure]] = defaultdict(list)
    for failure in failures:
        if failure.scan_number is not None:
            by_scan[merged.get(failure.scan_number, failure.scan_number)].append(failure)
    of_files = tuple(failure for failure in failures if failure.scan_number is None)
    return {number: _join(number, found) for number, found in by_scan.items()}, of_files


def _join(number: int, failures: Sequence[IngestFailure]) -> IngestFailure:
    messages = list(dict.fromkeys(failure.message for failure in failures))
    more = f"; and {len(messages) - _MOST_MESSAGES} more" if len(messages) > _MOST_MESSAGES else ""
    files = {failure.file for failure in failures}
    file = files.pop() if len(files) == 1 else ""
    return IngestFailure(number, file, failures[0].error_class, "; ".join(messages[:_MOST_MESSAGES]) + more)


def _find_recorded(rows: RowTable, known: Collection[int]) -> dict[int, int]:
    """Find the scans that numbers of the telescope belong to, as of the second half of a nod."""
    if rows.recorded_number is None:
        return {}
    pairs = np.unique(np.stack([rows.recorded_number, rows.number]), axis=1).T.tolist()
    return {recorded: number for recorded, number in pairs if recorded not in known}


def _select(scans: Any, known: Sequence[int], parts: Mapping[int, int], name: str) -> frozenset[int]:
    """Select scans by number; that of a part stands for the scan that it became part of."""
    if scans is None:
        return frozenset(known)
    chosen = {parts.get(number, number) for number in select_numbers(scans, sorted({*known, *parts}), name, "scan")}
    return frozenset(parts.get(number, number) for number in chosen)


def _describe_nothing(
    name: str, profile: Profile, n_files: int, left_out: Sequence[LeftOut], failures: Sequence[IngestFailure]
) -> str:
    """Describe why no scan comes of some files."""
    reasons = [failure.message for failure in failures]
    for reason, (n_rows, names) in group_left_out(left_out).items():
        reasons.append(f"{format_count(n_rows, 'row')} of {list_few(names, 2)} left out, {reason}")
    told = f": {list_few(list(dict.fromkeys(reasons)), _MOST_MESSAGES)}" if reasons else ""
    files = format_count(n_files, "file")
    return f"{name}: found no scan in {files} with the profile {profile.name}, expected at least one{told}"


def digest_inputs(collected: Collected) -> tuple[dict[int, ScanInputs], dict[int, IngestFailure]]:
    """Compute the digests of the files of all planned scans, in the threads of the run.

    Parameters
    ----------
    collected : Collected
        The scans.

    Returns
    -------
    inputs : dict of int to ScanInputs
        Inputs by scan.
    failures : dict of int to IngestFailure
        Scans with a file that cannot be read, or that was written meanwhile.
    """
    paths = sorted({path for number in collected.plans for path in collected.files_of(number)})
    with progress_bar(len(paths), "files") as progress:
        digests, errors = digest_files(paths, collected.stamps, progress)
    inputs, failures = {}, {}
    for number in collected.plans:
        files = collected.files_of(number)
        bad = next((path for path in files if path in errors), None)
        if bad is not None:
            failures[number] = IngestFailure(number, bad, type(errors[bad]).__name__, str(errors[bad]))
            continue
        listed = tuple(InputFile(os.path.basename(path), digests[path].size, digests[path].sha256) for path in files)
        inputs[number] = ScanInputs(collected.profile.name, collected.profile.sha256, listed)
    return inputs, failures


def log_collected(collected: Collected) -> None:
    """Log what is left out, and failures of files of which no scan is known.

    Parameters
    ----------
    collected : Collected
        The scans.
    """
    for reason, (n_rows, files) in group_left_out(collected.left_out, _MOST_REASONS).items():
        logger.info("left out: %s of %s: %s", format_count(n_rows, "row"), list_few(files, 2), make_printable(reason))
    for failure in collected.of_files:
        logger.error("%s: %s", failure.error_class, make_printable(failure.message))


def group_left_out(left_out: Sequence[LeftOut], most: int | None = None) -> dict[str, tuple[int, list[str]]]:
    """Group rows that are left out by reason.

    Parameters
    ----------
    left_out : sequence of LeftOut
        The rows.
    most : int, optional
        Number of reasons; those of the fewest rows are told by their number.

    Returns
    -------
    dict
        Number of rows and names of their files, by reason.

    Examples
    --------
    >>> group_left_out([LeftOut("a/1.fits", 3, "CAL is 'T'"), LeftOut("a/2.fits", 4, "CAL is 'T'")])
    {"CAL is 'T'": (7, ['1.fits', '2.fits'])}
    >>> list(group_left_out([LeftOut("a", n, f"SCAN is {n}") for n in (1, 2, 3)], most=2))
    ['SCAN is 3', '2 other reasons']
    """
    of_reasons: dict[str, list[LeftOut]] = defaultdict(list)
    for item in left_out:
        of_reasons[item.reason].append(item)
    if most is not None and len(of_reasons) > most:
        ranked = sorted(of_reasons, key=lambda reason: -sum(item.n_rows for item in of_reasons[reason]))
        rest = [item for reason in ranked[most - 1 :] for item in of_reasons[reason]]
        shown = {reason: of_reasons[reason] for reason in of_reasons if reason in ranked[: most - 1]}
        of_reasons = defaultdict(list, {**shown, format_count(len(ranked) - most + 1, "other reason"): rest})
    return {
        reason: (
            sum(item.n_rows for item in items),
            list(dict.fromkeys(os.path.basename(item.file) for item in items)),
        )
        for reason, items in of_reasons.items()
    }
