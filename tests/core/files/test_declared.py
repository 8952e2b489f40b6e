"""The reader of declared files, with declarations of instruments that this package does not have."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from typing import Annotated

import pytest

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.files.declared import (
    PATTERN,
    Each,
    FileBeside,
    FileProperty,
    Number,
    OneOf,
    Row,
    Table,
    Tables,
    Text,
    TruthValue,
    WholeNumber,
    interval,
    matches_pattern,
    read_declared,
)


class DetectorError(CalibrationError):
    """A file of the tests is refused."""


@dataclass(frozen=True)
class Window:
    low: Annotated[float, Number()]
    high: Annotated[float, Number()]

    def __post_init__(self):
        if self.high <= self.low:
            raise ValueError(f"high is {self.high:g}, expected more than low, {self.low:g}")


@dataclass(frozen=True)
class Detector:
    name: Annotated[str, Text()]
    sha256: Annotated[str, FileProperty("sha256")]
    file: Annotated[str, FileProperty("name")]
    gain: Annotated[float, Number(above=0.0, up_to=10.0, unit="e/DN")] = 1.0
    reads: Annotated[int, WholeNumber()] = 1
    band_um: Annotated[tuple[float, float], interval(Number(above=0.0, unit="um"))] = (1.0, 2.0)
    saturation: Annotated[float, Number(finite=False)] = math.inf
    corners: Annotated[tuple[tuple[float, float], ...], Each(Row(("row", "column"), Number(at_least=0.0)))] = ()
    aliases: Annotated[tuple[str, ...], Each(PATTERN, lone=True)] = ()
    cooled: Annotated[bool, TruthValue()] = False
    readout: Annotated[str, OneOf(("slow", "fast"))] = "slow"
    notes: Annotated[str, Text(empty=True)] = "none"
    cold: Annotated[Window | None, Window] = None
    windows: Annotated[tuple[Window, ...], Tables(Window), "window"] = ()


@pytest.fixture
def read(tmp_path):
    def from_text(text, declaration=Detector):
        (tmp_path / "h2rg.toml").write_text(text)
        return read_declared(tmp_path / "h2rg.toml", declaration, DetectorError, "detector")

    return from_text


WHOLE = """
name = "H2RG"
gain = 2
reads = 4
band_um = [0.9, 2.4]
saturation = inf
corners = [[0, 0], [2047, 2047.5]]
aliases = "H2*"
cooled = true
readout = "fast"
notes = ""

[cold]
low = 30.0
high = 40

[[window]]
low = 0
high = 1
"""


def test_all_kinds(read):
    found = read(WHOLE)
    assert (found.name, found.gain, found.reads, found.band_um) == ("H2RG", 2.0, 4, (0.9, 2.4))
    assert isinstance(found.gain, float)
    assert (found.saturation, found.corners, found.aliases) == (math.inf, ((0.0, 0.0), (2047.0, 2047.5)), ("H2*",))
    assert (found.cooled, found.readout, found.notes) == (True, "fast", "")
    assert (found.cold, found.windows) == (Window(30.0, 40.0), (Window(0.0, 1.0),))
    assert (found.file, found.sha256) == ("h2rg.toml", hashlib.sha256(WHOLE.encode()).hexdigest())


def test_what_has_a_default_may_be_left_out(read):
    found = read('name = "H2RG"')
    assert (found.gain, found.reads, found.windows, found.cold) == (1.0, 1, (), None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('name = "H2RG"', ""), "name is missing"),
        (("gain", "gian"), "gian is not known; did you mean 'gain'"),
        (("gain", "voltage"), "voltage is not known; expected aliases, "),
        (('"H2RG"', '" "'), "name is ' ', expected text"),
        (("gain = 2", "gain = 0"), "gain is 0, expected a finite number above 0 up to 10 in e/DN"),
        (("gain = 2", "gain = 11"), "gain is 11"),
        (("gain = 2", "gain = true"), "gain is True"),
        (("gain = 2", "gain = nan"), "gain is nan"),
        (("cooled = true", "cooled = 1"), "cooled is 1, expected true or false"),
        (('"fast"', '"Fast"'), "readout is 'Fast', expected 'slow' or 'fast'"),
        (('notes = ""', "notes = 1"), "notes is 1, expected text"),
        (("saturation = inf", "saturation = nan"), "saturation is nan, expected a number"),
        (("reads = 4", "reads = 4.0"), "reads is 4.0, expected a whole number"),
        (("[0.9, 2.4]", "[2.4, 0.9]"), r"band_um is \[2.4, 0.9\], expected \[lowest, highest\] in um"),
        (("[0.9, 2.4]", "[-1, 2.4]"), "band_um is -1, expected a finite number above 0"),
        (("[2047, 2047.5]", "[2047]"), r"corners\[1\] is \[2047\], expected \[row, column\]"),
        (("[2047, 2047.5]", "[2047, -1]"), r"corners\[1\] is -1, expected a finite number from 0"),
        (("[[0, 0], [2047, 2047.5]]", "0"), "corners is 0, expected a list"),
        (('"H2*"', "[1]"), r"aliases\[0\] is 1, expected text"),
        (("high = 40", ""), "cold.high is missing"),
        (("high = 40", "high = 20"), "cold.high is 20, expected more than low, 30"),
        (("high = 1\n", "high = -1\n"), r"window\[0\].high is -1, expected more than low, 0"),
        (("[[window]]", "[window]"), r"window is one table, expected \[\[window\]\]"),
        (("[cold]", "[[cold]]"), "cold is .*, expected a table of high, low"),
        (("reads = 4", "reads ="), "cannot be read"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(read, change, words):
    with pytest.raises(DetectorError, match=rf"^detector /.*h2rg\.toml:? {words}"):
        read(WHOLE.replace(*change))


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "h2rg.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(DetectorError, match="cannot be read"):
        read_declared(tmp_path / "h2rg.toml", Detector, DetectorError)


def test_a_file_of_too_many_levels(tmp_path):
    (tmp_path / "h2rg.toml").write_text("name = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(DetectorError, match="cannot be read"):
        read_declared(tmp_path / "h2rg.toml", Detector, DetectorError)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DetectorError, match=r"^/.*none\.toml cannot be read"):
        read_declared(tmp_path / "none.toml", Detector, DetectorError)


def test_a_file_is_read_again_when_it_changes(read, tmp_path):
    found = read(WHOLE)
    path = tmp_path / "h2rg.toml"
    assert read_declared(str(path), Detector, DetectorError, "detector") is found
    changed = path.stat().st_mtime_ns + 1
    path.write_text(WHOLE.replace("H2RG", "H4RG"))
    os.utime(path, ns=(changed, changed))
    assert read_declared(path, Detector, DetectorError, "detector").name == "H4RG"


def test_keys_that_are_known_at_run_time_only(read, tmp_path):
    (tmp_path / "dark.asdf").touch()
    keys = {"pipeline": Text(), "parameters": FileBeside(".asdf"), "exp_type": PATTERN, "filter": PATTERN}
    table = Table({"row": Tables(Table(keys, dict, required=("pipeline",)))}, lambda row: row)
    (row,) = read('[[row]]\npipeline = "Detector1"\nparameters = "dark"\nexp_type = "NRC_*"', table)
    assert row == {"pipeline": "Detector1", "parameters": "dark", "exp_type": "NRC_*"}
    with pytest.raises(DetectorError, match=r"row\[0\].parameters is 'flat', .*there is no .*flat\.asdf"):
        read('[[row]]\npipeline = "Detector1"\nparameters = "flat"', table)
    with pytest.raises(DetectorError, match=r"row\[0\].pipeline is missing"):
        read('[[row]]\nfilter = "F*"', table)


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [("chai_lfa", "CHAI*", True), (" CHAI ", "chai", True), (None, "*", True), (None, "C*", False), ("", "*", True)],
)
def test_names_and_patterns(name, pattern, expected):
    assert matches_pattern(name, pattern) is expected
