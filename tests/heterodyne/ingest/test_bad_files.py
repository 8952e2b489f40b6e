"""Files that cannot be used: each is a problem of the scans it holds, with path, key, found and expected."""

from __future__ import annotations

import os

import numpy as np
import pytest
from astropy.io import fits
from helpers_fits import (
    IMAGE_PROFILE,
    dish_columns,
    forbid_reading,
    make_table,
    write_image,
    write_profile,
    write_table,
)

from cal_pipeline.heterodyne.ingest.headers import read_headers
from cal_pipeline.heterodyne.ingest.profile import open_profile
from cal_pipeline.heterodyne.ingest.tabulate import tabulate


@pytest.fixture
def table_profile(tmp_path):
    return open_profile(write_profile(tmp_path / "table.toml"))


@pytest.fixture
def image_profile(tmp_path):
    return open_profile(write_profile(tmp_path / "image.toml", IMAGE_PROFILE))


def problems_by_scan(found):
    return {int(found.rows.number[row]): message for row, message in sorted(found.rows.problems.items())}


def truncate(path, length):
    path.write_bytes(path.read_bytes()[:length])
    return path


def test_a_truncated_table_fails_all_scans_it_holds(tmp_path, table_profile):
    path = write_table(tmp_path / "a.fits", make_table(dish_columns(6)))
    good = write_table(tmp_path / "b.fits", make_table(dish_columns(2, SCAN=np.array([20, 20], np.int32))))
    unit = list(read_headers(path))[1]
    width = unit.whole("NAXIS1")
    truncate(path, unit.data_start + 3 * width + 5)
    found = tabulate([path, good], table_profile)
    message = f"{path}: HDU 1 (SINGLE DISH) is truncated: found {3 * width + 5} bytes of data, expected {6 * width}"
    assert problems_by_scan(found) == {7: f"{message} (and 1 more row of the scan)", 8: message}
    assert found.rows.phase[found.rows.number == 20].tolist() == ["ON", "OFF"]
    # The scans of the other rows are not known.
    (failure,) = found.failures
    assert (failure.scan_number, failure.file, failure.error_class) == (None, str(path), "FitsFileError")
    assert failure.message.endswith("HDU 1 (SINGLE DISH) is truncated: 3 rows of unknown scans cannot be read")


def test_a_table_truncated_before_its_rows_is_a_failure_without_scan(tmp_path, table_profile):
    path = write_table(tmp_path / "a.fits")
    truncate(path, list(read_headers(path))[1].data_start + 3)
    (failure,) = tabulate([path], table_profile).failures
    assert (failure.scan_number, failure.file, failure.error_class) == (None, str(path), "FitsFileError")
    assert "is truncated: found 3 bytes of data, expected" in failure.message


def test_a_truncated_image_fails_the_scan_of_its_header(tmp_path, image_profile):
    path = write_image(tmp_path / "000099_0001_AB_PX03.fits")
    truncate(path, 2880 + 50)
    found = tabulate([path], image_profile)
    assert problems_by_scan(found) == {12: f"{path}: HDU 0 is truncated: found 50 bytes of data, expected 96"}
    assert found.rows.phase.tolist() == ["ON"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no FITS file"),
        (b"nonsense" * 1000, "is no FITS file: it starts with 'nonsensen', expected 'SIMPLE  ='"),
        (b"SIMPLE  =                    T".ljust(1000), "ends within the header of HDU 0"),
    ],
)
def test_files_that_cannot_be_read_fail_the_scan_of_their_name(tmp_path, image_profile, content, reason):
    named, other = tmp_path / "000099_0001_AB_PX03.fits", tmp_path / "notes.fits"
    named.write_bytes(content)
    other.write_bytes(content)
    found = tabulate([named, other], image_profile)
    (problem,) = problems_by_scan(found).items()
    assert problem[0] == 99
    assert problem[1].startswith(f"{named} {reason}")
    (failure,) = found.failures
    assert (failure.scan_number, failure.file, failure.error_class) == (None, str(other), "FitsFileError")


def test_the_scan_of_a_table_that_cannot_be_read_is_that_of_its_name(tmp_path):
    profile = open_profile(write_profile(tmp_path / "my.toml", top="file_name = 'night_(?P<number>\\d+)'"))
    path = tmp_path / "night_31.fits"
    path.write_bytes(b"")
    assert list(problems_by_scan(tabulate([path], profile))) == [31]
    # The name tells nothing of a file that can be read.
    write_table(tmp_path / "night_32.fits")
    assert sorted(set(tabulate([tmp_path / "night_32.fits"], profile).rows.number.tolist())) == [7, 8]


def test_no_such_hdu(tmp_path, table_profile):
    path = write_table(tmp_path / "a.fits", make_table(dish_columns(), name="SINGLE_DISH"), SCAN=44)
    message = f"{path}: no HDU 'SINGLE DISH', found HDU 0, 1 'SINGLE_DISH'; did you mean 'SINGLE_DISH'?"
    assert problems_by_scan(tabulate([path], table_profile)) == {44: message}


def test_an_hdu_of_another_type(tmp_path, table_profile):
    image = fits.ImageHDU(np.zeros((2, 3)), fits.Header({"SCAN": 5, "TELESCOP": "DISH1"}), name="SINGLE DISH")
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    message = f"{path}: HDU 1 is of type 'IMAGE', expected 'BINTABLE'"
    assert problems_by_scan(tabulate([path], table_profile)) == {5: message}


@pytest.mark.parametrize("shape", [None, (2, 3, 8)])
def test_an_image_of_other_axes(tmp_path, image_profile, shape):
    path = write_image(tmp_path / "000099_0001_AB_PX03.fits", None if shape is None else np.zeros(shape))
    if shape is None:
        fits.PrimaryHDU(None, fits.Header({"SCANNUM": 12})).writeto(path, overwrite=True)
    axes = [] if shape is None else [8, 3, 2]
    message = f"{path}: HDU 0 is IMAGE of axes {axes}, expected an image of [channels] or [channels, dumps]"
    assert problems_by_scan(tabulate([path], image_profile)) == {12: message}


def test_no_column_of_counts(tmp_path, table_profile):
    path = write_table(tmp_path / "a.fits", make_table(dish_columns(DATA=None, DATAS=np.ones((4, 8)))))
    found = problems_by_scan(tabulate([path], table_profile))
    assert sorted(found) == [7, 8]
    assert found[7].startswith(f"{path}: HDU 1 (SINGLE DISH): no column 'DATA' with the counts; did you mean 'DATAS'?")


def test_counts_of_several_axes(tmp_path, table_profile):
    cube = fits.Column("DATA", "8E", dim="(4,2)", array=np.ones((4, 2, 4)))
    path = write_table(tmp_path / "a.fits", make_table(dish_columns(DATA=cube)))
    found = problems_by_scan(tabulate([path], table_profile))
    assert "column 'DATA' has axes (4, 2) (TDIM15), expected one of channels" in found[7]


def test_a_key_of_several_values(tmp_path, table_profile):
    path = write_table(tmp_path / "a.fits", make_table(dish_columns(PRESSURE=np.ones((4, 3)))))
    found = problems_by_scan(tabulate([path], table_profile))
    assert "column 'PRESSURE' has format 'D' and shape (3,), expected one value a row" in found[8]


def test_headers_of_tables_that_contradict_themselves(tmp_path, table_profile):
    path = write_table(tmp_path / "a.fits")
    content = path.read_bytes()
    width = list(read_headers(path))[1].whole("NAXIS1")
    path.write_bytes(content.replace(f"NAXIS1  = {width:>20}".encode(), b"NAXIS1  =                   10"))
    (failure,) = tabulate([path], table_profile).failures
    assert "cannot be read: rows have 10 bytes (NAXIS1), expected" in failure.message


def test_a_file_that_may_not_be_read(tmp_path, image_profile, monkeypatch):
    path = write_image(tmp_path / "000099_0001_AB_PX03.fits")
    forbid_reading(path, monkeypatch)
    assert "Permission denied" in problems_by_scan(tabulate([path], image_profile))[99]


def test_a_file_that_is_gone(tmp_path, image_profile):
    path = tmp_path / "000099_0001_AB_PX03.fits"
    assert "cannot be read" in problems_by_scan(tabulate([path], image_profile))[99]


def test_an_unreadable_file_is_not_left_out_by_match(tmp_path):
    profile = open_profile(write_profile(tmp_path / "my.toml"))
    path = tmp_path / "a.fits"
    path.write_bytes(b"")
    found = tabulate([path], profile)
    assert found.left_out == []
    assert [failure.file for failure in found.failures] == [str(path)]


def test_control_characters_of_headers_are_escaped(tmp_path, image_profile):
    path = write_image(tmp_path / "000099_0001_AB_PX03.fits", SOBSMODE="XX")
    path.write_bytes(path.read_bytes().replace(b"'XX  ", b"'\x1b[2J"))
    assert r"SOBSMODE is '\x1b[2J'" in problems_by_scan(tabulate([path], image_profile))[12]


@pytest.mark.parametrize(
    ("keyword", "old", "new", "message"),
    [
        ("NAXIS", "2", "1000000000", "NAXIS is 1000000000, expected a whole number from 0 to 999"),
        ("NAXIS1", "8", "'8'", "NAXIS1 is '8', expected a whole number from 0"),
        ("NAXIS2", "3", "-3", "NAXIS2 is -3, expected a whole number from 0"),
        ("NAXIS2", "3", "", "NAXIS2 is None, expected a whole number from 0"),
        ("BITPIX", "32", "3.5", "BITPIX is 3.5, expected a whole number"),
    ],
)
def test_headers_of_images_that_tell_no_length(tmp_path, image_profile, keyword, old, new, message):
    path = write_image(tmp_path / "000099_0001_AB_PX03.fits")
    content = path.read_bytes()
    card, other = (f"{keyword:<8}= {value:>20}".encode() for value in (old, new))
    assert card in content
    path.write_bytes(content.replace(card, other, 1))
    assert problems_by_scan(tabulate([path], image_profile)) == {12: f"{path}: HDU 0: {message}"}


def test_many_axes_are_counted(tmp_path, image_profile):
    path = write_image(tmp_path / "000099_0001_AB_PX03.fits", np.ones((2,) * 12, np.uint8))
    assert "HDU 0 is IMAGE of 12 axes, expected an image" in problems_by_scan(tabulate([path], image_profile))[12]


def test_a_name_that_does_not_match_is_told(tmp_path, image_profile):
    path = write_image(tmp_path / "scan12.fits", PIXEL=3)
    message = problems_by_scan(tabulate([path], image_profile))[12]
    assert message.startswith(f"{path}: HDU 0: no receiver: pixel is not there, as the name does not match file_name '")


def test_a_number_that_is_nan(tmp_path, image_profile):
    path = write_image(tmp_path / "000099_0001_AB_PX03.fits", TAMB="here")
    path.write_bytes(path.read_bytes().replace(b"TAMB    = 'here    '", b"TAMB    = NaN       "))
    assert (
        "no tamb: TAMB is blank or NaN; expected a number [K]" in problems_by_scan(tabulate([path], image_profile))[12]
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path, image_profile):
    path = tmp_path / "000099_0001_AB_PX03.fits"
    os.mkfifo(path)
    assert "is no regular file" in problems_by_scan(tabulate([path], image_profile))[99]


def test_names_that_cannot_be_recorded(tmp_path, image_profile):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/000099_0001_AB_PX\xff.fits")
    write_image(tmp_path / "a.fits")
    os.rename(tmp_path / "a.fits", path)
    (failure,) = tabulate([path], image_profile).failures
    assert (
        failure.message
        == f"{tmp_path}/000099_0001_AB_PX\\udcff.fits: the name is no UTF-8, expected a name that can be recorded"
    )


def test_line_feeds_of_names_are_escaped(tmp_path, image_profile):
    path = write_image(tmp_path / "a\nb.fits")
    (message,) = problems_by_scan(tabulate([path], image_profile)).values()
    assert message.startswith(f"{tmp_path}/a\\nb.fits: HDU 0: no receiver")
    path.write_bytes(b"")
    (failure,) = tabulate([path], image_profile).failures
    assert failure.message.startswith(f"{tmp_path}/a\\nb.fits is no FITS file")


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("TFORM3", "'1Z'", "TFORM3 is '1Z', expected a format such as '1D'"),
        ("TFORM3", "5", "TFORM3 is 5, expected a format such as '1D'"),
        ("TFORM3", "'999999999K'", "as TFORMn say"),
        ("TFIELDS", "-1", "TFIELDS is -1, expected a whole number from 0 to 999"),
        ("TFIELDS", "3", "as TFORMn say"),
        ("TSCAL3", "'two'", "TSCAL3 is 'two', expected a number"),
        ("NAXIS2", "999999999999999999999999", "say more than 1.15e+18 bytes of data"),
    ],
)
def test_headers_of_tables_that_are_damaged(tmp_path, table_profile, keyword, value, message):
    path = write_table(tmp_path / "a.fits", make_table(dish_columns(), TSCAL3=1.0, SCAN=70))
    content = path.read_bytes()
    place = content.index(f"{keyword:<8}=".encode())
    path.write_bytes(content[:place] + f"{keyword:<8}= {value}".ljust(80).encode() + content[place + 80 :])
    (problem,) = problems_by_scan(tabulate([path], table_profile)).items()
    assert problem[0] == 70
    assert message in problem[1]


def test_damage_anywhere_stops_nothing(tmp_path, table_profile):
    """Files with damaged cards, bytes or ends are problems, failures, or left out: never an error."""
    rng = np.random.default_rng(19)
    good = write_table(tmp_path / "good.fits", make_table(dish_columns(2, SCAN=np.array([20, 20], np.int32))))
    path = write_table(tmp_path / "a.fits")
    content = path.read_bytes()
    values = [b"-1", b"0", b"1" * 30, b"1e400", b"NaN", b"'x'", b"T", b"", b"(1,2)", b"'1024Q'", b"'PE(5)'", b"'0A'"]
    for damage in range(60):
        changed = bytearray(content)
        place = 80 * int(rng.integers(len(content) // 80))
        if damage % 3 == 0:
            changed[place + 8 : place + 80] = (b"= " + values[damage % len(values)]).ljust(72)
        elif damage % 3 == 1:
            changed[place : place + 80] = rng.integers(0, 256, 80, np.uint8).tobytes()
        else:
            del changed[int(rng.integers(len(content))) :]
        path.write_bytes(changed)
        rows = tabulate([path, good], table_profile).rows
        assert rows.phase[rows.number == 20].tolist()[-2:] == ["ON", "OFF"]
