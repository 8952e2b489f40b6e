"""Writing of a scan of L0: small arrays as they were planned, counts from the files."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.run.threads import available_cores, map_in_threads
from cal_pipeline.core.store.arrays import create_writer
from cal_pipeline.core.store.codecs import ZSTD_LEVEL_1
from cal_pipeline.core.store.interface import ArrayWriter
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.packing import FILL_COUNT
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.count_chunks import default_chunks
from cal_pipeline.heterodyne.ingest.counts import CountsReader, Scratch, StoredCounts
from cal_pipeline.heterodyne.ingest.digests import FileStamp, refuse
from cal_pipeline.heterodyne.ingest.errors import FitsFileError
from cal_pipeline.heterodyne.ingest.rounding import copy_counts, round_counts
from cal_pipeline.heterodyne.ingest.rows import GroupPlan, RowTable, ScanPlan
from cal_pipeline.heterodyne.schema import ARRAY, CHANNEL, DUMP, RECEIVER, SUBSCAN

if TYPE_CHECKING:
    from cal_pipeline.heterodyne.ingest.profile import Profile

CHUNK_SAMPLES = 1 << 22
"""Samples of the largest chunk: some are in memory at a time, encoded and not."""

PART_BYTES = 96 << 20
"""Counts that all threads together hold as they were read [bytes]."""

_FEW_BYTES = 4 << 20
"""Counts below which a part of a group costs more to hand to a thread than to convert [bytes]."""

_TYPES = {"i32": "int32", "f4": "float32"}
_LIMITS = {"i32": f"{FILL_COUNT} to {2**31 - 1} (i32)", "f4": "at most 3.4028235e+38 (f4)"}


@dataclass(frozen=True)
class WrittenScan:
    """Summary of a scan that was written.

    Parameters
    ----------
    n_bytes : int
        Size of its counts, decoded [bytes].
    warnings : tuple of str
        Warnings about counts that were changed.
    """

    n_bytes: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Group:
    """Group of a scan whose counts are to be written."""

    plan: GroupPlan
    writer: ArrayWriter


@dataclass(frozen=True)
class _Part:
    """Part of a group: some subscans, or some channels of one."""

    group: _Group
    subscans: slice
    channels: slice


def write_scan(
    plan: ScanPlan, rows: RowTable, profile: Profile, root: StorePath, stamps: Mapping[str, FileStamp] | None = None
) -> WrittenScan:
    """Write a scan of L0, with the counts of its rows.

    Parameters
    ----------
    plan : ScanPlan
        The scan.
    rows : RowTable
        Rows of the files.
    profile : Profile
        Profile of the files: reader, column and type of the counts.
    root : StorePath
        Place of the group of the scan, empty.
    stamps : mapping of str to FileStamp, optional
        Stamps that the files must have, by path; those at their first opening if not given. See
        :func:`cal_pipeline.heterodyne.ingest.digests.stamp_files`.

    Returns
    -------
    WrittenScan

    Raises
    ------
    FitsFileError
        If a file cannot be read or has changed, or has a count that the type cannot hold.
    OSError, StoreError
        If the store cannot be written.

    Notes
    -----
    With ``counts = "i32"`` counts are rounded half to even. NaN, marked (``BLANK``, ``TNULL``) and absent
    counts become the i32 minimum, which a file may hold as well. An infinite count is one that i32 cannot hold.
    With ``"f4"`` counts stay as they are, NaN where missing. Infinite ones become NaN and those that f4
    does not hold exactly are rounded, each with one warning a scan; a finite one beyond f4 is an error.

    Chunks hold one subscan and at most 2048 channels. A subscan that takes more memory than the share of a
    thread (:data:`PART_BYTES` for all of them) is read by parts of its channels, and small ones together.
    """
    write_group(root, "", plan.attributes)
    groups = []
    for band in plan.bands:
        if band.name:
            write_group(root, band.name, band.attributes)
        for name, group in band.groups.items():
            groups.append(_create_group(group, root, f"{band.name}/{name}".strip("/"), profile.counts))
    column = profile.data if profile.reader == "table" else None
    used = np.concatenate([group.plan.rows.ravel() for group in groups])
    reader = CountsReader(rows, column, used[used >= 0], stamps or {})
    copier = _Copier(reader, rows, profile.counts)
    parts = [part for group in groups for part in copier.split(group)]
    sizes = [int(np.prod(group.plan.shape)) for group in groups]
    map_in_threads(copier.copy, parts, sum(sizes))
    return WrittenScan(4 * sum(sizes), copier.list_warnings())


def _create_group(plan: GroupPlan, root: StorePath, path: str, counts: str) -> _Group:
    """Write a group without its counts."""
    write_group(root, path, {})
    for name, (dims, values) in plan.coordinates.items():
        dtype = "str" if values.dtype.kind in "OUT" else values.dtype.newbyteorder("=").str
        shape = values.shape
        chunks = tuple(max(n, 1) for n in shape)
        create_writer(root, f"{path}/{name}", shape, chunks, dtype, dims, {}, (ZSTD_LEVEL_1,)).write(values)
    chunks = default_chunks(plan.shape, CHUNK_SAMPLES)
    fill = FILL_COUNT if counts == "i32" else None
    axes = (CHANNEL, DUMP, RECEIVER, ARRAY, SUBSCAN)
    name = f"{path}/data_5d"
    return _Group(plan, create_writer(root, name, plan.shape, chunks, _TYPES[counts], axes, {}, (ZSTD_LEVEL_1,), fill))


class _Copier:
    """Copies counts from files to groups, part by part; may be used by several threads."""

    def __init__(self, reader: CountsReader, rows: RowTable, counts: str) -> None:
        self._reader, self._rows, self._counts = reader, rows, counts
        self._scratch = Scratch()
        self._lock = threading.Lock()
        self._n_inexact = self._n_infinite = 0

    def split(self, group: _Group) -> Iterator[_Part]:
        """Split a group into parts that fit into the memory of a thread."""
        n_channels, *inner, n_subscans = group.plan.shape
        chunk = group.writer.chunks[0]
        used = group.plan.rows[group.plan.rows >= 0]
        size = self._reader.find_item_size(int(used[0])) if used.size else 1
        per_channel = int(np.prod(inner)) * size
        most = max(PART_BYTES // available_cores() // (per_channel * chunk), 1) * chunk
        if most < n_channels:
            for subscan in range(n_subscans):
                for first in range(0, n_channels, most):
                    channels = slice(first, min(first + most, n_channels))
                    yield _Part(group, slice(subscan, subscan + 1), channels)
            return
        together = max(_FEW_BYTES // (per_channel * n_channels), 1)
        for subscan in range(0, n_subscans, together):
            yield _Part(group, slice(subscan, min(subscan + together, n_subscans)), slice(0, n_channels))

    def copy(self, part: _Part) -> None:
        """Read, convert and write the counts of a part, chunk by chunk."""
        plan, writer = part.group.plan, part.group.writer
        inner = plan.shape[1:4]
        n_columns, chunk = int(np.prod(inner)), writer.chunks[0]
        index = np.moveaxis(plan.rows[..., part.subscans], -1, 0)
        stored = self._reader.read(index, inner[0], part.channels)
        for position, subscan in enumerate(range(part.subscans.start, part.subscans.stop)):
            columns = slice(position * n_columns, (position + 1) * n_columns)
            for first in range(part.channels.start, part.channels.stop, chunk):
                n_channels = min(chunk, part.channels.stop - first)
                out = self._convert(part, stored, columns, first - part.channels.start, n_channels)
                block = out.reshape(n_channels, *inner, 1)
                writer.write_chunk((first // chunk, 0, 0, 0, subscan), block)

    def _convert(
        self, part: _Part, stored: list[StoredCounts], columns: slice, first: int, n_channels: int
    ) -> NDArray[Any]:
        """Convert channels of the counts of a subscan."""
        is_rounded = self._counts == "i32"
        dtype = np.dtype(_TYPES[self._counts])
        out = self._scratch.take("out", (n_channels, columns.stop - columns.start), dtype)
        if not stored or not _are_complete(stored, columns):
            out.fill(FILL_COUNT if is_rounded else np.nan)
        for counts in stored:
            values, present = counts.values[columns], counts.present[columns]
            if is_rounded:
                beyond = round_counts(values, present, first, out)
            else:
                beyond, n_inexact, n_infinite = copy_counts(values, present, first, out)
                with self._lock:
                    self._n_inexact += n_inexact
                    self._n_infinite += n_infinite
            if beyond is not None:
                column, channel = beyond
                value = float(values[column, first + channel])
                raise self._describe_beyond(part, columns.start + column, part.channels.start + first + channel, value)
        return out

    def _describe_beyond(self, part: _Part, column: int, channel: int, value: float) -> FitsFileError:
        """Return the error for a count that the type cannot hold."""
        plan = part.group.plan
        dumps, n_pixels = plan.shape[1], plan.shape[2] * plan.shape[3]
        subscan, column = divmod(column, dumps * n_pixels)
        dump, pixel = divmod(column, n_pixels)
        rows = plan.rows[..., part.subscans.start + subscan].reshape(-1, n_pixels)
        row = int(rows[dump if len(rows) == dumps else 0, pixel])
        of_image = f", dump {dump}" if self._rows.n_dumps[row] > 1 else ""
        place = f"{self._reader.describe(row)}{of_image}, channel {channel} (from 0)"
        path = self._rows.files[self._rows.file[row]]
        return refuse(path, f"{place} holds {value!r}, expected {_LIMITS[self._counts]}")

    def list_warnings(self) -> tuple[str, ...]:
        """List warnings about counts that were changed, one of each kind."""
        found = []
        if self._n_inexact:
            found.append(f"{format_count(self._n_inexact, 'count')} rounded to f4, which does not hold them exactly")
        if self._n_infinite:
            found.append(f"{format_count(self._n_infinite, 'infinite count')} taken for missing")
        return tuple(found)


def _are_complete(stored: list[StoredCounts], columns: slice) -> bool:
    """Tell whether every column was read."""
    present = stored[0].present[columns]
    for counts in stored[1:]:
        present = present | counts.present[columns]
    return bool(present.all())
