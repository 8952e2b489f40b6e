"""Rows and plans of scans made by hand, for FITS files made by astropy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import zarr

from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.heterodyne.ingest.rows import BandPlan, GroupPlan, RowTable, ScanPlan
from cal_pipeline.heterodyne.ingest.write_scan import write_scan

FILL = -(2**31)


@dataclass(frozen=True)
class CountsForm:
    """Form of the counts in a profile."""

    reader: str = "table"
    data: str = "DATA"
    counts: str = "i32"


def make_rows(files, file, row, n_channels, n_dumps=1, hdu=1):
    number = len(file)
    texts = np.full(number, "0", object)
    return RowTable(
        files=tuple(map(str, files)),
        file=np.array(file),
        hdu=np.broadcast_to(hdu, number),
        row=np.array(row),
        number=np.ones(number, np.int64),
        phase=np.full(number, "ON", object),
        receiver=texts,
        array=texts,
        band=texts,
        pixel_id=texts,
        n_dumps=np.broadcast_to(n_dumps, number),
        n_channels=np.broadcast_to(n_channels, number),
        values={},
    )


def make_scan(index, shape, coordinates=None):
    """Plan a scan of one group."""
    group = GroupPlan(shape, np.asarray(index), coordinates or {})
    return ScanPlan(7, {"scan_number": 7}, (BandPlan("", {}, {"source": group}),), (0,), 59000.5)


def write_counts(folder, plan, rows, form=None, **settings):
    """Write a scan into a session; return the summary and the group of the scan."""
    session = open_store(folder / "s.zarr", write=True)
    write_group(session, "", {})
    written = write_scan(plan, rows, form or CountsForm(), session.child("scan_000007"), **settings)
    return written, zarr.open_group(folder / "s.zarr" / "scan_000007", mode="r")


def write_one_row(folder, path, n_channels, form=None, **settings):
    """Write the counts of the only row of a file; return the summary and the counts, one a channel."""
    rows = make_rows([path], [0], [0], n_channels, **settings)
    written, scan = write_counts(folder, make_scan([[[[0]]]], (n_channels, 1, 1, 1, 1)), rows, form)
    return written, scan["source/data_5d"][:, 0, 0, 0, 0]
