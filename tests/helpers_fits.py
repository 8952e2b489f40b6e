"""FITS files written by astropy, as telescopes would, and profiles of them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

TABLE_PROFILE = """
schema = 1
name = "dish"
reader = "table"
files = ["*.fits"]
hdu = "SINGLE DISH"
data = "DATA"
counts = "f4"
{top}
[match]
TELESCOP = "DISH*"
[scan]
number = "SCAN"
source = "OBJECT"
{scan}
[map]
mjd = "DATE-OBS"
exptime = "EXPOSURE"
elevation = {{ key = "ELEVATIO", unit = "deg" }}
pamb = "PRESSURE"
tamb = {{ key = "TAMBIENT", unit = "deg_C", missing = 99.0, range = [200, 320] }}
signal_freq = "CRVAL1"
freq_res = "CDELT1"
{map}
[pixel]
receiver = "FDNUM"
id = "PX{{receiver:02d}}"
{pixel}
[[phase]]
when = {{ SIG = "F" }}
is = "FAIL"
reason = "frequency switching"
[[phase]]
when = {{ CAL = true }}
is = "IGNORE"
[[phase]]
when = {{ OBSMODE = ["Nod*", "OnOff"], SEQN = 1 }}
is = "ON"
[[phase]]
when = {{ OBSMODE = ["Nod*", "OnOff"], SEQN = 2 }}
is = "OFF"
[time]
scale = "{scale}"
is = "{moment}"
{end}
"""

IMAGE_PROFILE = """
schema = 1
name = "camera"
reader = "image"
files = ["*.fits", "*.fits.gz"]
file_name = '(?P<scan>\\d+)_(?P<subscan>\\d+)_(?P<array>[A-Z]+)_PX(?P<pixel>\\d+)\\.fits'
hdu = 0
counts = "i32"
{top}
[scan]
number = ["SCANNUM", "scan"]
[map]
mjd = ["MJD-OBS", "DATE-OBS"]
exptime = "EXPTIME"
elevation = {{ key = "ELEVATIO", unit = "deg" }}
pamb = {{ key = "PAMB", unit = "hPa" }}
tamb = "TAMB"
signal_freq = {{ key = "OBSFREQ", unit = "MHz" }}
freq_res = {{ key = "FREQRES", unit = "MHz" }}
{map}
[pixel]
receiver = "pixel"
array = "array"
id = "{{array}}_PX{{receiver:02d}}"
[[phase]]
when = {{ SOBSMODE = "ON" }}
is = "ON"
[[phase]]
when = {{ SOBSMODE = "HOT" }}
is = "HOT"
[time]
scale = "utc"
is = "start"
"""

CARDS = {
    "SCANNUM": 12,
    "SOBSMODE": "ON",
    "DATE-OBS": "2024-05-06T12:00:00",
    "EXPTIME": 2.0,
    "ELEVATIO": 45.0,
    "PAMB": 500.0,
    "TAMB": 268.0,
    "OBSFREQ": 461000.0,
    "FREQRES": 0.5,
}
"""Cards of an image."""


def write_profile(path, text=TABLE_PROFILE, **parts):
    """Write a profile; `parts` are lines of its sections."""
    given = dict.fromkeys(("top", "scan", "map", "pixel", "end"), "") | {"scale": "utc", "moment": "middle"} | parts
    path.write_text(text.format(**given))
    return path


def dish_columns(rows=4, **changed):
    """Return the columns of a table: scans 7 and 8, an ON and an OFF each, of beam 0."""
    columns = {
        "OBJECT": np.array(["M82"] * rows),
        "SCAN": 7 + np.arange(rows, dtype=np.int32) // 2,
        "SEQN": 1 + np.arange(rows, dtype=np.int16) % 2,
        "OBSMODE": np.array(["Nod:NONE"] * rows),
        "DATE-OBS": np.array([f"2017-02-04T10:10:{second:02d}.50" for second in range(rows)]),
        "EXPOSURE": np.full(rows, 2.0),
        "ELEVATIO": np.full(rows, 30.0, np.float32),
        "PRESSURE": np.full(rows, 699.0),
        "TAMBIENT": np.full(rows, -10.0, np.float32),
        "CRVAL1": 87e9 + np.arange(rows),
        "CDELT1": np.full(rows, 1e6),
        "FDNUM": np.zeros(rows, np.int16),
        "SIG": np.array(["T"] * rows),
        "CAL": np.zeros(rows, np.bool_),
        "DATA": np.arange(rows * 8, dtype=np.float32).reshape(rows, 8),
    }
    return {name: values for name, values in {**columns, **changed}.items() if values is not None}


_LETTERS = {"i": {2: "I", 4: "J", 8: "K"}, "f": {4: "E", 8: "D"}, "u": {1: "B"}, "b": {1: "L"}}


def make_column(name, values):
    """Make a column of an array, of texts, or of a column itself."""
    if isinstance(values, fits.Column):
        return values
    values = np.asarray(values)
    if values.dtype.kind == "U":
        return fits.Column(name, f"{max(values.dtype.itemsize // 4, 1)}A", array=values)
    letter = _LETTERS[values.dtype.kind][values.dtype.itemsize]
    return fits.Column(name, f"{values[0].size if values.ndim > 1 else 1}{letter}", array=values)


def make_table(columns, name="SINGLE DISH", **cards):
    """Make an extension of columns by name."""
    table = fits.BinTableHDU.from_columns([make_column(*item) for item in columns.items()], name=name)
    table.header.update({"TELESCOP": "DISH1", **cards})
    return table


def write_table(path, *tables, **cards):
    """Write a file of extensions; `cards` are those of the primary header."""
    primary = fits.PrimaryHDU()
    primary.header.update(cards)
    fits.HDUList([primary, *(tables or [make_table(dish_columns())])]).writeto(path)
    return path


def write_image(path, counts=None, **cards):
    """Write an image with cards; None leaves a card out."""
    counts = np.arange(3 * 8, dtype=np.int32).reshape(3, 8) if counts is None else counts
    header = fits.Header({key: value for key, value in {**CARDS, **cards}.items() if value is not None})
    fits.PrimaryHDU(counts, header).writeto(path)
    return path


def forbid_reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file unreadable, also for root, whom the file system lets read anything."""
    path.chmod(0)
    opened = os.open

    def open_others(name, *arguments, **settings):
        if os.fspath(name) == str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(name, *arguments, **settings)

    monkeypatch.setattr(os, "open", open_others)
