"""Numbers as FITS files store them against the counts that they mean."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits
from helpers_ingest import FILL, CountsForm, make_rows, make_scan, write_counts, write_one_row

from cal_pipeline.heterodyne.ingest.errors import FitsFileError

IMAGE, FLOATS = CountsForm("image"), CountsForm(counts="f4")
FLOAT_IMAGE = CountsForm("image", counts="f4")


def add_cards(path, extension, cards):
    """Add cards to a header as it is stored; astropy would scale the numbers behind it."""
    with fits.open(path) as units:
        start = units[extension].fileinfo()["hdrLoc"]
    with path.open("r+b") as file:
        file.seek(start)
        header = fits.Header.fromfile(file)
        header.update(cards)
        file.seek(start)
        file.write(header.tostring().encode())


def write_table(path, fmt, values, cards=None, **column):
    units = [fits.Column("X", "3A", array=["abc"]), fits.Column("DATA", fmt, array=[values], **column)]
    fits.BinTableHDU.from_columns(units).writeto(path)
    add_cards(path, 1, cards or {})
    return path


COLUMNS = {
    "bytes": ("5B", np.array([0, 1, 7, 254, 255], np.uint8), {"null": 7}, [0, 1, FILL, 254, 255]),
    "short": ("5I", np.array([-32768, -1, 7, 0, 32767], np.int16), {"null": 7}, [-32768, -1, FILL, 0, 32767]),
    "unsigned short": ("3I", np.array([0, 32768, 65535], np.uint16), {"bzero": 32768}, [0, 32768, 65535]),
    "scaled": ("3I", np.array([2, 4, 44], np.int16), {"cards": {"TSCAL2": 0.5, "TZERO2": 3.0}}, [4, 5, 25]),
    "long": ("4J", np.array([-(2**31), 2**31 - 1, 7, 0], np.int32), {"null": 7}, [FILL, 2**31 - 1, FILL, 0]),
    "unsigned long": ("3J", np.array([0, 1, 2**31 - 1], np.uint32), {"bzero": 2**31}, [0, 1, 2**31 - 1]),
    "64 bits": ("3K", np.array([-(2**31) + 1, -5, 2**31 - 1]), {"null": -5}, [-(2**31) + 1, FILL, 2**31 - 1]),
    "unsigned 64 bits": ("3K", np.array([1, 1001, 2047], np.uint64), {"bzero": 2**63}, [1, 1001, 2047]),
    "float": ("5E", np.array([0.5, 1.5, -2.5, np.nan, 2**30 + 128]), {}, [0, 2, -2, FILL, 2**30 + 128]),
    "double": (
        "5D",
        np.array([2.5, 2147483647.4999, -2147483648.5, np.nan, 0.49999999999999994]),
        {},
        [2, 2**31 - 1, FILL, FILL, 0],
    ),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns(tmp_path, name):
    fmt, values, column, expected = COLUMNS[name]
    path = write_table(tmp_path / "a.fits", fmt, values, **column)
    _, found = write_one_row(tmp_path, path, len(expected))
    assert found.tolist() == expected


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_as_floats(tmp_path, name):
    fmt, values, column, integers = COLUMNS[name]
    path = write_table(tmp_path / "a.fits", fmt, values, **column)
    _, found = write_one_row(tmp_path, path, len(integers), FLOATS)
    rounded = name in ("float", "double")
    expected = values if rounded else np.where(np.array(integers) == FILL, np.nan, integers)
    if not rounded or name == "float":
        np.testing.assert_array_equal(found, np.asarray(expected).astype(np.float32))
    else:
        np.testing.assert_allclose(found, expected, rtol=6e-8)


@pytest.mark.parametrize(
    ("values", "cards", "expected"),
    [
        (np.array([[1, 2, 255]], np.uint8), {}, [1, 2, 255]),
        (np.array([[-5, 2, 7]], np.int16), {"BLANK": 7}, [-5, 2, FILL]),
        (np.array([[-32768, 0, 32767]], np.int16), {"BZERO": 32768}, [0, 32768, 65535]),
        (np.array([[-(2**31), 16777217, 2**31 - 1]], np.int32), {"BLANK": FILL}, [FILL, 16777217, 2**31 - 1]),
        (np.array([[3, 5, 6]], np.int32), {"BLANK": 5, "BSCALE": 0.5, "BZERO": 100.0}, [102, FILL, 103]),
        (np.array([[-(2**63) + 1001, 0, 3]]), {"BZERO": 2**63, "BLANK": 0}, None),
        (np.array([[np.nan, 2.5, -3.5]], np.float32), {}, [FILL, 2, -4]),
        (np.array([[np.nan, 2.5, 2147483647.25]]), {}, [FILL, 2, 2**31 - 1]),
    ],
)
def test_images(tmp_path, values, cards, expected):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(values).writeto(path)
    add_cards(path, 0, cards)
    if expected is None:
        with pytest.raises(FitsFileError, match=r"channel 2 \(from 0\) holds 9\.22"):
            write_one_row(tmp_path, path, 3, IMAGE, hdu=0)
        return
    _, found = write_one_row(tmp_path, path, 3, IMAGE, hdu=0)
    assert found.tolist() == expected
    _, floats = write_one_row(tmp_path, path, 3, FLOAT_IMAGE, hdu=0)
    unmarked = np.array(expected, float)
    unmarked[unmarked == FILL] = np.nan
    np.testing.assert_allclose(floats, unmarked, atol=0.51, rtol=6e-8)


@pytest.mark.parametrize("value", [2147483647.5, -2147483649.0, 1e300, np.inf, -np.inf])
def test_a_count_beyond_i32_names_its_place(tmp_path, value):
    rng = np.random.default_rng(1)
    data = rng.normal(size=(6, 5000))
    data[4, 4321] = value
    fits.BinTableHDU(np.array([(row,) for row in data], [("DATA", ">f8", (5000,))])).writeto(tmp_path / "a.fits")
    rows = make_rows([tmp_path / "a.fits"], np.zeros(6, int), np.arange(6), 5000)
    plan = make_scan(np.arange(6)[::-1].reshape(3, 2, 1, 1), (5000, 3, 2, 1, 1))
    with pytest.raises(FitsFileError) as caught:
        write_counts(tmp_path, plan, rows)
    place = f"{tmp_path}/a.fits: HDU 1, row 4 (from 0), column DATA, channel 4321 (from 0) holds {value!r}"
    assert str(caught.value) == f"{place}, expected -2147483648 to 2147483647 (i32)"
    assert caught.value.file == str(tmp_path / "a.fits")


def test_a_count_of_an_image_beyond_i32_names_its_dump(tmp_path):
    files = []
    for k in range(3):
        image = np.zeros((4, 3000))
        image[2, 2999] = 1e10 if k == 1 else 0.0
        files.append(tmp_path / f"{k}.fits")
        fits.PrimaryHDU(image).writeto(files[-1])
    rows = make_rows(files, np.arange(3), np.zeros(3, int), 3000, 4, hdu=0)
    with pytest.raises(FitsFileError, match=r"1\.fits: HDU 0, dump 2, channel 2999 \(from 0\) holds 10000000000\.0"):
        write_counts(tmp_path, make_scan(np.arange(3).reshape(1, 1, 1, 3), (3000, 4, 1, 1, 3)), rows, IMAGE)


def test_floats_stay_as_they_are(tmp_path):
    values = np.array([1e-45, -0.0, np.pi, 3.4028235e38, np.nan, 16777217.0], np.float32)
    written, found = write_one_row(tmp_path, write_table(tmp_path / "a.fits", "6E", values), 6, FLOATS)
    assert found.tobytes() == values.tobytes()
    assert written.warnings == ()


def test_what_floats_do_not_hold_is_told_once(tmp_path):
    values = np.array([0.1, 16777217.0, 0.5, np.inf, -np.inf, np.nan])
    written, found = write_one_row(tmp_path, write_table(tmp_path / "a.fits", "6D", values), 6, FLOATS)
    np.testing.assert_array_equal(found, np.array([0.1, 16777216.0, 0.5, *[np.nan] * 3], np.float32))
    rounded, infinite = written.warnings
    assert rounded == "2 counts rounded to f4, which does not hold them exactly"
    assert infinite == "2 infinite counts taken for missing"


def test_a_count_beyond_floats_fails(tmp_path):
    path = write_table(tmp_path / "a.fits", "3D", np.array([1.0, -3.5e38, 1.0]))
    with pytest.raises(FitsFileError, match=r"channel 1 \(from 0\) holds -3\.5e\+38, expected at most 3\.4028"):
        write_one_row(tmp_path, path, 3, FLOATS)


def test_types_may_differ_between_files(tmp_path):
    for k, (fmt, dtype) in enumerate({"4E": "f4", "4J": "i4", "4I": "i2", "4D": "f8"}.items()):
        write_table(tmp_path / f"{k}.fits", fmt, np.arange(4, dtype=dtype) + 10 * k)
    rows = make_rows([tmp_path / f"{k}.fits" for k in range(4)], np.arange(4), np.zeros(4, int), 4)
    index = np.array([0, 1, 2, 3, -1, -1]).reshape(2, 3, 1, 1)
    _, scan = write_counts(tmp_path, make_scan(index, (4, 2, 3, 1, 1)), rows)
    expected = np.where(index[..., 0] >= 0, index[..., 0] * 10 + np.arange(4).reshape(4, 1, 1, 1), FILL)
    np.testing.assert_array_equal(scan["source/data_5d"][..., 0], expected)


def test_counts_in_the_heap(tmp_path):
    arrays = np.empty(3, object)
    arrays[:] = [np.arange(3, dtype=np.float32), np.arange(5, dtype=np.float32) * 2, np.arange(5, dtype=np.float32)]
    fits.BinTableHDU.from_columns([fits.Column("DATA", "PE()", array=arrays)]).writeto(tmp_path / "a.fits")
    rows = make_rows([tmp_path / "a.fits"], [0, 0], [1, 2], 5)
    plan = make_scan([[[[0, 1]]]], (5, 1, 1, 1, 2))
    _, scan = write_counts(tmp_path, plan, rows)
    np.testing.assert_array_equal(scan["source/data_5d"][:, 0, 0, 0].T, [np.arange(5) * 2, np.arange(5)])
    with pytest.raises(
        FitsFileError, match=r"row 1 .*holds 5 channels at 12, expected 4 channels as when it was listed"
    ):
        write_counts(tmp_path, make_scan([[[[0, 1]]]], (4, 1, 1, 1, 2)), make_rows(rows.files, [0, 0], [1, 2], 4))


def test_files_compressed_with_gzip(tmp_path):
    path = write_table(tmp_path / "a.fits", "3E", np.array([1, 2, 3]))
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert write_one_row(tmp_path, tmp_path / "a.fits.gz", 3)[1].tolist() == [1, 2, 3]
    whole = (tmp_path / "a.fits.gz").read_bytes()
    (tmp_path / "a.fits.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FitsFileError, match=r"a\.fits\.gz"):
        write_one_row(tmp_path, tmp_path / "a.fits.gz", 3)


def test_images_in_compressed_tiles(tmp_path):
    values = np.array([[5, 6, 7, 8], [1, 2, 3, -9]], np.int32)
    unit = fits.CompImageHDU(values, compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(tmp_path / "a.fits")
    rows = make_rows([tmp_path / "a.fits"], [0], [0], 4, 2)
    _, scan = write_counts(tmp_path, make_scan([[[[0]]]], (4, 2, 1, 1, 1)), rows, IMAGE)
    np.testing.assert_array_equal(scan["source/data_5d"][:, :, 0, 0, 0].T, values)


def test_extensions_of_one_file(tmp_path):
    units = [fits.ImageHDU(np.full((1, 6), k, np.int16)) for k in range(1, 7)]
    fits.HDUList([fits.PrimaryHDU(), *units]).writeto(tmp_path / "a.fits")
    order = np.array([4, 2, 6, 1])
    rows = make_rows([tmp_path / "a.fits"], np.zeros(4, int), np.zeros(4, int), 6, hdu=order)
    _, scan = write_counts(tmp_path, make_scan(np.arange(4).reshape(1, 1, 1, 4), (6, 1, 1, 1, 4)), rows, IMAGE)
    np.testing.assert_array_equal(scan["source/data_5d"][5, 0, 0, 0], order)
