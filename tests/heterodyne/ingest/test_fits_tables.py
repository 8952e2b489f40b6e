"""Columns of binary tables, against astropy."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits
from helpers_fits import make_column

from cal_pipeline.heterodyne.ingest.fits_tables import TableLayout, check_axes, count_channels, read_field
from cal_pipeline.heterodyne.ingest.headers import read_headers

ROWS = 5


@pytest.fixture
def path(tmp_path):
    numbers = np.arange(ROWS)
    columns = [
        make_column("TEXT", np.array(["ON", " M 82 ", "", "ON", "OFF"])),
        make_column("FLAG", numbers % 2 == 0),
        make_column("BYTE", numbers.astype(np.uint8)),
        make_column("DOUBLE", numbers * 0.1),
        fits.Column("NULLED", "J", null=-1, array=np.array([0, -1, 2, 3, -1], np.int32)),
        fits.Column("UNSIGNED", "I", bzero=32768, array=np.array([0, 1, 40000, 65535, 7], np.uint16)),
        make_column("SCALED", numbers.astype(np.int16)),
        fits.Column("HEAP", "PE()", array=np.array([np.ones(n) for n in (4, 4, 4, 2, 4)], dtype=object)),
        fits.Column("BITS", "11X", array=np.zeros((ROWS, 11), np.bool_)),
        fits.Column("VECTOR", "6E", dim="(6,1,1)", array=np.ones((ROWS, 1, 1, 6))),
        fits.Column("CUBE", "6E", dim="(3,2)", array=np.ones((ROWS, 2, 3))),
        fits.Column("LAST", "D", array=-1.0 * numbers),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="T")
    table.writeto(tmp_path / "t.fits")
    # As stored: 0, 1, 2 …
    fits.setval(tmp_path / "t.fits", "TSCAL7", value=0.5, ext=1)
    fits.setval(tmp_path / "t.fits", "TZERO7", value=10.0, ext=1)
    return tmp_path / "t.fits"


def read(path, *names):
    unit = list(read_headers(path))[1]
    layout = TableLayout(unit)
    fields = [layout.find(name) for name in names]
    raw = layout.read(str(path), fields)
    return {item.name: read_field(item, raw[item.index]) for item in fields}


@pytest.mark.parametrize("compressed", [False, True])
def test_values_are_those_of_astropy(path, tmp_path, compressed):
    if compressed:
        (tmp_path / "t.gz").write_bytes(gzip.compress(path.read_bytes()))
    found = read(tmp_path / "t.gz" if compressed else path, "byte", "DOUBLE", "UNSIGNED", "SCALED", "LAST")
    assert found["SCALED"].numbers.tolist() == [10.0, 10.5, 11.0, 11.5, 12.0]
    with fits.open(path) as hdus:
        for name, column in found.items():
            np.testing.assert_array_equal(column.numbers, hdus["T"].data[name].astype(np.float64), name)


def test_texts_truth_values_and_nulls(path):
    found = read(path, "TEXT", "FLAG", "NULLED")
    assert found["TEXT"].as_texts().tolist() == ["ON", "M 82", "", "ON", "OFF"]
    assert found["FLAG"].as_texts().tolist() == ["T", "F", "T", "F", "T"]
    assert found["NULLED"].as_texts().tolist() == ["0", "", "2", "3", ""]


def test_channels_of_vectors_and_of_the_heap(path):
    layout = TableLayout(list(read_headers(path))[1])
    heap, vector = layout.find("HEAP"), layout.find("VECTOR")
    assert count_channels(heap, layout.read(str(path), [heap])[heap.index]).tolist() == [4, 4, 4, 2, 4]
    assert count_channels(vector, None) == 6


def test_axes_of_counts(path):
    layout = TableLayout(list(read_headers(path))[1])
    assert check_axes(layout.find("VECTOR"), "(6,1,1)") == ""
    assert (
        check_axes(layout.find("CUBE"), "(3,2)") == "column 'CUBE' has axes (3, 2) (TDIM11), expected one of channels"
    )
    assert check_axes(layout.find("TEXT"), "") == "column 'TEXT' has format 'A', expected numbers"


@pytest.mark.parametrize("name", ["HEAP", "BITS", "VECTOR", "CUBE"])
def test_a_key_has_one_value_a_row(path, name):
    with pytest.raises(ValueError, match=f"column '{name}' has format .* expected one value a row"):
        read(path, name)


def test_rows_of_a_truncated_table_are_those_that_are_whole(path):
    unit = list(read_headers(path))[1]
    path.write_bytes(path.read_bytes()[: unit.data_start + 3 * unit.whole("NAXIS1") + 2])
    assert read(path, "DOUBLE")["DOUBLE"].numbers.tolist() == [0.0, 0.1, 0.2]
    path.write_bytes(path.read_bytes()[: unit.data_start + 2])
    assert len(read(path, "DOUBLE")["DOUBLE"]) == 0


def test_a_header_that_contradicts_itself(path):
    unit = list(read_headers(path))[1]
    content = path.read_bytes()
    card = f"NAXIS1  = {unit.whole('NAXIS1'):>20}".encode()
    path.write_bytes(content.replace(card, b"NAXIS1  =                  200"))
    with pytest.raises(ValueError, match=r"rows have 200 bytes \(NAXIS1\), expected"):
        TableLayout(list(read_headers(path))[1])
