"""Files that are not as they were when their rows were listed: each its message, and no half-read counts."""

from __future__ import annotations

import os

import numpy as np
import pytest
from astropy.io import fits
from helpers_ingest import CountsForm, make_rows, make_scan, write_counts

from cal_pipeline.heterodyne.ingest import counts as module
from cal_pipeline.heterodyne.ingest.digests import digest_files, stamp_files
from cal_pipeline.heterodyne.ingest.errors import FitsFileError

N_CHANNELS = 3000


@pytest.fixture
def path(tmp_path):
    return write_table(tmp_path / "a.fits", N_CHANNELS, 4)


def write_table(path, n_channels, n_rows, column="DATA"):
    table = np.zeros(n_rows, [("PAD", "S7"), (column, ">f4", (n_channels,))])
    table[column] = np.arange(n_rows)[:, np.newaxis]
    fits.BinTableHDU(table).writeto(path, overwrite=True)
    return path


def refusal_of(path, rows=4, **settings):
    """Write a scan of some rows of a file, which must fail for it; return the message without the folder."""
    table = make_rows([path], np.zeros(rows, int), np.arange(rows), N_CHANNELS)
    plan = make_scan(np.arange(rows).reshape(1, 1, 1, rows), (N_CHANNELS, 1, 1, 1, rows))
    with pytest.raises(FitsFileError) as caught:
        write_counts(path.parent, plan, table, **settings)
    assert caught.value.file == str(path)
    return str(caught.value).removeprefix(f"{path.parent}/")


def test_a_file_that_vanished(path):
    path.unlink()
    assert refusal_of(path) == (
        "a.fits cannot be opened: No such file or directory, expected a file as when it was listed"
    )


def test_a_pipe_in_place_of_a_file(path):
    path.unlink()
    os.mkfifo(path)
    assert refusal_of(path) == "a.fits cannot be opened: is no regular file, expected a file as when it was listed"


def test_a_file_that_grew(path):
    stamps = stamp_files([str(path)])
    with path.open("ab") as file:
        file.write(b"\0" * 10)
    size = path.stat().st_size
    assert refusal_of(path, stamps=stamps) == (
        f"a.fits has {size} bytes, expected the {size - 10} of when it was listed"
    )


@pytest.mark.parametrize("make", [stamp_files, lambda paths: digest_files(paths)[0]])
def test_a_file_that_was_written_again(path, make):
    stamps = make([str(path)])
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert refusal_of(path, stamps=stamps) == (
        "a.fits was written since it was listed, expected a file that nobody writes to"
    )


def test_a_file_that_is_written_while_it_is_read(path, monkeypatch):
    read = module._read_dumps

    def read_and_change(*arguments):
        read(*arguments)
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))

    monkeypatch.setattr(module, "_read_dumps", read_and_change)
    assert refusal_of(path) == "a.fits was written since it was listed, expected a file that nobody writes to"


def test_a_file_that_is_cut_off_while_it_is_read(path, monkeypatch):
    read = module._read_dumps

    def cut_off_and_read(*arguments):
        os.truncate(path, 2 * 2880 + 2 * (4 * N_CHANNELS + 7) + 100)
        read(*arguments)

    monkeypatch.setattr(module, "_read_dumps", cut_off_and_read)
    assert refusal_of(path) == (
        "a.fits: HDU 1, row 2 (from 0), column DATA is cut off, expected all of its counts as when it was listed"
    )


def test_a_disk_that_fails(path, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "_fill", fail)
    assert refusal_of(path) == (
        "a.fits: HDU 1, row 0 (from 0), column DATA cannot be read: [Errno 5] Input/output error, expected counts"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"n_channels": 2999, "n_rows": 4},
            "a.fits: HDU 1, row 0 (from 0), column DATA holds 1 dumps of 2999 channels, expected 1 of 3000 as when it "
            "was listed",
        ),
        (
            {"n_channels": N_CHANNELS, "n_rows": 3},
            "a.fits: HDU 1, row 3 (from 0), column DATA is not there: it has 3 rows, expected more as when it was "
            "listed",
        ),
        (
            {"n_channels": N_CHANNELS, "n_rows": 4, "column": "COUNTS"},
            "a.fits: HDU 1 has no column DATA, expected that of the counts",
        ),
    ],
)
def test_a_table_of_another_form(path, settings, message):
    write_table(path, **settings)
    assert refusal_of(path) == message


def test_an_hdu_that_is_no_longer_there(path):
    fits.PrimaryHDU().writeto(path, overwrite=True)
    assert refusal_of(path) == "a.fits has no HDU 1, expected what was there when it was listed"


def test_text_in_place_of_counts(path):
    fits.BinTableHDU.from_columns([fits.Column("DATA", "3000A", array=["x"] * 4)]).writeto(path, overwrite=True)
    assert refusal_of(path) == (
        "a.fits: HDU 1, column DATA has the format 3000A, expected numbers: one of B, I, J, K, E, D"
    )


def test_an_image_of_three_axes(path):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 2, 3)))]).writeto(path, overwrite=True)
    assert refusal_of(path, form=CountsForm("image")) == (
        "a.fits: HDU 1 is IMAGE of axes [3, 2, 2], expected an image of [channels] or [channels, dumps]"
    )


def test_a_table_in_place_of_an_image(path):
    assert refusal_of(path, form=CountsForm("image")).startswith("a.fits: HDU 1 is BINTABLE of axes [12007, 4]")


def test_a_scale_that_is_no_number(path):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((4, N_CHANNELS), np.int16))]).writeto(path, overwrite=True)
    content = path.read_bytes().replace(b"EXTEND  ", b"EXTENT  ")
    place = content.index(b"PCOUNT  =", 2880)
    path.write_bytes(content[:place] + b"BSCALE  =                  'x'".ljust(80) + content[place + 80 :])
    assert refusal_of(path, form=CountsForm("image")) == (
        "a.fits: HDU 1, keyword BSCALE is 'x', expected a finite number"
    )


def test_a_header_that_is_gone(path):
    path.write_bytes(b"\0" * 30000)
    assert refusal_of(path).startswith("a.fits is no FITS file")


@pytest.mark.parametrize("name", ["a\nb\x1b[31m.fits", b"a\xff.fits"])
def test_names_of_files_do_no_harm(tmp_path, name):
    path = tmp_path / (os.fsdecode(name) if isinstance(name, bytes) else name)
    write_table(path, 2999, 4)
    message = refusal_of(path)
    assert message.isprintable()
    assert "2999 channels" in message
    message.encode()
