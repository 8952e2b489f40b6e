"""Decision on each scan of an ingest, from what its session holds: written, kept, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cal_pipeline.core.errors import OutputExistsError
from cal_pipeline.core.store.output import describe_failures
from cal_pipeline.heterodyne.ingest.collect import Collected
from cal_pipeline.heterodyne.ingest.record import IngestedSession, ScanInputs, open_present
from cal_pipeline.heterodyne.ingest.rows import IngestFailure
from cal_pipeline.heterodyne.kinds import INGESTED

Record = dict[str, Any]
"""Record of a failure."""


@dataclass(frozen=True)
class Decision:
    """Fate of the scans that are asked for.

    Parameters
    ----------
    present : frozenset of int
        Scans in the session.
    kept : frozenset of int
        Scans that are made from the same inputs.
    write : frozenset of int
        Scans to be written.
    failures : mapping of int to IngestFailure
        Scans that cannot be written, or may not be replaced.
    entries : mapping of int to mapping
        Entries of the record, of the scans in the session.
    recorded : bytes or None
        Content of the record; None without any.
    """

    present: frozenset[int]
    kept: frozenset[int]
    write: frozenset[int]
    failures: Mapping[int, IngestFailure]
    entries: Mapping[int, Mapping[str, Any]]
    recorded: bytes | None

    def is_done(self, failures_of_files: list[Record]) -> bool:
        """Tell whether there is nothing to write, not even the record."""
        records = [*map(as_record, self.failures.values()), *failures_of_files]
        return not self.write and self.recorded == describe_failures(INGESTED, records, self.entries)


def as_record(failure: IngestFailure) -> Record:
    """Return the record of a failure.

    Examples
    --------
    >>> as_record(IngestFailure(131, "m82.fits", "FitsFileError", "m82.fits is truncated"))["file"]
    'm82.fits'
    """
    values = (failure.scan_number, failure.file, failure.error_class, failure.message)
    return dict(zip(INGESTED.failure_keys, values, strict=True))


def decide(
    where: str,
    collected: Collected,
    inputs: Mapping[int, ScanInputs],
    failures: Mapping[int, IngestFailure],
    overwrite: bool,
) -> Decision:
    """Decide on each scan that is asked for; nothing is written.

    Parameters
    ----------
    where : str
        Folder or URL of the session.
    collected : Collected
        The scans.
    inputs : mapping of int to ScanInputs
        Inputs by scan.
    failures : mapping of int to IngestFailure
        Scans of which the inputs cannot be told.
    overwrite : bool
        Whether scans with other inputs are replaced.

    Raises
    ------
    StoreError
        If there is another store.
    """
    session = open_present(where)
    failed = {**collected.failures, **failures}
    if session is None:
        return Decision(frozenset(), frozenset(), frozenset(inputs), failed, {}, None)
    recorded = session.read_entries()
    there = [number for number in sorted(inputs) if number in session.numbers]
    found = dict(zip(there, session.root.each(session.inspect, there), strict=True))
    # A scan of the same inputs that is damaged is made anew.
    same = {number for number in there if _is_same(found[number], inputs[number], recorded.get(str(number)))}
    kept = frozenset(number for number in same if found[number][1])
    if not overwrite:
        others = [number for number in there if number not in same]
        failed |= {number: _refuse(session, number, inputs[number], recorded) for number in others}
    entries = {number: recorded[str(number)] for number in session.numbers if str(number) in recorded}
    for number in kept:
        entry = inputs[number].as_entry(collected.plans[number].warnings)
        if number not in entries or _inputs_of(entries[number]) != _inputs_of(entry):
            entries[number] = entry
    write = frozenset(inputs) - kept - failed.keys()
    return Decision(frozenset(session.numbers), kept, write, failed, entries, session.root.get(INGESTED.ledger))


def _is_same(found: tuple[str, bool], inputs: ScanInputs, entry: Any) -> bool:
    """Tell whether a scan was made from some inputs; the record tells where its attributes are damaged."""
    digest, is_whole = found
    if digest or is_whole:
        return digest == inputs.digest
    return bool(_inputs_of(entry) == _inputs_of(inputs.as_entry([])))


def _inputs_of(entry: Any) -> Any:
    """Return an entry without its warnings."""
    return {key: entry[key] for key in entry if key != "warnings"} if isinstance(entry, dict) else entry


def _refuse(session: IngestedSession, number: int, inputs: ScanInputs, recorded: Mapping[str, Any]) -> IngestFailure:
    """Refuse to replace a scan that was made from other inputs."""
    found = inputs.describe_difference(recorded.get(str(number)))
    message = (
        f"scan {number} is in {session.path}, made from other inputs: found {found}; give overwrite=True "
        "(--overwrite) to replace it"
    )
    return IngestFailure(number, "", OutputExistsError.__name__, message)
