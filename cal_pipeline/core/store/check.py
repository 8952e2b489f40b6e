"""Check of a store: every object of an observation, chunk by chunk."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.run.threads import BlockThreads
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.interface import ArrayReader, Region, each_index
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import FAILED, FINISHED, INTERRUPTED, RUN_RECORD, Key, ProductKind
from cal_pipeline.core.text import format_count, make_printable

WHOLE, DAMAGED = 0, 1
"""Exit statuses of a check."""

_EXPECTED = ", expected "
_LONGEST = 400
"""Longest part of a line on a finding [characters]."""


@dataclass(frozen=True)
class Finding:
    """Fault of a store, in one line as text.

    Parameters
    ----------
    store : str
        Name of the store.
    observation : int or None
        Number of the observation; None for the store itself.
    path : str
        Path of the array, group or file in the store; empty for its root.
    chunk : str
        Key of the chunk below the array; empty if the fault concerns all of it.
    found, expected : str
        State of the store, and the state of a whole one.

    Examples
    --------
    >>> print(Finding("l1.zarr", 1, "scan_000001/mjd", "c.0", "no such chunk", "every chunk"))
    l1.zarr/scan_000001/mjd, chunk c.0: found no such chunk, expected every chunk
    """

    store: str
    observation: int | None
    path: str
    chunk: str
    found: str
    expected: str

    def __str__(self) -> str:
        where = f"{self.store}/{self.path}" if self.path else self.store
        chunk = f", chunk {self.chunk}" if self.chunk else ""
        found, expected = (_shorten(text) for text in (self.found, self.expected))
        return make_printable(f"{where}{chunk}: found {found}, expected {expected}")

    def describe(self, noun: str) -> dict[str, Any]:
        """Return the finding ready for JSON, with the observation under `noun`."""
        return {
            "store": self.store,
            noun: self.observation,
            "array": self.path or None,
            "chunk": self.chunk or None,
            "found": self.found,
            "expected": self.expected,
        }


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


@dataclass(frozen=True)
class CheckReport:
    """Result of the check of a store.

    Parameters
    ----------
    store, kind, noun : str
        Name of the store, its kind in words, and the word for its observations.
    n_observations, n_arrays, n_chunks : int
        Numbers of observations, arrays and stored chunks (inner chunks of shards) that were read.
    findings : list of Finding
        Faults, in the order of observations and paths.
    notes : list of Finding
        What may be a fault or meant so, such as an array without any stored chunk whose fill value
        is a legitimate value.
    """

    store: str
    kind: str
    noun: str
    n_observations: int
    n_arrays: int
    n_chunks: int
    findings: list[Finding]
    notes: list[Finding]

    @property
    def status(self) -> int:
        """Exit status: 0 for a whole store, 1 for a damaged one."""
        return DAMAGED if self.findings else WHOLE


@dataclass
class Contents:
    """Objects below the group of an observation, and the faults found so far.

    Parameters
    ----------
    root : StorePath
        The store.
    group : str
        Path of the group.
    observation : int or None
        Number of the observation.
    groups : dict
        Attributes of the group and of the groups below by path.
    arrays : dict
        Arrays by path.
    damaged : set of str
        Paths of arrays that lack chunks, or of which some do not decode.
    findings : list of Finding
        Faults.
    notes : list of Finding
        What may be a fault or meant so.
    n_chunks : int
        Number of stored chunks that were read.
    """

    root: StorePath
    group: str
    observation: int | None
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    arrays: dict[str, ArrayReader] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    n_chunks: int = 0

    def report(self, path: str, found: str, expected: str, chunk: str = "") -> None:
        """Add a fault."""
        self.findings.append(Finding(str(self.root), self.observation, path, chunk, found, expected))

    def report_error(self, path: str, error: Exception, expected: str, chunk: str = "") -> None:
        """Add the fault that an error tells of."""
        found, wanted = split_message(error, f"{self.root}/{path}")
        self.report(path, found, wanted or expected, chunk)


class _Fault(NamedTuple):
    """Fault of a chunk, and whether the chunk is absent or does not decode."""

    path: str
    chunk: str
    found: str
    expected: str
    is_damage: bool = True


Look = Callable[[Contents, ArrayReader, Region, NDArray[Any]], Iterable[tuple[str, str]]]
"""Judge of the values in a region of an array; yields what was found and what was expected."""


def split_message(error: Exception, where: str) -> tuple[str, str]:
    """Split the message of an error into what was found and what was expected.

    Parameters
    ----------
    error : Exception
        The error.
    where : str
        Name of the array, which messages begin with.

    Returns
    -------
    found : str
    expected : str
        Empty if the message does not tell.

    Examples
    --------
    >>> from cal_pipeline.errors import LayoutError
    >>> split_message(LayoutError("l1.zarr/mjd has shape (3,), expected (2,)"), "l1.zarr/mjd")
    ('shape (3,)', '(2,)')
    """
    text = str(error) if isinstance(error, CalibrationError) else f"{type(error).__name__}: {error}"
    found, _, expected = text.removeprefix(where).lstrip(" :/").partition(_EXPECTED)
    return re.sub("^(has|is of) ", "", found), expected


def open_threads(root: StorePath) -> BlockThreads:
    """Make threads for a check: one per core, or one per concurrent request of a remote store."""
    return BlockThreads(None if isinstance(root, LocalStorePath) else root.n_requests)


def check_objects(
    contents: Contents, threads: BlockThreads, look: Look, may_lack_all: Callable[[ArrayReader], bool]
) -> None:
    """Check all objects below a group: metadata, attributes, presence and decoding of every chunk.

    One chunk per thread is in memory at a time.

    Parameters
    ----------
    contents : Contents
        Group to check; takes arrays, groups and faults.
    threads : BlockThreads
        Threads that read and decode.
    look : callable
        Judge of the values of each chunk.
    may_lack_all : callable
        Tells whether an array may be without any stored chunk.
    """
    root, group = contents.root, contents.group
    keys = {f"{group}/{key}" for key in root.child(group).walk()}
    nodes = sorted(key.removesuffix("/zarr.json") for key in keys if key.endswith("/zarr.json"))
    opened = threads.map(lambda path: _open_node(root, path), nodes)
    for path, node in zip(nodes, opened, strict=True):
        _register(contents, path, node)
    stored = _assign_chunks(contents, keys, set(nodes))
    for path, reader in contents.arrays.items():
        _check_presence(contents, reader, stored.get(path, set()), may_lack_all)

    chunks = (
        (reader, index)
        for path, reader in contents.arrays.items()
        for index in each_index(reader.shape, reader.chunks)
        if reader.chunk_key(index) in stored.get(path, ())
    )
    for faults in threads.map(lambda item: tuple(_check_chunk(contents, *item, look)), chunks):
        contents.n_chunks += 1
        for fault in faults:
            contents.report(fault.path, fault.found, fault.expected, fault.chunk)
            if fault.is_damage:
                contents.damaged.add(fault.path)


def _open_node(root: StorePath, path: str) -> ArrayReader | dict[str, Any] | Exception:
    """Open an array, or read the attributes of a group; return the error where that fails."""
    try:
        document = json.loads(root.get(f"{path}/zarr.json") or b"")
        if isinstance(document, dict) and document.get("node_type") == "array":
            return open_reader(root, path)
        return read_group_attributes(root, path)
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged document or its driver raises
        return error


def _register(contents: Contents, path: str, node: ArrayReader | dict[str, Any] | Exception) -> None:
    """Enter an array or group, with faults of its metadata."""
    if isinstance(node, Exception):
        contents.report_error(path, node, "metadata of a Zarr v3 array or group in its zarr.json")
        contents.damaged.add(path)
        return
    if isinstance(node, ArrayReader):
        contents.arrays[path] = node
        attributes = node.attributes
    else:
        contents.groups[path] = attributes = node
    for name, value in find_infinite(attributes):
        contents.report(path, f"attribute {name} = {value}", "a finite number, or null where unknown")


def find_infinite(attributes: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield name and value of every attribute, inner ones too, that is not finite.

    Examples
    --------
    >>> list(find_infinite({"qa": {"limits": [1.0, float("inf")]}, "source": "NaN"}))
    [('qa.limits.1', inf)]
    """
    waiting: list[tuple[str, Any]] = list(attributes.items())
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{name}.{key}", item) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{name}.{i}", item) for i, item in enumerate(value)]
        elif isinstance(value, float) and not math.isfinite(value):
            yield name, value


def _assign_chunks(contents: Contents, keys: set[str], nodes: set[str]) -> dict[str, set[str]]:
    """Assign the stored objects to arrays, and report those that belong to none."""
    stored: dict[str, set[str]] = {}
    strangers: dict[str, int] = {}
    lost = {path.rpartition("/")[0] for path in nodes if path != contents.group} - nodes
    if contents.group not in nodes:
        lost.add(contents.group)
    for key in keys:
        if key.endswith("/zarr.json"):
            continue
        owner = key.rpartition("/")[0]
        while owner and owner not in nodes:
            owner = owner.rpartition("/")[0]
        if owner in contents.arrays:
            stored.setdefault(owner, set()).add(key)
        elif owner not in contents.damaged:
            head = key[len(owner) + 1 :].partition("/")[0] if owner else contents.group
            stranger = f"{owner}/{head}" if owner else head
            strangers[stranger] = strangers.get(stranger, 0) + 1
    for path in sorted(lost | strangers.keys()):
        if path in keys:
            contents.report(path, "a file that is no part of an array or group", "none")
        else:
            number = strangers.get(path, 0)
            holds = f" beside {format_count(number, 'object')}" if number else ""
            contents.report(path, f"no zarr.json{holds}", "the metadata of an array or group")
            contents.damaged.add(path)
    return stored


def _check_presence(
    contents: Contents, reader: ArrayReader, held: set[str], may_lack_all: Callable[[ArrayReader], bool]
) -> None:
    """Report chunks of an array that are not stored, and objects that are none of its chunks."""
    path, n_expected = reader.path, 0
    lacking, others = [], set(held)
    for index in each_index(reader.shape, reader.chunks):
        key = reader.chunk_key(index)
        n_expected += 1
        others.discard(key)
        if key not in held:
            lacking.append(key)
    if lacking and len(lacking) == n_expected and may_lack_all(reader):
        found = f"no chunk in the store, so that all values are {reader.fill_value!r}"
        contents.notes.append(
            Finding(str(contents.root), contents.observation, path, "", found, "chunks, or just this")
        )
    elif len(lacking) == n_expected > 1:
        contents.report(path, f"none of its {n_expected} chunks in the store", "every chunk")
        contents.damaged.add(path)
    elif lacking:
        for key in lacking:
            contents.report(path, "no such chunk in the store", "every chunk", key[len(path) + 1 :])
        contents.damaged.add(path)
    for key in sorted(others):
        contents.report(key, "an object that is no chunk of its array", f"chunks of shape {reader.chunks} alone")


def _check_chunk(contents: Contents, reader: ArrayReader, index: tuple[int, ...], look: Look) -> Iterator[_Fault]:
    """Yield the faults of a chunk or shard."""
    path = reader.path
    name = reader.chunk_key(index)[len(path) + 1 :]
    start = [i * n for i, n in zip(index, reader.chunks, strict=True)]
    regions: list[tuple[str, Region]] = [(name, _clip(start, reader.chunks, reader.shape))]
    if reader.is_sharded:
        try:
            absent = {_corner(region) for region in reader.absent_in(index)}
        except Exception as error:  # of the driver too
            yield _Fault(path, name, str(error), "a shard with a sound index")
            return
        inner = list(_inner_regions(name, start, reader))
        yield from (
            _Fault(path, n, "no such chunk in its shard", "every chunk") for n, r in inner if _corner(r) in absent
        )
        regions = [(n, region) for n, region in inner if _corner(region) not in absent]
    for chunk, region in regions:
        try:
            values = reader.read(region)
        except MemoryError:
            raise
        except Exception as error:  # codecs and drivers raise what they like
            found, expected = split_message(error, reader.name)
            yield _Fault(path, chunk, found, expected or "a chunk that can be read and decoded")
            continue
        yield from (_Fault(path, chunk, *words, False) for words in look(contents, reader, region, values))


def _inner_regions(name: str, start: list[int], reader: ArrayReader) -> Iterator[tuple[str, Region]]:
    """Yield name and region of each inner chunk of a shard that lies within the array."""
    for inner in each_index(reader.chunks, reader.inner_chunks):
        low = [a + i * n for a, i, n in zip(start, inner, reader.inner_chunks, strict=True)]
        if all(a < n for a, n in zip(low, reader.shape, strict=True)):
            yield f"{name}[{','.join(map(str, inner))}]", _clip(low, reader.inner_chunks, reader.shape)


def _corner(region: Region) -> tuple[int, ...]:
    return tuple(part.start for part in region)


def _clip(start: list[int], size: tuple[int, ...], shape: tuple[int, ...]) -> Region:
    return tuple(slice(a, min(a + n, end)) for a, n, end in zip(start, size, shape, strict=True))


def describe_samples(wrong: NDArray[np.bool_], region: Region) -> str:
    """Describe how many samples of a region are wrong, and where the first one is.

    Examples
    --------
    >>> describe_samples(np.array([False, True, True]), (slice(4, 7),))
    '2 of 3 samples, the first at [5]'
    """
    first = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    place = ", ".join(str(part.start + int(i)) for part, i in zip(region, first, strict=True))
    return f"{int(np.count_nonzero(wrong))} of {format_count(wrong.size, 'sample')}, the first at [{place}]"


def check_records(contents: Contents, kind: ProductKind, numbers: list[Key]) -> None:
    """Hold the records of a product, such as ``failures.json`` and ``run.json``, against its observations.

    Parameters
    ----------
    contents : Contents
        The root of the product; takes the faults.
    kind : ProductKind
        Kind of the product.
    numbers : list of int
        Observations in the store.
    """
    if kind.ledger:
        _check_ledger(contents, kind, numbers)
        return
    failed = _check_failures(contents, kind, numbers)
    record = _read_record(contents, RUN_RECORD, dict)
    if record is None or failed is None:
        return
    state = record.get("state")
    if state != FINISHED:
        ended = "the run was interrupted" if state == INTERRUPTED else "the run did not end"
        contents.report(RUN_RECORD, f"state {state!r}: {ended}", repr(FINISHED))
        return
    counts = record.get(kind.plural)
    asked, done, n_failed = (
        counts.get(name, -1) if isinstance(counts, dict) else -1 for name in ("asked", "done", "failed")
    )
    if not all(type(count) is int and count >= 0 for count in (asked, done, n_failed)) or done + n_failed != asked:
        contents.report(RUN_RECORD, f"{kind.plural} {counts!r:.80}", "numbers, of which done and failed make asked")
    # A run that resumes leaves what it was not asked for in the store, and its failures on record.
    elif done > len(numbers) or n_failed > len(failed):
        held = f"{format_count(len(numbers), kind.noun)} in the store and {len(failed)} in failures.json"
        contents.report(RUN_RECORD, held, f"{done} and {n_failed}, as the record of the run counts")


def _check_ledger(contents: Contents, kind: ProductKind, numbers: list[Key]) -> None:
    """Hold the ledger of a product against its observations: an entry for each, and no others."""
    ledger = _read_record(contents, kind.ledger, dict)
    if ledger is None:
        return
    entries, failures = ledger.get(kind.plural), ledger.get(FAILED)
    if not isinstance(entries, dict) or not isinstance(failures, list):
        contents.report(kind.ledger, f"{', '.join(ledger) or 'nothing'}", f"{kind.plural} and {FAILED}")
        return
    recorded, present = set(entries), {str(number) for number in numbers}
    for number in sorted(present - recorded):
        contents.report(kind.ledger, f"no entry of {kind.noun} {number}, which is in the store", "an entry for each")
    for number in sorted(recorded - present):
        contents.report(kind.ledger, f"{kind.noun} {number}, which is not in the store", "those in the store alone")
    for failure in failures:
        _read_failure(contents, kind, failure, may_be_unknown=True)


def _read_failure(contents: Contents, kind: ProductKind, failure: Any, may_be_unknown: bool = False) -> Key | None:
    """Return the observation that a failure is of; None where its record is damaged, or where it is of none."""
    first, *others = kind.failure_keys
    is_record = isinstance(failure, dict) and {first, *others} <= failure.keys()
    number = failure[first] if is_record else None
    is_known = isinstance(number, str if kind.named else int) or (is_record and number is None and may_be_unknown)
    if not is_known or not all(isinstance(failure[name], str) for name in others):
        keys = f"{', '.join([first, *others[:-1]])} and {others[-1]}"
        contents.report(kind.failures_file, f"{failure!r:.80}", f"a mapping with {keys}")
        return None
    return number


def _check_failures(contents: Contents, kind: ProductKind, numbers: list[Key]) -> set[Key] | None:
    """Check the list of failures; return the observations that failed, None if unreadable."""
    failures = _read_record(contents, "failures.json", list)
    if failures is None:
        return None
    failed = set()
    for failure in failures:
        number = _read_failure(contents, kind, failure)
        if number is None:
            continue
        failed.add(number)
        if number in numbers:
            contents.report("failures.json", f"{kind.noun} {number}, which is in the store", "failed ones alone")
    return failed


def _read_record(contents: Contents, name: str, expected: type) -> Any:
    """Read a JSON file at the root of a product; None where it is absent or damaged."""
    try:
        content = contents.root.get(name)
        if content is None:
            contents.report(name, "no such file", "a record of the run")
            return None
        record = json.loads(content)
    except (OSError, ValueError, CalibrationError) as error:
        contents.report_error(name, error, "JSON")
        return None
    if not isinstance(record, expected):
        contents.report(name, f"{record!r:.80}", f"a {'list' if expected is list else 'mapping'}")
        return None
    return record
