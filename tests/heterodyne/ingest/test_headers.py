"""Headers of FITS files, against astropy."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits

from cal_pipeline.heterodyne.ingest.errors import FitsFileError
from cal_pipeline.heterodyne.ingest.headers import read_headers

CARDS = {
    "TEXT": "Barnard's Star / not a comment",
    "BLANK1": "",
    "LONG": "it's a text that is longer than a card: " + "words " * 30 + "end",
    "WHOLE": -12345678901,
    "REAL": 461040.7682123456,
    "TINY": 1.25e-30,
    "YES": True,
    "NO": False,
    "HIERARCH ESO TEL ALT": 2635.0,
    "HIERARCH ESO TEL NAME": "APEX / 'old'",
}


@pytest.fixture
def header():
    made = fits.Header(CARDS)
    made["NOTHING"] = None
    return made


@pytest.fixture
def path(tmp_path, header):
    table = fits.BinTableHDU.from_columns(
        [fits.Column("A", "PJ()", array=np.array([np.arange(3), np.arange(5)], dtype=object))], name="VAR"
    )
    image = fits.ImageHDU(np.zeros((3, 5, 7), np.int16), fits.Header(CARDS), name="IMAGE")
    fits.HDUList([fits.PrimaryHDU(np.ones(1000), header), table, image]).writeto(tmp_path / "a.fits")
    return tmp_path / "a.fits"


@pytest.mark.parametrize("compressed", [False, True])
def test_every_card_and_place_as_astropy_finds_them(path, tmp_path, compressed):
    read = path
    if compressed:
        read = tmp_path / "a.fits.gz"
        read.write_bytes(gzip.compress(path.read_bytes()))
    units = list(read_headers(read))
    with fits.open(path) as hdus:
        assert len(units) == len(hdus) == 3
        for unit, hdu in zip(units, hdus, strict=True):
            assert unit.data_start == hdu.fileinfo()["datLoc"]
            assert -(-unit.data_bytes // 2880) * 2880 == hdu.fileinfo()["datSpan"]
            assert unit.name == hdu.name
            assert unit.lacks == 0
            for key in set(hdu.header) - {"", "COMMENT", "HISTORY", "NOTHING"}:
                value = hdu.header[key]
                assert (unit.get(key), type(unit.get(key))) == (value, type(value)), key
    assert units[0].get("NOTHING") is None
    assert units[0].get("hierarch eso tel alt") == 2635.0
    assert units[0].get("ABSENT") is None


def test_exponents_of_fortran_and_numbers_without_blanks(tmp_path):
    cards = ["SIMPLE  =                    T", "BITPIX  = 8", "NAXIS   =0", "D       = 1.25D-3 / double", "X=", "END"]
    (tmp_path / "a.fits").write_bytes("".join(card.ljust(80) for card in cards).ljust(2880).encode())
    (unit,) = read_headers(tmp_path / "a.fits")
    assert (unit.get("D"), unit.get("NAXIS"), unit.get("X"), unit.data_bytes) == (1.25e-3, 0, None, 0)


def test_an_extension_that_is_cut_off_lacks_bytes(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 2880])
    *whole, last = read_headers(path)
    assert [unit.lacks for unit in whole] == [0, 0]
    # The data of 210 bytes lie in the last block alone.
    assert last.lacks == 210


def test_bytes_after_the_last_extension_are_no_extension(path):
    with open(path, "ab") as file:
        file.write(b"x" * 2880)
    assert len(list(read_headers(path))) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no FITS file: it starts with ''"),
        (b"\x89PNG\r\n\x1a\n....", r"is no FITS file: it starts with '\\x89PNG"),
        (b"SIMPLE  =                    T".ljust(2880), "ends within the header of HDU 0: no END in 2880 bytes"),
        (b"\x1f\x8bnonsense", "cannot be read"),
        (gzip.compress(b"SIMPLE  =".ljust(50000), mtime=0)[:40], "cannot be read"),
    ],
)
def test_files_that_are_no_fits(tmp_path, content, message):
    (tmp_path / "a.fits").write_bytes(content)
    with pytest.raises(FitsFileError, match=message) as error:
        list(read_headers(tmp_path / "a.fits"))
    assert str(tmp_path / "a.fits") in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FitsFileError, match=r"none\.fits cannot be read"):
        list(read_headers(tmp_path / "none.fits"))


def test_a_header_without_end_is_not_read_for_ever(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"SIMPLE  =".ljust(4_000_000))
    with pytest.raises(FitsFileError, match="no END"):
        list(read_headers(tmp_path / "a.fits"))
