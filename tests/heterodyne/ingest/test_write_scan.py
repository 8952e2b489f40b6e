"""Counts of FITS files in L0: every count where its dump, pixel and subscan belong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import zarr
from astropy.io import fits

from cal_pipeline.core.store.paths import open_store
from cal_pipeline.heterodyne.ingest.errors import FitsFileError
from cal_pipeline.heterodyne.ingest.rows import BandPlan, GroupPlan, RowTable, ScanPlan
from cal_pipeline.heterodyne.ingest.write_scan import write_scan

FILL = -(2**31)


@dataclass(frozen=True)
class Form:
    """What a profile says of counts."""

    reader: str = "table"
    data: str = "DATA"
    counts: str = "i32"


def make_rows(files, file, hdu, row, n_dumps, n_channels):
    number = len(file)
    texts = np.full(number, "0", object)
    return RowTable(
        files=tuple(map(str, files)),
        file=np.array(file),
        hdu=np.array(hdu),
        row=np.array(row),
        number=np.ones(number, np.int64),
        phase=np.full(number, "ON", object),
        receiver=texts,
        array=texts,
        band=texts,
        pixel_id=texts,
        n_dumps=np.full(number, n_dumps),
        n_channels=np.full(number, n_channels),
        values={},
    )


def make_plan(groups, files, bands=("",)):
    coordinates = {
        "mjd": (("subscan",), np.array([59000.5, 59000.6])),
        "sobsmode": (("subscan",), np.array(["ON", "ÖFF"], object)),
    }
    made = {name: GroupPlan(shape, index, coordinates) for name, (shape, index) in groups.items()}
    attributes = {"scan_number": 7}
    return ScanPlan(7, attributes, tuple(BandPlan(b, {"line": b} if b else {}, made) for b in bands), files, 59000.5)


def write(tmp_path, plan, rows, form, **settings):
    root = open_store(tmp_path / "s.zarr", write=True)
    written = write_scan(plan, rows, form, root.child("scan_000007"), **settings)
    return written, zarr.open_group(tmp_path / "s.zarr" / "scan_000007", mode="r")


@pytest.fixture
def table(tmp_path):
    """Three dumps of two pixels in two subscans, in two files, mixed in time; one dump is missing."""
    rng = np.random.default_rng(5)
    counts = rng.integers(-1000, 1000, (3000, 3, 2, 1, 2))
    places = [(d, p, s) for s in range(2) for d in range(3) for p in range(2)]
    order = rng.permutation(len(places))[:-1]
    index = np.full((3, 2, 1, 2), -1)
    for row, k in enumerate(order):
        d, p, s = places[k]
        index[d, p, 0, s] = row
    expected = np.where(index >= 0, counts, FILL)
    halves = np.array_split(order, 2)
    for name, half in zip("ab", halves, strict=True):
        data = np.stack([counts[:, places[k][0], places[k][1], 0, places[k][2]] for k in half])
        columns = [
            fits.Column("OBJECT", "13A", array=np.full(len(half), "M82")),
            fits.Column("FLAGS", "11X", array=np.ones((len(half), 11), bool)),
            fits.Column("DATA", "3000E", array=data),
            fits.Column("EXPOSURE", "D", array=np.ones(len(half))),
        ]
        table = fits.BinTableHDU.from_columns(columns, name="SINGLE DISH")
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros(5)), table]).writeto(tmp_path / f"{name}.fits")
    n_first = len(halves[0])
    file = [0] * n_first + [1] * len(halves[1])
    row = [*range(n_first), *range(len(halves[1]))]
    rows = make_rows([tmp_path / "a.fits", tmp_path / "b.fits"], file, [2] * len(file), row, 1, 3000)
    return rows, make_plan({"source": ((3000, 3, 2, 1, 2), index)}, (0, 1)), expected


def test_rows_of_tables_in_their_place(tmp_path, table):
    rows, plan, expected = table
    written, scan = write(tmp_path, plan, rows, Form())
    np.testing.assert_array_equal(scan["source/data_5d"][...], expected)
    assert written.n_bytes == expected.size * 4
    assert written.warnings == ()
