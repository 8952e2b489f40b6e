"""Preview of an ingest: what would become of each file and scan, as tables."""

from __future__ import annotations

import os
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cal_pipeline.core.errors import OutputExistsError
from cal_pipeline.core.store.overview import TERMINAL, UNKNOWN, wrap_table
from cal_pipeline.core.text import format_count, format_ranges, list_few, make_printable
from cal_pipeline.heterodyne.ingest.absent import find_absent_fields
from cal_pipeline.heterodyne.ingest.collect import Collected, group_left_out
from cal_pipeline.heterodyne.ingest.decide import Decision
from cal_pipeline.heterodyne.ingest.recipe import describe_groups, each_group, name_scan
from cal_pipeline.heterodyne.ingest.rows import IngestFailure, ScanPlan

_MANY = 4
"""Number of files of one scan and phase from which on they share a line."""

ADDED, REPLACED, KEPT, REFUSED, FAILED, NOT_ASKED = (
    "added",
    "replaced",
    "kept",
    "refused",
    "failed",
    "not asked for",
)
"""Fates of a scan."""


@dataclass(frozen=True)
class FileLine:
    """Rows of one scan in a file, or in several files that hold one phase of it each, or the same parts.

    Parameters
    ----------
    files : tuple of str
        Names of the files.
    scan : int
        The scan.
    rows : mapping of str to int
        Number of rows by phase, in all of the files.
    fate : str
        Fate of the scan.
    places : mapping of str to tuple of int
        Subscans that the rows go to, by group of the session.
    """

    files: tuple[str, ...]
    scan: int
    rows: Mapping[str, int]
    fate: str
    places: Mapping[str, tuple[int, ...]]

    @property
    def cells(self) -> tuple[str, ...]:
        """Cells of the line in a table."""
        first, last = (make_printable(name) for name in (self.files[0], self.files[-1]))
        files = first if len(self.files) == 1 else f"{len(self.files)} files, {first} to {last}"
        rows = ", ".join(f"{number} {make_printable(phase) or 'without phase'}" for phase, number in self.rows.items())
        places = ", ".join(f"{place} {format_ranges(list(subscans))}" for place, subscans in self.places.items())
        return files, str(self.scan), rows, f"{self.fate}: {places}" if places else self.fate


@dataclass(frozen=True, repr=False)
class IngestOverview:
    """Preview of an ingest.

    Parameters
    ----------
    session : str
        The session.
    profile : str
        Name of the profile.
    files : tuple of FileLine
        Files and what would become of them.
    fates : mapping of int to str
        Fate of each scan.
    plans : mapping of int to ScanPlan
        Plans of the scans that are asked for.
    left_out : mapping of str to tuple
        Number of rows that are not used and names of their files, by reason.
    failures : tuple of IngestFailure
        Scans and files that would fail.
    absent : mapping of str to tuple of str
        Keys of fields that the profile declares and no row has, by field.
    """

    session: str
    profile: str
    files: tuple[FileLine, ...]
    fates: Mapping[int, str]
    plans: Mapping[int, ScanPlan]
    left_out: Mapping[str, tuple[int, list[str]]]
    failures: tuple[IngestFailure, ...]
    absent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the tables, as a notebook shows them."""
        return self.text

    @property
    def status(self) -> int:
        """Exit status: 0 if all scans would be in the session, 1 if none, 2 if some."""
        if not self.failures:
            return 0
        return 2 if {ADDED, REPLACED, KEPT} & set(self.fates.values()) else 1

    @property
    def text(self) -> str:
        """Tables, for a terminal of 80 columns; names from the files are escaped."""
        return self.format_text(TERMINAL)

    def format_text(self, width: int | None = None) -> str:
        """Format the tables; names from the files are escaped.

        Parameters
        ----------
        width : int, optional
            Longest line of the tables [characters]; each row is one line with None.
        """
        sections = [
            wrap_table(("file", "scan", "rows", "becomes"), [line.cells for line in self.files], width),
            wrap_table(("scan", "becomes", "source", "holds"), list(self._describe_scans()), width),
            wrap_table(("warnings",), [(warning,) for warning in self._warnings()], width),
            wrap_table(("in no row", "keys of the profile"), list(self._describe_absent()), width),
            wrap_table(("left out", "files", "reason"), list(self._describe_left_out()), width),
            wrap_table(("failed", "file", "reason"), list(self._describe_failures()), width),
        ]
        end = self._describe_end()
        sections.append([end] if width is None else textwrap.wrap(end, width, break_long_words=False))
        return "\n\n".join("\n".join(lines) for lines in sections if lines)

    def _describe_scans(self) -> Iterator[tuple[str, ...]]:
        for number, fate in sorted(self.fates.items()):
            plan = self.plans.get(number)
            source = make_printable(plan.attributes.get("source") or UNKNOWN) if plan else UNKNOWN
            bands = plan.bands if plan else ()
            parts = (f"{f'{band.name}: ' if band.name else ''}{describe_groups(band.groups)}" for band in bands)
            yield str(number), fate, source, "; ".join(parts) or UNKNOWN

    def _warnings(self) -> Iterator[str]:
        for number, plan in sorted(self.plans.items()):
            yield from (name_scan(number, warning) for warning in plan.warnings)

    def _describe_absent(self) -> Iterator[tuple[str, ...]]:
        for name, keys in self.absent.items():
            yield make_printable(name), make_printable(", ".join(keys))

    def _describe_left_out(self) -> Iterator[tuple[str, ...]]:
        for reason, (n_rows, files) in self.left_out.items():
            yield format_count(n_rows, "row"), list_few(files, 3), make_printable(reason)

    def _describe_failures(self) -> Iterator[tuple[str, ...]]:
        for failure in self.failures:
            number = UNKNOWN if failure.scan_number is None else f"scan {failure.scan_number}"
            file = make_printable(os.path.basename(failure.file)) or UNKNOWN
            yield number, file, make_printable(f"{failure.error_class}: {failure.message}")

    def _describe_end(self) -> str:
        counts = Counter(self.fates.values())
        told = [f"{format_count(number, 'scan')} {_in_future(fate)}" for fate, number in counts.items()]
        place, profile = make_printable(self.session), make_printable(self.profile)
        return f"{place}, by the profile {profile}: {', '.join(told) or 'no scan'}; nothing was written"


def _in_future(fate: str) -> str:
    return fate if fate == NOT_ASKED else f"would be {fate}" if fate != FAILED else "would fail"


def make_overview(session: str, collected: Collected, decision: Decision) -> IngestOverview:
    """Make the preview of an ingest.

    Parameters
    ----------
    session : str
        The session.
    collected : Collected
        The scans.
    decision : Decision
        Decision on each scan that is asked for.
    """
    failures = [decision.failures[number] for number in sorted(decision.failures)]
    fates = _find_fates(collected, decision)
    return IngestOverview(
        session,
        collected.profile.name,
        tuple(_share_lines(_list_files(collected, fates))),
        fates,
        collected.plans,
        group_left_out(collected.left_out),
        (*collected.of_files, *failures),
        find_absent_fields(collected.rows, collected.profile),
    )


def _find_fates(collected: Collected, decision: Decision) -> dict[int, str]:
    fates = dict.fromkeys(collected.not_asked, NOT_ASKED)
    for number in collected.asked:
        failure = decision.failures.get(number)
        if failure is not None:
            fates[number] = REFUSED if failure.error_class == OutputExistsError.__name__ else FAILED
        elif number in decision.kept:
            fates[number] = KEPT
        else:
            fates[number] = REPLACED if number in decision.present else ADDED
    return dict(sorted(fates.items()))


def _list_files(collected: Collected, fates: Mapping[int, str]) -> Iterator[FileLine]:
    """Yield a line for each scan in each file."""
    rows, merged = collected.rows, collected.merged
    phases, phase = np.unique(rows.phase.astype(str), return_inverse=True)
    counts: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    keys = np.stack([rows.file, rows.number, phase.astype(np.int64)]) if len(rows) else np.empty((3, 0), np.int64)
    found, number_of = np.unique(keys, axis=1, return_counts=True)
    for (file, number, code), n_rows in zip(found.T.tolist(), number_of.tolist(), strict=True):
        of_scan = counts[file, merged.get(number, number)]
        of_scan[str(phases[code])] = of_scan.get(str(phases[code]), 0) + n_rows
    places = {number: _find_places(collected, plan) for number, plan in collected.plans.items()}
    for (file, number), of_phases in sorted(counts.items()):
        name = _shorten(rows.files[file], collected.name)
        place = places.get(number, {}).get(file, {})
        yield FileLine((name,), number, of_phases, fates.get(number, FAILED), place)


def _shorten(path: str, folder: str) -> str:
    """Name a file from the folder that was given."""
    return path[len(folder) :].lstrip(os.sep) if path.startswith(f"{folder.rstrip(os.sep)}{os.sep}") else path


def _find_places(collected: Collected, plan: ScanPlan) -> dict[int, dict[str, tuple[int, ...]]]:
    """Find the subscans that the rows of each file go to, by group."""
    found: dict[int, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for name, group in each_group(plan):
        there = group.rows >= 0
        files, subscans = collected.rows.file[group.rows[there]], np.nonzero(there)[3]
        pairs = np.unique(np.stack([files, subscans]), axis=1)
        for file in np.unique(pairs[0]).tolist():
            found[file][name] = tuple(pairs[1][pairs[0] == file].tolist())
    return found


def _share_lines(lines: Iterable[FileLine]) -> list[FileLine]:
    """Put many files on one line, if they hold one phase of a scan each, or the same parts of it."""
    every = list(lines)
    n_scans = Counter(line.files for line in every)
    alike: dict[tuple[Any, ...], list[FileLine]] = defaultdict(list)
    for line in every:
        is_of_one = n_scans[line.files] == 1 and len(line.rows) == 1
        part: tuple[Any, ...] = () if is_of_one else (tuple(line.rows.values()), tuple(line.places.items()))
        alike[line.scan, tuple(line.rows), part].append(line)
    shared = {id(line): group for group in alike.values() if len(group) >= _MANY for line in group}
    groups = ((line, shared.get(id(line), [line])) for line in every)
    return [_merge(group) if len(group) > 1 else line for line, group in groups if line is group[0]]


def _merge(lines: Sequence[FileLine]) -> FileLine:
    places: dict[str, set[int]] = defaultdict(set)
    for line in lines:
        for place, subscans in line.places.items():
            places[place].update(subscans)
    return FileLine(
        tuple(name for line in lines for name in line.files),
        lines[0].scan,
        {phase: sum(line.rows[phase] for line in lines) for phase in lines[0].rows},
        lines[0].fate,
        {place: tuple(sorted(subscans)) for place, subscans in places.items()},
    )
