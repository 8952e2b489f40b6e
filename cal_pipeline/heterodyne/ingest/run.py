"""Run of an ingest: files of a telescope become scans of a session, which is added to in place."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cal_pipeline._version import __version__
from cal_pipeline.core.errors import StoreError, UsageError
from cal_pipeline.core.inputs import parse_ranges
from cal_pipeline.core.run.planned import PlannedDataset
from cal_pipeline.core.run.resume import Addition
from cal_pipeline.core.run.run_record import RunRecordError
from cal_pipeline.core.run.runner import RunFailedError, calibrate_observations
from cal_pipeline.core.run.signals import interruptible, shielded
from cal_pipeline.core.run.this_process import ThisProcess
from cal_pipeline.core.run.threads import BlockThreads
from cal_pipeline.core.run.workers import refuse_in_worker
from cal_pipeline.core.step import refuse_other_format
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.store.make_output import make_output
from cal_pipeline.core.store.output import OutputStore
from cal_pipeline.core.store.product import STORE_SUFFIX
from cal_pipeline.core.store.staging import find_abandoned, staging_folder
from cal_pipeline.core.text import format_count, format_ranges, make_printable
from cal_pipeline.heterodyne.ingest.collect import AUTO, Collected, collect, digest_inputs, log_collected
from cal_pipeline.heterodyne.ingest.decide import Decision, as_record, decide
from cal_pipeline.heterodyne.ingest.find_files import resolve_files
from cal_pipeline.heterodyne.ingest.overview import IngestOverview, make_overview
from cal_pipeline.heterodyne.ingest.recipe import IngestRecipe
from cal_pipeline.heterodyne.ingest.record import ScanInputs, open_present
from cal_pipeline.heterodyne.ingest.rows import IngestFailure
from cal_pipeline.heterodyne.kinds import INGESTED

logger = logging.getLogger(__name__)

NONE, SOME = 1, 2
"""Exit statuses where none, and where some, of the scans that are asked for are in the session."""


@dataclass(frozen=True)
class Ingested:
    """Result of an ingest.

    Parameters
    ----------
    session : Path or str
        Path of the session; its URL where it is remote.
    written : tuple of int
        Scans that were written.
    kept : tuple of int
        Scans that were there already, made from the same files with the same profile.
    failures : list of dict
        Scans and files that failed: ``scan_number`` (None where it is not known), ``file``,
        ``error_class``, ``message``.
    """

    session: Path | str
    written: tuple[int, ...]
    kept: tuple[int, ...]
    failures: list[dict[str, Any]] = field(default_factory=list)


def ingest(
    paths: str | Path | Sequence[str | Path],
    session: str | Path,
    profile: str | Path = AUTO,
    scans: Sequence[Any] | str | None = None,
    overwrite: bool = False,
    threads: int | None = None,
) -> Ingested:
    """Write the scans of a telescope's FITS files to an L0 session, by a declared profile.

    A session is added to: scans that are in it, made from the same files (by name and digest) with the
    same profile, are kept. If all are and nothing else has changed, nothing is written.

    Parameters
    ----------
    paths : str, Path or sequence of these
        Files, or folders that are searched, all levels down, for the files of the profile.
    session : str or Path
        Folder or URL of the session; one that is there must have been made by an ingest.
    profile : str or Path
        Name of a shipped profile, or a TOML file; ``"auto"``: the shipped one that fits the first file.
    scans : sequence or str, optional
        Numbers and inclusive ranges, as in ``"131,140:150"``; all scans if not given.
    overwrite : bool
        Whether scans are replaced that are in the session and were made from other inputs.
    threads : int, optional
        Threads that read and write; one per core if not given.

    Returns
    -------
    Ingested

    Raises
    ------
    RunFailedError
        At the end, if scans or files failed; the others are written. ``exit_status`` is 1 if none of
        the scans that are asked for is in the session, 2 if some are; ``product`` is an
        :class:`Ingested`.
    RunRecordError
        At the end, if scans are written, but not the record ``ingest.json``.
    RunInterruptedError
        After a KeyboardInterrupt; finished scans are kept, and recorded.
    ProfileError, IngestError, StoreError
        If the profile cannot be used, no file holds a scan, or the output is no session of an ingest.

    Notes
    -----
    The counts of one group of a scan are in memory at a time, never all of it.

    Examples
    --------
    Files of two scans, with their profile:

    >>> from cal_pipeline.ingest import ingest
    >>> done = ingest("night_files", "night.zarr", profile="barge.toml")
    >>> done.written, done.kept
    ((3, 4), ())
    >>> ingest("night_files", "night.zarr", profile="barge.toml").kept
    (3, 4)
    """
    refuse_in_worker()
    request = _prepare(paths, session, profile, scans, overwrite, threads)
    log_collected(request.collected)
    decision = request.decide()
    if decision.is_done(request.records_of_files) and not find_abandoned_runs(request.where):
        return _end_unchanged(request, decision)
    # What has begun is ended in order: only the loop over scans is interrupted.
    with (
        interruptible(),
        shielded(),
        make_output(request.where, False, "", INGESTED, resume=True) as output,
    ):
        # Another run may have ended meanwhile, or left something that is put back now.
        return _run(request, request.decide(), output)


def preview_ingest(
    paths: str | Path | Sequence[str | Path],
    session: str | Path,
    profile: str | Path = AUTO,
    scans: Sequence[Any] | str | None = None,
    overwrite: bool = False,
    threads: int | None = None,
) -> IngestOverview:
    """Describe what an ingest would make of each file; nothing is written.

    Parameters
    ----------
    paths, session, profile, scans, overwrite, threads : object
        As of :func:`ingest`.

    Returns
    -------
    IngestOverview
        Tables of files, scans, rows that are left out and failures.

    Raises
    ------
    ProfileError, IngestError, StoreError
        As of :func:`ingest`.

    Examples
    --------
    >>> from cal_pipeline.ingest import preview_ingest
    >>> preview = preview_ingest("night_files", "other.zarr", profile="barge.toml")
    >>> preview.status, preview.fates
    (0, {3: 'added', 4: 'added'})
    """
    request = _prepare(paths, session, profile, scans, overwrite, threads)
    return make_overview(request.where, request.collected, request.decide())


@dataclass(frozen=True)
class _Request:
    """Scans to ingest, and the session that they belong in."""

    where: str
    collected: Collected
    inputs: Mapping[int, ScanInputs]
    failures: Mapping[int, IngestFailure]
    overwrite: bool
    threads: int | None

    @property
    def records_of_files(self) -> list[dict[str, Any]]:
        """Records of the failures of files of which no scan is known."""
        return [as_record(failure) for failure in self.collected.of_files]

    def decide(self) -> Decision:
        """Decide on each scan, from what the session holds now."""
        return decide(self.where, self.collected, self.inputs, self.failures, self.overwrite)


def _prepare(
    paths: str | Path | Sequence[str | Path],
    session: str | Path,
    profile: str | Path,
    scans: Sequence[Any] | str | None,
    overwrite: bool,
    threads: int | None,
) -> _Request:
    """Collect the scans, with the digests of their files; a session that cannot be added to is refused before."""
    places = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not places:
        raise UsageError("no files to ingest; name files or folders")
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise UsageError(f"threads is {threads!r}, expected a whole number from 1")
    where = normalize_location(session)
    refuse_other_format("ingest", where, STORE_SUFFIX, "a session is a Zarr store, a folder: name it as in night.zarr")
    if scans is not None:
        parse_ranges(scans, INGESTED.noun)
    open_present(where)
    with BlockThreads(threads) as pool:
        collected = pool.run(collect, places, profile, scans)
        _refuse_files_inside(where, collected.stamps)
        inputs, failures = pool.run(digest_inputs, collected)
    return _Request(where, collected, inputs, failures, overwrite, threads)


def _refuse_files_inside(where: str, files: Iterable[str]) -> None:
    """Refuse a session that would hold its own input.

    Raises
    ------
    StoreError
        If a file lies in it, or in its staging folder.
    """
    if is_url(where):
        return
    target = Path(where).resolve()
    folders = (f"{target}{os.sep}", f"{staging_folder(target)}{os.sep}")
    inside = [file for file, real in resolve_files(files) if real.startswith(folders)]
    if inside:
        raise StoreError(f"input {inside[0]} lies in the output {where}, expected it elsewhere; name another output")


def find_abandoned_runs(where: str) -> bool:
    """Tell whether runs that were stopped have left staging folders beside a session, which the next run clears."""
    return not is_url(where) and find_abandoned(Path(where).resolve())


def _run(request: _Request, decision: Decision, output: OutputStore) -> Ingested:
    """Write scans, and the record of all that are in the session."""
    collected = request.collected
    recipe = IngestRecipe(collected, request.inputs, decision.failures)
    dataset = PlannedDataset(output.root, "", {number: plan.mjd for number, plan in collected.plans.items()})
    output.entries = dict(decision.entries)
    output.earlier_failures = request.records_of_files
    numbers = sorted(decision.write | decision.failures.keys())
    logger.info(
        "cal_pipeline %s: %s of %s, profile %s",
        __version__,
        format_count(len(collected.asked), "scan"),
        make_printable(collected.name),
        make_printable(collected.profile.name),
    )
    addition = Addition(output, False, present=set(decision.present), kept=set(decision.kept))
    try:
        calibrate_observations(dataset, numbers, recipe, output, ThisProcess(request.threads), resumption=addition)
    except (RunFailedError, RunRecordError) as error:
        error.product = _summarize(request, decision, output)
        if isinstance(error, RunFailedError):
            error.failures = error.product.failures
        raise
    result = _summarize(request, decision, output)
    _judge_files(request, result)
    return result


def _summarize(request: _Request, decision: Decision, output: OutputStore) -> Ingested:
    failed = {failure[INGESTED.number_key] for failure in output.failures}
    failures = [*output.earlier_failures, *output.failures]
    written = tuple(sorted(decision.write - failed))
    return Ingested(_locate(request.where), written, tuple(sorted(decision.kept)), failures)


def _locate(where: str) -> Path | str:
    return where if is_url(where) else Path(where)


def _end_unchanged(request: _Request, decision: Decision) -> Ingested:
    """End an ingest after which everything is as it was.

    Raises
    ------
    RunFailedError
        If scans or files failed, as they did before.
    """
    collected = request.collected
    for number in sorted(decision.failures):
        failure = decision.failures[number]
        logger.error("scan %d failed: %s: %s", number, failure.error_class, make_printable(failure.message))
    kept = format_ranges(sorted(decision.kept)) or "none"
    logger.info("%s: nothing to write; scans kept: %s", request.where, kept)
    records = [*request.records_of_files, *(as_record(decision.failures[n]) for n in sorted(decision.failures))]
    result = Ingested(_locate(request.where), (), tuple(sorted(decision.kept)), records)
    if decision.failures:
        failed = f"{len(decision.failures)} of {format_count(len(collected.asked), 'scan')}"
        raise RunFailedError(
            SOME if decision.kept else NONE,
            f"{failed} could not be ingested; see {request.where}/{INGESTED.ledger}",
            result,
            records,
        )
    _judge_files(request, result)
    return result


def _judge_files(request: _Request, result: Ingested) -> None:
    """Fail an ingest of which all scans are done, but not all files could be read.

    Raises
    ------
    RunFailedError
        If there are such files.
    """
    if request.collected.of_files:
        bad = format_count(len(request.collected.of_files), "file")
        raise RunFailedError(
            SOME,
            f"{bad} could not be ingested, of an unknown scan; see {request.where}/{INGESTED.ledger}",
            result,
            result.failures,
        )
