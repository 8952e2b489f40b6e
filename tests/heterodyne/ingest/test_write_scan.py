"""Scans of L0 made of FITS files: every count where its dump, pixel and subscan belong."""

from __future__ import annotations

import os
import resource
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers_ingest import FILL, CountsForm, make_rows, make_scan, write_counts

import cal_pipeline
from cal_pipeline.core.errors import ReadBackError
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.verify import WitnessedStorePath
from cal_pipeline.heterodyne.check import check_store
from cal_pipeline.heterodyne.ingest import write_scan as module
from cal_pipeline.heterodyne.ingest.rows import BandPlan, GroupPlan, ScanPlan

SHAPE = (3000, 3, 2, 2, 2)
IMAGE = CountsForm("image")


@pytest.fixture
def counts():
    return np.random.default_rng(5).integers(-(2**30), 2**30, SHAPE)


@pytest.fixture
def table(tmp_path, counts):
    """Rows of all dumps of all pixels, mixed in time and over two files; one is missing."""
    places = list(np.ndindex(SHAPE[1:]))
    order = np.random.default_rng(6).permutation(len(places))[:-1]
    index = np.full(SHAPE[1:], -1)
    file, row = [], []
    for number, half in enumerate(np.array_split(order, 2)):
        for k in half:
            index[places[k]] = len(file)
            file.append(number)
            row.append(len(row) - number * 12)
        columns = [
            fits.Column("OBJECT", "13A", array=np.full(len(half), "M82")),
            fits.Column("FLAGS", "11X", array=np.ones((len(half), 11), bool)),
            fits.Column("Data", "3000D", array=[counts[(slice(None), *places[k])] for k in half]),
            fits.Column("EXPOSURE", "D", array=np.ones(len(half))),
        ]
        unit = fits.BinTableHDU.from_columns(columns, name="SINGLE DISH")
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros(5)), unit]).writeto(tmp_path / f"{number}.fits")
    rows = make_rows([tmp_path / "0.fits", tmp_path / "1.fits"], file, row, SHAPE[0], hdu=2)
    return rows, make_scan(index, SHAPE), np.where(index >= 0, counts, FILL)


@pytest.fixture
def images(tmp_path, counts):
    """A file for each subscan of each pixel; one has two dumps only, one is missing."""
    expected, files, dumps = counts.copy(), [], []
    index = np.full((1, *SHAPE[2:]), -1)
    for place in np.ndindex(SHAPE[2:]):
        if place == (1, 0, 0):
            expected[:, :, 1, 0, 0] = FILL
            continue
        image = counts[(slice(None), slice(None), *place)].T
        if place == (0, 1, 1):
            image, expected[:, 2, 0, 1, 1] = image[:2], FILL
        index[0][place] = len(files)
        files.append(tmp_path / "{}_{}_{}.fits".format(*place))
        dumps.append(len(image))
        fits.PrimaryHDU(image.astype(np.int32)).writeto(files[-1])
    number = len(files)
    rows = make_rows(files, np.arange(number), np.zeros(number, int), SHAPE[0], np.array(dumps), hdu=0)
    return rows, make_scan(index, SHAPE), expected


def test_rows_of_tables_in_their_place(tmp_path, table):
    rows, plan, expected = table
    written, scan = write_counts(tmp_path, plan, rows)
    np.testing.assert_array_equal(scan["source/data_5d"][...], expected)
    assert (written.n_bytes, written.warnings) == (expected.size * 4, ())


def test_dumps_of_images_in_their_place(tmp_path, images):
    rows, plan, expected = images
    _, scan = write_counts(tmp_path, plan, rows, IMAGE)
    np.testing.assert_array_equal(scan["source/data_5d"][...], expected)


@pytest.mark.parametrize("kind", ["table", "images"])
@pytest.mark.parametrize(("part", "few"), [(1, 1), (2 * 2048 * 12 * 8, 1), (2**30, 1), (2**30, 2**30)])
def test_counts_do_not_depend_on_the_parts(tmp_path, monkeypatch, request, kind, part, few):
    rows, plan, expected = request.getfixturevalue(kind)
    monkeypatch.setattr(module, "PART_BYTES", part)
    monkeypatch.setattr(module, "_FEW_BYTES", few)
    _, scan = write_counts(tmp_path, plan, rows, CountsForm(kind.removesuffix("s")))
    np.testing.assert_array_equal(scan["source/data_5d"][...], expected)


def test_missing_counts_of_floats_are_nan(tmp_path, table):
    rows, plan, expected = table
    _, scan = write_counts(tmp_path, plan, rows, CountsForm(counts="f4"))
    found = scan["source/data_5d"][...]
    np.testing.assert_array_equal(found, np.where(expected == FILL, np.nan, expected).astype(np.float32))


def test_arrays_have_names_types_and_codecs_of_l0(tmp_path, table):
    rows, plan, _ = table
    _, scan = write_counts(tmp_path, plan, rows)
    array = scan["source/data_5d"]
    assert array.metadata.dimension_names == ("channel", "dump", "receiver", "array", "subscan")
    assert (array.dtype, array.fill_value, array.chunks) == (np.int32, FILL, (2048, 3, 2, 2, 1))
    assert array.nchunks_initialized == array.nchunks == 4
    codecs = array.metadata.to_dict()["codecs"]
    assert codecs[-1] == {"name": "zstd", "configuration": {"level": 1, "checksum": True}}


def plan_session(index, shape):
    """Plan a scan with all small arrays that L0 requires, in two bands."""
    n = shape[4]
    of_subscan = {
        "mjd": 59000.0 + np.arange(n) / 1e3,
        "exptime": np.full(n, 2.0, np.float32),
        "elevation": np.full(n, 1.0, np.float32),
        "pamb": np.full(n, 400.0, np.float32),
        "tamb": np.full(n, 280.0, np.float32),
        "signal_freq": np.full(n, 4.6e11),
        "image_freq": np.full(n, 4.7e11),
        "freq_res": np.full(n, 1e6),
        "freq_off": np.zeros(n),
        "ref_channel": np.zeros(n, np.float32),
        "lloadsn": np.full(n, -1, np.int32),
        "sobsmode": np.array(["OFF", "ON"], object),
    }
    coordinates = {name: (("subscan",), values) for name, values in of_subscan.items()}
    ids = np.array([f"Ärray_{k}" for k in range(shape[2] * shape[3])], object)
    coordinates["frontend_backends"] = ("pixel",), ids
    coordinates["otf_lon"] = ("dump", "subscan"), np.linspace(0.0, 1.0, shape[1] * n).reshape(shape[1], n)
    coordinates["otf_lat"] = ("dump", "subscan"), np.zeros((shape[1], n))
    groups = {"source": GroupPlan(shape, index, coordinates)}
    lines = [{"line": line, "rest_freq_hz": 4.6e11} for line in ("CO", "CI")]
    bands = tuple(BandPlan(f"band_{k}", line, groups) for k, line in enumerate(lines))
    attributes = {"scan_number": 7, "source": "M82", "instmode": "OTF"}
    return ScanPlan(7, attributes, bands, (0, 1), 59000.0), coordinates


def test_a_written_session_is_whole(tmp_path, table):
    rows, plan, _ = table
    plan, coordinates = plan_session(plan.bands[0].groups["source"].rows, SHAPE)
    _, scan = write_counts(tmp_path, plan, rows)
    for name, (dims, values) in coordinates.items():
        found = scan["band_1/source"][name]
        assert found.metadata.dimension_names == dims
        assert found.chunks == values.shape
        np.testing.assert_array_equal(found[...], values)
        assert values.dtype == object or found.dtype == values.dtype
    assert check_store(tmp_path / "s.zarr").findings == []


@pytest.mark.slow
def test_a_written_session_opens(tmp_path, table):
    rows, plan, expected = table
    plan, _ = plan_session(plan.bands[0].groups["source"].rows, SHAPE)
    write_counts(tmp_path, plan, rows)
    opened = cal_pipeline.open_l0(tmp_path / "s.zarr")[7]
    assert opened.bands == ["band_0", "band_1"]
    dataset = opened.to_xarray("band_1")
    pixels = expected.reshape(3000, 3, 4, 2)
    np.testing.assert_array_equal(dataset.counts, np.where(pixels == FILL, np.nan, pixels))


def test_what_is_written_can_be_read_back_and_compared(tmp_path, table):
    rows, plan, _ = table
    place = WitnessedStorePath(open_store(tmp_path / "w.zarr", write=True))
    module.write_scan(plan, rows, CountsForm(), place)
    place.verify()
    chunk = next((tmp_path / "w.zarr" / "source" / "data_5d").glob("c*"))
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(ReadBackError, match="does not read back"):
        place.verify()


def make_small_images(folder, number):
    files = [folder / f"{k:03d}.fits" for k in range(number)]
    for k, path in enumerate(files):
        fits.PrimaryHDU(np.full((2, 8), k, np.float32)).writeto(path)
    rows = make_rows(files, np.arange(number), np.zeros(number, int), 8, 2, hdu=0)
    return rows, make_scan(np.arange(number).reshape(1, number, 1, 1), (8, 2, number, 1, 1))


def test_more_files_than_may_be_open(tmp_path):
    rows, plan = make_small_images(tmp_path, 80)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 20, limits[1]))
    try:
        _, scan = write_counts(tmp_path, plan, rows, IMAGE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(os.listdir("/proc/self/fd")) == before
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    np.testing.assert_array_equal(scan["source/data_5d"][3, 1, :, 0, 0], np.arange(80))


def test_memory_does_not_grow_with_the_scan(tmp_path, monkeypatch):
    n_channels, n_rows = 4096, 600
    table = np.zeros(n_rows, [("PAD", "S64"), ("DATA", ">f4", (n_channels,))])
    fits.BinTableHDU(table).writeto(tmp_path / "a.fits")
    rows = make_rows([tmp_path / "a.fits"], np.zeros(n_rows, int), np.arange(n_rows), n_channels)
    monkeypatch.setattr(module, "PART_BYTES", 1 << 20)
    monkeypatch.setattr(module, "_FEW_BYTES", 1 << 18)
    write_counts(tmp_path, make_scan(np.full((1, 1, 1, 1), -1), (8, 1, 1, 1, 1)), rows)
    tracemalloc.start()
    try:
        write_counts(tmp_path, make_scan(np.arange(n_rows).reshape(1, 4, 1, -1), (n_channels, 1, 4, 1, 150)), rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.3 * n_rows * n_channels * 4
