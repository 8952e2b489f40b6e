"""Profiles: what they must hold, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from helpers_fits import IMAGE_PROFILE, write_profile

from cal_pipeline.core.files.declared import make_table
from cal_pipeline.heterodyne.ingest.errors import ProfileError
from cal_pipeline.heterodyne.ingest.profile import (
    PROFILES,
    FrequencyRule,
    GroupRule,
    PhaseRule,
    Profile,
    TimeRule,
    open_profile,
    shipped_profiles,
)
from cal_pipeline.heterodyne.phases import CALIBRATION, OFFS, ONS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "my.toml"


def test_what_may_be_left_out_has_a_default(path):
    profile = open_profile(write_profile(path))
    assert (profile.name, profile.reader, profile.hdu, profile.data, profile.counts) == (
        "dish", "table", "SINGLE DISH", "DATA", "f4",
    )  # fmt: skip
    assert (profile.dumps, profile.loads_gap, profile.missing, profile.carry) == ("row", 300.0, (), ())
    assert (profile.frequency.frame, profile.frequency.doppler, profile.file_name) == ("topocentric", None, None)
    assert profile.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_all_that_may_be_given(path):
    profile = open_profile(
        write_profile(
            path,
            top="missing = [99.0, -1]\nfile_name = '(?P<number>\\d+)'\ncarry = ['PROJID', 'OBS-ID']",
            end='[group]\ndumps = "scan"\nloads_gap = 60\n[frequency]\nframe = "source"\n'
            'doppler = { key = "VFRAME", unit = "3.33e-9" }',
        )
    )
    assert (profile.dumps, profile.loads_gap, profile.missing) == ("scan", 60.0, (99.0, -1.0))
    assert profile.carry == ("PROJID", "OBS-ID")
    assert {"VFRAME", "PROJID", "SIG", "SEQN", "number", "TELESCOP", "FDNUM"} <= set(profile.request.keys)


@pytest.mark.parametrize("name", shipped_profiles())
def test_profiles_of_the_package(name):
    profile = open_profile(name)
    assert profile.name == name
    assert {rule.phase for rule in profile.phase} <= {*ONS, *OFFS, *CALIBRATION, "IGNORE", "FAIL"}
    assert profile.sha256 == hashlib.sha256((PROFILES / f"{name}.toml").read_bytes()).hexdigest()


def test_shipped_profiles_are_in_order_of_name():
    shipped = shipped_profiles()
    assert shipped == sorted(shipped)
    assert {"ccat", "gbt_argus", "gbt_sdfits", "gbt_wband", "great", "nanten2"} <= set(shipped)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "schema = 2", "schema is 2, expected 1"),
        ("schema = 1", "schema = true", "schema is True, expected 1"),
        ('name = "dish"', "", "name is missing"),
        ('data = "DATA"', "", "data is '', expected the column of the counts"),
        ('reader = "table"', 'reader = "cube"', "reader is 'cube', expected 'table' or 'image'"),
        ('reader = "table"', 'reader = "image"', "data is 'DATA', expected none for reader 'image'"),
        ('files = ["*.fits"]', "files = []", "files is empty"),
        ('hdu = "SINGLE DISH"', "hdu = -1", "hdu is -1, expected the name of an HDU or its number, from 0"),
        ('counts = "f4"', 'counts = "f8"', "counts is 'f8', expected 'i32' or 'f4'"),
        ("[scan]", "[scann]", "scann is not known; did you mean 'scan'?"),
        ('number = "SCAN"', "", "scan.number is missing"),
        ('source = "OBJECT"', 'sorce = "OBJECT"', "scan.sorce is not known; did you mean 'source'?"),
        ('pamb = "PRESSURE"', "", "map.pamb is missing"),
        ('pamb = "PRESSURE"', 'pamp = "PRESSURE"', "map.pamp is not known; did you mean 'pamb'?"),
        ('freq_res = "CDELT1"', 'freq_res = "CDELT1"\nlon = "X"', "map.lat is missing, expected both lon and lat"),
        ('id = "PX{receiver:02d}"', "", "pixel.id is missing"),
        ('id = "PX{receiver:02d}"', 'id = "PX{receiver"', "pixel.id is 'PX{receiver', expected a format string"),
        ('id = "PX{receiver:02d}"', 'id = "PX{}"', "pixel.id is 'PX{}', expected a format string of keys"),
        ('id = "PX{receiver:02d}"', 'id = "PX{receiver!r}"', "expected a format string of keys"),
        ('is = "ON"', 'is = "ONN"', r"phase\[2\].is is 'ONN', expected 'ON' or 'OTF-ON'"),
        ("when = { CAL = true }", "wen = { CAL = true }", r"phase\[1\].wen is not known; did you mean 'when'?"),
        (
            "when = { CAL = true }",
            "when = { CAL = [[1]] }",
            r"phase\[1\].when.CAL\[0\] is \[1\], expected text or",
        ),
        ('reason = "frequency switching"', "", r"phase\[0\].reason is missing: expected one for is = 'FAIL'"),
        ('is = "IGNORE"', 'is = "IGNORE"\nreason = "x"', r"phase\[1\].reason is for is = 'FAIL', found 'IGNORE'"),
        ('scale = "utc"', 'scale = "ut1"', "time.scale is 'ut1', expected 'utc' or 'tai'"),
        ('is = "middle"', 'is = "begin"', "time.is is 'begin', expected 'start' or 'middle' or 'end'"),
        ("[time]", '[frequency]\nframe = "source"\n[time]', "frequency.doppler is missing: expected a value"),
        ("[time]", '[frequency]\ndoppler = "V"\n[time]', "frequency.doppler is for frame = 'source'"),
        ("[time]", '[frequency]\nfram = "source"\n[time]', "frequency.fram is not known; did you mean 'frame'?"),
        ("[time]", "[group]\nloads_gap = -1\n[time]", "group.loads_gap is -1, expected a finite number from 0 in s"),
        ("[match]", 'file_name = "(x"\n[match]', r"file_name is '\(x', expected a regular expression"),
        ("[match]", 'carry = ["SOURCE"]\n[match]', r"carry has 'SOURCE', expected other names than"),
        ("[match]", 'carry = ["A-B", "A_B"]\n[match]', "carry has 'A-B', which becomes 'a_b' as another does"),
        ("[match]", "[match]\nA = []", r"match.A is \[\], expected at least one text or number"),
        ('number = "SCAN"', "number = { value = 1.5 }", "scan.number.value is 1.5, expected a whole number from 0"),
        ('number = "SCAN"', 'number = ["A", { value = -1 }]', r"scan.number\[1\].value is -1, expected a whole number"),
        ("{receiver:02d}", "{receiver:9999999d}", "pixel.id is .*, expected a format string of keys with widths"),
        ("[match]", 'missing = ["x"]\n[match]', r"missing is 'x'|missing\[0\] is 'x', expected a finite number"),
    ],
)
def test_what_is_refused(path, old, new, message):
    text = write_profile(path).read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ProfileError, match=message) as error:
        open_profile(path)
    assert str(error.value).startswith(f"profile {path}: ")


def test_dumps_of_an_image_are_in_one_file(path):
    write_profile(path, IMAGE_PROFILE, top='[group]\ndumps = "scan"')
    with pytest.raises(ProfileError, match=r"group.dumps is 'scan', expected 'row' for reader 'image'"):
        open_profile(path)


def test_positions_are_absolute_or_offsets(path):
    write_profile(path, map='lon = "A"\nlat = "B"\notf_lon = "C"\notf_lat = "D"')
    with pytest.raises(ProfileError, match=r"map.lon is given besides offsets"):
        open_profile(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gbt_wand", "there is no profile 'gbt_wand'; did you mean 'gbt_wband'?"),
        ("effelsberg", r"there is no profile 'effelsberg'; expected ccat, .* or a file \*\.toml"),
        ("none.toml", "none.toml cannot be read"),
    ],
)
def test_profiles_that_are_not_there(name, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProfileError, match=message):
        open_profile(name)


def test_a_file_in_the_way_does_not_replace_a_profile_of_the_package(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("gbt_wband").write_text("nonsense")
    assert open_profile("gbt_wband").name == "gbt_wband"


def list_keys(declaration, prefix=""):
    """List the dotted keys of a declared table and of those in it."""
    for key in make_table(declaration).keys:
        fields = {"phase": PhaseRule, "time": TimeRule, "frequency": FrequencyRule, "group": GroupRule}.get(key)
        if fields is not None and not prefix:
            yield from list_keys(fields, f"{key}.")
        else:
            yield prefix + key


def test_the_reference_has_every_key():
    text = (Path(__file__).parents[3] / "docs" / "ingest_profiles.rst").read_text(encoding="utf-8")
    keys = set(list_keys(Profile))
    assert {"schema", "match", "time.is", "phase.when", "group.loads_gap", "frequency.doppler"} <= keys
    assert [key for key in sorted(keys) if f"``{key}``" not in text and f"``[{key}]``" not in text] == []
